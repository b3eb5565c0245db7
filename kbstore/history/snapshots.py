"""When to take snapshots, and which snapshot to start a fold from.

Two costs conflict. Near the head, a cold process pays for every event since the newest snapshot, since the hashes of
all touched nodes are needed. So snapshots are dense there, and small: only the new nodes. Far from the head, states are
not extended, and replay on a plain value is cheap, but stored bytes are not. So only complete snapshots stay, each at a
distance at which folding from the previous complete snapshot would cost more than a fraction of decoding the document.

The result is three tiers: *dense* (nodes new since the last snapshot), *middle* (nodes new since the last middle or
complete snapshot), *complete* (all nodes; except truth, if truth is local). A dense or middle snapshot builds on the
earlier snapshots of the same or a higher tier, and is dropped when a snapshot of a higher tier is taken.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import orjson

from kbstore.backends.base import Backend, Snapshot
from kbstore.history.branch import Line
from kbstore.kit.errors import StoreUnavailable

DENSE: Final = 1
MIDDLE: Final = 2
COMPLETE: Final = 3

FOLD_TREE_S: Final = 10e-6
"""Measured: time to fold one operation on a cold tree, including reading the nodes."""
FOLD_PLAIN_S: Final = 2.2e-6
"""Measured: time to fold one operation on a plain value, including reading the operation."""
DECODE_S_PER_BYTE: Final = 4e-9
"""Measured: time to turn a byte of a stored state into Python values."""

_OPERATIONS_PER_EVENT: Final = 6
_DENSE_AFTER_S: Final = 4e-3
_DENSE_PER_MIDDLE: Final = 8
_COMPLETE_FRACTION: Final = 0.12
_COMPLETE_AT_LEAST_S: Final = 15e-3
_COLD_COMMIT_S: Final = 0.1
_SCATTERED_FACTOR: Final = 1.6
"""Measured: time to read a state from several snapshots, relative to a state stored in order."""


@dataclass(frozen=True, slots=True)
class Start:
    """A place for a fold to start.

    Attributes:
        seq: The version of the state; 0 is the empty beginning.
        root: Address of the state; None for a state in memory, or for the empty beginning.
        tier: Tier of the snapshot, or 0.
        log: Log of the snapshot.
        number: Number of the snapshot in the log.
        size: Length of the canonical form of the document.
    """

    seq: int
    root: bytes | None
    tier: int
    log: str | None = None
    number: int = 0
    size: int = 0


class Base(NamedTuple):
    """The snapshot below another snapshot.

    Attributes:
        number: Number of the snapshot.
        mark: Distinguishes the snapshot from any other snapshot with this number: see `mark_of`.
    """

    number: int
    mark: str


@dataclass(frozen=True, slots=True)
class Note:
    """The content of a snapshot's note.

    Attributes:
        root: Address of the state's root.
        size: Length of the canonical form.
        operations: Number of operations folded since the previous complete snapshot.
        on: The snapshot below, whose note names the next snapshot below; None if the snapshot builds on truth alone.
    """

    root: bytes
    size: int
    operations: int = 0
    on: Base | None = None

    def encode(self) -> bytes:
        """Return the bytes of the note."""
        on = None if self.on is None else list(self.on)
        return orjson.dumps({"on": on, "operations": self.operations, "root": self.root.hex(), "size": self.size})


def mark_of(note: bytes) -> str:
    """Return the mark of a snapshot with this note; snapshots that build on the snapshot name the mark."""
    return hashlib.sha256(note).hexdigest()[:8]


def read_note(snapshot: Snapshot) -> Note | None:
    """Return the note of a snapshot; None if the note cannot be read (the snapshot is then as good as gone)."""
    return _parsed(snapshot.note)


@lru_cache(maxsize=1024)
def _parsed(note: bytes) -> Note | None:
    try:
        fields = orjson.loads(note)
        on = None if fields["on"] is None else Base(int(fields["on"][0]), str(fields["on"][1]))
        return Note(bytes.fromhex(fields["root"]), int(fields["size"]), int(fields["operations"]), on)
    except (ValueError, KeyError, TypeError, IndexError):
        return None


class Usable(NamedTuple):
    """A snapshot with all chunks there.

    Attributes:
        snapshot: The snapshot as the backend lists it.
        note: The note of the snapshot.
        chain: The snapshots below, lowest first, and the snapshot.
    """

    snapshot: Snapshot
    note: Note
    chain: tuple[Snapshot, ...]


def usable(found: Iterable[Snapshot]) -> list[Usable]:
    """Return the snapshots without a missing base; a base that another process replaced counts as missing.

    Several processes take and drop snapshots of one log, and do not wait for each other.

    Args:
        found: All snapshots of one log, in order of number.
    """
    by_number: dict[int, Usable] = {}
    for snapshot in found:
        note = read_note(snapshot)
        if note is None:
            continue
        below: tuple[Snapshot, ...] = ()
        if note.on is not None:
            base = by_number.get(note.on.number)
            if base is None or mark_of(base.snapshot.note) != note.on.mark:
                continue
            below = base.chain
        by_number[snapshot.number] = Usable(snapshot, note, (*below, snapshot))
    return list(by_number.values())


def listed(backend: Backend, log: str) -> list[Snapshot] | None:
    """Return the snapshots of a log; None if the backend cannot list them.

    Without snapshots, work is slow but possible: snapshots are only a cache.
    """
    try:
        return backend.snapshots(log)
    except StoreUnavailable:
        return None


def starts(backend: Backend, line: Line, seq: int, dropped: Iterable[int] = ()) -> list[Start]:
    """Return the empty beginning, then all snapshots of a line at or before a version, in order."""
    found = [Start(0, None, 0)]
    for segment in line.segments:
        there = [s for s in listed(backend, segment.log) or () if segment.offset + s.number not in dropped]
        for snapshot, note, _ in usable(there):
            at = segment.offset + snapshot.number
            if at <= seq and (segment.last is None or at <= segment.last):
                found.append(Start(at, note.root, snapshot.tier, segment.log, snapshot.number, note.size))
    return found


def choose_for_tree(places: list[Start], seq: int) -> Start:
    """Return the newest place at or before a version: a tree reads only touched nodes, so nothing else counts."""
    return max((p for p in places if p.seq <= seq), key=lambda p: p.seq)


def choose_for_document(places: list[Start], seq: int) -> Start:
    """Return the place with the least cost for the whole document: decode the document, then fold the events after."""
    size = max((p.size for p in places), default=0)

    def cost_s(place: Start) -> float:
        scattered = _SCATTERED_FACTOR if place.tier in (DENSE, MIDDLE) else 1.0
        return size * DECODE_S_PER_BYTE * scattered + (seq - place.seq) * _OPERATIONS_PER_EVENT * FOLD_PLAIN_S

    return min((p for p in places if p.seq <= seq), key=cost_s)


def due_tier(operations_since_any: int, denses_since_middle: int, operations_since_complete: int, size: int) -> int:
    """Return the tier of the due snapshot, or 0.

    Args:
        operations_since_any: Operations since the newest snapshot of any tier.
        denses_since_middle: Dense snapshots since the newest middle or complete snapshot.
        operations_since_complete: Operations since the newest complete snapshot, or since the first event.
        size: Length of the canonical form of the document.
    """
    if operations_since_any * FOLD_TREE_S < _DENSE_AFTER_S:
        return 0
    worth_s = max(size * DECODE_S_PER_BYTE * _COMPLETE_FRACTION, _COMPLETE_AT_LEAST_S)
    if operations_since_complete * FOLD_PLAIN_S > worth_s:
        return COMPLETE
    return MIDDLE if denses_since_middle >= _DENSE_PER_MIDDLE else DENSE


def worth_keeping(snapshots: list[Snapshot]) -> list[int]:
    """Return the numbers of the snapshots of one log that ``gc`` keeps.

    ``gc`` keeps a complete snapshot if folding plain values from the kept snapshot before would cost more than a
    fraction of decoding the document. It also keeps the newest snapshot of any tier, with all snapshots below, if a
    cold process would otherwise fold for longer than `_COLD_COMMIT_S` before a commit.
    """
    there = usable(sorted(snapshots))
    kept: set[int] = set()
    last = 0
    for snapshot, note, _ in there:
        if snapshot.tier != COMPLETE:
            continue
        fold_s = (snapshot.number - last) * _OPERATIONS_PER_EVENT * FOLD_PLAIN_S
        if fold_s > max(note.size * DECODE_S_PER_BYTE * _COMPLETE_FRACTION, _COMPLETE_AT_LEAST_S):
            kept.add(snapshot.number)
            last = snapshot.number
    if there and (there[-1].snapshot.number - last) * _OPERATIONS_PER_EVENT * FOLD_TREE_S > _COLD_COMMIT_S:
        kept.update(s.number for s in there[-1].chain)
    return sorted(kept)
