"""Change items of a container: along a path if no end of a node moves, else with the builder.

Both ways give the same nodes; the tests compare the shortcut with the builder.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from kbstore.tree.builder import Builder, Load, lowest_root
from kbstore.tree.node import (
    OBJECT,
    Index,
    Leaf,
    Ref,
    canonical_length,
    encode_name,
    ends_index,
    ends_leaf,
    index_name,
    index_of,
    item_bytes,
    leaf_of,
    make_index,
    make_leaf,
)

Member = tuple[str, bytes | Ref | None]
"""A member's key and new value; None removes the member."""


class ArraySplice(NamedTuple):
    """A change at `start`: remove `removed` elements (0 or 1), insert `items`. Positions count before all splices."""

    start: int
    removed: int
    items: Sequence[bytes | Ref]


def edit_object(root: Ref, members: Sequence[Member], load: Load) -> Ref | None:
    """Return an object with the given members set or removed; `members` ascend by key, without duplicates.

    Returns:
        The new root, or None for an empty object.
    """
    rest = []
    for key, value in members:
        replaced = None if value is None else _replaced(root, key, value, load)
        if replaced is None:
            rest.append((key, value))
        else:
            root = replaced
    if not rest:
        return root
    refs = _object_locally(root, rest, True, load)
    if refs is None:
        builder = Builder(True, load)
        _object_rebuilt(root, rest, True, load, builder)
        return builder.finish()
    return _join(True, refs, load)


def _replaced(root: Ref, key: str, value: bytes | Ref, load: Load) -> Ref | None:
    """Return an object with a member's value replaced; None if the member is missing or an end would move."""
    path: list[tuple[Ref, Index, int]] = []
    ref = root
    node = ref.node or load(ref)
    while isinstance(node, Index):
        at = bisect_right(node.firsts, key) - 1
        if at < 0:
            return None
        path.append((ref, node, at))
        ref = node.children[at]
        node = ref.node or load(ref)
    keys, names, values = leaf_of(ref, node).items()
    at = bisect_left(keys, key)
    if at == len(keys) or keys[at] != key:
        return None
    old, name = values[at], names[at]
    before, after = len(name) + item_bytes(old), len(name) + item_bytes(value)
    if before != after and ends_leaf(name, before) != ends_leaf(name, after):
        return None
    values = values.copy()
    values[at] = value
    growth = canonical_length(value) - canonical_length(old)
    new = Ref(OBJECT, None, ref.count, ref.size + growth, ref.first, Leaf(True, keys, names, values))
    for above, index, at in reversed(path):
        new = Ref(OBJECT, None, above.count, above.size + growth, above.first, index.with_child(at, new))
    return new


def edit_array(root: Ref, splices: Sequence[ArraySplice], load: Load) -> Ref | None:
    """Return an array after the splices; splices ascend by position, and two splices never touch the same element.

    Returns:
        The new root, or None for an empty array.
    """
    refs = _array_locally(root, splices, True, load)
    if refs is None:
        builder = Builder(False, load)
        _array_rebuilt(root, splices, True, load, builder)
        return builder.finish()
    return _join(False, refs, load)


def _join(is_object: bool, refs: list[Ref], load: Load) -> Ref | None:
    """Return a single root above nodes of the same level; all nodes are known to have correct ends."""
    if len(refs) == 1:
        return lowest_root(refs[0], load)
    if not refs:
        return None
    builder = Builder(is_object, load)
    node = refs[0].node or load(refs[0])
    for ref in refs:
        builder.add_subtree(ref, node.level)
    return builder.finish()


def _merged(leaf: Leaf, members: Sequence[Member]) -> tuple[Leaf, list[int] | None]:
    """Return a leaf with the members set, and the items for new ends of leaves (None: any item)."""
    keys, names, values = leaf.keys, leaf.names, list(leaf.values)
    touched: list[int] | None = []
    for key, value in members:
        at = bisect_left(keys, key)
        there = at < len(keys) and keys[at] == key
        if there and value is not None:
            values[at] = value
            if touched is not None:
                touched.append(at)
            continue
        if not there and value is None:
            continue
        if keys is leaf.keys:
            keys, names = list(keys), list(names)
        touched = None
        if value is None:
            del keys[at], names[at], values[at]
        else:
            keys.insert(at, key)
            names.insert(at, encode_name(key))
            values.insert(at, value)
    return Leaf(True, keys, names, values), touched


def _spliced(leaf: Leaf, splices: Sequence[ArraySplice], before: int) -> tuple[Leaf, list[int] | None]:
    """Return a leaf after the splices, as `_merged`; `before` is the number of elements before the leaf."""
    values = list(leaf.values)
    touched: list[int] | None = []
    for splice in reversed(splices):
        at = splice.start - before
        values[at : at + splice.removed] = splice.items
        if len(splice.items) == splice.removed == 1:
            if touched is not None:
                touched.append(at)
        else:
            touched = None
    return Leaf(False, [], [], values), touched


def _ends(leaf: Leaf, at: int) -> bool:
    value = leaf.values[at]
    if leaf.is_object:
        name = leaf.names[at]
        return ends_leaf(name, len(name) + item_bytes(value))
    return ends_leaf(value.address if isinstance(value, Ref) else value, item_bytes(value))


def _cut_leaf(leaf: Leaf, touched: list[int] | None, is_last: bool) -> list[Ref] | None:
    """Return leaves of the items; None if the last leaf would run on into the next leaf."""
    n = len(leaf.values)
    if n == 0:
        return []
    if not is_last and not _ends(leaf, n - 1):
        return None
    cuts = [i + 1 for i in (range(n) if touched is None else sorted(touched)) if i < n - 1 and _ends(leaf, i)]
    if not cuts:
        return [make_leaf(leaf.is_object, leaf.keys, leaf.names, leaf.values)]
    cuts.append(n)
    start, refs = 0, []
    for end in cuts:
        refs.append(make_leaf(leaf.is_object, leaf.keys[start:end], leaf.names[start:end], leaf.values[start:end]))
        start = end
    return refs


