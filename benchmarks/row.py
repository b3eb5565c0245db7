"""A row of the table: what was measured, and the limit and aim that it is held to."""

from collections.abc import Sequence
from dataclasses import dataclass

_WIDTHS = (70, 12, 12, 12, 10, 8)
HEADINGS = ("what", "measured", "at most", "aim", "of limit", "", "beside it")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Attributes:
        what: What was measured, as ``commit: small patch, warm, 10 MB``.
        measured: The figure.
        unit: Its unit; ``x`` stands for a ratio.
        limit: What it may be at most (or at least); None for a figure that is told for the reader only.
        aim: What it should be.
        at_least: The limit and the aim are lower bounds.
        note: What the reader should see beside it.
    """

    what: str
    measured: float
    unit: str
    limit: float | None = None
    aim: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def share(self) -> float | None:
        """The figure as a share of its limit: 1 or less where the limit is kept."""
        if self.limit is None:
            return None
        if self.at_least:
            return self.limit / self.measured if self.measured else float("inf")
        return self.measured / self.limit if self.limit else float("inf")

    @property
    def ok(self) -> bool | None:
        """Whether the limit is kept; None where there is none."""
        return None if self.share is None else self.share <= 1

    def cells(self) -> tuple[str, ...]:
        """The texts of its columns, in the order of `HEADINGS`."""
        bound = ">= " if self.at_least else ""
        share = "" if self.share is None else f"{self.share:.2f}x"
        verdict = {True: "met", False: "MISSED", None: ""}[self.ok]
        limit, aim = (bound + amount(value, self.unit) if value is not None else "" for value in (self.limit, self.aim))
        return self.what, amount(self.measured, self.unit), limit, aim, share, verdict, self.note


def amount(value: float, unit: str) -> str:
    """A figure and its unit, with three digits that count."""
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}{'' if unit == 'x' else ' '}{unit}"


def line(cells: Sequence[str], *, markdown: bool) -> str:
    """A row as it is printed."""
    if markdown:
        return "| " + " | ".join(cells) + " |"
    first, *others, note = cells
    right = "".join(f"{cell:>{width}}" for cell, width in zip(others, _WIDTHS[1:], strict=True))
    return f"{first:<{_WIDTHS[0]}}{right}  {note}".rstrip()


def heading(*, markdown: bool) -> str:
    """What stands above the rows."""
    top = line(HEADINGS, markdown=markdown)
    return top + "\n|---|---:|---:|---:|---:|---|---|" if markdown else top
