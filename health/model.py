"""Results of checks, outcomes and reports of rounds, and how the overall status follows."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from kbstore.health.context import Context


class Status(StrEnum):
    """The health of a thing: healthy, degraded, unhealthy, from good to bad. Skipped has no place in this order."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    SKIPPED = "skipped"

    @property
    def rank(self) -> int:
        """0 for healthy, 1 for degraded, 2 for unhealthy; -1 for skipped."""
        return _RANKS[self]


_RANKS = {Status.SKIPPED: -1, Status.HEALTHY: 0, Status.DEGRADED: 1, Status.UNHEALTHY: 2}

TIMEOUT = "timeout"
CRASH = "crash"
EXIT = "exit"
NEEDS = "needs"
NOT_CONFIGURED = "not_configured"
NOT_STARTED = "not_started"
LOAD = "load"
"""Values of `Result.reason`: why a result is not a finding of the check itself."""


@dataclass(frozen=True, slots=True)
class Result:
    """The finding of a check; made by `healthy`, `degraded`, `unhealthy` and `skipped`.

    Attributes:
        status: Status of the checked thing.
        message: A sentence for a person.
        details: JSON values that help to find the cause.
        metrics: Finite numbers by name; the name ends in the unit (``age_s``, ``free_bytes``, ``free_ratio``).
        hint: A sentence on how to solve the problem.
        reason: A word for programs if the check did not reach a finding by itself: ``timeout``, ``crash``, ``exit``,
            ``needs``, ``not_configured``, ``not_started``, ``load``.
        remember: JSON values that the check gets back in the next round as ``ctx.remembered``; None keeps the old
            values.
    """

    status: Status
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    hint: str | None = None
    reason: str | None = None
    remember: Mapping[str, Any] | None = None

    @classmethod
    def healthy(cls, message: str, **fields: Any) -> Self:
        """Return a healthy result: all is well."""
        return cls(Status.HEALTHY, message, **fields)

    @classmethod
    def degraded(cls, message: str, **fields: Any) -> Self:
        """Return a degraded result: the thing works, but somebody should look during working hours."""
        return cls(Status.DEGRADED, message, **fields)

    @classmethod
    def unhealthy(cls, message: str, **fields: Any) -> Self:
        """Return an unhealthy result: the thing does not work, or data is in danger."""
        return cls(Status.UNHEALTHY, message, **fields)

    @classmethod
    def skipped(cls, message: str, **fields: Any) -> Self:
        """Return a skipped result: there was nothing to check."""
        return cls(Status.SKIPPED, message, **fields)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values, without empty fields."""
        fields: dict[str, Any] = {"status": str(self.status), "message": self.message}
        if self.details:
            fields["details"] = dict(self.details)
        if self.metrics:
            fields["metrics"] = dict(self.metrics)
        for name in ("hint", "reason"):
            if (value := getattr(self, name)) is not None:
                fields[name] = value
        if self.remember is not None:
            fields["remember"] = dict(self.remember)
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Return the result with these fields; metrics that are not finite numbers are left out.

        Raises:
            ValueError: The fields are not the fields of a result.
        """
        try:
            return cls(
                Status(fields["status"]),
                str(fields["message"]),
                dict(fields.get("details") or {}),
                {str(k): v for k, v in (fields.get("metrics") or {}).items() if _is_number(v)},
                _text(fields.get("hint")),
                _text(fields.get("reason")),
                fields.get("remember"),
            )
        except (KeyError, TypeError, AttributeError) as fault:
            raise ValueError(f"not a result: {fault}") from fault


