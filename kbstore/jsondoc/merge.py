"""Merge two changes of one state: keep both sides' changes, and report different changes of a place as conflicts.

Objects are merged by member, arrays by element. Elements with the same key are the same element on all sides, at any
index. Elements without a key are merged only if both sides kept the places of all such elements, and edited different
elements; appending is allowed.

The same change on both sides counts as a single change, with two exceptions, both conflicts. A value with a number may
be a count: two writers changing 2 votes to 3 meant 4, and two writers beginning a counter at 1 meant 2. And if both
sides moved a value, each to another place, the merged document would have the value twice.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from kbstore.errors import Conflict
from kbstore.jsondoc.canonical import JSON, MISSING, copy_of, encode
from kbstore.jsondoc.conflicts import MOVED, conflict_at
from kbstore.jsondoc.hunks import Difference, Hunk, Splice, grouped
from kbstore.jsondoc.identity import Identities, find_names
from kbstore.jsondoc.match import differs
from kbstore.jsondoc.merge_arrays import ListMerge, chunks, sparse, without_gaps
from kbstore.jsondoc.pointer import escape_token, format_pointer

_Group = Hunk | list[Splice]
_NUMBERS = frozenset({int, float})
_LONG_TEXT = 16
"""A text of at least this many characters counts as the same text if found elsewhere."""


class Merged(NamedTuple):
    """The changes to make after theirs, for a state with both changes.

    Attributes:
        hunks: Differences from their state to the merged state.
        conflicts: The places with different changes on both sides; `hunks` keeps their value there.
    """

    hunks: list[Difference]
    conflicts: list[Conflict]


def merge(
    ours: Sequence[Difference],
    theirs: Sequence[Difference],
    identities: Identities,
    read_elements: Callable[[tuple[str, ...]], Sequence[JSON]] | None = None,
) -> Merged:
    """Merge the changes of two sides to a common state.

    Args:
        ours: Differences from the common state to ours, in order of path.
        theirs: Differences from the common state to theirs, in order of path.
        identities: Members that identify the elements of an array, by its pointer; found for other arrays.
        read_elements: Returns elements of an array of the common state, by path; for differences with only regions of
            an array. In a region alone, a member may look like an id without being an id in the whole array.
    """
    merging = _Merging(identities, read_elements)
    hunks: list[Difference] = []
    for path, mine, others in _places(ours, theirs):
        if not others:
            hunks.extend(hunk for group in mine.values() for hunk in (group if isinstance(group, list) else [group]))
        elif mine:
            hunks.extend(merging.place(path, mine, others))
    merging.note_moves(ours, theirs)
    merging.note_renamed(ours, theirs)
    return Merged(hunks, merging.conflicts)


_Groups = dict[tuple[str, ...], _Group]


def _places(
    ours: Sequence[Difference], theirs: Sequence[Difference]
) -> Iterator[tuple[tuple[str, ...], _Groups, _Groups]]:
    """Yield the outermost places with a difference, each with both sides' differences at and below the place."""
    mine, others = _by_path(ours), _by_path(theirs)
    place: tuple[str, ...] | None = None
    below: tuple[_Groups, _Groups] = ({}, {})
    for path in sorted({*mine, *others}):  # sorted, a prefix comes right before the paths below it
        if place is None or path[: len(place)] != place:
            if place is not None:
                yield place, *below
            place, below = path, ({}, {})
        for side, found in zip((mine, others), below, strict=True):
            if path in side:
                found[path] = side[path]
    if place is not None:
        yield place, *below


def _by_path(hunks: Sequence[Difference]) -> _Groups:
    return {(group.path if isinstance(group, Hunk) else group[0].path): group for group in grouped(hunks)}


def _changed(base: JSON, depth: int, groups: _Groups) -> JSON:
    """Return a value with these changes made; the value's own path has `depth` tokens."""
    for path, group in groups.items():
        if len(path) == depth:
            return group.new if isinstance(group, Hunk) else _spliced(base, group)
    changed = copy_of(base)
    for path, group in groups.items():
        holder = changed
        for token in path[depth:-1]:
            holder = holder[token]
        if isinstance(group, list):
            holder[path[-1]] = _spliced(holder[path[-1]], group)
        elif group.new is MISSING:
            del holder[path[-1]]
        else:
            holder[path[-1]] = group.new
    return changed


