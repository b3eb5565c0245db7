"""Check that the slots of a log are still the slots seen and written by this process, each after the previous slot.

Each slot names the mark of the previous slot. So a reader of a replaced slot, or of the next slot, notices the
replacement. A process that only writes reads neither slot: `Chain.prove` compares the process's own slots with a
listing.
"""

import threading

from kbstore.backends.s3.format import container, keys
from kbstore.backends.s3.format.pack import pack_of
from kbstore.backends.s3.format.slot import Run
from kbstore.backends.s3.transport.client import Client, Want
from kbstore.kit.errors import BackendError, StoreUnavailable

_LISTED_AT_MOST = 1000


class Chain:
    """Knowledge of a process about the order of a log's slots. Threads share a chain.

    Attributes:
        wrong: Text about a missing or replaced slot; empty if no such slot is known.
        lost: True if this process wrote the slot: the process's memory then holds another history.
    """

    def __init__(self, client: Client, log: str) -> None:
        self._client = client
        self._log = log
        self._lock = threading.Lock()
        self._marks: dict[int, tuple[str, str]] = {}
        self._mine: set[int] = set()
        self._unproved: set[int] = set()
        self.wrong = ""
        self.lost = False
        self._promised = 0

    def promised(self, slot: int, newest: int) -> None:
        """Compare the slot in a hint with the newest existing slot; if the slot has come, all is well again."""
        if slot > max(newest, self._promised):
            self._promised = slot
        charge = f"the hint of log {self._log} names slot "
        if self.wrong and not self.wrong.startswith(charge):
            return
        # On a replica the hint may arrive first.
        late = newest < self._promised
        self.wrong = f"{charge}{self._promised}, and the newest that is there is {newest}" if late else ""

    def saw(self, slot: int, run: Run) -> None:
        """Take in a slot: it must equal the slot seen before, and fit to the slots before and after."""
        with self._lock:
            seen = self._marks.setdefault(slot, (run.mark, run.before))
            before, behind = self._marks.get(slot - 1), self._marks.get(slot + 1)
        if seen[0] != run.mark:
            self._replaced(slot)
        elif before is not None and run.before != before[0]:
            self._replaced(slot - 1)
        elif behind is not None and behind[1] != run.mark:
            self._replaced(slot)

    def _replaced(self, slot: int, *, gone: bool = False) -> None:
        self.wrong = f"slot {slot} of log {self._log} was replaced: the slot behind it was written behind another one"
        if slot in self._mine:
            self.lost = True
            what = "is gone" if gone else "was replaced by another writer"
            self.wrong = f"slot {slot} of log {self._log}, which this process wrote, {what}"

    def wrote(self, slot: int) -> None:
        """Take note of a slot created by this process."""
        with self._lock:
            self._mine.add(slot)
            self._unproved.add(slot)

    def mark(self, slot: int) -> str | None:
        """Return the mark of a slot, which reveals a replacement; None if the slot was not seen."""
        with self._lock:
            known = self._marks.get(slot)
        return known[0] if known is not None else None

    @property
    def unproved(self) -> int:
        """Return how many slots of this process were not checked since writing."""
        return len(self._unproved)

    def prove(self) -> None:
        """Check that the slots written by this process since the last check are still as written.

        The check is one request, unless something differs. A listing shows each slot's ETag, as did the answer to the
        PUT. Slots with another or an unknown ETag are read, since an ETag is not a proof on every server.

        Raises:
            BackendError: The server does not answer; the next call asks again.
        """
        with self._lock:
            mine = sorted(self._unproved)
        shown = self._shown(mine)
        etags = self._client.etags
        doubtful = [slot for slot in mine if slot not in shown or shown[slot] != etags.get(self._key(slot))]
        read = self._client.get_many([Want(self._key(slot), 0, container.HEAD_BYTES) for slot in doubtful])
        for slot, got in zip(doubtful, read, strict=True):
            if got is None or len(got.data) < container.HEAD_BYTES or container.mark_of(got.data) != self.mark(slot):
                self._replaced(slot, gone=got is None)
        with self._lock:
            self._unproved.difference_update(mine)
        for slot in mine:
            etags.pop(self._key(slot), None)

    def _shown(self, mine: list[int]) -> dict[int, str]:
        """Return the ETags in a listing; empty if reading a single slot, or a few distant slots, costs less."""
        if len(mine) < 2 or mine[-1] - mine[0] >= _LISTED_AT_MOST:
            return {}
        after, many = self._key(mine[0] - 1), mine[-1] - mine[0] + 1
        folder = after.rpartition("/")[0] + "/"
        listed = self._client.listing(folder, after=after, limit=many)
        return {keys.number_of(one.key[len(folder) :]) or 0: one.etag for one in listed}

    def _key(self, slot: int) -> str:
        return keys.slot_key(self._log, slot)

    def require_whole(self) -> None:
        """Check that no slot is known to be gone or replaced; nothing is written otherwise.

        Raises:
            StoreUnavailable: Such a slot is known.
        """
        if self.wrong:
            raise StoreUnavailable(
                f"nothing is {'read or ' if self.lost else ''}written: {self.wrong}",
                hint="run kbstore verify; docs/s3.md says how to go on if slots are gone or were replaced",
            )

    def require_nothing(self) -> None:
        """Check, before the first slot is written, that no later slot, pack or snapshot shows lost slots.

        Raises:
            StoreUnavailable: A slot, pack or snapshot does, or the slots cannot be listed.
        """
        found = self._client.map(lambda look: look(), [self._first_shown, self._packs, self._snapshots])
        if found[0] > 1:
            self.wrong = f"log {self._log} has slot {found[0]}, and not those before it"
        elif found[1] or found[2]:
            what = "packs" if found[1] else "snapshots"
            self.wrong = f"log {self._log} has no slot, and {what} of slots that it had"
        self.require_whole()

    def _first_shown(self) -> int:
        """Return the first slot in a listing; 0 if the listing is empty."""
        folder = f"log/{keys.log_segment(self._log)}/"
        listed = self._client.listing(folder, limit=1)
        return next((slot for one in listed if (slot := keys.number_of(one.key[len(folder) :]))), 0)

    def _packs(self) -> int:
        """Return how many packs the log has; 0 if the credentials do not allow to list caches."""
        try:
            listed = self._client.listing(f"pack/{keys.log_segment(self._log)}/")
            return sum(pack_of(self._log, one.key) is not None for one in listed)
        except BackendError:
            return 0

    def _snapshots(self) -> int:
        """Return how many snapshots the log has, likewise."""
        folder = f"snap/{keys.log_segment(self._log)}/"
        try:
            return sum(keys.snapshot_of(one.key[len(folder) :]) is not None for one in self._client.listing(folder))
        except BackendError:
            return 0
