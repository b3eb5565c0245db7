"""One connection to the file, shared by the threads of a process, and the transactions on it.

Rules, each with the damage that it prevents:

1. Every use happens under one lock, and no lock or transaction outlives a call, so a slow reader never blocks a writer.
2. A connection is never carried over a fork: two processes on one would corrupt the file. The child opens its own.
3. Before each use the file is looked at: a deleted or replaced one is reported, not written into the void.
4. After a failed COMMIT the connection is thrown away, since what it thinks and what the disk holds may differ. A
   failed sync is never repeated: the kernel may report success the second time without having written. The next
   connection first writes the log once more, so that nothing later leans on what was not synced.
"""

import os
import sqlite3
import threading
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from backends.errors import BackendError, OutcomeUnknown, ReadOnlyStore, StoreNotFound, StoreUnavailable
from backends.forks import tell_of_forks
from backends.sqlite import file
from backends.sqlite.faults import FAULTS, code_of, translated

# Connections of a parent process: closing them here would release nothing of ours and could upset the parent.
_inherited: list[object] = []


class Connection:
    """A store's connection: opened when first used, reopened after a fork or a failure."""

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self.path = path
        self.read_only = read_only
        self.lock = threading.RLock()
        tell_of_forks(self)
        self._closed = False
        self._pid = 0
        self._connection: sqlite3.Connection | None = None
        self._reader: file.ReadOnlyConnection | None = None
        self._identity: tuple[int, ...] = ()
        self._doubtful = False
        with self.lock:
            self.get()

    def after_fork(self) -> None:
        """See `backends.forks.Forked`; the connection is another one as soon as it is used."""
        self.lock = threading.RLock()

    def get(self) -> sqlite3.Connection:
        """The connection, fit for use in this process; call it with the lock held.

        Raises:
            StoreUnavailable: The store was closed, or another file stands in its place.
            StoreNotFound: The file was deleted.
        """
        if self._connection is not None and self._pid == os.getpid():
            try:
                found = os.stat(self.path)  # noqa: PTH116 - half the cost of Path.stat, and paid for every call
            except OSError:
                raise StoreNotFound(
                    f"{self.path} was deleted or moved while it was open", hint="put it back, or open it elsewhere"
                ) from None
            if self._identity == self._identify(found):
                return self._connection
            if not self._frozen():
                raise StoreUnavailable(
                    f"{self.path} was replaced by another file while it was open", hint="open it again"
                )
        return self._open()

    def _open(self) -> sqlite3.Connection:
        if self._closed:
            raise StoreUnavailable(f"the store {self.path} is closed", hint="open it again")
        self._let_go()
        found = file.inspect(self.path)
        if self.read_only:
            self._reader = file.ReadOnlyConnection(self.path)
            self._connection = self._reader.connection
        else:
            self._connection = file.connect(self.path)
            if self._doubtful:
                self._settle(self._connection)
        self._pid = os.getpid()
        self._identity = self._identify(found)
        return self._connection

    def _settle(self, connection: sqlite3.Connection) -> None:
        """Write the log once more, so that nothing written behind it leans on what a failed sync left unwritten."""
        try:
            connection.execute("BEGIN IMMEDIATE")  # nobody else appends meanwhile
            file.rewrite_log(self.path)
            connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            self.discard()
            raise translated(error, str(self.path)) from error
        except BaseException:
            self.discard()
            raise
        self._doubtful = False

    def _frozen(self) -> bool:
        return self._reader is not None and self._reader.frozen

    def _identify(self, found: os.stat_result) -> tuple[int, ...]:
        if self._frozen():
            # SQLite was told that nothing changes; if something does, what it remembers is stale.
            return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        return (found.st_dev, found.st_ino)

    def _let_go(self) -> None:
        if self._connection is not None and self._pid != os.getpid():
            _inherited.append((self._connection, self._reader))
        elif self._reader is not None:
            self._reader.close()
        elif self._connection is not None:
            self._connection.close()
        self._connection = self._reader = None

    def discard(self, *, doubtful: bool = False) -> None:
        """Throw the connection away after a failure; the next use opens another.

        Args:
            doubtful: What was last written may be in the log and not on the disk.
        """
        with self.lock:
            self._doubtful |= doubtful
            try:
                self._let_go()
            except sqlite3.Error:
                self._connection = self._reader = None  # the file failed already, and that is what is reported

    def close(self) -> None:
        """Close for good; the last to close also removes the WAL."""
        with self.lock:
            self._closed = True
            try:
                self._let_go()
            except sqlite3.Error as error:
                raise translated(error, str(self.path)) from error

    def using(self) -> "Use":
        """One statement that reads."""
        return Use(self)

    def reading(self) -> "Use":
        """Several statements that read one state of the store."""
        return Use(self, "BEGIN")

    def writing(self, write_id: str | None = None) -> "Use":
        """A durable transaction.

        Args:
            write_id: Given where a failed COMMIT is to be reported as `OutcomeUnknown`: repeating could land twice.

        Raises:
            ReadOnlyStore: The store was opened for reading.
        """
        if self.read_only:
            raise ReadOnlyStore(f"{self.path} was opened read-only", hint="open it for writing")
        return Use(self, "BEGIN IMMEDIATE", write_id)


class Use:
    """A context in which the connection is this thread's: commits at its end, rolls back on an error."""

    __slots__ = ("_begin", "_owner", "_write_id", "connection")

    def __init__(self, owner: Connection, begin: str | None = None, write_id: str | None = None) -> None:
        self._owner = owner
        self._begin = begin
        self._write_id = write_id

    def __enter__(self) -> sqlite3.Connection:
        self._owner.lock.acquire()
        try:
            self.connection = self._owner.get()
            if self._begin:
                self.connection.execute(self._begin)
        except BaseException as error:
            self._owner.lock.release()
            if isinstance(error, FAULTS):
                raise translated(error, str(self._owner.path)) from error
            raise
        return self.connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                self._abandon(error)
            elif self._begin:
                self._commit()
        finally:
            self._owner.lock.release()

    def _commit(self) -> None:
        try:
            self.connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._owner.discard(doubtful=True)
            # No room means that the frame which commits was not written whole: nothing is there. After any other
            # failure it may be there, whole, and not yet on the disk.
            if self._write_id is not None and code_of(error) != sqlite3.SQLITE_FULL:
                raise OutcomeUnknown(
                    f"writing to {self._owner.path} failed at the last step: {error}", write_id=self._write_id
                ) from error
            raise translated(error, str(self._owner.path)) from error

    def _abandon(self, error: BaseException) -> None:
        try:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._owner.discard()
        lost = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        if isinstance(error, sqlite3.Error) and code_of(error) in lost:
            self._owner.discard(doubtful=True)  # a statement may have committed by itself: VACUUM does
        if isinstance(error, FAULTS):
            _raise(translated(error, str(self._owner.path)), error)


def _raise(error: BackendError, cause: BaseException) -> NoReturn:
    raise error from cause
