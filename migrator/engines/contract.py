"""The contract between the state machine and a database.

1. `begin` ... `commit` is one transaction. If `transactional` is true, the transaction covers DDL too: after
   `rollback`, or after a crash of the process, nothing of the transaction is left. Outside of a transaction each
   statement commits by itself.
2. `run` sends a migration's statement unchanged: no part is read as a parameter. `query` and `change` are for
   migrator's own SQL, with ``?`` for parameters in every dialect.
3. The server frees `lock` when the process dies. If a database has no such lock (SQLite), `begin` takes the write lock,
   and `changed_by_others` reports whether earlier reads are out of date.
4. Every error of the driver is raised as `DatabaseFault`, without passwords.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal, NamedTuple, Self

from kbstore.migrator.clock import Clock
from kbstore.migrator.errors import MigrationError
from kbstore.migrator.urls import DatabaseUrl

Row = tuple[Any, ...]


class DatabaseFault(MigrationError):
    """The database refused a statement or a connection.

    Attributes:
        kind: "lock" if a later attempt may succeed, "lost" if the connection is gone, "taken" if a key exists already,
            else "sql".
        position: The offset of the error in the statement, in characters, or 0.
    """

    def __init__(
        self, message: str, *, kind: Literal["lock", "lost", "taken", "sql"] = "sql", position: int = 0
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.position = position


class Limits(NamedTuple):
    """How long a statement may wait for a lock, and how long a statement may take, in seconds; 0 means no limit."""

    lock_timeout_s: float = 5.0
    statement_timeout_s: float = 0.0


class Engine(ABC):
    """A connection to one database."""

    dialect: ClassVar[str]
    """The dialect's name for splitter and catalog: "sqlite", "postgresql" or "mysql"."""
    transactional: ClassVar[bool]
    """Whether DDL can be rolled back."""
    rehearsal: ClassVar[Literal["transaction", "copy", "none"]]
    """How a dry run is executed: in a transaction that is rolled back, on a copy, or not at all."""
    groups_commits: ClassVar[bool] = False
    """Whether several migrations may share a commit: commits are slow, and writers exclude each other anyway."""
    time_type: ClassVar[str]
    """The type of a column for a moment."""
    text_type: ClassVar[str] = "TEXT"
    """The type of a column for a text of any length."""
    table_options: ClassVar[str] = ""
    """The options after the closing parenthesis of CREATE TABLE."""

    def __init__(self, url: DatabaseUrl) -> None:
        self.url = url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def open(self, *, create: bool = False) -> None:
        """Connect.

        Args:
            create: Whether to create a missing SQLite file; otherwise a missing file is read as an empty database.

        Raises:
            ConnectionFailed: The database cannot be reached.
        """

    def warning(self) -> str:
        """Return a warning for people about the open connection, or an empty text."""
        return ""

    @abstractmethod
    def close(self) -> None:
        """Disconnect; an open transaction is rolled back. Closing twice does no harm."""

    @abstractmethod
    def beside(self) -> "Engine":
        """Return an opened engine with a second connection to the same database."""

    @abstractmethod
    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Run a query of migrator's own SQL; return the rows."""

    @abstractmethod
    def change(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run migrator's own SQL; return the number of changed rows."""

    @abstractmethod
    def run(self, text: str, data: str | None = None) -> list[Row]:
        """Run one statement of a migration, unchanged.

        Args:
            text: The statement.
            data: The rows that follow a COPY ... FROM STDIN.

        Returns:
            The statement's rows, if any.
        """

    def batch(self) -> AbstractContextManager[None]:
        """Send the statements inside the block together, if this saves round trips to the server.

        Answers arrive at the end of the block: do not call `query` inside, and do not use the result of `change`.
        """
        return nullcontext()

    @abstractmethod
    def begin(self, limits: Limits, *, durable: bool = True) -> None:
        """Begin a transaction.

        Args:
            limits: The limits of the transaction's statements.
            durable: Whether the commit waits for the disk. Without the wait, a crash still leaves the transaction whole
                or not at all, and the next durable commit makes the transaction durable too. A database without this
                choice always waits.
        """

    @abstractmethod
    def commit(self) -> None:
        """Make all changes since `begin` durable."""

    @abstractmethod
    def rollback(self) -> None:
        """Undo all changes since `begin`. Does nothing on a lost connection, since the server then rolls back."""

    @abstractmethod
    def in_transaction(self) -> bool:
        """Return whether the transaction is still open."""

    @abstractmethod
    def set_limits(self, limits: Limits) -> None:
        """Set the limits for the rest of the transaction; outside of a transaction, for the session."""

    @property
    @abstractmethod
    def connection(self) -> Any:
        """The driver's connection (DB-API), for readers."""

    @abstractmethod
    def faults(self) -> AbstractContextManager[None]:
        """Raise errors of the driver inside the block as `DatabaseFault`."""

    @abstractmethod
    def table(self, name: str) -> str:
        """Return the name of one of migrator's own tables, quoted and with its schema.

        With the schema, no setting of a migration hides the table.
        """

    @abstractmethod
    def columns(self, name: str) -> list[str]:
        """Return the columns of one of migrator's own tables; empty if the table does not exist."""

    def time_value(self, moment: str) -> str:
        """Return a moment in the form of this database, from RFC 3339 in UTC."""
        return moment

    def lock(self, wait_s: float, clock: Clock) -> AbstractContextManager[None]:  # noqa: ARG002
        """Keep every other runner out during the block.

        Raises:
            LockTimeout: Another runner held the lock for longer than `wait_s`.
        """
        return nullcontext()

    def journal_lock(self, wait_s: float, clock: Clock) -> AbstractContextManager[None]:  # noqa: ARG002
        """Keep every other runner out while statements commit one by one, if `lock` of the database does not do so."""
        return nullcontext()

    def verify_scope(self) -> AbstractContextManager[None]:
        """Undo all changes made inside the block, if the database can do so within a transaction."""
        return nullcontext()

    def changed_by_others(self) -> bool:
        """Return whether another connection may have written since the last call."""
        return False

    def before_commit(self) -> None:  # noqa: B027
        """Check that the transaction leaves the database consistent.

        Raises:
            DatabaseFault: The database would not be consistent.
        """

    def sets_session(self, text: str) -> bool:  # noqa: ARG002
        """Return whether a file may change the session beyond the end of the transaction."""
        return True

    def settle(self, text: str) -> None:  # noqa: B027
        """Undo settings made by the file in this session that would affect migrator's own SQL."""

    def reset(self, text: str) -> None:  # noqa: B027
        """Undo all settings made by the file in this session."""

    def broken_indexes(self) -> list[str]:
        """Return the indexes that the database does not use, since building them failed."""
        return []

    def orphans(self) -> list[tuple[str, str, int]]:
        """Return tables with rows whose foreign key has no row in the parent table, if the database allows such rows.

        Returns:
            The table, the parent table, and the number of such rows.
        """
        return []

    def copy(self, folder: Path) -> "Engine":
        """Return an opened engine on a copy of the database, in this folder; only if `rehearsal` is "copy"."""
        raise MigrationError(f"a {self.dialect} database is not rehearsed on a copy of it, and {folder} stays empty")

    def backup(self, folder: Path | None, stamp: str) -> Path | None:  # noqa: ARG002
        """Save the database in a new file.

        Args:
            folder: The folder of the file; `None` for the engine's default folder.
            stamp: A part of the file's name.

        Returns:
            The file, or `None` if there is nothing to save.

        Raises:
            MigrationError: The database cannot be saved.
        """
        raise MigrationError(
            f"migrator makes no backup of {self.url.dialect}",
            hint="make one with mariadb-dump, then leave out --backup",
        )
