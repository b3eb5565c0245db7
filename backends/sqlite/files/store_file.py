"""Finding, making and opening the file of a store, with a clear error for anything else at the path.

A new store is made whole under another name and then linked into place, so that nobody ever meets half a store. An
existing file is looked at before SQLite opens the file, because SQLite would turn an empty file into a database. The
header is read through SQLite, because only SQLite may open the file.
"""

import contextlib
import errno
import os
import sqlite3
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from kbstore.backends.sqlite import schema
from kbstore.backends.sqlite.errors import RESTORE_HINT, code_of, translated, translating
from kbstore.backends.sqlite.files.drafts import drafting, remove_left_drafts, second_names
from kbstore.backends.sqlite.files.foreign_journal import refuse_foreign_journal
from kbstore.backends.sqlite.files.foreign_log import refuse_foreign_log
from kbstore.backends.sqlite.files.names import family, harden, uri_of
from kbstore.backends.sqlite.shares import locks_work
from kbstore.kit.errors import (
    CorruptStore,
    ReadOnlyStore,
    StoreExists,
    StoreNotFound,
    StoreUnavailable,
    UnsupportedFormat,
)
from kbstore.kit.os_errors import advice

FILE_NAME = "kb.db"
"""The file of a store whose location is a folder."""

BUSY_TIMEOUT_S = 30.0
_FIRST_WAIT_S = 1.0
_MAGIC = b"SQLite format 3\0"
_SMALLEST_BYTES = 512
"""The smallest page of SQLite, and so the smallest file that SQLite has open."""
_SECOND_LOOK_S = 0.1
"""A store that is being created has two names for less than this time."""
_PATIENCE_S = 5.0
"""How long to wait while another process makes or replaces the store."""
_REWRITE_BYTES = 256 * 1024
_CHECKPOINT_PAGES = 4096
"""The WAL is written back at 8 MiB, within a commit: a page changed by many commits is then written back only once."""
_DURABLY = (
    f"PRAGMA synchronous=FULL; PRAGMA recursive_triggers=1; PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}"
    + ("; PRAGMA fullfsync=1" if sys.platform == "darwin" else "")  # on other systems fsync reaches the disk
)
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}


def path_of(location: str) -> Path:
    """Return the file of a location: the file itself, or ``kb.db`` in a folder."""
    text = location[7:] if location.lower().startswith("sqlite:") else location
    if text.startswith("///"):
        text = text[2:]
    path = Path(text)
    return path / FILE_NAME if os.path.isdir(path) or text.endswith(os.sep) else path  # noqa: PTH112 - never raises


def create_file(path: Path, mode: int = 0o666) -> None:
    """Make an empty store at a path, whole or not at all.

    Args:
        path: The path of the file.
        mode: The permissions, further narrowed by the process's umask. SQLite gives the files beside the store the same
            mode.

    Raises:
        StoreExists: The path is taken.
        StoreNotFound: The folder does not exist.
        StoreUnavailable: The folder cannot be written.
    """
    if os.path.lexists(path):
        raise StoreExists(f"{path} exists already", hint="open it, or choose another place")
    for left in family(path)[1:]:
        if left.name.endswith(("-wal", "-journal")) and os.path.lexists(left):
            # SQLite would take such a log for the new file's, and write the old pages over the new file.
            raise StoreExists(
                f"{left} is there, of a store that was deleted or moved without it",
                hint="put it back beside that store, or delete it; or choose another place",
            )
    if not path.parent.is_dir():
        raise StoreNotFound(f"the folder {path.parent} does not exist", hint="create it first")
    try:
        with drafting(path) as draft:
            os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode))
            with (
                translating(str(path)),
                contextlib.closing(sqlite3.connect(draft, isolation_level=None, timeout=0)) as connection,
            ):
                connection.execute("PRAGMA synchronous=FULL")
                schema.create(connection)
                # Closing would do this too, but report no failure.
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            publish(draft, path)
    except OSError as error:
        raise StoreUnavailable(
            f"{path} cannot be created: {error.strerror}",
            hint=advice(error) or "check its folder, or choose another place",
        ) from error


