"""Whether the slots of a log still are what this process saw and wrote, and stand behind one another.

Each slot names the mark of the one before it. So a slot that was replaced is found by whoever reads it or the one
behind it. A process that only writes reads neither: `Chain.prove` compares what it wrote with what a listing shows.
"""

import threading

from kbstore.backends.s3.format import container, keys
from kbstore.backends.s3.format.pack import pack_of
from kbstore.backends.s3.format.slot import Run
from kbstore.backends.s3.transport.client import Client, Want
from kbstore.kit.errors import BackendError, StoreUnavailable

_LISTED_AT_MOST = 1000


class Chain:
    """What one process knows of the order of one log's slots. Threads share it.

    Attributes:
        wrong: What is gone or was replaced; empty if nothing is known to be.
        lost: True if that is a slot which this process wrote, so that what it has in memory is another history.
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
        """Compare the slot that a hint names with the newest that is there; if the slot has come, all is well again."""
        if slot > max(newest, self._promised):
            self._promised = slot
        charge = f"the hint of log {self._log} names slot "
        if self.wrong and not self.wrong.startswith(charge):
            return
        # On a replica the hint may arrive first.
        late = newest < self._promised
        self.wrong = f"{charge}{self._promised}, and the newest that is there is {newest}" if late else ""

    def saw(self, slot: int, run: Run) -> None:
        """Take in a slot: it must be what was seen of it, between those that were written around it."""
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
        """Take note of a slot that this process created."""
        with self._lock:
            self._mine.add(slot)
            self._unproved.add(slot)

    def mark(self, slot: int) -> str | None:
        """What distinguishes a slot from any other in its place; None if the slot was not seen."""
        with self._lock:
            known = self._marks.get(slot)
        return known[0] if known is not None else None

    @property
    def unproved(self) -> int:
        """How many slots of this process were not looked at since they were written."""
        return len(self._unproved)

    def prove(self) -> None:
        """See whether the slots that this process wrote since the last time are still its own.

        It is one request, unless something differs. A listing shows each slot's ETag, which the answer to its PUT told
        as well. Slots whose ETag is another, or is not known, are read, since an ETag proves nothing on every server.

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
        """The ETags that a listing shows; none where reading a single slot, or few that stand far apart, costs less."""
        if len(mine) < 2 or mine[-1] - mine[0] >= _LISTED_AT_MOST:
            return {}
        after, many = self._key(mine[0] - 1), mine[-1] - mine[0] + 1
        folder = after.rpartition("/")[0] + "/"
        listed = self._client.listing(folder, after=after, limit=many)
        return {keys.number_of(one.key[len(folder) :]) or 0: one.etag for one in listed}

    def _key(self, slot: int) -> str:
        return keys.slot_key(self._log, slot)

    def require_whole(self) -> None:
        """See that nothing that was seen speaks of a slot that is gone or was replaced: nothing is written then.

        Raises:
            StoreUnavailable: Something does.
        """
        if self.wrong:
            raise StoreUnavailable(
                f"nothing is {'read or ' if self.lost else ''}written: {self.wrong}",
                hint="run kbstore verify; docs/s3.md says how to go on if slots are gone or were replaced",
            )

    def require_nothing(self) -> None:
        """See, before the first slot is written, that no later slot, pack or snapshot speaks of slots that are gone.

        Raises:
            StoreUnavailable: One does, or the slots cannot be listed.
        """
        found = self._client.map(lambda look: look(), [self._first_shown, self._packs, self._snapshots])
        if found[0] > 1:
            self.wrong = f"log {self._log} has slot {found[0]}, and not those before it"
        elif found[1] or found[2]:
            what = "packs" if found[1] else "snapshots"
            self.wrong = f"log {self._log} has no slot, and {what} of slots that it had"
        self.require_whole()

    def _first_shown(self) -> int:
        """The first slot that a listing shows; 0 if there is none."""
        folder = f"log/{keys.log_segment(self._log)}/"
        listed = self._client.listing(folder, limit=1)
        return next((slot for one in listed if (slot := keys.number_of(one.key[len(folder) :]))), 0)

    def _packs(self) -> int:
        """How many packs of this log there are; who may not list caches sees none, and goes without."""
        try:
            listed = self._client.listing(f"pack/{keys.log_segment(self._log)}/")
            return sum(pack_of(self._log, one.key) is not None for one in listed)
        except BackendError:
            return 0

    def _snapshots(self) -> int:
        """The same for snapshots."""
        folder = f"snap/{keys.log_segment(self._log)}/"
        try:
            return sum(keys.snapshot_of(one.key[len(folder) :]) is not None for one in self._client.listing(folder))
        except BackendError:
            return 0
