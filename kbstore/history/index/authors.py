"""Authors and labels in each stretch of a log: an index in blocks, for filters of a long log.

If each call costs a round trip, a log filtered by author or label reads the blocks first, and then only the headers of
possible stretches. A block is a function of the events in the block. If a block is missing, the events are read.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import orjson

from kbstore.backends.base import Backend
from kbstore.history.branch import Line, Segment
from kbstore.history.event import decode_event

BLOCK_EVENTS: Final = 1024
NAME: Final = "who/"
_AT_ONCE = 32
"""Number of blocks to ask for in one call."""
Wanted = Callable[[list[str], list[str]], bool]
"""Return whether events with some of these authors and labels may be wanted."""


class Who:
    """The index of a store's line.

    Args:
        backend: Caches the blocks.
        line: The versions.
    """

    def __init__(self, backend: Backend, line: Line) -> None:
        self._backend = backend
        self._line = line

    def stretches(self, low: int, high: int, wanted: Wanted, *, newest_first: bool) -> Iterator[tuple[int, int]]:
        """Yield the first and last version of each stretch among `low` to `high` that may be wanted."""
        segments = self._line.segments
        for segment in reversed(segments) if newest_first else segments:
            first = max(low - segment.offset, 1)
            last = min(high, high if segment.last is None else segment.last) - segment.offset
            for a, b in self._in_segment(segment, first, last, wanted, newest_first=newest_first):
                yield segment.offset + a, segment.offset + b

    def build(self, first: int, last: int) -> None:
        """Cache the whole blocks from `first` to `last` in the open log, unless cached already."""
        segment = self._line.segments[-1]
        begin = max(first - segment.offset - 1, 0) // BLOCK_EVENTS
        end = max(last - segment.offset, 0) // BLOCK_EVENTS
        if begin >= end:
            return
        there = dict(self._backend.notes(NAME + segment.log, begin, end - 1))
        for number in range(begin, end):
            if number not in there:
                start = number * BLOCK_EVENTS + 1
                headers = [r.header for r in self._backend.read(segment.log, start, start + BLOCK_EVENTS - 1)]
                events = [decode_event(header, f"v{segment.offset + n}") for n, header in enumerate(headers, start)]
                block = {
                    "authors": sorted({event.author for event in events}),
                    "tags": sorted({tag for event in events for tag in event.tags}),
                }
                self._backend.put_note(NAME + segment.log, number, orjson.dumps(block))

    def _in_segment(
        self, segment: Segment, first: int, last: int, wanted: Wanted, *, newest_first: bool
    ) -> Iterator[tuple[int, int]]:
        if first > last:
            return
        blocks = range((first - 1) // BLOCK_EVENTS, (last - 1) // BLOCK_EVENTS + 1)
        for some in _grouped(blocks, newest_first=newest_first):
            told = dict(self._backend.notes(NAME + segment.log, some[0], some[-1]))
            open_ones = [number for number in some if _may_hold(told.get(number), wanted)]
            joined = _joined(open_ones)
            found = [(max(first, a * BLOCK_EVENTS + 1), min(last, (b + 1) * BLOCK_EVENTS)) for a, b in joined]
            yield from reversed(found) if newest_first else found


def _grouped(blocks: range, *, newest_first: bool) -> Iterator[range]:
    """Yield some blocks at a time, from the requested end."""
    if newest_first:
        yield from (blocks[max(stop - _AT_ONCE, 0) : stop] for stop in range(len(blocks), 0, -_AT_ONCE))
    else:
        yield from (blocks[start : start + _AT_ONCE] for start in range(0, len(blocks), _AT_ONCE))


def _may_hold(note: bytes | None, wanted: Wanted) -> bool:
    try:
        block: Any = orjson.loads(note) if note is not None else None
        return block is None or wanted(block["authors"], block["tags"])
    except (ValueError, KeyError, TypeError):
        return True


def _joined(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Yield ascending numbers as ranges."""
    for at, number in enumerate(numbers):
        if at == 0 or numbers[at - 1] != number - 1:
            start = number
        if at + 1 == len(numbers) or numbers[at + 1] != number + 1:
            yield start, number
