"""Hints for a pointer to nothing: names near the pointer."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kbstore.errors import KBStoreError, PointerError
from kbstore.history.version import Version
from kbstore.jsondoc.pointer import format_pointer, parse_pointer, shorten
from kbstore.store import Store

_SHOWN = 5


@contextmanager
def hinting(store: Store, pointer: str, version: Version) -> Iterator[None]:
    """Add a hint to a pointer error without a hint: the names existing at the version."""
    try:
        yield
    except PointerError as fault:
        if fault.hint is None:
            fault.hint = _hint(store, pointer, version)
        raise


def _hint(store: Store, pointer: str, version: Version) -> str | None:
    try:
        tokens = parse_pointer(pointer)
        value = store.checkout(version)
    except KBStoreError:
        return None
    for depth, token in enumerate(tokens):
        below = _below(value, token)
        if below is None:
            return _told(value, format_pointer(tokens[:depth]), token)
        value = below[0]
    return None


def _below(value: Any, token: str) -> list[Any] | None:
    """Return the value at a token, in a list; `None` if there is no value."""
    if isinstance(value, dict) and token in value:
        return [value[token]]
    if isinstance(value, list) and token.isdecimal() and token.isascii() and int(token[:9]) < len(value):
        return [value[int(token[:9])]]
    return None


def _told(value: Any, parent: str, token: str) -> str:
    from difflib import get_close_matches

    where = shorten(parent) or "the document"
    if isinstance(value, list):
        count = f"{len(value)} element{'' if len(value) == 1 else 's'}"
        return f"{where} is an array of {count}" + (f", {shorten(parent)}/0 is the first" if value else "")
    if not isinstance(value, dict):
        return f"{where} is neither an object nor an array: nothing is below it"
    if near := get_close_matches(token, value, n=1):
        return f"did you mean {shorten(parent + format_pointer(near))!r}?"
    names = ", ".join(shorten(name) for name in list(value)[:_SHOWN])
    more = f", and {len(value) - _SHOWN} more" if len(value) > _SHOWN else ""
    return f"{where} has {names}{more}" if value else f"{where} is an empty object"
