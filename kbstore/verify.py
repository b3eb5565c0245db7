"""Proves from the bytes that a history is whole, and says exactly what that does and does not prove.

Recomputed are every hash, every link of the chains, every state that events lead to, every tag's target and every
snapshot. An unkeyed hash chain shows corruption, not malice: somebody who can write the store can rewrite all of it
consistently, or cut off its newest part. Against a head id that was noted elsewhere that is always found, since the id
commits to everything before it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from backends.contract import Backend
from kbstore.errors import KBStoreError
from kbstore.event import decode_body, decode_event, event_id
from kbstore.log import MAIN_BRANCH, REFS_LOG, Line, Segment
from kbstore.order.rules import Rules
from kbstore.refs import Refs, decode_ref
from kbstore.snapshots import read_note
from kbstore.states import State
from kbstore.tree.draft import Draft
from kbstore.tree.node import Ref
from kbstore.tree.nodes import Nodes
from kbstore.tree.read import materialise

if TYPE_CHECKING:
    from kbstore.reader import Reader

_BATCH = 256
_MOST_PROBLEMS = 100
_Place = tuple[str, int]
"""A log, and the number of a record in it."""


@dataclass(slots=True)
class Report:
    """What `verify_store` found.

    Attributes:
        versions: How many events were checked, over all branches.
        head: Id of the newest event of the branch that was open; empty where there is none.
        problems: What is wrong with the history, one sentence each. Empty means that it is whole.
        caches: What is wrong with caches only; nothing is lost, and ``kbstore gc`` or use rebuilds them.
        pinned: True where a head was given and found.
    """

    versions: int = 0
    head: str = ""
    problems: list[str] = field(default_factory=list)
    caches: list[str] = field(default_factory=list)
    pinned: bool = False

    @property
    def ok(self) -> bool:
        """True where nothing of the history is wrong."""
        return not self.problems


def verify_store(
    store: "Reader", *, head: str | None = None, progress: Callable[[int, int], None] | None = None
) -> Report:
    """Check everything that a store holds.

    Args:
        store: An open store.
        head: An event id that was noted elsewhere (64 digits, or a prefix of at least 16): the history must contain it.
        progress: Told how many of how many events were checked.

    Cost: reads every byte once and folds every event, about 0.2 ms each.
    """
    backend = store.backend
    report = Report()
    refs_end = backend.tail(REFS_LOG).number  # first, so that every event that a tag or branch names is among the rest
    ends = {log: backend.tail(log).number for log in backend.logs() if log != REFS_LOG}
    for damage in backend.check():
        (report.caches if damage.cache else report.problems).append(damage.what)
    ids: dict[_Place, str] = {}
    states: dict[_Place, str] = {}
    lines = list(_lines(Refs(backend, refs_end), report))
    # Where branches start: kept in memory, since snapshots that hold such a state may go at any time.
    roots: dict[_Place, Ref | None] = {_end_of(line[:-1]): None for line in lines if line[:-1]}
    for line in lines:
        _check_log(backend, line, ends, ids, states, roots, report, progress)
    _check_refs(backend, refs_end, ids, report)
    _check_snapshots(backend, ends, states, report)
    report.head = ids.get(_head_of(store.line.segments, ends), "")
    if head is not None:
        report.pinned = len(head) >= 16 and any(i.startswith(head.lower()) for i in ids.values())
        if not report.pinned:
            report.problems.append(
                f"the event {head} is not in this history: it was rewritten or cut short since that id was noted"
            )
    return report


def _lines(refs: Refs, report: Report) -> Iterator[tuple[Segment, ...]]:
    """The line that leads into each log of events; a branch stands behind the one it was started from."""
    yield refs.segments(MAIN_BRANCH)
    try:
        branches = refs.read().branches
        for _, name in sorted((event.seq, name) for name, event in branches.items()):
            yield refs.segments(name)
    except KBStoreError as fault:
        report.problems.append(str(fault))


def _end_of(segments: tuple[Segment, ...]) -> _Place:
    """Where the newest version of a line stands that ends with a closed segment."""
    last = segments[-1]
    assert last.last is not None
    return last.log, last.last - last.offset


def _head_of(segments: tuple[Segment, ...], ends: dict[str, int]) -> _Place:
    """Where the newest version of a branch stands: in its own log, or where it was started."""
    log = segments[-1].log
    own = ends.get(log, 0)
    return _end_of(segments[:-1]) if own == 0 and segments[:-1] else (log, own)


def _check_log(
    backend: Backend,
    segments: tuple[Segment, ...],
    ends: dict[str, int],
    ids: dict[_Place, str],
    states: dict[_Place, str],
    roots: dict[_Place, Ref | None],
    report: Report,
    progress: Callable[[int, int], None] | None,
) -> None:
    nodes = Nodes(backend)
    log, offset, _ = segments[-1]
    total = sum(ends.values())
    sound: set[bytes] = set()
    root: Ref | None = None
    parent, time = None, ""
    if offset:
        start = _end_of(segments[:-1])
        parent, state, root = ids.get(start), states.get(start), roots[start]
        try:
            if root is None and state is not None:
                root = nodes.root(bytes.fromhex(state))
        except (KBStoreError, ValueError):
            root = _folded_start(backend, segments, nodes, report)
    try:
        newest = ends.get(log, 0)
        for first in range(1, newest + 1, _BATCH):
            last = min(first + _BATCH - 1, newest)
            bodies = dict(_bodies(backend, log, range(first, last + 1), report))
            expected = first
            for record in backend.read(log, first, last):
                where = f"v{offset + record.number}"
                if record.number != expected:
                    report.problems.append(f"the records before {where} are missing from log {log}")
                    expected = record.number
                expected += 1
                event = decode_event(record.header, where)
                ids[log, record.number] = event_id(record.header)
                states[log, record.number] = event.state
                report.versions += 1
                if event.encode() != record.header:
                    report.problems.append(f"the header of {where} is not in canonical form")
                if event.seq != offset + record.number:
                    report.problems.append(f"the record of {where} says that it is v{event.seq}")
                if (event.parents[0] if event.parents else None) != parent:
                    report.problems.append(f"{where} does not name the version before it as its parent")
                event.check_times()
                if event.time < time:
                    report.problems.append(f"{where} is older than the version before it")
                parent, time = ids[log, record.number], event.time
                body = bodies.get(record.number)
                if body is None or sha256(body).hexdigest() != event.patch:
                    report.problems.append(f"the patch of {where} is missing or is not the one that was committed")
                    root = None
                    return
                draft = Draft(root, nodes)
                draft.apply(decode_body(body, nodes))
                root = draft.seal()
                if root.address.hex() != event.state:
                    report.problems.append(f"the patch of {where} does not lead to the state that {where} names")
                    return
                if (log, record.number) in roots:
                    roots[log, record.number] = root
                if event.order is not None:
                    _check_order(event.order, nodes, sound, where, report)
                if len(report.problems) > _MOST_PROBLEMS:
                    return
            if expected != last + 1:
                report.problems.append(f"record {expected} of log {log} is missing")
            if progress is not None:
                progress(report.versions, total)
    except KBStoreError as fault:
        report.problems.append(f"log {log}: {fault}")


def _check_order(order: str, nodes: Nodes, sound: set[bytes], where: str, report: Report) -> None:
    try:
        root = nodes.root(bytes.fromhex(order))
        _walk(root, nodes, sound)
        Rules.of(materialise(root, nodes))
    except (KBStoreError, ValueError) as fault:
        report.problems.append(f"the order of members that {where} names cannot be read: {fault}")


def _folded_start(backend: Backend, segments: tuple[Segment, ...], nodes: Nodes, report: Report) -> Ref | None:
    """The tree at the version that a branch starts from, folded from the beginning of its line."""
    offset = segments[-1].offset
    line = Line(backend, (*segments[:-2], segments[-2]._replace(last=offset)))
    state = State(0, None)
    try:
        draft = Draft(None, nodes)
        for _, body in line.bodies(range(1, offset + 1)):
            draft.apply(decode_body(body, nodes))
        state = State(offset, draft.seal())
    except KBStoreError as fault:
        report.problems.append(f"v{offset}, from which log {segments[-1].log} starts, cannot be folded: {fault}")
    return state.root


def _bodies(backend: Backend, log: str, numbers: range, report: Report) -> Iterator[tuple[int, bytes]]:
    try:
        yield from backend.bodies(log, numbers)
    except KBStoreError as fault:
        report.problems.append(str(fault))


def _check_refs(backend: Backend, last: int, ids: dict[_Place, str], report: Report) -> None:
    parent = None
    known = set(ids.values())
    try:
        for record in backend.read(REFS_LOG, 1, last):
            event = decode_ref(record.header, record.number)
            if event.parent != parent or event.seq != record.number:
                report.problems.append(f"ref event {record.number} does not follow the one before it")
            parent = event_id(record.header)
            if event.encode() != record.header:
                report.problems.append(f"ref event {record.number} is not in canonical form")
            if event.target is not None and event.target not in known:
                report.problems.append(
                    f"the {event.kind} {event.name!r} names the event {event.target}, which is not there"
                )
    except KBStoreError as fault:
        report.problems.append(str(fault))


def _check_snapshots(backend: Backend, ends: dict[str, int], states: dict[_Place, str], report: Report) -> None:
    nodes = Nodes(backend)
    sound: set[bytes] = set()
    for log, end in ends.items():
        for snapshot in backend.snapshots(log):
            if snapshot.number > end:
                continue  # taken meanwhile, of a version that was not checked
            note = read_note(snapshot)
            where = f"the snapshot at record {snapshot.number} of log {log}"
            if note is None or states.get((log, snapshot.number)) != note.root.hex():
                report.caches.append(f"{where} is not of the state that its event names")
                continue
            try:
                _walk(nodes.root(note.root), nodes, sound)
            except KBStoreError as fault:
                if snapshot in backend.snapshots(log):  # else it was dropped while it was read
                    report.caches.append(f"{where} is not complete: {fault}")


def _walk(ref: Ref, nodes: Nodes, sound: set[bytes]) -> None:
    if ref.address in sound:
        return
    node = ref.node or nodes.load(ref)
    ref.node = None
    for child in node.refs():
        _walk(child, nodes, sound)
    sound.add(ref.address)
