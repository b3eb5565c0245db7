"""Tells whether a write-ahead log belongs to the file that it is beside.

SQLite takes any log of the right name for the file's own, and writes it over the file. So a backup that is moved over
a store, beside the log of a process that was killed, would be destroyed. Each write transaction therefore counts up a
number in the file's first page (``user_version``, random at creation), so the log holds that page for each of them.
The log begins where the file ends: its first number is one more than the file's. Where a part of the log was written
back already, the file's number is one of those in the log.

The log is read directly, since it carries no locks; the file is read through SQLite only.
"""

import sqlite3
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from backends.errors import StoreUnavailable

_HEADER = struct.Struct(">4xI I 4x 8s 8x")
_HEADER_BYTES = 32
_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
_FRAME_BYTES = 24
_USER_VERSION = slice(60, 64)
_NUMBERS = 1 << 31
_LOOKS = 3
_PAUSE_S = 0.05
"""A process that writes its log back and begins another one between two looks is done by the next."""


def mark_write(connection: sqlite3.Connection) -> None:
    """Count a write transaction in the first page, inside that transaction."""
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version={(number + 1) % _NUMBERS:d}")


def refuse_foreign_log(path: Path, log: Path) -> None:
    """Make sure that a log is the file's own; changes nothing.

    Args:
        path: The file.
        log: The write-ahead log beside it, which holds something.

    Raises:
        StoreUnavailable: It belongs to another file, or to another state of this one.
    """
    for look in range(_LOOKS):
        if look:
            time.sleep(_PAUSE_S)
        number = _number_of(path)
        if number is None or _continues(log, number):
            return
    raise StoreUnavailable(
        f"{log} does not belong to {path}: it was written to another file, which {path.name} replaced",
        hint=f"move {log} away and keep it (it holds the last commits of that other file), then open {path.name} again",
    )


def _number_of(path: Path) -> int | None:
    """The number in the file itself, without its log; None if that cannot be read."""
    try:
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)
        try:
            (number,) = connection.execute("PRAGMA user_version").fetchone()
        finally:
            connection.close()
    except sqlite3.Error:
        return None  # damaged, or being written back just now: opening tells more
    return int(number)


def _continues(log: Path, number: int) -> bool:
    first = True
    for found in _numbers_in(log):
        if found == number or (first and found == (number + 1) % _NUMBERS):
            return True
        first = False
    return first  # a log without a number changes nothing that counts


def _numbers_in(log: Path) -> Iterator[int]:
    """The numbers of the first pages in a log, in order of writing.

    The layout is https://www.sqlite.org/fileformat2.html#the_write_ahead_log.
    """
    try:
        with log.open("rb") as file:
            header = file.read(_HEADER_BYTES)
            if len(header) < _HEADER_BYTES or header[:4] not in _MAGIC:
                return
            _, page_bytes, salts = _HEADER.unpack(header)
            while frame := file.read(_FRAME_BYTES + _USER_VERSION.stop):
                if len(frame) < _FRAME_BYTES + _USER_VERSION.stop or frame[8:16] != salts:
                    return  # the rest is of an earlier log
                if int.from_bytes(frame[:4]) == 1:
                    yield int.from_bytes(frame[_FRAME_BYTES:][_USER_VERSION])
                file.seek(page_bytes - _USER_VERSION.stop, 1)
    except OSError:
        return
