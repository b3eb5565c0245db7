"""The connection of a process to the file, shared by all threads, and the transactions on the connection.

Rules, each with the damage that the rule prevents:

1. Every use happens under the same lock, and no lock or transaction outlives a call, so a slow reader never blocks a
   writer. The rule holds also for a call that a signal's exception ends.
2. A connection is never carried over a fork: two processes on the same connection would corrupt the file (see
   `kbstore.kit.forks`).
3. Each use first looks at the file: a deleted or replaced file is reported, so that no write is lost with the file. A
   writer looks again under the write lock, because `restore-backup` replaces the file under that lock.
4. After a failed COMMIT the connection is thrown away, because SQLite's memory and the disk may differ. A failed sync
   is never repeated: the kernel may report success the second time without having written. The next connection first
   writes the log once more, so that later writes never depend on unsynced bytes.
"""

import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from kbstore.backends.sqlite.errors import FAULTS, code_of, translated
from kbstore.backends.sqlite.files import store_file
from kbstore.backends.sqlite.files.foreign_log import holds_write, mark_write
from kbstore.backends.sqlite.files.read_only import ReadOnlyConnection, signature
from kbstore.backends.sqlite.interrupts import Pulse
from kbstore.backends.sqlite.shares import is_cut_off, log_lost
from kbstore.kit.errors import OutcomeUnknown, ReadOnlyStore, StoreNotFound, StoreUnavailable
from kbstore.kit.forks import close_before_forks, leak, parting, was_forked

_T = TypeVar("_T")