def _spliced(elements: Sequence[JSON], splices: Sequence[Splice]) -> list[JSON]:
    changed = [*elements]
    for splice in reversed(splices):
        changed[splice.old_start : splice.old_start + len(splice.old)] = splice.new
    return changed


class _Merging:
    """A merge of values, with a list of the conflicts."""

    def __init__(
        self, identities: Identities, read_elements: Callable[[tuple[str, ...]], Sequence[JSON]] | None
    ) -> None:
        self.conflicts: list[Conflict] = []
        self._identities = identities
        self._read_elements = read_elements
        self._gone: list[tuple[str, JSON]] = []
        self._put: set[bytes] = set()

    def note_moves(self, ours: Sequence[Difference], theirs: Sequence[Difference]) -> None:
        """Note a value that both sides removed and a side put elsewhere, unless both chose the same place."""
        if not self._gone:
            return
        sizes = {(type(value), len(value)) for _, value in self._gone}
        sides = [_contents(side, sizes) for side in (ours, theirs)]
        for place, value in self._gone:
            content = encode(value)
            if content not in self._put:
                self._note_moved(
                    place,
                    value,
                    *(new[content][-1] if len(new[content]) >= len(old[content]) else None for old, new in sides),
                )

    def note_renamed(self, ours: Sequence[Difference], theirs: Sequence[Difference]) -> None:
        """Note the members with a new name, in objects with changed members on both sides."""
        members: dict[tuple[str, ...], list[dict[str, JSON]]] = defaultdict(lambda: [{}, {}, {}])
        for at, side in enumerate((ours, theirs), 1):
            for hunk in side:
                if isinstance(hunk, Hunk) and hunk.path:
                    forms = members[hunk.path[:-1]]
                    forms[0][hunk.path[-1]] = hunk.old
                    forms[at][hunk.path[-1]] = hunk.new
        for path, (base, mine, others) in members.items():
            if mine and others:
                forms = [base, {**base, **mine}, {**base, **others}]
                here = [{name: value for name, value in form.items() if value is not MISSING} for form in forms]
                self._note_renamed_members(format_pointer(path), *here)

    def _note_renamed_members(
        self, place: str, base: dict[str, JSON], ours: dict[str, JSON], theirs: dict[str, JSON]
    ) -> None:
        """Note the texts and numbers with a new name on a side, unless the other side gave the same name."""
        gone = [name for name in base if name not in ours and name not in theirs and _is_plain(base[name])]
        if not gone:
            return
        sides = [
            {encode(value): name for name, value in side.items() if name not in base and _is_plain(value)}
            for side in (ours, theirs)
        ]
        for name in gone:
            mine, others = (side.get(encode(base[name])) for side in sides)
            if mine != others:
                places = (None if new is None else f"{place}/{escape_token(new)}" for new in (mine, others))
                self._note_moved(f"{place}/{escape_token(name)}", base[name], *places)

    def _note_moved(self, place: str, value: JSON, ours: str | None, theirs: str | None) -> None:
        """Note a value that both sides removed, and the new places of the value."""
        if ours is None and theirs is None:
            return
        self.conflicts.append(Conflict(place, MOVED, value, MISSING, MISSING))
        if ours is not None:
            self.conflicts.append(Conflict(ours, MOVED, MISSING, value, MISSING))
        if theirs is not None:
            self.conflicts.append(Conflict(theirs, MOVED, MISSING, MISSING, value))

    def place(self, path: tuple[str, ...], mine: _Groups, others: _Groups) -> Iterator[Difference]:
        """Merge the differences of both sides at and below a place."""
        pointer = format_pointer(path)
        ours, theirs = mine.get(path), others.get(path)
        if isinstance(ours, list) and isinstance(theirs, list):
            yield from self._splices(path, ours, theirs)
            return
        for whole in (ours, theirs):
            if isinstance(whole, Hunk):
                now = _changed(whole.old, len(path), others)
                merged = self.value(pointer, whole.old, _changed(whole.old, len(path), mine), now)
                if differs(now, merged):
                    yield Hunk(path, now, merged)
                return

    def value(self, place: str, base: JSON, ours: JSON, theirs: JSON) -> JSON:
        """Merge a value; `MISSING` marks a side without the value."""
        if not differs(base, ours):
            return theirs
        if not differs(base, theirs):
            return ours
        kinds = {type(base), type(ours), type(theirs)}
        if kinds == {dict}:
            return self._object(place, base, ours, theirs)
        if kinds == {list}:
            return self._lists(place, base, ours, theirs)
        if differs(ours, theirs) or _has_number(ours):
            self._note(place, base, ours, theirs)
        elif ours is MISSING and _is_known_again(base):
            self._gone.append((place, base))
        elif base is MISSING:
            self._put.add(encode(ours))
        return theirs

    def _object(
        self, place: str, base: dict[str, JSON], ours: dict[str, JSON], theirs: dict[str, JSON]
    ) -> dict[str, JSON]:
        self._note_renamed_members(place, base, ours, theirs)
        merged = {}
        for name in {**theirs, **base, **ours}:
            values = (side.get(name, MISSING) for side in (base, ours, theirs))
            value = self.value(f"{place}/{escape_token(name)}", *values)
            if value is not MISSING:
                merged[name] = value
        return merged

    def _splices(self, path: tuple[str, ...], ours: list[Splice], theirs: list[Splice]) -> Iterator[Splice]:
        """Merge the regions of an array; the elements between regions are not read."""
        base, mine, others = forms = sparse(ours, theirs)
        pointer = format_pointer(path)
        names = self._identities.get(pointer)
        if names is None:
            known = self._read_elements(path) if self._read_elements is not None else ()
            names = find_names(known, *map(without_gaps, forms))
        merged = ListMerge(pointer, names, self.value, self._note).merged(base, mine, others)
        at = to = 0
        for (gap, old), (_, new) in zip(chunks(others), chunks(merged), strict=True):
            at, to = at + gap, to + gap
            if len(old) != len(new) or any(map(differs, old, new)):
                yield Splice(path, at, old, to, new)
            at, to = at + len(old), to + len(new)

    def _lists(self, place: str, base: JSON, ours: JSON, theirs: JSON) -> list[JSON]:
        names = self._identities.get(place) or find_names(base, ours, theirs)
        return ListMerge(place, names, self.value, self._note).merged(base, ours, theirs)

    def _note(self, place: str, base: JSON, ours: JSON, theirs: JSON) -> None:
        self.conflicts.append(conflict_at(place, base, ours, theirs))


