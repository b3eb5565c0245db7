"""Makes packs and hints behind the writers: off the way of a commit, by whoever comes along, never needed.

A pack is made when its last slot has landed; the hint that promises it is written after it. A writer that dies between
leaves packs that are not promised yet; the next one finds them missing from the hint and makes the same again.
"""

import os
import threading
from collections.abc import Callable, Sequence

from backends.contract import Tail
from backends.errors import BackendError
from backends.s3 import keys
from backends.s3.client import Client
from backends.s3.head import MOST_INNER, NO_HINT, WINDOW, Hint, encode_hint
from backends.s3.log import Log
from backends.s3.objects import read_pieces
from backends.s3.packs import LARGE, SMALL, PackedBodies, PackedChunks, PackId, encode_pack, is_copied
from backends.s3.slots import Piece, Run, split_bodies

_MOST_AT_ONCE = 8
"""Packs that one commit makes up for, so that it is not held up by what others left undone."""


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
        self._hinted = 0

    def landed(self, tail: Tail) -> None:
        """A slot of ours landed: begin what has become due, in the background."""
        if tail.slot % SMALL == 0:
            self.settle()
            self._pending, self._pid = self._client.submit(self._quietly), os.getpid()

    def settle(self) -> None:
        """Wait for what was begun."""
        pending, self._pending = self._pending, None
        if pending is not None and self._pid == os.getpid():
            pending()

    def close(self, *, wrote: bool) -> None:
        """Leave the log so that the next one finds its head in two round trips."""
        self.settle()
        hint = self._log.hint or NO_HINT
        if wrote and self._log.known.slot - max(hint.slot, self._hinted) >= WINDOW:
            try:
                self.write_hint(hint)
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
            hint = self._log.hint or NO_HINT
            before = hint
            packed = 0
            for _ in range(most):
                small = len(hint.large) * LARGE // SMALL + len(hint.small)
                if (small + 1) * SMALL > self._log.known.slot:
                    break
                runs = self._make_small(PackId(self._log.name, "a", small))
                first, end = runs[0].first, runs[-1].last + 1
                packed += end - first
                hint = hint._replace(small=(*hint.small, first), next=end)
                if len(hint.small) == LARGE // SMALL:
                    self._make_large(len(hint.large))
                    even = end - hint.small[0] == LARGE
                    inner = hint.inner if even else (*hint.inner, (len(hint.large), hint.small))[-MOST_INNER:]
                    hint = hint._replace(large=(*hint.large, hint.small[0]), small=(), inner=inner)
            if hint != before or self._log.known.slot - max(hint.slot, self._hinted) >= SMALL:
                self.write_hint(hint)
            return packed

    def due_records(self) -> int:
        """How many records would be packed now."""
        newest = self._log.tail().slot // SMALL * SMALL
        hint = self._log.hint or NO_HINT
        if newest <= len(hint.large) * LARGE + len(hint.small) * SMALL:
            return 0
        return self._log.slot(newest).last + 1 - hint.next

    def write_hint(self, hint: Hint) -> None:
        """Say where the head is now, and which packs there are."""
        hint = hint._replace(slot=self._log.known.slot)
        self._client.put(keys.hint_key(self._log.name), encode_hint(self._log.name, hint))
        self._log.hint = hint
        self._hinted = hint.slot

    def _quietly(self) -> None:
        try:
            self.keep_up()
        except BackendError:  # the commit stands whatever becomes of a cache; the next writer tries again
            pass

    def _make_small(self, ident: PackId) -> list[Run]:
        runs = self._log.load(ident.slots)
        data = self._packed(ident, runs, headers=True, bodies=True)
        self._client.put(ident.key, data)
        self._log.made(ident, data)
        return runs

    def _make_large(self, index: int) -> None:
        name, each = self._log.name, LARGE // SMALL
        runs = self._log.load([PackId(name, "a", index * each + i) for i in range(each)])
        for tier in ("h", "b"):
            ident = PackId(name, tier, index)
            self._client.put(ident.key, self._packed(ident, runs, headers=tier == "h", bodies=tier == "b"))

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
