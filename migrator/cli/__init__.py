"""The command line: a thin layer over `DatabaseMigrator`, and the only part that reads environment and terminal."""

import gc
import os
import signal
import sys
from typing import NoReturn

__all__ = ["main"]

_INTERRUPTED = 130


def main() -> NoReturn:
    """Run the command line of this process.

    Ctrl-C during the import of the modules ends the process without a message: nothing was begun.
    """
    waits = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if waits:
        signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    gc.disable()  # a command is short and leaves few cycles; looking for cycles would take a tenth of its time
    from kbstore.migrator.cli.main import run

    globals()["main"] = main  # the import has set this name to the module `main`: set the function again
    if waits:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(run())
