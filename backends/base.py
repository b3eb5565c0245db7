"""The contract of a backend: append-only logs of records, immutable chunks, and caches of both shapes.

A backend keeps bytes and knows nothing of JSON, events or knowledge bases. Truth has two shapes:

*Logs.* A log has a name of 1 to 16 characters of ``[0-9a-z]`` and densely numbered *slots*: 1, 2, 3, ... Exactly
one writer creates a slot, at once and for ever. A slot holds one or more *records*. Records are numbered densely too
(1, 2, 3, ...), across all slots of the log. A record is a small header and a body of any size; reading headers reads no
bodies.

*Chunks.* A chunk is immutable bytes with the SHA-256 of the bytes as name (the *address*, 32 raw bytes). Backends
compress and pack chunks as they like. A chunk that was written with a slot is truth and is never removed.

Caches may vanish at any time; the caller then rebuilds them. A *snapshot* is a set of chunks that belong together, with
a note. A *note* is a small record found by name and number.

Rules that every backend keeps, each with the damage that the rule prevents:

1. The chunks of a slot are durable no later than the slot itself, so a record never names a lost chunk.
2. ``append`` returns only when the slot is durable: an acknowledged commit survives a power cut.
3. A slot is never overwritten nor deleted: two writers never both win the same slot.
4. A reader sees a slot whole or not at all.
5. Every read is checked: a body or chunk that does not match the digest raises `CorruptStore` and is never returned.
6. A snapshot is written whole or not at all, and only while the snapshots in `requires` still exist; so a note never
   promises missing chunks.

A backend never retries a lost race: the caller decides. Methods may be called from several threads.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

NOTHING: Final[Mapping[int, bytes]] = MappingProxyType({})


class Record(NamedTuple):
    """A record to append: a small header, and a body that is read separately."""

    header: bytes
    body: bytes = b""


class StoredRecord(NamedTuple):
    """The place and the header of a stored record."""

    number: int
    slot: int
    header: bytes


class Tail(NamedTuple):
    """The newest slot and record number of a log; (0, 0) if the log is empty."""

    slot: int
    number: int


class Chunk(NamedTuple):
    """Immutable bytes, with the SHA-256 as address."""

    address: bytes
    data: bytes


class Snapshot(NamedTuple):
    """A cached set of chunks: everything needed at record `number` beyond the chunks of the required snapshots.

    Attributes:
        number: The record after which the snapshot was taken.
        tier: 1 (newest, dropped soon), 2, or 3 (complete except for truth). A higher tier outlives a lower tier.
        note: The caller's own bytes.
        size_bytes: Stored (compressed) bytes of the chunks.
    """

    number: int
    tier: int
    note: bytes
    size_bytes: int


TRUTH = 4
"""The tier of chunks that were written with a slot: above every cache, never dropped."""


class Found(NamedTuple):
    """A chunk as found: the bytes, and the place of the copy that was read.

    Attributes:
        tier: 1 to 3 in a snapshot, or `TRUTH`.
        owner: Log and number of the snapshot; None for truth.
    """

    address: bytes
    data: bytes
    tier: int
    owner: tuple[str, int] | None


class Damage(NamedTuple):
    """A difference between the stored data and the data as written.

    Attributes:
        what: A sentence that names the object and the fault.
        cache: True if nothing is lost, because the object can be dropped and rebuilt.
        records: Log, first and last number of the affected records; None if the damage affects no records.
        headers: True if the headers of these records can perhaps be read, but may differ from the headers as written.
        note: True if nothing is damaged, but a person should know of the finding.
    """

    what: str
    cache: bool
    records: tuple[str, int, int] | None = None
    headers: bool = False
    note: bool = False


@dataclass(frozen=True, slots=True)
class Collection:
    """The plan (before) or the result (after) of a garbage collection: the removed and the rewritten data.

    Attributes:
        dropped_snapshots: Number of snapshots dropped.
        dropped_bytes: Stored bytes freed by dropping.
        packed_bodies: Number of bodies moved into packs.
        packed_chunks: Number of chunks of truth repacked.
        size_before_bytes: Size of the whole store before.
        size_after_bytes: Size after; None in a plan.
        removed: Names of the objects to remove, now or when no reader can need the objects; only if objects have names.
        kept: Names of the objects that the server refuses to remove.
        kept_because: The reason for the first of these objects; else empty.
    """

    dropped_snapshots: int
    dropped_bytes: int
    packed_bodies: int
    packed_chunks: int
    size_before_bytes: int
    size_after_bytes: int | None
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    kept_because: str = ""


class Backend(Protocol):
    """A place that keeps logs, chunks and caches; the module's docstring has the rules."""

    @property
    def location(self) -> str:
        """The name of this store for people: a path or a URL, without secrets."""
        ...

    @property
    def read_only(self) -> bool:
        """True if every writing method raises `ReadOnlyStore`."""
        ...

    @property
    def shares_slots(self) -> bool:
        """True if `append` takes several `writes`, so that commits made at the same time share a slot."""
        ...

    @property
    def remote(self) -> bool:
        """True if each call costs a round trip.

        A complete snapshot then holds truth too, so that a reader gets everything at once.
        """
        ...

    def server_time(self) -> datetime | None:
        """Return the time now by the server's clock, computed from the last answer; None if no server says a time."""
        ...

    def expect(
        self,
        log: str,
        *,
        listing: bool = False,
        snapshot: int | None = None,
        bodies: Sequence[int] = (),
        notes: tuple[str, int, int] | None = None,
    ) -> None:
        """Announce the next reads, so that a backend with slow requests can fetch everything in parallel.

        Only speed depends on this method. Nothing is raised: a failed fetch fails again at the real read.

        Args:
            log: The log's name.
            listing: Expect `snapshots`.
            snapshot: Expect the chunks of this record's snapshot and of the snapshots required by it.
            bodies: Expect the bodies of these records.
            notes: Expect `notes` with this name, first and last number.
        """
        ...

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
        """Create slot `slot` of `log` with these records and chunks, durably, all or nothing.

        Args:
            log: The log's name; the log may be new.
            slot: The number after the newest slot that the caller has seen.
            records: At least one record; the numbers continue from the log's newest record.
            write_id: Up to 64 characters that identify this write, for `find_write`.
            chunks: Chunks that the records need, in reading order. All become truth, even if a cache already holds the
                same chunk.
            writes: Only if `shares_slots`: the ids of several writes, `write_id` first. Each id comes with the number
                of records in the write, in order. `find_write` then finds each write with the right records.

        Raises:
            SlotTaken: The slot exists (written by somebody else, or by an earlier try of this write), or a slot in
                between is missing.
            OutcomeUnknown: The write may or may not be durable.
            StoreUnavailable: Nothing was written.
        """
        ...

    def tail(self, log: str, *, fresh: bool = True) -> Tail:
        """Return the newest slot and record number of a log; the cost does not depend on the log's length.

        Args:
            log: The log's name.
            fresh: False accepts the knowledge of this handle, if not clearly outdated. The handle also knows a slot for
                which it just raised `SlotTaken`.
        """
        ...

    def look(self, log: str) -> Callable[[], Tail]:
        """Start to look for the end of a log; return a function that gives the result (and waits for a slow look)."""
        ...

    def logs(self) -> list[str]:
        """Return the names of all logs that hold a slot, sorted."""
        ...

    def recalled(self) -> "Backend":
        """Return a handle that also reads records from caches after the records' slots are lost, to save the records.

        The handle only reads; close it before this handle. If no cache holds records, this handle itself is returned.
        """
        ...

    def read(
        self, log: str, first: int = 1, last: int | None = None, *, newest_first: bool = False
    ) -> Iterator[StoredRecord]:
        """Yield the headers of records `first` to `last`, both included, in order of number; reads no bodies.

        Numbers outside the log are skipped. The caller may abandon the iterator, which holds no lock between items.
        """
        ...

    def bodies(self, log: str, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Yield the bodies of these records, in the order asked; a ``range`` is fastest.

        Raises:
            CorruptStore: A body is missing or damaged.
        """
        ...

    def find_write(self, log: str, write_id: str, *, after: int | None = None) -> tuple[int, int] | None:
        """Return the first and last record number of the write with this id, or None.

        Args:
            log: The log's name.
            write_id: The id given to `append`.
            after: The write can only be in a later slot, and the knowledge of this handle (see `tail`) is enough.
        """
        ...

    def get_chunks(self, addresses: Iterable[bytes], *, in_order: bool = False) -> Iterator[Found]:
        """Yield the wanted chunks that exist, in any order, and as *gifts* the neighbours in the same packs.

        A reader of a whole state keeps the gifts and asks for little; a reader of a single value drops the gifts.

        Args:
            addresses: Addresses of the wanted chunks.
            in_order: The caller reads on from there in the order of writing, so gifts may include the next packs.

        Raises:
            CorruptStore: A wanted chunk is damaged and every other copy too.
        """
        ...

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
        """Cache chunks, in reading order, as the snapshot of record `number`; replaces a snapshot with that number.

        Args:
            chunks: An iterator is read once, with little in memory.
            requires: The snapshots of this log that this snapshot builds on: number and note of each. A snapshot put
                under the same number since then has other chunks, and does not count.

        Returns:
            False, with nothing written, if a snapshot in `requires` is gone or was replaced.
        """
        ...

    def snapshots(self, log: str) -> list[Snapshot]:
        """Return all snapshots of a log, in order of number; reads no chunks."""
        ...

    def drop_snapshots(self, log: str, numbers: Iterable[int]) -> int:
        """Forget these snapshots and their chunks (never truth); return the number of snapshots dropped."""
        ...

    def put_note(self, name: str, number: int, data: bytes) -> None:
        """Cache a small record under a name (1 to 40 of ``[0-9a-z/-]``) and number; replaces an earlier record."""
        ...

    def notes(self, name: str, first: int = 0, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Yield the cached records of a name, in order of number."""
        ...

    def drop_notes(self, name: str) -> int:
        """Forget all cached records of a name; return the number of records dropped."""
        ...

    def note_names(self) -> list[str]:
        """Return the names under which notes are cached."""
        ...

    def collect(self, keep: Mapping[str, Iterable[int]], *, dry_run: bool = False) -> Collection:
        """Drop all snapshots except the kept snapshots, pack cold bodies and chunks tightly, and free space.

        Safe beside readers and writers in other processes; a kill at any moment leaves a whole store.
        """
        ...

    def check(self) -> Iterator[Damage]:
        """Read every stored byte and report differences to the bytes as written; the caller checks the meaning."""
        ...

    def intact(self, log: str, number: int) -> bool:
        """Return whether a record's header matches the backend's own checksum; this may look at all writes."""
        ...

    def size_bytes(self) -> int:
        """Return the size of the store on disk (or in memory) now."""
        ...

    def close(self) -> None:
        """Release files and connections. Closing twice is allowed."""
        ...