def _has_number(value: JSON) -> bool:
    """Return whether a value is a number or contains a number."""
    pending = [value]
    while pending:
        value = pending.pop()
        kind = type(value)
        if kind in _NUMBERS:
            return True
        if kind is dict:
            pending += value.values()
        elif kind is list:
            pending += value
    return False


def _is_known_again(value: JSON) -> bool:
    """Return whether a value counts as the same value if found elsewhere."""
    kind = type(value)
    return len(value) >= _LONG_TEXT if kind is str else kind in (dict, list) and bool(value)


def _is_plain(value: JSON) -> bool:
    """Return whether a value is a number or a nonempty text, so that a new member name can be noticed."""
    kind = type(value)
    return kind in _NUMBERS or (kind is str and bool(value))


_Places = defaultdict[bytes, list[str]]


def _contents(hunks: Sequence[Difference], sizes: set[tuple[type, int]]) -> tuple[_Places, _Places]:
    """Return the places, by content, of values of these types and sizes in the old and new values of differences."""
    found: tuple[_Places, _Places] = (defaultdict(list), defaultdict(list))
    for hunk in hunks:
        pending: list[tuple[_Places, str, JSON]] = []
        place = format_pointer(hunk.path)
        if isinstance(hunk, Splice):
            pending += [(found[0], f"{place}/{at}", value) for at, value in enumerate(hunk.old, hunk.old_start)]
            pending += [(found[1], f"{place}/{at}", value) for at, value in enumerate(hunk.new, hunk.new_start)]
        else:
            pending += [(found[0], place, hunk.old), (found[1], place, hunk.new)]
        while pending:
            places, place, value = pending.pop()
            kind = type(value)
            if kind is dict:
                pending += [(places, f"{place}/{escape_token(name)}", member) for name, member in value.items()]
            elif kind is list:
                pending += [(places, f"{place}/{at}", element) for at, element in enumerate(value)]
            elif kind is not str:
                continue
            if (kind, len(value)) in sizes:
                places[encode(value)].append(place)
    return found
