"""Read whole entries on both sides of a difference, for forms that show more than the changes."""

from collections.abc import Callable
from typing import Any

from kbstore.errors import PointerError
from kbstore.jsondoc.canonical import MISSING
from kbstore.jsondoc.identity import Names, element_token
from kbstore.tree.locate import Locator
from kbstore.tree.node import ARRAY, Ref
from kbstore.tree.reader import Source, find, materialise

Sides = Callable[[str], tuple[Any, Any] | None]


def sides_reader(
    roots: tuple[Ref | None, Ref | None],
    collection: tuple[str, ...],
    names: Names | None,
    locator: Locator,
    source: Source,
) -> Sides:
    """Return a function from an entry's id to the entry before and after; `MISSING` for a side without the entry.

    Args:
        roots: The old state and the new state; `None` for a version without a document.
        collection: Tokens of the pointer to the container of the entries.
        names: The members that identify the elements, if the collection is an array with such members.
        locator: Finds elements by identity.
        source: Loads nodes.

    Returns:
        The function. It returns `None` for array elements without an id.
    """

    def read(entry: str) -> tuple[Any, Any] | None:
        found = []
        for root in roots:
            container = None if root is None else find(root, collection, source)
            token = entry
            if container is not None and _is_array(container):
                if names is None or not (len(names) == 1 or entry.startswith("[")):
                    return None
                token = element_token(names, (entry,)) if len(names) == 1 else entry
            try:
                path = None if container is None else locator.resolve(root, (*collection, token))
            except PointerError:
                return None
            stored = None if root is None or path is None else find(root, path, source)
            found.append(MISSING if stored is None else materialise(stored, source))
        return found[0], found[1]

    return read


def read_both(
    roots: tuple[Ref | None, Ref | None], paths: tuple[tuple[str, ...], tuple[str, ...]], source: Source
) -> tuple[Any, Any]:
    """Return the values at a pointer on each side; `MISSING` for a side without a value."""
    stored = [None if root is None else find(root, path, source) for root, path in zip(roots, paths, strict=True)]
    old, new = [MISSING if value is None else materialise(value, source) for value in stored]
    return old, new


def _is_array(stored: bytes | Ref) -> bool:
    return stored[:1] == b"[" if isinstance(stored, bytes) else stored.kind == ARRAY
