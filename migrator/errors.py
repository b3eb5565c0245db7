"""The errors of migrator: a common root, a class for each reaction of a caller, and a hint.

The reactions: fix the files (`MigrationFileError`, `SplitError`, `OrderError`, `LintError`), look at the change
(`ChangedError`), wait (`LockTimeout`), decide the true state (`NeedsRepair`), fix the SQL (`StatementFailed`).
"""

from collections.abc import Sequence
from typing import Any

from kbstore.kit.errors import made_again


class MigrationError(Exception):
    """The base class of every error raised by migrator.

    Attributes:
        hint: The next step for the reader, a sentence or a command, or `None`.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        return made_again, (type(self), self.args), self.__dict__


class MigrationFileError(MigrationError):
    """A migration's file is not accepted: the name, the encoding, a directive, or a companion without a migration.

    Attributes:
        file: The file's name, or "" without a file.
        line: The 1-based line in the file, or `None` for the whole file.
    """

    def __init__(self, message: str, *, file: str = "", line: int | None = None, hint: str | None = None) -> None:
        where = file if line is None else f"{file}:{line}"
        super().__init__(f"{where}: {message}" if where else message, hint=hint)
        self.file = file
        self.line = line


class SplitError(MigrationFileError):
    """A file's text cannot be split into statements that a migration may run."""


class OrderError(MigrationError):
    """A file comes before an applied file, or a required migration is not applied."""


class ConnectionFailed(MigrationError):
    """The database cannot be reached, or refuses the user. Nothing was run."""


class ChangedError(MigrationError):
    """A file, or the database, differs from the state in the history.

    Attributes:
        problems: A sentence for each difference.
    """

    def __init__(self, message: str, *, problems: Sequence[str] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.problems = list(problems)


class LockTimeout(MigrationError):
    """Another runner, or another session of the database, held a lock for too long.

    Nothing of a migration in a transaction stays. Of a migration run statement by statement, the finished statements
    stay; the message says so.
    """


class NeedsRepair(MigrationError):
    """A migration is half done, and only a person can decide the true state. Nothing was run."""


class LintError(MigrationError):
    """A lint rule reports an error in a file that was to be run.

    Attributes:
        problems: A line for each finding: file, line, rule, reason.
    """

    def __init__(self, message: str, *, problems: Sequence[str] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.problems = list(problems)


class StatementFailed(MigrationError):
    """The database refused a statement of a migration.

    Attributes:
        migration: The file that was run.
        line: The 1-based line of the statement in the file.
        statement: The number of the statement, counted from 1; 0 if the transaction as a whole failed.
        statements: The number of statements in the file.
        sql: The statement's text.
        database_message: The message of the database.
        outcome: The present content of the database, one sentence.
    """

    def __init__(
        self,
        migration: str,
        *,
        line: int,
        statement: int,
        statements: int,
        sql: str,
        database_message: str,
        outcome: str,
        hint: str | None = None,
    ) -> None:
        shown = "\n".join(f"    {text}" for text in sql.splitlines())
        where = (
            f"{migration}:{line}: statement {statement} of {statements} failed" if statement else f"{migration}: failed"
        )
        super().__init__(
            f"{where}: {database_message}" + (f"\n{shown}" if shown else "") + f"\n  in the database now: {outcome}",
            hint=hint,
        )
        self.migration = migration
        self.line = line
        self.statement = statement
        self.statements = statements
        self.sql = sql
        self.database_message = database_message
        self.outcome = outcome
