"""Tags, branches and settings: events in a log of their own, each naming the event before, folded into maps."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import msgspec

from kbstore.backends.base import Backend, Record, StoredRecord
from kbstore.errors import CorruptStore, KBStoreError, RevisionError, SlotTaken
from kbstore.history.branch import MAIN_BRANCH, MAIN_LOG, REFS_LOG, Segment, readable_records
from kbstore.history.event import UNREADABLE, event_id
from kbstore.history.revision import check_name
from kbstore.history.settings import check_setting, identified
from kbstore.jsondoc.canonical import encode
from kbstore.jsondoc.identity import Names
from kbstore.kit.clock import attempts, format_time, parse_time

REF_FORMAT = 1
LIST_BRANCHES = "list them with: kbstore branch"
"""The hint at a name that no branch has or had."""
_ID = re.compile(r"[0-9a-f]{64}")
_BRANCH_LOG = re.compile(r"b[0-9a-f]{15}")
_KINDS = frozenset({"tag", "branch", "setting"})
_TRIES = 100
_PARTED_HINT = "its versions alone come with a range: kbstore export ..HEAD"


class RefEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One change of a tag, branch or setting.

    Attributes:
        kind: ``tag``, ``branch`` or ``setting``.
        name: Name of the tag, branch or setting.
        parent: Id of the previous ref event; None for the first.
        seq: 1, 2, ... along the refs log.
        time: When: RFC 3339, UTC, microseconds.
        author: Name of the author.
        target: Id of the event that the tag names or the branch starts from; None removes the tag or branch.
        version: Seq of the target.
        branch: The branch with the target on its line, by the name of that time (see `RefState.removed`).
        log: The log for the own events of a new branch.
        old: The name of the branch before a rename; an event with `old` starts no branch.
        value: The new value of a setting (see `kbstore.history.settings`); None removes the setting.
        origin: Id of the original, if this event repeats an event from another log; None for an original.
        format: Version of this layout.
    """

    kind: str
    name: str
    seq: int
    time: str
    author: str
    parent: str | None = None
    target: str | None = None
    version: int = 0
    branch: str = MAIN_BRANCH
    log: str | None = None
    value: tuple[str, ...] | None = None
    old: str | None = None
    origin: str | None = None
    format: int = 0

    def encode(self) -> bytes:
        """Return the canonical bytes of the record."""
        fields: dict[str, Any] = msgspec.structs.asdict(self)
        return encode({k: v for k, v in fields.items() if v is not None})

    @property
    def starts(self) -> bool:
        """Whether the event starts a branch."""
        return self.kind == "branch" and self.target is not None and self.old is None


