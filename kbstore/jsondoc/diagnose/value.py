"""Find why a Python value is not JSON that kbstore accepts: a slow, exact walk over a refused value."""

from collections.abc import Iterable
from math import isfinite
from typing import Any

from kbstore.errors import InvalidJSON
from kbstore.jsondoc.document import plain
from kbstore.jsondoc.pointer import MAX_DEPTH, format_pointer, shorten

INT_MIN = -(2**63)
INT_MAX = 2**64 - 1

TYPES = frozenset({str, int, float, bool, type(None), dict, list})
"""The only types in a value, without subclasses: a subclass may print as another value."""


def why_no_json(value: Any) -> InvalidJSON:
    """Return the fault of a refused value as an error with a pointer. Costs as `find_fault`."""
    return find_fault(value) or InvalidJSON("the value cannot be printed as JSON", pointer="")


def find_fault(value: Any) -> InvalidJSON | None:
    """Return the first fault of a value as an error with a pointer; None if the value is JSON.

    Cost: about 1 us per node, up to the first fault. A cyclic value is reported as too deep.
    """
    stack: list[tuple[Any, tuple[str, ...]]] = [(value, ())]
    while stack:
        item, path = stack.pop()
        item = plain(item)
        message = _fault_of_item(item, len(path))
        if message is not None:
            pointer = format_pointer(path)
            return InvalidJSON(
                f"{_place(path)} {message}",
                pointer=pointer,
                hint="only dict with str keys, list, str, int, finite float, bool and None can be kept",
            )
        children: Iterable[tuple[str, Any]] = ()
        if type(item) is dict:
            children = item.items()
        elif type(item) is list:
            children = [(str(index), child) for index, child in enumerate(item)]
        stack.extend(reversed([(child, (*path, token)) for token, child in children]))
    return None


def _fault_of_item(item: Any, depth: int) -> str | None:
    """Return the fault of a value without members and elements; None if valid."""
    kind = type(item)
    if kind not in TYPES:
        return f"is a {kind.__module__}.{kind.__qualname__}, which is not a JSON value".replace(
            "a builtins.", "a Python "
        )
    if kind is float and not isfinite(item):
        return f"is {item!r}, which JSON cannot express"
    if kind is int and not INT_MIN <= item <= INT_MAX:
        return "is an integer outside [-2^63, 2^64-1]"
    if kind is str and _has_lone_surrogate(item):
        return "holds a lone surrogate, which no JSON text can"
    if kind is dict or kind is list:
        if depth >= MAX_DEPTH:
            return f"is nested deeper than {MAX_DEPTH} containers"
        if kind is dict:
            for key in item:
                if type(key) is not str:
                    return f"has the member name {shorten(repr(key))}, which is a {type(key).__qualname__}, not a str"
                if _has_lone_surrogate(key):
                    return f"has a member name with a lone surrogate, {shorten(ascii(key))}"
    return None


def _place(path: tuple[str, ...]) -> str:
    return f"the value at {shorten(format_pointer(path))!r}" if path else "the whole value"


def _has_lone_surrogate(text: str) -> bool:
    if text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
