"""Builds a container's nodes from items in order, taking over whole subtrees where nothing changed.

The builder is the one definition of where nodes end; local edits (`kbstore.tree.edit`) are a shortcut that must give
the same nodes.
"""

from collections.abc import Callable

from kbstore.tree.node import (
    ARRAY,
    INLINE_BYTES,
    OBJECT,
    STRING,
    Blob,
    Index,
    Leaf,
    Node,
    Ref,
    ends_index,
    ends_leaf,
    index_name,
    item_bytes,
    make_index,
    make_leaf,
    split_elements,
    split_members,
)

Load = Callable[[Ref], Node]


class Builder:
    """Collects the items of one container in order and closes nodes at every level as they end."""

    def __init__(self, is_object: bool, load: Load) -> None:
        self._is_object = is_object
        self._load = load
        self._keys: list[str] = []
        self._names: list[bytes] = []
        self._values: list[bytes | Ref] = []
        self._pending: list[list[Ref]] = []  # [n]: nodes of level n that wait for their index node

    def add(self, key: str, name: bytes, value: bytes | Ref) -> None:
        """Add the next member (or, with an empty key and name, the next element)."""
        values = self._values
        values.append(value)
        if self._is_object:
            self._keys.append(key)
            self._names.append(name)
            ends = ends_leaf(name, len(name) + item_bytes(value))
        else:
            ends = ends_leaf(value.address if isinstance(value, Ref) else value, item_bytes(value))
        if ends:
            self._close_leaf()

    def add_leaf_items(self, leaf: Leaf) -> None:
        """Add all items of a leaf, whose end may no longer be where it was."""
        if self._is_object:
            for key, name, value in zip(leaf.keys, leaf.names, leaf.values, strict=True):
                self.add(key, name, value)
        else:
            for value in leaf.values:
                self.add("", b"", value)

    def add_subtree(self, ref: Ref, level: int) -> None:
        """Add a whole node of `level` whose last item is known to end it at every level below.

        It is taken over unread where the builder stands at a boundary of its level, else opened.
        """
        if not self._values and not any(self._pending[:level]):
            self._push(ref, level)
            return
        node = ref.node or self._load(ref)
        if isinstance(node, Leaf):
            self.add_leaf_items(node)
        else:
            for child in node.refs():
                self.add_subtree(child, level - 1)

    def finish(self) -> Ref | None:
        """Close what is open and return the root, or None where nothing was added."""
        if self._values:
            self._close_leaf()
        level = 0
        while level < len(self._pending):
            waiting = self._pending[level]
            if level + 1 == len(self._pending) and len(waiting) == 1:
                return lowest_root(waiting[0], self._load)
            if waiting:
                self._close_index(level)
            level += 1
        return None

    def _close_leaf(self) -> None:
        ref = make_leaf(self._is_object, self._keys, self._names, self._values)
        self._keys, self._names, self._values = [], [], []
        self._push(ref, 0)

    def _push(self, ref: Ref, level: int) -> None:
        while len(self._pending) <= level:
            self._pending.append([])
        self._pending[level].append(ref)
        if ends_index(level + 1, index_name(ref)):
            self._close_index(level)

    def _close_index(self, level: int) -> None:
        children = self._pending[level]
        self._pending[level] = []
        self._push(make_index(self._is_object, level + 1, children), level + 1)


def lowest_root(root: Ref, load: Load) -> Ref:
    """The lowest node that holds all items: a lone child takes its parent's place."""
    while root.kind in (OBJECT, ARRAY):
        node = root.node or load(root)
        if isinstance(node, Index) and len(node.children) == 1:
            root = node.children[0]
        else:
            break
    return root


def _no_load(ref: Ref) -> Node:
    raise AssertionError(f"a tree built from bytes loads nothing, yet it asked for {ref.kind}")


def build_value(data: bytes) -> bytes | Ref:
    """The value with this canonical form, as it stands in its parent: inline, or a reference to new nodes.

    Cost: linear in `data`, once more for each level of containers longer than `INLINE_BYTES`.
    """
    if len(data) <= INLINE_BYTES:
        return data
    start = data[:1]
    if start == b'"':
        return Ref(STRING, None, 0, len(data), None, Blob(STRING, data))
    builder = Builder(start == b"{", _no_load)
    add = builder.add
    if start == b"{":
        for key, name, value in zip(*split_members(data), strict=True):
            add(key, name, value if len(value) <= INLINE_BYTES else build_value(value))  # type: ignore[arg-type]
    else:
        for value in split_elements(data):
            add("", b"", value if len(value) <= INLINE_BYTES else build_value(value))  # type: ignore[arg-type]
    root = builder.finish()
    assert root is not None
    return root
