"""Finds the container whose children people count as entries, where none is configured.

An entry is an object or an array. So a container of texts or numbers is no collection, however many it holds, and
neither is one of which only few items are containers. Of the others the largest is taken that holds *records*: items
that have a member name in common, as articles have their title; then, where there is none, the largest of all.

Both sides of a comparison are looked at together: what was emptied or begun by a change is as large as on the side that
has more of it, and the choice is the same in both directions.

Cost: bounded, whatever the size of the document. Counts stand in the references of the tree; of a container that holds
many items only the first few are looked at.
"""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from kbstore.jsondoc.canonical import JSON, decode
from kbstore.jsondoc.identity import MOST_PAIRED, Names, find_names, find_pair
from kbstore.tree.node import ARRAY, OBJECT, Index, Leaf, Ref, leaf_of, split_elements, split_members
from kbstore.tree.reader import Source, find, find_element, leaf_refs, opened

_Stored = bytes | Ref
_Sides = tuple[_Stored, ...]
"""What stands at one place: a value, or the different ones of both sides."""

_SMALL = 64
"""A container with more items is not entered: its items are entries, or nothing that counts."""
_SAMPLE = 16
_RECORDS = 8
_DEEPEST = 3
_WIDEST = 8
_LOOKS = 32
"""So many containers are looked at, at most so deep, and of one container's children at most the so many largest."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What one place holds.

    Attributes:
        count: Items, on the side that has more.
        entries: More than half of the items are containers.
        records: They are, and have a plain member in common (or are too many to be anything else).
        objects: No item is anything but an object.
        children: Containers among the items, by token, that may be collections themselves.
    """

    count: int
    entries: bool
    records: bool
    objects: bool
    children: dict[str, _Sides]


def find_collection(roots: Sequence[Ref], source: Source) -> tuple[str, ...] | None:
    """Tokens of the pointer to the collection; None where no container is one.

    Args:
        roots: The states to look at together: one, or both sides of a comparison, in any order.
        source: Where nodes come from.
    """
    looks: dict[tuple[str, ...], _Look] = {}
    beginning = _distinct([opened(root, source) for root in roots])
    pending: deque[tuple[tuple[str, ...], _Sides]] = deque([((), beginning)])
    while pending and len(looks) < _LOOKS:
        path, sides = pending.popleft()
        look = looks[path] = _look(sides, source, inside=bool(path))
        if not look.records and len(path) < _DEEPEST:
            largest = sorted(look.children.items(), key=lambda child: (-_most(child[1]), child[0]))
            pending.extend(((*path, token), child) for token, child in largest[:_WIDEST])
    records = [path for path, look in looks.items() if look.records]
    if records:  # of equally large ones the first that was met, which is not deeper than the others
        return max(records, key=lambda path: looks[path].count)
    found = [path for path, look in looks.items() if look.entries and not _is_inside_one(path, looks)]
    return max(found, key=lambda path: (looks[path].count, len(path)), default=None)


def entry_names(roots: Sequence[Ref], collection: tuple[str, ...], source: Source) -> Names | None:
    """Find the members that identify the elements of a collection that is an array; None for any other.

    Args:
        roots: One state, or both sides of a comparison: two members together are only found by comparing.
        collection: Tokens of the pointer to the collection.
        source: Where nodes come from.
    """
    arrays = [array for root in roots if (array := find(root, collection, source)) is not None and _is_array(array)]
    names = find_names(*[sample for array in arrays if (sample := _elements(array, source, _SAMPLE))])
    if names is None and len(arrays) == 2 and len(_distinct(arrays)) == 2 and _most(tuple(arrays)) <= MOST_PAIRED:
        names = find_pair(*(_elements(array, source, MOST_PAIRED) for array in arrays))
    return names


def _is_inside_one(path: tuple[str, ...], looks: dict[tuple[str, ...], _Look]) -> bool:
    """Whether a place lies inside of what looks like an entry."""
    return any(looks[path[:end]].entries and looks[path[:end]].objects for end in range(1, len(path)))


def _look(sides: _Sides, source: Source, *, inside: bool) -> _Look:
    count = _most(sides)
    items = _items(sides, source, whole=False)
    look = _judge(count, items, source)
    if count > _SMALL or look.records:
        return look
    items = _items(sides, source, whole=True)
    look = _judge(count, items, source)
    # What has texts of its own is likely to be an entry, and its lists are its own: steps, links, notes.
    is_entry = inside and not all(_is_container(value) for item in items.values() for value in item)
    for token, item in items.items():
        if _most(item) and (not is_entry or all(map(_is_object, item))):
            look.children[token] = item
    return look


