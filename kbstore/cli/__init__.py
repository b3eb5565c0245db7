"""The command line: a thin skin over the store, and the only part that looks at terminal, environment and home."""

from kbstore.cli.main import main

__all__ = ["main"]
