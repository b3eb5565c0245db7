"""The layout of a JSON file: detected in the text, and applied to new text for the file.

A file written from a store should keep the owner's layout, so that an editor or a review shows only real changes. The
layout is: indentation, blanks around separators, line ends, the final newline, escapes of non-ASCII characters, and
short arrays on one line. If the layout varies inside a file (two indentations, say), the beginning of the file decides.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

import orjson

# The beginning of a file shows its style; the rest is not read, however large the file is.
_SHOWN_BYTES = 1 << 18
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_INDENT = re.compile(rb"\n([ \t]+)(?=\S)")
_ITEM_SEPARATOR = re.compile(rb",([ \t]*)(?=\S)")
_KEY_SEPARATOR = re.compile(rb"(?<![ \t])([ \t]*):([ \t]*)")  # begins at a run of blanks, never within it
_FLAT_ARRAY = re.compile(rb"\[[ \t]*[^][{}\s,][^][{}\n]*\]")
_TALL_ARRAY = re.compile(rb"\[[^\S\n]*\n\s*[^][{}\s,][^][{}]*\]")
_NON_ASCII_ESCAPE = re.compile(rb"\\u(?!00[0-7])")
_NON_ASCII = re.compile("[^\x00-\x7f]")
_LINE_INDENT = re.compile(rb"\n( +)")
_SCALAR_LINES = re.compile(rb'\[((?:\n *["\-0-9tfn][^\n]*)+)\n *\]')
_NARROW = 80
_WIDEST = 64
"""A longer run of blanks is not part of a style: each line or item would repeat the run."""


@dataclass(frozen=True, slots=True)
class FileStyle:
    """The layout of a JSON file.

    Attributes:
        indent: The indentation of one level; None for a text on one line.
        item_separator: The text between items on one line.
        key_separator: The text between a key and the value.
        newline: Line end: ``\\n`` or ``\\r\\n``.
        final_newline: Whether the file ends with a line end.
        ascii_only: Whether other characters are written as ``\\u`` escapes.
        flat_width: Arrays of scalars are on one line if the line ends before this column; 0 for never.
    """

    indent: str | None = "  "
    item_separator: str = ", "
    key_separator: str = ": "
    newline: str = "\n"
    final_newline: bool = True
    ascii_only: bool = False
    flat_width: int = 0


DEFAULT_STYLE = FileStyle()
"""The style of a new file: two blanks, a final newline."""


def style_of(data: bytes) -> FileStyle:
    """Return the style of a valid JSON text."""
    shown = data[:_SHOWN_BYTES]
    bare = _STRING.sub(b'""', shown)
    body = bare.strip()
    one_line = b"\n" not in body
    indents = [match[1] for match in _INDENT.finditer(bare) if len(match[1]) <= _WIDEST]
    key = _narrow(_KEY_SEPARATOR.search(bare))
    item = _narrow(_ITEM_SEPARATOR.search(bare))
    key_separator = (key[1] + b":" + key[2]).decode() if key else ": "
    if one_line and not key and item:
        key_separator = ": " if item[1] else ":"
    flat = 0
    if not one_line and _FLAT_ARRAY.search(bare):
        flat = _NARROW if _TALL_ARRAY.search(bare) else 1 << 30
    indent: str | None = min(indents, key=len, default=b"").decode()
    if one_line:
        indent = None if body[:1] in (b"[", b"{") and body[1:-1].strip() else DEFAULT_STYLE.indent
    return FileStyle(
        indent=indent,
        item_separator=f",{item[1].decode()}" if item else ", " if key_separator.endswith(" ") else ",",
        key_separator=key_separator,
        newline="\r\n" if 2 * bare.count(b"\r\n") > bare.count(b"\n") else "\n",
        final_newline=data.endswith(b"\n"),
        ascii_only=data.isascii() and _NON_ASCII_ESCAPE.search(data) is not None,
        flat_width=flat,
    )


def _narrow(match: re.Match[bytes] | None) -> re.Match[bytes] | None:
    return match if match is not None and len(match[0]) <= _WIDEST else None


def print_json(value: Any, style: FileStyle = DEFAULT_STYLE) -> bytes:
    """Return a value as the bytes of a file in this style.

    Cost: about the cost of parsing the result; much more only for rare styles (blanks before a colon).
    """
    if style.indent is None:
        data = _one_line(value, style)
    elif style.key_separator == ": ":
        data = orjson.dumps(value, option=orjson.OPT_INDENT_2)
        if style.flat_width:
            data = _flatten(data, style)
        if style.indent != "  ":
            unit = style.indent.encode()
            steps = {b"  " * depth: b"\n" + unit * depth for depth in range(512)}
            data = _LINE_INDENT.sub(lambda match: steps[match[1]], data)
    else:
        separators = (",", style.key_separator)
        data = json.dumps(value, ensure_ascii=False, indent=style.indent, separators=separators).encode()
    if style.ascii_only and not data.isascii():
        data = _NON_ASCII.sub(_escape, data.decode()).encode()
    if style.final_newline:
        data += b"\n"
    # A line feed inside a string is always escaped, so each one here ends a line.
    return data if style.newline == "\n" else data.replace(b"\n", style.newline.encode())


def print_new(value: Any) -> bytes:
    """Return a value as the bytes of a new file, in the default style."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _one_line(value: Any, style: FileStyle) -> bytes:
    if style.item_separator == "," and style.key_separator == ":":
        return orjson.dumps(value)
    separators = (style.item_separator, style.key_separator)
    return json.dumps(value, ensure_ascii=False, separators=separators).encode()


def _flatten(data: bytes, style: FileStyle) -> bytes:
    """Put each array of scalars on one line. Text in strings is safe: a line feed in a string is always escaped."""
    unit = len(style.indent or "")

    def flat(match: re.Match[bytes]) -> bytes:
        items = [line.strip().removesuffix(b",") for line in match[1].split(b"\n")[1:]]
        line = b"[" + style.item_separator.encode().join(items) + b"]"
        start = data.rfind(b"\n", 0, match.start()) + 1
        before = data[start : match.start()]
        deep = len(before) - len(before.lstrip())
        column = deep // 2 * unit + len(before.lstrip().decode()) + len(line.decode())
        return line if column < style.flat_width else match[0]

    return _SCALAR_LINES.sub(flat, data)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
