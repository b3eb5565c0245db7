"""Copying a store into a single file while others write, and restoring a store from such a file.

A copy of a live file by other tools loses the data that only the log holds, and a file moved over a store beside the
old log is destroyed by that log. SQLite's own backup reads through the log and sees a single moment, so both directions
use SQLite's backup. A replaced store is kept under another name.
"""

import contextlib
import errno
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from kbstore.backends.sqlite.connection import Connection
from kbstore.backends.sqlite.errors import FAULTS, code_of, marked_read_only, translating
from kbstore.backends.sqlite.files import store_file
from kbstore.backends.sqlite.files.drafts import drafting
from kbstore.backends.sqlite.files.foreign_journal import refuse_foreign_journal
from kbstore.backends.sqlite.files.foreign_log import refuse_foreign_log
from kbstore.backends.sqlite.files.names import family
from kbstore.backends.sqlite.files.read_only import ReadOnlyConnection
from kbstore.kit.errors import CorruptStore, ReadOnlyStore, StoreExists, StoreNotFound, StoreUnavailable
from kbstore.kit.forks import parting
from kbstore.kit.os_errors import advice

_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
_LOG_IN_USE = 128
_PATIENCE_S = 1.0
"""How long `restore` waits until other programs have closed the store."""


def backup(location: str, target: Path, check: Callable[[str], None] | None = None) -> Path:
    """Write a store, as of one moment, into a new file.

    Args:
        location: The store.
        target: The file to make; in a folder, ``kb.db``.
        check: Called with the finished copy before the copy gets the final name; if the call raises, there is no copy.

    Returns:
        The file.

    Raises:
        StoreExists: The target exists.
        StoreUnavailable: The target cannot be written.
        CorruptStore: The store, and so the copy, has a trigger or other code that kbstore did not make.
    """
    path = store_file.path_of(location)
    target = store_file.path_of(str(target))
    if os.path.lexists(target):
        raise StoreExists(f"{target} exists already", hint="name a file that does not exist")
    found = store_file.look_at(path)
    reader = _reader(path)
    with _draft(reader, path, found, target) as draft:
        if check is not None:
            check(str(draft))
        store_file.publish(draft, target)
    return target


def restore(location: str, source: Path, kept: str, check: Callable[[str], None] | None = None) -> Path | None:
    """Replace a store with a copy of a backup; the replaced file is kept beside the store.

    Args:
        location: The store; it may be missing or damaged.
        source: The backup, which stays unchanged; in a folder, ``kb.db``.
        kept: A suffix for the name of the replaced file.
        check: Called with the finished copy before the store is replaced; if the call raises, nothing is changed.

    Returns:
        The replaced file under the new name, or a log without a file; None if neither existed.

    Raises:
        StoreUnavailable: Another process, or another handle of this process, has the store open; nothing was changed.
        CorruptStore: The backup is damaged, or has a trigger that kbstore did not make; nothing was changed.
    """
    path = Path(os.path.realpath(store_file.path_of(location)))
    source = store_file.path_of(str(source))
    if not path.parent.is_dir():
        raise StoreNotFound(f"the folder {path.parent} does not exist", hint="create it first")
    if not os.access(path.parent, os.W_OK):
        raise ReadOnlyStore(f"the folder {path.parent} may not be written", hint="change its mode, or be its owner")
    if path.exists() and source.exists() and path.samefile(source):
        raise StoreExists(f"{source} is the store itself", hint="name the backup")
    if path.is_file() and not os.access(path, os.W_OK):
        raise ReadOnlyStore(f"{path} may not be written", hint="change its mode, then try again")
    reader = _backup_reader(source)
    like = path if path.is_file() else source
    with _draft(reader, source, like.stat(), path) as draft:
        if check is not None:
            check(str(draft))
        with _exclusive(path):
            return _swap(draft, path, kept)


def _reader(path: Path) -> ReadOnlyConnection:
    """Open a store to copy the whole file, and refuse a schema that a writer of the copy would run."""
    reader = ReadOnlyConnection(path, path.resolve())
    try:
        store_file.refuse_foreign_schema(reader.connection, path, writes=True)
    except BaseException:
        reader.close()
        raise
    return reader


def _backup_reader(source: Path) -> ReadOnlyConnection:
    """Open a backup; errors name the backup, whatever the state of the store."""
    try:
        store_file.look_at(source)
        return _reader(source)
    except StoreNotFound as error:
        raise StoreNotFound(str(error), hint="check the path of the backup; nothing was changed") from error
    except CorruptStore as error:
        raise CorruptStore(str(error), hint="try an older backup; nothing was changed") from error


@contextlib.contextmanager
def _draft(reader: ReadOnlyConnection, source: Path, like: os.stat_result, target: Path) -> Iterator[Path]:
    """Give a copy of a store beside the target; a copy without another name is removed at the end.

    Args:
        reader: The store to copy, closed at the end.
        source: The file of that store.
        like: The file whose mode the copy gets; the owner may always write the copy.
        target: The final place.
    """
    try:
        with drafting(target) as draft:
            mode = stat.S_IMODE(like.st_mode) | stat.S_IRUSR | stat.S_IWUSR
            os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode))
            with translating(str(target)), contextlib.closing(sqlite3.connect(draft, isolation_level=None)) as copy:
                copy.execute("PRAGMA synchronous=FULL")
                reader.connection.backup(copy)
                # The copy gets a new mark, so that a log of the original store is never taken for the copy's log.
                (number,) = copy.execute("SELECT random() & 1073741823").fetchone()
                _mark(copy, number, source)
            draft.chmod(mode)
            yield draft
    except OSError as error:
        raise StoreUnavailable(
            f"{target} cannot be written: {error.strerror}",
            hint=advice(error) or "check its folder, or name another place",
        ) from error
    finally:
        reader.close()


