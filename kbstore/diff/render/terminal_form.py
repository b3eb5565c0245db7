"""A diff for a terminal: by entry, old and new value of each path, changed words marked."""

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any

from kbstore.diff.render.excerpt import cut
from kbstore.diff.render.layout import ELLIPSIS, Piece, clip, side, wrap
from kbstore.diff.render.lines import hunks
from kbstore.diff.render.outline import inline, outline
from kbstore.diff.render.source import Differences, Group, entry_counts, groups, title_of, turned_lines
from kbstore.diff.render.words import Span, word_diff
from kbstore.jsondoc.make_patch import Change
from kbstore.kit.escape import visible
from kbstore.kit.graphemes import cells

_RED, _GREEN, _YELLOW, _DIM, _BOLD = "31", "32", "33", "2", "1"
_SIGNS = {"added": ("+", _GREEN), "removed": ("-", _RED), "modified": ("~", _YELLOW), "moved": (">", _YELLOW)}
# Short values (dates, numbers, severities) are printed on the line of the path. Longer texts are printed below.
_BRIEF = 28
# Limits: beyond them, added and removed entries are only listed, and values are cut.
_WHOLE_ENTRIES = 12
_VALUE_LINES = 60
_NARROWEST = 40
_POINTER_LINES = 3


def terminal(diff: Differences, color: bool = False, width: int = 80) -> str:
    """Return the diff for a terminal.

    Args:
        diff: The changes.
        color: True for SGR colours; otherwise changed words are marked as `[-old-]` and `{+new+}`.
        width: Columns of the terminal; less than 40 count as 40.

    Returns:
        Lines, each with a line end; empty if nothing changed. A character of the knowledge base without a visible shape
        is printed as an escape (`kbstore.kit.escape`).
    """
    paper = _Paper(color, max(width, _NARROWEST))
    parts = groups(diff)
    many = sum(part.kind in ("added", "removed") for part in parts) > _WHOLE_ENTRIES
    brief = [part.kind == "moved" or (many and part.kind != "modified") for part in parts]
    lines: list[str] = []
    for number, part in enumerate(parts):
        lines += paper.entry_line(part) if brief[number] else paper.entry(part)
        if not all(brief[number : number + 2]) or part is parts[-1]:
            lines.append("")
    if not parts:
        return "".join(f"{line}\n" for line in turned_lines(diff))
    names = visible(f"{diff.old_name} -> {diff.new_name}")
    return "\n".join([*lines, f"{names}: {summary(diff, parts)}"]) + "\n"


def summary(diff: Differences, parts: Sequence[Group]) -> str:
    """Return how many entries and paths changed, on one line."""
    if not parts:
        return "; ".join(turned_lines(diff)) or "nothing changed"
    entries = entry_counts(diff) or "no entry touched"
    paths = sum(len(part.changes) for part in parts)
    return f"{entries}; {paths:,} path{'' if paths == 1 else 's'}"


