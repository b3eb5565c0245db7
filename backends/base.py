"""What a backend promises: append-only logs of records, immutable chunks, and caches of both shapes.

A backend keeps bytes and knows nothing of JSON, events or knowledge bases. It has two shapes of truth:

*Logs.* A log is named by 1 to 16 characters of ``[0-9a-z]`` and holds densely numbered *slots*: 1, 2, 3, ... A slot is
created by exactly one writer, at once and for ever, and holds one or more *records*. Records are numbered densely
through the log as well (1, 2, 3, ...), whatever slots they stand in. A record is a small header and a body of any size;
reading headers reads no bodies.

*Chunks.* A chunk is bytes named by the SHA-256 of those bytes (its *address*, 32 raw bytes). Backends compress and pack
chunks as they like. A chunk that was written with a slot is truth and is never removed.

Beside them stand caches, which may vanish at any time and are then rebuilt by the caller: *snapshots* (chunks that
belong together, with a note) and *notes* (small records found by name and number).

Rules that every backend keeps, and the damage that each prevents:

1. The chunks of a slot are durable no later than the slot itself, so no record ever names a chunk that was lost.
2. ``append`` returns only when the slot is durable: an acknowledged commit survives a power cut.
3. A slot is never overwritten nor deleted: two writers never both win it.
4. A reader sees a slot whole or not at all.
5. What is read is checked: a body or chunk that does not match its digest raises `CorruptStore`, and is never returned.
6. A snapshot is written whole or not at all, and only while the snapshots that it `requires` still exist; so a note
   never promises chunks that are not there.

Nothing here retries a lost race: that is the caller's decision. Methods may be called from several threads.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

NOTHING: Final[Mapping[int, bytes]] = MappingProxyType({})


class Record(NamedTuple):
    """One record to append: a small header, and a body that is read apart."""

    header: bytes
    body: bytes = b""


class StoredRecord(NamedTuple):
    """A record's place and header, as read back."""

    number: int
    slot: int
    header: bytes


class Tail(NamedTuple):
    """The newest slot and record number of a log; (0, 0) where it is empty."""

    slot: int
    number: int


class Chunk(NamedTuple):
    """Immutable bytes and the SHA-256 that names them."""

    address: bytes
    data: bytes


class Snapshot(NamedTuple):
    """A cached set of chunks: everything needed at record `number` that its requirements do not hold.

    Attributes:
        number: The record after which the snapshot was taken.
        tier: 1 (newest, soon dropped), 2, or 3 (complete but for truth). A higher tier outlives a lower.
        note: The caller's own bytes.
        size_bytes: Stored (compressed) bytes of its chunks.
    """

    number: int
    tier: int
    note: bytes
    size_bytes: int


TRUTH = 4
"""The tier of chunks that were written with a slot: above every cache, never dropped."""


class Found(NamedTuple):
    """A chunk as found: its bytes, and where the copy that was read stands.

    Attributes:
        tier: 1 to 3 in a snapshot, or `TRUTH`.
        owner: Log and number of the snapshot; None for truth.
    """

    address: bytes
    data: bytes
    tier: int
    owner: tuple[str, int] | None


class Damage(NamedTuple):
    """Something that is not as it was written.

    Attributes:
        what: One sentence naming the object and the fault.
        cache: True where nothing is lost, since it can be dropped and rebuilt.
        records: Log, first and last number of the records that it is about; None if it is about no records.
        headers: True if the headers of these records may be read, and not be as they were written.
        note: True if it is no damage, but a person should know of it.
    """

    what: str
    cache: bool
    records: tuple[str, int, int] | None = None
    headers: bool = False
    note: bool = False


