"""A diff in figures: the number of changes in each entry, as in `git diff --stat`, and names alone."""

from collections import Counter

from kbstore.diff.render.layout import clip
from kbstore.diff.render.source import Differences, Group, entry_counts, groups, turned_lines
from kbstore.kit.escape import visible
from kbstore.kit.graphemes import cells

_SIGNS = {"added": "+", "removed": "-", "modified": "~", "moved": ">"}
_LONGEST_BAR = 30


def stat(diff: Differences, width: int = 80) -> str:
    """Return a line for each changed entry: address, number of changed paths, and a bar; then the sums.

    Args:
        diff: The changes.
        width: Columns that lines may use.

    Returns:
        Lines, each with a line end; empty if nothing changed. The bar has a `+`, `-`, `~` or `>` for each added,
        removed, modified or moved path, scaled if the longest bar would not fit.
    """
    parts = groups(diff)
    if not parts:
        return "".join(f" {line}\n" for line in turned_lines(diff))
    rows = [(_name(part), Counter[str](change.kind for change in part.changes)) for part in parts]
    longest = max(counts.total() for _, counts in rows)
    digits = len(str(longest))
    bar_width = min(_LONGEST_BAR, longest, max(width - digits - 24, 8))
    room = min(max(cells(name) for name, _ in rows), max(width - digits - bar_width - 5, 16))
    lines = []
    for name, counts in rows:
        name = clip(name, room)
        pad = " " * (room - cells(name))
        lines.append(f" {name}{pad} | {counts.total():>{digits}} {_bar(counts, longest, bar_width)}")
    sums = sum((counts for _, counts in rows), Counter[str]())
    told = ", ".join(f"{sums[kind]:,} {kind}({sign})" for kind, sign in _SIGNS.items() if sums[kind])
    lines.append(f" {entry_counts(diff) or 'no entry touched'}; paths: {told}")
    return "\n".join(lines) + "\n"


def names(diff: Differences) -> str:
    """Return the addresses of the changed entries, and of the changes outside of entries, one per line."""
    found = []
    for part in groups(diff):
        found += [part.address] if part.entry is not None else [change.address for change in part.changes]
    return "".join(f"{visible(name) or '/'}\n" for name in found)


def _name(part: Group) -> str:
    return visible(part.address) if part.entry is not None else "(outside of the entries)"


def _bar(counts: Counter[str], longest: int, width: int) -> str:
    """Return a bar with signs in proportion; each kind of change has at least one sign."""
    if longest <= width:
        return "".join(sign * counts[kind] for kind, sign in _SIGNS.items())
    return "".join(
        sign * max(round(counts[kind] * width / longest), bool(counts[kind])) for kind, sign in _SIGNS.items()
    )