@dataclass(slots=True)
class RefState:
    """The fold of the refs log.

    Attributes:
        slot: The newest folded slot.
        parent: Id of the newest ref event.
        tags: Maps the name of a tag to the event that set the tag.
        branches: Maps the name of a branch to the event that started the branch; without ``main``.
        removed: The same for removed branches. Other branches may continue their lines, and the versions keep their
            ids. A removed branch is called ``~`` and its log, since a person cannot give such a name.
        logs: Maps a log to the name of the branch with this log, removed or not.
        origins: Maps the id of the event that first started a branch to the name of the branch. The id identifies the
            branch in every store.
        became: Maps a former name of a branch to the next name; for a removed branch, to the name with ``~``.
        identities: Maps the pointer of an array to the members that identify the elements, from the settings.
        collection: Pointer to the container of the entries, from the settings.
        odd: Skipped changes, since kbstore does not make such changes: a sentence each.
    """

    slot: int = 0
    parent: str | None = None
    tags: dict[str, RefEvent] = field(default_factory=dict)
    branches: dict[str, RefEvent] = field(default_factory=dict)
    removed: dict[str, RefEvent] = field(default_factory=dict)
    logs: dict[str | None, str] = field(default_factory=dict)
    origins: dict[str | None, str] = field(default_factory=dict)
    became: dict[str, str] = field(default_factory=dict)
    identities: dict[str, Names] = field(default_factory=dict)
    collection: str | None = None
    odd: list[str] = field(default_factory=list)

    def take(self, event: RefEvent) -> None:
        """Fold one more event."""
        if event.starts:
            start = msgspec.structs.replace(event, origin=event.origin or event_id(event.encode()))
            self.branches[event.name] = start
            self.logs[start.log] = self.origins[start.origin] = event.name
        elif event.kind == "branch" and event.old is not None:
            self._rename(event.old, event.name, self.branches)
        elif event.kind == "branch":
            self._rename(event.name, f"~{self.branches[event.name].log}", self.removed)
        elif event.kind == "tag":
            self.tags[event.name] = event
            if event.target is None:
                del self.tags[event.name]
        elif (pointer := identified(event.name)) is None:
            self.collection = event.value[0] if event.value else None
        elif event.value is not None:
            self.identities[pointer] = event.value
        else:
            self.identities.pop(pointer, None)

    @property
    def lines(self) -> dict[str, RefEvent]:
        """All branches, including removed branches."""
        return self.branches | self.removed

    def start(self, branch: str) -> RefEvent | None:
        """Return the event that started a branch, removed or not; None if there is no such branch."""
        return self.branches.get(branch) or self.removed.get(branch)

    def has_line(self, branch: str) -> bool:
        """Return whether there is a branch of this name, removed or not."""
        return branch == MAIN_BRANCH or self.start(branch) is not None

    def named(self, log: str) -> str:
        """Return the name of the branch with this log."""
        return self.logs.get(log, MAIN_BRANCH)

    def now(self, branch: str) -> str | None:
        """Return the present name of a branch from a present or former name; None if there never was such a branch."""
        seen = set()
        while branch != MAIN_BRANCH and branch not in self.branches and branch in self.became and branch not in seen:
            seen.add(branch)
            branch = self.became[branch]
        return branch if self.has_line(branch) else None

    def called(self, branch: str) -> str:
        """Return the name of a branch for messages; for a removed branch, the former name and a note."""
        start = self.removed.get(branch)
        return f"{start.old} (removed)" if start is not None else branch

    def _rename(self, old: str, new: str, table: dict[str, RefEvent]) -> None:
        start = self.branches.pop(old)
        table[new] = msgspec.structs.replace(start, name=new, old=old if table is self.removed else None)
        self.became[old] = self.logs[start.log] = self.origins[start.origin] = new
        for names in (self.branches, self.removed, self.tags):
            for name, event in names.items():
                if event.branch == old:
                    names[name] = msgspec.structs.replace(event, branch=new)


_decode = msgspec.json.Decoder(RefEvent).decode


