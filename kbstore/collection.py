"""Finds the container whose children people count as entries, where none is configured."""

import msgspec

from kbstore.canonical import decode
from kbstore.tree.node import ARRAY, OBJECT, Ref, split_elements, split_members
from kbstore.tree.read import Source, find, find_element, leaf_refs
from kbstore.valuediff import id_key

_LOOKED_AT = 64
"""A container with more items than this is a collection without looking at them."""


def find_collection(root: Ref, source: Source) -> tuple[str, ...]:
    """Tokens of the pointer to the largest container.

    From the root it goes down into the child with the most items, as long as that has no fewer than its parent, and
    stops at a container all of whose items are objects: those are the entries.
    """
    path: tuple[str, ...] = ()
    here: bytes | Ref = root
    while True:
        items = _items(here, source)
        if items is None or (path and items and all(_is_object(v) for v in items.values())):
            return path
        counted = [(_count(v), k) for k, v in items.items()]
        best = max(counted, key=lambda c: c[0], default=(0, ""))
        if best[0] == 0 or best[0] < len(items):
            return path
        path, here = (*path, best[1]), items[best[1]]


def entry_key(root: Ref, collection: tuple[str, ...], source: Source) -> str | None:
    """The member that identifies the elements of a collection that is an array; None for any other."""
    stored = find(root, collection, source)
    if isinstance(stored, bytes):
        value = decode(stored)
        return id_key(value) if isinstance(value, list) else None
    if stored is None or stored.kind != ARRAY:
        return None
    sample = [find_element(stored, at, source) for at in range(min(stored.count, _LOOKED_AT))]
    return id_key([decode(v) for v in sample if isinstance(v, bytes)])


def _items(value: bytes | Ref, source: Source) -> dict[str, bytes | Ref] | None:
    """A small container's items by token; None for a large one, or for what is none."""
    if isinstance(value, Ref):
        if value.kind == "v":
            node = value.node or source.load(value)
            value = node.encode()[1:]
        elif value.kind not in (OBJECT, ARRAY) or value.count > _LOOKED_AT:
            return None
        else:
            found: dict[str, bytes | Ref] = {}
            for refs in leaf_refs(value, source):
                for ref in refs:
                    leaf = ref.node or source.load(ref)
                    for at, item in enumerate(leaf.values):  # type: ignore[union-attr]
                        found[leaf.keys[at] if value.kind == OBJECT else str(len(found))] = item  # type: ignore[union-attr]
            return found
    if value[:1] == b"{":
        keys, _, values = split_members(value)
        return dict(zip(keys, values, strict=True)) if len(keys) <= _LOOKED_AT else None
    if value[:1] == b"[":
        return {str(i): v for i, v in enumerate(split_elements(value)[: _LOOKED_AT + 1])}
    return None


def _is_object(value: bytes | Ref) -> bool:
    return value.kind == OBJECT if isinstance(value, Ref) else value[:1] == b"{"


def _count(value: bytes | Ref) -> int:
    if isinstance(value, Ref):
        return value.count if value.kind in (OBJECT, ARRAY) else 0
    if value[:1] in (b"{", b"["):
        return len(msgspec.json.decode(value, type=dict[str, msgspec.Raw] if value[:1] == b"{" else list[msgspec.Raw]))
    return 0
