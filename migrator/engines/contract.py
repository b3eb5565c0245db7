"""What the state machine asks of a database, and what it may rely on.

1. `begin` ... `commit` is one transaction. Where `transactional` holds, it covers DDL too: after `rollback`, or after
   the process died, nothing of it is there. Outside of it each statement stands for itself.
2. `run` sends a migration's statement as it is: nothing in it is taken for a parameter. `query` and `change` are for
   migrator's own SQL, whose parameters stand as ``?`` in every dialect.
3. `lock` is freed by the server when the process dies. Where a database has no lock of that kind (SQLite), `begin`
   takes the write lock, and `changed_by_others` tells whether what was read before it still holds.
4. Whatever the driver raises comes out as `DatabaseFault`, with no password in it.
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
    """The database refused something.

    Attributes:
        kind: "lock" where the same may succeed later, "lost" where the connection is gone, "taken" where a key is
            there already, else "sql".
        position: Offset in characters of the fault in the statement that was run, or 0.
    """

    def __init__(
        self, message: str, *, kind: Literal["lock", "lost", "taken", "sql"] = "sql", position: int = 0
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.position = position


class Limits(NamedTuple):
    """How long a statement may wait for a lock, and how long it may take, in seconds; 0 is without limit."""

    lock_timeout_s: float = 5.0
    statement_timeout_s: float = 0.0


class Engine(ABC):
    """A connection to one database."""

    dialect: ClassVar[str]
    """What the splitter and the catalogue call it: "sqlite", "postgresql" or "mysql"."""
    transactional: ClassVar[bool]
    """Whether DDL can be rolled back."""
    rehearsal: ClassVar[Literal["transaction", "copy", "none"]]
    """How a dry run is executed: in a transaction that is rolled back, on a copy, or not at all."""
    groups_commits: ClassVar[bool] = False
    """Whether several migrations may be committed at once: writers exclude each other anyway, and a commit is dear."""
    time_type: ClassVar[str]
    """The type of a column that holds a moment."""
    text_type: ClassVar[str] = "TEXT"
    """The type of a column that holds a text of any length."""
    table_options: ClassVar[str] = ""
    """What follows the closing parenthesis of CREATE TABLE."""

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
            create: Whether a SQLite file that does not exist is made; else such a database is an empty one.

        Raises:
            ConnectionFailed: The database cannot be reached.
        """

    def warning(self) -> str:
        """Return what a person should know of the connection, or an empty text; it is open."""
        return ""

    @abstractmethod
    def close(self) -> None:
        """Disconnect; whatever was begun is rolled back. More than once does no harm."""

    @abstractmethod
    def beside(self) -> "Engine":
        """An opened engine of its own connection to the same database."""

    @abstractmethod
    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Rows of migrator's own SQL."""

    @abstractmethod
    def change(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run migrator's own SQL; returns how many rows it touched."""

    @abstractmethod
    def run(self, text: str, data: str | None = None) -> list[Row]:
        """Run one statement of a migration, as it is.

        Args:
            text: The statement.
            data: Rows that follow a COPY ... FROM STDIN.

        Returns:
            Its rows, if it has any.
        """

    def batch(self) -> AbstractContextManager[None]:
        """Send what is done inside together, where that saves journeys to the server.

        Answers are not known before its end: `query` may not be used inside, nor what `change` returns.
        """
        return nullcontext()

    @abstractmethod
    def begin(self, limits: Limits, *, durable: bool = True) -> None:
        """Begin a transaction.

        Args:
            limits: For its statements.
            durable: Whether its commit waits for the disk. One that does not is still whole or not there, and it is
                durable as soon as a later one is; databases that cannot tell the two apart always wait.
        """

    @abstractmethod
    def commit(self) -> None:
        """Make everything since `begin` durable."""

    @abstractmethod
    def rollback(self) -> None:
        """Undo everything since `begin`. Does nothing where the connection is gone: the server undoes it then."""

    @abstractmethod
    def in_transaction(self) -> bool:
        """Whether the transaction that was begun still lasts."""

    @abstractmethod
    def set_limits(self, limits: Limits) -> None:
        """Set the limits for what is left of the transaction, or, where there is none, for the session."""

    @property
    @abstractmethod
    def connection(self) -> Any:
        """The driver's connection (DB-API), for those who only read."""

    @abstractmethod
    def faults(self) -> AbstractContextManager[None]:
        """What the driver raises inside comes out as `DatabaseFault`."""

    @abstractmethod
    def table(self, name: str) -> str:
        """One of migrator's own tables, quoted and with its schema, so that no setting of a migration hides it."""

    @abstractmethod
    def columns(self, name: str) -> list[str]:
        """The columns of one of migrator's own tables; empty where there is no such table."""

    def time_value(self, moment: str) -> str:
        """A moment as this database takes it, from RFC 3339 in UTC."""
        return moment

    def lock(self, wait_s: float, clock: Clock) -> AbstractContextManager[None]:  # noqa: ARG002
        """Keep every other runner out, while it lasts.

        Raises:
            LockTimeout: Another one held it for longer than `wait_s`.
        """
        return nullcontext()

    def journal_lock(self, wait_s: float, clock: Clock) -> AbstractContextManager[None]:  # noqa: ARG002
        """Keep every other runner out while statements stand for themselves, where `lock` does not do that."""
        return nullcontext()

    def verify_scope(self) -> AbstractContextManager[None]:
        """Whatever is done inside is undone, where the database can do that within a transaction."""
        return nullcontext()

    def changed_by_others(self) -> bool:
        """Whether another connection may have written since this was asked last."""
        return False

    def before_commit(self) -> None:  # noqa: B027
        """Look whether the transaction left the database sound.

        Raises:
            DatabaseFault: It did not.
        """

    def sets_session(self, text: str) -> bool:  # noqa: ARG002
        """Whether a file may change this session in a way that outlives its transaction."""
        return True

    def settle(self, text: str) -> None:  # noqa: B027
        """Take back what the file that was run set in this session and that would bend migrator's own SQL."""

    def reset(self, text: str) -> None:  # noqa: B027
        """Take back everything that the file that was run set in this session."""

    def broken_indexes(self) -> list[str]:
        """Indexes that are there, but that the database does not use since making them failed."""
        return []

    def orphans(self) -> list[tuple[str, str, int]]:
        """Tables with rows that lack the row their foreign key means, where the database lets that happen.

        Returns:
            The table, the table that it means, and how many rows.
        """
        return []

    def copy(self, folder: Path) -> "Engine":
        """An opened engine on a copy of the database, in this folder; only where `rehearsal` is "copy"."""
        raise MigrationError(f"a {self.dialect} database is not rehearsed on a copy of it, and {folder} stays empty")

    def backup(self, folder: Path | None, stamp: str) -> Path | None:  # noqa: ARG002
        """Save the database in a new file.

        Args:
            folder: Where; None for beside the database.
            stamp: A part of the file's name.

        Returns:
            The file, or None where there is nothing to save.

        Raises:
            MigrationError: It cannot be saved.
        """
        raise MigrationError(
            f"migrator makes no backup of {self.url.dialect}",
            hint="make one with mariadb-dump, then leave out --backup",
        )
