"""Translation of SQLite's error codes: each becomes the error kind that asks the caller for the same reaction."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

from kbstore.backends.sqlite.shares import unshared
from kbstore.kit.errors import BackendError, CorruptStore, DiskFull, ReadOnlyStore, StoreUnavailable
from kbstore.kit.os_errors import advice, cannot_open, size_limit

RESTORE_HINT = "bring a backup back with: kbstore restore-backup FILE"
LIMIT_HINT = "raise the limit on the size of files (ulimit -f); everything can be read meanwhile"
FULL_HINT = "free disk space, then try again; everything can be read meanwhile"
_PRIMARY = 0xFF
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_MISMATCH}
_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_CLOSED_DOOR = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}


def code_of(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code; 1 (SQLITE_ERROR) if the error comes from Python's side."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY


def is_io(error: sqlite3.Error) -> bool:
    """Return whether the operating system failed to read, write or sync."""
    return code_of(error) == sqlite3.SQLITE_IOERR


def is_full(error: sqlite3.Error) -> bool:
    """Return whether the disk had no space, for the file or for the shared memory beside the file."""
    extended = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code_of(error) == sqlite3.SQLITE_FULL or extended == sqlite3.SQLITE_IOERR_SHMSIZE


Fault = sqlite3.Error | UnicodeDecodeError
"""The errors that SQLite raises. A message quotes names from the file, and a damaged name need not be text."""

FAULTS = (sqlite3.Error, UnicodeDecodeError)


def translated(error: Fault, location: str) -> BackendError:
    """Return the error to raise instead, with the place and the next step."""
    if isinstance(error, UnicodeDecodeError):
        return CorruptStore(f"{location} is damaged: a name in it is not text", hint=RESTORE_HINT)
    code = code_of(error)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    said = f"{error} ({name})"
    if code in _DAMAGED:
        return CorruptStore(f"{location} is damaged: {said}", hint=RESTORE_HINT)
    if (found := unshared(location, error)) is not None:
        return found
    if code in _LOCKED:
        return StoreUnavailable(
            f"{location} is locked by another process: {said}", hint="wait until that one is done, then try again"
        )
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR) and (limit := size_limit(location)) is not None:
        return DiskFull(
            f"this process may not make files of more than {limit:,} bytes, so {location} cannot be written ({said})",
            hint=LIMIT_HINT,
        )
    if is_full(error):
        return DiskFull(f"the disk is full: there is no room to write {location} ({said})", hint=FULL_HINT)
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY and _may_be_written(location):
        return marked_read_only(location)
    if code == sqlite3.SQLITE_READONLY:
        return ReadOnlyStore(f"{location} cannot be written: {said}", hint="open it read-only, or change its mode")
    if code in _CLOSED_DOOR:
        cause = cannot_open(location, "-wal", "-journal")
        return StoreUnavailable(
            f"{location} cannot be opened: {cause.strerror if cause is not None else said}",
            hint=(cause and advice(cause)) or "check the permissions of the file and of its folder",
        )
    if code == sqlite3.SQLITE_IOERR:
        return StoreUnavailable(f"the disk failed under {location}: {said}", hint="check the disk, then try again")
    if code in (sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_TOOBIG):
        return StoreUnavailable(f"too large for {location}: {said}", hint="write it in smaller pieces")
    # A trigger refused, or a table is not as kbstore made it.
    return CorruptStore(f"{location} is not as it was written: {said}", hint=RESTORE_HINT)


def marked_read_only(location: str) -> CorruptStore:
    """Return the error for a file with a number in its first page that forbids SQLite to write the file."""
    return CorruptStore(
        f"{location} is damaged: its first page says that it may only be read",
        hint=f"a clone has a sound first page, and loses nothing: kbstore clone {quote(location)} NEW.db, then kbstore "
        "restore-backup NEW.db",
    )


def _may_be_written(location: str) -> bool:
    return os.access(location, os.W_OK) and os.access(Path(location).resolve().parent, os.W_OK)


@contextmanager
def translating(location: str) -> Iterator[None]:
    """Turn errors of SQLite inside the block into errors of kbstore."""
    try:
        yield
    except FAULTS as error:
        raise translated(error, location) from error
