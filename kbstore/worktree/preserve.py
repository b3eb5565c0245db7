"""Format-preserving write: unchanged parts of a JSON text keep their characters, and new parts get the same style.

A review or a git diff of the file then shows only the changes, in every layout: short objects on one line, blank lines,
numbers such as 1e3. Only changed containers are read.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from kbstore.jsondoc.canonical import encode, same
from kbstore.jsondoc.make_patch import id_key
from kbstore.worktree.style import FileStyle, print_json

_read_value = json.JSONDecoder().raw_decode
_LOOKED_AT = 20
_BLANKS = " \t\n\r"


def retouched(data: bytes, old: Any, new: Any, style: FileStyle) -> bytes:
    """Return `new` as a JSON text that keeps the characters of another text in all equal parts.

    Args:
        data: A valid JSON text.
        old: The value of the text in `data`.
        new: The new value, sharing the unchanged containers with `old` (see `kbstore.order.carry_over`).
        style: The style of the text.

    Cost: for each level on the way to a change, reading the changed container there.
    """
    text = data.decode()
    start = _skip(text, 0)
    end = len(text.rstrip(_BLANKS))
    bare = replace(style, final_newline=False)
    return (text[:start] + _Painter(text, bare).value(old, new, start, end, "") + text[end:]).encode()


@dataclass(frozen=True, slots=True)
class _Part:
    """The position of a member or element in the text: from `start` to `end`; the value begins at `value`."""

    start: int
    value: int
    end: int


class _Painter:
    """Writer that copies parts of the old text and prints new parts."""

    def __init__(self, text: str, style: FileStyle) -> None:
        self._text = text
        self._style = style

    def value(self, old: Any, new: Any, start: int, end: int, indent: str | None) -> str:
        """Return the text of `new`, to replace `old` from `start` to `end`; `indent` as for `_printed`."""
        if new is old or (not isinstance(new, dict | list) and same(new, old)):
            return self._text[start:end]
        if type(new) is not type(old) or not isinstance(new, dict | list) or not new or not old:
            return self._printed(new, indent)
        parts = self._parts(start)
        opening, closing = self._text[start + 1 : parts[0].start], self._text[parts[-1].end : end]
        inner = opening.rpartition("\n")[2] if "\n" in opening else None
        beside = None if self._on_one_line(old, parts) else inner
        if isinstance(new, dict) and isinstance(old, dict):
            pieces = self._members(old, new, parts, inner, beside)
        else:
            pieces = self._elements(list(old), list(new), parts, inner, beside)
        usual = self._text[parts[0].end : parts[1].start] if len(parts) > 1 else self._gap(opening)
        told = [self._text[start], opening]
        before: int | None = None
        for number, (at, piece) in enumerate(pieces):
            if number:
                follows = before is not None and at == before + 1
                told.append(self._text[parts[at - 1].end : parts[at].start] if follows and at is not None else usual)
            told.append(piece)
            before = at
        return "".join([*told, closing])

    def _members(
        self, old: dict[str, Any], new: dict[str, Any], parts: list[_Part], inner: str | None, beside: str | None
    ) -> Iterator[tuple[int | None, str]]:
        """Yield for each member the place in the old text (None for a new member) and the new text.

        New members are indented by `beside`.
        """
        places = {key: at for at, key in enumerate(old)}
        for key, value in new.items():
            at = places.get(key)
            if at is None:
                name = print_json(key, self._style).decode() + self._style.key_separator
                yield None, name + self._printed(value, beside)
            else:
                part = parts[at]
                name = self._text[part.start : part.value]
                yield at, name + self.value(old[key], value, part.value, part.end, inner)

    def _elements(
        self, old: list[Any], new: list[Any], parts: list[_Part], inner: str | None, beside: str | None
    ) -> Iterator[tuple[int | None, str]]:
        """Yield the same for elements; an element is found by the id-like member, else by the content."""
        places: dict[tuple[str | None, bytes], list[int]] = defaultdict(list)
        key = id_key(new)
        for at in reversed(range(len(old))):
            places[_name(old[at], key)].append(at)
        for value in new:
            if found := places.get(_name(value, key)):
                at = found.pop()
                yield at, self.value(old[at], value, parts[at].value, parts[at].end, inner)
            else:
                yield None, self._printed(value, beside)

    def _printed(self, value: Any, indent: str | None) -> str:
        """Return a new value as text, below a line with this indent; on a single line if `indent` is None."""
        if indent is None:
            return print_json(value, replace(self._style, indent=None)).decode()
        return print_json(value, self._style).decode().replace("\n", f"\n{indent}")

    def _on_one_line(self, old: Any, parts: list[_Part]) -> bool:
        """Return whether each inner container is on one line; new containers are then written in the same way."""
        values = old.values() if isinstance(old, dict) else old
        seen = [p for p, value in zip(parts, values, strict=True) if isinstance(value, dict | list) and value]
        return bool(seen) and all("\n" not in self._text[p.value : p.end] for p in seen[:_LOOKED_AT])

    def _gap(self, opening: str) -> str:
        return f",{opening}" if "\n" in opening else self._style.item_separator

    def _parts(self, start: int) -> list[_Part]:
        """Return the members or elements of the container at `start`; the container is not empty."""
        text, keyed = self._text, self._text[start] == "{"
        parts = []
        at = start
        while text[at] not in "]}" or at == start:
            begin = value = _skip(text, at + 1)
            if keyed:
                value = _skip(text, _skip(text, _read_value(text, begin)[1]) + 1)
            end = _read_value(text, value)[1]
            parts.append(_Part(begin, value, end))
            at = _skip(text, end)
        return parts


def _name(value: Any, key: str | None) -> tuple[str | None, bytes]:
    """Return the key for matching an element: the id-like member, else the content."""
    if key is not None and isinstance(value, dict) and key in value:
        return key, encode(value[key])
    return None, encode(value)


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANKS:
        at += 1
    return at
