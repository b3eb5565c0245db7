"""Differences for people to read: a change for each added, removed, modified or moved value."""

from collections.abc import Hashable, Iterator, Sequence
from itertools import chain
from typing import Literal, NamedTuple

from kbstore.jsondoc.canonical import JSON, MISSING
from kbstore.jsondoc.hunks import Change, Difference, Hunk, Splice, grouped
from kbstore.jsondoc.identity import Identities, Key, Names, element_token, find_names, find_pair, keys_of
from kbstore.jsondoc.match import differs, marks, pair_elements
from kbstore.jsondoc.pointer import escape_token, format_pointer

_FOUND: Identities = {}


class _Place(NamedTuple):
    """The place of a value, by position and by identity."""

    pointer: str
    address: str

    def member(self, name: str) -> "_Place":
        token = escape_token(name)
        return _Place(f"{self.pointer}/{token}", f"{self.address}/{token}")


def changes(hunks: Sequence[Difference], identities: Identities = _FOUND) -> list[Change]:
    """Return every changed value, in the order of the differences.

    Objects and arrays on both sides are entered, so that each reported change is as small as possible; a value on a
    single side is reported whole. Array elements are matched by key, else by content. An element removed at one place
    and inserted at another is reported as moved.

    Args:
        hunks: The differences.
        identities: Members that identify the elements of an array, by its pointer; found for other arrays.
    """
    told: list[Change] = []
    for group in grouped(hunks):
        start = len(told)
        path = format_pointer(group.path if isinstance(group, Hunk) else group[0].path)
        try:
            if isinstance(group, Hunk):
                told.extend(_value(_Place(path, path), group.old, group.new, identities))
            else:
                told.extend(_regions(_Place(path, path), group, identities))
        except RecursionError:  # the caller is deep in Python's stack
            told[start:] = _untold(group)
    return told


def _untold(group: Hunk | list[Splice]) -> Iterator[Change]:
    """Yield the changes of a group without entering the values."""
    if isinstance(group, Hunk):
        pointer = format_pointer(group.path)
        yield Change(pointer, "modified", group.old, group.new, pointer)
        return
    for splice in group:
        path = format_pointer(splice.path)
        for i, value in enumerate(splice.old):
            pointer = f"{path}/{splice.old_start + i}"
            yield Change(pointer, "removed", value, MISSING, pointer)
        for j, value in enumerate(splice.new):
            pointer = f"{path}/{splice.new_start + j}"
            yield Change(pointer, "added", MISSING, value, pointer)


def _value(place: _Place, old: JSON, new: JSON, identities: Identities) -> Iterator[Change]:
    if old is MISSING:
        yield Change(place.pointer, "added", old, new, place.address)
    elif new is MISSING:
        yield Change(place.pointer, "removed", old, new, place.address)
    elif type(old) is dict and type(new) is dict:
        # Removed members come first; the others have the order of the new object, as people read the object.
        for name, value in old.items():
            if name not in new:
                yield from _value(place.member(name), value, MISSING, identities)
        for name, value in new.items():
            before = old.get(name, MISSING)
            if before is not value:
                yield from _value(place.member(name), before, value, identities)
    elif type(old) is list and type(new) is list:
        yield from _regions(place, [Splice((), 0, old, 0, new)], identities, whole=True)
    elif differs(old, new):
        yield Change(place.pointer, "modified", old, new, place.address)


def _regions(
    place: _Place, splices: Sequence[Splice], identities: Identities, *, whole: bool = False
) -> Iterator[Change]:
    """Yield the changes in regions of an array."""
    matched = match_regions(splices, identities.get(place.pointer), whole=whole)
    for kind, at, to, old, new, key in matched.elements:
        token = str(at if kind == "removed" else to)
        name = token if key is None or matched.names is None else escape_token(element_token(matched.names, key))
        where = _Place(f"{place.pointer}/{token}", f"{place.address}/{name}")
        if kind != "modified":
            yield Change(where.pointer, kind, old, new, where.address)
        if kind == "modified" or (kind == "moved" and differs(old, new)):
            yield from _value(where, old, new, identities)


class Element(NamedTuple):
    """A differing element of an array.

    Attributes:
        kind: The change of the element; a moved element may be modified as well.
        at: Index in the old array; without meaning for an added element.
        to: Index in the new array; without meaning for a removed element.
        old: The old value, or `MISSING`.
        new: The new value, or `MISSING`.
        key: The element's key, or None.
    """

    kind: Literal["added", "removed", "modified", "moved"]
    at: int
    to: int
    old: JSON
    new: JSON
    key: Key | None


class Matched(NamedTuple):
    """The differing elements of an array, and the identifying members, if the array has any."""

    names: Names | None
    elements: list[Element]


def match_regions(splices: Sequence[Splice], names: Names | None, *, whole: bool = False) -> Matched:
    """Match the elements in the differing regions of an array's old and new form.

    Args:
        splices: The regions.
        names: The identifying members from a setting; else looked for in all regions together.
        whole: The regions are the whole array; then two members that together identify elements may be found too.
    """
    olds = [*chain.from_iterable([splice.old for splice in splices])]
    news = [*chain.from_iterable([splice.new for splice in splices])]
    names = names or find_names(olds, news) or (find_pair(olds, news) if whole else None)
    old_keys, new_keys = keys_of(names, olds, news)
    old_marks, new_marks = marks(names, olds, news)
    elements: list[Element] = []
    gone: dict[Hashable, list[int]] = {}
    come: list[tuple[int, Hashable]] = []
    i = j = 0
    for splice in splices:
        for kind, x, y in pair_elements(splice.old, splice.new, names, find=False):
            at, to = splice.old_start + x, splice.new_start + y
            if kind == "-":
                gone.setdefault(old_marks[i + x], []).append(len(elements))
                elements.append(Element("removed", at, to, splice.old[x], MISSING, old_keys[i + x]))
            elif kind == "+":
                come.append((len(elements), new_marks[j + y]))
                elements.append(Element("added", at, to, MISSING, splice.new[y], new_keys[j + y]))
            else:
                elements.append(Element("modified", at, to, splice.old[x], splice.new[y], new_keys[j + y]))
        i, j = i + len(splice.old), j + len(splice.new)
    moved: set[int] = set()
    for n, mark in come:
        if places := gone.get(mark):
            before = elements[places[0]]
            moved.add(places.pop(0))
            elements[n] = elements[n]._replace(kind="moved", at=before.at, old=before.old)
    return Matched(names, [element for n, element in enumerate(elements) if n not in moved])
