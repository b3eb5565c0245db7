"""Name the format of a text that is not JSON, and say how to make JSON from the text.

Used only after a text was refused, so a wrong guess breaks nothing. The guess uses the first lines and the text at the
fault.
"""

import re
from typing import NamedTuple

import msgspec


class Dialect(NamedTuple):
    """A format mistaken for JSON.

    Attributes:
        name: The name of the format.
        hint: Advice for such a text.
    """

    name: str
    hint: str


_LINES = Dialect(
    "JSON Lines",
    "put its lines into one array, for example with: jq -s . FILE; a history as JSON Lines is read by kbstore import",
)
_COMMENTED = Dialect("JSONC (JSON with comments)", "take out the comments")
_COMMA_AT_END = Dialect("JSONC (JSON with a comma at the end)", "take out the comma after the last member or element")
_JSON5 = Dialect(
    "JSON5", "put names and texts into double quotes, or convert the file, for example with: npx json5 FILE"
)
_YAML = Dialect("YAML", "convert the file, for example with: yq -o=json . FILE")
_UTF_16 = Dialect("UTF-16", "save the file as UTF-8 without BOM")
_PACKED = Dialect("a packed file", "unpack it first; kbstore import alone reads packed files (gzip and xz)")
_DATABASE = Dialect("an SQLite database", "give a store with --store, and here the JSON file")

_MAGIC = (
    (b"\xff\xfe", _UTF_16),
    (b"\xfe\xff", _UTF_16),
    (b"\x1f\x8b", _PACKED),
    (b"\xfd7zXZ\x00", _PACKED),
    (b"(\xb5/\xfd", _PACKED),
    (b"PK\x03\x04", _PACKED),
    (b"SQLite format 3\x00", _DATABASE),
)
_LOOKED_AT_BYTES = 1 << 12
_UTF_16_BARE = re.compile(rb"(?:[\t\n\r -~]\x00){2}|(?:\x00[\t\n\r -~]){2}")
_COMMENT = re.compile(rb"//|/\*")
_JSON5_PIECE = re.compile(rb"'|\+[\d.]|-?\.\d|-?0[xX][\da-fA-F]|-?\d+\.(?!\d)|[A-Za-z_$][\w$]*\s*:|\d+\s*:")
_YAML_START = re.compile(
    rb"(?:\s*+(?:#[^\n]*)?\n)*+(?:---|%YAML|\s*- |\s*[^\s{}\[\],#&*!|>'%@`][^\n]*?:(?:\s|$)|\s*'[^'\n]*':)"
)


def dialect_of(data: bytes, offset: int) -> Dialect | None:
    """Return the likely format of a text; None if the text is most likely meant as JSON.

    Args:
        data: The text.
        offset: The first place that is not JSON.
    """
    for magic, dialect in _MAGIC:
        if data.startswith(magic):
            return dialect
    if _UTF_16_BARE.match(data):
        return _UTF_16
    before, rest = data[:offset].rstrip(), data[offset : offset + _LOOKED_AT_BYTES]
    start = data[:_LOOKED_AT_BYTES].lstrip()[:1]
    if _COMMENT.match(rest):
        return _COMMENTED
    if before.endswith(b",") and rest[:1] in (b"]", b"}"):
        return _COMMA_AT_END
    if start in (b"{", b"["):
        if _is_next_line(data, offset):
            return _LINES
        return _JSON5 if _JSON5_PIECE.match(rest) else None
    if _YAML_START.match(data[:_LOOKED_AT_BYTES]):
        return _YAML
    return _LINES if _is_next_line(data, offset) else None


def _is_next_line(data: bytes, offset: int) -> bool:
    """Return whether a first line of JSON ends before this place, and the line here is JSON too."""
    if b"\n" not in data[len(data[:offset].rstrip()) : offset]:
        return False
    end = data.find(b"\n", offset)
    try:
        msgspec.json.decode(data[:offset])
        msgspec.json.decode(data[offset : end if end >= 0 else None])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
