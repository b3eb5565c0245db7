"""The line of versions of one branch: events in order of seq, across the logs of several branches.

A branch keeps new events in a separate log, and continues the line of another branch. For the rest of the store the
line is a list: seq 1, 2, ... up to the head.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from kbstore.backends.base import Backend, StoredRecord
from kbstore.errors import CorruptStore, DamagedVersion
from kbstore.history.event import Event, decode_event, event_id
from kbstore.kit.clock_notes import Dated

MAIN_BRANCH = "main"
MAIN_LOG = "main"
REFS_LOG = "refs"
_CHANGED = "its header is not as it was written"


class Entry:
    """An event with the bytes from a log.

    Attributes:
        dated: The clock behind the event's time, if this process made the event just now; not in any log.
    """

    __slots__ = ("_id", "dated", "event", "header")

    def __init__(self, event: Event, header: bytes, dated: Dated | None = None) -> None:
        self.event = event
        self.header = header
        self.dated = dated
        self._id: str | None = None

    @property
    def id(self) -> str:
        """SHA-256 of the header; computed at the first use."""
        if self._id is None:
            self._id = event_id(self.header)
        return self._id


class Segment(NamedTuple):
    """The part of a line in one log: record n of the log is seq ``offset + n``, up to and including `last`."""

    log: str
    offset: int
    last: int | None


class Line:
    """The versions of a branch.

    Args:
        backend: Holds the logs.
        segments: Oldest first. Only the last segment is open (`Segment.last` is None) and grows.
        branch: Name of the branch.
    """

    def __init__(
        self,
        backend: Backend,
        segments: tuple[Segment, ...] = (Segment(MAIN_LOG, 0, None),),
        branch: str = MAIN_BRANCH,
    ) -> None:
        self._backend = backend
        self.segments = segments
        self.branch = branch

    @property
    def log(self) -> str:
        """The log for new events."""
        return self.segments[-1].log

    def tail(self, *, fresh: bool = True) -> tuple[int, int]:
        """Return the newest slot of the open log, and the seq of the newest version; see `Backend.tail` for `fresh`."""
        segment = self.segments[-1]
        tail = self._backend.tail(segment.log, fresh=fresh)
        return tail.slot, segment.offset + tail.number

    def look(self) -> Callable[[], int]:
        """Begin to look for the seq of the newest version of now; see `Backend.look`."""
        segment = self.segments[-1]
        found = self._backend.look(segment.log)
        return lambda: segment.offset + found().number

    def expect(
        self,
        *,
        listing: bool = False,
        start: tuple[str, int] | None = None,
        seqs: Sequence[int] = (),
        notes: str | None = None,
        blocks: tuple[int, int] = (0, -1),
    ) -> None:
        """Announce coming reads to the backend; see `Backend.expect`.

        Args:
            listing: Whether the list of snapshots will be read.
            start: Log and number of a snapshot.
            seqs: Versions whose bodies will be read, ascending.
            notes: Name of notes, without the name of the log at the end.
            blocks: First and last number of the notes.
        """
        for segment in self.segments:
            numbers: Sequence[int] = seqs
            if len(self.segments) > 1:
                offset, end = segment.offset, segment.last
                numbers = [s - offset for s in seqs if s > offset and (end is None or s <= end)]
            there = notes is not None and segment is self.segments[-1] and blocks[0] <= blocks[1]
            self._backend.expect(
                segment.log,
                listing=listing,
                snapshot=start[1] if start is not None and start[0] == segment.log else None,
                bodies=numbers,
                notes=(f"{notes}{segment.log}", *blocks) if there else None,
            )

    def record_number(self, seq: int) -> int:
        """Return the number of a present or future version in the open log."""
        return seq - self.segments[-1].offset

    def entries(
        self, first: int = 1, last: int | None = None, *, newest_first: bool = False, linked: bool = False
    ) -> Iterator[Entry]:
        """Yield versions `first` to `last`, both included; skip missing versions.

        Args:
            first: The first version.
            last: The last version; the newest by default.
            newest_first: Yield in descending order.
            linked: Make sure that the next version names each header. Needed if ids, authors or messages are shown. A
                state proves itself, so a fold of versions does not need the check.

        Raises:
            DamagedVersion: A header cannot be read, or the next version names another header.
        """
        read = self._linked if linked else self._each
        parts = list(self._parts(first, last))
        for segment, low, high in reversed(parts) if newest_first else parts:
            for found in read(segment, low, high, newest_first=newest_first):
                if isinstance(found, DamagedVersion):
                    raise found
                yield _entry(segment, found.number, found.header)

    def readable(self, first: int, last: int, *, newest_first: bool = False) -> Iterator[Entry | DamagedVersion]:
        """Yield the existing versions `first` to `last`; in place of a version with a damaged header, the error."""
        parts = list(self._parts(first, last))
        for segment, low, high in reversed(parts) if newest_first else parts:
            end = last - segment.offset if high is None else high
            numbers = range(end, low - 1, -1) if newest_first else range(low, end + 1)
            for found in self._linked(segment, low, end, newest_first=newest_first):
                at = numbers.index(_number(segment, found))
                yield from (_missing(segment, number) for number in numbers[:at])
                numbers = numbers[at + 1 :]
                yield found if isinstance(found, DamagedVersion) else _judged(segment, found)
            yield from (_missing(segment, number) for number in numbers)

    def refuse_changed(self, seq: int) -> None:
        """Make sure that the next version names the header of a version.

        Raises:
            DamagedVersion: The next version names another header.
        """
        if not self._backend.remote:
            for _ in self.entries(seq, seq, linked=True):
                pass

    def refuse_damaged_end(self) -> None:
        """Make sure that the newest version's header is as written, though no later version names the header yet.

        Cost: may look at all write ids.

        Raises:
            DamagedVersion: The header is not as written.
        """
        _, seq = self.tail()
        segment = self.segments[-1]
        if seq > segment.offset and not self._backend.intact(segment.log, seq - segment.offset):
            raise DamagedVersion(seq, _CHANGED)

    def entry(self, seq: int) -> Entry:
        """Return a version.

        Raises:
            DamagedVersion: The header is missing, or cannot be read.
        """
        for entry in self.entries(seq, seq):
            return entry
        raise DamagedVersion(seq, "its header is missing")

    def proved_id(self, seq: int) -> str:
        """Return the id of a version; of a version with a damaged header, the id that the next version names.

        Cost: reads two headers; may look at all write ids, but only for the newest version or beside damage.

        Raises:
            DamagedVersion: The header is damaged, and so is the next header, or there is no next version.
        """
        try:
            return self._sound(seq).id
        except DamagedVersion:
            if seq < self.tail()[1]:
                with suppress(DamagedVersion):
                    return self._sound(seq + 1).event.parents[0]
            raise

    def _sound(self, seq: int) -> Entry:
        """Return a version whose header is proved, by the next version or by the store's own checksum.

        Raises:
            DamagedVersion: The header is missing, or is not as it was written.
        """
        if not self._backend.remote and seq == self.tail()[1]:
            self.refuse_damaged_end()
        for entry in self.entries(seq, seq, linked=True):
            return entry
        raise DamagedVersion(seq, "its header is missing")

    def passed(self, low: int, high: int, time: str, *, included: bool) -> int:
        """Return how many of versions `low` to `high` were committed before a time; `included` counts the time itself.

        Times never go back along a line, so the search reads only a few versions.
        """
        halve = bisect_right if included else bisect_left
        return halve(range(low, high + 1), time, key=lambda seq: self.entry(seq).event.time)

    def bodies(self, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Yield seq and body of the given versions, in ascending order.

        Raises:
            DamagedVersion: A body cannot be read; the bodies before were yielded.
        """
        if isinstance(numbers, range) and numbers.step == 1:
            for segment, low, high in self._parts(numbers.start, numbers.stop - 1):
                end = high if high is not None else numbers.stop - 1 - segment.offset
                yield from read_bodies(self._backend, segment, range(low, end + 1))
            return
        wanted = list(numbers)
        for segment in self.segments:
            here = [
                s - segment.offset for s in wanted if s > segment.offset and (segment.last is None or s <= segment.last)
            ]
            if here:
                yield from read_bodies(self._backend, segment, here)

    def _linked(
        self, segment: Segment, low: int, high: int | None, *, newest_first: bool
    ) -> Iterator[StoredRecord | DamagedVersion]:
        """Yield records `low` to `high`; in place of a record with a header that the next does not name, the error.

        The record after `high` is read as well. The objects of a bucket prove their bytes themselves.
        """
        if self._backend.remote:
            yield from self._each(segment, low, high, newest_first=newest_first)
            return
        before: StoredRecord | DamagedVersion | None = None
        end = None if high is None else high + 1
        for one in self._each(segment, low, end, newest_first=newest_first):
            now = one
            if isinstance(before, StoredRecord) and isinstance(one, StoredRecord):
                older, newer = (one, before) if newest_first else (before, one)
                if older.number + 1 == newer.number and event_id(older.header).encode() not in newer.header:
                    # If the older record is intact, the newer record names a wrong id.
                    wrong = newer if self._backend.intact(segment.log, older.number) else older
                    judged = _judged(segment, wrong)
                    if isinstance(judged, Entry):
                        judged = DamagedVersion(segment.offset + wrong.number, _CHANGED)
                    before, now = (judged, now) if wrong is before else (before, judged)
            if before is not None and (high is None or _number(segment, before) <= high):
                yield before
            before = now
        if before is not None and (high is None or _number(segment, before) <= high):
            yield before

    def _each(
        self, segment: Segment, low: int, high: int | None, *, newest_first: bool
    ) -> Iterator[StoredRecord | DamagedVersion]:
        """Yield records `low` to `high`; in place of an unreadable record, the error."""
        while high is None or low <= high:
            try:
                for record in self._backend.read(segment.log, low, high, newest_first=newest_first):
                    low, high = (low, record.number - 1) if newest_first else (record.number + 1, high)
                    yield record
                return
            except CorruptStore:  # read one by one up to the damaged record: a batch fails as a whole
                if high is None:
                    high = self._backend.tail(segment.log).number
            sound = True
            while sound and low <= high:
                number = high if newest_first else low
                low, high = (low, number - 1) if newest_first else (number + 1, high)
                try:
                    found = list(self._backend.read(segment.log, number, number))
                except CorruptStore as fault:
                    sound = False
                    damaged = DamagedVersion(segment.offset + number, "its header cannot be read")
                    damaged.__cause__ = fault
                    yield damaged
                else:
                    yield from found

    def _parts(self, first: int, last: int | None) -> Iterator[tuple[Segment, int, int | None]]:
        """Yield the segments that hold some of these versions, with the record numbers in each segment."""
        for segment in self.segments:
            low = max(first, segment.offset + 1)
            ends = [end for end in (last, segment.last) if end is not None]
            high = min(ends) if ends else None
            if high is None or low <= high:
                yield segment, low - segment.offset, None if high is None else high - segment.offset