def publish(draft: Path, path: Path) -> None:
    """Give the finished draft the final name, unless another process was faster."""
    try:
        os.link(draft, path)
    except FileExistsError:
        raise StoreExists(f"{path} exists already", hint="open it, or choose another place") from None
    except OSError:
        # No hard links here (FAT, some network shares): claim the name, then rename over the claim.
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except FileExistsError:
            raise StoreExists(f"{path} exists already", hint="open it, or choose another place") from None
        draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable, if the system offers a way."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return  # systems that cannot open a folder sync names by themselves
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(handle)


def look_at(path: Path) -> os.stat_result:
    """Make sure that a path names a file that SQLite may open, without opening the file.

    A process that closes any descriptor of a file drops all locks of the process on the file, SQLite's locks as well
    (https://www.sqlite.org/howtocorrupt.html, section 2.2). So only SQLite opens the file.

    Raises:
        StoreNotFound: The path does not exist, or is not a file.
        CorruptStore: The file is empty or cut off, or has the name of a store without being an SQLite file.
        StoreUnavailable: The file may not be read, or has a second name.
    """
    try:
        found = _single(path, path.stat())
    except (FileNotFoundError, NotADirectoryError):
        if waiting_bytes(log_of(path)):
            raise StoreNotFound(
                f"there is no store at {path}, only its log {log_of(path)}, which may hold its newest versions",
                hint="put the file back beside its log; both belong together",
            ) from None
        if path.name == FILE_NAME and path.parent.is_dir():
            raise StoreNotFound(
                f"there is no store in {path.parent} (no {FILE_NAME})",
                hint=f"check the path, create one there, or {RESTORE_HINT}",
            ) from None
        raise StoreNotFound(f"there is no store at {path}", hint="check the path, or create one there") from None
    except OSError as error:
        raise StoreUnavailable(
            f"{path} cannot be read: {error.strerror}", hint=advice(error) or "check the path, and its permissions"
        ) from error
    if stat.S_ISDIR(found.st_mode):
        raise StoreNotFound(f"{path} is a folder, not a store", hint="name the file of the store")
    if not stat.S_ISREG(found.st_mode):
        raise StoreNotFound(f"{path} is not a regular file", hint="name the file of the store")
    if found.st_size == 0:
        raise CorruptStore(f"{path} is empty", hint=f"{RESTORE_HINT}, or delete it and create a new store")
    if not os.access(path, os.R_OK):
        raise StoreUnavailable(f"{path} cannot be read: Permission denied", hint="check its permissions")
    if found.st_size < _SMALLEST_BYTES:
        # SQLite never has such a small file open, so reading the file here drops no lock.
        if not path.read_bytes().startswith(_MAGIC[: found.st_size]):
            raise _unreadable(path)
        raise CorruptStore(f"{path} is cut off after {found.st_size} bytes", hint=RESTORE_HINT)
    return found


def _unreadable(path: Path) -> StoreNotFound | CorruptStore:
    """Return the error for a file that SQLite cannot read: damage, if the file has the name of a store."""
    if path.name == FILE_NAME:
        return CorruptStore(
            f"{path} is damaged: it is not an SQLite file any more, or its first page is damaged", hint=RESTORE_HINT
        )
    return StoreNotFound(
        f"{path} is not a store: it is not an SQLite file, or its first page is damaged",
        hint=f"check the path; if a store was here, {RESTORE_HINT}",
    )


