"""States as folds over events: the tree or the plain document at any version, from the cheapest place to start.

A fold starts at a snapshot, at a state in memory, or at nothing. The result is checked against the state hash in the
event, so a damaged cache or event is found when used. A damaged snapshot is dropped, and the fold starts from an older
snapshot: caches only save time. If a version in between is damaged, the fold starts after the damaged version, at a
version with a stored whole state.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from kbstore.backends.base import Backend
from kbstore.errors import (
    CorruptStore,
    DamagedVersion,
    KBStoreError,
    PatchError,
    PointerError,
    RevisionError,
    TooLarge,
)
from kbstore.history.branch import Line
from kbstore.history.event import Event, decode_body, plain_bodies, plain_body
from kbstore.history.snapshots import Start, choose_for_document, choose_for_tree, starts
from kbstore.history.stored_states import UNREADABLE_VALUE, on_nothing, prove, readable_part, stored_root
from kbstore.jsondoc.edits import Allowance
from kbstore.jsondoc.operation import Operation
from kbstore.jsondoc.replay import Grown, ascend, replay
from kbstore.tree.editor import Draft
from kbstore.tree.node import Ref
from kbstore.tree.node_store import Nodes
from kbstore.tree.prefetch import load_ahead
from kbstore.tree.reader import materialise

_KEPT_STATES = 16
_GROUP = 1024
_PLAIN_GROUP = 128
_NEW_EVENTS = 64


_NOT_APPLIED = (PatchError, PointerError, TypeError, ValueError, LookupError, AttributeError)
"""Errors from applying a patch that does not fit, or that kbstore did not write."""


class _applying:  # noqa: N801 - used as a function; a generator would cost a fold a tenth of its time
    """Turns the refusal of a patch into an error of the store.

    Args:
        seq: The version of the patch.
        start: Start of the fold; if this is a snapshot, the snapshot may be at fault.
    """

    __slots__ = ("_seq", "_start")

    def __init__(self, seq: int, start: Start) -> None:
        self._seq = seq
        self._start = start

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, _NOT_APPLIED):
            what = f"its patch cannot be applied to the version before it: {error}"
            if self._start.root is None:
                raise DamagedVersion(self._seq, what) from error
            raise CorruptStore(f"v{self._seq} cannot be read: {what}", hint="run: kbstore verify") from error


@dataclass(frozen=True, slots=True)
class State:
    """The tree at a version.

    Attributes:
        seq: The version; 0 before the first.
        root: Root of the tree; None if there is no document.
    """

    seq: int
    root: Ref | None

    @property
    def tree(self) -> Ref:
        """The root of a version with a document, as all versions but the empty beginning have.

        Raises:
            RevisionError: This is the empty beginning.
        """
        if self.root is None:
            raise RevisionError(f"v{self.seq} has no document")
        return self.root


NOTHING = State(0, None)


class States:
    """Folds the events of one line into states.

    Args:
        backend: Holds the bytes.
        line: The versions.
        nodes: Source of nodes.
        on_damage: Called for each damaged cache that was dropped.
    """

    def __init__(self, backend: Backend, line: Line, nodes: Nodes, on_damage: Callable[[str], None]) -> None:
        self._backend = backend
        self._line = line
        self._nodes = nodes
        self._on_damage = on_damage
        self._kept: OrderedDict[int, State] = OrderedDict()
        self._from_truth = False
        self._places: list[Start] = []
        self._places_at = 0
        self._compared: set[tuple[int, bytes]] = set()

    def keep(self, state: State) -> None:
        """Remember a state as a place to start from."""
        self._kept[state.seq] = state
        self._kept.move_to_end(state.seq)
        while len(self._kept) > _KEPT_STATES:
            self._kept.popitem(last=False)

    def forget(self) -> None:
        """Drop all states in memory."""
        self._kept.clear()
        self._places = []
        self._compared.clear()

    @contextmanager
    def from_truth(self) -> Iterator[None]:
        """Start all folds in this context at nothing, even if there are snapshots: slow, but safe."""
        self.forget()
        self._from_truth = True
        try:
            yield
        finally:
            self._from_truth = False

    def _starts(self, seq: int, dropped: Iterable[int] = ()) -> list[Start]:
        if self._from_truth:
            return [Start(0, None, 0)]
        if dropped:
            return starts(self._backend, self._line, seq, dropped)
        if not self._places or seq > self._places_at + _NEW_EVENTS:
            self._look(seq)
        return self._places

    def _look(self, seq: int) -> None:
        """Find the existing snapshots. Newer snapshots only save work, so this is not done for every state."""
        self._places = starts(self._backend, self._line, max(seq, self._places_at))
        self._places_at = max(seq, self._places_at, self._places[-1].seq)

    def tree(self, event: Event) -> State:
        """Return the tree after an event of this line.

        Raises:
            CorruptStore: The events do not lead to the state that the event names.
            DamagedVersion: An event is damaged, and no later state is stored.
        """
        kept = self._kept.get(event.seq)
        if kept is not None:
            self._kept.move_to_end(event.seq)
            return kept
        dropped: set[int] = set()
        while True:
            start = choose_for_tree(self._starts(event.seq, dropped), event.seq)
            near = max((s for s in self._kept if s <= event.seq), default=0)
            if near >= start.seq:
                start = Start(near, None, 0)
            self._expect(start, event.seq)
            try:
                state = self._folded(start, event)
            except DamagedVersion as fault:  # no start is nearer
                state = self._behind(fault, event)
            except CorruptStore as fault:
                if not self._drop(start, fault, dropped):
                    raise
                continue
            self.keep(state)
            return state

    def document(self, event: Event) -> Any:
        """Return the document after an event as a new Python value, members in canonical order.

        Cost: decoding the document, and about 10 microseconds for each event since the start of the fold.

        Raises:
            CorruptStore: As `tree`.
        """
        dropped: set[int] = set()
        damaged: DamagedVersion | None = None
        while True:
            kept = self._kept.get(event.seq)
            if kept is not None and kept.root is not None:
                try:
                    return materialise(kept.root, self._nodes)
                except CorruptStore as fault:
                    del self._kept[event.seq]
                    self._on_damage(str(fault))
                    continue
            places = [p for p in self._starts(event.seq, dropped) if p.seq <= event.seq]
            if damaged is not None:
                places = [p for p in places if p.seq >= damaged.seq]
                if not places:
                    self.keep(self._behind(damaged, event))
                    continue
            start = choose_for_document(places, event.seq)
            self._expect(start, event.seq)
            try:
                return self._plain(start, event.seq)
            except TooLarge:  # the patches repeat the same values, or the document is too large
                return materialise(self.tree(event).root or b"null", self._nodes)
            except DamagedVersion as fault:
                damaged = fault
            except CorruptStore as fault:
                if not self._drop(start, fault, dropped):
                    raise

    def nearest(self, seq: int) -> Start:
        """Return the newest place at or before a version from which a tree can be read without folding."""
        start = choose_for_tree(self._starts(seq), seq)
        near = max((s for s in self._kept if s <= seq), default=0)
        return start if near < start.seq else Start(near, None, 0)

    def root(self, start: Start) -> Ref | None:
        """Return the tree at such a place; None for the empty beginning."""
        return self._root(start)

    def _expect(self, start: Start, seq: int) -> None:
        place = (start.log, start.number) if start.log is not None else None
        self._line.expect(start=place, seqs=range(start.seq + 1, seq + 1))

    def _drop(self, start: Start, fault: CorruptStore, dropped: set[int]) -> bool:
        """Give up a place to start from; return False if there is nothing left to give up."""
        if start.root is None:
            was_kept = bool(self._kept)
            self._kept.clear()
            return was_kept
        self._places = []
        dropped.add(start.seq)
        if start.log is not None and all(s.number != start.number for s in self._backend.snapshots(start.log)):
            return True  # collected since the listing, which is not damage: states in memory are as good as before
        self._kept.clear()
        if stored_root(start.root.hex(), self._nodes) is not None:
            return True  # the snapshot is whole, and stays: the events after the snapshot are at fault
        self._on_damage(f"the snapshot at v{start.seq} is damaged and was set aside: {fault}")
        if not self._backend.read_only and start.log is not None:
            self._backend.drop_snapshots(start.log, [start.number])
        return True

    def _behind(self, fault: DamagedVersion, event: Event) -> State:
        """Return the tree after an event that follows a damaged version, without the damaged version.

        Raises:
            DamagedVersion: No stored data leads to the tree.
        """
        if not self._from_truth:
            # A readable patch that could not be applied fails a second time as well.
            root = None if isinstance(fault.__cause__, _NOT_APPLIED) else self._without(fault.seq, event)
            if root is not None:
                return State(event.seq, root)
            earlier = {e.state: e.seq for e in self._events(1, fault.seq - 1)}
            for behind in self._events(fault.seq, event.seq):
                root = self._found(behind, earlier)
                if root is not None:
                    self.keep(State(behind.seq, root))
                    return self._folded(Start(behind.seq, None, 0), event)
        raise DamagedVersion(fault.seq, fault.what, reading="" if fault.seq == event.seq else f"v{event.seq}")

    def _without(self, damaged: int, event: Event) -> Ref | None:
        """Return the tree after an event, folded without the lost data; None unless the hash proves the same result."""
        try:
            root = self.tree(self._line.entry(damaged - 1).event).root if damaged > 1 else None
            draft = Draft(root, self._nodes, Allowance())
            for seq in range(damaged, event.seq + 1):
                draft.apply(readable_part(self._body(seq), self._nodes))
            root = draft.seal()
            if root.address.hex() != event.state:
                return None
            prove(root, self._nodes, set())
        except (KBStoreError, *_NOT_APPLIED):
            return None
        return root

    def _body(self, seq: int) -> bytes | None:
        try:
            return next((body for _, body in self._line.bodies([seq])), None)
        except DamagedVersion:
            return None

    def _events(self, first: int, last: int) -> Iterator[Event]:
        """Yield the events of these versions, newest first, up to the first unreadable event."""
        while first <= last:
            try:
                for entry in self._line.entries(first, last, newest_first=True):
                    yield entry.event
                return
            except DamagedVersion as fault:
                last = fault.seq - 1

    def _found(self, event: Event, earlier: dict[str, int]) -> Ref | None:
        """Return the tree after an event without earlier events: stored, from the event's patch, or an equal state."""
        root = stored_root(event.state, self._nodes)
        try:
            if root is None:
                ((_, body),) = self._line.bodies([event.seq])
                if (operations := on_nothing(decode_body(body, self._nodes))) is not None:
                    draft = Draft(None, self._nodes, Allowance())
                    draft.apply(operations)
                    root = draft.seal()
            if root is None and event.state in earlier:
                root = self.tree(self._line.entry(earlier[event.state]).event).root
        except CorruptStore:
            return None
        return root if root is not None and root.address.hex() == event.state else None

    def _root(self, start: Start) -> Ref | None:
        if start.root is not None:
            self._compare(start, start.root)
            return self._nodes.root(start.root)
        kept = self._kept.get(start.seq)
        return kept.root if kept is not None else None

    def _compare(self, start: Start, root: bytes) -> None:
        """Check that a snapshot holds the document that the version names; on a server only `verify` checks this."""
        # On a server the header may be in an object that nothing else asks for.
        if self._backend.remote or (start.seq, root) in self._compared:
            return
        try:
            named = self._line.entry(start.seq).event.state
        except DamagedVersion:
            return
        if named != root.hex():
            raise CorruptStore(
                f"the snapshot at v{start.seq} is not of the document that v{start.seq} names",
                hint="kbstore gc drops it",
            )
        self._compared.add((start.seq, root))

    def _folded(self, start: Start, event: Event) -> State:
        root = self._root(start)
        if start.seq < event.seq:
            draft = Draft(root, self._nodes, Allowance())
            bodies = self._line.bodies(range(start.seq + 1, event.seq + 1))
            if root is None:
                root = self._first(*next(bodies))
                draft = Draft(root, self._nodes, Allowance())
            while group := [(seq, self._decoded(seq, body)) for seq, body in islice(bodies, _GROUP)]:
                if len(group) > 1:
                    load_ahead(root, (op.path for _, operations in group for op in operations), self._nodes)
                for seq, operations in group:
                    with _applying(seq, start):
                        draft.apply(operations)
            with _applying(event.seq, start):
                root = draft.seal()
        if root is None or root.address.hex() != event.state:
            raise CorruptStore(
                f"the events up to v{event.seq} do not lead to the state that v{event.seq} names",
                hint="run: kbstore verify",
            )
        self._nodes.limit.admit(root.size)
        return State(event.seq, root)

    def _plain(self, start: Start, seq: int) -> Any:
        first = start.seq + 1
        bodies = self._line.bodies(range(first, seq + 1)) if first <= seq else iter(())
        root = self._root(start)
        if root is None:
            # The first event nearly always brings the whole document: read it as a tree, not value by value.
            root = self._first(*next(bodies))
        document = materialise(root, self._nodes)
        grown: Grown = []
        while some := list(islice(bodies, _PLAIN_GROUP)):
            for (version, _), patch in zip(some, self._patches(some), strict=True):
                with _applying(version, start):
                    document = replay(document, patch, grown)
        ascend(grown)
        return document

    def _first(self, seq: int, body: bytes) -> Ref:
        """Return the tree that the first version's patch makes."""
        draft = Draft(None, self._nodes, Allowance())
        operations = self._decoded(seq, body)
        with _applying(seq, Start(0, None, 0)):
            draft.apply(operations)
            return draft.seal()

    def _decoded(self, seq: int, body: bytes) -> list[Operation]:
        try:
            return decode_body(body, self._nodes)
        except CorruptStore as fault:
            raise DamagedVersion(seq, UNREADABLE_VALUE) from fault

    def _patches(self, bodies: list[tuple[int, bytes]]) -> list[list[dict[str, Any]]]:
        try:
            return plain_bodies([body for _, body in bodies], self._nodes)
        except CorruptStore:
            for seq, body in bodies:
                try:
                    plain_body(body, self._nodes)
                except CorruptStore as fault:
                    raise DamagedVersion(seq, UNREADABLE_VALUE) from fault
            raise
