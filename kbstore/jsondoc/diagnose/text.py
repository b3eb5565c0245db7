"""Find where and why a text is not JSON that kbstore accepts: an exact, slow reader for refused texts.

The reader keeps a stack of its own, so hostile nesting cannot exhaust Python's, and stops at the first fault. Cost:
about 1 us per token.
"""

import json
import re
from collections.abc import Callable, Sequence
from math import isinf
from typing import NamedTuple, TypeAlias

from kbstore.errors import InvalidJSON
from kbstore.jsondoc.decimals import Lossy, is_accepted, is_exact
from kbstore.jsondoc.diagnose.dialect import dialect_of
from kbstore.jsondoc.pointer import MAX_DEPTH, format_pointer, shorten

_SPACE = re.compile(rb"[ \t\n\r]*+")
_STRING = re.compile(rb'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"')
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*+)(\.[0-9]++)?([eE][+-]?[0-9]++)?")
_WORD = re.compile(rb"true|false|null")
_LONGEST_INT_DIGITS = 20
_SHOWN_BYTES = 24
_AS_STRING = "keep such a number as a string"
_Accept: TypeAlias = Callable[[str], bool]
"""Returns whether to read on after a rounded literal."""


class _Fault(NamedTuple):
    offset: int
    message: str
    hint: str | None = None


class _Frame:
    """An open container: the member names so far and the current name, or the index of the current element."""

    __slots__ = ("index", "key", "keys")

    def __init__(self, is_object: bool) -> None:
        self.keys: set[str] | None = set() if is_object else None
        self.key: str | None = None
        self.index = 0

    @property
    def token(self) -> str | None:
        """The token of the value being read; None while a member's name is being read."""
        return self.key if self.keys is not None else str(self.index)


def locate_fault(data: bytes | bytearray, lossy: Lossy = False) -> InvalidJSON | None:
    """Return the first fault of a text, with line, column and pointer; None if the text is valid."""
    frames: list[_Frame] = []
    fault = _scan(bytes(data), frames, lambda literal: is_accepted(literal, lossy))
    if fault is None:
        return None
    before = data[: fault.offset]
    line = before.count(b"\n") + 1
    column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
    pointer = _pointer(frames)
    message = (
        f"line {line}, column {column}" + (f" (at {shorten(pointer)!r})" if pointer else "") + f": {fault.message}"
    )
    hint = fault.hint
    if hint is None and (dialect := dialect_of(bytes(data), fault.offset)) is not None:
        message, hint = f"{message}; this looks like {dialect.name}", dialect.hint
    return InvalidJSON(message, pointer=pointer, line=line, column=column, hint=hint)


def locate_inexact(data: bytes | bytearray, limit: int | None = None, known: Lossy = False) -> list[tuple[str, str]]:
    """Return the pointers and literals of the rounded numbers of a valid text.

    Args:
        data: The text.
        limit: The most numbers to return; reading stops there. None for all numbers.
        known: Literals to leave out.
    """
    frames: list[_Frame] = []
    found: list[tuple[str, str]] = []

    def collect(literal: str) -> bool:
        if not is_accepted(literal, known):
            found.append((_pointer(frames), literal))
        return limit is None or len(found) < limit

    _scan(bytes(data), frames, collect)
    return found


def _pointer(frames: Sequence[_Frame]) -> str:
    return format_pointer([frame.token for frame in frames if frame.token is not None])


def _scan(data: bytes, frames: list[_Frame], accept: _Accept) -> _Fault | None:
    """Read a value and the end of the text; after a fault, `frames` gives the place of the fault."""
    if data.startswith(b"\xef\xbb\xbf"):
        return _Fault(0, "the text starts with a byte order mark", "save the file as UTF-8 without BOM")
    at = _skip(data, 0)
    while True:
        # A value is expected at `at`.
        opened = data[at : at + 1]
        if opened == b"{" or opened == b"[":
            if len(frames) >= MAX_DEPTH:
                return _Fault(at, f"nested deeper than {MAX_DEPTH} containers")
            frame = _Frame(opened == b"{")
            after = _skip(data, at + 1)
            if data[after : after + 1] == (b"}" if opened == b"{" else b"]"):
                at = after + 1
            else:
                frames.append(frame)
                at = after
                if frame.keys is not None:
                    name = _read_name(data, at, frame, frame.keys)
                    if isinstance(name, _Fault):
                        return name
                    at = name
                continue
        else:
            scalar = _read_scalar(data, at, accept)
            if isinstance(scalar, _Fault):
                return scalar
            at = scalar
        # A value has ended at `at`: close what ends here, or go on to the next value.
        following = _after_value(data, at, frames)
        if following is None or isinstance(following, _Fault):
            return following
        at = following


