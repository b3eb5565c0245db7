"""SQLite: BEGIN IMMEDIATE is the lock, and foreign keys are looked at before the commit instead of at each statement.

With enforcement on, ``DROP TABLE parent`` deletes the rows of its children where they cascade: rebuilding a table, the
only way to change most things in SQLite, would lose them. So it is switched off before BEGIN, since inside it the
pragma does nothing (https://www.sqlite.org/lang_altertable.html, section 7), and the commit is refused where more rows
are left without a parent than there were.
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
    """A database file."""

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
        """Give up a connection that a child inherited: closing it there would undo what the parent is doing."""
        leak(self._connection)
        self._connection = None

    def open(self, *, create: bool = False) -> None:
        """Connect; a file that is not there is made, or taken for an empty database."""
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
        """A second connection to the file."""
        other = SQLiteEngine(self.url)
        other.open(create=True)
        return other

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Rows of migrator's own SQL."""
        with _faults():
            return self._open.execute(sql, parameters).fetchall()

    def change(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run migrator's own SQL."""
        with _faults():
            return self._open.execute(sql, parameters).rowcount

    def run(self, text: str, data: str | None = None) -> list[Row]:
        """Run one statement as it is."""
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
        """COMMIT; where a reader is in the way longer than lock_timeout, the transaction still lasts."""
        with _faults():
            self._open.execute("COMMIT")

    def rollback(self) -> None:
        """ROLLBACK, where SQLite has not done so itself."""
        if self._connection is not None and self._connection.in_transaction:
            with _faults():
                self._connection.execute("ROLLBACK")

    def in_transaction(self) -> bool:
        """Whether the transaction still lasts."""
        return self._open.in_transaction

    def set_limits(self, limits: Limits) -> None:
        """busy_timeout, and a deadline that is looked at as SQLite works."""
        milliseconds = round(limits.lock_timeout_s * 1000) if limits.lock_timeout_s else 2**31 - 1
        with _faults():
            self._open.execute(f"PRAGMA busy_timeout = {milliseconds:d}")
        if limits.statement_timeout_s:
            end = stopwatch() + limits.statement_timeout_s
            self._open.set_progress_handler(lambda: stopwatch() > end, _STEPS_BETWEEN_CHECKS)
        else:
            self._open.set_progress_handler(None, 0)

    def table(self, name: str) -> str:
        """In the main database, whatever is attached."""
        return f'main."{name}"'

    def columns(self, name: str) -> list[str]:
        """Names of the columns."""
        return [row[0] for row in self.query("SELECT name FROM pragma_table_info(?, 'main')", (name,))]

    @contextmanager
    def journal_lock(self, wait_s: float, clock: Clock) -> Iterator[None]:
        """The write lock of an empty database beside this one, since this one's is needed by the statements.

        The file stays: a lock on a file that is removed keeps nobody out.
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
        """A savepoint, rolled back."""
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
        """Whether another connection committed since this was asked last."""
        before, self._data_version = self._data_version, self.query("PRAGMA data_version")[0][0]
        return before != self._data_version

    def before_commit(self) -> None:
        """Refuse a transaction that leaves more rows without a parent than there were."""
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
        """What PRAGMA foreign_key_check finds."""
        return [(table, parent, rows) for (table, parent), rows in _orphans(self._open).items() if parent is not None]

    def sets_session(self, text: str) -> bool:
        """Whether it speaks of a pragma, of attaching a database or of something temporary."""
        return re.search(_SETS_SESSION, text) is not None

    def reset(self, text: str) -> None:
        """Begin anew, where the file may have changed the session."""
        if self.sets_session(text):
            self.close()
            self.open(create=True)
            self._data_version = 0  # what others did between the two connections is not known

    def copy(self, folder: Path) -> "SQLiteEngine":
        """A copy by SQLite's backup, which is consistent also while others write."""
        copy = SQLiteEngine(DatabaseUrl("sqlite", str(folder / self.path.name)))
        copy.open(create=True)
        with _faults():
            self._open.backup(copy._open)
        return copy

    def backup(self, folder: Path | None, stamp: str) -> Path | None:
        """Copy to ``FILE.STAMP.bak``; only the newest `KEPT_BACKUPS` stay. None for an empty database."""
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
        """What the driver raises inside comes out as `DatabaseFault`."""
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
    """How many rows of each table have no row in each parent; a key that cannot be checked counts as one."""
    try:
        return Counter((row[0], row[2]) for row in connection.execute("PRAGMA main.foreign_key_check"))
    except sqlite3.OperationalError as fault:
        return Counter({(str(fault), None): 1})


def _new_file(folder: Path, stem: str) -> Path:
    """Make an empty file of a name that nobody has."""
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
