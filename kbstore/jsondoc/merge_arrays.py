"""Merge three forms of an array by element, with the changes of order from each side.

If only some regions of an array differ, the forms are *sparse*: the elements of the regions, with a `Gap` between
regions. All three forms share each gap.
"""

from collections import Counter
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from kbstore.jsondoc.canonical import JSON, MISSING, encode
from kbstore.jsondoc.hunks import Splice
from kbstore.jsondoc.identity import Key, Names, element_token, keys_of
from kbstore.jsondoc.lcs import align
from kbstore.jsondoc.match import pair_elements, renamed_elements
from kbstore.jsondoc.pointer import escape_token

_MOST_PAIRS = 1_000_000
"""The most pairs of elements to compare after both sides changed the order; more pairs are a conflict."""


class Gap:
    """A number of successive elements, unchanged and unmoved on both sides."""

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size


class _Loose(NamedTuple):
    """The mark of an element without a key: the content, and the number of equal elements before it."""

    content: bytes
    number: int


class _Side:
    """A form of the array.

    Attributes:
        marks: The identity of each element, in order: a key, a `Gap` or a `_Loose`.
        values: The elements by mark.
        loose: The contents of the elements without a key, in order.
    """

    def __init__(self, elements: Sequence[Any], keys: Sequence[Key | None]) -> None:
        self.marks: list[Hashable] = []
        self.loose: list[bytes] = []
        seen: Counter[bytes] = Counter()
        for element, key in zip(elements, keys, strict=True):
            if key is not None or type(element) is Gap:
                self.marks.append(key or element)
                continue
            content = encode(element)
            self.loose.append(content)
            self.marks.append(_Loose(content, seen[content]))
            seen[content] += 1
        self.values: dict[Hashable, Any] = dict(zip(self.marks, elements, strict=True))


