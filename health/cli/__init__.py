"""The command line: a thin skin, and with the facade the only part that looks at environment, folder and terminal."""

import sys
from typing import NoReturn

from health.process import start_early
from kbstore.clock import SystemClock

__all__ = ["commands", "main"]


def main() -> NoReturn:
    """The console script.

    The worker of ``health check`` is started before the command line is even read: it comes up on another core while
    this process loads what it needs. Where the guess was wrong it is ended again.
    """
    early = start_early(SystemClock().token()) if "check" in sys.argv[1:] and "--help" not in sys.argv else None
    try:
        from health.cli.main import run

        code = run(early=early)
    finally:
        if early is not None:
            early.worker.stop()
    sys.exit(code)


def __getattr__(name: str) -> object:
    if name != "commands":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from health.cli.main import commands

    return commands
