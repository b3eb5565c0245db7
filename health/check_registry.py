"""Which checks there are: each with a name, what it promises about itself, and where its code is."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from typing import Any, Self, TypeVar

from kbstore.health.errors import RegistryError, UnknownCheck
from kbstore.health.model import Check, Status

TAGS = {
    "live": "touches neither network nor database: says whether this process can work at all",
    "ready": "says whether the service can be used now; fast enough for every few seconds",
    "deep": "reads much; every few minutes or hours",
}
"""The tags and what they mean."""

BUILT_IN = (
    "kbstore.health.checks.store",
    "kbstore.health.checks.integrity",
    "kbstore.health.checks.room",
    "kbstore.health.checks.s3",
    "kbstore.health.checks.database",
    "kbstore.health.checks.upkeep",
)
"""Modules whose import adds the built-in checks, in the order of reports."""

_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
_F = TypeVar("_F", bound=Check)


@dataclass(frozen=True, slots=True)
class Spec:
    """What is known of a check without running it.

    Attributes:
        name: Dotted lower-case words, as ``store.reachable``.
        summary: What it looks at, one sentence.
        tags: Some of `TAGS`.
        timeout: Seconds that it may take.
        every: Seconds between two runs in `watch` and `serve`; 0 runs it in every round.
        impact: The worst that it can make of the whole.
        needs: Checks without which this one has no meaning.
        rise: Healthy rounds in a row after which it counts as well again.
        fall: Rounds in a row that are not, after which it counts as failed.
        runbook: Where a person reads on.
        remedy: A command (argument list, no shell) that may mend it.
        thresholds: Names of the thresholds in the configuration that it reads.
        origin: ``module:qualname`` of its code, as another process would import it; None where none could.
    """

    name: str
    summary: str = ""
    tags: frozenset[str] = frozenset()
    timeout: float = 10.0
    every: float = 0.0
    impact: Status = Status.UNHEALTHY
    needs: tuple[str, ...] = ()
    rise: int = 1
    fall: int = 2
    runbook: str | None = None
    remedy: tuple[str, ...] = ()
    thresholds: tuple[str, ...] = ()
    origin: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {**asdict(self), "tags": sorted(self.tags), "impact": str(self.impact)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """The spec with these fields."""
        given = dict(fields)
        for name in ("needs", "remedy", "thresholds"):
            given[name] = tuple(given[name])
        return cls(**{**given, "tags": frozenset(given["tags"]), "impact": Status(given["impact"])})


@dataclass(slots=True)
class Registry:
    """Checks by name, in the order in which they were added."""

    specs: dict[str, Spec] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=dict)

    def add(
        self,
        name: str,
        *,
        tags: Iterable[str] = (),
        timeout: float = 10.0,
        every: float = 0.0,
        impact: str = "unhealthy",
        needs: Iterable[str] = (),
        rise: int = 1,
        fall: int = 2,
        runbook: str | None = None,
        remedy: Iterable[str] = (),
        thresholds: Iterable[str] = (),
    ) -> Callable[[_F], _F]:
        """Declare a check: a decorator that gives the function back as it was. See `Spec` for the arguments.

        Raises:
            RegistryError: The name is malformed or taken, a tag is unknown, or a figure makes no sense.
        """
        if isinstance(needs, str) or isinstance(remedy, str) or isinstance(tags, str):
            raise RegistryError(f"{name}: tags, needs and remedy are lists, not one text", hint='write ("x",)')
        spec = Spec(
            name,
            tags=frozenset(tags),
            timeout=float(timeout),
            every=float(every),
            impact=_impact(name, impact),
            needs=tuple(needs),
            rise=rise,
            fall=fall,
            runbook=runbook,
            remedy=tuple(remedy),
            thresholds=tuple(thresholds),
        )
        _check_spec(spec)

        def declare(check: _F) -> _F:
            self._put(replace(spec, summary=_summary(check), origin=origin_of(check)), check)
            return check

        return declare

    def _put(self, spec: Spec, check: Check) -> None:
        if spec.name in self.specs:
            raise RegistryError(
                f"the check {spec.name!r} is there already, from {self.specs[spec.name].origin or 'this program'}",
                hint="give one of them another name",
            )
        self.specs[spec.name] = spec
        self.checks[spec.name] = check

    def remove(self, name: str) -> None:
        """Forget a check.

        Raises:
            UnknownCheck: There is none of that name.
        """
        if name not in self.specs:
            raise UnknownCheck(f"there is no check {name!r}")
        del self.specs[name], self.checks[name]

    def load_built_in(self) -> None:
        """Add the built-in checks, if they are not there yet. Cheap: they import what they need when they run."""
        for module in BUILT_IN:
            import_module(module)


registry = Registry()
"""The one registry that plug-ins add to."""


def origin_of(check: Check) -> str | None:
    """Where another process would import a check from; None for what only this one has."""
    module = getattr(check, "__module__", None)
    name = getattr(check, "__qualname__", None)
    if not module or not name or module in {"__main__", "__mp_main__"} or "<" in name:
        return None
    return f"{module}:{name}"


def resolve(origin: str) -> Check:
    """The check at an origin.

    Raises:
        ImportError: Its module cannot be imported.
        AttributeError: The module has no such name.
    """
    module, _, name = origin.partition(":")
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    check: Check = found
    return check


def _summary(check: Check) -> str:
    text = (check.__doc__ or "").strip()
    return " ".join(text.split("\n\n")[0].split())


def _impact(name: str, impact: str) -> Status:
    if impact not in {"healthy", "degraded", "unhealthy"}:
        raise RegistryError(f"{name}: the impact is healthy, degraded or unhealthy, not {impact!r}")
    return Status(impact)


def _check_spec(spec: Spec) -> None:
    if not _NAME.fullmatch(spec.name):
        raise RegistryError(f"a check's name is dotted lower-case words, as kb.freshness, not {spec.name!r}")
    for tag in sorted(spec.tags - TAGS.keys()):
        raise RegistryError(f"{spec.name}: there is no tag {tag!r}", hint=f"known are {', '.join(TAGS)}")
    if spec.name in spec.needs:
        raise RegistryError(f"{spec.name} needs itself")
    if spec.timeout <= 0 or spec.every < 0 or spec.rise < 1 or spec.fall < 1:
        raise RegistryError(f"{spec.name}: timeout is more than 0, every at least 0, rise and fall at least 1")
