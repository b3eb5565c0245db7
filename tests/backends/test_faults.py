"""Faults that are injected on purpose stay within the contract."""

import random
from collections.abc import Callable, Iterator

import pytest

from kbstore.backends import create_backend, memory, open_backend
from kbstore.backends.base import Backend, Record
from kbstore.kit.errors import OutcomeUnknown, SlotTaken, StoreUnavailable
from tests.backends.suite import ContractSuite
from tests.doubles.faults import FaultyBackend, Rates

NAME = "memory://faulty"


class TestFaultless(ContractSuite):
    """With all rates at zero it is a backend like any other."""

    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        yield FaultyBackend(create_backend(NAME), random.Random(1), Rates())
        memory.forget(NAME)

    @pytest.fixture
    def reopen(self, backend: Backend) -> Callable[..., Backend]:
        return lambda read_only=False: FaultyBackend(open_backend(NAME, read_only=read_only), random.Random(1), Rates())


def faulty(rates: Rates, seed: int = 1) -> FaultyBackend:
    """A private store that fails at these rates."""
    return FaultyBackend(
        create_backend("memory:"), random.Random(seed), rates, rival=lambda log, slot: [Record(b"rival %d" % slot)]
    )


def test_a_rival_takes_the_slot_for_real() -> None:
    """The slot that is reported as taken holds what the rival wrote."""
    backend = faulty(Rates(rival=1.0))
    with pytest.raises(SlotTaken):
        backend.append("main", 1, [Record(b"mine")], write_id="mine")
    assert [r.header for r in backend.read("main")] == [b"rival 1"]


def test_a_lost_answer_means_the_write_landed() -> None:
    """The outcome is unknown to the caller, and the write id finds it."""
    backend = faulty(Rates(lost=1.0))
    with pytest.raises(OutcomeUnknown) as caught:
        backend.append("main", 1, [Record(b"mine")], write_id="mine")
    assert caught.value.write_id == "mine"
    assert backend.find_write("main", "mine") == (1, 1)


def test_a_vanished_request_wrote_nothing() -> None:
    """The outcome is unknown to the caller, and the write id finds nothing."""
    backend = faulty(Rates(vanished=1.0))
    with pytest.raises(OutcomeUnknown):
        backend.append("main", 1, [Record(b"mine")], write_id="mine")
    assert backend.find_write("main", "mine") is None


def test_an_unavailable_store_answers_nothing() -> None:
    """Every call fails, nothing is written, and the store heals when the rates do."""
    backend = faulty(Rates(unavailable=1.0))
    for call in (
        lambda: backend.append("main", 1, [Record(b"x")], write_id="x"),
        lambda: backend.tail("main"),
        lambda: list(backend.get_chunks([])),
        lambda: backend.put_note("a", 1, b""),
    ):
        with pytest.raises(StoreUnavailable):
            call()
    assert backend.injected == {"unavailable": 4}
    backend.rates = Rates()
    assert backend.tail("main").slot == 0


def test_a_careful_caller_writes_each_thing_once() -> None:
    """A caller that looks for its write id after every doubt lands each write once, whatever is injected."""
    backend = faulty(Rates(rival=0.2, lost=0.2, vanished=0.2, unavailable=0.2, delay_s=0.01), seed=5)
    for n in range(100):
        write_id = f"w{n}"
        for _ in range(1000):
            try:
                if backend.find_write("main", write_id):
                    break
                backend.append("main", backend.tail("main").slot + 1, [Record(b"%d" % n)], write_id=write_id)
            except (OutcomeUnknown, SlotTaken, StoreUnavailable):
                continue
    backend.rates = Rates()
    mine = [r.header for r in backend.read("main") if not r.header.startswith(b"rival")]
    assert mine == [b"%d" % n for n in range(100)]
    assert set(backend.injected) == {"rival", "lost", "vanished", "unavailable"}


def test_the_same_seed_gives_the_same_faults() -> None:
    """A run is repeated by its seed."""

    def run(seed: int) -> list[str]:
        backend, seen = faulty(Rates(rival=0.3, lost=0.3, unavailable=0.3), seed), []
        for n in range(60):
            try:
                backend.append(f"log{n}", 1, [Record(b"x")], write_id=str(n))
                seen.append("fine")
            except (OutcomeUnknown, SlotTaken, StoreUnavailable) as error:
                seen.append(type(error).__name__)
        return seen

    assert run(3) == run(3)
    assert run(3) != run(4)
    assert len(set(run(3))) == 4


def test_waits_are_drawn_within_bounds() -> None:
    """Every call waits for at most what was set, by the sleep that the test brings."""
    waits: list[float] = []
    backend = FaultyBackend(create_backend("memory:"), random.Random(1), Rates(delay_s=0.5), sleep=waits.append)
    for _ in range(50):
        backend.tail("main")
    assert len(waits) == 50
    assert 0.0 <= min(waits) < max(waits) <= 0.5
