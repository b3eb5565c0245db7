"""Every error of a migration has one root, and a hint of what to do.

There is one class for each different reaction of a caller: mend the files (`MigrationFileError`, `SplitError`,
`OrderError`, `LintError`), look at what changed (`ChangedError`), wait (`LockTimeout`), decide what is true
(`NeedsRepair`), mend the SQL (`StatementFailed`).
"""

from collections.abc import Sequence


class MigrationError(Exception):
    """Root of every error raised by migrator.

    Attributes:
        hint: What the reader can do about it, one sentence or a command, or None.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class MigrationFileError(MigrationError):
    """A migration's file cannot be taken as it is: its name, its encoding, a directive, what it needs.

    Attributes:
        file: The file's name, or "" where there is none.
        line: 1-based line in the file, or None where the whole file is meant.
    """

    def __init__(self, message: str, *, file: str = "", line: int | None = None, hint: str | None = None) -> None:
        where = file if line is None else f"{file}:{line}"
        super().__init__(f"{where}: {message}" if where else message, hint=hint)
        self.file = file
        self.line = line


class SplitError(MigrationFileError):
    """A file's text cannot be split into statements that a migration may run."""


class OrderError(MigrationError):
    """A file comes before one that is applied already, or what it requires is not applied."""


class ConnectionFailed(MigrationError):
    """The database cannot be reached, or refuses who asks. Nothing was run."""


class ChangedError(MigrationError):
    """What was applied is not what lies in the files, or in the database, now.

    Attributes:
        problems: One sentence for each difference.
    """

    def __init__(self, message: str, *, problems: Sequence[str] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.problems = list(problems)


class LockTimeout(MigrationError):
    """Another runner, or another session of the database, held a lock for too long. Nothing of this migration stays."""


class NeedsRepair(MigrationError):
    """A migration is half done, and only a person can say what is true. Nothing was run."""


class LintError(MigrationError):
    """A rule finds fault with a file that was to be run.

    Attributes:
        problems: One line for each finding: file, line, rule, reason.
    """

    def __init__(self, message: str, *, problems: Sequence[str] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.problems = list(problems)


class StatementFailed(MigrationError):
    """The database refused a statement of a migration.

    Attributes:
        migration: The file that was run.
        line: 1-based line of the statement in it.
        statement: Which statement, counted from 1; 0 where the transaction as a whole failed.
        statements: How many there are.
        sql: The statement's text.
        database_message: What the database said.
        outcome: What is in the database now, one sentence.
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
