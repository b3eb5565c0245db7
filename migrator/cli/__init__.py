"""The command line: a thin skin over `DatabaseMigrator`, and the only part that looks at environment and terminal."""

import gc
import os
import signal
import sys
from typing import NoReturn

__all__ = ["main"]

_INTERRUPTED = 130


def main() -> NoReturn:
    """Run the command line of this process.

    Ctrl-C while the modules are being loaded ends the process without a word: nothing was begun.
    """
    waits = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if waits:
        signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    gc.disable()  # a command is short, and leaves no cycles worth looking for; looking is a tenth of its time
    from kbstore.migrator.cli.main import run

    globals()["main"] = main  # the module of that name took the place of this function when it was loaded
    if waits:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(run())