def _single(path: Path, found: os.stat_result) -> os.stat_result:
    """Refuse a file with two names: each name would have a separate log, and commits would be lost between them."""
    if found.st_nlink < 2 or not stat.S_ISREG(found.st_mode):
        return found
    real = Path(os.path.realpath(path))
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        # The second name is from a process that made the store, or was about to keep it: killed, or still working.
        with contextlib.suppress(OSError):
            remove_left_drafts(real.parent)
        time.sleep(_SECOND_LOOK_S)
        found = path.stat()
        if found.st_nlink < 2:
            return found
        ours = second_names(real)
        if not ours or time.monotonic() >= deadline:
            break
    if ours:
        raise StoreUnavailable(
            f"{path} is being made or replaced, or that was cut short: it has the name {ours[0]} too",
            hint=f"try again when no other kbstore command runs; then a name that find {real.parent} -samefile {real} "
            "lists beside it may be deleted",
        )
    raise StoreUnavailable(
        f"{path} has {found.st_nlink} names (hard links), and each would get a write-ahead log of its own: commits "
        "would be lost",
        hint=f"delete the other names (find DIRECTORY -samefile {path} lists them)",
    )


class LogState(NamedTuple):
    """The state of a log.

    Attributes:
        identity: Device and inode of the log and of the index, ``-shm``; None if a file is missing.
        size_bytes: Size of the log, 0 for a missing log.
    """

    identity: tuple[int, ...] | None
    size_bytes: int


class Admitted(NamedTuple):
    """A store that passed all checks on opening.

    Attributes:
        identity: Device and inode of the file.
        log: The log that SQLite has open; without an identity if SQLite has not opened a log yet.
        schema_number: The number of the schema, which increases with every change of the schema.
    """

    identity: tuple[int, int]
    log: LogState
    schema_number: int


def admit(connection: sqlite3.Connection, path: Path, real: Path, *, writes: bool) -> Admitted:
    """Check, in one transaction, that a database is a store, and that the schema runs only kbstore's own code.

    Args:
        connection: An unused connection, which begins no transaction by itself.
        path: The file as the user named it.
        real: The same file without symbolic links.
        writes: False if nothing will be written.

    Raises:
        StoreNotFound, UnsupportedFormat, CorruptStore: See `identify` and `refuse_foreign_schema`.
    """
    connection.execute("BEGIN")  # a single lock for all reads: each lock costs as much as a read
    status, log = identify(connection, path, real)
    number = refuse_foreign_schema(connection, path, writes=writes)
    connection.execute("COMMIT")
    return Admitted((status.st_dev, status.st_ino), log, number)


def identify(connection: sqlite3.Connection, path: Path, real: Path) -> tuple[os.stat_result, LogState]:
    """Check, in a transaction, that an open database is a whole store in a format that this version reads.

    Returns:
        The file's status, and the log.

    Raises:
        StoreNotFound: The database belongs to another program.
        UnsupportedFormat: A newer kbstore wrote the store.
        CorruptStore: The file is cut off, or the header was changed.
    """
    application = _first_look(connection, real)
    if application >> 8 != schema.APPLICATION_ID >> 8:
        if not schema.survey(connection).missing:
            raise CorruptStore(f"{path} is damaged: its header does not say that it is a store", hint=RESTORE_HINT)
        raise StoreNotFound(
            f"{path} is not a store: it is an SQLite database of another program", hint="check the path"
        )
    version = application & 0xFF
    if version > schema.FORMAT:
        raise UnsupportedFormat(
            f"{path} is in format {version}, which a newer kbstore wrote; this one reads format {schema.FORMAT}",
            hint="install a newer kbstore",
        )
    if version != schema.FORMAT:
        raise CorruptStore(f"{path} is in format {version}, which no kbstore wrote", hint=RESTORE_HINT)
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    log = look_at_log(real)
    found = os.stat(real)  # noqa: PTH116 - paid for every opening
    # While a log is being written back, the header may be ahead of the rest of the file. If the log was empty when the
    # transaction began, nobody writes to the file until the transaction ends.
    if not log.size_bytes and (found.st_size < page_bytes * pages or found.st_size % page_bytes):
        what = f"cut off after {found.st_size} of {page_bytes * pages} bytes"
        if found.st_size > page_bytes * pages:
            what = f"its {found.st_size} bytes are not whole pages of {page_bytes}"
        raise CorruptStore(f"{path} is damaged: {what}", hint=RESTORE_HINT)
    return found, log


