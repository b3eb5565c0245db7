"""SQLite: BEGIN IMMEDIATE is the lock, and foreign keys are checked before the commit instead of at each statement.

With enforcement on, ``DROP TABLE parent`` deletes the child rows of cascading keys. Most changes of a table in SQLite
rebuild the table, and would lose these rows. So enforcement is switched off before BEGIN, since the pragma does nothing
inside a transaction (https://www.sqlite.org/lang_altertable.html, section 7). The commit is refused if the transaction
leaves more rows without a parent than before.
"""

import os
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from kbstore.kit.forks import leak, tell_of_forks
from kbstore.migrator.clock import Clock, stopwatch
from kbstore.migrator.engines.contract import DatabaseFault, Engine, Limits, Row
from kbstore.migrator.errors import ConnectionFailed, LockTimeout, MigrationError
from kbstore.migrator.urls import DatabaseUrl

KEPT_BACKUPS = 5

_POLL_S = 0.05
_SETS_SESSION = r"(?i)\b(pragma|attach|detach|temp|temporary)\b"
_STEPS_BETWEEN_CHECKS = 10_000


class SQLiteEngine(Engine):
    """A connection to a database file."""

    dialect = "sqlite"
    transactional = True
    rehearsal = "copy"
    groups_commits = True
    time_type = "TEXT"

    def __init__(self, url: DatabaseUrl) -> None:
        super().__init__(url)
        self.path = Path(url.database)
        self._connection: sqlite3.Connection | None = None
        self._data_version = 0
        tell_of_forks(self)

    def after_fork(self) -> None:
        """Give up a connection inherited by a child process: closing it there would undo the parent's work."""
        leak(self._connection)
        self._connection = None

    def open(self, *, create: bool = False) -> None:
        """Connect. A missing file is created, or read as an empty database."""
        there = self.path.exists()
        try:
            target = str(self.path) if there or create else ":memory:"
            self._connection = sqlite3.connect(target, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA schema_version").fetchall()
            self.changed_by_others()
        except sqlite3.Error as fault:
            self.close()
            hint = "make its folder first" if not self.path.parent.is_dir() else "is it a SQLite database?"
            raise ConnectionFailed(f"cannot open {self.path}: {fault}", hint=hint) from fault

    def close(self) -> None:
        """Disconnect."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def beside(self) -> "SQLiteEngine":
        """Return an engine with a second connection to the file."""
        other = SQLiteEngine(self.url)
        other.open(create=True)
        return other

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Run a query of migrator's own SQL; return the rows."""
        with _faults():
            return self._open.execute(sql, parameters).fetchall()

    def change(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run migrator's own SQL; return the number of changed rows."""
        with _faults():
            return self._open.execute(sql, parameters).rowcount

    def run(self, text: str, data: str | None = None) -> list[Row]:
        """Run one statement unchanged."""
        if data is not None:
            raise MigrationError("the data of COPY can be sent to PostgreSQL alone")
        with _faults():
            return self._open.execute(text).fetchall()

    def begin(self, limits: Limits, *, durable: bool = True) -> None:  # noqa: ARG002
        """Take the write lock of the database, with foreign keys off."""
        self.set_limits(limits)
        with _faults():
            self._open.execute("PRAGMA foreign_keys = OFF")
            self._open.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Commit. If a reader blocks the commit for longer than lock_timeout, the transaction stays open."""
        with _faults():
            self._open.execute("COMMIT")

    def rollback(self) -> None:
        """Roll back, if SQLite has not rolled back by itself."""
        if self._connection is not None and self._connection.in_transaction:
            with _faults():
                self._connection.execute("ROLLBACK")

    def in_transaction(self) -> bool:
        """Return whether the transaction is still open."""
        return self._open.in_transaction

    def set_limits(self, limits: Limits) -> None:
        """Set busy_timeout, and a deadline that SQLite checks during statements."""
        milliseconds = round(limits.lock_timeout_s * 1000) if limits.lock_timeout_s else 2**31 - 1
        with _faults():
            self._open.execute(f"PRAGMA busy_timeout = {milliseconds:d}")
        if limits.statement_timeout_s:
            end = stopwatch() + limits.statement_timeout_s
            self._open.set_progress_handler(lambda: stopwatch() > end, _STEPS_BETWEEN_CHECKS)
        else:
            self._open.set_progress_handler(None, 0)

    def table(self, name: str) -> str:
        """Return the name with the main database in front, independent of attached databases."""
        return f'main."{name}"'

    def columns(self, name: str) -> list[str]:
        """Return the names of the columns."""
        return [row[0] for row in self.query("SELECT name FROM pragma_table_info(?, 'main')", (name,))]

    @contextmanager
    def journal_lock(self, wait_s: float, clock: Clock) -> Iterator[None]:
        """Take the write lock of an empty database beside this database, in the file ``FILE.migrator-lock``.

        The statements need this database's own lock. The lock file stays: a lock on a removed file keeps no runner out.
        """
        file = self.path.with_name(self.path.name + ".migrator-lock")
        connection = sqlite3.connect(file, isolation_level=None, timeout=0, check_same_thread=False)
        try:
            waited = 0.0
            while True:
                try:
                    connection.execute("BEGIN EXCLUSIVE")
                    break
                except sqlite3.OperationalError as fault:
                    if not _is_busy(fault):
                        raise ConnectionFailed(f"cannot lock {file}: {fault}") from fault
                    if waited >= wait_s:
                        raise LockTimeout(
                            f"another migrator works on {self.path} since {waited:.0f} s", hint="wait for it to end"
                        ) from fault
                clock.sleep(_POLL_S)
                waited += _POLL_S
            yield
        finally:
            connection.close()

    @contextmanager
    def verify_scope(self) -> Iterator[None]:
        """Use a savepoint, and roll back to it at the end of the block."""
        if not self._open.in_transaction:
            yield
            return
        with _faults():
            self._open.execute("SAVEPOINT migrator_verify")
        yield
        with _faults():
            self._open.execute("ROLLBACK TO migrator_verify")
            self._open.execute("RELEASE migrator_verify")

    def changed_by_others(self) -> bool:
        """Return whether another connection committed since the last call."""
        before, self._data_version = self._data_version, self.query("PRAGMA data_version")[0][0]
        return before != self._data_version

    def before_commit(self) -> None:
        """Refuse a transaction that leaves more rows without a parent than before."""
        after = _orphans(self._open)
        if not after:
            return
        other = self.beside()
        try:
            before = _orphans(other._open)
        finally:
            other.close()
        for (table, parent), rows in (after - before).items():
            if parent is None:
                raise DatabaseFault(f"foreign keys: {table}")
            raise DatabaseFault(
                f"foreign keys: {rows} rows of {table} would be left without their row in {parent} "
                f"(PRAGMA foreign_key_check({table}) lists them)"
            )

    def orphans(self) -> list[tuple[str, str, int]]:
        """Return the rows found by PRAGMA foreign_key_check, counted by table and parent."""
        return [(table, parent, rows) for (table, parent), rows in _orphans(self._open).items() if parent is not None]

    def sets_session(self, text: str) -> bool:
        """Return whether the text contains a pragma, attaches a database or makes a temporary object."""
        return re.search(_SETS_SESSION, text) is not None

    def reset(self, text: str) -> None:
        """Connect again, if the file may have changed the session."""
        if self.sets_session(text):
            self.close()
            self.open(create=True)
            self._data_version = 0  # writes of others between the two connections are not known

    def copy(self, folder: Path) -> "SQLiteEngine":
        """Copy with SQLite's backup; the copy is consistent even if other connections write."""
        copy = SQLiteEngine(DatabaseUrl("sqlite", str(folder / self.path.name)))
        copy.open(create=True)
        with _faults():
            self._open.backup(copy._open)
        return copy

    def backup(self, folder: Path | None, stamp: str) -> Path | None:
        """Copy to ``FILE.STAMP.bak``; keep only the newest `KEPT_BACKUPS`. Return `None` for an empty database."""
        if not self.query("SELECT 1 FROM main.sqlite_master LIMIT 1"):
            return None
        folder = folder or self.path.parent
        try:
            target = _new_file(folder, f"{self.path.name}.{stamp}")
            copy = sqlite3.connect(target, isolation_level=None)
            try:
                self._open.backup(copy)
            finally:
                copy.close()
            for old in sorted(folder.glob(f"{_escaped(self.path.name)}.*.bak"))[:-KEPT_BACKUPS]:
                old.unlink(missing_ok=True)
        except (OSError, sqlite3.Error) as fault:
            raise MigrationError(
                f"cannot save {self.path} before it is changed: {fault}", hint="make room, or say --no-backup"
            ) from fault
        return target

    @property
    def connection(self) -> Any:
        """The driver's connection."""
        return self._open

    def faults(self) -> AbstractContextManager[None]:
        """Raise errors of the driver inside the block as `DatabaseFault`."""
        return _faults()

    @property
    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise RuntimeError("the engine is opened before it is used")
        return self._connection


@contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as fault:
        kind: Any = "lock" if _is_busy(fault) else "sql"
        if getattr(fault, "sqlite_errorname", "") in ("SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_UNIQUE"):
            kind = "taken"
        raise DatabaseFault(str(fault), kind=kind) from fault


def _is_busy(fault: sqlite3.Error) -> bool:
    return getattr(fault, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def _orphans(connection: sqlite3.Connection) -> Counter[tuple[str, str | None]]:
    """Count the rows of each table without a row in each parent; a key that cannot be checked counts as one."""
    try:
        return Counter((row[0], row[2]) for row in connection.execute("PRAGMA main.foreign_key_check"))
    except sqlite3.OperationalError as fault:
        return Counter({(str(fault), None): 1})


def _new_file(folder: Path, stem: str) -> Path:
    """Create an empty file with an unused name."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, 1000):
        path = folder / (f"{stem}.bak" if number == 1 else f"{stem}_{number:03d}.bak")
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            continue
        return path
    raise FileExistsError(f"{folder} is full of backups of this second")


def _escaped(name: str) -> str:
    return re.sub(r"([\[\]*?])", r"[\1]", name)
