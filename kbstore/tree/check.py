"""Proves that nodes are the ones that their content makes: the same content has one root, and nothing else passes.

Readers of one value and of all of them go different ways through the nodes. In nodes that no builder makes (a key in
two leaves, another cut, a wrong count) they could find different contents under one address.
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
    """Nodes are there, as they were written, and are not those that their content makes."""


class Loads(Protocol):
    """Where nodes come from."""

    def load(self, ref: Ref) -> Node:
        """The node that `ref` refers to, remembered in ``ref.node``."""
        ...


class _Facts(NamedTuple):
    """What is known of a node and all below it.

    Attributes:
        ref: A reference that says what is so.
        level: 0 for a leaf or a text.
        first: The first key below, for nodes of an object.
        last: The last key below, for nodes of an object.
        closed: Whether its last item ends it and every node below it; else it must be the last of its level.
        depth: How many containers stand inside each other, itself included.
    """

    ref: Ref
    level: int
    first: str | None
    last: str
    closed: bool
    depth: int


class Prover:
    """Proves the trees of one store; each node is looked at once, in however many places it stands.

    Args:
        source: Where nodes come from; those that are not in memory yet are not kept there.
    """

    def __init__(self, source: Loads) -> None:
        self._source = source
        self._known: dict[bytes, _Facts] = {}

    def prove(self, root: Ref) -> None:
        """See that a value is what its content makes, and that all of it is there.

        Args:
            root: As `kbstore.tree.node_store.Nodes.root` gives it.

        Raises:
            CorruptStore: A node is missing, or is not the one that its content makes.
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
    """A value is a node of its own if it is long, and only then."""
    if (canonical_length(ref) > INLINE_BYTES) is (ref.kind == VALUE):
        raise ValueError("a short value is a node of its own, or a long one is not")


def _check_same(ref: Ref, known: _Facts) -> None:
    """See that another reference to a node says of it what is so."""
    there = known.ref
    same = (ref.kind, ref.count, ref.size) == (there.kind, there.count, there.size)
    if not same or ref.level not in (-1, known.level) or (ref.first is not None and ref.first != known.first):
        raise ValueError("it is not what the node above it says")
