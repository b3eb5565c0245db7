"""Copies a store into one file while others write it, and puts such a file in the place of a store.

Copying a live file with other tools loses what only its log holds; moving one over a store beside the old log destroys
it. SQLite's own backup reads through the log and sees one moment, so both directions go through it, and what is
replaced is kept under another name.
"""

import contextlib
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from backends.errors import CorruptStore, ReadOnlyStore, StoreExists, StoreNotFound, StoreUnavailable
from backends.sqlite import file
from backends.sqlite.faults import code_of, translating
from backends.sqlite.foreign_log import refuse_foreign_log
from backends.sqlite.read_only import ReadOnlyConnection

_PATIENCE_S = 1.0
"""How long `restore` waits for others to close the store."""


def backup(location: str, target: Path, check: Callable[[str], None] | None = None) -> Path:
    """Write a store, as it is at one moment, into a new file.

    Args:
        location: The store.
        target: The file to make; in a folder, ``kb.db``.
        check: Called with the finished copy before it gets its name; if it raises, there is no copy.

    Returns:
        The file.

    Raises:
        StoreExists: The target exists.
        StoreUnavailable: It cannot be written.
    """
    path = file.path_of(location)
    target = file.path_of(str(target))
    if os.path.lexists(target):
        raise StoreExists(f"{target} exists already", hint="name a file that does not exist")
    with _draft(path, target) as draft:
        if check is not None:
            check(str(draft))
        file.publish(draft, target)
    return target


def restore(location: str, source: Path, kept: str, check: Callable[[str], None] | None = None) -> Path | None:
    """Put a copy of a backup in the place of a store; what it replaces is kept beside it.

    Args:
        location: The store; it may be missing or damaged.
        source: The backup, which stays as it is.
        kept: What is put behind the name of the file that is replaced.
        check: Called with the finished copy before it takes the store's place; if it raises, nothing is changed.

    Returns:
        The file that was replaced, under its new name; None if there was none.

    Raises:
        StoreUnavailable: Another process, or another handle of this one, has the store open; nothing was changed.
    """
    path = Path(os.path.realpath(file.path_of(location)))
    source = file.path_of(str(source))
    if not path.parent.is_dir():
        raise StoreNotFound(f"the folder {path.parent} does not exist", hint="create it first")
    if not os.access(path.parent, os.W_OK):
        raise ReadOnlyStore(f"the folder {path.parent} may not be written", hint="change its mode, or be its owner")
    if path.exists() and source.exists() and path.samefile(source):
        raise StoreExists(f"{source} is the store itself", hint="name the backup")
    with _draft(source, path) as draft:
        if check is not None:
            check(str(draft))
        with _exclusive(path):
            return _swap(draft, path, kept)


@contextlib.contextmanager
def _draft(source: Path, target: Path) -> Iterator[Path]:
    """A copy of a store beside the place where it is wanted; removed in the end unless it got another name."""
    found = file.look_at(source)
    draft = file.draft_of(target)
    reader = ReadOnlyConnection(source, source.resolve())
    try:
        draft.unlink(missing_ok=True)
        mode = stat.S_IMODE(found.st_mode)
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode))
        with translating(str(target)), contextlib.closing(sqlite3.connect(draft, isolation_level=None)) as copy:
            copy.execute("PRAGMA synchronous=FULL")
            reader.connection.backup(copy)
        yield draft
    except OSError as error:
        raise StoreUnavailable(
            f"{target} cannot be written: {error.strerror}", hint="check its folder, or name another place"
        ) from error
    finally:
        reader.close()
        for leftover in file.family(draft):
            with contextlib.suppress(OSError):
                leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Keep everybody else out of a store, with its log written back; a store that SQLite cannot read is left alone."""
    connection: sqlite3.Connection | None = None
    log = file.log_of(path)
    try:
        if path.is_file() and path.stat().st_size:
            if file.waiting_bytes(log):
                refuse_foreign_log(path, log)
            connection = file.connect_plain(path, "mode=rw")
            connection.execute(f"PRAGMA busy_timeout={round(1000 * _PATIENCE_S)}")
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("PRAGMA journal_mode=DELETE").fetchone()
            connection.execute("PRAGMA journal_mode=MEMORY").fetchone()
            connection.execute("BEGIN EXCLUSIVE")
            Path(file.journal_of(path)).unlink(missing_ok=True)  # what the change of the mode left, empty
    except StoreUnavailable:
        pass  # the log is another file's: nobody can be using both
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
            connection = None
        if code_of(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreUnavailable(
                f"{path} is open elsewhere, so it is not replaced",
                hint="close every program that has it open, then try again",
            ) from error
        if code_of(error) not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            with translating(str(path)):
                raise
    try:
        yield
    finally:
        if connection is not None:
            connection.close()


def _swap(draft: Path, path: Path, kept: str) -> Path | None:
    """Give the draft the store's name, and what had it another one. The logs go first: they are not the draft's."""
    aside = _free_name(path, kept)
    moved = None
    for member in reversed(file.family(path)):
        if not os.path.lexists(member):
            continue
        name = aside.with_name(aside.name + member.name.removeprefix(path.name))
        if member != path:
            member.rename(name)
            continue
        moved = name
        try:
            os.link(member, name)  # so that the store's own name is never without a file
        except OSError:
            member.rename(name)
    draft.replace(path)
    file.sync_folder(path.parent)
    return moved


def _free_name(path: Path, kept: str) -> Path:
    for number in range(1, 1000):
        name = path.with_name(f"{path.name}.{kept}" + (f"-{number}" if number > 1 else ""))
        if not any(os.path.lexists(member) for member in file.family(name)):
            return name
    raise CorruptStore(f"{path.parent} is full of files named {path.name}.{kept}", hint="move them away")