def _first_look(connection: sqlite3.Connection, real: Path) -> int:
    """Return the application id. If locked, wait long, but only shortly on a share without working locks."""
    try:
        (found,) = connection.execute("PRAGMA application_id").fetchone()
    except sqlite3.OperationalError as error:
        if code_of(error) != sqlite3.SQLITE_BUSY or not locks_work(real.parent):
            raise
        connection.execute(patience())
        (found,) = connection.execute("PRAGMA application_id").fetchone()
    return int(found)


def patience() -> str:
    """Return the statement that makes a connection wait long for locks."""
    return f"PRAGMA busy_timeout={round(1000 * BUSY_TIMEOUT_S)}"


def log_of(path: Path) -> str:
    """Return the name of a file's write-ahead log."""
    return f"{path}-wal"


def journal_of(path: Path) -> str:
    """Return the name of a file's rollback journal, left by a killed program that changed the journal mode."""
    return f"{path}-journal"


def look_at_log(path: Path) -> LogState:
    """Return the state of a file's log, from the log and the index."""
    try:
        log = os.stat(log_of(path))  # noqa: PTH116 - paid for every commit
    except OSError:
        return LogState(None, 0)
    try:
        index = os.stat(f"{path}-shm")  # noqa: PTH116
    except OSError:
        return LogState(None, log.st_size)
    return LogState((log.st_dev, log.st_ino, index.st_dev, index.st_ino), log.st_size)


def waiting_bytes(log: str) -> int:
    """Return the size of a log or journal, 0 for a missing file."""
    try:
        return os.stat(log).st_size  # noqa: PTH116 - paid for every opening
    except OSError:
        return 0


def may_write(path: Path) -> bool:
    """Return whether the file and the folder allow writing."""
    return os.access(path, os.W_OK) and os.access(os.path.dirname(path), os.W_OK)  # noqa: PTH120 - paid for every opening


def connect(path: Path, real: Path) -> tuple[sqlite3.Connection, Admitted]:
    """Make a connection that writes durably.

    Args:
        path: The file as the user named it.
        real: The same file without symbolic links; SQLite keeps the log beside this file.

    Raises:
        ReadOnlyStore: The file or its folder may not be written.
        StoreUnavailable: The file is not on the device of its folder; or see `refuse_foreign_log`.
        CorruptStore, StoreNotFound, UnsupportedFormat: See `admit` and `faults.translated`.
    """
    if not may_write(real):
        raise ReadOnlyStore(f"{path} or its folder may not be written", hint="open it read-only")
    if waiting_bytes(log_of(real)):
        refuse_foreign_log(real, log_of(real))
    if waiting_bytes(journal_of(real)):
        refuse_foreign_journal(real, journal_of(real))
    with opening(path):
        connection = connect_plain(real, "mode=rw")
        try:
            found = admit(connection, path, real, writes=True)
            connection.executescript(f"{patience()}; {_DURABLY}")
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
            if mode != b"wal":
                raise StoreUnavailable(
                    f"{path} is where SQLite cannot share memory between processes",
                    hint="keep the store on a local disk, or on an S3 bucket (see docs/s3.md)",
                )
            if found.log.identity is None:  # the file was in another journal mode, without a log
                connection.execute("BEGIN")
                connection.execute("PRAGMA user_version").fetchone()  # SQLite makes the log at the first read
                found = found._replace(log=look_at_log(real))
                connection.execute("COMMIT")
            if found.log.identity is not None and found.log.identity[0] != found.identity[0]:
                raise StoreUnavailable(
                    f"{path} is on another device than its folder (mounted alone into a container?), so other programs "
                    "would not see its log, and what is committed would be lost with it",
                    hint="mount the folder of the store in place of the file",
                )
        except BaseException:
            connection.close()
            raise
    return connection, found


