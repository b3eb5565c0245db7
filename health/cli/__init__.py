"""The command line: a thin skin. Only it and `kbstore.health.api` use environment, folder and terminal."""

import signal
import sys
from typing import NoReturn

__all__ = ["commands", "main"]

_INTERRUPTED = 130


def main() -> NoReturn:
    """Run the command line of this process.

    The worker of ``health check`` starts even before the command line is read: it comes up on another core while this
    process loads its modules. If the command does not need the worker, the worker is stopped. Ctrl-C during the loading
    ends the process silently once everything is loaded.
    """
    interrupted: list[int] = []
    waits = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if waits:
        signal.signal(signal.SIGINT, lambda number, _: interrupted.append(number))
    from kbstore.health.run.process import start_early
    from kbstore.kit.clock import SystemClock

    early = start_early(SystemClock().token()) if "check" in sys.argv[1:] and "--help" not in sys.argv else None
    try:
        from kbstore.health.cli.main import run

        globals()["main"] = main  # the module of that name took the place of this function when it was loaded
        if waits:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = _INTERRUPTED if interrupted else run(early=early)
    finally:
        if early is not None:
            early.worker.stop()
    sys.exit(code)


def __getattr__(name: str) -> object:
    if name != "commands":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kbstore.health.cli.main import commands

    return commands
