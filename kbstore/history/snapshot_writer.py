"""Take the due snapshots (`kbstore.history.snapshots`) after a commit."""

from contextlib import suppress

from kbstore.backends.base import TRUTH, Backend, Snapshot
from kbstore.history.branch import Line
from kbstore.history.index.authors import Who
from kbstore.history.index.paths import Touched
from kbstore.history.member_order import Orders
from kbstore.history.snapshots import COMPLETE, DENSE, MIDDLE, Base, Note, due_tier, listed, mark_of, usable
from kbstore.history.state_cache import State
from kbstore.kit.errors import BackendError
from kbstore.tree.node_store import Nodes, unsaved

_OPERATIONS_PER_EVENT = 6
_TOUCHED_BACK = 4096
"""How many versions back the index is brought up to date: more than between any two larger snapshots."""
_TOUCHED_BACK_REMOTE = 1024
"""The same if each block of the index costs a request; every snapshot brings the index up to date then."""


class Snapshotter:
    """Keeps the snapshots of the open log of one line.

    The snapshotter knows the snapshots under the head's tree (`Nodes.trusted`), so `begin` must see the newest snapshot
    before the first node is loaded.

    Args:
        backend: Stores the snapshots.
        line: The versions.
        nodes: Their marks say which nodes are stored.
        touched: The path index, brought up to date with the larger snapshots.
        orders: Knows the order of members.
    """

    def __init__(self, backend: Backend, line: Line, nodes: Nodes, touched: Touched, orders: Orders) -> None:
        self._backend = backend
        self._line = line
        self._nodes = nodes
        self._touched = touched
        self._orders = orders
        self._chain: list[Snapshot] = []  # the newest snapshot and all snapshots below, lowest first
        self._operations_since_any = 0
        self._operations_since_complete = 0
        self._uncertain = False
        self._blind = False

    def begin(self, head: int) -> None:
        """Find the existing snapshots.

        Args:
            head: The newest version.
        """
        log, offset = self._line.log, self._line.segments[-1].offset
        found = listed(self._backend, log)
        self._blind = found is None
        newest = max((u for u in usable(found or ()) if offset + u.snapshot.number <= head), default=None)
        self._chain = list(newest.chain) if newest else []
        since = head - offset - (newest.snapshot.number if newest else 0)
        self._operations_since_any = since * _OPERATIONS_PER_EVENT
        self._operations_since_complete = self._operations_since_any + (newest.note.operations if newest else 0)
        self._trust()

    def committed(self, state: State, operations: int, events: int) -> None:
        """Count the events of a commit, and take a snapshot if a snapshot is due.

        Args:
            state: The resulting tree.
            operations: Number of operations in all events.
            events: Number of events.
        """
        first = state.seq == events
        self._operations_since_any += 0 if first else operations
        self._operations_since_complete += 0 if first else operations
        if state.root is None or self._blind:  # the listing failed, so a snapshot may be there already
            return
        denses = sum(1 for s in self._chain if s.tier == DENSE)
        tier = due_tier(self._operations_since_any, denses, self._operations_since_complete, state.root.canonical_bytes)
        if tier:
            with suppress(BackendError):  # the commit is valid even if the cache cannot be written
                self.take(state, COMPLETE if self._uncertain else tier)

    def take(self, state: State, tier: int) -> None:
        """Write a snapshot of this state now, and drop the snapshots that become superfluous."""
        try:
            self._take(state, tier)
        except BaseException:
            self._uncertain = True  # nodes marked as stored may be missing: the next snapshot is complete
            self._chain = []
            raise

    def _take(self, state: State, tier: int) -> None:
        log, number = self._line.log, self._line.record_number(state.seq)
        if state.root is None or number < 1 or any(s.number == number for s in self._chain):
            return
        if not self._chain and (self._leans_on_another_log() or self._backend.remote):
            tier = COMPLETE
        base = [] if tier == COMPLETE else [s for s in self._chain if s.tier >= tier]
        on = Base(base[-1].number, mark_of(base[-1].note)) if base else None
        self._operations_since_complete = 0 if tier == COMPLETE else self._operations_since_complete
        order = self._orders.index.root(state.seq)
        note = Note(state.root.address, state.root.canonical_bytes, self._operations_since_complete, on).encode()
        below = TRUTH + self._backend.remote if tier == COMPLETE else tier if tier == DENSE else MIDDLE
        trees = [state.root] if order is None else [state.root, self._orders.tree(order)]
        written = self._backend.put_snapshot(
            log,
            number,
            tier=tier,
            note=note,
            chunks=(chunk for tree in trees for chunk in unsaved(tree, self._nodes, below=below, mark=tier)),
            requires={s.number: s.note for s in base},
        )
        if not written:  # another process dropped the base: start again from truth alone
            self._chain = []
            self._take(state, COMPLETE)
            return
        back = _TOUCHED_BACK_REMOTE if self._backend.remote else _TOUCHED_BACK
        self._touched.build(max(1, state.seq - back), state.seq)
        self._orders.index.build(state.seq)
        if self._backend.remote:
            Who(self._backend, self._line).build(max(1, state.seq - back), state.seq)
        gone = [s.number for s in self._chain if s.tier < tier and s.tier != COMPLETE]
        self._chain = [*base, Snapshot(number, tier, note, 0)]
        self._operations_since_any = 0
        self._uncertain = False
        if gone:
            self._backend.drop_snapshots(log, gone)
            if not self._backend.remote:  # if a listing costs a request, orphans wait for a collection
                self._drop_orphans()
        self._trust()

    def _drop_orphans(self) -> None:
        """Drop snapshots that other processes built on a missing snapshot."""
        there = self._backend.snapshots(self._line.log)
        whole = {u.snapshot.number for u in usable(there)}
        if orphans := [s.number for s in there if s.number not in whole]:
            self._backend.drop_snapshots(self._line.log, orphans)

    def _leans_on_another_log(self) -> bool:
        return len(self._line.segments) > 1

    def _trust(self) -> None:
        self._nodes.trusted = frozenset((self._line.log, s.number) for s in self._chain)
