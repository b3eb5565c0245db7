"""A wrapping backend that counts: how often a store is asked, and how many bytes go each way.

Tests state costs with it ("a warm commit is one request"), so that a cost is a number and not a wall time. A request is
one call that reaches the store; an iterator counts when its first item is asked for, and its bytes as they are given.
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
    """What was counted since the last reset.

    Attributes:
        calls: How often each method was called, by name.
        read_bytes: Bytes of headers, bodies, chunks (gifts too) and notes that came back.
        written_bytes: Bytes of the same that were handed over.
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
    """Passes everything on to another backend and counts it in `counts`. See `kbstore.backends.base.Backend`."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.counts = Counts()

    def reset(self) -> Counts:
        """Start from zero; returns what was counted until now."""
        done, self.counts = self.counts, Counts()
        return done

    @property
    def location(self) -> str:
        """How a person names this store."""
        return self.inner.location

    @property
    def read_only(self) -> bool:
        """True where every writing method raises `ReadOnlyStore`."""
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
        """See `Backend.server_time`; not counted."""
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
        """See `Backend.expect`; not counted."""
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
        """See `Backend.append`."""
        size = sum(len(header) + len(body) for header, body in records) + sum(len(chunk.data) for chunk in chunks)
        self._count("append", written_bytes=size)
        self.inner.append(log, slot, records, write_id=write_id, chunks=chunks, writes=writes)

    def tail(self, log: str, *, fresh: bool = True) -> Tail:
        """See `Backend.tail`."""
        self._count("tail")
        return self.inner.tail(log, fresh=fresh)

    def look(self, log: str) -> Callable[[], Tail]:
        """See `Backend.look`; counted as a `tail`."""
        self._count("tail")
        return self.inner.look(log)

    def logs(self) -> list[str]:
        """See `Backend.logs`."""
        self._count("logs")
        return self.inner.logs()

    def recalled(self) -> Backend:
        """See `Backend.recalled`."""
        found = self.inner.recalled()
        return self if found is self.inner else found

    def read(
        self, log: str, first: int = 1, last: int | None = None, *, newest_first: bool = False
    ) -> Iterator[StoredRecord]:
        """See `Backend.read`."""
        self._count("read")
        for record in self.inner.read(log, first, last, newest_first=newest_first):
            self._came("read", len(record.header))
            yield record

    def bodies(self, log: str, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """See `Backend.bodies`."""
        self._count("bodies")
        for number, body in self.inner.bodies(log, numbers):
            self._came("bodies", len(body))
            yield number, body

    def find_write(self, log: str, write_id: str, *, after: int | None = None) -> tuple[int, int] | None:
        """See `Backend.find_write`."""
        self._count("find_write")
        return self.inner.find_write(log, write_id, after=after)

    def get_chunks(self, addresses: Iterable[bytes], *, in_order: bool = False) -> Iterator[Found]:
        """See `Backend.get_chunks`."""
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
        """See `Backend.put_snapshot`."""
        self._count("put_snapshot", written_bytes=len(note))
        return self.inner.put_snapshot(log, number, tier=tier, note=note, chunks=self._going(chunks), requires=requires)

    def snapshots(self, log: str) -> list[Snapshot]:
        """See `Backend.snapshots`."""
        self._count("snapshots")
        return self.inner.snapshots(log)

    def drop_snapshots(self, log: str, numbers: Iterable[int]) -> int:
        """See `Backend.drop_snapshots`."""
        self._count("drop_snapshots")
        return self.inner.drop_snapshots(log, numbers)

    def put_note(self, name: str, number: int, data: bytes) -> None:
        """See `Backend.put_note`."""
        self._count("put_note", written_bytes=len(data))
        self.inner.put_note(name, number, data)

    def notes(self, name: str, first: int = 0, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        """See `Backend.notes`."""
        self._count("notes")
        for number, data in self.inner.notes(name, first, last):
            self._came("notes", len(data))
            yield number, data

    def drop_notes(self, name: str) -> int:
        """See `Backend.drop_notes`."""
        self._count("drop_notes")
        return self.inner.drop_notes(name)

    def note_names(self) -> list[str]:
        """See `Backend.note_names`."""
        self._count("note_names")
        return self.inner.note_names()

    def collect(self, keep: Mapping[str, Iterable[int]], *, dry_run: bool = False) -> Collection:
        """See `Backend.collect`."""
        self._count("collect")
        return self.inner.collect(keep, dry_run=dry_run)

    def check(self) -> Iterator[Damage]:
        """See `Backend.check`."""
        self._count("check")
        yield from self.inner.check()

    def intact(self, log: str, number: int) -> bool:
        """See `Backend.intact`."""
        self._count("intact")
        return self.inner.intact(log, number)

    def size_bytes(self) -> int:
        """See `Backend.size_bytes`."""
        self._count("size_bytes")
        return self.inner.size_bytes()

    def close(self) -> None:
        """See `Backend.close`; not counted."""
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
