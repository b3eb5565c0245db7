"""A JSON value as an outline for reading: indented names and values, one per line."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from kbstore.kit.escape import visible
from kbstore.kit.graphemes import cells, cluster_start

# Text beyond this is cut: a picture in base64 is not for reading.
_LONGEST = 2_000
_HEADS = ("id", "_id", "key", "name", "title")


class Line(NamedTuple):
    """A line of an outline.

    Attributes:
        depth: The indentation in columns.
        text: The content, harmless.
    """

    depth: int
    text: str


def inline(value: Any) -> str:
    """Return a value as JSON on one line, harmless; a long string is cut, and its length is added."""
    if isinstance(value, str):
        if len(value) > _LONGEST:
            return f"{_quoted(value[: cluster_start(value, _LONGEST)])}\u2026 ({len(value):,} characters)"
        return _quoted(value)
    if isinstance(value, list):
        return "[" + ", ".join(inline(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(name)}: {inline(item)}" for name, item in _ordered(value)) + "}"
    return json.dumps(value)


def _quoted(text: str) -> str:
    return '"' + visible(text).replace('"', '\\"') + '"'


def outline(value: Any, width: int) -> Iterator[Line]:
    """Yield the outline of a value, line by line.

    Args:
        value: Any JSON value.
        width: Columns for a container on one line.
    """
    yield from _outline(value, 0, "", width)


def _outline(value: Any, depth: int, prefix: str, width: int) -> Iterator[Line]:
    head = prefix.rstrip()
    if isinstance(value, str) and "\n" in value.rstrip("\n") and len(value) <= _LONGEST:
        yield Line(depth, f"{prefix}|")
        for line in value.rstrip("\n").split("\n"):
            yield Line(depth + 2, visible(line))
    elif not isinstance(value, dict | list) or _short(value, width - depth - cells(prefix)):
        yield Line(depth, prefix + inline(value))
    elif isinstance(value, dict):
        # A list's dash and the first member share a line.
        lead = prefix if prefix.endswith("- ") else ""
        if not lead and head:
            yield Line(depth, head)
            depth += 2
        for index, (name, item) in enumerate(_ordered(value)):
            lines = _outline(item, depth + len(lead), f"{visible(name)}: ", width)
            if index == 0 and lead:
                yield Line(depth, lead + next(lines).text)
            yield from lines
    else:
        if head:
            yield Line(depth, head)
            depth += 2
        for item in value:
            yield from _outline(item, depth, "- ", width)


def _ordered(value: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the members with id, key, name and title first, since a store gives members in alphabetical order."""
    heads = [(name, value[name]) for name in _HEADS if name in value]
    return heads + [member for member in value.items() if member[0] not in _HEADS] if heads else list(value.items())


def _short(value: dict[str, Any] | list[Any], width: int) -> bool:
    """Return whether a container reads well on one line: few plain values, or empty."""
    items = value.values() if isinstance(value, dict) else value
    if len(value) > 20 or any(isinstance(item, dict | list) and item for item in items):
        return False
    if isinstance(value, dict) and len(value) > 4:
        return False
    if any(isinstance(item, str) and len(item) > width for item in items):
        return False
    return cells(inline(value)) <= width
