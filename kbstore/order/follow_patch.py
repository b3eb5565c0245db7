"""Follow a patch: written objects keep their order, and places move along with the objects."""

from collections.abc import Mapping, Sequence
from typing import Any

from kbstore.jsondoc.patch import Operation
from kbstore.jsondoc.pointer import format_pointer, parse_pointer
from kbstore.order.make_rules import settled
from kbstore.order.rules import Rules
from kbstore.tree.node import ARRAY, OBJECT, Leaf, Ref
from kbstore.tree.reader import Source, find, leaf_refs, materialise

_Path = tuple[str, ...]
_Places = dict[_Path, _Path]
_SHAPED_MEMBERS = 256
"""Objects with more members are not checked for leaving a shape."""
_MANY_PLACES = 32


def changes_order(operations: Sequence[Operation], written: Mapping[int, Any]) -> bool:
    """Return whether a patch can change the order of members at all; a patch that sets plain values cannot."""
    return bool(written) or any(op.op != "replace" and op.op != "test" for op in operations)


def patched(
    rules: Rules,
    operations: Sequence[Operation],
    written: Mapping[int, Any],
    before: Ref | None,
    after: Ref,
    source: Source,
) -> Rules:
    """Return the rules after a patch: the order of unwritten objects does not change.

    Args:
        rules: The rules before the patch.
        operations: The patch.
        written: Values with containers, members in their author's order, by the index of the operation.
        before: The state before the patch; None if there is no document.
        after: The state after the patch.
        source: Source of nodes.

    Cost: the touched parts, and all places if the patch touches a place; a whole document when places have become many.
    """
    if not written and not rules.shapes and not any(_meets_places(rules, op) for op in operations):
        return rules
    places: _Places = {parse_pointer(pointer): keys for pointer, keys in rules.places.items()}
    general = Rules(rules.names, rules.shapes) if places else rules
    appends = _Appends(operations, after, source)
    for at, op in enumerate(operations):
        if op.op == "test":
            continue
        path = appends.resolve(op.path)
        if path[-1:] == ("-",) and _is_array(before, path[:-1], source):
            continue  # appended to an array that a later operation removes
        carried = _below(places, op.source) if op.source is not None else {}
        if op.op == "move" and op.source is not None:
            _close(places, op.source, _position(before, op.source, source))
        position = _position(before, path, source)
        if op.op == "remove":
            _close(places, path, position)
        elif op.op == "replace" or position is None:
            _drop(places, path)
        else:
            _shift(places, path[:-1], position, 1)
        for inner, keys in carried.items():
            places[path + inner] = keys
        for inner, keys in general.misfits(written.get(at)):
            places[path + inner] = () if keys == tuple(sorted(keys)) else keys
    if rules.shapes:
        _keep_shapes(places, rules, operations, before, after, source)
    changed = Rules(rules.names, rules.shapes, {format_pointer(path): keys for path, keys in places.items()})
    grown = len(places).bit_length() > len(rules.places).bit_length()
    if grown and len(places) >= _MANY_PLACES:
        return settled(changed, changed.arranged(materialise(after, source), canonical=True), anew=True)
    return changed


def _meets_places(rules: Rules, op: Operation) -> bool:
    """Return whether there are places at or below the paths of an operation, or beside a path in the same container."""
    paths = (op.path,) if op.source is None else (op.path, op.source)
    return any(rules.place(path[:-1]) is not None for path in paths)


class _Appends:
    """Positions of the elements that ``-`` appends.

    Args:
        operations: A patch.
        after: The state after the patch.
        source: Source of nodes.
    """

    def __init__(self, operations: Sequence[Operation], after: Ref, source: Source) -> None:
        self._next: dict[_Path, int] = {}
        for op in operations:
            if op.path[-1:] == ("-",) and op.op in ("add", "move", "copy") and _is_array(after, op.path[:-1], source):
                self._next.setdefault(op.path[:-1], _count(after, op.path[:-1], source))
                self._next[op.path[:-1]] -= 1

    def resolve(self, path: _Path) -> _Path:
        """Return the path with a number instead of ``-``."""
        if path[-1:] != ("-",) or path[:-1] not in self._next:
            return path
        position = self._next[path[:-1]]
        self._next[path[:-1]] += 1
        return (*path[:-1], str(position))


def _below(places: _Places, path: _Path) -> _Places:
    """Return the places at and below a path, relative to the path."""
    return {place[len(path) :]: keys for place, keys in places.items() if place[: len(path)] == path}


def _drop(places: _Places, path: _Path) -> None:
    for inner in _below(places, path):
        del places[path + inner]


def _close(places: _Places, path: _Path, position: int | None) -> None:
    """Drop the places at and below a removed path; if the path has a position, later positions move up."""
    _drop(places, path)
    if position is not None:
        _shift(places, path[:-1], position + 1, -1)


def _shift(places: _Places, array: _Path, first: int, by: int) -> None:
    """Move the places of an array's elements, from a position on."""
    depth = len(array)
    within = [p for p in places if len(p) > depth and p[:depth] == array and p[depth].isdigit()]
    moving = [p for p in within if int(p[depth]) >= first]
    moved = {(*array, str(int(p[depth]) + by), *p[depth + 1 :]): places.pop(p) for p in moving}
    places.update(moved)


def _keep_shapes(
    places: _Places, rules: Rules, operations: Sequence[Operation], before: Ref | None, after: Ref, source: Source
) -> None:
    """Give an object a place if a shape gave the order, and the new members would change the order."""
    parents = {p[:-1] for op in operations if op.op != "test" for p in (op.path, op.source) if p}
    for parent in parents:
        old, new = _members(before, parent, source), _members(after, parent, source)
        if old is None or new is None or old == new or parent in places:
            continue
        had = rules.order(old, parent)
        wanted = (*(key for key in had if key in new), *(key for key in new if key not in old))
        if rules.kind_order(new) != wanted:
            places[parent] = wanted


def _members(root: Ref | None, path: _Path, source: Source) -> _Path | None:
    """Return the members of the object at a path, in canonical order; None if there is no object, or a large object."""
    value = find(root, path, source) if root is not None else None
    if isinstance(value, Ref) and value.kind == OBJECT:
        if value.count > _SHAPED_MEMBERS:
            return None
        leaves = [ref.node or source.load(ref) for refs in leaf_refs(value, source) for ref in refs]
        return tuple(key for leaf in leaves if isinstance(leaf, Leaf) for key in leaf.keys)
    plain = materialise(value, source) if value is not None and not _is_long_array(value) else None
    return tuple(plain) if isinstance(plain, dict) else None


def _is_long_array(value: bytes | Ref) -> bool:
    return isinstance(value, Ref) and value.kind == ARRAY


def _position(root: Ref | None, path: _Path, source: Source) -> int | None:
    """Return the position at the end of a path; None if the container is not an array."""
    return int(path[-1]) if path and path[-1].isdecimal() and _is_array(root, path[:-1], source) else None


def _is_array(root: Ref | None, path: _Path, source: Source) -> bool:
    value = find(root, path, source) if root is not None else None
    if isinstance(value, Ref):
        return value.kind == ARRAY or (value.kind != OBJECT and isinstance(materialise(value, source), list))
    return value is not None and value[:1] == b"["


def _count(root: Ref, path: _Path, source: Source) -> int:
    value = find(root, path, source)
    if isinstance(value, Ref) and value.kind == ARRAY:
        return value.count
    return len(materialise(value, source)) if value is not None else 0