class ListMerge:
    """The merge of the three forms of an array.

    Args:
        place: The address of the array.
        names: The members that identify the elements; None if no members do.
        value: A function to merge a value, given the address, and the base, our and their form.
        note: A function to record a conflict, given the same arguments.
    """

    def __init__(
        self,
        place: str,
        names: Names | None,
        value: Callable[[str, JSON, JSON, JSON], JSON],
        note: Callable[[str, JSON, JSON, JSON], None],
    ) -> None:
        self._place = place
        self._names = names
        self._value = value
        self._note = note

    def merged(self, base: list[Any], ours: list[Any], theirs: list[Any]) -> list[Any]:
        """Merge three forms, equal or different in any way. Sparse forms give a sparse result."""
        forms = (base, ours, theirs)
        olds, mine, others = (_Side(*both) for both in zip(forms, keys_of(self._names, *forms), strict=True))
        if mine.loose != olds.loose and others.loose != olds.loose:
            if self._names is None or not any(len(side.loose) < len(side.marks) for side in (olds, mine, others)):
                return self._by_place(*forms)
            if not _one_change(olds, mine, others):
                self._note(self._place, *map(without_gaps, forms))
                return theirs
        self._note_renamed(olds, mine, others)
        self._note_replaced(olds, mine, others)
        kept = {}
        for mark in {**others.values, **olds.values, **mine.values}:
            element = self._element(mark, *(side.values.get(mark, MISSING) for side in (olds, mine, others)))
            if element is not MISSING:
                kept[mark] = element
        return [kept[mark] for mark in self._order(olds, mine, others, kept.keys())]

    def _element(self, mark: Hashable, base: Any, ours: Any, theirs: Any) -> Any:
        if type(mark) is Gap:
            return mark
        if isinstance(mark, _Loose) or self._names is None:  # its content is its mark, so it is only present or absent
            if ours is MISSING and theirs is MISSING:
                return self._value(self._place, base, ours, theirs)
            return ours if (theirs is MISSING) == (base is MISSING) else theirs
        token = element_token(self._names, mark)  # type: ignore[arg-type]
        return self._value(f"{self._place}/{escape_token(token)}", base, ours, theirs)

    def _note_renamed(self, base: _Side, ours: _Side, theirs: _Side) -> None:
        """Note an element that a side gave another key while the other side removed the element or gave a third key."""
        gone = base.values.keys() - ours.values.keys() - theirs.values.keys()
        if self._names is None or not gone:
            return
        mine, others = self._renamed(base, ours), self._renamed(base, theirs)
        for mark in base.marks:
            if mark in gone and mine.get(mark) != others.get(mark):
                token = escape_token(element_token(self._names, mark))  # type: ignore[arg-type]
                new = [
                    side.values[marks[mark]] if mark in marks else MISSING
                    for side, marks in ((ours, mine), (theirs, others))
                ]
                self._note(f"{self._place}/{token}", base.values[mark], *new)

    def _note_replaced(self, base: _Side, ours: _Side, theirs: _Side) -> None:
        """Note an element that a side gave another key (or content, without a key) while the other side moved it."""
        common = base.values.keys() & ours.values.keys() & theirs.values.keys()
        for side, other in ((ours, theirs), (theirs, ours)):
            gone = (base.values.keys() & other.values.keys()) - side.values.keys()
            if not gone:
                continue
            renamed = self._renamed(base, side)
            loose = any(_is_loose(mark) for mark in side.values.keys() - base.values.keys())
            before, now = _order_around(base, common), _order_around(other, common)
            same_order = [mark for mark in before if mark in common] == [mark for mark in now if mark in common]
            for mark in gone:
                replaced = loose if _is_loose(mark) else mark in renamed
                if replaced and not (same_order and before[mark] == now[mark]):
                    self._note_orders([base, ours, theirs])
                    return

    def _renamed(self, base: _Side, side: _Side) -> dict[Hashable, Hashable]:
        """Return the elements that got another key on this side, as a map from the old mark to the new mark.

        An element counts if all other members are unchanged, or if both elements are alike and the key may be edited.
        """
        rests = {}
        for mark in side.values.keys() - base.values.keys():
            rest = None if _is_loose(mark) else self._rest(side.values[mark])
            if rest is not None:
                rests[rest] = mark
        found: dict[Hashable, Hashable] = {}
        for runs in zip(_between_gaps(base.marks), _between_gaps(side.marks), strict=True):
            old, new = ([form.values[mark] for mark in run] for form, run in zip((base, side), runs, strict=True))
            found.update((runs[0][i], runs[1][j]) for i, j in renamed_elements(old, new, self._names))
        for mark in base.values.keys() - side.values.keys():
            rest = None if _is_loose(mark) else self._rest(base.values[mark])
            if rest is not None and rest in rests:
                found[mark] = rests[rest]
        return found

    def _note_orders(self, sides: Sequence[_Side], among: Container[Hashable] | None = None) -> None:
        """Note a change of the order on both sides, with the order of each form."""
        orders = [[self._shown(mark) for mark in side.marks if among is None or mark in among] for side in sides]
        self._note(self._place, *orders)

    def _rest(self, element: Any) -> bytes | None:
        """Return the content of an element without the key; None if nothing is left."""
        if type(element) is not dict or self._names is None:
            return None
        rest = {name: value for name, value in element.items() if name not in self._names}
        return encode(rest) if rest else None

    def _order(self, base: _Side, ours: _Side, theirs: _Side, kept: Iterable[Hashable]) -> list[Hashable]:
        """Return the marks of the merged elements: their order, with our insertions and moves at our places."""
        left = {*kept}
        moved, others_moved = _moved(base, ours), _moved(base, theirs)
        common = base.values.keys() & ours.values.keys() & theirs.values.keys()
        if moved & others_moved:
            orders = [[mark for mark in side.marks if mark in common] for side in (ours, theirs)]
            if orders[0] != orders[1]:
                self._note_orders([base, ours, theirs], common)
            moved = set()
        links = _Chain(mark for mark in theirs.marks if mark in left and mark not in moved)
        before: Hashable = None
        for mark in ours.marks:
            if mark not in left:
                continue
            if mark in moved or mark not in theirs.values:
                after = before
                # If both sides inserted at one place, their elements come first: their change was committed first.
                while before in base.values and _is_new(following := links.after.get(after), base, ours):
                    after = following
                links.insert(mark, after)
            before = mark
        order = [*links]
        if moved and others_moved and not _keeps(order, base, ours, theirs, (moved | others_moved) & common):
            self._note_orders([base, ours, theirs], common)
        return order

    def _shown(self, mark: Hashable) -> JSON:
        if self._names is None or not isinstance(mark, tuple) or isinstance(mark, _Loose):
            return None
        return element_token(self._names, mark)

    def _by_place(self, base: list[Any], ours: list[Any], theirs: list[Any]) -> list[Any]:
        """Merge elements without a key by place; a conflict unless both sides kept all places and at most appended."""
        gaps = iter([element for element in base if type(element) is Gap])
        merged: list[Any] = []
        at = 0
        for (gap, old), (_, mine), (_, others) in zip(chunks(base), chunks(ours), chunks(theirs), strict=True):
            if gap:
                merged.append(next(gaps))
            merged += self._chunk(at + gap, old, mine, others)
            at += gap + len(old)
        return merged

    def _chunk(self, start: int, base: list[JSON], ours: list[JSON], theirs: list[JSON]) -> list[JSON]:
        n = len(base)
        old = [*map(encode, base)]
        mine, others = [*map(encode, ours)], [*map(encode, theirs)]
        if mine == old:
            return theirs
        if others == old:
            return ours
        if mine == others and _only_lacks(old, mine):
            left = {*mine}
            for at, element in enumerate(base):
                if old[at] not in left:
                    self._value(f"{self._place}/{start + at}", element, MISSING, MISSING)
            return theirs
        in_place = len(ours) == len(theirs) == n and all(
            new == other and new not in old
            for was, new, other in zip(old, mine, others, strict=True)
            if was not in (new, other)
        )
        # An element that both sides appended may be meant once or twice; an appended old element may have been moved.
        tails = {*mine[n:]}, {*others[n:]}
        appended = mine[:n] == old, others[:n] == old
        if not in_place and not (
            (appended[0] and appended[1] and tails[0].isdisjoint(tails[1]))
            or (appended[0] and len(theirs) == n and tails[0].isdisjoint(old))
            or (appended[1] and len(ours) == n and tails[1].isdisjoint(old))
        ):
            self._note_chunk(start, base, ours, theirs)
            return theirs
        places = [f"{self._place}/{start + i}" for i in range(n)]
        return [*map(self._value, places, base, ours, theirs), *theirs[n:], *ours[n:]]

    def _note_chunk(self, start: int, base: list[JSON], ours: list[JSON], theirs: list[JSON]) -> None:
        """Note each of our changes with their value at the same place."""
        now = {i: (MISSING if kind == "-" else theirs[j]) for kind, i, j in _pairs(base, theirs) if kind != "+"}
        come: dict[int, list[JSON]] = {}
        for kind, i, j in _pairs(base, theirs):
            if kind == "+":
                come.setdefault(i, []).append(theirs[j])
        for kind, i, j in _pairs(base, ours):
            if kind == "+":
                other = come[i].pop(0) if come.get(i) else MISSING
                self._note(f"{self._place}/{start + j}", MISSING, ours[j], other)
            else:
                new = MISSING if kind == "-" else ours[j]
                self._note(f"{self._place}/{start + i}", base[i], new, now.get(i, base[i]))


