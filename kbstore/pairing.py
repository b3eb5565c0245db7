"""Which element of an array became which: matched by an id-like member, else by content, else by likeness."""

from collections.abc import Hashable, Sequence
from typing import Literal, NamedTuple

from kbstore.align import align
from kbstore.canonical import JSON, encode

_STRONG_KEYS = ("id", "_id", "@id", "uuid", "guid", "key")
_ID_ENDINGS = ("_id", "Id", "ID", "_uuid")
_WEAK_KEYS = ("slug", "code", "name")
"""What names an element but may be renamed: elements without a partner are then still compared by likeness."""
_MOST_COMPARISONS = 900
"""Elements of a gap are compared pair by pair only where there are no more pairs than this."""
_LIKE = 0.5
_ANY_PAIR = 0.05
"""What a pair of unlike elements is worth: one replacement is shorter than a removal and an insertion."""


class Pair(NamedTuple):
    """What became of one element that is not the same on both sides.

    Attributes:
        kind: ``=`` changed from `i` to `j`; ``-`` removed at `i`; ``+`` inserted as `j`, before the old `i`.
        i: Index in the old list.
        j: Index in the new list; for a removal, of what follows it there.
    """

    kind: Literal["=", "-", "+"]
    i: int
    j: int


def differs(old: JSON, new: JSON) -> bool:
    """Whether two good values are not the same JSON, types and the sign of zero included; cheap where they do."""
    if old is new:
        return False
    kind = type(old)
    if kind is not type(new) or old != new:
        return True
    if kind is dict or kind is list or kind is float:
        return encode(old) != encode(new)
    return False


def id_key(elements: Sequence[JSON]) -> str | None:
    """The member that identifies these elements: id-like by name, in all of them, a string or integer, never twice.

    Returns:
        Its name; None where there is none, or no element, or one that is no object.
    """
    return _shared_id_key(elements, ())


def pair_elements(old: Sequence[JSON], new: Sequence[JSON], key: str | None = None) -> list[Pair]:
    """What became of the elements that differ, in order; the others are left out.

    Args:
        old: Elements of the old list, or of a region of it.
        new: The same of the new list.
        key: The member that identifies them, where the caller knows it; else it is looked for.
    """
    if not old:
        return [Pair("+", 0, j) for j in range(len(new))]
    if not new:
        return [Pair("-", i, 0) for i in range(len(old))]
    key = key or _shared_id_key(old, new)
    if key is None:
        return _pairs_by_content(old, new)
    return _pairs_by_id(old, new, key)


def shared_id_key(old: Sequence[JSON], new: Sequence[JSON]) -> str | None:
    """The member that identifies the elements of both lists, or None; an empty list has nothing against any."""
    return _shared_id_key(old, new) if old else _shared_id_key(new, ())


def _shared_id_key(old: Sequence[JSON], new: Sequence[JSON]) -> str | None:
    if not old or type(old[0]) is not dict:
        return None
    if set(map(type, old)) != {dict} or not set(map(type, new)) <= {dict}:
        return None
    first = old[0]
    candidates = [name for name in _STRONG_KEYS if name in first]
    candidates += sorted([name for name in first if name.endswith(_ID_ENDINGS) and name not in candidates])
    candidates += [name for name in _WEAK_KEYS if name in first]
    for name in candidates:
        if _identifies(name, old) and _identifies(name, new):
            return name
    return None


def _identifies(name: str, elements: Sequence[JSON]) -> bool:
    values = [element.get(name) for element in elements]
    return set(map(type, values)) <= {str, int} and len(set(values)) == len(values)


def _pairs_by_id(old: Sequence[JSON], new: Sequence[JSON], key: str) -> list[Pair]:
    found: list[Pair] = []
    i = j = 0
    runs = align([element[key] for element in old], [element[key] for element in new])
    for at, to, length in [*runs, (len(old), len(new), 0)]:
        if at > i and to > j and key in _WEAK_KEYS:
            found += _pairs_in_gap(old, i, at, new, j, to, least=_LIKE)
        else:
            found += [Pair("-", x, j) for x in range(i, at)]
            found += [Pair("+", at, y) for y in range(j, to)]
        for n in range(length):
            if differs(old[at + n], new[to + n]):
                found.append(Pair("=", at + n, to + n))
        i, j = at + length, to + length
    return found


def _pairs_by_content(old: Sequence[JSON], new: Sequence[JSON]) -> list[Pair]:
    found: list[Pair] = []
    i = j = 0
    runs = align(*_identities(old, new))
    for at, to, length in [*runs, (len(old), len(new), 0)]:
        if at > i or to > j:
            found += _pairs_in_gap(old, i, at, new, j, to, least=0.0)
        i, j = at + length, to + length
    return found


def _identities(old: Sequence[JSON], new: Sequence[JSON]) -> tuple[Sequence[Hashable], Sequence[Hashable]]:
    """Elements in a form in which == is exact."""
    if set(map(type, old)) == {str} == set(map(type, new)):
        return old, new
    return [encode(element) for element in old], [encode(element) for element in new]


def _pairs_in_gap(
    old: Sequence[JSON], low: int, high: int, new: Sequence[JSON], new_low: int, new_high: int, *, least: float
) -> list[Pair]:
    """Pair what is left between matches: like with like where that can be told cheaply, else by position."""
    n, m = high - low, new_high - new_low
    containers = {dict, list}
    comparable = (
        not containers.isdisjoint(map(type, old[low:high]))
        and not containers.isdisjoint(map(type, new[new_low:new_high]))
        and n * m <= _MOST_COMPARISONS
    )
    pairs: list[tuple[int, int]]
    if comparable and (n * m > 1 or least):
        pairs = _likest(old[low:high], new[new_low:new_high], least)
    else:
        pairs = [] if least else [(x, x) for x in range(min(n, m))]
    found: list[Pair] = []
    i, j = low, new_low
    for x, y in [*pairs, (n, m)]:
        found += [Pair("-", at, j) for at in range(i, low + x)]
        found += [Pair("+", low + x, to) for to in range(j, new_low + y)]
        if x < n and y < m:
            found.append(Pair("=", low + x, new_low + y))
        i, j = low + x + 1, new_low + y + 1
    return found


def _likest(old: Sequence[JSON], new: Sequence[JSON], least: float) -> list[tuple[int, int]]:
    """Pairs in order whose likeness sums up highest; none that is less alike than `least`."""
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
    """From 0 to 1: how much of two containers is equal, at their first level."""
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