@dataclass(frozen=True, slots=True)
class Collection:
    """What a collection of garbage removes and rewrites, as a plan (before) or a result (after).

    Attributes:
        dropped_snapshots: How many snapshots go.
        dropped_bytes: Stored bytes that they free.
        packed_bodies: How many bodies are moved into packs.
        packed_chunks: How many chunks of truth are repacked.
        size_before_bytes: Size of the whole store before.
        size_after_bytes: Size after; None in a plan.
        removed: Names of the objects that go, now or once nobody can be reading them; only if objects have names.
        kept: Names of the objects that were to go, and that the server refuses to remove.
        kept_because: Why, of the first of them; else empty.
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
    """A place that keeps logs, chunks and caches. See the module's text for the rules."""

    @property
    def location(self) -> str:
        """How a person names this store: a path or a URL, without secrets."""
        ...

    @property
    def read_only(self) -> bool:
        """True where every writing method raises `ReadOnlyStore`."""
        ...

    @property
    def shares_slots(self) -> bool:
        """True where `append` takes several `writes`, so that commits that meet are one slot."""
        ...

    @property
    def remote(self) -> bool:
        """True where each call costs a round trip: a complete snapshot then holds truth too, to be read at once."""
        ...

    def server_time(self) -> datetime | None:
        """The present by the clock of the server that keeps the store, as its last answer tells; None without one."""
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
        """The caller is about to ask for these: where a request is dear they are fetched beside one another.

        Nothing depends on it but time, and nothing is raised: what fails here fails again when it is asked for.

        Args:
            log: The log's name.
            listing: `snapshots`.
            snapshot: The chunks of the snapshot of this record, and of those that it requires.
            bodies: Bodies of these records.
            notes: `notes` with this name, first and last number.
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
            log: The log's name; it need not exist yet.
            slot: One more than the newest slot that the caller has seen.
            records: One or more; they are numbered on from the log's newest record.
            write_id: Up to 64 characters that identify this write, for `find_write`.
            chunks: Chunks that the records need, in reading order; they become truth, also where the same
                chunk was there as a cache.
            writes: Only where `shares_slots`: the ids of several writes, `write_id` first, each with how many of the
                records it brings, in their order. Each is then found with its own records.

        Raises:
            SlotTaken: The slot exists (written by somebody else, or by an earlier try of this write), or a slot
                between is missing.
            OutcomeUnknown: The write may or may not be durable.
            StoreUnavailable: Nothing was written.
        """
        ...

    def tail(self, log: str, *, fresh: bool = True) -> Tail:
        """The newest slot and record number of a log; cost does not depend on its length.

        Args:
            log: The log's name.
            fresh: False is content with what this handle knows, where it is not clearly behind; that includes a slot
                for which it was just told `SlotTaken`.
        """
        ...

    def look(self, log: str) -> Callable[[], Tail]:
        """Begin to look where a log ends now; what is returned tells it, and waits only then where that is dear."""
        ...

    def logs(self) -> list[str]:
        """Names of all logs that hold a slot, sorted."""
        ...

    def recalled(self) -> "Backend":
        """Return a handle whose logs reach as far as caches hold records whose slots are gone, to save what is left.

        It only reads, and is to be closed before this one. Where no cache holds records it is this handle itself.
        """
        ...

    def read(
        self, log: str, first: int = 1, last: int | None = None, *, newest_first: bool = False
    ) -> Iterator[StoredRecord]:
        """Headers of records `first` to `last`, both included, in order of number; reads no bodies.

        Numbers outside the log are passed over. The iterator may be abandoned; it holds no lock between items.
        """
        ...

    def bodies(self, log: str, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Bodies of these records, in the order asked (a ``range`` is served fastest).

        Raises:
            CorruptStore: A body is missing or damaged.
        """
        ...

    def find_write(self, log: str, write_id: str, *, after: int | None = None) -> tuple[int, int] | None:
        """First and last record number of the slot that was written with this id, or None.

        Args:
            log: The log's name.
            write_id: As it was given to `append`.
            after: The write cannot stand in this slot or before, and what this handle knows (see `tail`) is enough.
        """
        ...

    def get_chunks(self, addresses: Iterable[bytes], *, in_order: bool = False) -> Iterator[Found]:
        """The chunks asked for that exist, in any order, and as a gift their neighbours in the same pack.

        A reader that walks a whole state keeps the gifts and asks for little; a reader of one value drops them.

        Args:
            addresses: Of the chunks that are wanted.
            in_order: The caller reads on from there in the order of writing, so gifts may reach some packs further.

        Raises:
            CorruptStore: A chunk asked for is damaged and no other copy is sound.
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
        """Cache chunks, in reading order, as the snapshot of record `number`; replaces one of that number.

        Args:
            chunks: An iterator is read once, holding little.
            requires: Snapshots of this log whose chunks this one builds on: the number and the note of each. Another
                one that was put under the same number since then holds other chunks, and does not count.

        Returns:
            False, having written nothing, if one of `requires` is gone or was replaced.
        """
        ...

    def snapshots(self, log: str) -> list[Snapshot]:
        """All snapshots of a log, in order of number. Reads no chunks."""
        ...

    def drop_snapshots(self, log: str, numbers: Iterable[int]) -> int:
        """Forget these snapshots and their chunks (never truth); returns how many there were."""
        ...

    def put_note(self, name: str, number: int, data: bytes) -> None:
        """Cache a small record under a name (1 to 40 of ``[0-9a-z/-]``) and number; a later one replaces it."""
        ...

    def notes(self, name: str, first: int = 0, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Cached records of that name, in order of number."""
        ...

    def drop_notes(self, name: str) -> int:
        """Forget all cached records of that name; returns how many there were."""
        ...

    def note_names(self) -> list[str]:
        """Names under which notes are cached."""
        ...

    def collect(self, keep: Mapping[str, Iterable[int]], *, dry_run: bool = False) -> Collection:
        """Drop all snapshots but those kept, pack cold bodies and chunks tightly, give the space back.

        Safe beside readers and writers in other processes; one that is killed leaves the store as before or as after.
        """
        ...

    def check(self) -> Iterator[Damage]:
        """Read every byte that is stored and report what is not as written. The caller checks what it means."""
        ...

    def intact(self, log: str, number: int) -> bool:
        """Whether a record's header is as it was written, by the backend's own checksum; it may look at all writes."""
        ...

    def size_bytes(self) -> int:
        """What the store takes on disk (or in memory) now."""
        ...

    def close(self) -> None:
        """Release files and connections. Closing twice is allowed."""
        ...
