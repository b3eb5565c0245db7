"""Opens a store for reading, also if the file or its folder cannot be written.

Three ways, the first that works: through the log that writers share; from the file alone if nobody has a log; or from
a private copy if a log was left behind that only a writer could bring in.
"""

import os
import shutil
import sqlite3
import tempfile
import time
import weakref
from pathlib import Path

from backends.errors import CorruptStore, StoreUnavailable
from backends.sqlite import file
from backends.sqlite.faults import FAULTS, code_of, is_full
from backends.sqlite.foreign_journal import refuse_foreign_journal
from backends.sqlite.foreign_log import refuse_foreign_log

_BLOCKED = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}
_COPIES = 5
_PAUSE_S = 0.05


def signature(real: Path) -> tuple[int, ...]:
    """What tells that the parts of a store are as they were: device, inode, size and time of the file and its logs."""
    found: list[int] = []
    for part in (str(real), file.log_of(real), file.journal_of(real)):
        try:
            status = os.stat(part)  # noqa: PTH116 - paid for every call
        except OSError:
            found.append(-1)
            continue
        if part == str(real) or status.st_size:
            found += (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    return tuple(found)


class ReadOnlyConnection:
    """A connection that only reads, and the private copy that it may need.

    Args:
        path: The file as the user named it.
        real: The same without symbolic links.

    Attributes:
        connection: What to read from.
        detached: True if it does not see what others write: then look whether `signature` is still `seen`.
        seen: The signature of what is read; empty if it is not detached.
    """

    def __init__(self, path: Path, real: Path) -> None:
        self.detached = False
        self.seen: tuple[int, ...] = ()
        self._copy: Path | None = None
        try:
            self.connection = self._open(path, real)
        except BaseException:
            self.close()
            raise

    def _open(self, path: Path, real: Path) -> sqlite3.Connection:
        log = file.log_of(real)
        if file.waiting_bytes(log):
            refuse_foreign_log(real, log)
        if file.waiting_bytes(file.journal_of(real)):
            refuse_foreign_journal(real, file.journal_of(real))
        writes = file.may_write(real)
        # If there is no log, SQLite would make one and could not remove it: the file's owner could not write any more.
        if writes or os.path.lexists(log):
            with file.opening(path):
                try:
                    # A reader that may write does so too: only then SQLite removes its files at the last close.
                    return _probed(path, real, "mode=rw" if writes else "mode=ro")
                except FAULTS as error:
                    if isinstance(error, UnicodeDecodeError) or not (code_of(error) in _BLOCKED or is_full(error)):
                        raise
        self.detached = True
        self.seen = signature(real)
        if not file.waiting_bytes(log) and not file.waiting_bytes(file.journal_of(real)):
            # Nobody can be writing without a log, so the file alone is the whole store.
            with file.opening(path):
                return _probed(path, real, "mode=ro&immutable=1")
        # A log was left behind, and bringing it in needs to write beside it: do that elsewhere.
        return self._recovered(path, real)

    def _recovered(self, path: Path, real: Path) -> sqlite3.Connection:
        """A connection to a copy that was taken while nobody wrote."""
        folder = Path(tempfile.mkdtemp(prefix="kbstore-"))
        self._copy = folder
        self._remove = weakref.finalize(self, _remove, folder, os.getpid())
        copy = folder / real.name
        for attempt in range(_COPIES):
            if attempt:
                time.sleep(_PAUSE_S * attempt)
            self.seen = before = signature(real)
            parts = [real, *(Path(p) for p in (file.log_of(real), file.journal_of(real)) if file.waiting_bytes(p))]
            for old in folder.iterdir():
                old.unlink()
            try:
                _copy_parts(parts, folder)
            except OSError as error:
                if signature(real) == before:
                    raise StoreUnavailable(
                        f"{path} has a log that must be read from a copy, and the copy cannot be made: {error}",
                        hint="free room for temporary files, or open the store once as a user who may write it",
                    ) from error
            if signature(real) != before:
                continue  # a writer was at work, so the parts need not fit together
            try:
                with file.opening(path):
                    return _probed(path, copy, "mode=rw")
            except CorruptStore:
                if attempt == _COPIES - 1:
                    raise
        raise StoreUnavailable(
            f"{path} is being written, and cannot be copied meanwhile", hint="wait a moment, then open it again"
        )

    def close(self) -> None:
        """Close the connection and remove its copy."""
        if hasattr(self, "connection"):
            self.connection.close()
        if self._copy is not None:
            self._remove()


def _copy_parts(parts: list[Path], folder: Path) -> None:
    """Copy files into a folder, in a process of its own: closing a file here would drop SQLite's locks on it."""
    if os.name != "posix":  # locks belong to descriptors there
        for part in parts:
            shutil.copyfile(part, folder / part.name)
        return
    import subprocess  # only for such a copy

    done = subprocess.run(["cp", "--", *map(str, parts), str(folder)], capture_output=True, check=False)
    if done.returncode:
        raise OSError(done.stderr.decode(errors="replace").strip())
    for part in parts:
        (folder / part.name).chmod(0o600)


def _remove(folder: Path, pid: int) -> None:
    if os.getpid() == pid:  # a child of the process that made the copy lets it be
        shutil.rmtree(folder, ignore_errors=True)


def _probed(path: Path, real: Path, options: str) -> sqlite3.Connection:
    connection = file.connect_plain(real, options)
    try:
        file.identify(connection, path, real)
        connection.execute("PRAGMA query_only=1")
        file.refuse_foreign_schema(connection, path, writes=False)
    except BaseException:
        connection.close()
        raise
    return connection
