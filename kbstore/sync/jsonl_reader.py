"""Reader for JSON Lines from outside: unpack the lines, read each strictly, and detect its kind."""

import gzip
import io
import lzma
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, BinaryIO, cast

from kbstore.errors import InvalidJSON, KBStoreError
from kbstore.jsondoc.canonical import loads

_LONGEST_LINE_BYTES = 1 << 30
_LONGEST_UNPACKED_BYTES = 64 << 20
_MOST_EXPANDED = 100
"""A line of a packed stream may exceed `_LONGEST_UNPACKED_BYTES` by at most this factor times the packed bytes read."""
_MOST_BLANK_LINES = 1_000_000
_PIECE_BYTES = 4 << 20
READ_FAULTS = (OSError, EOFError, lzma.LZMAError, zlib.error)
"""The errors from reading a damaged packed stream."""
_GZIP, _XZ = b"\x1f\x8b", b"\xfd7zXZ\x00"
_LINE_HINT = (
    'a line is {"document": ..., "author": ..., "time": ..., "message": ...}, or as kbstore export writes it; '
    "the history of one JSON file is started with: kbstore init FILE"
)


class ImportFailed(KBStoreError):
    """A line cannot be imported; the message names the line.

    Attributes:
        line: 1-based number of the line.
    """

    def __init__(self, message: str, *, line: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.line = line


class _Counted(io.RawIOBase):
    """A stream that counts the bytes read from another stream.

    Args:
        stream: The other stream.
    """

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream = stream
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._stream.readinto(buffer)
        self.count += count
        return count


def unpacked(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a stream that is plain, or packed by gzip or xz, with any file name.

    Raises:
        ImportFailed: During reading: a line is too long, a few packed bytes expand to a huge line, or there are too
            many blank lines.
    """
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, stream))
    start = buffered.peek(len(_XZ))
    counted = _Counted(buffered)
    if start.startswith(_GZIP):
        return _lines(gzip.GzipFile(fileobj=cast(BinaryIO, counted)), counted)
    if start.startswith(_XZ):
        return _lines(lzma.LZMAFile(cast(BinaryIO, counted)), counted)
    return _lines(buffered, None)


def _lines(stream: io.BufferedIOBase, packed: _Counted | None) -> Iterator[bytes]:
    number = blank = 0
    while line := stream.readline(_PIECE_BYTES):
        number += 1
        if len(line) == _PIECE_BYTES and line[-1:] != b"\n":
            line = _long_line(number, line, stream, packed)
        elif line.isspace():
            blank += 1
            if blank > _MOST_BLANK_LINES:
                raise ImportFailed(f"there are more than {_MOST_BLANK_LINES:,} blank lines", line=number)
        yield line


def _long_line(number: int, start: bytes, stream: io.BufferedIOBase, packed: _Counted | None) -> bytes:
    pieces, size = [start], len(start)
    while pieces[-1] and not pieces[-1].endswith(b"\n"):
        pieces.append(stream.readline(_PIECE_BYTES))
        size += len(pieces[-1])
        if size > _LONGEST_LINE_BYTES:
            raise ImportFailed(f"line {number} is longer than {_LONGEST_LINE_BYTES:,} bytes", line=number)
        if packed is not None and size > _LONGEST_UNPACKED_BYTES + _MOST_EXPANDED * packed.count:
            raise ImportFailed(
                f"line {number} is {size:,} bytes and longer, of {packed.count:,} packed ones: it is refused",
                line=number,
                hint="if you trust the file, unpack it first and import what comes out",
            )
    return b"".join(pieces)


def checked_first(lines: Iterable[bytes]) -> Iterator[bytes] | None:
    """Return the same lines, after checking the first non-blank line; None if all lines are blank.

    Raises:
        ImportFailed: The first line cannot be imported.
    """
    rest = iter(lines)
    blank = 0
    try:
        for line in rest:
            if line.strip():
                kind_of(blank + 1, read_line(blank + 1, line))
                return chain([b"\n"] * blank, [line], rest)
            blank += 1
    except READ_FAULTS as fault:
        raise cut_short(fault) from fault
    return None


def cut_short(fault: Exception) -> KBStoreError:
    """Return the error for a damaged or incomplete stream."""
    return KBStoreError(f"the file cannot be read to its end: {fault}", hint="get it again: it may be cut short")


def read_line(number: int, line: bytes) -> dict[str, Any]:
    """Return the object on a line.

    Raises:
        ImportFailed: The line is not JSON as kbstore accepts it, or not an object.
    """
    try:
        value = loads(line.rstrip(b"\r\n"))
    except InvalidJSON as fault:
        where = str(fault).removeprefix("line 1, ")
        raise ImportFailed(
            f"line {number}, {where}", line=number, hint=fault.hint or (_LINE_HINT if number == 1 else None)
        ) from fault
    if not isinstance(value, dict):
        raise ImportFailed(f"line {number} is not an object", line=number, hint=_LINE_HINT)
    return value


def kind_of(number: int, value: dict[str, Any]) -> str:
    """Return the kind of a line: ``event``, ``ref`` or ``document``.

    Raises:
        ImportFailed: The line is of another kind.
    """
    for kind in ("event", "ref", "document"):
        if kind in value:
            return kind
    raise ImportFailed(f"line {number} has neither a document nor an event", line=number, hint=_LINE_HINT)
