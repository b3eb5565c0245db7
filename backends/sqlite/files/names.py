"""The names of a store's files, the marks of writes, and settings for SQLite that trust a file little."""

import os
import sqlite3
import sys
import zlib
from pathlib import Path
from urllib.parse import quote

_LINK_BITS = 16
_LINK_MASK = (1 << _LINK_BITS) - 1
_RANDOM_MASK = 0x7FFF
_LIMITS = (
    (sqlite3.SQLITE_LIMIT_ATTACHED, 0),  # raised for a moment by `collect`, whose VACUUM attaches a file
    (sqlite3.SQLITE_LIMIT_SQL_LENGTH, 100_000),
    (sqlite3.SQLITE_LIMIT_COLUMN, 200),
    (sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 100),
    (sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, 20),
    (sqlite3.SQLITE_LIMIT_FUNCTION_ARG, 20),
    (sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000),
    (sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 2),
)


def uri_of(path: Path, options: str) -> str:
    """Return the URI for SQLite to open a file with options. Two slashes in front would name a host."""
    name = str(path.absolute())
    # Quoted as bytes: a name need not be valid text.
    return f"file:{quote(os.fsencode(os.sep + name.lstrip(os.sep))) if os.sep == '/' else name}?{options}"


def next_number(number: int, chance: int) -> int:
    """Return a mark for the write transaction after the transaction with this mark.

    A part of the mark is random, and a part is made from the mark before. So copies of a file that are written
    separately have different marks from the first transaction on, and a mark still shows the mark before.

    Args:
        number: The mark before.
        chance: A random number.
    """
    return (chance & _RANDOM_MASK) << _LINK_BITS | _link(number)


def follows(number: int, before: int) -> bool:
    """Return whether `next_number` may have made a mark for the transaction after another mark."""
    return number & _LINK_MASK == _link(before)


def _link(number: int) -> int:
    return zlib.crc32(number.to_bytes(4, "big", signed=True)) & _LINK_MASK


def harden(connection: sqlite3.Connection) -> None:
    """Let a file from elsewhere do as little as possible: https://www.sqlite.org/security.html, section 2.

    The size of a value has no limit here: readers of bodies and packs have limits.
    """
    connection.executescript("PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON")
    for limit, number in _LIMITS:
        connection.setlimit(limit, number)
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)


def family(path: Path) -> list[Path]:
    """Return a file and the files that SQLite may keep beside it."""
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm", "-journal")]
