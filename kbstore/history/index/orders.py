"""Find the newest event at or before a version that names an order of members, with a disposable index in blocks.

A block alone answers for each version in the block: it holds the root before the first version, the events with
`order`, and the last covered record. For later versions, or versions in no block, the headers are read.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import orjson

from kbstore.backends.base import Backend
from kbstore.history.branch import Entry, Line, Segment

BLOCK_EVENTS: Final = 4096
NAME: Final = "order/"
_WORTH_WRITING = 128
"""A block is written again after this many more events."""
_KEPT_SPANS = 32


class _Span(NamedTuple):
    """Versions with the same rules.

    Attributes:
        low: The first version, as far as known.
        high: The last version, as far as known.
        root: Root (hex) of the rules; None if there are no rules.
    """

    low: int
    high: int
    root: str | None


class _Block(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a block; numbers are record numbers in the log."""

    before: str | None
    events: list[tuple[int, str]]
    upto: int

    def root(self, number: int) -> str | None:
        return next((root for at, root in reversed(self.events) if at <= number), self.before)


class OrderIndex:
    """The index of a line.

    Args:
        backend: Caches the blocks.
        line: The versions.
    """

    def __init__(self, backend: Backend, line: Line) -> None:
        self._backend = backend
        self._line = line
        self._spans: list[_Span] = []
        self._written = 0
        self._made: dict[tuple[str, int], _Block] = {}

    def root(self, seq: int) -> str | None:
        """Return the root (hex) of the rules of members' order at a version; None if there are no rules."""
        if not seq:
            return None
        for span in self._spans:
            if span.low <= seq <= span.high:
                return span.root
        start = max(
            (span for span in self._spans if span.high < seq), key=lambda span: span.high, default=_Span(0, 0, None)
        )
        segment = next(s for s in reversed(self._line.segments) if s.offset < seq)
        number = seq - segment.offset
        block = self._block(segment.log, number)
        if block is not None and segment.offset + min(block.upto, number) > start.high:
            high = min(block.upto, number)
            start = _Span(segment.offset + high, segment.offset + high, block.root(high))
        for entry in self._line.entries(start.high + 1, seq, newest_first=True):
            if entry.event.order is not None:
                start = _Span(entry.event.seq, seq, entry.event.order)
                break
        self._keep(start._replace(high=seq))
        return start.root

    def committed(self, entries: Sequence[Entry]) -> None:
        """Learn of events just appended to the log."""
        for entry in entries:
            seq, root = entry.event.seq, entry.event.order
            if root is not None:
                self._keep(_Span(seq, seq, root))
            elif (last := next((span for span in self._spans if span.high == seq - 1), None)) is not None:
                self._keep(last._replace(high=seq))

    def build(self, seq: int) -> None:
        """Bring the blocks of the open log up to date with a version, if there are enough new events."""
        segment = self._line.segments[-1]
        number = seq - segment.offset
        if number - self._written < _WORTH_WRITING:
            return
        newest = (number - 1) // BLOCK_EVENTS
        made: dict[tuple[str, int], _Block] = {}
        for at in range(max(newest - 1, 0), newest + 1):
            end = min((at + 1) * BLOCK_EVENTS, number)
            block = self._made.get((segment.log, at)) or self._block(segment.log, end)
            if block is None or block.upto < end:
                block = self._extended(segment, at, block, end)
                self._backend.put_note(NAME + segment.log, at, orjson.dumps(msgspec.structs.asdict(block)))
            made[segment.log, at] = block
        self._written, self._made = number, made

    def _extended(self, segment: Segment, at: int, block: _Block | None, end: int) -> _Block:
        start = at * BLOCK_EVENTS
        if block is None:
            block = _Block(self.root(segment.offset + start), [], start)
        entries = self._line.entries(segment.offset + block.upto + 1, segment.offset + end)
        new = [(e.event.seq - segment.offset, e.event.order) for e in entries if e.event.order is not None]
        return _Block(block.before, [*block.events, *new], end)

    def _block(self, log: str, number: int) -> _Block | None:
        """Return the block of a record; None if the block is missing or cannot be read."""
        at = (number - 1) // BLOCK_EVENTS
        for _, data in self._backend.notes(NAME + log, at, at):
            try:
                return msgspec.json.decode(data, type=_Block)
            except (msgspec.DecodeError, ValueError, RecursionError):
                return None
        return None

    def _keep(self, span: _Span) -> None:
        self._spans = [s for s in self._spans if s.low != span.low][-_KEPT_SPANS:]
        self._spans.append(span)
