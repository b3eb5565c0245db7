"""Detects a write-ahead log that belongs to another file than the file beside it.

SQLite takes any log of the right name for the file's own log, and writes the log over the file. So a backup moved over
a store, beside the log of a killed process, would be destroyed. Each write transaction therefore leaves a mark in the
file's first page (``user_version``), so the log holds the first page of each transaction. A mark is random, and shows
the mark before. The log begins at the end of the file's history: the first mark in the log follows the file's mark. If
a part of the log was written back already, the file's mark is also in the log. Another program may set
``user_version``, or write pages without the first page; then the contents of both files decide (see `log_proof`).

The log is read directly, because no locks are on the log; the file is read through SQLite only.
"""

import os
import sqlite3
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from kbstore.backends.sqlite.files.log_proof import proves_to_follow
from kbstore.backends.sqlite.files.names import follows, next_number, uri_of
from kbstore.kit.errors import StoreUnavailable

_HEADER = struct.Struct(">8x I 4x 8s 8x")
"""The header of the log: page size, salts."""
_FRAME_HEADER_BYTES = 24
_FRAME = struct.Struct(">I I 8s 8x 40x I 16x I")
"""A frame and the page inside: page number, whether the frame commits, salts, schema version, user version."""
_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
_BUFFER_BYTES = 256
"""Enough for the first frame, which usually decides."""
_LOOKS = 3
_PAUSE_S = 0.05
"""A process that writes the log back and begins another log between two looks is done by the next look."""


_MOST_PROVEN = 1024
_proven: dict[str, tuple[int, ...]] = {}
"""Files and logs that were found to belong together, by the log's name; checked again when the file changes."""


class _Mark(NamedTuple):
    """The contents of a first page: the mark of the last write, and the count of schema changes."""

    number: int
    schema: int


def mark_write(connection: sqlite3.Connection) -> None:
    """Mark a write transaction in the first page, inside that transaction."""
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    (chance,) = connection.execute("SELECT random()").fetchone()
    connection.execute(f"PRAGMA user_version={next_number(number, chance):d}")


def refuse_foreign_log(path: Path, log: str) -> None:
    """Make sure that a log is the file's own log; changes nothing.

    Args:
        path: The file.
        log: The write-ahead log beside the file; not empty.

    Raises:
        StoreUnavailable: The log belongs to another file, or to another state of this file.
    """
    for look in range(_LOOKS):
        if look:
            time.sleep(_PAUSE_S)
        pair = _pair(path, log)
        if pair is None or _proven.get(log) == pair:
            return
        mark = _mark_of(path)
        if mark is None or _continues(log, mark):
            if len(_proven) >= _MOST_PROVEN:
                _proven.clear()
            _proven[log] = pair
            return
    if proves_to_follow(path, log):
        return  # not remembered: this is rare, and after the log is written back the file's mark is right
    raise unproven(path, log)


def unproven(path: Path, log: str) -> StoreUnavailable:
    """Return the error for a log or journal that may be another file's; the hint loses no data even if it is not."""
    return StoreUnavailable(
        f"nothing shows that {log} belongs to {path}: it may be that of a file that {path.name} replaced",
        hint=f"close every program that has {path.name} open and try again; if {log} is still there, copy both files "
        f"into another folder and keep them (the log may hold commits that nothing else has), then move {log} away",
    )


def number_of(path: Path) -> int | None:
    """Return the mark of the last write in the file itself, without the logs; None if the file cannot be read."""
    mark = _mark_of(path)
    return mark.number if mark is not None else None


def holds_write(path: Path, log: str, number: int) -> bool:
    """Return whether the mark of a write is in a file, or in a complete transaction in the log."""
    if number_of(path) == number:
        return True
    last = None
    for found, ends in _frames_in(log):
        last = found or last
        if ends and last is not None and last.number == number:
            return True
    return False


def _pair(path: Path, log: str) -> tuple[int, ...] | None:
    """Return the identity of a file and a log, to recognize pairs checked before; None if the log is gone."""
    try:
        file, beside = path.stat(), os.stat(log)  # noqa: PTH116 - paid for every opening
    except OSError:
        return None
    return (file.st_dev, file.st_ino, file.st_ctime_ns, beside.st_dev, beside.st_ino)


def _mark_of(path: Path) -> _Mark | None:
    """Return the mark in the file itself, without the log; None if the file cannot be read."""
    try:
        connection = sqlite3.connect(uri_of(path, "mode=ro&immutable=1"), uri=True)
        try:
            (number,) = connection.execute("PRAGMA user_version").fetchone()
            (schema,) = connection.execute("PRAGMA schema_version").fetchone()
        finally:
            connection.close()
    except sqlite3.Error:
        return None  # damaged, or being written right now: opening the file reports more
    return _Mark(number, schema)


def _continues(log: str, mark: _Mark) -> bool:
    first, changes = True, False
    for found, ends in _frames_in(log):
        changes |= ends
        if found is None:
            continue
        # Another program that changes the schema sets no mark, so its page looks like kbstore's first page in a log.
        # And a file of the same mark, with a newer schema than the log's, was changed elsewhere since.
        same = found.number == mark.number and found.schema >= mark.schema
        if same or (first and follows(found.number, mark.number) and found.schema == mark.schema):
            return True
        first = False
    return first and not changes  # commits without a mark do not show which file the log belongs to


def _frames_in(log: str) -> Iterator[tuple[_Mark | None, bool]]:
    """Yield the frames of a log in order: the mark, if a first page, and whether the frame ends a transaction.

    The layout is https://www.sqlite.org/fileformat2.html#the_write_ahead_log.
    """
    try:
        with open(log, "rb", buffering=_BUFFER_BYTES) as file:  # noqa: PTH123 - paid for every opening
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size or header[:4] not in _MAGIC:
                return
            page_bytes, salts = _HEADER.unpack(header)
            size = os.fstat(file.fileno()).st_size
            while len(frame := file.read(_FRAME.size)) == _FRAME.size:
                page, commits, frame_salts, schema, number = _FRAME.unpack(frame)
                if frame_salts != salts:
                    return  # the rest is of an earlier log
                end = file.seek(page_bytes + _FRAME_HEADER_BYTES - _FRAME.size, 1)
                yield _Mark(number, schema) if page == 1 else None, bool(commits) and end <= size
    except OSError:
        return
