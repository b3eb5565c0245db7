"""A wrapping backend that counts the calls to a store and the bytes in each direction.

Tests use the counts to state costs ("a warm commit is one request"), so that a cost is a number and not a wall time. A
request is a call that reaches the store. An iterator counts as soon as the first item is asked for; bytes count item by
item.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

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


@dataclass(slots=True)
class Counts:
    """The counts since the last reset.

    Attributes:
        calls: The number of calls of each method, by name.
        read_bytes: Bytes of headers, bodies, chunks (gifts too) and notes that came back.
        written_bytes: Bytes of the same kinds that were handed over.
        items: Records, bodies, chunks and notes that came back, by method.
    """

    calls: Counter[str] = field(default_factory=Counter)
    items: Counter[str] = field(default_factory=Counter)
    read_bytes: int = 0
    written_bytes: int = 0

    @property
    def requests(self) -> int:
        """All calls together."""
        return self.calls.total()


class CountingBackend:
    """A backend that passes on every call and counts in `counts`; `kbstore.backends.base.Backend` describes all."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.counts = Counts()

    def reset(self) -> Counts:
        """Start from zero; return the counts until now."""
        done, self.counts = self.counts, Counts()
        return done

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
        """Return the server's time; not counted."""
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
        """Pass the announcement on; not counted."""
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
        """Create a slot; count the bytes of records and chunks."""
        size = sum(len(header) + len(body) for header, body in records) + sum(len(chunk.data) for chunk in chunks)
        self._count("append", written_bytes=size)
        self.inner.append(log, slot, records, write_id=write_id, chunks=chunks, writes=writes)

    def tail(self, log: str, *, fresh: bool = True) -> Tail:
        """Return the newest slot and record number."""
        self._count("tail")
        return self.inner.tail(log, fresh=fresh)

    def look(self, log: str) -> Callable[[], Tail]:
        """Start to look for the end of a log; counted as a `tail`."""
        self._count("tail")
        return self.inner.look(log)

    def logs(self) -> list[str]:
        """Return the names of all logs."""
        self._count("logs")
        return self.inner.logs()

    def recalled(self) -> Backend:
        """See `Backend.recalled`."""
        found = self.inner.recalled()
        return self if found is self.inner else found

    def read(
        self, log: str, first: int = 1, last: int | None = None, *, newest_first: bool = False
    ) -> Iterator[StoredRecord]:
        """Yield the headers of a range of records."""
        self._count("read")
        for record in self.inner.read(log, first, last, newest_first=newest_first):
            self._came("read", len(record.header))
            yield record

    def bodies(self, log: str, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Yield the bodies of these records."""
        self._count("bodies")
        for number, body in self.inner.bodies(log, numbers):
            self._came("bodies", len(body))
            yield number, body

    def find_write(self, log: str, write_id: str, *, after: int | None = None) -> tuple[int, int] | None:
        """Return the records of a write."""
        self._count("find_write")
        return self.inner.find_write(log, write_id, after=after)

    def get_chunks(self, addresses: Iterable[bytes], *, in_order: bool = False) -> Iterator[Found]:
        """Yield the wanted chunks and gifts."""
        self._count("get_chunks")
        for found in self.inner.get_chunks(addresses, in_order=in_order):
            self._came("get_chunks", len(found.data))
            yield found

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
        """Cache chunks as a snapshot; count the bytes of the note and the chunks."""
        self._count("put_snapshot", written_bytes=len(note))
        return self.inner.put_snapshot(log, number, tier=tier, note=note, chunks=self._going(chunks), requires=requires)

    def snapshots(self, log: str) -> list[Snapshot]:
        """Return all snapshots of a log."""
        self._count("snapshots")
        return self.inner.snapshots(log)

    def drop_snapshots(self, log: str, numbers: Iterable[int]) -> int:
        """Forget snapshots."""
        self._count("drop_snapshots")
        return self.inner.drop_snapshots(log, numbers)

    def put_note(self, name: str, number: int, data: bytes) -> None:
        """Cache a small record."""
        self._count("put_note", written_bytes=len(data))
        self.inner.put_note(name, number, data)

    def notes(self, name: str, first: int = 0, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Yield the cached records of a name."""
        self._count("notes")
        for number, data in self.inner.notes(name, first, last):
            self._came("notes", len(data))
            yield number, data

    def drop_notes(self, name: str) -> int:
        """Forget cached records."""
        self._count("drop_notes")
        return self.inner.drop_notes(name)

    def note_names(self) -> list[str]:
        """Return the names under which notes are cached."""
        self._count("note_names")
        return self.inner.note_names()

    def collect(self, keep: Mapping[str, Iterable[int]], *, dry_run: bool = False) -> Collection:
        """Collect garbage."""
        self._count("collect")
        return self.inner.collect(keep, dry_run=dry_run)

    def check(self) -> Iterator[Damage]:
        """Yield the damage of the store."""
        self._count("check")
        yield from self.inner.check()

    def intact(self, log: str, number: int) -> bool:
        """Return whether a header is as written."""
        self._count("intact")
        return self.inner.intact(log, number)

    def size_bytes(self) -> int:
        """Return the size of the store."""
        self._count("size_bytes")
        return self.inner.size_bytes()

    def close(self) -> None:
        """Close the inner backend; not counted."""
        self.inner.close()

    def _count(self, method: str, *, written_bytes: int = 0) -> None:
        self.counts.calls[method] += 1
        self.counts.written_bytes += written_bytes

    def _came(self, method: str, size: int) -> None:
        self.counts.items[method] += 1
        self.counts.read_bytes += size

    def _going(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        for chunk in chunks:
            self.counts.written_bytes += len(chunk.data)
            yield chunk
