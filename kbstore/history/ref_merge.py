"""What the tags and branches of one store are to become in another, decided before anything is copied.

Where one log of ref events continues the other, its events are taken as they are. Where the two parted, each name is
looked at by itself, from the last event of that name that both have. If only one side has events behind that one, the
other is behind, and what it lacks is made anew on top of its log, with the id of the original as its `origin`: two
events are the same if their ids or origins are equal. Only a name that both changed since has parted, unless it stands
for the same in both.

A branch is the same in both if the same event started it, whatever it is called in each; one of the same name that
starts at the same version counts as the same, too. Whether both hold the same versions on it is for those to tell who
copy them.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from kbstore.errors import KBStoreError
from kbstore.history.branch import MAIN_BRANCH
from kbstore.history.event import event_id
from kbstore.history.refs import RefEvent, RefState, check_ref
from kbstore.jsondoc.identity import encoded


class RefRecord(NamedTuple):
    """A ref event as it stands in a log."""

    event: RefEvent
    header: bytes

    @property
    def origin(self) -> str:
        """Id of the event as it was made first, in whatever log."""
        return self.event.origin or event_id(self.header)


class Step(NamedTuple):
    """One ref event to append.

    Attributes:
        event: The change.
        header: Its bytes where it is taken as it is; None where it is made anew on top of the log.
    """

    event: RefEvent
    header: bytes | None


class Value(NamedTuple):
    """What a name stands for: the id and seq of a version, or the value of a setting."""

    kind: str
    target: str
    version: int


class Parted(NamedTuple):
    """A name that source and target set to something else; None stands for nothing."""

    name: str
    source: Value | None
    target: Value | None


class Merge(NamedTuple):
    """What is to be done.

    Attributes:
        steps: Ref events to append, in order.
        parted: Tags and settings that both changed. With `force` they are settled in `steps`.
        left_out: Names that stay as the target has them, and branches of the source that it does not get.
    """

    steps: list[Step]
    parted: list[Parted]
    left_out: frozenset[str]


def merge_refs(
    source: Sequence[RefRecord],
    target: Sequence[RefRecord],
    *,
    force: bool = False,
    apart: frozenset[str] = frozenset(),
    kept: frozenset[str | None] = frozenset(),
) -> Merge:
    """What the target lacks of the source's tags and branches.

    Args:
        source: The ref events of the source.
        target: Those of the target.
        force: A tag that both changed follows the source, unless the target has a branch of that name.
        apart: Branches that hold other versions in each: nothing that stands on them is taken.
        kept: What identifies the branches that are not removed from the target.
    """
    if (
        not apart
        and not kept
        and [record.header for record in source[: len(target)]] == [record.header for record in target]
    ):
        return Merge([Step(*record) for record in source[len(target) :]], [], frozenset())
    ours, theirs = _by_name(source), _by_name(target)
    lacking: set[str] = set()
    parted: list[Parted] = []
    left_out = set(apart)
    for name, events in ours.items():
        there = theirs.get(name, [])
        behind = _lacking(events, there, name[1])
        if behind is None:
            ours_now, theirs_now = _value(events[-1].event, name[1]), _value(there[-1].event, name[1])
            behind = _since_common(events, there)
            if any(value is not None and value.kind == "branch" for value in (ours_now, theirs_now)):
                settled = force and theirs_now is not None and theirs_now.kind == "tag"
                if not settled:
                    left_out.add(name[1])  # it blocks nothing but itself
            else:
                parted.append(Parted(name[1], ours_now, theirs_now))
                if not force:
                    left_out.add(name[1])
        lacking.update(record.origin for record in behind)
    steps = list(_steps(source, fold(target), lacking, left_out, kept))
    return Merge(steps, parted, frozenset(left_out))


def _steps(
    source: Sequence[RefRecord],
    there: RefState,
    lacking: set[str],
    left_out: set[str],
    kept: frozenset[str | None],
) -> Iterator[Step]:
    """The events that the target lacks, made anew.

    Args:
        source: The ref events of the source.
        there: What the target has; it is changed as the steps change it.
        lacking: Origins of the events that the target lacks.
        left_out: Names of which nothing is taken; branches and tags that stand on one that is left out are added.
        kept: As for `merge_refs`.
    """
    here = RefState()
    for record in source:
        event = record.event
        on = here.start(event.branch)
        sound = _take(here, record)
        if event.kind == "branch" and {event.branch, event.old} & left_out:
            left_out.add(event.name)
        named = event.kind != "setting" and not {event.name, event.branch, event.old}.isdisjoint(left_out)
        if record.origin not in lacking or named:
            continue
        step = msgspec.structs.replace(event, origin=record.origin)
        if sound and event.kind != "setting":
            branch = counterpart(on, there) if on is not None else MAIN_BRANCH
            if branch is None or not _can_follow(event, there):
                left_out.add(event.name)
                continue
            if event.kind == "branch" and event.target is None and there.branches[event.name].origin in kept:
                left_out.add(event.name)
                continue
            step = msgspec.structs.replace(step, branch=branch)
            if event.starts and event.name in there.tags:
                free = RefEvent("tag", event.name, event.seq, event.time, event.author)
                there.take(free)
                yield Step(free, None)
            there.take(step)
        yield Step(step, None)


def _can_follow(event: RefEvent, there: RefState) -> bool:
    """Whether a change of a branch can be made where these are."""
    gone = event.old if event.old is not None else event.name
    if event.kind != "branch":
        return True
    if event.starts:
        return event.name not in there.branches
    start = there.branches.get(gone)
    if event.old is None or start is None:
        return start is not None
    return event.name not in there.branches and (start.target, start.version) == (event.target, event.version)


def counterpart(start: RefEvent, there: RefState) -> str | None:
    """Return the name that a branch has among others; None if it is not among them.

    Args:
        start: The event that started it, as `RefState` has it.
        there: The others.
    """
    if start.origin in there.origins:
        return there.origins[start.origin]
    other = there.branches.get(start.name)
    return start.name if other is not None and other.target == start.target else None


def fold(records: Sequence[RefRecord]) -> RefState:
    """Return what tags and branches become by these events; those that no kbstore makes are passed over."""
    state = RefState()
    for record in records:
        _take(state, record)
    return state


def _take(state: RefState, record: RefRecord) -> bool:
    """Fold one more event; False if no kbstore makes it."""
    try:
        check_ref(record.event, record.header, state)
    except KBStoreError:
        return False
    state.take(record.event)
    return True


_Name = tuple[bool, str]
"""Whether it is that of a setting, and the name: a tag or branch may have the name of a setting."""


def _by_name(records: Sequence[RefRecord]) -> dict[_Name, list[RefRecord]]:
    """The events on each name, oldest first."""
    found: dict[_Name, list[RefRecord]] = {}
    for record in records:
        found.setdefault((record.event.kind == "setting", record.event.name), []).append(record)
        if record.event.old is not None:
            found.setdefault((False, record.event.old), []).append(record)  # which is free from then on
    return found


def _lacking(ours: list[RefRecord], theirs: list[RefRecord], name: str) -> list[RefRecord] | None:
    """Events on a name that the target lacks; None if both changed it since the last event that both have."""
    if not theirs:
        return ours
    here, there = ({record.origin for record in records} for records in (ours, theirs))
    ahead, behind = theirs[-1].origin in here, ours[-1].origin in there
    if ahead != behind:
        return _since_common(ours, theirs) if ahead else []
    # Each has the newest of the other, or neither has: after both were forced, they may differ in the first case too.
    return [] if _value(ours[-1].event, name) == _value(theirs[-1].event, name) else None


def _since_common(ours: list[RefRecord], theirs: list[RefRecord]) -> list[RefRecord]:
    """The source's events on a name that the target lacks; the newest is always among them."""
    there = {record.origin for record in theirs}
    return [*(record for record in ours[:-1] if record.origin not in there), ours[-1]]


def _value(event: RefEvent, name: str) -> Value | None:
    """What a name stands for after an event on it."""
    if event.kind == "setting":
        return Value(event.kind, ",".join(map(encoded, event.value)), 0) if event.value is not None else None
    if event.target is None or event.old == name:
        return None
    return Value(event.kind, event.target, event.version)
