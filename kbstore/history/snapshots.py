"""When snapshots are taken, and which of them a fold starts from.

Two costs pull against each other. Near the head a cold process pays for every event since the newest snapshot, since
it needs the hashes of all that they touched; so snapshots are dense there, and small: only the nodes that are new.
Behind the head nobody extends a state, replay on a plain value is cheap and bytes are not; so only complete snapshots
stay, one wherever folding from the one before would cost more than a fraction of decoding the document.

That gives three tiers, each building on the one above it and thrown away when a newer one of its tier or above
replaces it: *dense* (new since the last middle one), *middle* (new since the last complete one), *complete* (all but
truth).
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
"""Measured: folding one operation on a cold tree, reading its nodes included."""
FOLD_PLAIN_S: Final = 2.2e-6
"""Measured: folding one operation on a plain value, reading it included."""
DECODE_S_PER_BYTE: Final = 4e-9
"""Measured: turning a byte of a stored state into Python values."""

_OPERATIONS_PER_EVENT: Final = 6
_DENSE_AFTER_S: Final = 4e-3
_DENSE_PER_MIDDLE: Final = 8
_COMPLETE_FRACTION: Final = 0.12
_COMPLETE_AT_LEAST_S: Final = 15e-3
_COLD_COMMIT_S: Final = 0.1
_SCATTERED_FACTOR: Final = 1.6
"""Measured: reading a state whose nodes stand in several snapshots, against one that stands in order."""


@dataclass(frozen=True, slots=True)
class Start:
    """A place that a fold can start from.

    Attributes:
        seq: The version whose state it is; 0 is the empty beginning.
        root: The state's address; None where the state is in memory, or nothing.
        tier: The snapshot's tier, or 0.
        log: The log that the snapshot belongs to.
        number: The snapshot's number there.
        size: Length of the document's canonical form.
    """

    seq: int
    root: bytes | None
    tier: int
    log: str | None = None
    number: int = 0
    size: int = 0


class Base(NamedTuple):
    """The snapshot that another one builds on.

    Attributes:
        number: Its number.
        mark: What tells it from any other snapshot under this number: see `mark_of`.
    """

    number: int
    mark: str


@dataclass(frozen=True, slots=True)
class Note:
    """What a snapshot's note says.

    Attributes:
        root: Address of the state's root.
        size: Length of its canonical form.
        operations: How many operations were folded since the newest complete snapshot before.
        on: The snapshot that it builds on, which names the one below in turn; None if it builds on truth alone.
    """

    root: bytes
    size: int
    operations: int = 0
    on: Base | None = None

    def encode(self) -> bytes:
        """Return the note's bytes."""
        on = None if self.on is None else list(self.on)
        return orjson.dumps({"on": on, "operations": self.operations, "root": self.root.hex(), "size": self.size})


def mark_of(note: bytes) -> str:
    """Return the mark of a snapshot with this note, by which others say that they build on it."""
    return hashlib.sha256(note).hexdigest()[:8]


def read_note(snapshot: Snapshot) -> Note | None:
    """Return a snapshot's note, or None if it cannot be read (the snapshot is then as good as gone)."""
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
    """A snapshot all of whose chunks are there.

    Attributes:
        snapshot: As the backend lists it.
        note: What its note says.
        chain: The snapshots that it builds on, lowest first, and itself.
    """

    snapshot: Snapshot
    note: Note
    chain: tuple[Snapshot, ...]


def usable(found: Iterable[Snapshot]) -> list[Usable]:
    """Leave out snapshots that build on one that is gone, or that another process replaced by one of its own.

    Several processes take and drop snapshots of one log, and none of them waits for another.

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
    """The snapshots of a log; None where they cannot be told, which is dear but stops nobody: they are only a cache."""
    try:
        return backend.snapshots(log)
    except StoreUnavailable:
        return None


def starts(backend: Backend, line: Line, seq: int, dropped: Iterable[int] = ()) -> list[Start]:
    """All snapshots of a line at or before a version, in order, and before them the empty beginning."""
    found = [Start(0, None, 0)]
    for segment in line.segments:
        there = [s for s in listed(backend, segment.log) or () if segment.offset + s.number not in dropped]
        for snapshot, note, _ in usable(there):
            at = segment.offset + snapshot.number
            if at <= seq and (segment.last is None or at <= segment.last):
                found.append(Start(at, note.root, snapshot.tier, segment.log, snapshot.number, note.size))
    return found


def choose_for_tree(places: list[Start], seq: int) -> Start:
    """The newest place at or before a version: a tree reads only what is touched, so nothing else counts."""
    return max((p for p in places if p.seq <= seq), key=lambda p: p.seq)


def choose_for_document(places: list[Start], seq: int) -> Start:
    """The place from which the whole document at a version costs least: decoding it, then folding what came after."""
    size = max((p.size for p in places), default=0)

    def cost_s(place: Start) -> float:
        scattered = _SCATTERED_FACTOR if place.tier in (DENSE, MIDDLE) else 1.0
        return size * DECODE_S_PER_BYTE * scattered + (seq - place.seq) * _OPERATIONS_PER_EVENT * FOLD_PLAIN_S

    return min((p for p in places if p.seq <= seq), key=cost_s)


def due_tier(operations_since_any: int, denses_since_middle: int, operations_since_complete: int, size: int) -> int:
    """The tier of the snapshot that is due, or 0.

    Args:
        operations_since_any: Operations since the newest snapshot of any tier.
        denses_since_middle: Dense snapshots since the newest middle or complete one.
        operations_since_complete: Operations since the newest complete one, or since the first event.
        size: Length of the document's canonical form.
    """
    if operations_since_any * FOLD_TREE_S < _DENSE_AFTER_S:
        return 0
    worth_s = max(size * DECODE_S_PER_BYTE * _COMPLETE_FRACTION, _COMPLETE_AT_LEAST_S)
    if operations_since_complete * FOLD_PLAIN_S > worth_s:
        return COMPLETE
    return MIDDLE if denses_since_middle >= _DENSE_PER_MIDDLE else DENSE


def worth_keeping(snapshots: list[Snapshot]) -> list[int]:
    """Numbers of the snapshots of one log that ``gc`` keeps.

    Complete ones, each where folding plain values from the kept one before it would cost more than a fraction of
    decoding the document; and the newest of any tier with all that it builds on, where a cold process that commits
    would otherwise fold for longer than `_COLD_COMMIT_S`.
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
