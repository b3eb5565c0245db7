"""The command line: a thin skin, and with the facade the only part that looks at environment, folder and terminal."""

from health.cli.main import commands, main

__all__ = ["commands", "main"]