def sync_names(path: Path) -> None:
    """Make the name of a new log durable before the first write. SQLite does so too, but ignores a failure.

    Raises:
        StoreUnavailable: The disk failed.
    """
    try:
        sync_folder(path.parent)
    except OSError as error:
        raise StoreUnavailable(
            f"the folder of {path} cannot be synced: {error.strerror}", hint="check the disk, then try again"
        ) from error


def rewrite_log(path: Path) -> None:
    """Write the bytes of the WAL over themselves and sync the file; the caller holds the write lock.

    After a failed sync the kernel may believe that unwritten pages are written. Written once more, the pages are dirty
    again, and the next sync reports the truth. There are no locks on the log, so the log may be opened beside SQLite.

    Raises:
        StoreUnavailable: The disk still fails.
    """
    try:
        handle = os.open(log_of(path), os.O_RDWR)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreUnavailable(
            f"the log of {path} cannot be opened: {error.strerror}", hint="check the disk"
        ) from error
    try:
        at = 0
        while data := os.pread(handle, _REWRITE_BYTES, at):
            at += os.pwrite(handle, data, at)
        os.fsync(handle)
    except OSError as error:
        raise StoreUnavailable(
            f"the disk failed under {path}: {error.strerror}", hint="check the disk, then try again"
        ) from error
    finally:
        os.close(handle)


@contextlib.contextmanager
def opening(path: Path) -> Iterator[None]:
    """Turn SQLite's errors while a file is opened into errors of kbstore; an unreadable file is not a store."""
    try:
        yield
    except sqlite3.Error as error:
        if code_of(error) == sqlite3.SQLITE_NOTADB:
            raise _unreadable(path) from error
        raise translated(error, str(path)) from error
    except UnicodeDecodeError as error:
        raise translated(error, str(path)) from error


def refuse_foreign_schema(connection: sqlite3.Connection, path: Path, *, writes: bool) -> int:
    """Read the schema, and make sure that using the tables runs nothing but kbstore's own code.

    A damaged or cut file raises here, not in the middle of work.

    Args:
        connection: A connection that has not used any table yet.
        path: The file as the user named it.
        writes: False if nothing will be written: then no trigger runs, and a damaged trigger is ignored here; `check`
            reports the fault.

    Returns:
        The number of the schema, which increases with every change of the schema.

    Raises:
        CorruptStore: A trigger, a view, a virtual table or an index may run something, or a table of kbstore is missing
            or different.
    """
    (number,) = connection.execute("PRAGMA schema_version").fetchone()
    found = schema.survey(connection)
    for kind, name in found.refused:
        if kind == "trigger" and not writes:
            continue
        what = f"{path} is refused: kbstore did not make the {kind} {name} in it as it is, and using the store runs it"
        quoted = name.replace('"', '""')
        drop = f'DROP {kind.split()[-1].upper()} "{quoted}"'
        own = name.lower() in schema.NAMES
        raise CorruptStore(
            what,
            hint=RESTORE_HINT
            if own
            else f"ask where the file comes from; if a tool of yours added it, remove it in SQLite: {drop}",
        )
    if lost := sorted(schema.TABLES.intersection(found.missing)):
        raise CorruptStore(f"{path} is damaged: its table {lost[0]} is missing", hint=RESTORE_HINT)
    return int(number)


def connect_plain(path: Path, options: str) -> sqlite3.Connection:
    """Return a plain connection: bytes for texts, explicit transactions, and a short wait for locks."""
    connection = sqlite3.connect(
        uri_of(path, options),
        uri=True,
        timeout=min(_FIRST_WAIT_S, BUSY_TIMEOUT_S),
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    # Headers are bytes here: nothing is decoded, so the digest finds a damaged header, not a codec.
    connection.text_factory = bytes
    try:
        harden(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def total_bytes(path: Path) -> int:
    """Return the size of the file and the WAL."""
    total = 0
    for member in family(path)[:2]:
        with contextlib.suppress(FileNotFoundError):
            total += member.stat().st_size
    return total
