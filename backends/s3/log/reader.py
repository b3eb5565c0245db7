"""A log: the head, the known slots, and reading records with few requests.

A record is in a slot, and may also be in packs; the number of wanted neighbours decides which object is read. Objects
read before are kept in memory, up to a limit.
"""

import threading
from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence

from kbstore.backends.base import StoredRecord, Tail
from kbstore.backends.s3.format import keys
from kbstore.backends.s3.format.pack import LARGE, SMALL, PackId, decode_pack, pack_of
from kbstore.backends.s3.format.slot import FIRST_BYTES, Bodies, Piece, Place, Run, decode_slot, split_bodies, whole
from kbstore.backends.s3.log import head
from kbstore.backends.s3.log.chain import Chain
from kbstore.backends.s3.log.head import NO_HINT, Hint, newest_slot
from kbstore.backends.s3.log.manifest import MISSED, find_packs, listed_packs, merged, packed_slots
from kbstore.backends.s3.log.objects import checked, read_pieces
from kbstore.backends.s3.transport.client import Client, Got, Want
from kbstore.kit.errors import BackendError, CorruptStore

Source = int | PackId
"""An object to read: a slot or a pack."""

_KEPT_SLOTS = 2048
_KEPT_BYTES = 32 * 1024 * 1024
_POINT = 6
"""Up to this many small packs are read instead of a large pack."""
_EACH = LARGE // SMALL
_PACK_FIRST_BYTES = 512 * 1024
_FIRST_BATCH = 64
_MOST_EXPECTED = 16 * LARGE
_MOST_AHEAD = 16
_A_RACE_S = 3.0
"""A slot younger than this, by the server's clock, was lost in a race; an older slot means that we are behind."""


_OVERTAKEN = 32
"""After this many losses in a row, a writer reads on to the head: slot by slot it would fall ever farther back.

Fewer losses are usual among writers that take turns. Looking ahead would then cost too much.
"""
_READ_ON, _ROUNDS = 3, 8


