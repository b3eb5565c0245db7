"""The backend in memory."""

from collections.abc import Callable, Iterator

import pytest

from kbstore.backends import create_backend, memory, open_backend
from kbstore.backends.base import Backend, Chunk, Record
from kbstore.kit.errors import StoreExists, StoreNotFound
from tests.backends.samples import chunks
from tests.backends.suite import ContractSuite

NAME = "memory://tested"


class TestMemory(ContractSuite):
    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        yield create_backend(NAME)
        memory.forget(NAME)

    @pytest.fixture
    def reopen(self, backend: Backend) -> Callable[..., Backend]:
        return lambda read_only=False: open_backend(NAME, read_only=read_only)


def test_names_are_shared_within_the_process() -> None:
    """Two handles of one name see one store, a second creation is refused, and a forgotten name is free."""
    first = create_backend("memory://a")
    first.append("main", 1, [Record(b"x")], write_id="x")
    assert open_backend("memory://a").tail("main").slot == 1
    with pytest.raises(StoreExists):
        create_backend("memory://a")
    memory.forget("memory://a")
    memory.forget("memory://a")
    with pytest.raises(StoreNotFound):
        open_backend("memory://a")


def test_a_store_without_a_name_is_private() -> None:
    """Each creation without a name is a new store, which nobody can open."""
    assert create_backend("memory:") is not create_backend("memory:")
    with pytest.raises(StoreNotFound):
        open_backend("memory:")


def test_stricter_than_the_contract() -> None:
    """Wrong addresses and bytes that are not `bytes` are refused at once."""
    backend = create_backend("memory:")
    with pytest.raises(ValueError, match="not the SHA-256"):
        backend.append("main", 1, [Record(b"x")], write_id="x", chunks=[Chunk(bytes(32), b"x")])
    with pytest.raises(TypeError, match="bytes"):
        backend.append("main", 1, [Record(bytearray(b"x"))], write_id="x")  # type: ignore[arg-type]
    assert backend.tail("main").slot == 0


def test_chunks_come_out_of_order_with_gifts() -> None:
    """The last asked comes first, and others come along: callers may count on neither order nor number."""
    backend = create_backend("memory:")
    written = chunks(5)
    backend.append("main", 1, [Record(b"x")], write_id="x", chunks=written)
    found = [f.address for f in backend.get_chunks([written[0].address, written[1].address])]
    assert found[:2] == [written[1].address, written[0].address]
    assert len(found) > 2
