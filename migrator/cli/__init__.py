"""The command line: a thin skin over `DatabaseMigrator`, and the only part that looks at environment and terminal."""

from migrator.cli.main import main

__all__ = ["main"]
