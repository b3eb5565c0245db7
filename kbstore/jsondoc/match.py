"""Match the elements of an array's old and new form: by key, else by content, else by likeness."""

from collections.abc import Hashable, Sequence
from typing import Literal, NamedTuple

from kbstore.jsondoc.canonical import JSON, encode
from kbstore.jsondoc.identity import Names, find_names, keys_of, may_be_edited
from kbstore.jsondoc.lcs import align

_MOST_COMPARISONS = 900
"""The most pairs in a gap to compare singly; elements of a gap with more pairs are not compared."""
_LIKE = 0.5
_ANY_PAIR = 0.05
"""The score of any pair, even of unlike elements: a replacement is shorter than a removal and an insertion."""


class Pair(NamedTuple):
    """The change of an element.

    Attributes:
        kind: ``=`` changed from `i` to `j`; ``-`` removed at `i`; ``+`` inserted as `j`, before the old `i`.
        i: Index in the old list.
        j: Index in the new list; for a removal, the index of the next element there.
    """

    kind: Literal["=", "-", "+"]
    i: int
    j: int


def differs(old: JSON, new: JSON) -> bool:
    """Return whether two valid values are different JSON, types and the sign of zero included. Cheap if they differ."""
    if old is new:
        return False
    kind = type(old)
    if kind is not type(new) or old != new:
        return True
    if kind is dict or kind is list or kind is float:
        return encode(old) != encode(new)
    return False


def pair_elements(
    old: Sequence[JSON], new: Sequence[JSON], names: Names | None = None, *, find: bool = True
) -> list[Pair]:
    """Return the changes of the differing elements, in order; equal elements are left out.

    Elements are matched by key, elements without a key by content. Elements then left over are paired by likeness and
    place, if they have no key or a key that may be edited.

    Args:
        old: Elements of the old list, or of a region of the list.
        new: Elements of the new list, likewise.
        names: The identifying members, if the caller knows the members.
        find: Look for identifying members if `names` is None.
    """
    if not old:
        return [Pair("+", 0, j) for j in range(len(new))]
    if not new:
        return [Pair("-", i, 0) for i in range(len(old))]
    if names is None and find:
        names = find_names(old, new)
    old_marks, new_marks = marks(names, old, new)
    by_place = names is None
    found: list[Pair] = []
    i = j = 0
    runs = align(old_marks, new_marks)
    for at, to, length in [*runs, (len(old), len(new), 0)]:
        if at > i and to > j:
            left, come = _unpaired(old_marks, new_marks, (i, at), (j, to), names)
            pairs = _paired(old, left, new, come, least=0.0 if by_place else _LIKE)
        else:
            pairs = []
        _fill_gap((i, at), (j, to), pairs, found)
        for n in range(length):
            if differs(old[at + n], new[to + n]):
                found.append(Pair("=", at + n, to + n))
        i, j = at + length, to + length
    return found


def renamed_elements(old: Sequence[JSON], new: Sequence[JSON], names: Names | None) -> list[tuple[int, int]]:
    """Return the indexes, in both lists, of the elements with an edited key, as `pair_elements` pairs them.

    Args:
        old: As for `pair_elements`.
        new: Likewise.
        names: The identifying members; None, or members that are never edited, give an empty result.
    """
    if names is None or not may_be_edited(names):
        return []
    keys, others = keys_of(names, old, new)
    pairs = [(i, j) for kind, i, j in pair_elements(old, new, names) if kind == "="]
    return [(i, j) for i, j in pairs if keys[i] is not None and keys[i] != others[j]]


def marks(names: Names | None, *sides: Sequence[JSON]) -> list[list[Hashable]]:
    """Return the mark for matching each element of several lists: the key, or the canonical bytes of the content.

    Without `names`, a string is its own mark if all elements are strings.
    """
    if names is None and all(set(map(type, side)) == {str} for side in sides):
        return [[*side] for side in sides]
    return [
        [encode(element) if key is None else key for element, key in zip(side, keys, strict=True)]
        for side, keys in zip(sides, keys_of(names, *sides), strict=True)
    ]