def _mark(copy: sqlite3.Connection, number: int, source: Path) -> None:
    try:
        copy.execute(f"PRAGMA user_version={number:d}")
    except sqlite3.Error as error:
        if code_of(error) == sqlite3.SQLITE_READONLY:  # by the first page, which is a copy of the source's
            raise marked_read_only(str(source)) from error
        raise


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Keep all others out of a store, with the log written back; for a store that SQLite cannot use, lock the log.

    Any failure but a lock means that SQLite cannot use the file: the file is replaced and kept, so nothing in it is
    needed.

    Raises:
        StoreUnavailable: Another process or handle has the store open.
    """
    connection: sqlite3.Connection | None = None
    keys = contextlib.ExitStack()
    try:
        if not path.is_file() or not path.stat().st_size or _is_foreign(path):
            keys.enter_context(_lone_log(path))
        else:
            before = path.stat()
            connection = store_file.connect_plain(path, "mode=rw")
            connection.execute(f"PRAGMA busy_timeout={round(1000 * _PATIENCE_S)}")
            connection.execute("PRAGMA application_id").fetchone()
            if not os.path.samestat(before, path.stat()):
                # Another restore was faster: the log at this path belongs to the new file, not to the open file.
                connection.close()
                raise _open_elsewhere(path)
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("PRAGMA journal_mode=DELETE").fetchone()
            connection.execute("PRAGMA journal_mode=MEMORY").fetchone()
            connection.execute("BEGIN EXCLUSIVE")
            Path(store_file.journal_of(path)).unlink(missing_ok=True)  # an empty file left by the change of mode
    except FAULTS as error:
        if connection is not None:
            connection.close()
            connection = None
        if isinstance(error, sqlite3.Error) and code_of(error) in _LOCKED:
            raise _open_elsewhere(path) from error
        keys.enter_context(_lone_log(path))
    with keys:
        try:
            yield
        finally:
            if connection is not None:
                connection.close()


def _is_foreign(path: Path) -> bool:
    """Return whether the log beside a file belongs to another file; SQLite would write such a log over the file."""
    log = store_file.log_of(path)
    try:
        if store_file.waiting_bytes(log):
            refuse_foreign_log(path, log)
        if store_file.waiting_bytes(store_file.journal_of(path)):
            refuse_foreign_journal(path, store_file.journal_of(path))
    except StoreUnavailable:
        return True
    return False


@contextlib.contextmanager
def _lone_log(path: Path) -> Iterator[None]:
    """Keep others from the log of a file without opening the file in SQLite.

    Every process with an open log holds a shared lock on byte 128 of the ``-shm`` file
    (https://www.sqlite.org/walformat.html, "locks"). An exclusive lock proves that nobody has the log open, and keeps
    others out.
    """
    used = [c for c in parting() if isinstance(c, Connection) and c.is_open and c.real == path]
    if used:
        raise _open_elsewhere(path)
    try:
        import fcntl

        handle = os.open(f"{path}-shm", os.O_RDWR | os.O_CLOEXEC)
    except (ImportError, OSError):
        yield  # nobody has the log open
        return
    try:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _LOG_IN_USE)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise _open_elsewhere(path) from error
        yield
    finally:
        os.close(handle)


def _open_elsewhere(path: Path) -> StoreUnavailable:
    return StoreUnavailable(
        f"{path} is open elsewhere, so it is not replaced", hint="close every program that has it open, then try again"
    )


def _swap(draft: Path, path: Path, kept: str) -> Path | None:
    """Give the draft the store's name, and the old files other names: logs first, because they are not the draft's."""
    aside = _free_name(path, kept)
    moved = linked = None
    for member in reversed(family(path)):
        if not os.path.lexists(member):
            continue
        name = aside.with_name(aside.name + member.name.removeprefix(path.name))
        if member != path:
            member.rename(name)
            if name.name.endswith("-wal") and name.stat().st_size:
                moved = name
            continue
        moved = name
        try:
            os.link(member, name)  # a link first, so that the store's name always has a file
            linked = name
        except OSError:
            member.rename(name)
    draft.replace(path)
    store_file.sync_folder(path.parent)
    if linked is not None and not os.path.lexists(linked):
        raise StoreUnavailable(
            f"the backup is at {path}, but {linked}, under which the replaced store was kept, is gone: another program "
            "removed it",
            hint=f"stop what removes files from {path.parent}, and look for another copy (an older backup, a clone)",
        )
    return moved


def _free_name(path: Path, kept: str) -> Path:
    for number in range(1, 1000):
        name = path.with_name(f"{path.name}.{kept}" + (f"-{number}" if number > 1 else ""))
        if not any(os.path.lexists(member) for member in family(name)):
            return name
    raise CorruptStore(f"{path.parent} is full of files named {path.name}.{kept}", hint="move them away")