def read_bodies(backend: Backend, segment: Segment, numbers: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """Yield seq and body of these records of a segment.

    Raises:
        DamagedVersion: A body cannot be read; the bodies before were yielded.
    """
    given = 0
    try:
        for number, body in backend.bodies(segment.log, numbers):
            yield segment.offset + number, body
            given += 1
        return
    except CorruptStore:
        pass
    # Read one by one to find the damaged body: a batch fails as a whole.
    for number in numbers[given:]:
        try:
            bodies = list(backend.bodies(segment.log, [number]))
        except CorruptStore as fault:
            raise DamagedVersion(segment.offset + number, "its patch cannot be read") from fault
        yield from ((segment.offset + number, body) for _, body in bodies)


def readable_records(backend: Backend, log: str, first: int, last: int) -> dict[int, bytes]:
    """Return the readable headers of records `first` to `last`, by number."""
    try:
        return {record.number: record.header for record in backend.read(log, first, last)}
    except CorruptStore:
        found: dict[int, bytes] = {}
        for number in range(first, last + 1):
            with suppress(CorruptStore):
                found.update((record.number, record.header) for record in backend.read(log, number, number))
        return found


def readable_bodies(backend: Backend, log: str, numbers: Sequence[int]) -> dict[int, bytes]:
    """Return the readable bodies of the given records, by number."""
    try:
        return dict(backend.bodies(log, numbers))
    except CorruptStore:
        found: dict[int, bytes] = {}
        for number in numbers:
            with suppress(CorruptStore):
                found.update(backend.bodies(log, [number]))
        return found


def _number(segment: Segment, found: StoredRecord | DamagedVersion) -> int:
    return found.number if isinstance(found, StoredRecord) else found.seq - segment.offset


def _missing(segment: Segment, number: int) -> DamagedVersion:
    return DamagedVersion(segment.offset + number, "its header is missing")


def _judged(segment: Segment, record: StoredRecord) -> Entry | DamagedVersion:
    try:
        return _entry(segment, record.number, record.header)
    except DamagedVersion as fault:
        return fault


def _entry(segment: Segment, number: int, header: bytes) -> Entry:
    seq = segment.offset + number
    try:
        event = decode_event(header, f"v{seq}")
    except CorruptStore as fault:
        raise DamagedVersion(seq, "its header cannot be read") from fault
    if event.encode() != header:
        raise DamagedVersion(seq, "its header is not in canonical form")
    if event.seq != seq:
        raise DamagedVersion(seq, f"its header is that of v{event.seq}")
    return Entry(event, header)
