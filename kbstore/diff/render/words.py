"""Changed words of a string: marks inside a line, so that the reader need not compare the line by eye."""

import re
from typing import NamedTuple

from kbstore.jsondoc.lcs import align
from kbstore.kit.graphemes import cluster_start, is_plain

# Words, single ideographs and kana (their scripts put no blanks between words), runs of blanks, single signs.
_WIDE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[{_WIDE}]|[^\W{_WIDE}]+|\s+|[^\w\s]")
_IN_WORD = re.compile(rf"[^\W{_WIDE}]")
# With a smaller common part, the texts are unrelated, and marks on single words would confuse the reader.
_COMMON = 0.3


class Span(NamedTuple):
    """An unchanged part of a text, or a replaced part.

    Attributes:
        same: Whether the part is unchanged; `old` and `new` are then equal.
        old: The part in the old string; empty for an insertion.
        new: The part in the new string; empty for a deletion.
    """

    same: bool
    old: str
    new: str


def word_diff(old: str, new: str) -> list[Span]:
    """Return the changed words between two strings.

    Cost: near-linear, as `align`: 100 KB take some hundredths of a second.

    Args:
        old: The text before.
        new: The text after.

    Returns:
        Spans in order. All `old` parts together are `old`, all `new` parts together are `new`. If the texts have too
        little in common for marks to help, the result is a single replacement.
    """
    if old == new:
        return [Span(True, old, new)] if old else []
    start, end = _equal_ends(old, new)
    middle = _match(old[start : len(old) - end], new[start : len(new) - end])
    spans = [Span(True, old[:start], old[:start]), *middle, Span(True, old[len(old) - end :], old[len(old) - end :])]
    spans = _tidy(spans)
    kept = sum(len(span.old.strip()) for span in spans if span.same)
    if kept < _COMMON * min(len(old), len(new)):
        return [Span(False, old, new)]
    return spans


def _equal_ends(old: str, new: str) -> tuple[int, int]:
    """Return the lengths of the common start and of the common end, both reduced to a word boundary.

    A boundary is never inside a grapheme cluster.
    """
    start = common_length(old, new)
    while start > 0 and (_joined(old, start) or _joined(new, start)):
        start -= 1
    rest = min(len(old), len(new)) - start
    end = min(common_length(old[::-1], new[::-1]), rest)
    while end > 0 and (_joined(old, len(old) - end) or _joined(new, len(new) - end)):
        end -= 1
    return start, end


def common_length(old: str, new: str) -> int:
    """Return the length of the common start, by halving: comparing strings is faster than a loop over characters."""
    low, high = 0, min(len(old), len(new))
    while low < high:
        middle = (low + high + 1) // 2
        if old[low:middle] == new[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _joined(text: str, cut: int) -> bool:
    """Return whether a cut at this place would split a word, a run of blanks or a cluster."""
    if not 0 < cut < len(text):
        return False
    if cluster_start(text, cut) != cut:
        return True
    left, right = text[cluster_start(text, cut - 1)], text[cut]
    return (left.isalnum() and right.isalnum()) or (left.isspace() and right.isspace()) or "_" in (left, right)


def _words(text: str) -> list[str]:
    """Return the text in words, blanks and signs, cut only between grapheme clusters."""
    found = _WORD.findall(text)
    if is_plain(text):
        return found
    words: list[str] = []
    at = 0
    for piece in found:
        # `re` takes an accent above a letter for a sign: join the accent to the letter, and to the rest of the word.
        if words and (cluster_start(text, at) != at or (_IN_WORD.match(words[-1]) and _IN_WORD.match(piece))):
            words[-1] += piece
        else:
            words.append(piece)
        at += len(piece)
    return words


def _match(old: str, new: str) -> list[Span]:
    before, after = _words(old), _words(new)
    spans: list[Span] = []
    left = right = 0
    for start, other, length in [*align(before, after), (len(before), len(after), 0)]:
        same = "".join(before[start : start + length])
        spans.append(Span(False, "".join(before[left:start]), "".join(after[right:other])))
        spans.append(Span(True, same, same))
        left, right = start + length, other + length
    return spans


def _tidy(spans: list[Span]) -> list[Span]:
    """Join neighbours of one kind, and add blanks and lone signs between two replacements to the replacement."""
    joined: list[Span] = []
    for index, span in enumerate(spans):
        if not span.old and not span.new:
            continue
        bridge = (
            span.same
            and len(span.old.strip()) <= 1
            and not span.old.strip().isalnum()
            and "\n" not in span.old
            and bool(joined)
            and not joined[-1].same
            and any(not later.same for later in spans[index + 1 : index + 2])
        )
        same = span.same and not bridge
        if joined and joined[-1].same == same:
            joined[-1] = Span(same, joined[-1].old + span.old, joined[-1].new + span.new)
        else:
            joined.append(Span(same, span.old, span.new))
    return joined
