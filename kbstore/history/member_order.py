"""The order of members at any version: the rules, and the nodes of new rules for a new version."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from kbstore.backends.base import TRUTH, Chunk
from kbstore.errors import CorruptStore
from kbstore.history.branch import Entry
from kbstore.history.event import store_values
from kbstore.history.index.orders import OrderIndex
from kbstore.history.tree_patch import applied, operations_between
from kbstore.jsondoc.make_patch import patch_of
from kbstore.jsondoc.patch import Operation, parse_patch
from kbstore.order.rules import NO_RULES, Rules
from kbstore.tree.builder import root_of
from kbstore.tree.diff import compare
from kbstore.tree.node import Ref
from kbstore.tree.node_store import Nodes, unsaved
from kbstore.tree.reader import materialise

Arrange = Callable[[Rules, Sequence[Operation], Ref | None, Ref], Rules]
"""Return the rules after a change from the rules before, the operations, and the states before and after the change."""

OrderPatch = list[dict[str, Any]]

_KEPT_RULES = 8


class Orders:
    """The rules along a line of versions.

    Args:
        index: Knows the events with rules.
        nodes: Source of nodes.
    """

    def __init__(self, index: OrderIndex, nodes: Nodes) -> None:
        self.index = index
        self._nodes = nodes
        self._rules: OrderedDict[str, Rules] = OrderedDict()

    def rules(self, seq: int) -> Rules:
        """Return the rules of a version.

        Raises:
            CorruptStore: The rules cannot be read.
        """
        return self.read(self.index.root(seq))

    def read(self, root: str | None) -> Rules:
        """Return the rules with this root; raises as `rules`."""
        if root is None:
            return NO_RULES
        found = self._rules.get(root)
        if found is None:
            try:
                found = Rules.of(materialise(self.tree(root), self._nodes))
            except CorruptStore as fault:
                raise CorruptStore(
                    f"the order of members cannot be read: {fault}", hint="run: kbstore verify"
                ) from fault
            self.remember(root, found)
        self._rules.move_to_end(root)
        return found

    def tree(self, root: str | None) -> Ref:
        """Return the tree of rules with this root.

        Raises:
            CorruptStore: The tree is not stored.
        """
        try:
            return self._nodes.root(bytes.fromhex(root)) if root is not None else root_of({})
        except ValueError:
            raise CorruptStore(f"{root!r} is not the address of a node") from None

    def patches(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, OrderPatch | None]]:
        """Yield events, each with the patch (plain RFC 6902) to the event's rules; None if the event has no `order`.

        Raises:
            CorruptStore: The rules before or after an event cannot be read.
        """
        for entry in entries:
            event = entry.event
            if event.order is None:
                yield entry, None
                continue
            yield entry, self.patch(self.index.root(event.seq - 1), event.order)
            self.index.committed([entry])

    def patch(self, before: str | None, after: str) -> OrderPatch:
        """Return the patch (plain RFC 6902) between the rules with two roots; raises as `patches`."""
        return patch_of(compare(self.tree(before), self.tree(after), self._nodes))

    def draft(self, seq: int, chunks: dict[bytes, Chunk]) -> "OrderDraft":
        """Begin to make versions on top of a version; new nodes of the rules are added to `chunks`, by address."""
        return OrderDraft(self, self._nodes, seq, chunks)

    def remember(self, root: str, rules: Rules) -> None:
        """Keep rules for `read`."""
        self._rules[root] = rules
        while len(self._rules) > _KEPT_RULES:
            self._rules.popitem(last=False)


class OrderDraft:
    """The rules while versions are made; see `Orders.draft`."""

    def __init__(self, orders: Orders, nodes: Nodes, seq: int, chunks: dict[bytes, Chunk]) -> None:
        self._orders = orders
        self._nodes = nodes
        self._seq = seq
        self._chunks = chunks
        self._at: tuple[Rules, Ref] | None = None

    def mark(self) -> tuple[Rules, Ref] | None:
        """Return the present rules, for `back_to`."""
        return self._at

    def back_to(self, mark: tuple[Rules, Ref] | None) -> None:
        """Undo all steps since a mark."""
        self._at = mark

    def arrange(self, arrange: Arrange, operations: Sequence[Operation], before: Ref | None, after: Ref) -> str | None:
        """Go on to the rules after a change; return the new root, or None if the rules stay the same."""
        old, base = self._now()
        new = arrange(old, operations, before, after)
        if new is old:
            return None
        wanted = root_of(new.as_json())
        if wanted.address == base.address:
            return None
        return self._take(new, applied(base, operations_between(base, wanted, self._nodes, {}), self._nodes))

    def graft(self, operations: Sequence[Operation], root: str) -> None:
        """Go on to rules that another store made, by the patch to those rules.

        Raises:
            CorruptStore: The patch leads to other rules, or to a value that is not made of rules.
        """
        tree = applied(self._now()[1], operations, self._nodes)
        if tree.address.hex() != root:
            raise CorruptStore("the patch of the order of members does not lead to the order that the event names")
        self._take(Rules.of(materialise(tree, self._nodes)), tree)

    def _now(self) -> tuple[Rules, Ref]:
        if self._at is None:
            try:
                root = self._orders.index.root(self._seq)
                self._at = self._orders.read(root), self._orders.tree(root)
            except CorruptStore:  # `verify` reports the damage; versions committed from here on have good rules again
                self._at = NO_RULES, root_of({})
        return self._at

    def _take(self, rules: Rules, tree: Ref) -> str:
        for chunk in unsaved(tree, self._nodes, below=TRUTH, mark=TRUTH):
            self._chunks[chunk.address] = chunk
        self._at = rules, tree
        root = tree.address.hex()
        self._orders.remember(root, rules)
        return root


def stored_order(patch: Any) -> list[Operation]:
    """Return the operations of such a patch, values in stored form; raises as `parse_patch`."""
    return store_values(parse_patch(patch, owned=True, limit=None))