class Refs:
    """The tags, branches and settings of a store.

    Args:
        backend: Holds the log.
        state: Tags and branches to use; read from the log by default.
    """

    def __init__(self, backend: Backend, state: RefState | None = None) -> None:
        self._backend = backend
        self._given = state is not None
        self._state = state or RefState()
        self._looked = False
        self._lock = Lock()

    def read(self) -> RefState:
        """Return the newest tags and branches; read only the changes since the last call."""
        state = self._state
        self._looked = True
        if self._given:
            return state
        with self._lock:  # handles on other branches share these refs, and each has only a lock of its own
            for record in self._records(state.slot + 1):
                self._take(record, state)
        return state

    @staticmethod
    def _take(record: StoredRecord, state: RefState) -> None:
        try:
            event = decode_ref(record.header, record.number)
        except CorruptStore as fault:
            state.odd.append(str(fault))
        else:
            if event.parent != state.parent or event.seq != record.number:
                raise CorruptStore(
                    f"{name_change(record.number)} does not follow the one before it", hint="run: kbstore verify"
                )
            try:
                check_ref(event, record.header, state)
            except KBStoreError as fault:
                state.odd.append(f"{name_change(record.number)} is passed over: {fault}")
            else:
                state.take(event)
        state.parent = event_id(record.header)
        state.slot = record.slot

    def _records(self, first: int) -> Iterator[StoredRecord]:
        """Yield the changes from a number on; the error for an unreadable change has the number of the change."""
        try:
            for record in self._backend.read(REFS_LOG, first):
                yield record
                first = record.number + 1
            return
        except CorruptStore as fault:
            damaged = fault
        # Read one by one to find the damaged change: a batch fails as a whole.
        for number in range(first, self._backend.tail(REFS_LOG).number + 1):
            try:
                yield from self._backend.read(REFS_LOG, number, number)
            except CorruptStore as fault:
                raise CorruptStore(f"{name_change(number)} cannot be read", hint="run: kbstore verify") from fault
        raise damaged

    def known(self) -> RefState:
        """Return the tags, branches and settings of the last read; read now if there was no read before."""
        return self._state if self._looked else self.read()

    def append(self, change: RefEvent, write_id: str, *, must_be_new: bool, may_be_there: bool = True) -> bool:
        """Append a change; `append` fills in the place in the chain.

        Args:
            change: The change.
            write_id: Identifies this write.
            must_be_new: Refuse a name that is taken.
            may_be_there: Whether a write with this id may have landed already.

        Returns:
            False if a write with this id is there already, by a repeated request or by another call; nothing is
            appended then.

        Raises:
            RevisionError: `must_be_new` is set and the name is taken, perhaps since a moment ago; or the branch to
                remove or rename does not exist.
            SlotTaken: Other writers were first at every try.
        """
        for _ in attempts(_TRIES):
            state = self.read()
            if may_be_there and self._backend.find_write(REFS_LOG, write_id, after=0) is not None:
                return False
            if must_be_new and (change.name in state.tags or change.name in state.branches):
                movable = change.kind == "tag" and change.name in state.tags
                raise RevisionError(
                    f"the name {change.name!r} is taken", hint="use --force to move the tag" if movable else None
                )
            event = msgspec.structs.replace(change, seq=state.slot + 1, parent=state.parent, format=REF_FORMAT)
            if event.kind == "branch" and not event.starts and (gone := event.old or event.name) not in state.branches:
                raise no_branch(gone, state)
            check_ref(event, event.encode(), state)
            try:
                self._backend.append(REFS_LOG, state.slot + 1, [Record(event.encode())], write_id=write_id)
            except SlotTaken:
                may_be_there = True  # the winner may be this very write: see `kbstore.commit.writer`
                continue
            return True
        raise SlotTaken("others changed tags or branches first at every try; nothing was written", hint="try again")

    def landed(self, write_id: str) -> RefEvent | None:
        """Return the change that was written with an id; None if there is no such change."""
        numbers = self._backend.find_write(REFS_LOG, write_id)
        if numbers is None:
            return None
        (record,) = self._backend.read(REFS_LOG, *numbers)
        return decode_ref(record.header, record.number)

    def graft(self, header: bytes, write_id: str) -> bool:
        """Append a change from another store, unchanged; return False if this store has the change already.

        Raises:
            CorruptStore: The change does not follow the newest change here, or this store has another change in its
                place.
            SlotTaken: Somebody else changed a tag or branch meanwhile.
        """
        state = self.read()
        event = decode_ref(header, state.slot + 1)
        if 0 < event.seq <= state.slot:
            (there,) = self._backend.read(REFS_LOG, event.seq, event.seq)
            if there.header == header:
                return False
            raise CorruptStore("this store has other tags and branches", hint=_PARTED_HINT)
        if event.seq != state.slot + 1 or event.parent != state.parent:
            raise CorruptStore(f"it is {name_change(event.seq)}, and does not follow {state.slot} here")
        check_ref(event, header, state)
        self._backend.append(REFS_LOG, event.seq, [Record(header)], write_id=write_id)
        return True

    def replay(self, change: RefEvent, write_id: str, *, after: int) -> None:
        """Append a change from another store as a new change right behind change `after`; the `origin` is set already.

        Raises:
            SlotTaken: Somebody else changed a tag or branch since `after`.
        """
        state = self.read()
        if state.slot != after:
            raise SlotTaken(f"a tag or branch was changed meanwhile, after change {after}", hint="try again")
        event = msgspec.structs.replace(change, seq=after + 1, parent=state.parent, format=REF_FORMAT)
        check_ref(event, event.encode(), state)
        self._backend.append(REFS_LOG, after + 1, [Record(event.encode())], write_id=write_id)

    def segments(self, branch: str) -> tuple[Segment, ...]:
        """Return the logs that make up the line of a branch.

        Raises:
            RevisionError: There is no such branch.
        """
        segments: list[Segment] = []
        last: int | None = None
        state = self.read() if branch != MAIN_BRANCH else self._state
        while branch != MAIN_BRANCH:
            start = state.start(branch)
            if start is None or start.log is None:
                raise no_branch(branch, state)
            if last is None or start.version < last:
                segments.append(Segment(start.log, start.version, last))
                last = start.version
            branch = start.branch
        return (Segment(MAIN_LOG, 0, last), *reversed(segments))


def no_branch(name: str, state: RefState) -> RevisionError:
    """Return the error for a missing branch; the error says if the branch was removed or renamed."""
    now = state.now(name)
    if now is None:
        what, hint = "", LIST_BRANCHES
    elif now in state.removed:
        what = "; it was removed"
        hint = (
            f"start it again where it ended: kbstore branch {name}; or leave it: kbstore branch --switch {MAIN_BRANCH}"
        )
    else:
        what, hint = f"; it is called {now!r} now", f"work on it: kbstore branch --switch {now}"
    return RevisionError(f"there is no branch {name!r}{what}", hint=hint)


