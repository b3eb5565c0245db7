"""Differences as people read them: one change for each value that was added, removed, modified or moved."""

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
    """Where a value is, by position and by identity."""

    pointer: str
    address: str

    def member(self, name: str) -> "_Place":
        token = escape_token(name)
        return _Place(f"{self.pointer}/{token}", f"{self.address}/{token}")


def changes(hunks: Sequence[Difference], identities: Identities = _FOUND) -> list[Change]:
    """Every changed value, in the order of the differences.

    Objects and arrays that both sides have are entered, so that what is told is as small as what was changed; what only
    one side has is told whole. Array elements are matched by their key, else by content; one that was taken out here
    and put in there is told as moved.

    Args:
        hunks: What differs.
        identities: Members that identify the elements of an array, by its pointer; those of other arrays are found.
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
        except RecursionError:  # the caller stands deep in Python's stack
            told[start:] = _untold(group)
    return told


def _untold(group: Hunk | list[Splice]) -> Iterator[Change]:
    """The group without entering its values."""
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
        # In the order of the new object, as a person finds it there; what is gone comes first.
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
    """Changes in regions of one array."""
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
    """An element of an array that differs.

    Attributes:
        kind: What became of it; one that was moved may have been modified as well.
        at: Its index in the old array; that of an added one counts for nothing.
        to: Its index in the new array; that of a removed one counts for nothing.
        old: Its old value, or `MISSING`.
        new: Its new value, or `MISSING`.
        key: What it is known by; None if it has no key.
    """

    kind: Literal["added", "removed", "modified", "moved"]
    at: int
    to: int
    old: JSON
    new: JSON
    key: Key | None


class Matched(NamedTuple):
    """The elements of an array that differ, and the members that identify them, if there are any."""

    names: Names | None
    elements: list[Element]


def match_regions(splices: Sequence[Splice], names: Names | None, *, whole: bool = False) -> Matched:
    """Match the elements of the regions of one array in which its old and its new form differ.

    Args:
        splices: The regions.
        names: The members that identify elements, if a setting names them; else they are found in all regions together.
        whole: The regions are all of the array: then two members may be found that identify its elements together.
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
