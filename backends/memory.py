"""A backend in memory, for tests and dry runs, stricter than the real backends.

Other backends sometimes use a freedom of the contract; this backend always does. Chunks come in another order than
asked and with gifts, every given address is checked, and only plain `bytes` are accepted. Code that passes here depends
only on promises of the contract.
"""

import hashlib
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from kbstore.backends.base import (
    NOTHING,
    TRUTH,
    Chunk,
    Collection,
    Damage,
    Found,
    Record,
    Snapshot,
    StoredRecord,
    Tail,
)
from kbstore.backends.names import check_address, check_log, check_note, check_write_id
from kbstore.kit.errors import CorruptStore, ReadOnlyStore, SlotTaken, StoreExists, StoreNotFound, StoreUnavailable

SCHEME = "memory"
_GIFTS = 4


@dataclass(slots=True)
class _Snapshot:
    tier: int
    note: bytes
    chunks: dict[bytes, bytes]


@dataclass(slots=True)
class _Log:
    records: list[tuple[int, bytes, bytes]] = field(default_factory=list)  # slot, header, body
    slots: list[tuple[str, int, int]] = field(default_factory=list)  # write id, first and last number
    snapshots: dict[int, _Snapshot] = field(default_factory=dict)


@dataclass(slots=True)
class MemoryStore:
    """The content of a store in memory; several `MemoryBackend` objects may share a store."""

    logs: dict[str, _Log] = field(default_factory=dict)
    truth: dict[bytes, bytes] = field(default_factory=dict)
    notes: dict[str, dict[int, bytes]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)


_named: dict[str, MemoryStore] = {}
_named_lock = threading.Lock()


def create(location: str, mode: int = 0o666, *, insecure: bool = False) -> "MemoryBackend":  # noqa: ARG001 - for a server
    """Make a new store in memory: ``memory:`` is private, ``memory://name`` is shared within the process.

    Raises:
        StoreExists: A store of that name exists.
    """
    name = _name(location)
    store = MemoryStore()
    if name:
        with _named_lock:
            if name in _named:
                raise StoreExists(f"there is a store at {location} already", hint="open it, or take another name")
            _named[name] = store
    return MemoryBackend(store, location=location)


def open_existing(location: str, *, read_only: bool = False, insecure: bool = False) -> "MemoryBackend":  # noqa: ARG001 - for a server
    """Open the store of that name; ``memory:`` without a name cannot be opened.

    Raises:
        StoreNotFound: The name is unknown.
    """
    with _named_lock:
        store = _named.get(_name(location))
    if store is None:
        raise StoreNotFound(f"there is no store at {location} in this process", hint="create it first")
    return MemoryBackend(store, location=location, read_only=read_only)


def forget(location: str) -> None:
    """Drop a named store, so that the memory and the name are free; an unknown name is not an error."""
    with _named_lock:
        _named.pop(_name(location), None)


def _name(location: str) -> str:
    return location.partition(":")[2].removeprefix("//")


