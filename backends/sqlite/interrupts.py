"""Signals during a long SQLite statement, such as Ctrl-C during a check of all pages.

Python runs signal handlers only between Python instructions, and a statement contains no Python instructions. So SQLite
calls a progress handler every so many steps, and an exception that a signal's handler raises there ends the statement.
"""

import sqlite3
from collections.abc import Generator

_STEPS = 200_000
"""Steps of SQLite's machine between two looks: a few milliseconds."""


class Pulse:
    """Looks for signals in the statements of a single connection at a time."""

    def __init__(self) -> None:
        self._raised: list[BaseException] = []
        self._beats = _beats(self._raised)
        next(self._beats)
        self._watched = 0  # an id: a reference would keep a forgotten connection open

    @property
    def beating(self) -> bool:
        """True within a signal's handler in the middle of a statement: the connection may not be used."""
        return bool(self._beats.gi_running)  # type: ignore[attr-defined]  # Generator has no name for it

    def watch(self, connection: sqlite3.Connection) -> None:
        """Begin to look for signals in statements of this connection."""
        if self._watched != id(connection):
            connection.set_progress_handler(self._beats.__next__, _STEPS)
            self._watched = id(connection)

    def rest(self, connection: sqlite3.Connection) -> None:
        """Stop looking for signals."""
        if self._watched:
            connection.set_progress_handler(None, _STEPS)
            self._watched = 0

    def take(self) -> BaseException:
        """Return and forget the exception that ended a statement."""
        return self._raised.pop() if self._raised else KeyboardInterrupt()


def _beats(raised: list[BaseException]) -> Generator[bool, None, None]:
    """Yield, at each beat, whether the statement is to end.

    A function would run the handler before the first instruction, outside of any `try`; a generator goes on inside.
    """
    end = False
    while True:
        try:
            yield end
            end = False
        except GeneratorExit:
            return
        except BaseException as error:  # noqa: BLE001 - sqlite3 would swallow it; whoever runs the statement raises it
            raised[:] = [error]
            end = True
