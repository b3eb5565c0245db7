"""The alerts of a round: the known status of each check, compared with the last alert.

The rules, all in `step`, which does no input or output:

1. A check counts as failed after `fall` bad rounds in a row, and as healthy again after `rise` good rounds.
2. An alert is sent once if the known status differs from the last alert, and repeated while the failure lasts.
3. A check that changes too often is flapping. Flapping is reported once; the single changes are not reported.
4. A skipped check changes nothing: the failed need reports the problem.
5. A silence holds back alerts, not knowledge: a failure that still lasts at the end of the silence is reported then.
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
    """The known status of a check and the last alert about it, kept from round to round.

    Attributes:
        stable: Status after `rise` and `fall`.
        good: Healthy rounds in a row.
        bad: Degraded or unhealthy rounds in a row.
        worst: Unhealthy rounds in a row.
        recent: A letter for each of the last rounds, the newest last: ``h``, ``d`` or ``u``.
        flapping: Whether the check changes too often.
        told: Status in the last alert; None after an alert on flapping, so that the next status is reported.
        told_flapping: Whether an alert has reported the flapping.
        told_at: When the last alert was sent: RFC 3339.
        since: When `stable` got its present value: RFC 3339.
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
        """Return the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Return the standing with these fields."""
        told = fields["told"]
        return cls(**{**fields, "stable": Status(fields["stable"]), "told": None if told is None else Status(told)})


@dataclass(frozen=True, slots=True)
class Alert:
    """A message to people about a check.

    Attributes:
        kind: ``failed``, ``repeated``, ``resolved`` or ``flapping``.
        check: Name of the check.
        status: Status of the check.
        message: Finding of the check.
        time: When the alert was made: RFC 3339.
        since: When the status began: RFC 3339, or None.
        hint: How to solve the problem, or None.
        runbook: Where people find instructions, or None.
        last_note: Note on the last fix, or None.
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
        """Return the JSON for sinks; empty members are left out."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return {"schema_version": 1, **{k: v for k, v in fields.items() if v is not None}, "status": str(self.status)}

    @property
    def line(self) -> str:
        """The alert as a line of a log."""
        hint = f" ({self.hint})" if self.hint and self.status is not Status.HEALTHY else ""
        return f"{self.time} {self.kind} {self.check}: {self.status}: {self.message}{hint}"


def step(
    standing: Standing, outcome: Outcome, spec: Spec, now: datetime, settings: Watch, *, silenced: bool = False
) -> tuple[Standing, Alert | None]:
    """Return the standing after another round, and the alert to send now, if any."""
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
    """Return the standing with this round counted in."""
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
        # Bad for long enough, but not unhealthy for long enough.
        stable = Status.DEGRADED
    return known if stable is known.stable else replace(known, stable=stable, since=rfc3339(now))


def _flapping(known: Standing, settings: Watch) -> Standing:
    """Return the standing with or without the mark for flapping.

    Half as many changes end flapping as begin flapping, so that the mark itself does not flap.
    """
    changes = sum((one == "h") != (other == "h") for one, other in zip(known.recent, known.recent[1:], strict=False))
    if known.flapping:
        return known if changes > settings.flap_changes // 2 else replace(known, flapping=False, told_flapping=False)
    return replace(known, flapping=True) if changes >= settings.flap_changes else known


def _kind(known: Standing, now: datetime, settings: Watch) -> str | None:
    """Return the kind of the alert to send now, if any."""
    if known.flapping:
        return None if known.told_flapping else FLAPPING
    if known.told is not known.stable:
        return RESOLVED if known.stable is Status.HEALTHY else FAILED
    if known.told is Status.HEALTHY or known.told_at is None:
        return None
    return REPEATED if (now - parse_time(known.told_at)).total_seconds() >= settings.repeat else None
