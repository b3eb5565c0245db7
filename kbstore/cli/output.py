"""What reaches the terminal: text without surprises, colour where it is wanted, a pager, progress.

Text of users is escaped by `visible` (or, inside JSON, `visible_json`) first; what comes here is printed.
"""

import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, BinaryIO, Self

import orjson

from kbstore.kit.escape import visible, visible_json

SCHEMA_VERSION = 1
"""Stands in every JSON object that is printed; raised when a member goes or changes its meaning."""

_PROGRESS_AFTER_S = 1.0
_PROGRESS_EVERY_S = 0.1
_PAGED_LINES = 50
_BRIEF_LINES = 3


def wants_color() -> bool:
    """Whether to colour: never with NO_COLOR, always with FORCE_COLOR, else on a terminal that can."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return on_terminal() and os.environ.get("TERM") != "dumb"


def width() -> int:
    """Columns to write in."""
    return max(40, min(shutil.get_terminal_size((100, 24)).columns, 160))


def on_terminal() -> bool:
    """Whether a person reads the output, and not a program or a file."""
    return sys.stdout.isatty()


def brief(text: str) -> str:
    """Return user text as a part of a line, harmless; on a terminal it is cut where it would fill the screen."""
    shown = visible(text)
    if len(shown) <= _BRIEF_LINES * width() or not on_terminal():
        return shown
    from kbstore.diff.render.excerpt import cut

    return cut(shown, _BRIEF_LINES * width())


def paint(text: str, code: str, color: bool) -> str:
    """Text in a colour (an SGR code such as ``33``), or as it is."""
    return f"\x1b[{code}m{text}\x1b[0m" if color and text else text


def say(text: str = "") -> None:
    """Print one line on stdout."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Print one line on stderr, beside the output proper."""
    sys.stderr.write(text + "\n")


def warn(sentences: Iterable[str]) -> None:
    """Print each of these on stderr, as what a person should look at although the command did what it was told."""
    for sentence in sentences:
        note(f"warning: {sentence}")


def page(lines: Iterable[str]) -> None:
    """Print lines, through the user's pager where stdout is a terminal."""
    if not on_terminal() or os.environ.get("TERM") == "dumb":
        for line in lines:
            sys.stdout.write(line + "\n")
        return
    import click

    # Leave at once where all fits the screen, pass colours, keep the screen: as git does.
    less = os.environ.setdefault("LESS", "FRX")
    if "R" not in less.upper():
        os.environ["LESS"] = f"{less} -R"
    click.echo_via_pager(_joined(lines), color=wants_color())


def _joined(lines: Iterable[str]) -> Iterator[str]:
    """The lines in pieces of some size, as the pager gets them; it adds the last line's end itself."""
    piece: list[str] = []
    for number, line in enumerate(lines):
        piece.append(line if number == 0 else f"\n{line}")
        if len(piece) == _PAGED_LINES:
            yield "".join(piece)
            piece.clear()
    yield "".join(piece)


def say_json(fields: Mapping[str, Any]) -> None:
    """Print one JSON object on one line, with its `schema_version`."""
    sys.stdout.write(json_text({"schema_version": SCHEMA_VERSION, **fields}) + "\n")


def json_text(value: Any, *, pretty: bool = False) -> str:
    """JSON text of a value, in which nothing can steer a terminal; it still means exactly the value."""
    try:
        text = orjson.dumps(value, option=orjson.OPT_INDENT_2 if pretty else None).decode()
    except TypeError:  # the name of a file that is not text: JSON has a way to write what Python makes of it
        import json

        text = json.dumps(value, indent=2 if pretty else None, separators=None if pretty else (",", ":"))
    return "\n".join(visible_json(line) for line in text.split("\n"))


def write_bytes(data: bytes) -> None:
    """Print bytes as they are where they go to a program; made harmless where they go to a terminal."""
    if on_terminal():
        sys.stdout.write("\n".join(visible_json(line) for line in data.decode("utf-8", "replace").split("\n")))
        return
    sys.stdout.flush()
    raw: BinaryIO = sys.stdout.buffer
    raw.write(data)
    raw.flush()


class Progress:
    """A bar on stderr for work that takes over a second; nothing where stderr is no terminal.

    Args:
        label: What is being done.
        total: How much there is, in any unit; 0 where that is not known.
        unit: What is counted, where the total is not known.
    """

    def __init__(self, label: str, total: int = 0, unit: str = "") -> None:
        self._label = label
        self._unit = unit
        self._total = total
        self._done = 0
        self._next = time.monotonic() + _PROGRESS_AFTER_S
        self._shown = False
        self._on = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def reach(self, done: int, total: int | None = None) -> None:
        """Say how much is done by now."""
        self._done = done
        if total is not None:
            self._total = total
        if self._on and (now := time.monotonic()) >= self._next:
            self._next = now + _PROGRESS_EVERY_S
            self._draw()

    def counted(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The same lines, each counted when it is taken."""
        for number, line in enumerate(lines, 1):
            yield line
            self.reach(number)

    def _draw(self) -> None:
        self._shown = True
        if self._total:
            share = min(self._done / self._total, 1.0)
            bar = ("#" * int(share * 30)).ljust(30, ".")
            text = f"{self._label} [{bar}] {share:4.0%}"
        else:
            text = f"{self._label} {self._done:,} {self._unit}{'' if self._done == 1 else 's'}"
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