class _Paper:
    """A writer of lines with one width, with or without colour."""

    def __init__(self, color: bool, width: int) -> None:
        self.color = color
        self.width = width

    def paint(self, text: str, *codes: str) -> str:
        """Return `text` in a colour; unchanged if colours are off."""
        return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if self.color and codes and text else text

    def entry(self, part: Group) -> Iterator[str]:
        """Yield an entry's heading and all its changes."""
        yield from self.entry_line(part)
        if part.kind == "modified":
            for change in part.changes:
                yield from self.change(part, change)
        else:
            sign, code = _SIGNS[part.kind]
            yield from self.block(part.new if part.kind == "added" else part.old, sign, code, 4)

    def entry_line(self, part: Group) -> list[str]:
        """Return an entry's heading: sign, id and title."""
        sign, code = _SIGNS[part.kind]
        if part.entry is None:
            return [self.paint("~ outside of the entries", _BOLD, code)]
        name = clip(visible(part.entry), self.width - 2)
        room = self.width - 4 - cells(name)
        title = clip(visible(part.title), room) if part.title and room > 8 else ""
        head = self.paint(f"{sign} {name}", _BOLD, code)
        if part.kind == "moved":
            title = f"moved: {title}" if title else "moved"
        return [f"{head}  {title}" if title else head]

    def change(self, part: Group, change: Change) -> Iterator[str]:
        """Yield the lines of one changed path."""
        head = f"    {cut(visible(part.relative(change) or '(itself)'), _POINTER_LINES * self.width)}"
        used = cells(head)
        sign, code = _SIGNS[change.kind]
        if change.kind == "modified":
            yield from self.modified(head, used, change.old, change.new)
        elif change.kind == "moved":
            title = title_of(change.new) or inline(change.new)
            room = self.width - used - 9
            yield f"{head}  {self.paint('moved', code)}" + f": {clip(visible(title), room)}"
        else:
            value = change.new if change.kind == "added" else change.old
            # A container is printed as an outline; a plain value is printed on the line of the path.
            text = inline(value) if not isinstance(value, dict | list) or not value else ""
            if text and used + 4 + cells(text) <= self.width:
                yield f"{head}  {self.paint(f'{sign} {text}', code)}"
            else:
                yield head
                yield from self.block(value, sign, code, 6)

    def modified(self, head: str, used: int, old: Any, new: Any) -> Iterator[str]:
        """Yield old and new value: on one line if both are short, otherwise below each other."""
        texts = isinstance(old, str) and isinstance(new, str)
        before, after = inline(old), inline(new)
        fits = used + cells(before) + cells(after) + 6 <= self.width
        spans = word_diff(old, new) if texts and len(before) + len(after) > 2 * _BRIEF else []
        if fits and not any(span.same for span in spans) and not _lines(old, new):
            yield f"{head}  {self.paint(before, _RED)} -> {self.paint(after, _GREEN)}"
            return
        yield head
        if texts and _lines(old, new):
            yield from self.linewise(old.split("\n"), new.split("\n"))
        elif texts:
            yield from self.marked(spans or word_diff(old, new), 6, quoted=True)
        else:
            yield from self.block(old, "-", _RED, 6)
            yield from self.block(new, "+", _GREEN, 6)

    def marked(self, spans: Sequence[Span], indent: int, *, quoted: bool = False) -> Iterator[str]:
        """Yield a compared string, or a line of a string: old form, then new form, changed words marked."""
        width = self.width - indent - 2
        for sign, code, new in (("-", _RED, False), ("+", _GREEN, True)):
            alone = not any(span.same for span in spans)
            pieces = side(spans, new=new, width=3 * width)
            if quoted:
                pieces = [Piece('"'), *(Piece(p.text.replace('"', '\\"'), p.marked) for p in pieces), Piece('"')]
            for number, line in enumerate(wrap(self.brackets(pieces, sign, alone), width)):
                start = self.paint(f"{sign if number == 0 else ' '} ", code)
                yield (
                    " " * indent
                    + start
                    + "".join(
                        self.paint(piece.text, code, "7")
                        if piece.marked and not alone
                        else self.paint(piece.text, code)
                        for piece in line
                    )
                )

    def brackets(self, pieces: Sequence[Piece], sign: str, alone: bool) -> Sequence[Piece]:
        """Put changed words in brackets, if there is no colour."""
        if self.color or alone:
            return pieces
        return [Piece(f"[-{p.text}-]" if sign == "-" else f"{{+{p.text}+}}", True) if p.marked else p for p in pieces]

    def linewise(self, old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
        """Yield the changed lines of a multi-line text, with the lines around each change."""
        for number, gathered in enumerate(hunks(old, new, 1)):
            first, last = gathered[0], gathered[-1]
            start = max(first.old_start - 1, 0)
            if number or start:
                yield self.paint(f"      {ELLIPSIS} line {start + 1}", _DIM)
            place = start
            for region in gathered:
                yield from self.context(old[place : region.old_start])
                gone, come = old[region.old_start : region.old_end], new[region.new_start : region.new_end]
                if len(gone) == len(come):
                    for before, after in zip(gone, come, strict=True):
                        yield from self.marked(word_diff(before, after), 6)
                else:
                    yield from chain(self.plain(gone, "-", _RED), self.plain(come, "+", _GREEN))
                place = region.old_end
            yield from self.context(old[place : last.old_end + 1])

    def context(self, lines: Sequence[str]) -> Iterator[str]:
        """Yield unchanged lines."""
        for line in lines:
            yield self.paint(f"        {clip(visible(line), self.width - 8)}", _DIM).rstrip()

    def plain(self, lines: Sequence[str], sign: str, code: str) -> Iterator[str]:
        """Yield lines that were added or removed as a whole."""
        for line in lines:
            for number, row in enumerate(wrap([Piece(visible(line))], self.width - 8)):
                text = "".join(piece.text for piece in row)
                yield "      " + self.paint(f"{sign if number == 0 else ' '} {text}".rstrip(), code)

    def block(self, value: Any, sign: str, code: str, indent: int) -> Iterator[str]:
        """Yield a whole value as an outline; of a long value, the beginning and the number of further lines."""
        width = self.width - indent - 2
        rows = outline(value, width)
        for line in islice(rows, _VALUE_LINES):
            # Continued lines are indented more than the first line, to separate the value from names and dashes.
            hang = line.depth + (2 if width - line.depth > _NARROWEST // 2 else 0)
            depth = min(line.depth, width // 2)
            wrapped = wrap([Piece(line.text)], max(width - min(hang, width // 2), 8))
            for number, row in enumerate(wrapped):
                text = "".join(piece.text for piece in row)
                pad = depth if number == 0 else min(hang, width // 2)
                yield " " * indent + self.paint(f"{sign} {' ' * pad}{text}", code)
        if more := sum(1 for _ in rows):
            yield " " * (indent + 2) + self.paint(f"{ELLIPSIS} {more:,} more line{'s' if more > 1 else ''}", _DIM)


def _lines(old: Any, new: Any) -> bool:
    """Return whether both values are texts, and at least one has several lines."""
    return isinstance(old, str) and isinstance(new, str) and ("\n" in old or "\n" in new)