class _Chain:
    """A linked list of marks; an insertion costs one step."""

    def __init__(self, marks: Iterable[Hashable]) -> None:
        self.after: dict[Hashable, Hashable] = {}
        last: Hashable = None
        for mark in marks:
            self.after[last] = mark
            last = mark

    def insert(self, mark: Hashable, before: Hashable) -> None:
        """Put a mark behind the mark `before`, or in front of all marks if `before` is None."""
        following = self.after.get(before)
        self.after[before] = mark
        if following is not None:
            self.after[mark] = following

    def __iter__(self) -> Iterator[Hashable]:
        mark = self.after.get(None)
        while mark is not None:
            yield mark
            mark = self.after.get(mark)


def _is_new(mark: Hashable, base: _Side, ours: _Side) -> bool:
    """Return whether only their form has this element."""
    return mark is not None and mark not in base.values and mark not in ours.values


def _moved(base: _Side, side: _Side) -> set[Hashable]:
    """Return the elements that a side moved among the others."""
    before = [mark for mark in base.marks if mark in side.values]
    after = [mark for mark in side.marks if mark in base.values]
    if before == after:
        return set()
    moved = {*before}
    for old, new in zip(_between_gaps(before), _between_gaps(after), strict=True):
        for at, _, length in align(old, new):
            moved.difference_update(old[at : at + length])
    return {mark for mark in moved if type(mark) is not Gap}