def _unpaired(
    old_marks: Sequence[Hashable],
    new_marks: Sequence[Hashable],
    gone: tuple[int, int],
    come: tuple[int, int],
    names: Names | None,
) -> tuple[list[int], list[int]]:
    """Return the elements of a gap that may be the same element although their marks differ.

    Elements with different keys are different elements, unless the keys may be edited and only one side has each key.
    """
    olds, news = range(*gone), range(*come)
    if names is None:
        return [*olds], [*news]
    weak = may_be_edited(names)
    in_old, in_new = (set(old_marks), set(new_marks)) if weak else (set(), set())
    return (
        [i for i in olds if type(old_marks[i]) is bytes or (weak and old_marks[i] not in in_new)],
        [j for j in news if type(new_marks[j]) is bytes or (weak and new_marks[j] not in in_old)],
    )


def _fill_gap(
    gone: tuple[int, int], come: tuple[int, int], pairs: Sequence[tuple[int, int]], found: list[Pair]
) -> None:
    """Add the changes of a gap's elements to `found`; `pairs` are the matched elements, in order."""
    i, j = gone[0], come[0]
    for x, y in [*pairs, (gone[1], come[1])]:
        found += [Pair("-", at, j) for at in range(i, x)]
        found += [Pair("+", x, to) for to in range(j, y)]
        if x < gone[1] and y < come[1]:
            found.append(Pair("=", x, y))
        i, j = x + 1, y + 1


def _paired(
    old: Sequence[JSON], left: Sequence[int], new: Sequence[JSON], come: Sequence[int], *, least: float
) -> list[tuple[int, int]]:
    """Pair the elements left between matches: by likeness if the comparison is cheap, else by position.

    Args:
        old: The old list.
        left: Indexes of the unmatched old elements.
        new: The new list.
        come: Indexes of the unmatched new elements.
        least: The lowest likeness of a pair; only 0 pairs by position too.
    """
    n, m = len(left), len(come)
    if not n or not m:
        return []
    olds, news = [old[i] for i in left], [new[j] for j in come]
    containers = {dict, list}
    comparable = (
        not containers.isdisjoint(map(type, olds))
        and not containers.isdisjoint(map(type, news))
        and n * m <= _MOST_COMPARISONS
    )
    if comparable and (n * m > 1 or least):
        return [(left[x], come[y]) for x, y in _likest(olds, news, least)]
    return [] if least else [*zip(left, come, strict=False)]


def _likest(old: Sequence[JSON], new: Sequence[JSON], least: float) -> list[tuple[int, int]]:
    """Return pairs in order with the highest sum of likeness; each pair has a likeness of at least `least`."""
    n, m = len(old), len(new)
    likeness = [[_likeness(a, b) for b in new] for a in old]
    best = [[0.0] * (m + 1) for _ in range(n + 1)]
    for i in range(n - 1, -1, -1):
        for j in range(m - 1, -1, -1):
            score = max(best[i + 1][j], best[i][j + 1])
            if likeness[i][j] >= least:
                score = max(score, best[i + 1][j + 1] + likeness[i][j] + _ANY_PAIR)
            best[i][j] = score
    found: list[tuple[int, int]] = []
    i = j = 0
    while i < n and j < m:
        if likeness[i][j] >= least and best[i][j] == best[i + 1][j + 1] + likeness[i][j] + _ANY_PAIR:
            found.append((i, j))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return found


def _likeness(a: JSON, b: JSON) -> float:
    """Return how much of two containers is equal at their first level, from 0 to 1."""
    kind = type(a)
    if kind is not type(b) or (kind is not dict and kind is not list):
        return 0.0
    longer = max(len(a), len(b))
    if not longer:
        return 1.0
    if kind is dict:
        equal = sum([1 for name, value in a.items() if name in b and b[name] == value])
        return float((equal + 0.1 * (a.keys() == b.keys())) / (longer + 0.1))
    shorter = min(len(a), len(b))
    ahead = 0
    while ahead < shorter and a[ahead] == b[ahead]:
        ahead += 1
    behind = 0
    while behind < shorter - ahead and a[-1 - behind] == b[-1 - behind]:
        behind += 1
    return float((ahead + behind) / longer)
