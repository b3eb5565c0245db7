"""Proof of each version of a store from the stored bytes, also behind damaged parts.

The id proves an event, since the next event names the id. A hash in the event proves the patch. The state hash proves
the document, since the hashes of all nodes lead to the state hash. Behind a damaged version, documents are proved again
from the first version with a complete stored state.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from kbstore.backends.base import Backend
from kbstore.errors import (
    CorruptStore,
    KBStoreError,
    StoreNotFound,
    StoreUnavailable,
    TooLarge,
    UnsupportedFormat,
)
from kbstore.history.branch import REFS_LOG, Line, Segment, readable_bodies, readable_records
from kbstore.history.event import Event, body_fault, decode_body, decode_event, event_id, header_faults
from kbstore.history.lineage import Lineage, Place
from kbstore.history.refs import Refs, RefState
from kbstore.history.state_cache import States
from kbstore.history.stored_states import UNREADABLE_VALUE, on_nothing, readable_part, stored_root
from kbstore.jsondoc.edits import Budget
from kbstore.jsondoc.operation import Operation
from kbstore.jsondoc.pointer import shorten
from kbstore.order.rules import Rules
from kbstore.tree.check import Prover as Values
from kbstore.tree.check import Unsound
from kbstore.tree.editor import Draft
from kbstore.tree.node import VALUE, Ref
from kbstore.tree.node_store import Nodes
from kbstore.tree.reader import materialise

_BATCH = 256


class Ends(NamedTuple):
    """The ends of the logs at the start of the check; records added meanwhile are not checked.

    Attributes:
        refs: The last change of tags and branches.
        logs: The last record of each log of events.
    """

    refs: int
    logs: dict[str, int]


def ends_of(backend: Backend) -> Ends:
    """Return the current ends of the logs.

    The log of tags and branches is read first; so the other logs contain every event that it names.
    """
    refs = backend.tail(REFS_LOG).number
    return Ends(refs, {log: backend.tail(log).number for log in backend.logs() if log != REFS_LOG})


@dataclass(slots=True)
class Proved:
    """The proved parts of a version.

    Attributes:
        seq: The version.
        header: The bytes of the header, proved by the id; None if missing or damaged.
        event: The header, decoded.
        body: The patch that the header names; None if the patch, or a long value in the patch, is missing or damaged.
        root: The tree of the document, with every node readable; None without a proof.
        faults: The faults of the event, each as a clause: "its patch cannot be read".
    """

    seq: int
    header: bytes | None = None
    event: Event | None = None
    body: bytes | None = None
    root: Ref | None = None
    faults: list[str] = field(default_factory=list)


class Prover:
    """Proof of all versions of a store, each branch after its parent branch.

    Args:
        backend: The store.
        ends: The ends of the check.
        refs: Tags and branches.
        suspect: Return whether the header of a record may have been changed in place.

    Attributes:
        refs: Tags and branches.
        ids: The id of each event, if proved or named by the next event.
        states: The state in each proved event.
        parents: The parents of each event in `ids`, by id. For an event with a lost header: the version before.
        roots: The tree of each start of a branch.
        times: The time of each start of a branch: commits on the branch are not older.
    """

    def __init__(self, backend: Backend, ends: Ends, refs: RefState, suspect: Callable[[Place], bool]) -> None:
        self._backend = backend
        self._ends = ends
        self._refs = Refs(backend, refs)
        self.refs = refs
        self.lineage = Lineage(refs.lines)
        self.suspect = suspect
        self.ids: dict[Place, str] = {}
        self.states: dict[Place, str] = {}
        self.parents: dict[str, tuple[str, ...]] = {}
        starts = map(self.lineage.start, self.lineage)
        # Where branches start: kept in memory, since snapshots that hold such a state may go at any time.
        self.roots: dict[Place, Ref | None] = dict.fromkeys(start for start in starts if start is not None)
        self.times: dict[Place, str] = {}

    def segments(self, branch: str) -> tuple[Segment, ...]:
        """Return the segments of a branch's line; only the last segment is the branch's own. Cost: their number."""
        return self._refs.segments(branch)

    def versions(self, branch: str) -> Iterator[Proved]:
        """Yield the branch's own versions, oldest first."""
        log, _ = self.lineage.own(branch)
        end = self._ends.logs.get(log, 0)
        walk = _Walk(self, self._backend, branch)
        for first in range(1, end + 1, _BATCH):
            last = min(first + _BATCH - 1, end)
            # Read the first header of the next batch too, since the next event proves an id.
            headers = readable_records(self._backend, log, first, min(last + 1, end))
            bodies = readable_bodies(self._backend, log, range(first, last + 1))
            for number in range(first, last + 1):
                try:
                    found = walk.version(number, headers, bodies.get(number))
                except (StoreUnavailable, StoreNotFound):
                    raise
                except Exception as fault:  # noqa: BLE001 - whatever a hostile event raises, those behind it are checked too
                    found = walk.unknown(number, fault)
                yield found