def _keeps(order: list[Hashable], base: _Side, ours: _Side, theirs: _Side, moved: set[Hashable]) -> bool:
    """Return whether any two elements have the order that a side gave them, or the base order if no side changed it.

    False if the moves of a side only make sense without the moves of the other side, or if there are too many pairs.
    """
    forms = [{mark: at for at, mark in enumerate(marks)} for marks in (base.marks, ours.marks, theirs.marks, order)]
    common = [mark for mark in order if all(mark in places for places in forms)]
    if len(moved) * len(common) > _MOST_PAIRS:
        return False
    for one in moved:
        for other in common:
            if other != one:
                was, mine, others, now = (places[one] < places[other] for places in forms)
                if now != (mine if mine != was else others):
                    return False
    return True


def _order_around(side: _Side, common: Container[Hashable]) -> dict[Hashable, int]:
    """Return the number of `common` elements before each element, in order."""
    counts = {}
    count = 0
    for mark in side.marks:
        counts[mark] = count
        count += mark in common
    return counts


def _between_gaps(marks: Sequence[Hashable]) -> list[list[Hashable]]:
    """Return the runs of marks between gaps. Gaps keep their places, so an element that passes a gap has moved."""
    runs: list[list[Hashable]] = [[]]
    for mark in marks:
        if type(mark) is Gap:
            runs.append([])
        else:
            runs[-1].append(mark)
    return runs


def _one_change(base: _Side, ours: _Side, theirs: _Side) -> bool:
    """Return whether both sides only removed elements without a key: the same elements, at the same places."""
    common = base.values.keys() & ours.values.keys() & theirs.values.keys()
    runs = [
        [mark.content if isinstance(mark, _Loose) else mark for mark in side.marks if _is_loose(mark) or mark in common]
        for side in (ours, theirs)
    ]
    return runs[0] == runs[1] and _only_lacks(base.loose, ours.loose)


def _is_loose(mark: Hashable) -> bool:
    return isinstance(mark, _Loose)


def _only_lacks(old: Sequence[bytes], new: Sequence[bytes]) -> bool:
    """Return whether elements were only removed or moved, and each removed element had unique content."""
    before, after = Counter(old), Counter(new)
    return after <= before and all(before[content] == 1 for content in before - after)


def _pairs(old: list[JSON], new: list[JSON]) -> list[tuple[str, int, int]]:
    return [(pair.kind, pair.i, pair.j) for pair in pair_elements(old, new, find=False)]


def without_gaps(elements: Sequence[Any]) -> list[JSON]:
    """Return the elements of a sparse form, without the gaps."""
    return [element for element in elements if type(element) is not Gap]


def chunks(elements: Sequence[Any]) -> Iterator[tuple[int, list[JSON]]]:
    """Yield the runs of elements between the gaps of a sparse array, each with the size of the gap before the run."""
    gap = 0
    run: list[JSON] = []
    for element in elements:
        if type(element) is Gap:
            yield gap, run
            gap, run = element.size, []
        else:
            run.append(element)
    yield gap, run


def sparse(ours: Sequence[Splice], theirs: Sequence[Splice]) -> tuple[list[Any], list[Any], list[Any]]:
    """Return three sparse forms of an array, made from the differing regions: the common form, ours and theirs."""
    forms: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
    at = 0
    for low, high, mine, others in _clusters(ours, theirs):
        gap = Gap(low - at)
        base: list[JSON] = [None] * (high - low)
        for splice in (*mine, *others):
            base[splice.old_start - low : splice.old_start - low + len(splice.old)] = splice.old
        for form, changed in zip(forms, ([], mine, others), strict=True):
            elements = [*base]
            for splice in reversed(changed):
                elements[splice.old_start - low : splice.old_start - low + len(splice.old)] = splice.new
            form += [gap, *elements] if gap.size else elements
        at = high
    return forms


def _clusters(
    ours: Sequence[Splice], theirs: Sequence[Splice]
) -> Iterator[tuple[int, int, list[Splice], list[Splice]]]:
    """Yield groups of overlapping or touching regions of the common form, in order: start, end, both sides' parts."""
    pending = sorted(
        [(splice.old_start, side, splice) for side, splices in enumerate((ours, theirs)) for splice in splices],
        key=lambda item: item[:2],
    )
    low = high = -1
    parts: tuple[list[Splice], list[Splice]] = ([], [])
    for start, side, splice in pending:
        if start > high:
            if high >= 0:
                yield low, high, *parts
            low, high, parts = start, start, ([], [])
        parts[side].append(splice)
        high = max(high, start + len(splice.old))
    yield low, high, *parts
