"""Load nodes from a backend's chunks; separate permanently stored nodes from nodes that a cache may lose."""

from collections.abc import Iterator

from kbstore.backends.base import TRUTH, Backend, Chunk, Found
from kbstore.kit.errors import CorruptStore
from kbstore.tree.limits import Limit
from kbstore.tree.node import Blob, Leaf, Node, Ref, check_loaded, leaf_size, parse_node

_MOST_AT_HAND = 4096
"""The most nodes to keep in a walk after reading them along with other nodes: some 20 MB."""


_IN_ORDER = 4
"""If a single read gives at least this many chunks, the nodes are stored in reading order."""


class MissingNode(CorruptStore):
    """A node is not in any pack: the snapshot was dropped or is damaged. Older snapshots can give the state again."""


class Nodes:
    """The nodes of a store.

    Args:
        backend: The backend with the chunks.
        trusted: Logs and numbers of the snapshots that count as storage of loaded nodes. Nodes found in other snapshots
            are treated as not stored, so that a new snapshot never depends on a snapshot that is not required.
    """

    def __init__(self, backend: Backend, trusted: frozenset[tuple[str, int]] = frozenset()) -> None:
        self._backend = backend
        self.trusted = trusted
        self._at_hand: dict[bytes, Found] = {}
        self.limit = Limit(backend)

    def load(self, ref: Ref, *, ahead: bool = False) -> Node:
        """Return the node of a reference, and remember the node in `ref`.

        Args:
            ref: The reference.
            ahead: True if the caller will load the following nodes too, in the order of writing.

        Raises:
            MissingNode: The node is not stored.
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
        """Yield these nodes in order; a node not in memory is yielded as bytes and not remembered."""
        at_hand = self._at_hand
        for at, ref in enumerate(refs):
            if ref.node is not None:
                yield ref.node
                continue
            found = at_hand.pop(ref.address, None)
            if found is None:
                # If nodes were written in order, the first brings the next; asking for all would read packs twice.
                if self._fetch([ref.address], in_order=True) < _IN_ORDER:
                    rest = [r.address for r in refs[at + 1 :] if r.node is None and r.address not in at_hand]
                    self._fetch(rest)
                found = at_hand.pop(ref.address, None)
                if found is None:
                    raise MissingNode(f"state node {ref.address.hex()} is not stored", hint="run: kbstore verify")
            yield found.data

    def _fetch(self, addresses: list[bytes], *, in_order: bool = False) -> int:
        """Read these chunks, keep all chunks of the read at hand, and return their number.

        Unused chunks soon make room for other chunks.
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
        """Return a reference to the node at this address, with the facts from the node's bytes.

        Raises:
            TooLarge: The value is larger than the limit for reading.
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
    """Yield all nodes under `root` that are stored in a lower tier than `below`, or not at all, parents first.

    All nodes under a node are in the node's tier or a higher tier, so the walk ends at each node in a high enough tier.
    Each yielded node is marked as stored in tier `mark`; nodes loaded by the walk are not remembered.
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
