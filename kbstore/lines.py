"""Lines of JSON from outside: unpacked, read strictly, and told apart by what they carry."""

import gzip
import io
import lzma
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, BinaryIO, cast

from kbstore.canonical import loads
from kbstore.errors import InvalidJSON, KBStoreError

_LONGEST_LINE_BYTES = 1 << 30
READ_FAULTS = (OSError, EOFError, lzma.LZMAError, zlib.error)
"""What reading a packed stream raises where it is damaged."""
_GZIP, _XZ = b"\x1f\x8b", b"\xfd7zXZ\x00"
_LINE_HINT = (
    'a line is {"document": ..., "author": ..., "time": ..., "message": ...}, or as kbstore export writes it; '
    "the history of one JSON file is started with: kbstore init FILE"
)


class ImportFailed(KBStoreError):
    """A line cannot be taken in. What stood before it was; the message names the line.

    Attributes:
        line: 1-based number of the line.
    """

    def __init__(self, message: str, *, line: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.line = line


def unpacked(stream: BinaryIO) -> Iterator[bytes]:
    """The lines of a stream that is plain, or packed by gzip or xz, whatever its name."""
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, stream))
    start = buffered.peek(len(_XZ))
    if start.startswith(_GZIP):
        return iter(gzip.GzipFile(fileobj=buffered))
    if start.startswith(_XZ):
        return iter(lzma.LZMAFile(buffered))
    return iter(buffered)


def checked_first(lines: Iterable[bytes]) -> Iterator[bytes] | None:
    """The same lines, after the first that is not blank was found to be one to import; None if all are blank.

    Raises:
        ImportFailed: It is none.
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
    """The error for a stream that ended before its end."""
    return KBStoreError(f"the file cannot be read to its end: {fault}", hint="get it again: it may be cut short")


def read_line(number: int, line: bytes) -> dict[str, Any]:
    """The object on a line.

    Raises:
        ImportFailed: It is not JSON as kbstore takes it, or no object.
    """
    if len(line) > _LONGEST_LINE_BYTES:
        raise ImportFailed(f"line {number} is longer than {_LONGEST_LINE_BYTES:,} bytes", line=number)
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
    """What a line carries: ``event``, ``ref`` or ``document``.

    Raises:
        ImportFailed: None of them.
    """
    for kind in ("event", "ref", "document"):
        if kind in value:
            return kind
    raise ImportFailed(f"line {number} has neither a document nor an event", line=number, hint=_LINE_HINT)
