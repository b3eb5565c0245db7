"""The command line: a thin layer over the store, and the only part that reads terminal, environment and home."""

import os
import signal
import sys
from typing import NoReturn

__all__ = ["main"]

_INTERRUPTED = 130


def main() -> NoReturn:
    """Run the command line of this process.

    Ctrl-C while the modules are being loaded ends the process silently: nothing was begun.
    """
    waits = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if waits:
        signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    from kbstore.cli.main import run

    globals()["main"] = main  # loading the module of this name replaced this function
    if waits:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(run())
