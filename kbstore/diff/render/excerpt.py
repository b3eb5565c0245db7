"""Long texts on one line: the beginning of a text, or the first difference of two texts."""

from kbstore.diff.render.layout import ELLIPSIS
from kbstore.diff.render.words import common_length
from kbstore.kit.graphemes import cells, cluster_start, ending, fitting

MARKS = (">>", "<<")
"""The marks around the difference of two shortened texts."""
_LEAST_AFTER = 12


def cut(text: str, columns: int) -> str:
    """Return a harmless text, shortened to a number of columns: the beginning of a longer text, and its length."""
    if cells(text) <= columns:
        return text
    length = f"{ELLIPSIS} ({len(text):,} characters)"
    return fitting(text, max(columns - len(length), 1)) + length


def cut_pair(one: str, other: str, columns: int) -> tuple[str, str]:
    """Return two harmless texts; a longer text is shortened to the first difference, between marks.

    Args:
        one: The first text.
        other: The second text.
        columns: Columns for each text.
    """
    start = common_length(one, other)
    start = min(cluster_start(one, start), cluster_start(other, start))
    end = min(common_length(one[::-1], other[::-1]), min(len(one), len(other)) - start)
    return _around(one, start, len(one) - end, columns), _around(other, start, len(other) - end, columns)


def _around(text: str, start: int, end: int, columns: int) -> str:
    """Return the part of a text from `start` to `end` between marks, with as much text around it as fits."""
    if cells(text) <= columns or (start == 0 and end == len(text)):
        return cut(text, columns)
    before = ending(text[:start], columns // 3)
    if len(before) < start:
        before = ELLIPSIS + before
    room = columns - cells(before) - cells("".join(MARKS))
    differs = cut(text[start:end], room - _LEAST_AFTER)
    room -= cells(differs) + 1
    after = fitting(text[end : end + columns], room)
    return f"{before}{MARKS[0]}{differs}{MARKS[1]}{after}{ELLIPSIS if end + len(after) < len(text) else ''}"