class MemoryBackend:
    """A backend in memory; `kbstore.backends.base.Backend` describes every method."""

    def __init__(self, store: MemoryStore, *, location: str = "memory:", read_only: bool = False) -> None:
        self._store = store
        self._location = location
        self._read_only = read_only
        self._closed = False

    @property
    def location(self) -> str:
        """The name of this store for people."""
        return self._location

    @property
    def read_only(self) -> bool:
        """True if every writing method raises `ReadOnlyStore`."""
        return self._read_only

    @property
    def shares_slots(self) -> bool:
        """False: a slot costs little."""
        return False

    @property
    def remote(self) -> bool:
        """False: a call costs little."""
        return False

    def server_time(self) -> datetime | None:
        """Return None: there is no server."""
        return None

    def expect(
        self,
        log: str,
        *,
        listing: bool = False,
        snapshot: int | None = None,
        bodies: Sequence[int] = (),
        notes: tuple[str, int, int] | None = None,
    ) -> None:
        """Do nothing: asking costs little."""

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
        """Create slot `slot` of `log`."""
        self._check_writable()
        check_log(log)
        check_write_id(write_id)
        if not records:
            raise ValueError("a slot holds at least one record")
        if writes:
            raise ValueError("a slot of this backend holds one write")
        for record in records:
            _check_bytes(record.header, "a header")
            _check_bytes(record.body, "a body")
        _check_chunks(chunks)
        with self._store.lock:
            found = self._store.logs.get(log) or _Log()
            if slot != len(found.slots) + 1:
                raise SlotTaken(f"slot {slot} of log {log} cannot be written: the newest is {len(found.slots)}")
            first = len(found.records) + 1
            found.records.extend((slot, record.header, record.body) for record in records)
            found.slots.append((write_id, first, len(found.records)))
            self._store.logs[log] = found
            self._store.truth.update((chunk.address, chunk.data) for chunk in chunks)

    def tail(self, log: str, *, fresh: bool = True) -> Tail:  # noqa: ARG002 - memory is always fresh
        """Return the newest slot and record number."""
        found = self._log(log)
        with self._store.lock:
            return Tail(len(found.slots), len(found.records))

    def look(self, log: str) -> Callable[[], Tail]:
        """Look for the end of a log at once; return a function that gives the result."""
        found = self.tail(log)
        return lambda: found

    def logs(self) -> list[str]:
        """Return the names of all logs."""
        self._check_open()
        with self._store.lock:
            return sorted(self._store.logs)

    def recalled(self) -> Self:
        """Return this handle, since no cache holds records (`Backend.recalled`)."""
        return self

    def read(
        self, log: str, first: int = 1, last: int | None = None, *, newest_first: bool = False
    ) -> Iterator[StoredRecord]:
        """Yield the headers of a range of records."""
        records = self._log(log).records
        numbers = range(max(first, 1), len(records) + 1 if last is None else min(last, len(records)) + 1)
        for number in reversed(numbers) if newest_first else numbers:
            slot, header, _ = records[number - 1]
            yield StoredRecord(number, slot, header)

    def bodies(self, log: str, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Yield the bodies of these records."""
        records = self._log(log).records
        for number in numbers:
            if not 1 <= number <= len(records):
                raise CorruptStore(f"record {number} of log {log} is missing", hint="run: kbstore verify")
            yield number, records[number - 1][2]

    def find_write(self, log: str, write_id: str, *, after: int | None = None) -> tuple[int, int] | None:
        """Return the records of a write."""
        with self._store.lock:
            slots = self._log(log).slots[after or 0 :]
            return next(((a, b) for found, a, b in slots if found == write_id), None)

    def get_chunks(self, addresses: Iterable[bytes], *, in_order: bool = False) -> Iterator[Found]:  # noqa: ARG002 - every read is quick
        """Yield the wanted chunks, last first, and a few gifts."""
        self._check_open()
        asked = list(dict.fromkeys(map(check_address, addresses)))
        with self._store.lock:
            best = {
                address: Found(address, data, tier, owner)
                for tier, owner, chunks in sorted(self._places(), key=lambda place: place[0])
                for address, data in chunks.items()
            }
        there = [best[address] for address in reversed(asked) if address in best]
        yield from there
        given = {found.address for found in there}
        gifts = (found for address, found in best.items() if address not in given)
        yield from itertools.islice(gifts, _GIFTS if there else 0)

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
        """Cache chunks as a snapshot."""
        self._check_writable()
        if not 1 <= tier < TRUTH:
            raise ValueError(f"a snapshot's tier is 1, 2 or 3, not {tier}")
        _check_bytes(note, "a note")
        chunks = list(chunks)
        _check_chunks(chunks)
        with self._store.lock:
            found = self._log(log)
            if not 1 <= number <= len(found.records):
                raise ValueError(f"log {log} has no record {number} to snapshot")
            there = {n: kept.note for n, kept in found.snapshots.items()}
            if not requires.items() <= there.items():
                return False
            found.snapshots[number] = _Snapshot(tier, note, {chunk.address: chunk.data for chunk in chunks})
            return True

    def snapshots(self, log: str) -> list[Snapshot]:
        """Return all snapshots of a log."""
        with self._store.lock:
            kept = sorted(self._log(log).snapshots.items())
            return [Snapshot(n, kept_.tier, kept_.note, _size(kept_.chunks)) for n, kept_ in kept]

    def drop_snapshots(self, log: str, numbers: Iterable[int]) -> int:
        """Forget snapshots."""
        self._check_writable()
        with self._store.lock:
            kept = self._log(log).snapshots
            return sum(kept.pop(number, None) is not None for number in set(numbers))

    def put_note(self, name: str, number: int, data: bytes) -> None:
        """Cache a small record."""
        self._check_writable()
        _check_bytes(data, "a note")
        with self._store.lock:
            self._store.notes.setdefault(check_note(name), {})[number] = data

    def notes(self, name: str, first: int = 0, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Yield the cached records of a name."""
        self._check_open()
        with self._store.lock:
            kept = sorted(self._store.notes.get(name, {}).items())
        yield from ((n, data) for n, data in kept if n >= first and (last is None or n <= last))

    def drop_notes(self, name: str) -> int:
        """Forget cached records."""
        self._check_writable()
        with self._store.lock:
            return len(self._store.notes.pop(name, {}))

    def note_names(self) -> list[str]:
        """Return the names under which notes are cached."""
        self._check_open()
        with self._store.lock:
            return sorted(self._store.notes)

    def collect(self, keep: Mapping[str, Iterable[int]], *, dry_run: bool = False) -> Collection:
        """Drop all snapshots except the kept snapshots; there is nothing to pack."""
        if not dry_run:
            self._check_writable()
        self._check_open()
        kept = {log: set(numbers) for log, numbers in keep.items()}
        with self._store.lock:
            before = self.size_bytes()
            count = size = 0
            for name, log in self._store.logs.items():
                for number in [n for n in log.snapshots if n not in kept.get(name, ())]:
                    count += 1
                    size += _size(log.snapshots[number].chunks)
                    if not dry_run:
                        del log.snapshots[number]
            return Collection(count, size, 0, 0, before, None if dry_run else self.size_bytes())

    def check(self) -> Iterator[Damage]:
        """Compare every chunk with the chunk's address."""
        self._check_open()
        with self._store.lock:
            places = list(self._places())
        for tier, _, chunks in places:
            for address, data in chunks.items():
                if hashlib.sha256(data).digest() != address:
                    yield Damage(f"chunk {address.hex()} does not match its address", cache=tier < TRUTH)

    def intact(self, log: str, number: int) -> bool:  # noqa: ARG002 - memory does not decay
        """Return True: memory keeps headers as written."""
        return True

    def size_bytes(self) -> int:
        """Return the bytes of headers, bodies, chunks and notes."""
        self._check_open()
        with self._store.lock:
            logs = sum(len(header) + len(body) for log in self._store.logs.values() for _, header, body in log.records)
            chunks = sum(_size(chunks) for _, _, chunks in self._places())
            return logs + chunks + sum(len(data) for kept in self._store.notes.values() for data in kept.values())

    def close(self) -> None:
        """Refuse further calls; the store itself lives on for other backend objects."""
        self._closed = True

    def _places(self) -> Iterator[tuple[int, tuple[str, int] | None, dict[bytes, bytes]]]:
        """Yield tier, owner and chunks of truth and of each snapshot."""
        yield TRUTH, None, self._store.truth
        for name, log in self._store.logs.items():
            yield from ((kept.tier, (name, number), kept.chunks) for number, kept in log.snapshots.items())

    def _log(self, log: str) -> _Log:
        self._check_open()
        with self._store.lock:
            return self._store.logs.get(check_log(log)) or _Log()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable(f"the store {self._location} is closed", hint="open it again")

    def _check_writable(self) -> None:
        self._check_open()
        if self._read_only:
            raise ReadOnlyStore(f"the store {self._location} was opened read-only", hint="open it for writing")


def _size(chunks: Mapping[bytes, bytes]) -> int:
    return sum(map(len, chunks.values()))


def _check_bytes(value: object, what: str) -> None:
    if type(value) is not bytes:
        raise TypeError(f"{what} is plain bytes, not {type(value).__name__}")


def _check_chunks(chunks: Sequence[Chunk]) -> None:
    for address, data in chunks:
        _check_bytes(data, "a chunk")
        if hashlib.sha256(data).digest() != address:
            raise ValueError(f"the address {address.hex()} is not the SHA-256 of the chunk's bytes")
