"""What a check finds, what a round finds, and how the second follows from the first."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from kbstore.health.context import Context


class Status(StrEnum):
    """How something is. Only skipped has no place in the order from good to bad."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    SKIPPED = "skipped"

    @property
    def rank(self) -> int:
        """0 for healthy up to 2 for unhealthy; -1 for skipped."""
        return _RANKS[self]


_RANKS = {Status.SKIPPED: -1, Status.HEALTHY: 0, Status.DEGRADED: 1, Status.UNHEALTHY: 2}

TIMEOUT = "timeout"
CRASH = "crash"
EXIT = "exit"
NEEDS = "needs"
NOT_CONFIGURED = "not_configured"
NOT_STARTED = "not_started"
LOAD = "load"
"""Values of `Result.reason`: why a result is not what the check itself said."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one check found. Made by `healthy`, `degraded`, `unhealthy` and `skipped`.

    Attributes:
        status: How the thing is.
        message: One sentence for a person.
        details: JSON values that help to find the cause.
        metrics: Finite numbers by name; the name ends in the unit (``age_s``, ``free_bytes``, ``free_ratio``).
        hint: What to do about it, one sentence.
        reason: One word for programs where the check did not come to a finding by itself: ``timeout``, ``crash``,
            ``exit``, ``needs``, ``not_configured``, ``not_started``, ``load``.
        remember: JSON values that the check gets back in its next round as ``ctx.remembered``; None keeps the old ones.
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
        """All is well."""
        return cls(Status.HEALTHY, message, **fields)

    @classmethod
    def degraded(cls, message: str, **fields: Any) -> Self:
        """It works, but somebody should look at it by day."""
        return cls(Status.DEGRADED, message, **fields)

    @classmethod
    def unhealthy(cls, message: str, **fields: Any) -> Self:
        """It does not work, or data is in danger."""
        return cls(Status.UNHEALTHY, message, **fields)

    @classmethod
    def skipped(cls, message: str, **fields: Any) -> Self:
        """There was nothing to look at."""
        return cls(Status.SKIPPED, message, **fields)

    def as_dict(self) -> dict[str, Any]:
        """The fields that say something, as JSON values."""
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
        """The result with these fields; what is no finite number is left out of the metrics.

        Raises:
            ValueError: They are not those of a result.
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
    """A check: anything that can be called with a context and gives a result.

    It runs in a thread, in a process of its own round. What it raises is reported as unhealthy, with the reason
    ``crash``; `kbstore.health.errors.NotConfigured` is reported as skipped. It may be run twice in a round, and be
    killed at any moment.
    """

    def __call__(self, ctx: "Context", /) -> Result:
        """Look, and say what was found."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """A result, and what the round knows about it.

    Attributes:
        name: The check's.
        result: What it found.
        impact: The worst that it can make of the whole.
        duration_s: How long it ran; 0 where it did not.
        isolated: False where it ran inside this process and could not have been killed.
        runbook: Where a person reads on, or None.
        since: Since when the status is what it is, as far back as history goes.
        last_note: What fixed it last time, where it is not healthy and somebody wrote that down.
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
        """The result's status."""
        return self.result.status

    @property
    def effect(self) -> Status:
        """What the check makes of the whole: its status, but no worse than its impact."""
        return self.status if self.status.rank <= self.impact.rank else self.impact

    def as_dict(self) -> dict[str, Any]:
        """The fields of a check in the JSON report."""
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
    """What a round found.

    Attributes:
        outcomes: One for each check, in the order in which they were asked for.
        time: When the round began, in UTC.
        duration_s: How long it took.
        survivors: Processes that outlived their kill, one sentence each.
        warnings: What went wrong beside the checks, one sentence each.
    """

    outcomes: tuple[Outcome, ...]
    time: datetime
    duration_s: float = 0.0
    survivors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())

    @property
    def overall(self) -> Status:
        """The worst effect of any check that ran; unhealthy where none did."""
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
        """All checks, the worst first, skipped ones last, each kind in its order."""
        return tuple(sorted(self.outcomes, key=lambda o: -o.status.rank))

    def as_dict(self) -> dict[str, Any]:
        """The JSON report: the guide's two members, and more beside them."""
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
    """The worst effect of any check that was not skipped; unhealthy where all were, or there is none."""
    effects = [o.effect for o in outcomes if o.status is not Status.SKIPPED]
    return max(effects, key=lambda s: s.rank) if effects else Status.UNHEALTHY


def counted(number: int, one: str) -> str:
    """Return a number and what it counts: ``1 version``, ``1,200 versions``."""
    return f"{number:,} {one}{'' if number == 1 else 's'}"


def rfc3339(moment: datetime) -> str:
    """A moment as RFC 3339 in UTC, to the second."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
