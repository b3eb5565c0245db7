"""Counting changes nothing, and counts right."""

from collections.abc import Callable, Iterator

import pytest

from kbstore.backends import create_backend, memory, open_backend
from kbstore.backends.base import Backend, Record
from tests.backends.samples import chunks, fill
from tests.backends.suite import ContractSuite
from tests.doubles.counting import CountingBackend

NAME = "memory://counted"


class TestCounting(ContractSuite):
    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        yield CountingBackend(create_backend(NAME))
        memory.forget(NAME)

    @pytest.fixture
    def reopen(self, backend: Backend) -> Callable[..., Backend]:
        return lambda read_only=False: CountingBackend(open_backend(NAME, read_only=read_only))


def test_calls_and_bytes_are_counted() -> None:
    """Each call counts once, an iterator when it is first used, and bytes as they pass."""
    counting = CountingBackend(create_backend("memory:"))
    written = chunks(2)
    counting.append("main", 1, [Record(b"head", b"body!")], write_id="x", chunks=written)
    assert counting.counts.written_bytes == 9 + sum(len(c.data) for c in written)
    fill(counting, 1, first=2)
    counts = counting.reset()
    assert (counts.requests, counts.calls) == (2, {"append": 2})

    unused = counting.read("main")
    assert counting.counts.requests == 0
    next(unused)
    assert (counting.counts.requests, counting.counts.read_bytes, counting.counts.items["read"]) == (1, 4, 1)
    list(counting.bodies("main", [1]))
    list(counting.get_chunks([written[0].address]))
    assert counting.counts.read_bytes == 9 + sum(len(c.data) for c in written)
    assert counting.counts.calls == {"read": 1, "bodies": 1, "get_chunks": 1}
    assert counting.reset().requests == 3
    assert counting.counts.requests == 0
