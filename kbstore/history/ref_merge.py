"""Decide the new tags and branches of a store from another store's, before anything is copied.

If one log of ref events continues the other, the events are taken as they are. If the logs have diverged, each name is
compared alone, from the last event of the name in both stores. If only one side has later events, the other side is
behind: the missing changes are made again on top of the log there, with the id of the original as `origin`. Two events
are the same if their ids or origins are equal. A name has diverged only if both stores changed the name since, to
different values.

A branch is the same in both stores if the same event started the branch, even under different names. A branch of the
same name that starts at the same version counts as the same, too. Code that copies versions checks whether both
branches hold the same versions.
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
    """A ref event with the bytes from a log."""

    event: RefEvent
    header: bytes

    @property
    def origin(self) -> str:
        """Id of the original event, in whatever log."""
        return self.event.origin or event_id(self.header)


class Step(NamedTuple):
    """A ref event to append.

    Attributes:
        event: The change.
        header: Bytes of the event if taken unchanged; None if the change is made again on top of the log.
    """

    event: RefEvent
    header: bytes | None


class Value(NamedTuple):
    """The value of a name: id and seq of a version, or the value of a setting."""

    kind: str
    target: str
    version: int


class Parted(NamedTuple):
    """A name with different values in source and target; None if a side has no value."""

    name: str
    source: Value | None
    target: Value | None


class Merge(NamedTuple):
    """The plan of a merge.

    Attributes:
        steps: Ref events to append, in order.
        parted: Tags and settings that both sides changed. With `force`, `steps` settles them.
        left_out: Names left unchanged in the target, and branches of the source that are not copied to the target.
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
    """Return the missing changes of the target's tags and branches.

    Args:
        source: The ref events of the source.
        target: The ref events of the target.
        force: A tag changed on both sides follows the source, unless the target has a branch of the same name.
        apart: Branches with different versions in source and target: nothing on these branches is taken.
        kept: Origins of the branches to keep in the target even if the source removed a branch.
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
                    left_out.add(name[1])  # this blocks no other name
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
    """Yield the missing events of the target, made again.

    Args:
        source: The ref events of the source.
        there: The state of the target; each step changes this state.
        lacking: Origins of the events missing in the target.
        left_out: Names to leave alone; branches and tags on a name in `left_out` are added.
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
    """Return whether the target can make a change of a branch in the given state."""
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
    """Return the name of a branch in another store; None if the branch is missing there.

    Args:
        start: The event from `RefState` for the start of the branch.
        there: The tags and branches of the other store.
    """
    if start.origin in there.origins:
        return there.origins[start.origin]
    other = there.branches.get(start.name)
    return start.name if other is not None and other.target == start.target else None


def fold(records: Sequence[RefRecord]) -> RefState:
    """Return the state of tags and branches after these events; skip events that kbstore does not make."""
    state = RefState()
    for record in records:
        _take(state, record)
    return state


def _take(state: RefState, record: RefRecord) -> bool:
    """Fold an event; return False if kbstore does not make such an event."""
    try:
        check_ref(record.event, record.header, state)
    except KBStoreError:
        return False
    state.take(record.event)
    return True


_Name = tuple[bool, str]
"""Whether the name is a setting's, and the name: a tag or branch may have the name of a setting."""


def _by_name(records: Sequence[RefRecord]) -> dict[_Name, list[RefRecord]]:
    """Return the events on each name, oldest first."""
    found: dict[_Name, list[RefRecord]] = {}
    for record in records:
        found.setdefault((record.event.kind == "setting", record.event.name), []).append(record)
        if record.event.old is not None:
            found.setdefault((False, record.event.old), []).append(record)  # the old name is free from then on
    return found


def _lacking(ours: list[RefRecord], theirs: list[RefRecord], name: str) -> list[RefRecord] | None:
    """Return the events on a name that the target lacks; None if both sides changed the name since a common event."""
    if not theirs:
        return ours
    here, there = ({record.origin for record in records} for records in (ours, theirs))
    ahead, behind = theirs[-1].origin in here, ours[-1].origin in there
    if ahead != behind:
        return _since_common(ours, theirs) if ahead else []
    # Either each side has the newest event of the other, or neither side has. The values may differ in the first
    # case, too, after a forced merge in both directions.
    return [] if _value(ours[-1].event, name) == _value(theirs[-1].event, name) else None


def _since_common(ours: list[RefRecord], theirs: list[RefRecord]) -> list[RefRecord]:
    """Return the source's events on a name that the target lacks; the newest event is always included."""
    there = {record.origin for record in theirs}
    return [*(record for record in ours[:-1] if record.origin not in there), ours[-1]]


def _value(event: RefEvent, name: str) -> Value | None:
    """Return the value of a name after an event on the name."""
    if event.kind == "setting":
        return Value(event.kind, ",".join(map(encoded, event.value)), 0) if event.value is not None else None
    if event.target is None or event.old == name:
        return None
    return Value(event.kind, event.target, event.version)