def _judge(count: int, items: dict[str, _Sides], source: Source) -> _Look:
    values = [value for item in items.values() for value in item]
    entries = 2 * sum(map(_is_container, values)) > len(values)
    records = entries and (count > _SMALL or _have_names_in_common(items, source))
    return _Look(count, entries, records, all(map(_is_object, values)), {})


def _have_names_in_common(items: dict[str, _Sides], source: Source) -> bool:
    """Whether three of four objects have a plain member of one name; one object alone has it with nobody.

    Collections that stand side by side may well have names in common ("1", "2", "3"), but those of entries.
    """
    objects = [item for item in items.values() if any(map(_is_object, item))][:_RECORDS]
    names = Counter(
        name for item in objects for name in {n for value in item if _is_object(value) for n in _names(value, source)}
    )
    return len(objects) > 1 and 4 * max(names.values(), default=0) >= 3 * len(objects)


def _items(sides: _Sides, source: Source, *, whole: bool) -> dict[str, _Sides]:
    """Items by token, of both sides together: all of them, or only the first of a container that is a node."""
    found: dict[str, _Sides] = {}
    for container in sides:
        if not _is_array(container):
            for token, value in _members(container, source, whole=whole):
                found[token] = _distinct((*found.get(token, ()), value))
        else:
            for at, value in enumerate(_elements_of(container, source, whole=whole)):
                found[str(at)] = _distinct((*found.get(str(at), ()), value))
    return found


def _members(container: _Stored, source: Source, *, whole: bool) -> Iterator[tuple[str, _Stored]]:
    if isinstance(container, Ref) and container.kind == OBJECT:
        for leaf in _leaves(container, source, whole=whole):
            pairs = list(zip(leaf.keys, leaf.values, strict=True))
            yield from pairs if whole else pairs[:_SAMPLE]
    elif isinstance(container, bytes) and container[:1] == b"{":
        keys, _, values = split_members(container)
        yield from zip(keys[:_SMALL], values, strict=False)


def _elements_of(container: _Stored, source: Source, *, whole: bool) -> Iterator[_Stored]:
    if isinstance(container, Ref):
        for leaf in _leaves(container, source, whole=whole):
            yield from leaf.values if whole else leaf.values[:_SAMPLE]
    else:
        yield from split_elements(container)[:_SMALL]


def _leaves(container: Ref, source: Source, *, whole: bool) -> Iterator[Leaf]:
    if not whole:
        node = container.node or source.load(container)
        while isinstance(node, Index):
            container = node.children[0]
            node = container.node or source.load(container)
        yield leaf_of(container, node)
        return
    for refs in leaf_refs(container, source):
        source.prefetch(refs)
        for ref in refs:
            yield leaf_of(ref, ref.node or source.load(ref))


def _names(value: _Stored, source: Source) -> list[str]:
    """Names of an object's members that are plain values; of a long one those in its first leaf."""
    return [name for name, member in _members(value, source, whole=False) if not _is_container(member)]


def _elements(array: _Stored, source: Source, most: int) -> list[JSON]:
    """The first elements of an array, each with its short members only."""
    if isinstance(array, Ref):
        return [_short(find_element(array, at, source), source) for at in range(min(array.count, most))]
    return list(decode(array))


def _short(value: _Stored, source: Source) -> JSON:
    if isinstance(value, bytes):
        return decode(value)
    if value.kind != OBJECT:
        return None
    return {
        name: decode(member)
        for name, member in _members(value, source, whole=value.count <= _SMALL)
        if isinstance(member, bytes) and not _is_container(member)
    }


def _distinct(sides: Sequence[_Stored]) -> _Sides:
    """What both sides hold in common only once, so that it is looked at once."""
    if len(sides) == 2:
        old, new = sides
        same = old.address == new.address if isinstance(old, Ref) and isinstance(new, Ref) else old == new
        return (old,) if same else (old, new)
    return tuple(sides)


def _is_container(value: _Stored) -> bool:
    return value.kind in (OBJECT, ARRAY) if isinstance(value, Ref) else value[:1] in (b"{", b"[")


def _is_object(value: _Stored) -> bool:
    return value.kind == OBJECT if isinstance(value, Ref) else value[:1] == b"{"


def _is_array(value: _Stored) -> bool:
    return value.kind == ARRAY if isinstance(value, Ref) else value[:1] == b"["


def _most(sides: _Sides) -> int:
    return max(map(_count, sides), default=0)


def _count(value: _Stored) -> int:
    """Items of a container; 0 for what is none."""
    if isinstance(value, Ref):
        return value.count if value.kind in (OBJECT, ARRAY) else 0
    if value[:1] in (b"{", b"["):
        return len(msgspec.json.decode(value, type=dict[str, msgspec.Raw] if value[:1] == b"{" else list[msgspec.Raw]))
    return 0
