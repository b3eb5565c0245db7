"""Prove that a builder would make exactly these nodes: the same content has a single root, others are refused.

Reading a single value and reading all values use different ways through the nodes. In nodes that a builder never
makes (a key in two leaves, another cut, a wrong count), the two could find different contents under the same address.
"""

from hashlib import sha256
from typing import NamedTuple, Protocol

from kbstore.errors import CorruptStore
from kbstore.jsondoc.canonical import decode, encode
from kbstore.jsondoc.pointer import MAX_DEPTH
from kbstore.tree.node import (
    INLINE_BYTES,
    STRING,
    VALUE,
    Blob,
    Index,
    Leaf,
    Node,
    Ref,
    canonical_length,
    check_loaded,
    encode_name,
    ends_index,
    ends_leaf,
    index_name,
    item_bytes,
)
from kbstore.tree.weight import depth_of


class Unsound(CorruptStore):
    """Nodes are stored as written, but a builder would make other nodes of the content."""


class Loads(Protocol):
    """A source of nodes."""

    def load(self, ref: Ref) -> Node:
        """Return the node of a reference, and remember the node in ``ref.node``."""
        ...


class _Facts(NamedTuple):
    """The facts about a node and all nodes below.

    Attributes:
        ref: A reference with the true facts.
        level: 0 for a leaf or a text.
        first: The first key below, for nodes of an object.
        last: The last key below, for nodes of an object.
        closed: Whether the last item ends the node and every node below; else the node must be the last of the level.
        depth: The number of nested containers, including the node's own container.
    """

    ref: Ref
    level: int
    first: str | None
    last: str
    closed: bool
    depth: int


class Prover:
    """A prover for the trees of a store; each node is examined once, even if many places refer to the node.

    Args:
        source: The source of nodes; nodes that are not in memory yet are not kept in memory.
    """

    def __init__(self, source: Loads) -> None:
        self._source = source
        self._known: dict[bytes, _Facts] = {}

    def prove(self, root: Ref) -> None:
        """Check that a value consists of the nodes that a builder makes, and that all nodes are stored.

        Args:
            root: A reference from `kbstore.tree.node_store.Nodes.root`.

        Raises:
            CorruptStore: A node is missing, or a builder would make another node.
        """
        try:
            facts = self._facts(root)
            node = root.node or self._source.load(root)
            if isinstance(node, Index) and len(node.children) == 1:
                raise ValueError("an index node with one child is no root")
            _check_length(facts.ref)
            if facts.depth > MAX_DEPTH:
                raise ValueError(f"it is nested deeper than {MAX_DEPTH} containers")
        except (ValueError, TypeError, KeyError, IndexError, RecursionError) as fault:
            told = "it is nested too deep" if isinstance(fault, RecursionError) else str(fault)
            raise Unsound(f"the value {root.address.hex()} is not what its content makes: {told}") from None

    def _facts(self, ref: Ref) -> _Facts:
        known = self._known.get(ref.address)
        if known is not None:
            _check_same(ref, known)
            return known
        loaded = ref.node is None
        node = ref.node or self._source.load(ref)
        if loaded:
            ref.node = None
        made = Index(node.is_object, node.level, node.children) if isinstance(node, Index) else node
        if sha256(made.encode()).digest() != ref.address:
            raise ValueError("it is not in canonical form")
        check_loaded(ref, node)
        if isinstance(node, Blob):
            facts = _of_blob(ref, node)
        elif isinstance(node, Leaf):
            facts = self._of_leaf(ref, node)
        else:
            facts = self._of_index(ref, node)
        self._known[ref.address] = facts
        return facts

    def _of_leaf(self, ref: Ref, leaf: Leaf) -> _Facts:
        names = leaf.names if leaf.is_object else [b""] * len(leaf.values)
        depth = 0
        ends = False
        for at, (name, value) in enumerate(zip(names, leaf.values, strict=True)):
            if leaf.is_object and name != encode_name(leaf.keys[at]):
                raise ValueError("a key is not in canonical form")
            if isinstance(value, Ref):
                below = self._facts(value)
                _check_length(value)
                depth = max(depth, below.depth)
            else:
                if len(value) > INLINE_BYTES or encode(decode(value)) != value:
                    raise ValueError("an item is too long for its leaf, or not in canonical form")
                depth = max(depth, depth_of(value))
            if ends:
                raise ValueError("a leaf goes on behind its end")
            named = name if leaf.is_object else value.address if isinstance(value, Ref) else value
            ends = ends_leaf(named, len(name) + item_bytes(value))
        first, last = (leaf.keys[0], leaf.keys[-1]) if leaf.is_object else (None, "")
        return _Facts(ref, 0, first, last, ends, depth + 1)

    def _of_index(self, ref: Ref, index: Index) -> _Facts:
        depth = 0
        last = ""
        ends = closed = False
        for at, child in enumerate(index.children):
            below = self._facts(child)
            if below.level != index.level - 1 or below.ref.kind != ref.kind:
                raise ValueError("a node stands on another level than its neighbours")
            if index.is_object and at and (child.first or "") <= last:
                raise ValueError("the keys of a leaf do not follow those of the one before")
            if at and (ends or not closed):
                raise ValueError("nodes are not cut where their content says")
            ends, closed = ends_index(index.level, index_name(child)), below.closed
            depth, last = max(depth, below.depth), below.last
        return _Facts(ref, index.level, index.children[0].first, last, ends and closed, depth)


def _of_blob(ref: Ref, node: Blob) -> _Facts:
    if encode(decode(node.data)) != node.data:
        raise ValueError("it is not in canonical form")
    if node.kind == STRING and not node.data.startswith(b'"'):
        raise ValueError("it is not a text")
    return _Facts(ref, 0, None, "", True, depth_of(node.data) if node.kind == VALUE else 0)


def _check_length(ref: Ref) -> None:
    """Check that the value of a node is long, or short if the node is a whole state (`VALUE`)."""
    if (canonical_length(ref) > INLINE_BYTES) is (ref.kind == VALUE):
        raise ValueError("a short value is a node of its own, or a long one is not")


def _check_same(ref: Ref, known: _Facts) -> None:
    """Check that another reference to a node agrees with the known facts."""
    there = known.ref
    same = (ref.kind, ref.count, ref.size) == (there.kind, there.count, there.size)
    if not same or ref.level not in (-1, known.level) or (ref.first is not None and ref.first != known.first):
        raise ValueError("it is not what the node above it says")
