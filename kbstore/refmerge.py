"""What the tags and branches of one store are to become in another, decided before anything is copied.

Where one log of ref events continues the other, its events are taken as they are. Where the two parted, each name is
looked at by itself, from the last event of that name that both have. If only one side has events behind that one, the
other is behind, and what it lacks is made anew on top of its log, with the id of the original as its `origin`: two
events are the same if their ids or origins are equal. Only a name that both changed since has parted, unless it stands
for the same in both.

A branch counts as the same where it starts at the same version; whether both hold the same versions on it is for those
to tell who copy them.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from kbstore.event import event_id
from kbstore.identity import encoded
from kbstore.refs import RefEvent


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
) -> Merge:
    """What the target lacks of the source's tags and branches.

    Args:
        source: The ref events of the source.
        target: Those of the target.
        force: A tag that both changed follows the source, unless the target has a branch of that name.
        apart: Branches that hold other versions in each: nothing that stands on them is taken.
    """
    if not apart and [record.header for record in source[: len(target)]] == [record.header for record in target]:
        return Merge([Step(*record) for record in source[len(target) :]], [], frozenset())
    ours, theirs = _by_name(source), _by_name(target)
    lacking: set[str] = set()
    parted: list[Parted] = []
    left_out = set(apart)
    for name, events in ours.items():
        there = theirs.get(name, [])
        behind = _lacking(events, there)
        if behind is None:
            ours_now, theirs_now = _value(events[-1].event), _value(there[-1].event)
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
    for event, _ in source:
        if event.kind == "branch" and event.branch in left_out:
            left_out.add(event.name)
    steps = list(_steps(source, lacking, left_out, _standing(target)))
    return Merge(steps, parted, frozenset(left_out))


def _steps(
    source: Sequence[RefRecord], lacking: set[str], left_out: set[str], standing: dict[str, Value | None]
) -> Iterator[Step]:
    """The events that the target lacks, made anew."""
    for record in source:
        event = record.event
        named = event.kind != "setting" and (event.name in left_out or event.branch in left_out)
        if record.origin not in lacking or named:
            continue
        if event.kind == "branch" and standing.get(event.name) is not None:
            yield Step(RefEvent("tag", event.name, event.seq, event.time, event.author), None)
        if event.kind != "setting":
            standing[event.name] = _value(event)
        yield Step(msgspec.structs.replace(event, origin=record.origin), None)


_Name = tuple[bool, str]
"""Whether it is that of a setting, and the name: a tag or branch may have the name of a setting."""


def _by_name(records: Sequence[RefRecord]) -> dict[_Name, list[RefRecord]]:
    """The events on each name, oldest first."""
    found: dict[_Name, list[RefRecord]] = {}
    for record in records:
        found.setdefault((record.event.kind == "setting", record.event.name), []).append(record)
    return found


def _lacking(ours: list[RefRecord], theirs: list[RefRecord]) -> list[RefRecord] | None:
    """Events on a name that the target lacks; None if both changed it since the last event that both have."""
    if not theirs:
        return ours
    here, there = ({record.origin for record in records} for records in (ours, theirs))
    ahead, behind = theirs[-1].origin in here, ours[-1].origin in there
    if ahead != behind:
        return _since_common(ours, theirs) if ahead else []
    # Each has the newest of the other, or neither has: after both were forced, they may differ in the first case too.
    return [] if _value(ours[-1].event) == _value(theirs[-1].event) else None


def _since_common(ours: list[RefRecord], theirs: list[RefRecord]) -> list[RefRecord]:
    """The source's events on a name that the target lacks; the newest is always among them."""
    there = {record.origin for record in theirs}
    return [*(record for record in ours[:-1] if record.origin not in there), ours[-1]]


def _standing(records: Sequence[RefRecord]) -> dict[str, Value | None]:
    return {event.name: _value(event) for event, _ in records if event.kind != "setting"}


def _value(event: RefEvent) -> Value | None:
    if event.kind == "setting":
        return Value(event.kind, ",".join(map(encoded, event.value)), 0) if event.value is not None else None
    return Value(event.kind, event.target, event.version) if event.target is not None else None
