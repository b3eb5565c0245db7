"""What the tags and branches of one store are to become in another, decided before anything is copied.

Where one log of ref events continues the other, its events are taken as they are. Where the two parted, each name is
looked at by itself: what it was set to, one after another, since the last event that both have. Where one side has only
gone on from where the other stands, the other is behind, and what it lacks is made anew on top of its log. Only a name
that both set to something else has parted.

A branch counts as the same where it starts at the same version; whether both hold the same versions on it is for those
to tell who copy them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from kbstore.identity import encoded
from kbstore.refs import RefEvent


class RefRecord(NamedTuple):
    """A ref event as it stands in a log."""

    event: RefEvent
    header: bytes


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
        parted: Names that both changed. With `force` they are settled in `steps`, or left out.
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
    common = 0
    while common < min(len(source), len(target)) and source[common].header == target[common].header:
        common += 1
    news = source[common:]
    if common == len(target) and not apart:
        return Merge([Step(*record) for record in news], [], frozenset())
    before = _standing(source[:common])
    ours, theirs = _histories(news, before), _histories(target[common:], before)
    begin: dict[str, int] = {}
    parted: list[Parted] = []
    left_out = set(apart)
    for name, values in ours.items():
        there = theirs.get(name, [before.get(name)])
        lacking = _lacking(values, there)
        if lacking is None:
            parted.append(Parted(name, values[-1], there[-1]))
            lacking = len(values) - 1
            if not force or (there[-1] is not None and there[-1].kind == "branch"):
                left_out.add(name)
        begin[name] = len(values) - lacking
    for event, _ in source:
        if event.kind == "branch" and event.branch in left_out:
            left_out.add(event.name)
    steps = list(_steps(news, begin, left_out, _standing(target)))
    return Merge(steps, parted, frozenset(left_out))


def _steps(
    news: Sequence[RefRecord], begin: Mapping[str, int], left_out: set[str], standing: dict[str, Value | None]
) -> Iterator[Step]:
    """Each name's events from the first that the target lacks, made anew."""
    seen: dict[str, int] = {}
    for event, _ in news:
        seen[event.name] = seen.get(event.name, 0) + 1
        apart = event.name in left_out or (event.branch in left_out and event.kind != "setting")
        if seen[event.name] < begin[event.name] or apart:
            continue
        if event.kind == "branch" and standing.get(event.name) is not None:
            removal = msgspec.structs.replace(event, kind="tag", target=None, version=0, branch="main", log=None)
            yield Step(removal, None)
        standing[event.name] = _value(event)
        yield Step(event, None)


def _lacking(values: list[Value | None], there: list[Value | None]) -> int | None:
    """How many of its newest events on a name the target lacks; None where both went on to something else.

    Args:
        values: What the source set it to, one after another, and first of all what it was before.
        there: The same of the target.
    """
    if values[-1] == there[-1]:
        return 0
    ahead, behind = there[-1] in values, values[-1] in there
    if ahead and behind:
        # Something was set again: who begins as the other did, and goes on, is ahead.
        if values[: len(there)] == there:
            return len(values) - len(there)
        return 0 if there[: len(values)] == values else None
    if ahead:
        return values[::-1].index(there[-1])
    return 0 if behind else None


def _standing(records: Sequence[RefRecord]) -> dict[str, Value | None]:
    return {event.name: _value(event) for event, _ in records}


def _histories(records: Sequence[RefRecord], before: Mapping[str, Value | None]) -> dict[str, list[Value | None]]:
    found: dict[str, list[Value | None]] = {}
    for event, _ in records:
        found.setdefault(event.name, [before.get(event.name)]).append(_value(event))
    return found


def _value(event: RefEvent) -> Value | None:
    if event.kind == "setting":
        return Value(event.kind, ",".join(map(encoded, event.value)), 0) if event.value is not None else None
    return Value(event.kind, event.target, event.version) if event.target is not None else None