class Check(Protocol):
    """A check: a callable that takes a context and returns a result.

    A check runs in a thread, normally of a worker process. Errors of the store and of migrator are findings; every
    other exception is unhealthy, with the reason ``crash``. `kbstore.health.errors.NotConfigured` means skipped. A
    check may run twice in a round, and may be killed at any moment.
    """

    def __call__(self, ctx: "Context", /) -> Result:
        """Check, and return the finding."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """A result, with the facts added by the round.

    Attributes:
        name: Name of the check.
        result: Finding of the check.
        impact: Worst effect of the check on the overall status.
        duration_s: Seconds of running; 0 if the check did not run.
        isolated: False if the check ran inside this process and could not have been killed.
        runbook: Where people find instructions, or None.
        since: When the present status began, as far back as the history goes; None without a history.
        last_note: Note on the last fix, if the check is not healthy and somebody wrote a note.
    """

    name: str
    result: Result
    impact: Status = Status.UNHEALTHY
    duration_s: float = 0.0
    isolated: bool = True
    runbook: str | None = None
    since: datetime | None = None
    last_note: str | None = None

    @property
    def status(self) -> Status:
        """The status of the result."""
        return self.result.status

    @property
    def effect(self) -> Status:
        """The effect on the whole: the status, but not worse than the impact."""
        return self.status if self.status.rank <= self.impact.rank else self.impact

    def as_dict(self) -> dict[str, Any]:
        """Return the fields of a check in the JSON report."""
        fields = self.result.as_dict()
        fields.pop("remember", None)
        fields["duration_s"] = round(self.duration_s, 6)
        fields["impact"] = str(self.impact)
        if not self.isolated:
            fields["isolated"] = False
        if self.runbook:
            fields["runbook"] = self.runbook
        if self.since is not None:
            fields["since"] = rfc3339(self.since)
        if self.last_note:
            fields["last_note"] = self.last_note
        return fields


@dataclass(frozen=True, slots=True)
class Report:
    """The findings of a round.

    Attributes:
        outcomes: An outcome for each check: plug-ins that could not be loaded, then checks in the order of the
            registry.
        time: Start of the round, in UTC.
        duration_s: Duration in seconds.
        survivors: Processes still there after being killed, a sentence each.
        warnings: Problems outside the checks, a sentence each.
    """

    outcomes: tuple[Outcome, ...]
    time: datetime
    duration_s: float = 0.0
    survivors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())

    @property
    def overall(self) -> Status:
        """The worst effect of the checks that ran; unhealthy if no check ran."""
        return overall(self.outcomes)

    @property
    def ran(self) -> tuple[Outcome, ...]:
        """The checks that were not skipped."""
        return tuple(o for o in self.outcomes if o.status is not Status.SKIPPED)

    @property
    def skipped(self) -> tuple[Outcome, ...]:
        """The checks that were skipped."""
        return tuple(o for o in self.outcomes if o.status is Status.SKIPPED)

    @property
    def worst_first(self) -> tuple[Outcome, ...]:
        """All checks, the worst first and skipped checks last; within a status, the order stays."""
        return tuple(sorted(self.outcomes, key=lambda o: -o.status.rank))

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON report: the two members that the guide asks for, and more."""
        fields: dict[str, Any] = {
            "schema_version": 1,
            "overall_status": str(self.overall),
            "checks": {o.name: o.as_dict() for o in self.ran},
            "skipped": {o.name: o.as_dict() for o in self.skipped},
            "time": rfc3339(self.time),
            "duration_s": round(self.duration_s, 6),
        }
        if not self.ran:
            fields["reason"] = NOTHING_RAN
        if self.survivors:
            fields["survivors"] = list(self.survivors)
        if self.warnings:
            fields["warnings"] = list(self.warnings)
        return fields


NOTHING_RAN = "no check ran, so nothing is known to be well"


def overall(outcomes: Iterable[Outcome]) -> Status:
    """Return the worst effect of the checks that were not skipped; unhealthy if no check ran."""
    effects = [o.effect for o in outcomes if o.status is not Status.SKIPPED]
    return max(effects, key=lambda s: s.rank) if effects else Status.UNHEALTHY


def counted(number: int, one: str) -> str:
    """Return a number and what it counts: ``1 version``, ``1,200 versions``."""
    return f"{number:,} {one}{'' if number == 1 else 's'}"


def rfc3339(moment: datetime) -> str:
    """Return a time as RFC 3339 in UTC, to the second."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
