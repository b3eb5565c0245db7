"""Group commit: patches that several threads commit at once share a slot, if each slot costs a round trip.

While a thread waits for a slot, other threads queue up; the next thread takes all waiting commits along. Each commit
stays a separate commit, with its own event, write id and conflict.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kbstore.backends.base import Chunk, Record
from kbstore.commit.writer import Head, Proposal, Writer
from kbstore.errors import ConflictError, PatchError
from kbstore.history.branch import Entry
from kbstore.kit.clock import LONGEST_S, attempts, monotonic
from kbstore.kit.errors import BackendError, KBStoreError, OutcomeUnknown, SlotTaken, StoreUnavailable
from kbstore.kit.forks import tell_of_forks

_TRIES = 1000
_LONGEST_WAIT_S = 5 * LONGEST_S
"""How long a commit waits for the commit in front: longer than any commit takes."""


@dataclass(slots=True, eq=False)
class Member:
    """A commit in a group.

    Attributes:
        given: The changes as given by the caller.
        write_id: The id of the write.
        sought: Whether to search for the write first, since the commit may have landed already.
        proposals: The changes, ready to become events.
        entries: The events, None for a change without an event; set after landing.
        result: The result for the caller.
        fault: The error for the caller, instead of a result.
        done: Whether a leader has handled the commit.
        leads: Whether the thread of this commit handles all waiting commits.
    """

    given: Sequence[Any]
    write_id: str
    sought: bool
    proposals: list[Proposal] = field(default_factory=list)
    entries: list[Entry | None] = field(default_factory=list)
    result: Any = None
    fault: BaseException | None = None
    done: bool = False
    leads: bool = False


class Queue:
    """Commits that wait for a thread to take them along; a single thread leads at a time."""

    def __init__(self) -> None:
        self.after_fork()
        tell_of_forks(self)

    def after_fork(self) -> None:
        """Start with an empty queue in a child, since the parent's threads are gone; see `kbstore.kit.forks.Forked`."""
        # Take the mutex directly: a signal's exception in the methods of Condition could leave the mutex locked.
        self._mutex = threading.RLock()
        self._changed = threading.Condition(self._mutex)
        self._waiting: list[Member] = []
        self._led = False

    def join(self, member: Member) -> bool:
        """Wait until a leader has handled the commit (return False), or until this thread must lead (return True).

        Raises:
            StoreUnavailable: The leader did not come back, and has not taken the commit along: nothing was written.
            OutcomeUnknown: The same, but the commit was taken along.
        """
        until = monotonic() + _LONGEST_WAIT_S
        with self._mutex:
            self._waiting.append(member)
            while self._led and not member.done:
                left = until - monotonic()
                if left <= 0:
                    raise self._given_up(member)
                self._changed.wait(left)
            if member.done:
                return False
            member.leads = self._led = True
            return True

    def _given_up(self, member: Member) -> BackendError:
        why = "another thread's commit, which goes first, does not end"
        if member in self._waiting:
            self._waiting.remove(member)
            return StoreUnavailable(f"nothing was written: {why}", hint="try again")
        return OutcomeUnknown(f"it may have landed or not: {why}", write_id=member.write_id)

    def take(self) -> list[Member]:
        """Return all waiting commits, in the order of arrival."""
        with self._mutex:
            taken, self._waiting = self._waiting, []
            return taken

    def leave(self, seen_to: Sequence[Member]) -> None:
        """Mark commits as done, and let another thread lead."""
        with self._mutex:
            for member in seen_to:
                member.done = True
            self._led = False
            self._changed.notify_all()


class GroupWriter(Writer):
    """A writer that can also append several commits as a slot."""

    def commit_group(self, members: Sequence[Member], refuse_twin: Callable[[Member, tuple[int, int]], None]) -> None:
        """Append commits without a named base as a single slot; each commit ends with entries or with a fault.

        The commits build on the newest version and on each other in the given order, as if each was committed alone.

        Args:
            members: The commits.
            refuse_twin: Called with a commit whose write id landed meanwhile, and the records of that write; raises
                `KBStoreError` if that write is another change.
        """
        searched = self.known_head().slot
        chunks: dict[int, list[Chunk]] = {id(m): self._prepare(m.proposals) for m in members}
        order_chunks: dict[bytes, Chunk] = {}
        waiting = list(members)
        current = False  # whether the head was looked for in this call
        for _ in attempts(_TRIES):
            head = self.known_head()
            if head.slot > searched:
                self._leave_out_landed(waiting, searched, refuse_twin)
                searched = head.slot
            root, parent = self.state(head).root, head.entry
            order = self._orders.draft(head.seq, order_chunks)
            fresh: list[tuple[Member, list[Record]]] = []
            for member in list(waiting):
                try:
                    before = order.mark()
                    member.entries, state = self._events(member.proposals, root, parent, None, order)
                except PatchError as fault:
                    order.back_to(before)
                    member.fault = fault
                    waiting.remove(member)
                    continue
                made = [(e, p) for e, p in zip(member.entries, member.proposals, strict=True) if e is not None]
                if made:
                    root, parent = state.root, made[-1][0]
                    fresh.append((member, [Record(entry.header, proposal.body) for entry, proposal in made]))
            if not fresh or parent is None:
                if current or self.head().seq == head.seq:
                    return
                current = True  # without effect here, but perhaps not on top of versions by others
                continue
            writes = [(member.write_id, len(records)) for member, records in fresh]
            together = [record for _, records in fresh for record in records]
            needed = [*(chunk for member, _ in fresh for chunk in chunks[id(member)]), *order_chunks.values()]
            try:
                self._refuse_unreadable(root, together, needed)
                self._backend.append(
                    self._line.log, head.slot + 1, together, write_id=writes[0][0], chunks=needed, writes=writes
                )
            except SlotTaken:
                self.head(fresh=False)
                continue
            except OutcomeUnknown as fault:
                for member, _ in fresh:
                    member.fault = OutcomeUnknown(str(fault), write_id=member.write_id)
                return
            operations = sum(len(p.operations) for member, _ in fresh for p in member.proposals)
            entries = [e for member, _ in fresh for e in member.entries if e is not None]
            self._landed(Head(head.slot + 1, parent.event.seq, parent), root, operations, entries)
            return
        for member in waiting:
            member.fault = ConflictError(
                "other writers committed first at every try; nothing was written",
                hint="commit again",
            )

    def _leave_out_landed(
        self, waiting: list[Member], after: int, refuse_twin: Callable[[Member, tuple[int, int]], None]
    ) -> None:
        """Finish the commits whose write ids landed behind slot `after`, by another call or by a repeated request."""
        for member in list(waiting):
            landed = self._backend.find_write(self._line.log, member.write_id, after=after)
            if landed is None:
                continue
            waiting.remove(member)
            try:
                refuse_twin(member, landed)
            except KBStoreError as fault:
                member.fault = fault
            else:
                member.entries = [*self.landed(landed, len(member.proposals))]


def fail_all(members: Sequence[Member], fault: BaseException, leader: Member) -> None:
    """Give an error to commits that did not cause the error.

    An interrupt or exit of the leader's call concerns the leader's thread alone. The other commits get
    `OutcomeUnknown`, with the write id for repeating the commit.
    """
    for member in members:
        if member.fault is None:
            alone = member is not leader and not isinstance(fault, Exception)
            member.fault = (
                OutcomeUnknown("the call that committed it was interrupted", write_id=member.write_id)
                if alone
                else fault
            )
