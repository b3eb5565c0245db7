"""Versioned SQL migrations that cannot be half-recorded, for SQLite, PostgreSQL and MariaDB/MySQL.

`DatabaseMigrator(url, directory)` does all of it: `create_migration`, `get_pending_migrations`, `apply_all_pending`,
`rollback_migration`, and what the command line has beside these.
"""

from migrator._version import __version__
from migrator.clock import Clock
from migrator.database import DatabaseMigrator, Entry
from migrator.errors import (
    ChangedError,
    ConnectionFailed,
    LintError,
    LockTimeout,
    MigrationError,
    MigrationFileError,
    NeedsRepair,
    OrderError,
    SplitError,
    StatementFailed,
)
from migrator.runner import Result
from migrator.settings import Settings
from migrator.statements import split_statements

__all__ = [
    "ChangedError",
    "Clock",
    "ConnectionFailed",
    "DatabaseMigrator",
    "Entry",
    "LintError",
    "LockTimeout",
    "MigrationError",
    "MigrationFileError",
    "NeedsRepair",
    "OrderError",
    "Result",
    "Settings",
    "SplitError",
    "StatementFailed",
    "__version__",
    "split_statements",
]
