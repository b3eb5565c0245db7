"""Proof, from the contents of both, that a write-ahead log continues the file beside the log.

The proof is for two cases: another program was the first to write into the log and set the mark that `foreign_log`
reads, or the log has no mark. No version is missing between file and log if the first transaction in the log that adds
records is kbstore's: the mark follows the number before, and the records of a single slot are added to all records of
the file. A log that adds no records must leave every row of kbstore's tables unchanged, and must change only the first
page, or only other pages. Both are tried on a private copy, which must be a whole database at the end.
"""

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

from kbstore.backends.sqlite import schema
from kbstore.backends.sqlite.files.names import follows, harden, uri_of
from kbstore.backends.sqlite.files.private_copy import copy_parts
from kbstore.kit.folders import temporary_folder

_HEADER_BYTES = 32
_FRAME = struct.Struct(">I I 8s 8x")
"""Page number; pages of the database if the frame commits, else 0; salts."""
_COPIES = 5
_Records = set[tuple[int, int, bytes]]
"""Id, slot and digest of each record."""


def proves_to_follow(path: Path, log: str) -> bool:
    """Return whether a log is proved to continue a file; changes neither. Costs a copy of both.

    False also if the proof cannot be tried: no space for the copy, or a file that is being replaced.
    """
    try:
        with temporary_folder() as folder:
            return _copied(path, log, folder) and _follows(folder / path.name)
    except (OSError, sqlite3.Error):
        return False


def _copied(path: Path, log: str, folder: Path) -> bool:
    """Copy a file and the log, which may grow meanwhile; False if the file changes all the time."""
    for _ in range(_COPIES):
        before = _still(path, log)
        copy_parts([path, Path(log)], folder)
        if _still(path, log) == before:
            return True
    return False


def _still(path: Path, log: str) -> tuple[object, ...]:
    """Return the values that stay equal while a log only grows: of the file, and the header of the log."""
    found = path.stat()
    with Path(log).open("rb") as beside:
        return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, beside.read(_HEADER_BYTES))


def _follows(copy: Path) -> bool:
    log = Path(f"{copy}-wal")
    whole = log.replace(copy.with_name("whole"))
    mark, known = _state(copy, "mode=ro&immutable=1")
    rows = _digest_of_rows(copy, "mode=ro&immutable=1")
    grown = False
    pages: set[int] = set()
    with whole.open("rb") as source, log.open("wb", buffering=0) as target:
        target.write(source.read(_HEADER_BYTES))
        for transaction, changed in _transactions(source, whole):
            target.write(transaction)
            pages |= changed
            if grown:
                continue
            (number, schema), (mark, found) = mark, _state(copy, "mode=ro")
            if found != known:
                one_slot = len({(ident >> 32, slot) for ident, slot, _ in found - known}) == 1
                if not (known < found and one_slot and follows(mark[0], number) and mark[1] == schema):
                    return False
                grown = True
    if not grown and ((1 in pages and len(pages) > 1) or _digest_of_rows(copy, "mode=ro") != rows):
        return False
    return _is_whole(copy) and known <= _state(copy, "mode=ro")[1]


def _transactions(source: BinaryIO, whole: Path) -> Iterator[tuple[bytes, set[int]]]:
    """Yield the frames of each transaction of a log, from the first on, and the numbers of the changed pages."""
    with whole.open("rb") as header:
        page_bytes, salts = struct.unpack(">8x I 4x 8s 8x", header.read(_HEADER_BYTES))
    frames, pages = bytearray(), set()
    while len(head := source.read(_FRAME.size)) == _FRAME.size:
        page, commits, frame_salts = _FRAME.unpack(head)
        if frame_salts != salts:
            return  # the rest is of an earlier log
        frames += head + source.read(page_bytes)
        pages.add(page)
        if commits:
            yield bytes(frames), pages
            frames, pages = bytearray(), set()


def _state(copy: Path, options: str) -> tuple[tuple[int, int], _Records]:
    """Return the mark of the last write, the count of schema changes, and the records of a copy with a log."""
    with closing(_opened(copy, options)) as connection:
        (number,) = connection.execute("PRAGMA user_version").fetchone()
        (schema,) = connection.execute("PRAGMA schema_version").fetchone()
        return (number, schema), set(connection.execute("SELECT id, slot, digest FROM records"))


def _digest_of_rows(copy: Path, options: str) -> bytes:
    """Return a digest of every row in the tables of a store."""
    digest = blake2b()
    with closing(_opened(copy, options)) as connection:
        for table in sorted(schema.TABLES):
            for row in connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2"):  # noqa: S608 - the names are ours
                digest.update(repr(row).encode())
    return digest.digest()


def _is_whole(copy: Path) -> bool:
    with closing(_opened(copy, "mode=ro")) as connection:
        return connection.execute("PRAGMA integrity_check(1)").fetchall() == [(b"ok",)]


def _opened(copy: Path, options: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri_of(copy, options), uri=True)
    connection.text_factory = bytes
    harden(connection)
    return connection
