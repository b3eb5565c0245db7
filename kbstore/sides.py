"""Reads whole entries on both sides of a difference, for renderings that show more than what changed."""

from collections.abc import Callable
from typing import Any

from kbstore.canonical import MISSING
from kbstore.tree.node import OBJECT, Ref
from kbstore.tree.read import Source, find, materialise

Sides = Callable[[str], tuple[Any, Any] | None]


def sides_reader(old: Ref | None, new: Ref | None, collection: tuple[str, ...], source: Source) -> Sides:
    """A function from an entry's id to the entry before and after, `MISSING` where it is not there.

    Args:
        old: Root of the old state; None where there is no document.
        new: Root of the new state.
        collection: Tokens of the pointer to the container of the entries.
        source: Where nodes come from.

    Returns:
        The function. It gives None where the collection is an array on either side: its elements have no lasting place.
    """

    def read(entry: str) -> tuple[Any, Any] | None:
        found = []
        for root in (old, new):
            container = None if root is None else find(root, collection, source)
            if container is not None and not _is_object(container):
                return None
            stored = None if root is None else find(root, (*collection, entry), source)
            found.append(MISSING if stored is None else materialise(stored, source))
        return found[0], found[1]

    return read


def _is_object(stored: bytes | Ref) -> bool:
    return stored[:1] == b"{" if isinstance(stored, bytes) else stored.kind == OBJECT