class Log:
    """Knowledge of a process about a log. Threads share a `Log`.

    Args:
        client: Requests.
        name: The log.
        on_run: Called with each slot or pack that was read, so that chunks are found.
        recalling: Also read the records of lost slots from packs, to save the records.

    Attributes:
        chain: Checks that the slots are still the slots seen and written here.
        damaged: Damage of the newest slot; None if the slot is sound.
    """

    def __init__(self, client: Client, name: str, on_run: Callable[[Run], None], *, recalling: bool = False) -> None:
        self._client = client
        self.name = name
        self._on_run = on_run
        self._lock = threading.RLock()
        self._known = Tail(0, 0)
        self._behind = False
        self._losses = 0
        self._looked = False
        self._listed = False
        self.hint: Hint | None = None
        self.damaged: CorruptStore | None = None
        self.told_too_little = False
        self._caught_up = 0
        self._runs: OrderedDict[Source, Run] = OrderedDict()
        self._runs_bytes = 0
        self._places: dict[int, Place] = {}
        self._order: list[int] = []
        self._writes: dict[str, tuple[int, int]] = {}
        self._searched: set[int] = set()
        self._bad: set[PackId] = set()
        self._chunky: set[int] = set()
        self.chain = Chain(client, name)
        self._recalling = recalling
        self._recalled_to = 0
        self._left: set[int] | None = None

    # ---- the head ----------------------------------------------------------------------------------------------------

    @property
    def known(self) -> Tail:
        """Return the newest slot and record read or written here."""
        return self._known

    def tail(self, *, fresh: bool = True) -> Tail:
        """Return the newest slot and record.

        Args:
            fresh: False accepts the known state, or the packs in the hint, unless clearly behind.
        """
        if not fresh and self._looked and not self._behind:
            return self._known
        with self._client.one_call():
            found = self._found(fresh=fresh)
        if self.chain.lost:
            self.chain.require_whole()
        return found

    def _found(self, *, fresh: bool) -> Tail:
        hint = self._begin()
        if not fresh and not self._looked and hint.next > 1:
            # Only the packed slots that the hint names; pass fresh=True for the real head.
            return Tail(len(hint.large) * LARGE + len(hint.small) * SMALL, hint.next - 1)
        newest = newest_slot(self._probe, self._jump, self._first_look, self._known.slot, hint.slot)
        if newest > self._recalled_to:
            self._end_at(newest)
        self._looked, self._behind = True, False
        hint = self._begin()  # reads meanwhile may have brought a newer hint
        if hint.slot > self._known.slot and self._probe([hint.slot]):  # written after the search for the head
            self._end_at(newest_slot(self._probe, self._jump, self._first_look, self._known.slot, hint.slot))
        self._compare(hint)
        self.hint = head.as_far_as(hint, self._known.slot)
        if self._recalling:
            self._recalled()
        return self._known

    def _end_at(self, newest: int) -> None:
        """Take in the newest slot. If the slot is damaged, the log still ends there, and earlier slots stay readable.

        The number of the slot's records is then unknown. The slot counts as one record, and reading the record reports
        the damage.
        """
        self.damaged = None
        try:
            self.slot(newest)
        except CorruptStore as fault:
            with self._lock:
                self.damaged = fault
                self._known = Tail(newest, self._last_before(newest) + 1)

    def _last_before(self, slot: int) -> int:
        """Return the last record before a slot; damaged slots in between count as one record each."""
        skipped = 0
        while slot > 1:
            batch = range(max(1, slot - _MOST_AHEAD), slot)
            runs = self.load(batch, gaps=True)
            if runs:
                return runs[-1].last + skipped + batch[-1] - runs[-1].places[-1].slot
            skipped += len(batch)
            slot = batch[0]
        return skipped

    def _compare(self, hint: Hint) -> None:
        """Take note if a hint names a missing slot: hints are written after their slots."""
        self.chain.promised(hint.slot, self._known.slot)

    def _was_ahead(self) -> bool:
        """Return whether the hint promised more than exists; find the head, if not done before, to correct the hint."""
        if self._looked:
            return False
        promised = self.hint
        self.tail()
        return self.hint != promised

    def _begin(self) -> Hint:
        if self.hint is None:
            self.hint = head.read_hint(self._client, self.name)
        return self.hint

    def lost(self, slot: int, there: Got) -> None:
        """Take in a slot lost to another writer, given the beginning of the slot."""
        self._losses += 1
        self._behind = there.age_s > _A_RACE_S
        self.load([slot], begun={slot: there.data})
        if not self._behind and self._losses >= _OVERTAKEN:
            self._behind = not self._reach_head()

    def _reach_head(self) -> bool:
        """Read on until a slot is missing; return False if a listing is the faster way.

        Losing a slot takes two round trips and winning takes one, so other writers move on meanwhile. A writer
        wins only if it is at the head when the others pause.
        """
        low = self._known.slot
        for _ in range(_ROUNDS):
            window = range(low + 1, low + 1 + _READ_ON)
            if window[-1] not in self._probe(window):
                return True
            low = window[-1]
        return False

    def landed(self, run: Run) -> None:
        """Take in a slot created by this process."""
        with self._lock:
            self._remember(run.places[0].slot, run)
            self._looked = True
            self._losses = 0
            self.chain.wrote(run.places[0].slot)
            self._searched.add(run.places[0].slot)

    def made(self, pack: PackId, data: bytes) -> None:
        """Take in a pack written by this process."""
        self._remember(pack, decode_pack(pack, data))

    def _probe(self, slots: Sequence[int]) -> set[int]:
        got = self._client.get_many([Want(keys.slot_key(self.name, slot), 0, FIRST_BYTES) for slot in slots])
        found = {slot: answer.data for slot, answer in zip(slots, got, strict=True) if answer is not None}
        self.load(sorted(found), begun=found, gaps=True)
        return set(found)

    def _first_look(self, slots: Sequence[int]) -> tuple[set[int], int]:
        """Return which of the first slots exist, and the highest slot in a listing.

        The listing is made once, beside the reads. Without the listing, a log without the oldest slots would look
        empty.
        """

        def ask(slot: int) -> Got | int | None:
            if slot:
                return self._client.get(keys.slot_key(self.name, slot), 0, FIRST_BYTES)
            try:
                return self._jump(0)[0]
            except BackendError:  # a listing may be forbidden here; before slot 1 is written, a listing is required
                return 0

        asked = [*slots] if self._listed else [*slots, 0]
        got = self._client.map(ask, asked)
        found = {slot: answer.data for slot, answer in zip(asked, got, strict=True) if isinstance(answer, Got)}
        self.load(sorted(found), begun=found, gaps=True)
        self._listed = True
        return set(found), max(answer if isinstance(answer, int) else 0 for answer in got)

    def _jump(self, low: int) -> tuple[int, bool]:
        after = keys.slot_key(self.name, low)
        count = newest = 0
        for listed in self._client.listing(after.rpartition("/")[0] + "/", after=after, limit=1000):
            count += 1
            newest = max(newest, keys.number_of(listed.key.rpartition("/")[2]) or 0)
        return max(low, newest), count < 1000

    def read_hint_again(self) -> Hint:
        """Read the hint again, and return the merger of all hints so far, as far as the log goes."""
        told = head.read_hint(self._client, self.name)
        if told.slot > self._known.slot and not self._probe([told.slot]):
            self.tail()
            self._compare(told)
        self.hint = merged(self.hint or NO_HINT, head.as_far_as(told, self._known.slot))
        return self.hint

    def catch_up(self) -> Hint:
        """Return the existing packs; list the packs if the known hint names far fewer than are due."""
        hint = self.read_hint_again()
        self._caught_up = newest = self._known.slot
        if newest - packed_slots(hint) > MISSED:
            found = find_packs(self._client, self.name, hint, newest, self.load)
            self.told_too_little = self.told_too_little or found != hint
            self.hint = merged(self.hint or NO_HINT, found)
        return self.hint or hint

    def _hint_for(self, number: int) -> Hint:
        """Return the known packs, for reading up to this record."""
        hint = self.hint or NO_HINT
        missed = self._known.slot - max(packed_slots(hint), self._caught_up) > MISSED
        return self.catch_up() if number >= hint.next and missed else hint

    # ---- records -----------------------------------------------------------------------------------------------------

    def read(self, first: int, last: int | None, *, newest_first: bool) -> Iterator[StoredRecord]:
        """Yield the headers of a range of records, in growing batches."""
        self._begin()
        sure = max(self._known.number, (self.hint or NO_HINT).next - 1)
        if last is None or last > sure:
            self.tail()
            sure = self._known.number
        low, high = max(first, 1), sure if last is None else min(sure, last)
        size = _FIRST_BATCH
        while low <= high:
            a, b = (max(low, high - size + 1), high) if newest_first else (low, min(high, low + size - 1))
            try:
                runs = self.load(self.cover(a, b, bodies=False), gaps=True)
                self._see_to(range(a, b + 1), runs)
            except CorruptStore:
                if not self._was_ahead():
                    raise
                high = min(high, self._known.number)
                continue
            a, b = max(low, runs[0].first), min(high, runs[-1].last)
            found = [r for run in runs for r in run.records() if a <= r.number <= b]
            yield from reversed(found) if newest_first else found
            low, high = (low, a - 1) if newest_first else (b + 1, high)
            size = min(size * 4, _MOST_AHEAD * LARGE)

    def bodies(self, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Yield the bodies of these records, in the order asked."""
        self._begin()
        wanted = numbers if isinstance(numbers, range) else list(numbers)
        if wanted and max(wanted) > max(self._known.number, (self.hint or NO_HINT).next - 1):
            self.tail()
        at, size = 0, _FIRST_BATCH * 8
        while batch := wanted[at : at + size]:
            found = self._bodies(sorted(set(batch)))
            for number in batch:
                yield number, found[number]
            at += size
            size = min(size * 4, 4 * LARGE)

    def expect(self, numbers: Sequence[int]) -> list[Run]:
        """Read the objects with the bodies of these records ahead of use, unless there are too many to remember."""
        known = [n for n in numbers if n <= self._known.number or n < (self.hint or NO_HINT).next]
        if known and len(known) <= _MOST_EXPECTED:
            sources: list[Source] = []
            for low, high in _stretches(known):
                sources.extend(self.cover(low, high, bodies=True))
            return self.load(sources)
        return []

    def distrust(self, key: str) -> bool:
        """Stop reading a damaged pack; return False if the key is not a pack of this log, or is distrusted already."""
        pack = pack_of(self.name, key)
        if pack is None:
            return False
        with self._lock:
            known = pack not in self._bad
            self._bad.add(pack)
            self._runs.pop(pack, None)
        return known

    def _bodies(self, numbers: Sequence[int]) -> dict[int, bytes]:
        while True:
            damaged: list[str] = []
            try:
                return self._bodies_once(numbers, damaged)
            except CorruptStore:
                if not (damaged and self.distrust(damaged[0])) and not self._was_ahead():
                    raise

    def _bodies_once(self, numbers: Sequence[int], damaged: list[str]) -> dict[int, bytes]:
        if numbers[0] < 1 or numbers[-1] > max(self._known.number, (self.hint or NO_HINT).next - 1):
            wrong = numbers[0] if numbers[0] < 1 else numbers[-1]
            raise CorruptStore(f"log {self.name} holds no record {wrong}", hint="run: kbstore verify")
        runs: list[Run] = []
        for low, high in _stretches(numbers):
            runs.extend(self.load(self.cover(low, high, bodies=True), gaps=True))
        self._see_to(numbers, runs)
        asked = set(numbers)
        groups: dict[Piece, tuple[Run, Bodies]] = {}
        for run in runs:
            for group in run.bodies:
                if any(n in asked for n in range(group.first, group.first + group.records)):
                    groups[group.piece] = (run, group)
        held: dict[Piece, bytes | None] = {}
        for piece, (run, _) in groups.items():
            damaged[:] = [run.key]
            held[piece] = self.held(run, piece)
        damaged[:] = [run.key for run, _ in groups.values() if run.key.startswith("pack/")]
        fetched = read_pieces(self._client, [piece for piece, data in held.items() if data is None])
        found: dict[int, bytes] = {}
        for piece, (run, group) in groups.items():
            damaged[:] = [run.key]
            data = held[piece] or fetched.get(piece)
            if data is None:
                raise CorruptStore(
                    f"the bodies of records {group.first} to {group.first + group.records - 1} of log {self.name} "
                    f"are missing: there is no {piece.key}",
                    hint="run: kbstore verify",
                )
            where = f"bodies {group.first} of log {self.name}"
            begin = group.first - run.first
            bodies = split_bodies(run.sizes[begin : begin + group.records], data, where)
            found.update(
                (number, body)
                for number, body in zip(range(group.first, group.first + group.records), bodies, strict=True)
                if number in asked
            )
        return found

    def _see_to(self, numbers: Iterable[int], runs: Iterable[Run]) -> None:
        """Check that runs hold these records, given in ascending order.

        Raises:
            CorruptStore: A record is missing.
        """
        spans = iter(sorted((run.first, run.last) for run in runs))
        first, last = 1, 0
        for number in numbers:
            while last < number:
                first, last = next(spans, (number + 1, number + 1))
            if number < first:
                raise CorruptStore(
                    f"the slot of record {number} of log {self.name} is missing or damaged", hint="run: kbstore verify"
                )

    @staticmethod
    def held(run: Run, piece: Piece) -> bytes | None:
        """Return a piece's bytes if the run brought the bytes, else None.

        Raises:
            CorruptStore: The piece is damaged.
        """
        if piece.key != run.key or piece.start + piece.size > len(run.held):
            return None
        return checked(piece, run.held[piece.start : piece.start + piece.size])

    def find_write(self, write_id: str, after: int | None) -> tuple[int, int] | None:
        """Return the first and last record of a write; None if no slot has the write.

        The search covers the known slots after slot `after`, or the whole log if `after` is None.
        """
        if after is None:
            self.tail()
        low, high = (after or 0) + 1, self._known.slot
        with self._lock:
            if write_id in self._writes:
                return self._writes[write_id]
            missing = [slot for slot in range(low, high + 1) if slot not in self._searched]
        if not missing:
            return None
        for run in self.load(self._cover_slots(missing)):
            with self._lock:
                for place in run.places:
                    self._note_writes(place)
        return self._writes.get(write_id)

    # ---- which object holds what -------------------------------------------------------------------------------------

    def cover(self, low: int, high: int, *, bodies: bool) -> list[Source]:
        """Return the objects to read for records `low` to `high`, in order."""
        near = self._near(low) if low == high else None
        if near is not None:
            return [near]
        hint = self._hint_for(high)
        found: list[Source] = []
        starts = (*hint.large, *hint.small, hint.next)
        for at in range(max(0, bisect_right(starts, low) - 1), len(starts) - 1):
            start, end = starts[at], starts[at + 1] - 1
            if start > high:
                break
            a, b = max(low, start), min(high, end)
            if at >= len(hint.large):
                found.append(PackId(self.name, "a", LARGE // SMALL * len(hint.large) + at - len(hint.large)))
            elif small := self._small_ones(hint, at, (start, end), (a, b), bodies=bodies):
                found.extend(small)
            else:
                found.append(PackId(self.name, "b" if bodies else "h", at))
        if high >= hint.next:
            first_slot, last_slot = self._slot_of(max(low, hint.next)), self._slot_of(high)
            found.extend(range(first_slot, last_slot + 1))
        return found

    def with_chunks(self, low: int, high: int) -> list[Source]:
        """Return the objects to read for the chunks of these records.

        If all slots of the records were seen, these are only the slots with chunks.
        """
        with self._lock:
            begin = bisect_right(self._order, low, key=lambda slot: self._places[slot].first) - 1
            stop = bisect_right(self._order, high, key=lambda slot: self._places[slot].first)
            slots = self._order[max(begin, 0) : stop]
            if slots and begin >= 0 and slots[-1] - slots[0] == len(slots) - 1:
                end = self._places[slots[-1]]
                if high < end.first + end.records:
                    return [slot for slot in slots if slot in self._chunky]
        return self.cover(low, high, bodies=True)

    def _small_ones(
        self, hint: Hint, at: int, held: tuple[int, int], wanted: tuple[int, int], *, bodies: bool
    ) -> list[PackId]:
        """Return the small packs to read instead of large pack `at`; empty if the large pack is the better choice.

        The large pack is better if many small packs are needed, if the large pack is in memory, or if the first
        records of the small packs are not known.
        """
        if PackId(self.name, "b" if bodies else "h", at) in self._runs:
            return []
        inner: Sequence[int] | None = dict(hint.inner).get(at)
        if inner is None and held[1] - held[0] + 1 == LARGE:
            inner = range(held[0], held[1] + 1, SMALL)
        if not inner:  # which small pack holds a record is not known
            return []
        begin, stop = bisect_right(inner, wanted[0]) - 1, bisect_right(inner, wanted[1])
        first = at * LARGE // SMALL
        small = [PackId(self.name, "a", first + i) for i in range(begin, stop)] if stop - begin <= _POINT else []
        return small if self._bad.isdisjoint(small) else []

    def _near(self, number: int) -> int | None:
        """Return the slot of a record, if in memory."""
        with self._lock:
            at = bisect_right(self._order, number, key=lambda slot: self._places[slot].first) - 1
            if at < 0:
                return None
            slot = self._order[at]
            place = self._places[slot]
            return slot if slot in self._runs and number < place.first + place.records else None

    def _cover_slots(self, slots: Sequence[int]) -> list[Source]:
        """Return the objects to read for the write ids of these slots."""
        hint = self._hint_for(self._known.number)
        large, small = len(hint.large) * LARGE, packed_slots(hint)
        found: dict[Source, None] = {}
        for slot in slots:
            if slot <= large:
                found[PackId(self.name, "h", (slot - 1) // LARGE)] = None
            elif slot <= small:
                found[PackId(self.name, "a", (slot - 1) // SMALL)] = None
            else:
                found[slot] = None
        return list(found)

    def _slot_of(self, number: int) -> int:
        """Return the slot of a record that is not in a pack, from known slots and a few reads.

        Raises:
            CorruptStore: The log has no slot for the record.
        """
        hint = self.hint or NO_HINT
        low = (len(hint.large) * LARGE + len(hint.small) * SMALL + 1, hint.next)
        high = (self._known.slot + 1, self._known.number + 1)
        while True:
            with self._lock:
                at = bisect_right(self._order, number, key=lambda slot: self._places[slot].first)
                for slot in self._order[max(0, at - 1) : at + 1]:
                    place = self._places[slot]
                    if place.first <= number < place.first + place.records:
                        return slot
                    if place.first <= number:
                        low = max(low, (slot + 1, place.first + place.records))
                    else:
                        high = min(high, (slot, place.first))
            slots, records = high[0] - low[0], high[1] - low[1]
            left = self._left is None or not self._left.isdisjoint(range(low[0], high[0]))
            if slots <= 0 or records <= 0 or not left:
                raise CorruptStore(f"log {self.name} has no slot for record {number}", hint="run: kbstore verify")
            if slots == records:
                return low[0] + number - low[1]
            if slots <= _MOST_AHEAD:
                self.load(range(low[0], high[0]))
            else:
                guess = low[0] + (number - low[1]) * slots // records
                near = {min(max(slot, low[0]), high[0] - 1) for slot in (guess - 8, guess, guess + 8)}
                self.load(sorted(near))

    # ---- reading objects ---------------------------------------------------------------------------------------------

    def slot(self, slot: int) -> Run:
        """Read a slot."""
        return self.load([slot])[0]

    def load(
        self, sources: Iterable[Source], *, begun: dict[int, bytes] | None = None, gaps: bool = False
    ) -> list[Run]:
        """Return the content of objects, in the order asked; smaller packs and slots replace a missing pack.

        Args:
            sources: Slots and packs.
            begun: Beginnings of slots, if read already.
            gaps: Leave out missing or damaged slots; the caller checks for missing records.

        Raises:
            CorruptStore: A slot is missing or damaged.
        """

        def read(source: Source) -> Run | None:
            try:
                return self._read(source, begun)
            except CorruptStore:
                if gaps:
                    return None
                raise

        asked = list(sources)
        with self._lock:
            found = {source: self._runs[source] for source in asked if source in self._runs}
        missing = [source for source in dict.fromkeys(asked) if source not in found]
        for begin in range(0, len(missing), 4 * _MOST_AHEAD):
            batch = missing[begin : begin + 4 * _MOST_AHEAD]
            for source, run in zip(batch, self._client.map(read, batch), strict=True):
                if run is not None:
                    found[source] = run
                    self._remember(source, run)
        runs: list[Run] = []
        for source in asked:
            if source in found:
                runs.append(found[source])
            elif isinstance(source, PackId):
                runs.extend(self._instead(source, gaps=gaps))
        return runs

    def _read(self, source: Source, begun: dict[int, bytes] | None) -> Run | None:
        if isinstance(source, PackId):
            return self._read_pack(source)
        key = keys.slot_key(self.name, source)
        data = begun.get(source) if begun else None
        if data is None:
            got = self._client.get(key, 0, FIRST_BYTES)
            if got is None:
                raise CorruptStore(f"slot {source} of log {self.name} is missing", hint="run: kbstore verify")
            data = got.data
        return whole(lambda n: self._beginning(key, n), lambda d: decode_slot(self.name, source, d), data)

    def _read_pack(self, pack: PackId) -> Run | None:
        """Return a pack; None if the pack is missing, damaged or not the pack in the hint, since a pack is a cache."""
        if pack in self._bad:
            return None
        got = self._client.get(pack.key, 0, _PACK_FIRST_BYTES)
        if got is None:
            return None
        try:
            run = whole(lambda n: self._beginning(pack.key, n), lambda d: decode_pack(pack, d), got.data)
        except CorruptStore:
            return None
        expected = self._starts(pack)
        return run if expected is None or run.first == expected else None

    def _starts(self, pack: PackId) -> int | None:
        hint = self.hint or NO_HINT
        if pack.tier != "a":
            return hint.large[pack.at] if pack.at < len(hint.large) else None
        at = pack.at - len(hint.large) * LARGE // SMALL
        return hint.small[at] if 0 <= at < len(hint.small) else None

    def _beginning(self, key: str, size: int) -> bytes:
        got = self._client.get(key, 0, size)
        return got.data if got is not None else b""

    def _instead(self, pack: PackId, *, gaps: bool) -> list[Run]:
        if pack.tier == "a":
            left = self._left if gaps else None
            return self.load(pack.slots if left is None else sorted(left.intersection(pack.slots)), gaps=gaps)
        return self.load(_smaller(pack), gaps=gaps)

    # ---- memory ------------------------------------------------------------------------------------------------------

    def _remember(self, source: Source, run: Run) -> None:
        with self._lock:
            fresh = source not in self._runs
            self._runs[source] = run
            self._runs.move_to_end(source)
            if fresh:
                self._runs_bytes += len(run.held) + sum(map(len, run.headers))
                while len(self._runs) > 1 and (self._runs_bytes > _KEPT_BYTES or len(self._runs) > _KEPT_SLOTS):
                    _, dropped = self._runs.popitem(last=False)
                    self._runs_bytes -= len(dropped.held) + sum(map(len, dropped.headers))
            if isinstance(source, int):
                self.chain.saw(source, run)
                place = run.places[0]
                if source not in self._places:
                    insort(self._order, source)
                    self._places[source] = place
                self._note_writes(place)
                if run.chunks:
                    self._chunky.add(source)
                if source > self._known.slot:
                    self._known = Tail(source, place.first + place.records - 1)
        self._on_run(run)

    def mark(self, slot: int) -> str:
        """Return the mark of a slot, which reveals a replacement; empty for slot 0."""
        return self.chain.mark(slot) or (self.slot(slot).mark if slot else "")

    def _recalled(self) -> None:
        """Take in the existing packs and slots, also after lost slots.

        When a missing pack is read, smaller packs and slots replace it. Of a pack, only the number of the first record
        is kept; for a missing pack, the number after the last record found before the pack. After the last readable
        pack, only the slots themselves show which records they hold.
        """
        self._recalling = False
        there = {PackId(self.name, tier, at) for tier, at, _ in listed_packs(self._client, self.name) if at is not None}
        newest = max((pack.slots[-1] for pack in there if pack.tier != "b"), default=0)
        folder = keys.slot_key(self.name, 1).rpartition("/")[0] + "/"
        # Without this list, missing slots would be requested again for each lost record.
        self._left = {keys.number_of(one.key[len(folder) :]) or 0 for one in self._client.listing(folder)}
        if newest > sum(slot <= newest for slot in self._left):
            self._recall_packs(there, newest)
        if self._left and max(self._left) > self._known.slot:
            self._recalled_to = max(self._left)
            self._end_at(self._recalled_to)
        packed = packed_slots(self.hint or NO_HINT)
        behind = sorted(slot for slot in self._left if slot > packed)
        if len(behind) != self._known.slot - packed:  # only the slots themselves show which records they hold
            self.load(behind, gaps=True)

    def _recall_packs(self, there: set[PackId], newest: int) -> None:
        large = newest // LARGE
        wanted = [PackId(self.name, "h", at) for at in range(large)]
        wanted += [PackId(self.name, "a", at) for at in range(large * _EACH, newest // SMALL)]
        firsts: list[int] = []
        following, sound = 1, 0
        for count, pack in enumerate(wanted, 1):
            first = following
            possible = [pack, *_smaller(pack), *([pack._replace(tier="b")] if pack.tier == "h" else [])]
            self._bad.update(one for one in possible if one not in there)
            for part in [pack] if pack in there else [small for small in _smaller(pack) if small in there]:
                run = self._read_pack(part)
                if run is not None:
                    first = run.first if part.slots[0] == pack.slots[0] else first
                    following, sound = run.last + 1, count
            firsts.append(first)
        if not sound:
            return
        large, firsts, newest = min(large, sound), firsts[:sound], wanted[sound - 1].slots[-1]
        self.hint = Hint(newest, tuple(firsts[:large]), tuple(firsts[large:]), following)
        if newest > self._known.slot:
            self._known = Tail(newest, following - 1)
            self.damaged = None
        self._recalled_to = self._known.slot

    def _note_writes(self, place: Place) -> None:
        self._searched.add(place.slot)
        number = place.first
        for write_id, count in place.writes:
            self._writes.setdefault(write_id, (number, number + count - 1))
            number += count


def _smaller(pack: PackId) -> list[PackId]:
    """Return the small packs of a large pack's slots; empty for a small pack."""
    if pack.tier == "a":
        return []
    return [PackId(pack.log, "a", at) for at in range(pack.at * _EACH, (pack.at + 1) * _EACH)]


def _stretches(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield ascending numbers as ranges; near numbers share a range."""
    start = last = numbers[0]
    for number in numbers[1:]:
        if number - last > SMALL:
            yield start, last
            start = number
        last = number
    yield start, last
