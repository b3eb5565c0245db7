"""Find the differences between two states by walking down only to nodes with different addresses.

The cost depends on the change: nodes shared by both sides are never read. The result is a list of `Hunk` (an object's
member) and `Splice` (a region of an array), the source of patches, inverses and displays.
"""

from collections.abc import Iterator

from kbstore.jsondoc.canonical import MISSING
from kbstore.jsondoc.lcs import align
from kbstore.jsondoc.make_patch import Hunk, Splice
from kbstore.tree.node import ARRAY, OBJECT, Ref, leaf_of
from kbstore.tree.reader import Source, materialise

Stored = bytes | Ref


def compare(old: Stored | None, new: Stored | None, source: Source, path: tuple[str, ...] = ()) -> list[Hunk | Splice]:
    """Return the differences between two stored values, in order of path.

    Args:
        old: A stored value, or None for no value.
        new: Likewise.
        source: The source of nodes.
        path: The place of both values; every path of the result begins with this path.
    """
    return list(_compare(path, old, new, source))


def _identity(value: Stored) -> bytes:
    """Return bytes that are equal for two stored values exactly if the values are the same JSON."""
    return b"#" + value.address if isinstance(value, Ref) else value


def _compare(path: tuple[str, ...], old: Stored | None, new: Stored | None, source: Source) -> Iterator[Hunk | Splice]:
    if isinstance(old, Ref) and isinstance(new, Ref):
        if old.address == new.address:
            return
        if old.kind == new.kind == OBJECT:
            yield from _objects(path, old, new, source)
            return
        if old.kind == new.kind == ARRAY:
            yield from _arrays(path, old, new, source)
            return
    elif old == new:
        return
    yield Hunk(
        path,
        MISSING if old is None else materialise(old, source),
        MISSING if new is None else materialise(new, source),
    )


def _level(ref: Ref, source: Source) -> int:
    return (ref.node or source.load(ref)).level


def _children(refs: list[Ref], source: Source) -> list[Ref]:
    source.prefetch(refs)
    return [child for ref in refs for child in (ref.node or source.load(ref)).refs()]


def _only_in_each(old: Ref, new: Ref, source: Source) -> tuple[list[Ref], list[Ref]]:
    """Return the leaves of the old object alone, and the leaves of the new object alone."""
    olds, news = [old], [new]
    old_level, new_level = _level(old, source), _level(new, source)
    while True:
        if old_level > new_level:
            olds, old_level = _children(olds, source), old_level - 1
        elif new_level > old_level:
            news, new_level = _children(news, source), new_level - 1
        else:
            in_old = {r.address for r in olds}
            in_new = {r.address for r in news}
            olds = [r for r in olds if r.address not in in_new]
            news = [r for r in news if r.address not in in_old]
            if old_level == 0:
                return olds, news
            olds, news = _children(olds, source), _children(news, source)
            old_level, new_level = old_level - 1, new_level - 1


def _members(leaves: list[Ref], source: Source) -> dict[str, Stored]:
    source.prefetch(leaves)
    members: dict[str, Stored] = {}
    for ref in leaves:
        leaf = leaf_of(ref, ref.node or source.load(ref))
        members.update(zip(leaf.keys, leaf.values, strict=True))
    return members


def _objects(path: tuple[str, ...], old: Ref, new: Ref, source: Source) -> Iterator[Hunk | Splice]:
    old_leaves, new_leaves = _only_in_each(old, new, source)
    before, after = _members(old_leaves, source), _members(new_leaves, source)
    changed = [k for k, v in after.items() if before.get(k) != v]
    changed += [k for k in before if k not in after]
    for key in sorted(changed):
        yield from _compare((*path, key), before.get(key), after.get(key), source)


def _arrays(path: tuple[str, ...], old: Ref, new: Ref, source: Source) -> Iterator[Splice]:
    """Yield the differing regions, narrowed level by level: runs of shared nodes are aligned and dropped."""
    old_level, new_level = _level(old, source), _level(new, source)
    regions: list[tuple[int, list[Ref], int, list[Ref]]] = [(0, [old], 0, [new])]
    while old_level or new_level:
        if old_level != new_level:  # only ever the one region of the two roots
            start, olds, new_start, news = regions[0]
            if old_level > new_level:
                olds, old_level = _children(olds, source), old_level - 1
            else:
                news, new_level = _children(news, source), new_level - 1
            regions = [(start, olds, new_start, news)]
        else:
            regions = [
                (start, _children(olds, source), new_start, _children(news, source))
                for start, olds, new_start, news in regions
            ]
            old_level, new_level = old_level - 1, new_level - 1
        if old_level == new_level:
            regions = [narrow for region in regions for narrow in _unshared(*region)]
    for start, olds, new_start, news in regions:
        yield from _elements(path, start, _values(olds, source), new_start, _values(news, source), source)


def _unshared(
    start: int, olds: list[Ref], new_start: int, news: list[Ref]
) -> Iterator[tuple[int, list[Ref], int, list[Ref]]]:
    i = j = 0
    for at, to, length in [*align([r.address for r in olds], [r.address for r in news]), (len(olds), len(news), 0)]:
        if at > i or to > j:
            yield start, olds[i:at], new_start, news[j:to]
        start += sum(r.count for r in olds[i : at + length])
        new_start += sum(r.count for r in news[j : to + length])
        i, j = at + length, to + length


def _values(leaves: list[Ref], source: Source) -> list[Stored]:
    source.prefetch(leaves)
    values: list[Stored] = []
    for ref in leaves:
        leaf = leaf_of(ref, ref.node or source.load(ref))
        values.extend(leaf.values)
    return values


def _elements(
    path: tuple[str, ...], start: int, olds: list[Stored], new_start: int, news: list[Stored], source: Source
) -> Iterator[Splice]:
    i = j = 0
    runs = align([_identity(v) for v in olds], [_identity(v) for v in news])
    for at, to, length in [*runs, (len(olds), len(news), 0)]:
        if at > i or to > j:
            yield Splice(
                path,
                start + i,
                [materialise(v, source) for v in olds[i:at]],
                new_start + j,
                [materialise(v, source) for v in news[j:to]],
            )
        i, j = at + length, to + length
