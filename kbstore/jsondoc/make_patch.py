"""Make the JSON Patch (RFC 6902) that turns an old value into a new value, from their differences.

Invariants:

1. ``apply_patch(old, make_patch(old, new))`` is exactly `new`, types and the sign of zero included.
2. Operations on an array go from right to left, so every index is an index of the old array.
3. An object that keeps the name of a member is never replaced as a whole: a patch claims only the changes of its
   author, and so can be rebased. Only an object with all names new, or an array, is replaced if that is shorter.
"""

from collections.abc import Sequence

import orjson

from kbstore.jsondoc.canonical import JSON, MISSING, check, copy_of
from kbstore.jsondoc.document import plain
from kbstore.jsondoc.edits import MAX_OPERATIONS
from kbstore.jsondoc.hunks import Change, Difference, Hunk, Splice, grouped, inverse
from kbstore.jsondoc.identity import Identities, id_key
from kbstore.jsondoc.match import Pair, differs, pair_elements
from kbstore.jsondoc.pointer import escape_token, format_pointer
from kbstore.jsondoc.value_changes import changes

__all__ = [
    "MISSING",
    "Change",
    "Difference",
    "Hunk",
    "Splice",
    "changes",
    "id_key",
    "inverse",
    "make_patch",
    "patch_of",
]

_PLAIN = frozenset({str, int, bool, type(None)})
"""Types with simple equality: values of the same type are the same JSON exactly if equal."""
_REPLACE_BYTES = len('{"op":"replace","path":"","value":},')
_SHORTER = 1.5
"""An object with all names new is replaced if the operations on the members would be longer by this factor."""

_Operations = list[dict[str, JSON]]
_FOUND: Identities = {}
"""The absence of settings: identifying members are found."""


def make_patch(old: JSON, new: JSON, identities: Identities = _FOUND) -> list[dict[str, JSON]]:
    """Return the JSON Patch that turns `old` into exactly `new`; empty if both are the same.

    The patch shares nothing mutable with the arguments, and has at most `MAX_OPERATIONS` operations.

    Args:
        old: Any JSON value.
        new: Any JSON value.
        identities: Members that identify the elements of an array, by its pointer; found for other arrays.

    Raises:
        InvalidJSON: A value is not JSON.
    """
    check(old)
    check(new)
    old, new = plain(old), plain(new)
    operations = patch_of([Hunk((), old, new)], identities)
    if len(operations) > MAX_OPERATIONS:
        operations = [_replace("", new)]
    for operation in operations:
        if "value" in operation:
            operation["value"] = copy_of(operation["value"])
    return operations


def patch_of(hunks: Sequence[Difference], identities: Identities = _FOUND) -> list[dict[str, JSON]]:
    """Return the JSON Patch for these differences.

    Args:
        hunks: Differences of valid values. Regions of one array are adjacent, in increasing order.
        identities: As for `make_patch`.

    Returns:
        Operations as plain objects, with the values of the hunks, not copies.
    """
    operations: _Operations = []
    for group in grouped(hunks):
        start = len(operations)
        if isinstance(group, Hunk):
            path = format_pointer(group.path)
            try:
                _member(path, group.old, group.new, operations, identities)
            except RecursionError:  # the caller is deep in Python's stack
                operations[start:] = [_replace(path, group.new)]
            continue
        path = format_pointer(group[0].path)
        for splice in reversed(group):
            start = len(operations)
            try:
                pairs = pair_elements(splice.old, splice.new, identities.get(path))
                _elements(path, splice.old_start, splice.old, splice.new, pairs, operations, identities)
            except RecursionError:
                pairs = [Pair("-", i, 0) for i in range(len(splice.old))]
                pairs += [Pair("+", len(splice.old), j) for j in range(len(splice.new))]
                operations[start:] = []
                _elements(path, splice.old_start, splice.old, splice.new, pairs, operations, identities)
    return operations


def _replace(path: str, value: JSON) -> dict[str, JSON]:
    return {"op": "replace", "path": path, "value": value}


def _member(path: str, old: JSON, new: JSON, operations: _Operations, identities: Identities) -> None:
    if old is MISSING:
        operations.append({"op": "add", "path": path, "value": new})
    elif new is MISSING:
        operations.append({"op": "remove", "path": path})
    else:
        _value(path, old, new, operations, identities)


def _value(path: str, old: JSON, new: JSON, operations: _Operations, identities: Identities) -> bool:
    """Emit the operations from `old` to `new`; return True if any part of `old` stays."""
    kind = type(old)
    if kind is type(new):
        if kind is dict:
            return _object(path, old, new, operations, identities)
        if kind is list:
            return _array(path, old, new, operations, identities)
    if differs(old, new):
        operations.append(_replace(path, new))
        return False
    return True


def _object(
    path: str, old: dict[str, JSON], new: dict[str, JSON], operations: _Operations, identities: Identities
) -> bool:
    changed: list[str] = []
    common = 0
    for name, value in old.items():
        other = new.get(name, MISSING)
        if value is other:
            common += 1
            continue
        if other is MISSING:
            changed.append(name)
            continue
        common += 1
        kind = type(value)
        if kind in _PLAIN and kind is type(other):
            if value != other:
                changed.append(name)
        elif differs(value, other):
            changed.append(name)
    kept = common > 0 and len(changed) < len(old)
    if len(new) > common:
        changed += [name for name in new if name not in old]
    start = len(operations)
    changed.sort()  # the same differences give the same patch, whatever the order of members
    for name in changed:
        child = f"{path}/{escape_token(name)}"
        if name not in new:
            operations.append({"op": "remove", "path": child})
        elif name not in old:
            operations.append({"op": "add", "path": child, "value": new[name]})
        elif _value(child, old[name], new[name], operations, identities):
            kept = True
    if not common and len(operations) - start > 1:
        _shorten(path, new, start, operations, _SHORTER)
    return kept or (not old and not new)


def _array(path: str, old: list[JSON], new: list[JSON], operations: _Operations, identities: Identities) -> bool:
    pairs = pair_elements(old, new, identities.get(path))
    start = len(operations)
    kept = _elements(path, 0, old, new, pairs, operations, identities)
    kept = kept or sum([pair.kind != "+" for pair in pairs]) < len(old)
    count = len(operations) - start
    if count > 1 and count * 4 > len(new):
        _shorten(path, new, start, operations, 1.0)
    return kept


def _elements(
    path: str,
    offset: int,
    old: Sequence[JSON],
    new: Sequence[JSON],
    pairs: Sequence[Pair],
    operations: _Operations,
    identities: Identities,
) -> bool:
    """Emit the operations on the elements of a region at `offset`, from right to left."""
    kept = False
    for kind, i, j in reversed(pairs):
        place = f"{path}/{offset + i}"
        if kind == "=":
            kept = _value(place, old[i], new[j], operations, identities) or kept
        elif kind == "-":
            operations.append({"op": "remove", "path": place})
        else:
            operations.append({"op": "add", "path": place, "value": new[j]})
    return kept


def _shorten(path: str, new: JSON, start: int, operations: _Operations, factor: float) -> None:
    """Replace the operations from `start` on by a single replacement, if the operations are longer by `factor`."""
    size_bytes = len(orjson.dumps(operations[start:]))
    if size_bytes > factor * (len(path) + _REPLACE_BYTES) and size_bytes > factor * (
        len(orjson.dumps(new)) + len(path) + _REPLACE_BYTES
    ):
        operations[start:] = [_replace(path, new)]
