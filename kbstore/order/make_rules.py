"""Make the rules that give a document's objects their present order, as few rules as possible.

For each set of members, the most frequent order becomes a general rule; each object with another order gets a place.
The general orders are merged into `names` if there is no contradiction, frequent orders first; the other orders become
shapes. If the document leaves a choice, the old rules decide, so little changes.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from kbstore.jsondoc.pointer import format_pointer
from kbstore.order.rules import Rules

_Keys = tuple[str, ...]
_LARGE = 256
"""A larger object is most likely a map of entries: if no other object has the same members, it gets a place."""
_ROUNDS = 4
_WEIGHED = 200
"""At most this many contradicting orders are tried for `names`."""


def settled(old: Rules, document: Any, *, anew: bool = False) -> Rules:
    """Return rules that every object of a document fits: the old rules if possible.

    Args:
        old: The rules so far.
        document: The document, members in their author's order.
        anew: Make the rules again even if the old rules fit.

    Cost: a visit of each container; more only if an object does not fit.
    """
    if not anew and old.fits(document):
        return old
    counts: Counter[_Keys] = Counter(keys for keys in _orders(document) if len(keys) > 1)
    chosen = _chosen(counts, old)
    large = {keys for keys in chosen if len(keys) > _LARGE and counts[keys] == 1}
    kinds = {keys: counts[keys] for keys in chosen if keys not in large}
    names: Sequence[str] = old.names
    if any(Rules(names).order(keys) != keys for keys in kinds) or not _named(names, kinds):
        names = _names(kinds, old.names)
    by_names = Rules(names)
    general = Rules(names, [keys for keys in kinds if by_names.order(keys) != keys])
    places = {format_pointer(path): () if _is_canonical(keys) else keys for path, keys in general.misfits(document)}
    return Rules(general.names, general.shapes, places)


def _orders(value: Any) -> Iterator[_Keys]:
    """Yield the members of each object at or below a value."""
    pending = [value]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            yield tuple(value)
            value = value.values()
        elif not isinstance(value, list):
            continue
        pending.extend([item for item in value if isinstance(item, dict | list)])


def _chosen(counts: Mapping[_Keys, int], old: Rules) -> list[_Keys]:
    """Return the general order for each set of members."""
    groups: dict[_Keys, list[_Keys]] = defaultdict(list)
    for keys in counts:
        groups[tuple(sorted(keys))].append(keys)
    return [
        min(group, key=lambda keys: (-counts[keys], old.kind_order(keys) != keys, keys)) for group in groups.values()
    ]


def _is_canonical(keys: _Keys) -> bool:
    return all(a < b for a, b in pairwise(keys))


def _named(names: Sequence[str], kinds: Mapping[_Keys, int]) -> bool:
    """Return whether each name is still the name of a member; otherwise the list would grow forever."""
    return set(names).issubset({name for keys in kinds for name in keys})


def _names(kinds: Mapping[_Keys, int], old: Sequence[str]) -> list[str]:
    """Return an order of names that agrees with as many of the given kinds as possible.

    Kinds in canonical order are left out at first. A kind takes part once a shared name breaks the canonical order of
    the kind.
    """
    taking_part = {keys for keys in kinds if not _is_canonical(keys)}
    names: list[str] = []
    for _ in range(_ROUNDS):
        names = _merged(sorted(taking_part, key=lambda keys: (-kinds[keys], keys)), old)
        rules = Rules(names)
        disturbed = {keys for keys in kinds if keys not in taking_part and rules.order(keys) != keys}
        if not disturbed:
            break
        taking_part |= disturbed
    return names


def _merged(orders: Sequence[_Keys], old: Sequence[str]) -> list[str]:
    """Return the names of several orders in an order that agrees with most of the orders, the first orders first."""
    after: dict[str, set[str]] = {}
    _add(after, orders)
    names = _sorted(after, orders, old)
    if len(names) == len(after):
        return names
    after = {}
    agreed = []
    for keys in orders[:_WEIGHED]:
        if not _contradicts(after, keys):
            _add(after, [keys])
            agreed.append(keys)
    return _sorted(after, agreed, old)


def _add(after: dict[str, set[str]], orders: Sequence[_Keys]) -> None:
    for keys in orders:
        for name in keys:
            after.setdefault(name, set())
        for name, following in pairwise(keys):
            after[name].add(following)


def _contradicts(after: Mapping[str, set[str]], keys: _Keys) -> bool:
    """Return whether a name must come after a later name of `keys`."""
    earlier = {name: at for at, name in enumerate(keys)}
    for at, start in enumerate(keys):
        seen = {start}
        pending = [start]
        while pending:
            for name in after.get(pending.pop(), ()):
                if earlier.get(name, at) < at:
                    return True
                if name not in seen:
                    seen.add(name)
                    pending.append(name)
    return False


def _sorted(after: Mapping[str, set[str]], orders: Sequence[_Keys], old: Sequence[str]) -> list[str]:
    """Return the names, each before the names `after` the name, near the old order; leave out names in a circle."""
    ranks: dict[str, tuple[int, int]] = {name: (at, 0) for at, name in enumerate(old)}
    for keys in orders:  # a new name comes right after its predecessor
        before = -1
        for name in keys:
            if name not in ranks:
                ranks[name] = (before, len(ranks))
            before = ranks[name][0]
    waits = Counter(name for following in after.values() for name in following)
    ready = [(ranks[name], name) for name in after if not waits[name]]
    heapq.heapify(ready)
    names = []
    while ready:
        _, name = heapq.heappop(ready)
        names.append(name)
        for following in after[name]:
            waits[following] -= 1
            if not waits[following]:
                heapq.heappush(ready, (ranks[following], following))
    return names