_START_ANEW = "this process cannot use the file any more: start a new one (exec or spawn), or fork while no call runs"
_READ = "BEGIN"
_WRITE = "BEGIN IMMEDIATE"
_LOST = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Connection:
    """A store's connection: opened at the first use, and again after a fork or a failure.

    Args:
        path: The file, as the user named it.
        read_only: Open the file for reading.

    Attributes:
        real: The file without symbolic links; SQLite keeps the log beside this file.
    """

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self.path = path
        self.read_only = read_only
        self.lock = threading.RLock()
        self._closed = False
        self._pid = 0
        self._connection: sqlite3.Connection | None = None
        self._reader: ReadOnlyConnection | None = None
        self.real = path
        self._identity: tuple[int, ...] = ()
        self._log: tuple[int, ...] | None = None
        self._log_bytes = 0
        self._doubtful = False
        self._busy = False
        self._strange = ""
        self._schema = -1
        self._pulse = Pulse()
        close_before_forks(self)
        with self.lock:
            self.get()

    @property
    def is_open(self) -> bool:
        """True if SQLite has the file open through this handle now."""
        return self._connection is not None

    # ---- uses -----------------------------------------------------------------------------------------------------

    def use(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Do work without a transaction: a single statement, or statements that may read different states."""
        return self._run(work, "")

    def read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Do work whose statements all read the same state of the store."""
        return self._run(work, _READ)

    def write(self, work: Callable[[sqlite3.Connection], _T], *, write_id: str | None = None) -> _T:
        """Do work in a durable transaction, which is undone if the work raises.

        Args:
            work: The work.
            write_id: The id of the write. With an id, a failed COMMIT is reported as `OutcomeUnknown`, because a
                repeated write could land twice.

        Raises:
            ReadOnlyStore: The store was opened for reading.
        """
        if self.read_only:
            raise ReadOnlyStore(f"{self.path} was opened read-only", hint="open it for writing")
        return self._run(work, _WRITE, write_id)

    def _run(self, work: Callable[[sqlite3.Connection], _T], begin: str, write_id: str | None = None) -> _T:
        """Run work on the connection, within the transaction that `begin` begins, if any.

        A signal handler may raise an exception after any call in here. At that moment the interpreter's ``with`` holds
        the lock and the transaction is inside `try`, so both end properly. For this reason all is in a single function,
        without a context manager written in Python.
        """
        with self.lock:
            connection = self.get(look=begin is not _WRITE)
            outer, self._busy = self._busy, True
            try:
                if connection.in_transaction and not outer:
                    connection.execute("ROLLBACK")  # a second signal interrupted the cleanup after the first
                if begin is not _WRITE:
                    self._pulse.watch(connection)
                else:
                    self._pulse.rest(connection)  # a signal must not come between a commit and its outcome
                if begin:
                    connection.execute(begin)
                    if begin is _WRITE:
                        self._look_again(connection)
                        self._look_at_schema(connection)
                        before = connection.total_changes
                        result = work(connection)
                        if connection.total_changes != before:
                            mark_write(connection)
                        self._commit(connection, write_id)
                        self._log_bytes = store_file.waiting_bytes(store_file.log_of(self.real))
                    else:
                        result = work(connection)
                        self._commit(connection, None)
                else:
                    result = work(connection)
                return result
            except BaseException as error:
                try:
                    if begin and self._connection is connection and connection.in_transaction:
                        connection.execute("ROLLBACK")
                except sqlite3.Error:
                    self.discard()
                if isinstance(error, sqlite3.Error) and code_of(error) in _LOST:
                    self.discard(doubtful=True)  # a statement may have committed by itself: VACUUM does
                if isinstance(error, sqlite3.Error) and code_of(error) == sqlite3.SQLITE_INTERRUPT:
                    raise self._pulse.take() from None
                if isinstance(error, FAULTS):
                    raise translated(error, str(self.path)) from error
                raise
            finally:
                self._busy = outer

    def _commit(self, connection: sqlite3.Connection, write_id: str | None) -> None:
        try:
            # A signal's handler may fork during this call; then the transaction belongs to the parent. No handler runs
            # between this check and the commit: handlers run only after calls.
            if self._connection is not connection:
                raise StoreUnavailable(self._strange or f"{self.path} was closed during a call", hint=_START_ANEW)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self.discard(doubtful=True)
            # A full disk means that the commit frame was not written whole: nothing is committed. After any other
            # failure the frame may be in the log, whole, but not yet synced to the disk.
            if write_id is not None and code_of(error) != sqlite3.SQLITE_FULL:
                raise OutcomeUnknown(
                    f"writing to {self.path} failed at the last step: {error}", write_id=write_id
                ) from error
            raise

    # ---- opening --------------------------------------------------------------------------------------------------

    def get(self, *, look: bool = True) -> sqlite3.Connection:
        """Return the connection, usable in this process; the caller holds the lock.

        Args:
            look: Look whether the file is still in place.

        Raises:
            StoreUnavailable: The store was closed, or another file is in the place, or this process inherited the
                connection over a fork, or a signal's handler calls this in the middle of a statement.
            StoreNotFound: The file was deleted.
        """
        if self._connection is None:
            return self._open()
        if self._pulse.beating:
            raise StoreUnavailable(
                f"{self.path} is in the middle of a call that a signal interrupted",
                hint="use the store after the signal's handler has ended",
            )
        if self._pid != os.getpid():
            self._strand()
            return self._open()
        if not look or self._identity == self._identify():
            return self._connection
        if self._reader is None or not self._reader.detached:
            raise StoreUnavailable(f"{self.path} was replaced by another file while it was open", hint="open it again")
        return self._open()  # SQLite assumes here that the file never changes, but it did

    def _identify(self) -> tuple[int, ...]:
        if self._reader is not None and self._reader.detached:
            return signature(self.real)
        try:
            found = os.stat(self.path)  # noqa: PTH116 - half the cost of Path.stat, and paid for every call
        except OSError:
            raise StoreNotFound(
                f"{self.path} was deleted or moved while it was open", hint="put it back, or open it elsewhere"
            ) from None
        return (found.st_dev, found.st_ino)

    def _look_at_schema(self, connection: sqlite3.Connection) -> None:
        """Make sure, under the write lock, that writing runs nothing that others added meanwhile."""
        if connection.execute("PRAGMA schema_version").fetchone() != (self._schema,):
            self._schema = store_file.refuse_foreign_schema(connection, self.path, writes=True)

    def _look_again(self, connection: sqlite3.Connection) -> None:
        """Make sure, under the write lock, that other processes will read the data about to be written."""
        if self._identity != self._identify():
            raise StoreUnavailable(f"{self.path} was replaced by another file while it was open", hint="open it again")
        identity, size = store_file.look_at_log(self.real)
        if self._log != identity:
            name = store_file.log_of(self.real)
            raise StoreUnavailable(
                f"{name} or its -shm was deleted or replaced while {self.path} was open; it holds the newest commits",
                hint="close every program that has the store open, the one with this message last: it writes them back",
            )
        if self._is_cut_off(connection, size):
            raise log_lost(str(self.path))
        if not size:  # the log may be new, so the first writer makes the name durable
            store_file.sync_names(self.real)

    def _is_cut_off(self, connection: sqlite3.Connection, size: int) -> bool:
        """Return whether another program cut off the log, so that commits are lost.

        Writing such a log back would mix two states. A program that wrote the whole log back may also cut off the log;
        then the file has the last write.
        """
        if size >= self._log_bytes or self._log != store_file.look_at_log(self.real).identity:
            return False
        reads = not connection.in_transaction
        try:
            if reads:
                connection.execute("BEGIN")  # stops others from writing the log back further or cutting it off
            (number,) = connection.execute("PRAGMA user_version").fetchone()
            return not holds_write(self.real, store_file.log_of(self.real), number)
        except sqlite3.Error as error:
            return is_cut_off(error)
        finally:
            if reads and connection.in_transaction:
                connection.execute("ROLLBACK")

    def _open(self) -> sqlite3.Connection:
        if self._strange:
            raise StoreUnavailable(self._strange, hint=_START_ANEW)
        if self._closed:
            raise StoreUnavailable(f"the store {self.path} is closed", hint="open it again")
        attached = self._reader is None or not self._reader.detached
        self._let_go()
        found = store_file.look_at(self.path)
        if self._identity and attached and self._identity[:2] != (found.st_dev, found.st_ino):
            raise StoreUnavailable(f"{self.path} was replaced by another file while it was open", hint="open it again")
        self.real = self.path.resolve() if self.path.is_symlink() else self.path
        self._refuse_inherited((found.st_dev, found.st_ino))
        self._pid = os.getpid()
        if self.read_only:
            self._reader = ReadOnlyConnection(self.path, self.real)
            connection = self._reader.connection
            self._identity = self._reader.seen or self._identify()
        else:
            connection, admitted = store_file.connect(self.path, self.real)
            self._identity, (self._log, self._log_bytes), self._schema = admitted
            if self._doubtful:
                self._settle(connection)
        if self._identity[:2] != (found.st_dev, found.st_ino):
            connection.close()
            self._identity = ()
            raise StoreUnavailable(f"{self.path} was replaced while it was being opened", hint="open it again")
        self._connection = connection  # assigned last: after an exception above, the next use opens again
        return connection

    def _settle(self, connection: sqlite3.Connection) -> None:
        """Write the log once more, so that later writes do not depend on bytes that a failed sync left unwritten."""
        try:
            connection.execute(_WRITE)  # nobody else appends meanwhile
            store_file.rewrite_log(self.real)
            connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            connection.close()
            raise translated(error, str(self.path)) from error
        except BaseException:
            connection.close()
            raise
        self._doubtful = False

    # ---- letting go -----------------------------------------------------------------------------------------------

    def _let_go(self, *, write_back: bool = False) -> bool:
        """Close the connection, if there is one.

        Args:
            write_back: Write the log into the file first.

        Returns:
            False if the log was cut off, so that the rest of the log must not be written back.
        """
        sound = True
        if self._connection is not None and self._pid not in (0, os.getpid()):
            self._strand()
        elif self._reader is not None:
            self._reader.close()
        elif self._connection is not None:
            size = store_file.waiting_bytes(store_file.log_of(self.real))
            sound = not self._is_cut_off(self._connection, size)
            if not sound:
                leak(self._connection)  # closing the last connection would write the log back
            else:
                if write_back and (size or self._log_bytes) and self._is_in_place():
                    # Another connection may prevent this, and then writes the log back later; or a signal ended an
                    # earlier close.
                    with suppress(sqlite3.Error):
                        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                self._connection.close()
        self._connection = self._reader = None
        return sound

    def discard(self, *, doubtful: bool = False) -> None:
        """Throw the connection away after a failure; the next use opens another.

        Args:
            doubtful: The last write may be in the log but not on the disk.
        """
        with self.lock:
            self._doubtful |= doubtful
            try:
                self._let_go()
            except sqlite3.Error:
                self._connection = self._reader = None  # the caller reports the earlier failure

    def close(self) -> None:
        """Close for good, after writing the log back, so that the file alone is whole.

        Another connection may prevent writing back. The last connection to close also removes the log.
        """
        with self.lock:
            self._closed = True
            try:
                if not self._let_go(write_back=True) and self._is_in_place():
                    raise log_lost(str(self.path))
            except sqlite3.Error as error:
                raise translated(error, str(self.path)) from error

    def _is_in_place(self) -> bool:
        """Return whether the path still names the open file, in this process."""
        try:
            return self._pid == os.getpid() and self._identity == self._identify()
        except StoreNotFound:
            return False

    def __del__(self) -> None:
        if getattr(self, "_connection", None) is not None and self._pid not in (0, os.getpid()):
            self._strand()

    # ---- forks ----------------------------------------------------------------------------------------------------

    def before_fork(self) -> bool:
        """Close the connection, unless this thread is in the middle of a use (see `kbstore.kit.forks.Parting`)."""
        if self._busy:
            return False
        self._let_go()
        return True

    def after_fork(self, *, parted: bool) -> None:
        """Start afresh in a child process (see `kbstore.kit.forks.Parting`)."""
        self.lock = threading.RLock()
        self._busy = False
        if not parted:
            self._strand()

    def _strand(self) -> None:
        """Give up a connection inherited over a fork: this process can neither use nor close such a connection."""
        leak((self._connection, self._reader))
        self._connection = self._reader = None
        self._strange = (
            f"{self.path} was in use when process {self._pid} was forked, so process {os.getpid()} cannot use it"
        )

    def _refuse_inherited(self, identity: tuple[int, int]) -> None:
        """Refuse a file with an inherited connection, because SQLite believes to hold locks on the file."""
        if not was_forked():
            return
        for other in parting():
            if not isinstance(other, Connection):
                continue
            inherited = other._strange or (other._connection is not None and other._pid not in (0, os.getpid()))
            if inherited and other._identity[:2] == identity:
                raise StoreUnavailable(
                    f"{self.path} was open when this process was forked, and was not closed before",
                    hint=_START_ANEW,
                )
