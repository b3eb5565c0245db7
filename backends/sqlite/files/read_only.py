"""Opening a store for reading, also if the file or the folder cannot be written.

There are three ways, tried in order: through the log, as writers do; from the file alone if there is no log; or from a
private copy if only a writer could write the remaining log back.
"""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from kbstore.backends.sqlite.errors import FAULTS, code_of, is_full
from kbstore.backends.sqlite.files import store_file
from kbstore.backends.sqlite.files.foreign_journal import refuse_foreign_journal
from kbstore.backends.sqlite.files.foreign_log import refuse_foreign_log
from kbstore.backends.sqlite.files.private_copy import copy_parts
from kbstore.kit.errors import CorruptStore, StoreUnavailable
from kbstore.kit.folders import temporary_folder

_BLOCKED = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}
_COPIES = 5
_PAUSE_S = 0.05


def signature(real: Path) -> tuple[int, ...]:
    """Return device, inode, size and time of a store's file and logs, which change with every write."""
    found: list[int] = []
    for part in (str(real), store_file.log_of(real), store_file.journal_of(real)):
        try:
            status = os.stat(part)  # noqa: PTH116 - paid for every call
        except OSError:
            found.append(-1)
            continue
        if part == str(real) or status.st_size:
            found += (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    return tuple(found)


class ReadOnlyConnection:
    """A connection that only reads, perhaps from a private copy.

    Args:
        path: The file as the user named it.
        real: The same file without symbolic links.

    Attributes:
        connection: The connection to read from.
        detached: True if the connection does not see later writes; then compare `signature` with `seen`.
        seen: The signature at the time of opening; empty if not detached.
    """

    def __init__(self, path: Path, real: Path) -> None:
        self.detached = False
        self.seen: tuple[int, ...] = ()
        try:
            self.connection = self._open(path, real)
        except BaseException:
            self.close()
            raise

    def _open(self, path: Path, real: Path) -> sqlite3.Connection:
        log = store_file.log_of(real)
        if store_file.waiting_bytes(log):
            refuse_foreign_log(real, log)
        if store_file.waiting_bytes(store_file.journal_of(real)):
            refuse_foreign_journal(real, store_file.journal_of(real))
        writes = store_file.may_write(real)
        # Without a log, SQLite would make a log here and could not remove it, and the file's owner could not write.
        if writes or os.path.lexists(log):
            with store_file.opening(path):
                try:
                    # A reader that may write does so too: only then SQLite removes its files at the last close.
                    return _probed(path, real, "mode=rw" if writes else "mode=ro")
                except FAULTS as error:
                    if isinstance(error, UnicodeDecodeError) or not (code_of(error) in _BLOCKED or is_full(error)):
                        raise
        self.detached = True
        self.seen = signature(real)
        if not store_file.waiting_bytes(log) and not store_file.waiting_bytes(store_file.journal_of(real)):
            # Nobody can be writing without a log, so the file alone is the whole store.
            with store_file.opening(path):
                return _probed(path, real, "mode=ro&immutable=1")
        # Writing the remaining log back needs write access beside the log, so do this on a copy elsewhere.
        return self._recovered(path, real)

    def _recovered(self, path: Path, real: Path) -> sqlite3.Connection:
        """Return a connection to a copy, taken while nobody wrote.

        On return, the copy has no name any more, so the system frees the copy whenever the process ends.
        """
        try:
            with temporary_folder() as folder:
                return self._copied(path, real, folder)
        except OSError as error:
            raise StoreUnavailable(
                f"{path} has a log that must be read from a copy, and the copy cannot be made: {error}",
                hint="open the store once as a user who may write it, or free room for temporary files (TMPDIR)",
            ) from error

    def _copied(self, path: Path, real: Path, folder: Path) -> sqlite3.Connection:
        copy = folder / real.name
        for attempt in range(_COPIES):
            if attempt:
                time.sleep(_PAUSE_S * attempt)
            self.seen = before = signature(real)
            parts = [
                real,
                *(
                    Path(p)
                    for p in (store_file.log_of(real), store_file.journal_of(real))
                    if store_file.waiting_bytes(p)
                ),
            ]
            for old in folder.iterdir():
                old.unlink()
            try:
                copy_parts(parts, folder)
            except OSError:
                if signature(real) == before:
                    raise
            if signature(real) != before:
                continue  # a writer was at work, so the parts may not fit together
            try:
                with store_file.opening(path):
                    _bring_in(path, copy)
                    return _probed(path, copy, "mode=ro&immutable=1")
            except CorruptStore:
                if attempt == _COPIES - 1:
                    raise
        raise StoreUnavailable(
            f"{path} is being written, and cannot be copied meanwhile", hint="wait a moment, then open it again"
        )

    def close(self) -> None:
        """Close the connection."""
        if hasattr(self, "connection"):
            self.connection.close()


def _bring_in(path: Path, copy: Path) -> None:
    """Write the logs of a copy back, so that a single file is the whole store."""
    with closing(store_file.connect_plain(copy, "mode=rw")) as connection:
        connection.execute("BEGIN")
        store_file.identify(connection, path, copy)
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _probed(path: Path, real: Path, options: str) -> sqlite3.Connection:
    connection = store_file.connect_plain(real, options)
    try:
        store_file.admit(connection, path, real, writes=False)
        connection.executescript(f"{store_file.patience()}; PRAGMA query_only=1")
    except BaseException:
        connection.close()
        raise
    return connection
