"""Writes a new document over the text of an old one: what stayed keeps its characters, what is new gets their style.

A review of the file, or its git diff, then shows what was changed and nothing else, however its writer laid it out:
short objects on one line, blank lines, numbers such as 1e3. Only containers that changed are looked into.
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
    """A JSON text of `new` that has the characters of another one wherever it says the same.

    Args:
        data: A valid JSON text.
        old: Its value.
        new: The new value, which shares with `old` the containers that did not change (see `memberorder`).
        style: That of the text.

    Cost: for each level on the way to a change, reading the changed container there.
    """
    text = data.decode()
    start = _skip(text, 0)
    end = len(text.rstrip(_BLANKS))
    bare = replace(style, final_newline=False)
    return (text[:start] + _Painter(text, bare).value(old, new, start, end, "") + text[end:]).encode()


@dataclass(frozen=True, slots=True)
class _Part:
    """A member or element in the text: from `start`; its value from `value` to `end`."""

    start: int
    value: int
    end: int


class _Painter:
    """Copies and prints parts of one text."""

    def __init__(self, text: str, style: FileStyle) -> None:
        self._text = text
        self._style = style

    def value(self, old: Any, new: Any, start: int, end: int, indent: str | None) -> str:
        """The text of `new`, where `old` stands from `start` to `end`; `indent` as for `_printed`."""
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
        """For each member its place in the text, None where it is new, and its text; `beside` indents new ones."""
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
        """The same for elements; they are known by their id-like member, else by their content."""
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
        """A new value below a line that begins with `indent`; on one line where that is None."""
        if indent is None:
            return print_json(value, replace(self._style, indent=None)).decode()
        return print_json(value, self._style).decode().replace("\n", f"\n{indent}")

    def _on_one_line(self, old: Any, parts: list[_Part]) -> bool:
        """Whether the containers in this one stand on one line each, as new ones beside them then do."""
        values = old.values() if isinstance(old, dict) else old
        seen = [p for p, value in zip(parts, values, strict=True) if isinstance(value, dict | list) and value]
        return bool(seen) and all("\n" not in self._text[p.value : p.end] for p in seen[:_LOOKED_AT])

    def _gap(self, opening: str) -> str:
        return f",{opening}" if "\n" in opening else self._style.item_separator

    def _parts(self, start: int) -> list[_Part]:
        """The members or elements of the container at `start`, which has some."""
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
    """What an element is known by: its id-like member, else its content."""
    if key is not None and isinstance(value, dict) and key in value:
        return key, encode(value[key])
    return None, encode(value)


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANKS:
        at += 1
    return at