def _after_value(data: bytes, at: int, frames: list[_Frame]) -> int | _Fault | None:
    """Return the start of the next value, or None at the end of a valid text."""
    while True:
        at = _skip(data, at)
        byte = data[at : at + 1]
        if not frames:
            return None if not byte else _Fault(at, f"{_shown(data, at)} follows the end of the value")
        frame = frames[-1]
        if frame.keys is not None:
            if byte == b"}":
                frames.pop()
                at += 1
                continue
            if byte != b",":
                return _Fault(at, f"expected ',' or '}}', found {_shown(data, at)}")
            return _read_name(data, _skip(data, at + 1), frame, frame.keys)
        if byte == b"]":
            frames.pop()
            at += 1
            continue
        if byte != b",":
            return _Fault(at, f"expected ',' or ']', found {_shown(data, at)}")
        frame.index += 1
        return _skip(data, at + 1)


def _read_name(data: bytes, at: int, frame: _Frame, keys: set[str]) -> int | _Fault:
    """Read a member name and the colon; return the start of the member's value."""
    frame.key = None
    if data[at : at + 1] != b'"':
        return _Fault(at, f"expected a member name in double quotes, found {_shown(data, at)}")
    end = _read_string(data, at)
    if isinstance(end, _Fault):
        return end
    name = json.loads(data[at:end])
    frame.key = name
    if name in keys:
        return _Fault(at, f"the member {shorten(name)!r} is in one object twice", "keep one of the two")
    keys.add(name)
    colon = _skip(data, end)
    if data[colon : colon + 1] != b":":
        return _Fault(colon, f"expected ':' after the member name, found {_shown(data, colon)}")
    return _skip(data, colon + 1)


def _read_scalar(data: bytes, at: int, accept: _Accept) -> int | _Fault:
    if data[at : at + 1] == b'"':
        return _read_string(data, at)
    number = _NUMBER.match(data, at)
    if number is not None:
        return _check_number(data, number, accept)
    word = _WORD.match(data, at)
    if word is not None:
        return word.end()
    if data[at : at + 3] == b"NaN" or data[at : at + 9].lstrip(b"-").startswith(b"Infinity"):
        return _Fault(at, f"{_shown(data, at)} is not a JSON number", "write null, or leave the member out")
    return _Fault(at, f"expected a value, found {_shown(data, at)}")


def _check_number(data: bytes, number: re.Match[bytes], accept: _Accept) -> int | _Fault:
    text = number.group()
    following = data[number.end() : number.end() + 1]
    if following.isalnum() or (following and following in b"+-._"):
        return _Fault(number.start(), f"{_shown(data, number.start())} is not a JSON number")
    if number.group(1) is None and number.group(2) is None:
        too_long = len(text.lstrip(b"-")) > _LONGEST_INT_DIGITS
        if too_long or not -(2**63) <= int(text) <= 2**64 - 1:
            return _Fault(
                number.start(),
                f"the integer {shorten(text.decode())} is outside [-2^63, 2^64-1]",
                _AS_STRING,
            )
    elif isinf(float(text)):
        return _Fault(number.start(), f"the number {shorten(text.decode())} is too large for a double", _AS_STRING)
    elif not is_exact(literal := text.decode()) and not accept(literal):
        return _Fault(
            number.start(),
            f"the number {shorten(literal)} would be rounded to {float(text)!r}",
            f"{_AS_STRING}, or round it: --lossy of kbstore init, commit, diff, status, apply, import",
        )
    return number.end()


def _read_string(data: bytes, at: int) -> int | _Fault:
    """Check the string at `at`; return the end of the string."""
    match = _STRING.match(data, at)
    if match is None:
        return _Fault(at, _why_no_string(data, at))
    text = match.group()
    try:
        decoded = text.decode()
    except UnicodeDecodeError as fault:
        return _Fault(
            at + fault.start, f"byte 0x{text[fault.start]:02x} is not UTF-8 ({fault.reason})", "save the file as UTF-8"
        )
    if "\\u" in decoded:
        try:
            json.loads(decoded).encode()
        except UnicodeEncodeError:
            return _Fault(at, "the string holds a lone surrogate", "write a surrogate as a pair: \\ud83d\\ude00")
    return match.end()


def _why_no_string(data: bytes, at: int) -> str:
    broken = re.compile(rb'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+').match(data, at)
    end = broken.end() if broken is not None else at
    stop = data[end : end + 1]
    if not stop:
        return "the text ends inside this string"
    if stop == b"\\":
        return f"this string holds the bad escape {_shown(data, end, 6)}"
    return f"this string holds the control character 0x{stop[0]:02x} unescaped"


def _skip(data: bytes, at: int) -> int:
    match = _SPACE.match(data, at)
    return match.end() if match is not None else at


def _shown(data: bytes, at: int, size_bytes: int = _SHOWN_BYTES) -> str:
    """Return the bytes at a place as text for a message."""
    if at >= len(data):
        return "the end of the text"
    piece = re.split(rb"[\s,\]}]", data[at : at + size_bytes])[0] or data[at : at + 1]
    return repr(piece.decode("utf-8", "backslashreplace"))
