"""Text by grapheme clusters: a cut never splits a cluster, and widths are widths on the screen.

A reader sees a cluster as one character. wcwidth knows clusters and widths. wcwidth is loaded only for texts that are
not plain. In a plain text (letters of Latin, Greek, Cyrillic and Armenian, and the usual signs) each character is one
cluster and one column.
"""

import re

_SIGNS = "\u2010-\u2027\u2030-\u205e\u20a0-\u20bf"
_PLAIN = f"\x00-\u02ff\u0370-\u0482\u048a-\u058f{_SIGNS}"
_NOT_PLAIN = re.compile(f"[^{_PLAIN}]")
_FLAG_LETTER = re.compile("[\U0001f1e6-\U0001f1ff]")
_WINDOW = 64


def is_plain(text: str) -> bool:
    """Return whether each character of a text is a cluster of its own and takes one column."""
    return text.isascii() or _NOT_PLAIN.search(text) is None


def cluster_start(text: str, at: int) -> int:
    """Return the last place up to `at` where a cut splits no cluster."""
    if not 0 < at < len(text) or _NOT_PLAIN.match(text, at) is None:
        return at
    from wcwidth import grapheme_boundary_before

    # A window is enough to find a boundary, and keeps the cost constant. But flags are pairs of letters, so a window
    # must begin at the first letter of a row of flags.
    start = max(0, at - _WINDOW)
    while start and _FLAG_LETTER.match(text, start):
        start -= 1
    return start + grapheme_boundary_before(text[start : at + 1], at + 1 - start)


def first_cluster(text: str) -> str:
    """Return the first cluster of a text that is not empty."""
    if is_plain(text[:2]):
        return text[0]
    from wcwidth import iter_graphemes

    return next(iter_graphemes(text[:_WINDOW]))


def cells(text: str) -> int:
    """Return how many columns a terminal uses for a text without control characters."""
    if is_plain(text):
        return len(text)
    from wcwidth import wcswidth

    used = wcswidth(text)
    return used if used >= 0 else len(text)


def fitting(text: str, columns: int) -> str:
    """Return the longest beginning of a text for this many columns."""
    if is_plain(text):
        return text[: max(columns, 0)]
    from wcwidth import iter_graphemes

    used = length = 0
    for cluster in iter_graphemes(text):
        used += cells(cluster)
        if used > columns:
            break
        length += len(cluster)
    return text[:length]


def ending(text: str, columns: int) -> str:
    """Return the longest end of a text for this many columns."""
    shown = text[cluster_start(text, max(0, len(text) - columns)) :]
    while cells(shown) > columns:
        shown = shown[len(first_cluster(shown)) :]
    return shown
