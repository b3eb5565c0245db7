"""Which alerts a round gives rise to: what is now known to be true, against what people were last told.

The rules, all in `step`, which does no input or output:

1. A check counts as failed after `fall` bad rounds in a row, and as well again after `rise` good ones.
2. An alert is sent where that differs from what people were told, and only once; while it stands it is repeated.
3. A check that changes too often is flapping: that is told once, and its single changes are not.
4. A skipped check changes nothing: what its need does is told by the need.
5. A silence holds alerts back, not what is known: what is still true when it ends is told then.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Self

from kbstore.health.check_registry import Spec
from kbstore.health.model import Outcome, Status, rfc3339
from kbstore.health.settings import Watch
from kbstore.kit.clock import format_time, parse_time

FAILED = "failed"
REPEATED = "repeated"
RESOLVED = "resolved"
FLAPPING = "flapping"


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known and told of one check, from round to round.

    Attributes:
        stable: How it is, after `rise` and `fall`.
        good: Healthy rounds in a row.
        bad: Other rounds in a row.
        worst: Unhealthy rounds in a row.
        recent: One letter for each of the last rounds, the newest last: ``h``, ``d`` or ``u``.
        flapping: Whether it changes too often.
        told: What people were last told; None where they must be told anew.
        told_flapping: Whether they were told that it is flapping.
        told_at: When they were last told something: RFC 3339.
        since: Since when it is as `stable` says: RFC 3339.
    """

    stable: Status = Status.HEALTHY
    good: int = 0
    bad: int = 0
    worst: int = 0
    recent: str = ""
    flapping: bool = False
    told: Status | None = Status.HEALTHY
    told_flapping: bool = False
    told_at: str | None = None
    since: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """The standing with these fields."""
        told = fields["told"]
        return cls(**{**fields, "stable": Status(fields["stable"]), "told": None if told is None else Status(told)})


@dataclass(frozen=True, slots=True)
class Alert:
    """What people are told.

    Attributes:
        kind: ``failed``, ``repeated``, ``resolved`` or ``flapping``.
        check: The check's name.
        status: How it is.
        message: What it found.
        time: When: RFC 3339.
        since: Since when it is so: RFC 3339, or None.
        hint: What to do about it, or None.
        runbook: Where to read on, or None.
        last_note: What fixed it last time, or None.
    """

    kind: str
    check: str
    status: Status
    message: str
    time: str
    since: str | None = None
    hint: str | None = None
    runbook: str | None = None
    last_note: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The JSON that sinks get; members with nothing to say are left out."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return {"schema_version": 1, **{k: v for k, v in fields.items() if v is not None}, "status": str(self.status)}

    @property
    def line(self) -> str:
        """One line for a log."""
        hint = f" ({self.hint})" if self.hint and self.status is not Status.HEALTHY else ""
        return f"{self.time} {self.kind} {self.check}: {self.status}: {self.message}{hint}"


def step(
    standing: Standing, outcome: Outcome, spec: Spec, now: datetime, settings: Watch, *, silenced: bool = False
) -> tuple[Standing, Alert | None]:
    """What is known and told after one more round, and the alert that must be sent now, if any."""
    if outcome.status is Status.SKIPPED:
        return standing, None
    known = _flapping(_known(standing, outcome.effect, spec, now, settings), settings)
    kind = _kind(known, now, settings)
    if kind is None or silenced:
        return known, None
    told = replace(
        known,
        told=None if kind == FLAPPING else known.stable,
        told_flapping=kind == FLAPPING,
        told_at=format_time(now),
    )
    alert = Alert(
        kind,
        spec.name,
        known.stable if kind != FLAPPING else outcome.effect,
        outcome.result.message,
        rfc3339(now),
        known.since,
        outcome.result.hint,
        spec.runbook,
        outcome.last_note,
    )
    return told, alert


def _known(before: Standing, effect: Status, spec: Spec, now: datetime, settings: Watch) -> Standing:
    """What is known once this round is counted in."""
    well = effect is Status.HEALTHY
    known = replace(
        before,
        good=before.good + 1 if well else 0,
        bad=0 if well else before.bad + 1,
        worst=before.worst + 1 if effect is Status.UNHEALTHY else 0,
        recent=(before.recent + str(effect)[0])[-settings.flap_window :],
    )
    stable = known.stable
    if known.good >= spec.rise:
        stable = Status.HEALTHY
    elif known.worst >= spec.fall:
        stable = Status.UNHEALTHY
    elif known.bad >= spec.fall and (stable is Status.HEALTHY or effect is Status.DEGRADED):
        # Bad for long enough, but not the worst for long enough.
        stable = Status.DEGRADED
    return known if stable is known.stable else replace(known, stable=stable, since=rfc3339(now))


def _flapping(known: Standing, settings: Watch) -> Standing:
    """Marked as flapping where it changes too often; half as many changes end that, so that the mark does not flap."""
    changes = sum((one == "h") != (other == "h") for one, other in zip(known.recent, known.recent[1:], strict=False))
    if known.flapping:
        return known if changes > settings.flap_changes // 2 else replace(known, flapping=False, told_flapping=False)
    return replace(known, flapping=True) if changes >= settings.flap_changes else known


def _kind(known: Standing, now: datetime, settings: Watch) -> str | None:
    """What must be told now, if anything."""
    if known.flapping:
        return None if known.told_flapping else FLAPPING
    if known.told is not known.stable:
        return RESOLVED if known.stable is Status.HEALTHY else FAILED
    if known.told is Status.HEALTHY or known.told_at is None:
        return None
    return REPEATED if (now - parse_time(known.told_at)).total_seconds() >= settings.repeat else None
