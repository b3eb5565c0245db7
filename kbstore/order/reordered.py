"""Find the objects with another order of members in two equal documents."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from kbstore.jsondoc.pointer import format_pointer

_CONTAINERS = (dict, list)


def turned(before: Any, after: Any, limit: int | None = None) -> list[str]:
    """Return the pointers of the objects with another order of members, outer objects first.

    Args:
        before: A document.
        after: An equal document.
        limit: Return at most this many pointers.
    """
    return list(islice(_turned(before, after, ()), limit))


def _turned(before: Any, after: Any, path: tuple[str, ...]) -> Iterator[str]:
    if isinstance(before, dict):
        if list(before) != list(after):
            yield format_pointer(path)
        below = ((key, value, after[key]) for key, value in before.items())
    else:
        below = ((str(at), *pair) for at, pair in enumerate(zip(before, after, strict=True)))
    for token, one, other in below:
        if isinstance(one, _CONTAINERS):
            yield from _turned(one, other, (*path, token))
