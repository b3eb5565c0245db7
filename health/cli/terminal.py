"""Output for the terminal: colour if wanted, and lines of the right width."""

import os
import shutil
import sys


def wants_color() -> bool:
    """Return whether to use colour: never with NO_COLOR, always with FORCE_COLOR, else on a capable terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def width() -> int:
    """Return the number of columns to write in."""
    return max(40, min(shutil.get_terminal_size((100, 24)).columns, 160))


def say(text: str = "") -> None:
    """Print one line on stdout."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
