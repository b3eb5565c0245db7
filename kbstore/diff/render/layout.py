"""Text on a grid: width, line breaks, and omission of unchanged text."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from kbstore.diff.render.words import Span
from kbstore.kit.escape import visible
from kbstore.kit.graphemes import cells, cluster_start, first_cluster, fitting

ELLIPSIS = "\u2026"
# Unchanged characters kept on each side of a change, and the length up to which a change is printed whole.
_CONTEXT = 36
_LONGEST = 600
_PIECE = re.compile(r"\S+|\s+")


class Piece(NamedTuple):
    """A part of a line, already harmless.

    Attributes:
        text: The text to print.
        marked: Whether the text is part of a change.
    """

    text: str
    marked: bool = False


def clip(text: str, width: int) -> str:
    """Return the text, cut with an ellipsis if the text is wider than `width` columns."""
    return text if cells(text) <= width else fitting(text, width - 1).rstrip() + ELLIPSIS


def wrap(pieces: Iterable[Piece], width: int) -> list[list[Piece]]:
    """Break a line at blanks into lines of at most `width` columns; a wider word is cut.

    Returns:
        At least one line. Blanks at a break are dropped.
    """
    lines: list[list[Piece]] = [[]]
    used = 0
    for word in _words(pieces):
        size = sum(cells(piece.text) for piece in word)
        if used + size > width and used:
            _strip_end(lines[-1])
            lines.append([])
            used = 0
            if word[0].text.isspace():
                continue
        for piece in word:
            rest = piece
            while used + cells(rest.text) > width:
                head = fitting(rest.text, width - used) or ("" if used else first_cluster(rest.text))
                _put(lines[-1], Piece(head, rest.marked))
                lines.append([])
                used = 0
                rest = Piece(rest.text[len(head) :], rest.marked)
            _put(lines[-1], rest)
            used += cells(rest.text)
    return [line for line in lines if line] or [[]]


def _words(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Yield words and runs of blanks. A word may be partly marked, and is not broken at the mark."""
    word: list[Piece] = []
    for piece in pieces:
        for match in _PIECE.finditer(piece.text):
            text = match.group()
            if word and (text.isspace() or word[-1].text.isspace()):
                yield word
                word = []
            word.append(Piece(text, piece.marked))
    if word:
        yield word


def _put(line: list[Piece], piece: Piece) -> None:
    if piece.text and line and line[-1].marked == piece.marked:
        line[-1] = Piece(line[-1].text + piece.text, piece.marked)
    elif piece.text:
        line.append(piece)


def _strip_end(line: list[Piece]) -> None:
    if not line:
        return
    text, marked = line[-1].text.rstrip(), line[-1].marked
    if text:
        line[-1] = Piece(text, marked)
    elif not marked:  # a changed blank is shown even at a break
        line.pop()


def side(spans: Sequence[Span], *, new: bool, width: int) -> list[Piece]:
    """Return one side of a compared string, harmless; long unchanged parts are omitted if the whole does not fit.

    Args:
        spans: The result of `word_diff`.
        new: True for the new side, False for the old side.
        width: Columns within which nothing is omitted.
    """
    whole = [Piece(visible(span.new if new else span.old), not span.same) for span in spans]
    if sum(cells(piece.text) for piece in whole) <= width:
        return [piece for piece in whole if piece.text]
    last = len(spans) - 1
    pieces = []
    for index, piece in enumerate(whole):
        if piece.marked:
            pieces.append(Piece(_shorten(piece.text, _LONGEST), True))
        else:
            before = 0 if index == 0 else _CONTEXT
            after = 0 if index == last else _CONTEXT
            pieces.append(Piece(_elide(piece.text, before, after)))
    return [piece for piece in pieces if piece.text]


def _elide(text: str, before: int, after: int) -> str:
    """Keep about `before` characters of the start and `after` characters of the end, in whole words."""
    if len(text) <= before + after + 12:
        return text
    start = text[: cluster_start(text, before)]
    end = text[cluster_start(text, len(text) - after) :] if after else ""
    if " " in start.strip():
        start = start[: start.rstrip().rfind(" ")]
    if " " in end.strip():
        end = end[end.find(" ", len(end) - len(end.lstrip())) :]
    return f"{start} {ELLIPSIS}{end}" if before else f"{ELLIPSIS}{end}"


def _shorten(text: str, longest: int) -> str:
    """Return a long change as beginning, number of omitted characters, and end."""
    if len(text) <= longest:
        return text
    left = text[: cluster_start(text, longest // 2)]
    right = text[cluster_start(text, len(text) - longest // 4) :]
    return f"{left} {ELLIPSIS} ({len(text) - len(left) - len(right):,} more characters) {ELLIPSIS} {right}"
