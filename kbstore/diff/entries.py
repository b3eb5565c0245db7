"""Find the added, removed, modified and moved entries of a collection."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from kbstore.jsondoc.canonical import MISSING, same
from kbstore.jsondoc.hunks import Difference, Hunk, Splice, grouped
from kbstore.jsondoc.identity import Identities, Key, Names, element_token, find_names, keys_of
from kbstore.jsondoc.match import differs
from kbstore.jsondoc.pointer import format_pointer
from kbstore.jsondoc.value_changes import Element, match_regions


class Entries(NamedTuple):
    """The entries that differ, by name.

    Attributes:
        added: Entries only on the new side.
        removed: Entries only on the old side.
        modified: Entries on both sides with different content.
        moved: Elements of an array with another place among the others, modified or not.
        reordered: The number of entries that changed order with another entry.
        sides: Entries with whole content in the differences, before and after; `MISSING` for a side without the entry.
    """

    added: list[str]
    removed: list[str]
    modified: list[str]
    moved: list[str]
    reordered: int
    sides: dict[str, tuple[Any, Any]]


def entry_name(names: Names | None, key: Key | None, at: int) -> str:
    """Return the name of an element: the key, or the index of an element without a key."""
    if names is None or key is None:
        return str(at)
    return str(key[0]) if len(key) == 1 else element_token(names, key)


def entries_of(hunks: Sequence[Difference], collection: tuple[str, ...], identities: Identities) -> Entries:
    """Return the entries that differ.

    Args:
        hunks: The differences.
        collection: Tokens of the pointer to the container of the entries.
        identities: Members identifying the elements of an array, by the array's pointer; for other arrays the members
            are detected.
    """
    names = identities.get(format_pointer(collection))
    depth = len(collection)
    found = Entries([], [], [], [], 0, {})
    for group in grouped(hunks):
        path = group.path if isinstance(group, Hunk) else group[0].path
        if isinstance(group, list):
            if path == collection:
                found = _elements(group, names)
            elif path[:depth] == collection:
                found.modified.append(path[depth])
        elif len(path) > depth and path[:depth] == collection:
            whole = len(path) == depth + 1
            if whole:
                found.sides[path[depth]] = group.old, group.new
            if whole and (group.old is MISSING or group.new is MISSING):
                (found.added if group.old is MISSING else found.removed).append(path[depth])
            else:
                found.modified.append(path[depth])
        elif path == collection[: len(path)]:
            below = collection[len(path) :]
            found = _containers(_below(group.old, below), _below(group.new, below), names)
    added, removed, modified, moved, reordered, sides = found
    return Entries(sorted(added), sorted(removed), sorted({*modified}), sorted(moved), reordered, sides)


def _containers(old: Any, new: Any, names: Names | None) -> Entries:
    """Compare two collections known whole; a value of another kind has no entries."""
    if isinstance(old, list) and isinstance(new, list):
        return _elements([Splice((), 0, old, 0, new)], names, whole=True)
    before, after = _named(old, names), _named(new, names)
    common = before.keys() & after.keys()
    modified = [name for name in common if not same(before[name], after[name])]
    sides = {name: (before.get(name, MISSING), after.get(name, MISSING)) for name in before.keys() | after.keys()}
    return Entries([*(after.keys() - before.keys())], [*(before.keys() - after.keys())], modified, [], 0, sides)


def _named(value: Any, names: Names | None) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    if not isinstance(value, list):
        return {}
    names = names or find_names(value)
    (keys,) = keys_of(names, value)
    return {entry_name(names, key, at): value[at] for at, key in enumerate(keys)}


def _elements(splices: Sequence[Splice], names: Names | None, *, whole: bool = False) -> Entries:
    matched = match_regions(splices, names, whole=whole)
    by_kind: dict[str, list[str]] = {"added": [], "removed": [], "modified": [], "moved": []}
    sides: dict[str, tuple[Any, Any]] = {}
    for element in matched.elements:
        at = element.at if element.kind == "removed" else element.to
        name = entry_name(matched.names, element.key, at)
        by_kind[element.kind].append(name)
        if element.kind != "removed" or name not in sides:  # for elements without a key, the newer side's place counts
            sides[name] = element.old, element.new
        if element.kind == "moved" and differs(element.old, element.new):
            by_kind["modified"].append(name)
    return Entries(**by_kind, reordered=_reordered(splices, matched.elements), sides=sides)


def _reordered(splices: Sequence[Splice], elements: Sequence[Element]) -> int:
    """Count the entries in another order: the moved entries, and the entries passed by a moved entry."""
    moved = [element for element in elements if element.kind == "moved"]
    if not moved:
        return 0
    gone = {element.at for element in elements if element.kind in ("removed", "moved")}
    come = {element.to for element in elements if element.kind in ("added", "moved")}
    stayed = zip(_left(splices, gone, old=True), _left(splices, come, old=False), strict=True)
    places = sorted([*((to, at) for at, to in stayed), *((element.to, element.at) for element in moved)])
    before = [at for _, at in places]
    highest = [-1]
    for at in before:
        highest.append(max(highest[-1], at))
    count, lowest = 0, None
    for at, high in zip(reversed(before), reversed(highest[:-1]), strict=True):
        count += high > at or (lowest is not None and lowest < at)
        lowest = at if lowest is None else min(lowest, at)
    return count


def _left(splices: Sequence[Splice], taken: set[int], *, old: bool) -> Iterator[int]:
    """Return the indexes of a side's elements in and between the regions, without the indexes in `taken`."""
    ends: list[tuple[int, int]] = []
    for splice in splices:
        start, side = (splice.old_start, splice.old) if old else (splice.new_start, splice.new)
        ends.append((start, start + len(side)))
    return (at for at in range(ends[0][0], ends[-1][1]) if at not in taken)


def _below(value: Any, path: Sequence[str]) -> Any:
    for token in path:
        value = value.get(token, MISSING) if isinstance(value, dict) else MISSING
    return value
