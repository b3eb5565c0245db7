"""A diff in figures: how much changed in each entry, as `git diff --stat` tells it, and names alone."""

from collections import Counter

from kbstore.diff.render.layout import clip
from kbstore.diff.render.source import Differences, Group, entry_counts, groups, turned_lines
from kbstore.kit.escape import visible
from kbstore.kit.graphemes import cells

_SIGNS = {"added": "+", "removed": "-", "modified": "~", "moved": ">"}
_LONGEST_BAR = 30


def stat(diff: Differences, width: int = 80) -> str:
    """A line for each changed entry: its name, how many paths changed, and a bar; then the sums.

    An entry's name is its address.

    Args:
        diff: What changed.
        width: Columns that lines may use.

    Returns:
        Lines, each ended; empty where nothing changed. The bar has a `+`, `-`, `~` or `>` for each path that was
        added, removed, modified or moved, scaled where the longest would not fit.
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
    """The addresses of the changed entries, and of what changed outside of them, one a line."""
    found = []
    for part in groups(diff):
        found += [part.address] if part.entry is not None else [change.address for change in part.changes]
    return "".join(f"{visible(name) or '/'}\n" for name in found)


def _name(part: Group) -> str:
    return visible(part.address) if part.entry is not None else "(outside of the entries)"


def _bar(counts: Counter[str], longest: int, width: int) -> str:
    """Signs in proportion; what there is of a kind shows as one sign at least."""
    if longest <= width:
        return "".join(sign * counts[kind] for kind, sign in _SIGNS.items())
    return "".join(
        sign * max(round(counts[kind] * width / longest), bool(counts[kind])) for kind, sign in _SIGNS.items()
    )
