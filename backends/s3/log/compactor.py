"""Packs and hints, made in the background by any writer; no reader depends on either.

A pack is made when the last of the slots has landed; the hint with the pack is written afterwards. If a writer dies in
between, the next writer finds the packs missing from the hint, and makes the same packs again. A hint never names fewer
packs than the hint before, as far as writers can see (`manifest`).
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence

from kbstore.backends.base import Tail
from kbstore.backends.s3.format import keys
from kbstore.backends.s3.format.pack import LARGE, SMALL, PackedBodies, PackedChunks, PackId, encode_pack, is_copied
from kbstore.backends.s3.format.slot import Piece, Run, split_bodies
from kbstore.backends.s3.log.head import MOST_INNER, NO_HINT, WINDOW, Hint, encode_hint
from kbstore.backends.s3.log.manifest import MISSED, merged, packed_slots
from kbstore.backends.s3.log.objects import read_pieces
from kbstore.backends.s3.log.reader import Log
from kbstore.backends.s3.transport.client import Client
from kbstore.kit.errors import BackendError

_MOST_AT_ONCE = 32
"""Most packs made in a commit: a backlog of other writers must not hold the commit up for long."""
_PROVED_TOGETHER = 256
"""After this many own slots, a writer checks with one request that the slots still exist."""
_MOST_OWN = 1024
"""Most own slots that a writer remembers between two hints."""


class Keeper:
    """Keeps the packs and the hint of a log.

    Args:
        client: Client for the store.
        log: The log.
    """

    def __init__(self, client: Client, log: Log) -> None:
        self._client = client
        self._log = log
        self._lock = threading.Lock()
        self._pending: Callable[[], None] | None = None
        self._pid = 0
        self._own: deque[int] = deque(maxlen=_MOST_OWN)

    def landed(self, tail: Tail) -> None:
        """Take note of a slot of ours, and begin due work in the background."""
        self._own.append(tail.slot)
        if tail.slot % SMALL == 0:
            self.settle()
            self._pending, self._pid = self._client.submit(self._quietly), os.getpid()

    def settle(self) -> None:
        """Wait for background work begun here."""
        pending, self._pending = self._pending, None
        if pending is not None and self._pid == os.getpid():
            pending()

    def close(self) -> None:
        """Leave the log so that the next process finds the head in two round trips, and all packs."""
        self.settle()
        self._prove()
        if self._log.told_too_little or self._log.known.slot - (self._log.hint or NO_HINT).slot >= WINDOW:
            try:
                self.write_hint(self._log.hint or NO_HINT)
            except BackendError:  # a hint is a convenience
                pass

    def keep_up(self, most: int = _MOST_AT_ONCE) -> int:
        """Make due packs, and name the packs in the hint.

        Args:
            most: Most small packs to make.

        Returns:
            How many records were packed into tier ``a``.
        """
        with self._lock:
            hint = before = self._known_packs()
            self._log.chain.require_whole()
            packed = 0
            for _ in range(most):
                hint = self._with_large(hint)
                if packed_slots(hint) + SMALL > self._log.known.slot:
                    break
                runs = self._make_small(PackId(self._log.name, "a", packed_slots(hint) // SMALL))
                first, end = runs[0].first, runs[-1].last + 1
                packed += end - first
                hint = hint._replace(small=(*hint.small, first), next=end)
            hint = self._with_large(hint)
            if hint != before or self._log.told_too_little or self._log.known.slot - hint.slot >= SMALL:
                self.write_hint(hint)
            return packed

    def due_records(self) -> int:
        """Return how many records would be packed now."""
        newest = self._log.tail().slot // SMALL * SMALL
        hint = self._known_packs()
        return self._log.slot(newest).last + 1 - hint.next if newest > packed_slots(hint) else 0

    def write_hint(self, hint: Hint) -> None:
        """Write a hint with the newest slot, the given packs, and all packs that other writers named meanwhile."""
        slot = self._log.known.slot
        if not self._alone():
            hint = merged(hint, self._log.read_hint_again())
        self._log.chain.require_whole()
        hint = hint._replace(slot=max(hint.slot, slot))
        self._client.put(keys.hint_key(self._log.name), encode_hint(self._log.name, hint))
        self._log.hint, self._log.told_too_little = hint, False

    def _alone(self) -> bool:
        """Return whether this process created every slot since the known hint, so that no other hint can say more."""
        told = (self._log.hint or NO_HINT).slot
        return self._log.known.slot - told <= sum(slot > told for slot in list(self._own))

    def _known_packs(self) -> Hint:
        """Return a hint with the existing packs, as far as asking the server is worth the cost."""
        hint = (self._log.hint or NO_HINT) if self._alone() else self._log.read_hint_again()
        return self._log.catch_up() if self._log.known.slot - packed_slots(hint) > MISSED else hint

    def _with_large(self, hint: Hint) -> Hint:
        """Make large packs from the small packs in a hint as far as possible, and return the new hint."""
        each = LARGE // SMALL
        while len(hint.small) >= each:
            at, inside = len(hint.large), hint.small[:each]
            self._make_large(at)
            starts = (*hint.small, hint.next)
            inner = hint.inner if starts[each] - starts[0] == LARGE else (*hint.inner, (at, inside))[-MOST_INNER:]
            hint = hint._replace(large=(*hint.large, inside[0]), small=hint.small[each:], inner=inner)
        return hint

    def _quietly(self) -> None:
        if self._log.chain.unproved >= _PROVED_TOGETHER:
            self._prove()
        try:
            self.keep_up()
        except BackendError:  # the commit is valid without this cache; the next writer tries again
            pass

    def _prove(self) -> None:
        """Check that the slots of this process still exist; if not, the next commit is refused."""
        try:
            self._log.chain.prove()
        except BackendError:  # a missing answer is not a sign of loss; the next call asks again
            pass

    def _make_small(self, ident: PackId) -> list[Run]:
        runs = self._log.load(ident.slots)
        data = self._packed(ident, runs, headers=True, bodies=True)
        self._put(ident, data)
        self._log.made(ident, data)
        return runs

    def _make_large(self, index: int) -> None:
        name, each = self._log.name, LARGE // SMALL
        runs = self._log.load([PackId(name, "a", index * each + i) for i in range(each)])
        for tier in ("h", "b"):
            ident = PackId(name, tier, index)
            self._put(ident, self._packed(ident, runs, headers=tier == "h", bodies=tier == "b"))

    def _put(self, ident: PackId, data: bytes) -> None:
        """Write a pack. Replace a different object of that name: damaged, or from a lost history."""
        if not self._client.put_new(ident.key, data):
            there = self._client.get(ident.key)
            if there is None or there.data != data:
                self._client.delete([ident.key])
                self._client.put_new(ident.key, data)

    def _packed(self, ident: PackId, runs: Sequence[Run], *, headers: bool, bodies: bool) -> bytes:
        places = [place for run in runs for place in run.places]
        sizes = [size for run in runs for size in run.sizes]
        given = [header for run in runs for header in run.headers] if headers else None
        if not bodies:
            return encode_pack(ident, places, given, sizes)
        content = self._contents(runs)
        packed_bodies = []
        for run in runs:
            for group in run.bodies:
                data = content.get(group.piece)
                if data is None:
                    packed_bodies.append(PackedBodies(group.first, group.records, [], group.piece))
                    continue
                begin = group.first - run.first
                raw = split_bodies(run.sizes[begin : begin + group.records], data, run.key)
                packed_bodies.append(PackedBodies(group.first, group.records, raw, None))
        packed_chunks = [
            PackedChunks(c.directory_bytes, content.get(c.piece) or b"", None if c.piece in content else c.piece)
            for run in runs
            for c in run.chunks
        ]
        leads = b"".join(content[run.leads] for run in runs if run.leads is not None)
        return encode_pack(ident, places, given, sizes, packed_bodies, packed_chunks, leads)

    def _contents(self, runs: Sequence[Run]) -> dict[Piece, bytes]:
        """Return the bytes of all pieces to copy, and of all leads."""
        found: dict[Piece, bytes] = {}
        missing: list[Piece] = []
        for run in runs:
            pieces = [*(b.piece for b in run.bodies), *(c.piece for c in run.chunks)]
            # Content that a small pack only refers to is not copied into a large pack either.
            small = len(run.places) > 1 or is_copied(sum(p.size for p in pieces))
            copied = [p for p in pieces if small and p.key == run.key]
            for piece in (*copied, *([run.leads] if run.leads is not None else [])):
                held = self._log.held(run, piece)
                if held is not None:
                    found[piece] = held
                else:
                    missing.append(piece)
        for piece, data in read_pieces(self._client, missing).items():
            if data is None:
                raise BackendError(f"{piece.key} is gone")
            found[piece] = data
        return found
