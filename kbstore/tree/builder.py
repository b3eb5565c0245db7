"""Build a container's nodes from items in order, reusing whole unchanged subtrees.

The builder alone defines the ends of nodes; local edits (`kbstore.tree.container_edit`) are a shortcut and must give
the same nodes.
"""

from collections.abc import Callable, Sequence

import msgspec

from kbstore.errors import InvalidJSON
from kbstore.jsondoc.canonical import JSON, dumps_within
from kbstore.jsondoc.diagnose.value import why_no_json
from kbstore.jsondoc.document import plain
from kbstore.jsondoc.pointer import MAX_DEPTH
from kbstore.tree.node import (
    ARRAY,
    INLINE_BYTES,
    OBJECT,
    REF_BYTES,
    STRING,
    VALUE,
    Blob,
    Index,
    Leaf,
    Node,
    Ref,
    cut_apart,
    encode_name,
    ends_index,
    ends_leaf,
    index_name,
    item_bytes,
    leaf_ends,
    make_index,
    make_leaf,
)

Load = Callable[[Ref], Node]

_LEAST_MEMBER_BYTES = len('"":0,')
_LEAST_ELEMENT_BYTES = len("0,")
_LOOK_AT = 16
"""The most items of a container to search for an item that must be long."""


class Builder:
    """A builder of a container, given the items in order; it closes nodes at every level at their ends."""

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
        """Add all items of a leaf; the end of the leaf may move."""
        if self._is_object:
            for key, name, value in zip(leaf.keys, leaf.names, leaf.values, strict=True):
                self.add(key, name, value)
        else:
            for value in leaf.values:
                self.add("", b"", value)

    def add_subtree(self, ref: Ref, level: int) -> None:
        """Add a whole node of `level`; the last item is known to end the node and all nodes below.

        At a boundary of the level, the builder reuses the node unread; elsewhere, the node is opened.
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
        """Close all open nodes and return the root, or None if nothing was added."""
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

    def root(self) -> Ref:
        """Close all open nodes and return the root; at least one item must have been added."""
        root = self.finish()
        if root is None:
            raise ValueError("an empty container has no nodes")
        return root

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
    """Return the lowest node with all items below: an only child replaces the parent."""
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
    """Return the stored form of a value with this canonical form: inline, or a reference to new nodes.

    Cost: linear in `data`, once more for each level of containers longer than `INLINE_BYTES`.
    """
    return data if len(data) <= INLINE_BYTES else _build_long(memoryview(data))


def build_document(document: JSON) -> bytes | Ref:
    """Return the stored form of a Python value, checked on the way.

    The items of a container that must be long are handled singly, while each is in the processor's cache. This takes
    two thirds of the time of checking, printing and cutting the document as a whole.

    Raises:
        InvalidJSON: The document is not JSON; the error has the pointer.
    """
    try:
        return _build_plain(plain(document), 0)
    except (TypeError, InvalidJSON):
        raise why_no_json(document) from None


def root_of(document: JSON) -> Ref:
    """Return the root of a new tree for a document; raises as `build_document`."""
    stored = build_document(document)
    return stored if isinstance(stored, Ref) else Ref(VALUE, None, 0, len(stored), None, Blob(VALUE, stored))


def _build_plain(value: JSON, depth: int) -> bytes | Ref:
    if depth > MAX_DEPTH or not _must_be_long(value):
        return build_value(dumps_within([value], depth)[0])
    if type(value) is dict:
        if not set(map(type, value)) <= {str}:
            raise TypeError("a member's name is not a str")
        keys = sorted(value)
        items = [value[key] for key in keys]
        names = list(map(encode_name, keys))
    else:
        keys, names, items = [], [], value
    if len(items) > _LOOK_AT or not any(map(_must_be_long, items)):
        printed = dumps_within(items, depth + 1)
        stored = [data if len(data) <= INLINE_BYTES else _build_long(memoryview(data)) for data in printed]
    else:
        stored = [_build_plain(item, depth + 1) for item in items]
    return _build_items(type(value) is dict, keys, names, stored)


def _must_be_long(value: JSON, levels: int = 3) -> bool:
    """Return whether a value is surely longer than `INLINE_BYTES` in canonical form; quick, but may miss some."""
    kind = type(value)
    if kind is dict or kind is list:
        if len(value) > INLINE_BYTES // (_LEAST_MEMBER_BYTES if kind is dict else _LEAST_ELEMENT_BYTES):
            return True
        if levels and len(value) <= _LOOK_AT:
            return any(_must_be_long(item, levels - 1) for item in (value.values() if kind is dict else value))
    return False


def _build_long(data: memoryview) -> Ref:
    first = bytes(data[:1])
    if first == b'"':
        return Ref(STRING, None, 0, len(data), None, Blob(STRING, bytes(data)))
    is_object = first == b"{"
    keys, names, values = cut_apart(data)
    stored = [raw if len(raw) <= INLINE_BYTES else _build_long(memoryview(raw)) for raw in values]
    return _build_items(is_object, keys, names, stored)


def _build_items(
    is_object: bool, keys: Sequence[str], names: Sequence[bytes], values: Sequence[bytes | msgspec.Raw | Ref]
) -> Ref:
    """Build the same nodes as a `Builder` with these items, but faster; keys and names of an array are empty."""
    has_refs = Ref in set(map(type, values))
    sizes = [REF_BYTES if type(v) is Ref else len(v) for v in values] if has_refs else list(map(len, values))  # type: ignore[arg-type]
    if is_object:
        ends = leaf_ends(names, [len(name) + size for name, size in zip(names, sizes, strict=True)])
    else:
        ends = leaf_ends([v.address if isinstance(v, Ref) else v for v in values], sizes)
    if not ends or ends[-1] != len(values):
        ends.append(len(values))
    builder = Builder(is_object, _no_load)
    first = 0
    for end in ends:
        part = values[first:end]
        if has_refs and Ref in set(map(type, part)):
            stored = [v if isinstance(v, Ref) else bytes(v) for v in part]
            ref = make_leaf(is_object, list(keys[first:end]), list(names[first:end]), stored)
        else:
            ref = Leaf.of_items(keys[first] if is_object else None, names[first:end], part)  # type: ignore[arg-type]
        builder.add_subtree(ref, 0)
        first = end
    return builder.root()