class _Walk:
    """Proof of one log, with the known facts about the version before the next one."""

    def __init__(self, prover: Prover, backend: Backend, branch: str) -> None:
        self._prover = prover
        self._backend = backend
        self._branch = branch
        self._log, self._offset = prover.lineage.own(branch)
        self._nodes = Nodes(backend)
        self._values = Values(self._nodes)
        self._seen: dict[str, int] = {}  # states that were proved, and a version of each
        self._root: Ref | None = None
        self._lost = False  # the state before is not known
        self._guessed = False  # the state before may be wrong: a part of the way there is lost
        self._parent: str | None = ""  # unknown
        self._time = ""
        start = prover.lineage.start(branch)
        if start is not None:
            self._parent = prover.ids.get(start, "")
            self._root = prover.roots[start]
            self._time = prover.times.get(start, "")
            self._lost = self._root is None
        else:
            self._parent = None

    def version(self, number: int, headers: Mapping[int, bytes], body: bytes | None) -> Proved:
        """Return the version of a record, from the body and the readable headers around the record."""
        found = Proved(self._offset + number)
        place = self._log, number
        header, claimed = headers.get(number), _parent_in(headers.get(number + 1))
        event = self._decoded(found, header)
        if event is not None and header is not None:
            if self._prover.suspect(place) and claimed != event_id(header):
                found.faults.append("its header is not as it was written")
            else:
                found.header, found.event = header, event
                self._check(found, header, event)
        if found.header is not None and event is not None:
            self._prover.ids[place] = self._parent = event_id(found.header)
            self._prover.states[place] = event.state
            self._prover.parents[self._parent] = event.parents
        else:
            before, self._parent = self._parent, claimed or ""
            if claimed:
                self._prover.ids[place] = claimed
                self._prover.parents.setdefault(claimed, (before,) if before else ())
        if body is None:
            self._blame(found, "its patch cannot be read")
        elif event is not None and sha256(body).hexdigest() != event.patch:
            self._blame(found, "its patch is not the one that was committed")
            body = None
        found.body = body if found.event is not None else None
        if found.event is not None and found.event.order is not None:
            self._check_order(found, found.event.order)
        self._advance(found, event if event is None or event.seq == found.seq else found.event, body)
        if place in self._prover.roots:
            self._prover.roots[place] = found.root
            self._prover.times[place] = self._time
        return found

    def unknown(self, number: int, fault: Exception) -> Proved:
        """Return the version of a record after a failed check, and forget everything known about earlier versions."""
        self._root, self._lost, self._guessed, self._parent = None, True, True, ""
        said = str(fault) if isinstance(fault, KBStoreError) else repr(fault)
        return Proved(self._offset + number, faults=[f"it cannot be checked: {shorten(said)}"])

    @staticmethod
    def _decoded(found: Proved, header: bytes | None) -> Event | None:
        if header is None:
            found.faults.append("its header is missing or cannot be read")
            return None
        try:
            return decode_event(header, "it")
        except UnsupportedFormat as fault:
            found.faults.append(str(fault))
        except KBStoreError:
            found.faults.append("its header cannot be read")
        return None

    def _check(self, found: Proved, header: bytes, event: Event) -> None:
        """Check the header against the place and the version before."""
        found.faults.extend(header_faults(header, event))
        if event.seq != found.seq:
            found.faults.append(f"its header says that it is v{event.seq}")
        if self._parent != "" and (event.parents[0] if event.parents else None) != self._parent:
            found.faults.append("it does not name the version before it as its parent")
        if event.time < self._time:
            found.faults.append("it is older than the version before it")
        self._time = max(event.time, self._time)

    def _check_order(self, found: Proved, order: str) -> None:
        try:
            root = self._nodes.root(bytes.fromhex(order))
            self._values.prove(root)
            Rules.of(materialise(root, self._nodes))
        except (KBStoreError, ValueError):
            found.faults.append("the order of its members cannot be read")

    @staticmethod
    def _blame(found: Proved, fault: str) -> None:
        """Add a fault, unless the header is lost: a lost header is then the only reported fault."""
        if found.event is not None:
            found.faults.append(fault)

    def _advance(self, found: Proved, event: Event | None, body: bytes | None) -> None:
        """Find the document's tree: the result of the patch, else the stored tree.

        Args:
            found: The proof so far.
            event: The content of the header, proved or not.
            body: The patch, if the header names this patch or if there is no header.
        """
        root = self._applied(found, event, body)
        if root is not None and event is not None and root.address.hex() == event.state:
            found.root = root
            self._guessed = False
        elif root is not None and not self._guessed:
            self._blame(found, "its patch does not lead to the state that it names")
            self._guessed = True
        if found.root is None and found.event is not None and (self._guessed or root is None):
            stored = stored_root(found.event.state, self._nodes) or self._again(found.event.state)
            if stored is not None:
                root = found.root = stored
                self._guessed = False
        self._root, self._lost = root, root is None
        if found.root is not None and event is not None:
            self._seen.setdefault(event.state, found.seq)

    def _applied(self, found: Proved, event: Event | None, body: bytes | None) -> Ref | None:
        """Return the result of the patch, or of its readable part: a guess, unless the state's hash proves it."""
        if body is None or event is None:
            self._guessed = True
        operations = self._operations(found, body)
        if self._lost:
            alone = on_nothing(operations)
            if alone is None:
                return None
            operations, self._guessed = alone, body is None or event is None
        try:
            draft = Draft(None if self._lost else self._root, self._nodes, Budget())
            draft.apply(operations)
            return draft.seal()
        except KBStoreError as fault:
            if not self._guessed:
                self._blame(found, f"its patch does not fit the version before it: {fault}")
            return None

    def _operations(self, found: Proved, body: bytes | None) -> list[Operation]:
        try:
            operations = decode_body(body, self._nodes) if body is not None else []
            if body is not None and (fault := body_fault(body, operations)):
                self._blame(found, fault)
            self._prove_values(operations)
        except (CorruptStore, TooLarge) as fault:
            told = f": {fault}" if isinstance(fault, TooLarge | Unsound) else ""
            self._blame(found, UNREADABLE_VALUE + told)
            found.body = None
            self._guessed = True
            return readable_part(body, self._nodes)
        return operations

    def _prove_values(self, operations: list[Operation]) -> None:
        for operation in operations:
            if isinstance(operation.value, Ref):
                if operation.value.kind == VALUE:
                    raise Unsound("a short value is a node of its own")
                self._values.prove(operation.value)

    def _again(self, state: str) -> Ref | None:
        """Return the tree of a state from an older version of this log with the same state."""
        seq = self._seen.get(state)
        if seq is None:
            return None
        line = Line(self._backend, self._prover.segments(self._branch))
        states = States(self._backend, line, self._nodes, lambda _: None)
        try:
            with states.from_truth():
                return states.tree(line.entry(seq).event).root
        except CorruptStore:
            return None


def _parent_in(header: bytes | None) -> str | None:
    """Return the parent that a header names; None if the header cannot be read."""
    if header is None:
        return None
    try:
        parents = decode_event(header, "the next version").parents
    except KBStoreError:
        return None
    return parents[0] if parents else None
