"""Loads nodes from a backend's chunks, and keeps apart what is stored for good from what a cache may lose."""

from collections.abc import Iterator

from kbstore.backends.base import TRUTH, Backend, Chunk, Found
from kbstore.kit.errors import CorruptStore
from kbstore.tree.limits import Limit
from kbstore.tree.node import Blob, Leaf, Node, Ref, check_loaded, leaf_size, parse_node

_MOST_AT_HAND = 4096
"""Nodes that a walk keeps of those that were read along with the ones it asked for: some 20 MB."""


_IN_ORDER = 4
"""As many chunks from one read tell that nodes stand in reading order."""


class MissingNode(CorruptStore):
    """A node is in no pack: its snapshot was dropped or is damaged. The state can be folded anew from older ones."""


class Nodes:
    """Nodes of one store.

    Args:
        backend: Where the chunks are.
        trusted: Logs and numbers of the snapshots that count as storage of what is loaded; nodes found in others are
            treated as not stored, so that a new snapshot never leans on one that it does not require.
    """

    def __init__(self, backend: Backend, trusted: frozenset[tuple[str, int]] = frozenset()) -> None:
        self._backend = backend
        self.trusted = trusted
        self._at_hand: dict[bytes, Found] = {}
        self.limit = Limit(backend)

    def load(self, ref: Ref, *, ahead: bool = False) -> Node:
        """The node that `ref` refers to, remembered in it.

        Args:
            ref: The node.
            ahead: Those behind it in the order of writing will be asked for too.

        Raises:
            MissingNode: It is not stored.
        """
        address = ref.address
        at_hand = self._at_hand.pop(address, None)
        ahead = ahead and self._backend.remote
        for found in self._backend.get_chunks([address], in_order=ahead) if at_hand is None else (at_hand,):
            if found.address == address:
                ref.node = self._parse(ref, found)
                return ref.node
        raise MissingNode(f"state node {address.hex()} is not stored", hint="run: kbstore verify")

    def prefetch(self, refs: list[Ref]) -> None:
        """Load and remember these nodes with as few reads as possible."""
        wanted = {r.address: r for r in refs if r.node is None}
        if not wanted:
            return
        for found in self._backend.get_chunks(list(wanted)):
            ref = wanted.pop(found.address, None)
            if ref is not None:
                ref.node = self._parse(ref, found)

    def walk(self, refs: list[Ref]) -> Iterator[bytes | Node]:
        """These nodes in order, those not at hand as their bytes and not remembered."""
        at_hand = self._at_hand
        for at, ref in enumerate(refs):
            if ref.node is not None:
                yield ref.node
                continue
            found = at_hand.pop(ref.address, None)
            if found is None:
                # Nodes that were written in order come with the first of them; asking for all would bring packs twice.
                if self._fetch([ref.address], in_order=True) < _IN_ORDER:
                    rest = [r.address for r in refs[at + 1 :] if r.node is None and r.address not in at_hand]
                    self._fetch(rest)
                found = at_hand.pop(ref.address, None)
                if found is None:
                    raise MissingNode(f"state node {ref.address.hex()} is not stored", hint="run: kbstore verify")
            yield found.data

    def _fetch(self, addresses: list[bytes], *, in_order: bool = False) -> int:
        """Put these chunks, and what is read along with them, at hand; returns how many came.

        What is not taken soon makes room for others.
        """
        at_hand = self._at_hand
        if len(at_hand) > _MOST_AT_HAND:
            at_hand.clear()
        came = 0
        for found in self._backend.get_chunks(addresses, in_order=in_order):
            at_hand[found.address] = found
            came += 1
        return came

    def root(self, address: bytes) -> Ref:
        """A reference to the node at this address, with what its bytes tell of it.

        Raises:
            TooLarge: It is a value that is larger than what is read.
        """
        ref = Ref("", address, 0, 0)
        node = self.load(ref)
        if isinstance(node, Blob):
            return Ref(node.kind, address, 0, self.limit.admit(len(node.data)), None, node)
        first: str | None
        if isinstance(node, Leaf):
            count = len(node.values)
            size = leaf_size(node)
            first = node.keys[0] if node.is_object else None
        else:
            count = sum(c.count for c in node.children)
            size = sum(c.size for c in node.children)
            first = node.children[0].first
        return Ref("o" if node.is_object else "a", address, count, self.limit.admit(size), first, node)

    def _parse(self, ref: Ref, found: Found) -> Node:
        address, data, tier, owner = found
        try:
            node = parse_node(data, tier if tier == TRUTH or owner in self.trusted else 0)
            check_loaded(ref, node)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as fault:
            raise CorruptStore(f"chunk {address.hex()} is not the state node that it should be: {fault}") from None
        return node


def unsaved(root: Ref, nodes: Nodes, *, below: int, mark: int) -> Iterator[Chunk]:
    """All nodes under `root` that are stored in a lower tier than `below`, or not at all, parents first.

    What lies under a node is in its tier or a higher one, so the walk ends at the first that is high enough. Nodes are
    marked as stored in tier `mark` as they are given; those that the walk had to load are not remembered.
    """
    node = root.node
    if node is None:
        if root.floor >= below:
            return
        node = nodes.load(root, ahead=True)
        root.node = None
    if node.tier >= below:
        return
    yield Chunk(root.address, node.encode())
    node.tier = max(mark, node.tier)
    for child in node.refs():
        yield from unsaved(child, nodes, below=below, mark=mark)
