"""Makes packs and hints behind the writers: off the way of a commit, by whoever comes along, never needed.

A pack is made when its last slot has landed; the hint that promises it is written after it. A writer that dies between
leaves packs that are not promised yet; the next one finds them missing from the hint and makes the same again. A hint
never tells less than the one that it replaces, as far as that can be seen (`packlist`).
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
"""Packs that one commit makes up for, so that it is not held up for long by what others left undone."""
_PROVED_TOGETHER = 256
"""After so many slots of its own a writer looks whether they are still there, which is one request."""
_MOST_OWN = 1024
"""So many slots of its own a writer remembers between two hints."""


class Keeper:
    """Keeps the packs and the hint of one log.

    Args:
        client: Requests.
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
        """A slot of ours landed: begin what has become due, in the background."""
        self._own.append(tail.slot)
        if tail.slot % SMALL == 0:
            self.settle()
            self._pending, self._pid = self._client.submit(self._quietly), os.getpid()

    def settle(self) -> None:
        """Wait for what was begun."""
        pending, self._pending = self._pending, None
        if pending is not None and self._pid == os.getpid():
            pending()

    def close(self) -> None:
        """Leave the log so that the next one finds its head in two round trips, and all its packs."""
        self.settle()
        self._prove()
        if self._log.told_too_little or self._log.known.slot - (self._log.hint or NO_HINT).slot >= WINDOW:
            try:
                self.write_hint(self._log.hint or NO_HINT)
            except BackendError:  # a hint is a convenience
                pass

    def keep_up(self, most: int = _MOST_AT_ONCE) -> int:
        """Make packs that are due, and promise them in the hint.

        Args:
            most: At most so many.

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
        """How many records would be packed now."""
        newest = self._log.tail().slot // SMALL * SMALL
        hint = self._known_packs()
        return self._log.slot(newest).last + 1 - hint.next if newest > packed_slots(hint) else 0

    def write_hint(self, hint: Hint) -> None:
        """Say where the head is now, and which packs there are: these, and all that somebody else told of meanwhile."""
        slot = self._log.known.slot
        if not self._alone():
            hint = merged(hint, self._log.read_hint_again())
        self._log.chain.require_whole()
        hint = hint._replace(slot=max(hint.slot, slot))
        self._client.put(keys.hint_key(self._log.name), encode_hint(self._log.name, hint))
        self._log.hint, self._log.told_too_little = hint, False

    def _alone(self) -> bool:
        """Whether every slot since the hint that is known was created here, so that nobody can have told more."""
        told = (self._log.hint or NO_HINT).slot
        return self._log.known.slot - told <= sum(slot > told for slot in list(self._own))

    def _known_packs(self) -> Hint:
        """The packs that there are, as far as it is worth while to ask."""
        hint = (self._log.hint or NO_HINT) if self._alone() else self._log.read_hint_again()
        return self._log.catch_up() if self._log.known.slot - packed_slots(hint) > MISSED else hint

    def _with_large(self, hint: Hint) -> Hint:
        """The hint once as many of the small packs that it names as can stand in large ones."""
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
        except BackendError:  # the commit stands whatever becomes of a cache; the next writer tries again
            pass

    def _prove(self) -> None:
        """See whether what this process wrote is still there; what is found out refuses the next commit."""
        try:
            self._log.chain.prove()
        except BackendError:  # no answer is no sign of loss: asked again the next time
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
        """Write a pack; another that has its name is damaged, or of a history that is gone, and goes."""
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
        """The bytes of all pieces that are copied, and of all beginnings of addresses."""
        found: dict[Piece, bytes] = {}
        missing: list[Piece] = []
        for run in runs:
            pieces = [*(b.piece for b in run.bodies), *(c.piece for c in run.chunks)]
            # What a small pack only refers to is not copied into a large one either.
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
