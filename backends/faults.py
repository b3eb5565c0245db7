"""A wrapping backend that fails on purpose, each time in a way that the contract allows: for tests of callers.

Dice from the test decide each fault, so a failing run can be repeated from the seed. Faults of an append:

- *rival*: another writer takes the slot first, with records made by the test, so `SlotTaken` is true.
- *lost*: the write lands and the answer does not: `OutcomeUnknown`.
- *vanished*: neither arrives: `OutcomeUnknown` again, and the caller cannot distinguish the two.
- *unavailable*: nothing is written: `StoreUnavailable`.

Other calls can only be *unavailable*. Every call may wait first.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from kbstore.backends.base import (
    NOTHING,
    Backend,
    Chunk,
    Collection,
    Damage,
    Found,
    Record,
    Snapshot,
    StoredRecord,
    Tail,
)
from kbstore.kit.errors import OutcomeUnknown, SlotTaken, StoreUnavailable

Rival = Callable[[str, int], Sequence[Record]]
"""Makes the records of a rival, given the log and the slot."""


class Dice(Protocol):
    """A source of chance, such as ``random.Random(seed)``."""

    def random(self) -> float:
        """Return a number of [0, 1)."""
        ...


@dataclass(frozen=True, slots=True)
class Rates:
    """The probability of each fault, from 0 to 1; the faults of an append are drawn one after another.

    Attributes:
        delay_s: The longest wait before a call, in seconds, if a `sleep` is given.
    """

    rival: float = 0.0
    lost: float = 0.0
    vanished: float = 0.0
    unavailable: float = 0.0
    delay_s: float = 0.0


class FaultyBackend:
    """A backend that passes on most calls and fails some; `kbstore.backends.base.Backend` describes every method.

    Attributes:
        rates: Can be changed at any time; `Rates()` ends all faults.
        injected: The number of injections of each fault.
    """

    def __init__(
        self,
        inner: Backend,
        dice: Dice,
        rates: Rates,
        *,
        rival: Rival | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self.inner = inner
        self.rates = rates
        self.injected: Counter[str] = Counter()
        self._dice = dice
        self._rival = rival
        self._sleep = sleep

    @property
    def location(self) -> str:
        """The name of the inner store for people."""
        return self.inner.location

    @property
    def read_only(self) -> bool:
        """True if every writing method raises `ReadOnlyStore`."""
        return self.inner.read_only

    @property
    def shares_slots(self) -> bool:
        """As the inner backend."""
        return self.inner.shares_slots

    @property
    def remote(self) -> bool:
        """As the inner backend."""
        return self.inner.remote

    def server_time(self) -> datetime | None:
        """Return the server's time; never fails."""
        return self.inner.server_time()

    def expect(
        self,
        log: str,
        *,
        listing: bool = False,
        snapshot: int | None = None,
        bodies: Sequence[int] = (),
        notes: tuple[str, int, int] | None = None,
    ) -> None:
        """Pass the announcement on; never fails."""
        self.inner.expect(log, listing=listing, snapshot=snapshot, bodies=bodies, notes=notes)

    def append(
        self,
        log: str,
        slot: int,
        records: Sequence[Record],
        *,
        write_id: str,
        chunks: Sequence[Chunk] = (),
        writes: Sequence[tuple[str, int]] = (),
    ) -> None:
        """Create a slot, or fail as the module's docstring describes."""
        self._maybe_unavailable()
        if self._rival is not None and self._happens("rival", self.rates.rival):
            with suppress(SlotTaken):  # a real writer was faster, which is a lost race as well
                self.inner.append(log, slot, self._rival(log, slot), write_id=f"rival-{self.injected.total()}")
        if self._happens("vanished", self.rates.vanished):
            raise OutcomeUnknown("injected: the request was lost", write_id=write_id)
        self.inner.append(log, slot, records, write_id=write_id, chunks=chunks, writes=writes)
        if self._happens("lost", self.rates.lost):
            raise OutcomeUnknown("injected: the answer was lost", write_id=write_id)

    def tail(self, log: str, *, fresh: bool = True) -> Tail:
        """Return the newest slot and record number, or fail."""
        self._maybe_unavailable()
        return self.inner.tail(log, fresh=fresh)

    def look(self, log: str) -> Callable[[], Tail]:
        """Start to look for the end of a log, or fail."""
        self._maybe_unavailable()
        return self.inner.look(log)

    def logs(self) -> list[str]:
        """Return the names of all logs, or fail."""
        self._maybe_unavailable()
        return self.inner.logs()

    def recalled(self) -> Backend:
        """See `Backend.recalled`."""
        found = self.inner.recalled()
        return self if found is self.inner else found

    def read(
        self, log: str, first: int = 1, last: int | None = None, *, newest_first: bool = False
    ) -> Iterator[StoredRecord]:
        """Return an iterator of headers, or fail."""
        self._maybe_unavailable()
        return self.inner.read(log, first, last, newest_first=newest_first)

    def bodies(self, log: str, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Return an iterator of bodies, or fail."""
        self._maybe_unavailable()
        return self.inner.bodies(log, numbers)

    def find_write(self, log: str, write_id: str, *, after: int | None = None) -> tuple[int, int] | None:
        """Return the records of a write, or fail."""
        self._maybe_unavailable()
        return self.inner.find_write(log, write_id, after=after)

    def get_chunks(self, addresses: Iterable[bytes], *, in_order: bool = False) -> Iterator[Found]:
        """Return an iterator of chunks, or fail."""
        self._maybe_unavailable()
        return self.inner.get_chunks(addresses, in_order=in_order)

    def put_snapshot(
        self,
        log: str,
        number: int,
        *,
        tier: int,
        note: bytes,
        chunks: Iterable[Chunk],
        requires: Mapping[int, bytes] = NOTHING,
    ) -> bool:
        """Cache chunks as a snapshot, or fail."""
        self._maybe_unavailable()
        return self.inner.put_snapshot(log, number, tier=tier, note=note, chunks=chunks, requires=requires)

    def snapshots(self, log: str) -> list[Snapshot]:
        """Return all snapshots of a log, or fail."""
        self._maybe_unavailable()
        return self.inner.snapshots(log)

    def drop_snapshots(self, log: str, numbers: Iterable[int]) -> int:
        """Forget snapshots, or fail."""
        self._maybe_unavailable()
        return self.inner.drop_snapshots(log, numbers)

    def put_note(self, name: str, number: int, data: bytes) -> None:
        """Cache a small record, or fail."""
        self._maybe_unavailable()
        self.inner.put_note(name, number, data)

    def notes(self, name: str, first: int = 0, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Return an iterator of cached records, or fail."""
        self._maybe_unavailable()
        return self.inner.notes(name, first, last)

    def drop_notes(self, name: str) -> int:
        """Forget cached records, or fail."""
        self._maybe_unavailable()
        return self.inner.drop_notes(name)

    def note_names(self) -> list[str]:
        """Return the names under which notes are cached, or fail."""
        self._maybe_unavailable()
        return self.inner.note_names()

    def collect(self, keep: Mapping[str, Iterable[int]], *, dry_run: bool = False) -> Collection:
        """Collect garbage, or fail."""
        self._maybe_unavailable()
        return self.inner.collect(keep, dry_run=dry_run)

    def check(self) -> Iterator[Damage]:
        """Return an iterator of damage, or fail."""
        self._maybe_unavailable()
        return self.inner.check()

    def intact(self, log: str, number: int) -> bool:
        """Return whether a header is as written, or fail."""
        self._maybe_unavailable()
        return self.inner.intact(log, number)

    def size_bytes(self) -> int:
        """Return the size of the store; never fails."""
        return self.inner.size_bytes()

    def close(self) -> None:
        """Close the inner backend; never fails."""
        self.inner.close()

    def _happens(self, fault: str, rate: float) -> bool:
        if rate <= 0.0 or self._dice.random() >= rate:
            return False
        self.injected[fault] += 1
        return True

    def _maybe_unavailable(self) -> None:
        if self._sleep is not None and self.rates.delay_s > 0.0:
            self._sleep(self._dice.random() * self.rates.delay_s)
        if self._happens("unavailable", self.rates.unavailable):
            raise StoreUnavailable("injected: the store does not answer", hint="try again")
