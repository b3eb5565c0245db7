"""The commit protocol: make events on top of the head, and append the events as a slot that nobody else has won.

Invariants:

1. Nothing is acknowledged before `Backend.append` has returned.
2. The nodes named in an event's body are appended with the event, as truth, even if caches hold the nodes.
3. A slot won by somebody else is read before the next try. A change that touches other places is made again on top,
   unchanged. Otherwise both changes are merged by value, and different changes of the same place are a `ConflictError`.
4. An append with an unknown outcome is never tried again here, neither under another number nor under the same number.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from itertools import chain
from typing import Any, NamedTuple

from kbstore.backends.base import TRUTH, Backend, Chunk, Record
from kbstore.errors import ConflictError, CorruptStore, PatchError, SlotTaken
from kbstore.history.branch import Entry, Line
from kbstore.history.event import EVENT_FORMAT, Event, decode_body, encode_body, header_faults
from kbstore.history.member_order import Arrange, OrderDraft, Orders
from kbstore.history.rebase import rebased
from kbstore.history.refs import KnownIdentities
from kbstore.history.snapshot_writer import Snapshotter
from kbstore.history.state_cache import NOTHING, State, States
from kbstore.history.tree_patch import applied
from kbstore.jsondoc.document import Base
from kbstore.jsondoc.patch import Budget, Operation
from kbstore.jsondoc.read_write_set import Footprint, collisions
from kbstore.kit.clock import MOST_AHEAD, Clock, attempts, format_time
from kbstore.kit.clock_notes import Dated
from kbstore.tree.editor import Draft
from kbstore.tree.node import ARRAY, Ref
from kbstore.tree.node_store import Nodes, unsaved
from kbstore.tree.reader import find

_TRIES = 1000
_SHOWN_POINTERS = 3


@dataclass(slots=True)
class Proposal:
    """A change before it becomes an event.

    Attributes:
        operations: The patch, values in stored form.
        author: Name of the author.
        message: Why the change was made.
        tags: Labels.
        authored: Time of writing, if not now.
        meta: Free.
        allow_empty: Make an event even if the state stays the same.
        body: The stored form of `operations`; made from `operations` if not given.
        tree: The tree of the document behind the change; None for a patch.
        order: How to make the rules of members' order; None if the rules stay the same.
        keep_order: Make an event even if only the order changes.
    """

    operations: list[Operation]
    author: str
    message: str
    tags: tuple[str, ...] = ()
    authored: datetime | None = None
    meta: dict[str, Any] | None = None
    allow_empty: bool = False
    body: bytes = b""
    tree: Ref | None = None
    order: Arrange | None = None
    keep_order: bool = False


class Foreign(NamedTuple):
    """An event from another store.

    Attributes:
        where: Name of the source, for errors.
        event: The header of the event.
        header: The same as bytes.
        operations: The patch of the event, values in stored form.
        order: The patch of the rules of members' order, values in stored form; None if the event has no `order`.
    """

    where: str
    event: Event
    header: bytes
    operations: list[Operation]
    order: list[Operation] | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """The newest version known to a writer.

    Attributes:
        slot: The newest slot of the open log.
        seq: The version; 0 before the first.
        entry: The event of the version; None before the first.
    """

    slot: int
    seq: int
    entry: Entry | None


class Writer:
    """Appends to a line of versions.

    Args:
        backend: Holds the log.
        line: The versions.
        nodes: Source of nodes.
        states: Folds events into states.
        orders: Knows the order of members.
        clock: The time.
        snapshotter: Informed of every event, to take snapshots.
        identities: Members that identify the elements of arrays, from the settings of the store.
    """

    def __init__(
        self,
        backend: Backend,
        line: Line,
        nodes: Nodes,
        states: States,
        orders: Orders,
        clock: Clock,
        snapshotter: Snapshotter,
        identities: KnownIdentities,
    ) -> None:
        self._backend = backend
        self._line = line
        self._nodes = nodes
        self._states = states
        self._orders = orders
        self._clock = clock
        self._snapshotter = snapshotter
        self._identities = identities
        self._head = Head(0, 0, None)
        self._state: State | None = None

    def head(self, *, fresh: bool = True) -> Head:
        """Return the newest version of now; costs a probe of the backend.

        Args:
            fresh: If False, the backend's present knowledge is enough, including a slot that was just lost.
        """
        slot, seq = self._line.tail(fresh=fresh)
        if seq < self._head.seq:
            raise CorruptStore(
                f"the log ends at v{seq}, but v{self._head.seq} was read before: it was cut short or replaced",
                hint="open it again; if versions are missing, bring a backup back with: kbstore restore-backup FILE",
            )
        if slot != self._head.slot or seq != self._head.seq:
            self._head = Head(slot, seq, self._line.entry(seq) if seq else None)
        return self._head

    def known_head(self) -> Head:
        """Return the newest version known to this process; free once a version is known."""
        return self._head if self._head.slot else self.head()

    def forget(self) -> None:
        """Drop the state in memory, since a node below the state is gone."""
        self._state = None

    def state(self, head: Head) -> State:
        """Return the tree at a head."""
        if self._state is None or self._state.seq != head.seq:
            self._state = self._states.tree(head.entry.event) if head.entry is not None else NOTHING
        return self._state

    def commit(
        self,
        proposals: Sequence[Proposal],
        *,
        base: Base | None,
        rebase: bool,
        write_id: str,
        refuse_twin: Callable[[tuple[int, int]], None],
        extra_parent: str | None = None,
    ) -> list[Entry | None]:
        """Append these changes as a slot.

        Args:
            proposals: At least one change.
            base: The version that the author looked at; None for the newest version at landing.
            rebase: Carry the changes over to a newer head if nothing collides; if False, a newer head is a conflict.
            write_id: Identifies this write.
            refuse_twin: Called with the records of a write with this id that landed meanwhile; raises `KBStoreError` if
                that write is another change.
            extra_parent: Id of a second parent of the last event, for a merge.

        Returns:
            The new event for each proposal, None for a proposal that changed nothing.

        Raises:
            ConflictError: The changes collide with versions committed since `base`.
            PatchError: A patch does not apply.
            OutcomeUnknown: The slot may or may not be written; see `kbstore.kit.errors.OutcomeUnknown`.
        """
        # A document that does not have all of its base is compared with its own content, so it is merged at any head.
        given, merged = proposals, base is not None and base.content is not None
        chunks = self._prepare(proposals)
        order_chunks: dict[bytes, Chunk] = {}  # of all tries: a node made once counts as stored
        # A new id cannot have landed yet; for a given id, the caller searched after the head was known.
        searched = self.known_head().slot
        ours: Footprint | None = None
        checked = base.seq if base is not None and not merged else -1
        current = False  # whether the head was looked for in this call
        for _ in attempts(_TRIES):
            head = self.known_head()
            if base is not None and head.seq < base.seq:
                head = self.head()
            if head.slot > searched:
                # This very write may be in there: a request repeated on the way, or a twin with the same id.
                if (landed := self._backend.find_write(self._line.log, write_id, after=searched)) is not None:
                    refuse_twin(landed)
                    return [*self.landed(landed, len(proposals))]
                searched = head.slot
            if base is not None and checked < head.seq:
                if not rebase:
                    raise ConflictError(
                        f"v{head.seq} was committed after v{base.seq}, on which this change is based"
                        if base.content is None
                        else f"v{head.seq} has changes of others, which this document does not have",
                        hint="look at it (kbstore log, kbstore diff), then commit again",
                    )
                if ours is None:
                    ours = self._footprint([op for p in given for op in p.operations], base)
                if merged or self._collide(ours, checked, head):
                    proposals, merged = self._merged(given, base, head), True
                    chunks = self._prepare(proposals)
                checked = head.seq
            try:
                order = self._orders.draft(head.seq, order_chunks)
                entries, state = self._events(proposals, self.state(head).root, head.entry, extra_parent, order)
            except PatchError:
                if merged or base is None or head.seq == base.seq:
                    raise
                # The patch may apply to its base only: then it is merged, or the obstacle is a conflict.
                checked, merged = base.seq, True
                continue
            fresh = [(e, p) for e, p in zip(entries, proposals, strict=True) if e is not None]
            if not fresh:
                if current or self.head().seq == head.seq:
                    return entries
                current = True  # without effect here, but perhaps not on top of versions by others
                continue
            records = [Record(entry.header, proposal.body) for entry, proposal in fresh]
            needed = [*chunks, *order_chunks.values()]
            self._refuse_unreadable(state.root, records, needed)
            try:
                self._backend.append(self._line.log, head.slot + 1, records, write_id=write_id, chunks=needed)
            except SlotTaken:
                self.head(fresh=False)
                continue
            newest = fresh[-1][0]
            done = sum(len(p.operations) for _, p in fresh)
            self._landed(Head(head.slot + 1, newest.event.seq, newest), state.root, done, [e for e, _ in fresh])
            return entries
        raise ConflictError("other writers committed first at every try; nothing was written", hint="commit again")

    def landed(self, numbers: tuple[int, int], wanted: int) -> list[Entry]:
        """Return the events of an already written slot, an event for each of `wanted` changes.

        Args:
            numbers: First and last record of the slot.
            wanted: Number of changes. A change without effect has no event; the last event is returned instead.
        """
        offset = self._line.segments[-1].offset
        found = list(self._line.entries(offset + numbers[0], offset + numbers[1]))
        return (found + [found[-1]] * wanted)[:wanted]

    def leads_to(self, proposals: Sequence[Proposal], base: Base, before: int, state: str) -> bool:
        """Return whether changes that were made for a base, carried over to version `before`, lead to a state."""
        head = Head(0, before, self._line.entry(before) if before else None)
        kept, merged = self._state, base.content is not None
        try:
            root = self.state(head).root
            if not merged and base.seq < before:
                ours = self._footprint([op for p in proposals for op in p.operations], base)
                merged = self._collide(ours, base.seq, head)
            for proposal in self._merged(proposals, base, head) if merged else proposals:
                root = applied(root, proposal.operations, self._nodes)
        except (PatchError, ConflictError):
            return False
        finally:
            self._state = kept
        return root is not None and root.address.hex() == state

    def graft(self, events: Sequence[Foreign], write_id: str, *, accept_future: bool = False) -> None:
        """Append events from another store in one slot, unchanged, after computing all their claims again.

        Args:
            events: The events, in order.
            write_id: Identifies this write.
            accept_future: Accept events dated more than a day ahead of this machine's clock. Every later version has at
                least the same time, since times never go back along a line.

        Raises:
            CorruptStore: An event does not follow the event before, or does not lead to the named state. Nothing was
                appended.
            SlotTaken: Somebody else committed meanwhile.
        """
        head = self.head()
        root = self.state(head).root
        parent = head.entry
        records: list[Record] = []
        entries: list[Entry] = []
        chunks: list[Chunk] = []
        order_chunks: dict[bytes, Chunk] = {}
        order = self._orders.draft(head.seq, order_chunks)
        latest = "" if accept_future else format_time(self._clock.now() + MOST_AHEAD)
        for where, event, header, operations, order_operations in events:
            if faults := header_faults(header, event):
                raise CorruptStore(f"{where}: {'; '.join(faults)}", hint="run: kbstore verify there")
            follows = parent.id if parent is not None else None
            if event.seq != head.seq + len(records) + 1 or (event.parents[0] if event.parents else None) != follows:
                raise CorruptStore(
                    f"{where} is v{event.seq}, which does not follow v{head.seq + len(records)} of this store",
                    hint="import the events in order, from the first one that is missing here",
                )
            if parent is not None and event.time < parent.event.time:
                raise CorruptStore(f"{where} is older than the version before it")
            if latest and event.time > latest:
                raise CorruptStore(
                    f"{where} is dated {event.time}, more than a day ahead of this machine's clock",
                    hint="every later version would have that time; if it is right, use --accept-future",
                )
            draft = Draft(root, self._nodes, Budget())
            try:
                draft.apply(operations)
                root = draft.seal()
            except PatchError as fault:
                raise CorruptStore(f"{where}: the patch of v{event.seq} cannot be applied: {fault}") from fault
            if root.address.hex() != event.state:
                raise CorruptStore(f"{where}: the patch of v{event.seq} does not lead to the state that it names")
            for operation in operations:
                if isinstance(operation.value, Ref):
                    chunks.extend(unsaved(operation.value, self._nodes, below=TRUTH, mark=TRUTH))
            if event.order is not None:
                if order_operations is None:
                    raise CorruptStore(f"{where}: the order of members that v{event.seq} names is missing")
                order.graft(order_operations, event.order)
            parent = Entry(event, header)
            entries.append(parent)
            records.append(Record(header, encode_body(operations)))
        if parent is None:
            raise CorruptStore("no events were given to be appended")
        needed = [*chunks, *order_chunks.values()]
        self._refuse_unreadable(root, records, needed)
        self._backend.append(self._line.log, head.slot + 1, records, write_id=write_id, chunks=needed)
        done = sum(len(e.operations) for e in events)
        self._landed(Head(head.slot + 1, parent.event.seq, parent), root, done, entries)

    def _landed(self, head: Head, root: Ref | None, operations: int, entries: Sequence[Entry]) -> None:
        self._head = head
        self._orders.index.committed(entries)
        self._state = State(head.seq, root)
        self._states.keep(self._state)
        self._snapshotter.committed(self._state, operations, len(entries))

    def _refuse_unreadable(self, root: Ref | None, records: Sequence[Record], chunks: Sequence[Chunk]) -> None:
        if root is not None:
            self._nodes.limit.admit_new(root.size, chain((r.body for r in records), (c.data for c in chunks)))

    def _prepare(self, proposals: Sequence[Proposal]) -> list[Chunk]:
        chunks: list[Chunk] = []
        for proposal in proposals:
            proposal.body = proposal.body or encode_body(proposal.operations)
            for operation in proposal.operations:
                if isinstance(operation.value, Ref):
                    chunks.extend(unsaved(operation.value, self._nodes, below=TRUTH, mark=TRUTH))
        return chunks

    def _events(
        self,
        proposals: Sequence[Proposal],
        root: Ref | None,
        parent: Entry | None,
        extra_parent: str | None,
        order: OrderDraft,
    ) -> tuple[list[Entry | None], State]:
        """Return the events of these changes on top of a state, an event and an order, and the resulting state."""
        entries: list[Entry | None] = []
        now = self._clock.now()
        stamp = format_time(now)
        for at, proposal in enumerate(proposals):
            draft = Draft(root, self._nodes, Budget())
            draft.apply(proposal.operations)
            changed = draft.seal() if proposal.operations or root is None else root
            stays = root is not None and changed.address == root.address and not proposal.allow_empty
            order_root = None
            if proposal.order is not None and (proposal.keep_order or not stays):
                order_root = order.arrange(proposal.order, proposal.operations, root, changed)
            if stays and order_root is None:
                entries.append(None)
                continue
            root = changed
            time = stamp if proposal.authored is None else format_time(min(now, proposal.authored))
            if parent is not None and time < parent.event.time:
                time = parent.event.time
            parents = (parent.id,) if parent is not None else ()
            # A time other than the event's is kept as `authored`: also this clock's time, if the parent's is ahead.
            authored = format_time(proposal.authored) if proposal.authored is not None else stamp
            event = Event(
                seq=(parent.event.seq if parent is not None else 0) + 1,
                parents=(*parents, extra_parent) if extra_parent and at == len(proposals) - 1 else parents,
                time=time,
                author=proposal.author,
                message=proposal.message,
                patch=sha256(proposal.body).hexdigest(),
                state=root.address.hex(),
                authored=authored if authored != time else None,
                tags=proposal.tags,
                meta=proposal.meta or None,
                order=order_root,
                format=EVENT_FORMAT,
            )
            header = event.encode()
            dated = Dated(now, parent.event.time if parent is not None else None)
            parent = Entry(event, header, dated if proposal.authored is None else None)
            entries.append(parent)
        return entries, State(parent.event.seq if parent is not None else 0, root)

    def _looked_at(self, base: Base) -> Ref | None:
        """Return the state before a change with this base; None if there was no document."""
        if base.content is not None:
            found: Ref = base.content
            return found
        return self._states.tree(self._line.entry(base.seq).event).root if base.seq else None

    def _footprint(self, operations: Sequence[Operation], base: Base) -> Footprint:
        """Return the pointers that operations touch; arrays are recognized in the state before the operations."""
        return Footprint.of(operations, self._array_test(self._looked_at(base)))

    def _array_test(self, root: Ref | None) -> Callable[[tuple[str, ...]], bool]:
        def is_array(path: tuple[str, ...]) -> bool:
            found = find(root, path, self._nodes) if root is not None else None
            return found is not None and (found.kind == ARRAY if isinstance(found, Ref) else found[:1] == b"[")

        return is_array

    def _collide(self, ours: Footprint, since: int, head: Head) -> bool:
        """Return whether a change touches the same places as versions since then, by positions alone."""
        before = self._states.tree(self._line.entry(since).event).root if since else None
        theirs = [
            op for _, body in self._line.bodies(range(since + 1, head.seq + 1)) for op in decode_body(body, self._nodes)
        ]
        return bool(collisions(ours, Footprint.of(theirs, self._array_test(before))))

    def _merged(self, proposals: Sequence[Proposal], base: Base, head: Head) -> list[Proposal]:
        """Return the changes for the top of the head, merged with the versions since their base.

        Raises:
            ConflictError: Both sides changed the same place differently.
        """
        before, now = self._looked_at(base), self.state(head).tree
        self._identities.refresh()
        changes = [proposal.operations for proposal in proposals]
        patches, conflicts = rebased(changes, before, now, self._nodes, self._identities)
        if not conflicts:
            return [replace(p, operations=patch, body=b"") for p, patch in zip(proposals, patches, strict=True)]
        shown = ", ".join(c.pointer or "the whole document" for c in conflicts[:_SHOWN_POINTERS])
        more = f" and {len(conflicts) - _SHOWN_POINTERS} more" if len(conflicts) > _SHOWN_POINTERS else ""
        theirs = f"the versions after v{base.seq}" if base.content is None else "the changes of others"
        raise ConflictError(
            f"this change and {theirs} touch the same places: {shown}{more}",
            conflicts=conflicts,
            hint="look at the newest version (kbstore diff), bring the change in line with it, and commit again",
        )