class _Children:
    """The children of an index node, while some children are replaced, from the last to the first."""

    __slots__ = ("_count", "_cuts_may_move", "_node", "_size", "children")

    def __init__(self, node: Index, ref: Ref) -> None:
        self._node = node
        self._count = ref.count
        self._size = ref.size
        self._cuts_may_move = not node.is_object  # an array's nodes are cut by address, and addresses changed
        self.children = list(node.children)

    def replace(self, at: int, parts: list[Ref]) -> None:
        old = self._node.children[at]
        self._count -= old.count
        self._size -= old.size
        for part in parts:
            self._count += part.count
            self._size += part.size
        if len(parts) == 1:
            self.children[at] = parts[0]
            self._cuts_may_move |= parts[0].first != old.first
        else:
            self.children[at : at + 1] = parts
            self._cuts_may_move = True

    def cut(self, is_last: bool) -> list[Ref] | None:
        """Return index nodes above the children; None if the last node would run on into the next node."""
        children, level, is_object = self.children, self._node.level, self._node.is_object
        if not self._cuts_may_move:
            return [Ref(OBJECT, None, self._count, self._size, children[0].first, Index(is_object, level, children))]
        if not children:
            return []
        cuts = [i + 1 for i, child in enumerate(children) if ends_index(level, index_name(child))]
        if not cuts or cuts[-1] != len(children):
            if not is_last:
                return None
            cuts.append(len(children))
        starts = [0, *cuts[:-1]]
        return [make_index(is_object, level, children[a:b]) for a, b in zip(starts, cuts, strict=True)]


def _object_locally(ref: Ref, members: Sequence[Member], is_last: bool, load: Load) -> list[Ref] | None:
    node = ref.node or load(ref)
    if isinstance(node, Leaf):
        return _cut_leaf(*_merged(node, members), is_last)
    node = index_of(ref, node)
    changed = _Children(node, ref)
    for at, group in reversed(_by_child(node, members)):
        parts = _object_locally(node.children[at], group, is_last and at == len(node.children) - 1, load)
        if parts is None:
            return None
        changed.replace(at, parts)
    return changed.cut(is_last)


def _array_locally(
    ref: Ref, splices: Sequence[ArraySplice], is_last: bool, load: Load, before: int = 0
) -> list[Ref] | None:
    node = ref.node or load(ref)
    if isinstance(node, Leaf):
        return _cut_leaf(*_spliced(node, splices, before), is_last)
    node = index_of(ref, node)
    changed = _Children(node, ref)
    for at, group in reversed(_by_position(node, splices, before)):
        start = before + (node.ends[at - 1] if at else 0)
        parts = _array_locally(node.children[at], group, is_last and at == len(node.children) - 1, load, start)
        if parts is None:
            return None
        changed.replace(at, parts)
    return changed.cut(is_last)


def _by_child(node: Index, members: Sequence[Member]) -> list[tuple[int, Sequence[Member]]]:
    """Return the members grouped by child; a key before all others belongs to the first child."""
    firsts = node.firsts
    if len(members) == 1:
        return [(max(bisect_right(firsts, members[0][0]) - 1, 0), members)]
    groups: list[tuple[int, list[Member]]] = []
    for member in members:
        at = max(bisect_right(firsts, member[0]) - 1, 0)
        if groups and groups[-1][0] == at:
            groups[-1][1].append(member)
        else:
            groups.append((at, [member]))
    return groups  # type: ignore[return-value]


def _by_position(node: Index, splices: Sequence[ArraySplice], before: int) -> list[tuple[int, list[ArraySplice]]]:
    """Return the splices grouped by child; a splice behind the last element belongs to the last child."""
    ends, last = node.ends, len(node.children) - 1
    groups: list[tuple[int, list[ArraySplice]]] = []
    for splice in splices:
        at = min(bisect_right(ends, splice.start - before), last)
        if groups and groups[-1][0] == at:
            groups[-1][1].append(splice)
        else:
            groups.append((at, [splice]))
    return groups


def _object_rebuilt(ref: Ref, members: Sequence[Member], is_last: bool, load: Load, builder: Builder) -> None:
    node = ref.node or load(ref)
    if isinstance(node, Leaf):
        builder.add_leaf_items(_merged(node, members)[0])
        return
    node = index_of(ref, node)
    groups = dict(_by_child(node, members)) if members else {}
    last = len(node.children) - 1
    for at, child in enumerate(node.children):
        group = groups.get(at, ())
        if group or (is_last and at == last):
            _object_rebuilt(child, group, is_last and at == last, load, builder)
        else:
            builder.add_subtree(child, node.level - 1)


def _array_rebuilt(
    ref: Ref, splices: Sequence[ArraySplice], is_last: bool, load: Load, builder: Builder, before: int = 0
) -> None:
    node = ref.node or load(ref)
    if isinstance(node, Leaf):
        builder.add_leaf_items(_spliced(node, splices, before)[0])
        return
    node = index_of(ref, node)
    groups = dict(_by_position(node, splices, before))
    last = len(node.children) - 1
    for at, child in enumerate(node.children):
        group = groups.get(at, ())
        if group or (is_last and at == last):
            start = before + (node.ends[at - 1] if at else 0)
            _array_rebuilt(child, group, is_last and at == last, load, builder, start)
        else:
            builder.add_subtree(child, node.level - 1)