def check_ref(event: RefEvent, header: bytes, before: RefState) -> None:
    """Refuse a change of a tag, branch or setting if kbstore does not make such a change, from whatever source.

    Args:
        event: The change.
        header: Bytes of the change.
        before: The state before the change.

    Raises:
        KBStoreError: kbstore does not make such a change, or the name is taken.
    """
    if event.encode() != header or event.format != REF_FORMAT:
        raise CorruptStore("it is not in canonical form")
    try:
        timed = format_time(parse_time(event.time)) == event.time
    except ValueError:
        timed = False
    if not timed:
        raise CorruptStore(f"its time {event.time[:40]!r} is not in the form of kbstore")
    if event.origin is not None and _ID.fullmatch(event.origin) is None:
        raise CorruptStore(f"its origin {event.origin[:40]!r} is not the id of a change")
    if event.kind == "setting":
        check_setting(event.name, event.value)
        if (event.target, event.version, event.branch, event.log, event.old) != (None, 0, MAIN_BRANCH, None, None):
            raise CorruptStore(f"the setting {event.name!r} names a version")
        return
    check_name(event.name)
    if event.kind == "branch" and not event.starts:
        _check_change_of_branch(event, before)
        return
    if event.name == MAIN_BRANCH or event.name in before.branches:
        raise CorruptStore(f"the name {event.name!r} is taken")
    named = event.target is not None and _ID.fullmatch(event.target) is not None and event.version > 0
    removed = event.kind == "tag" and (event.target, event.version) == (None, 0)
    if event.value is not None or event.old is not None or not (named or removed):
        raise CorruptStore(f"the {event.kind} {event.name!r} names no version")
    if not before.has_line(event.branch):
        raise CorruptStore(f"the {event.kind} {event.name!r} is on the branch {event.branch!r}, which is not there")
    if event.kind == "tag":
        if event.log is not None:
            raise CorruptStore(f"the tag {event.name!r} has a log")
        return
    if event.name in before.tags:
        raise CorruptStore(f"the name {event.name!r} is taken")
    if _BRANCH_LOG.fullmatch(event.log or "") is None or event.log in before.logs:
        raise CorruptStore(f"the branch {event.name!r} has no log of its own")


def _check_change_of_branch(event: RefEvent, before: RefState) -> None:
    """Refuse a change, except removing an existing branch or giving an existing branch a free name."""
    gone = event.old if event.old is not None else event.name
    start = before.branches.get(gone)
    if start is None:
        raise CorruptStore(f"the branch {gone!r} is not there")
    if event.old is not None and (event.name == MAIN_BRANCH or event.name in before.branches | before.tags):
        raise CorruptStore(f"the name {event.name!r} is taken")
    named = (start.target, start.version) if event.old is not None else (None, 0)
    if (event.target, event.version, event.branch, event.log, event.value) != (*named, MAIN_BRANCH, None, None):
        raise CorruptStore(f"it changes the branch {gone!r}, and says what only the start of a branch does")


def readable_refs(backend: Backend, last: int) -> tuple[RefState, dict[int, bytes]]:
    """Return the fold of the readable changes among the first `last`, and the records by number."""
    state = RefState()
    records = readable_records(backend, REFS_LOG, 1, last)
    for number, header in sorted(records.items()):
        with suppress(KBStoreError):
            event = decode_ref(header, number)
            check_ref(event, header, state)
            state.take(event)
            state.parent = event_id(header)
    return state, records


def name_change(number: int) -> str:
    """Return the name of a ref event for messages."""
    return f"change {number} of tags and branches"


def decode_ref(header: bytes, number: int) -> RefEvent:
    """Return the ref event in a header.

    Raises:
        CorruptStore: The header is not the header of a ref event.
    """
    try:
        event = _decode(header)
    except UNREADABLE as fault:
        raise CorruptStore(f"{name_change(number)} is damaged: {fault}", hint="run: kbstore verify") from None
    if event.kind not in _KINDS:
        raise CorruptStore(f"{name_change(number)} is of an unknown kind: {event.kind!r}", hint="run: kbstore verify")
    return event


class KnownIdentities(Mapping[str, Names]):
    """The members that identify the elements of arrays, from the settings; read at the first lookup.

    Args:
        refs: The refs of the store.
    """

    def __init__(self, refs: Refs) -> None:
        self._refs = refs

    def refresh(self) -> None:
        """Read the changes that others made meanwhile."""
        self._refs.read()

    def __getitem__(self, pointer: str) -> Names:
        return self._refs.known().identities[pointer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._refs.known().identities)

    def __len__(self) -> int:
        return len(self._refs.known().identities)
