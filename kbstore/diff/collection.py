"""Find the container whose children people count as entries, if no container is configured.

An entry is an object or an array. So a container of texts or numbers is not a collection, at any size, and neither is a
container with only few containers among its items. Of the other containers, the largest container of *records* is
chosen. Records are items with a member name in common, as articles have a title. Without such a container, the largest
container is chosen.

Both sides of a comparison are examined together. A container emptied or filled by a change counts with the size of its
larger side, and the choice is the same in both directions.

Cost: bounded, for a document of any size. Counts are in the references of the tree, and of a container with many items
only the first few items are examined.
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
"""The value at a place, or the two different values of both sides."""

_SMALL = 64
"""A container with more items is not entered: its items are entries, or irrelevant."""
_SAMPLE = 16
_RECORDS = 8
_DEEPEST = 3
_WIDEST = 8
_LOOKS = 32
"""The search examines at most `_LOOKS` containers, `_DEEPEST` levels, and the `_WIDEST` largest children of each."""


@dataclass(frozen=True, slots=True)
class _Look:
    """Facts about the container at a place.

    Attributes:
        count: Items, on the side with more items.
        entries: Whether more than half of the items are containers.
        records: Whether `entries` is true, and the items have a plain member in common (or are too many to be anything
            but records).
        objects: Whether all items are objects.
        children: The containers among the items, by token, that may be collections.
    """

    count: int
    entries: bool
    records: bool
    objects: bool
    children: dict[str, _Sides]


def find_collection(roots: Sequence[Ref], source: Source) -> tuple[str, ...] | None:
    """Return the tokens of the pointer to the collection; `None` if no container qualifies.

    Args:
        roots: The states to examine together: one state, or both sides of a comparison, in any order.
        source: Loads nodes.
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
    if records:  # of several largest containers `max` takes the first found, and no other is higher up in the tree
        return max(records, key=lambda path: looks[path].count)
    found = [path for path, look in looks.items() if look.entries and not _is_inside_one(path, looks)]
    return max(found, key=lambda path: (looks[path].count, len(path)), default=None)


def entry_names(roots: Sequence[Ref], collection: tuple[str, ...], source: Source) -> Names | None:
    """Return the members that identify the elements of a collection; `None` if the collection is not an array.

    Args:
        roots: One state, or both sides of a comparison. A pair of members is only found by comparing.
        collection: Tokens of the pointer to the collection.
        source: Loads nodes.
    """
    arrays = [array for root in roots if (array := find(root, collection, source)) is not None and _is_array(array)]
    names = find_names(*[sample for array in arrays if (sample := _elements(array, source, _SAMPLE))])
    if names is None and len(arrays) == 2 and len(_distinct(arrays)) == 2 and _most(tuple(arrays)) <= MOST_PAIRED:
        names = find_pair(*(_elements(array, source, MOST_PAIRED) for array in arrays))
    return names


def _is_inside_one(path: tuple[str, ...], looks: dict[tuple[str, ...], _Look]) -> bool:
    """Return whether a place is inside of a probable entry."""
    return any(looks[path[:end]].entries and looks[path[:end]].objects for end in range(1, len(path)))


def _look(sides: _Sides, source: Source, *, inside: bool) -> _Look:
    count = _most(sides)
    items = _items(sides, source, whole=False)
    look = _judge(count, items, source)
    if count > _SMALL or look.records:
        return look
    items = _items(sides, source, whole=True)
    look = _judge(count, items, source)
    # A container with texts is likely to be an entry. Its lists are then parts of the entry: steps, links, notes.
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
    """Return whether three of four objects have a plain member with the same name; always False for a single object.

    Only plain members count: collections side by side may well contain the same names ("1", "2", "3"), but for entries.
    """
    objects = [item for item in items.values() if any(map(_is_object, item))][:_RECORDS]
    names = Counter(
        name for item in objects for name in {n for value in item if _is_object(value) for n in _names(value, source)}
    )
    return len(objects) > 1 and 4 * max(names.values(), default=0) >= 3 * len(objects)


def _items(sides: _Sides, source: Source, *, whole: bool) -> dict[str, _Sides]:
    """Return the items of both sides by token: all items, or only the first items of a container stored as a node."""
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
    """Return the names of an object's plain members; for a long object, only from the first leaf."""
    return [name for name, member in _members(value, source, whole=False) if not _is_container(member)]


def _elements(array: _Stored, source: Source, most: int) -> list[JSON]:
    """Return the first elements of an array, each with short members only."""
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
    """Return the sides without duplicates, so that an equal value is examined once."""
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
    """Return the number of items of a container; 0 for other values."""
    if isinstance(value, Ref):
        return value.count if value.kind in (OBJECT, ARRAY) else 0
    if value[:1] in (b"{", b"["):
        return len(msgspec.json.decode(value, type=dict[str, msgspec.Raw] if value[:1] == b"{" else list[msgspec.Raw]))
    return 0
