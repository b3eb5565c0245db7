"""Output to the terminal: harmless text, colour if wanted, a pager, progress.

Text from users is first escaped by `visible` (or, inside JSON, `visible_json`); the functions here print text as given.
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
"""Part of every printed JSON object; raised if a member is removed or changes its meaning."""

_PROGRESS_AFTER_S = 1.0
_PROGRESS_EVERY_S = 0.1
_PAGED_LINES = 50
_BRIEF_LINES = 3


def wants_color() -> bool:
    """Return True to colour the output: never with NO_COLOR, always with FORCE_COLOR, else on a capable terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return on_terminal() and os.environ.get("TERM") != "dumb"


def width() -> int:
    """Return the number of columns to write in."""
    return max(40, min(shutil.get_terminal_size((100, 24)).columns, 160))


def on_terminal() -> bool:
    """Return True if a person reads the output, not a program or a file."""
    return sys.stdout.isatty()


def brief(text: str) -> str:
    """Return user text for use inside a line, made harmless; on a terminal, very long text is cut."""
    shown = visible(text)
    if len(shown) <= _BRIEF_LINES * width() or not on_terminal():
        return shown
    from kbstore.diff.render.excerpt import cut

    return cut(shown, _BRIEF_LINES * width())


def paint(text: str, code: str, color: bool) -> str:
    """Return text in a colour (an SGR code such as ``33``), or unchanged."""
    return f"\x1b[{code}m{text}\x1b[0m" if color and text else text


def say(text: str = "") -> None:
    """Print a line on stdout."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Print a line on stderr, beside the real output."""
    sys.stderr.write(text + "\n")


def warn(sentences: Iterable[str]) -> None:
    """Print each sentence on stderr as a warning: the command succeeded, but a person should look."""
    for sentence in sentences:
        note(f"warning: {sentence}")


def page(lines: Iterable[str]) -> None:
    """Print lines, through the user's pager if stdout is a terminal."""
    if not on_terminal() or os.environ.get("TERM") == "dumb":
        for line in lines:
            sys.stdout.write(line + "\n")
        return
    import click

    # As git does: leave at once if all fits the screen, pass colours, keep the screen.
    less = os.environ.setdefault("LESS", "FRX")
    if "R" not in less.upper():
        os.environ["LESS"] = f"{less} -R"
    click.echo_via_pager(_joined(lines), color=wants_color())


def _joined(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines in larger pieces for the pager, which adds the end of the last line."""
    piece: list[str] = []
    for number, line in enumerate(lines):
        piece.append(line if number == 0 else f"\n{line}")
        if len(piece) == _PAGED_LINES:
            yield "".join(piece)
            piece.clear()
    yield "".join(piece)


def say_json(fields: Mapping[str, Any]) -> None:
    """Print a JSON object on one line, with its `schema_version`."""
    sys.stdout.write(json_text({"schema_version": SCHEMA_VERSION, **fields}) + "\n")


def json_text(value: Any, *, pretty: bool = False) -> str:
    """Return JSON text of exactly this value, with characters escaped that could steer a terminal."""
    try:
        text = orjson.dumps(value, option=orjson.OPT_INDENT_2 if pretty else None).decode()
    except TypeError:  # a file name that is not UTF-8: json escapes the surrogates that orjson refuses
        import json

        text = json.dumps(value, indent=2 if pretty else None, separators=None if pretty else (",", ":"))
    return "\n".join(visible_json(line) for line in text.split("\n"))


def write_bytes(data: bytes) -> None:
    """Print bytes unchanged to a program; made harmless to a terminal."""
    if on_terminal():
        sys.stdout.write("\n".join(visible_json(line) for line in data.decode("utf-8", "replace").split("\n")))
        return
    sys.stdout.flush()
    raw: BinaryIO = sys.stdout.buffer
    raw.write(data)
    raw.flush()


class Progress:
    """A progress bar on stderr for work of more than a second; nothing if stderr is not a terminal.

    Args:
        label: The name of the work.
        total: The amount of work, in any unit; 0 if unknown.
        unit: The name of the counted things, if the total is unknown.
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
        """Report the amount of work done so far."""
        self._done = done
        if total is not None:
            self._total = total
        if self._on and (now := time.monotonic()) >= self._next:
            self._next = now + _PROGRESS_EVERY_S
            self._draw()

    def counted(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the lines unchanged, and count each line when it is taken."""
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
