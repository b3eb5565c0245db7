"""Versioned SQL migrations that cannot be half-recorded, for SQLite, PostgreSQL and MariaDB/MySQL.

`DatabaseMigrator(url, directory)` has every operation: `create_migration`, `get_pending_migrations`,
`apply_all_pending`, `rollback_migration`, and the other commands of the command line. The names below are the public
interface. Each name is loaded on first use, so that a short command stays short.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kbstore.migrator._version import __version__

if TYPE_CHECKING:
    from kbstore.migrator.api import DatabaseMigrator, Entry
    from kbstore.migrator.clock import Clock
    from kbstore.migrator.doctor import Problem
    from kbstore.migrator.errors import (
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
    from kbstore.migrator.outcome import Result
    from kbstore.migrator.settings import Settings
    from kbstore.migrator.sql.statements import split_statements

_HOMES = {
    "Clock": "clock",
    "DatabaseMigrator": "api",
    "Entry": "api",
    "Problem": "doctor",
    "Result": "outcome",
    "Settings": "settings",
    "split_statements": "sql.statements",
}

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
    "Problem",
    "Result",
    "Settings",
    "SplitError",
    "StatementFailed",
    "__version__",
    "split_statements",
]


if not TYPE_CHECKING:  # a type checker sees the imports above, and reports a name that does not exist

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"kbstore.migrator.{_HOMES.get(name, 'errors')}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
