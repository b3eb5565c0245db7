"""The registry of checks: the name, the declaration and the function of each."""

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
"""The tags and their meanings."""

BUILT_IN = (
    "kbstore.health.checks.store",
    "kbstore.health.checks.integrity",
    "kbstore.health.checks.room",
    "kbstore.health.checks.s3",
    "kbstore.health.checks.database",
    "kbstore.health.checks.upkeep",
)
"""Modules to import for the built-in checks, in the order of reports."""

_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
_F = TypeVar("_F", bound=Check)


@dataclass(frozen=True, slots=True)
class Spec:
    """The declaration of a check: all facts known without running the check.

    Attributes:
        name: Dotted lower-case words, such as ``store.reachable``.
        summary: A sentence that is true if the check is healthy.
        tags: Some of `TAGS`.
        timeout: Seconds for a run.
        every: Seconds between two runs in `watch` and `serve`; 0 means every round.
        impact: Worst effect of the check on the overall status.
        needs: Other checks needed for this check; if a need is unhealthy or skipped, this check is skipped.
        rise: Healthy rounds in a row until the check counts as healthy again.
        fall: Bad rounds in a row until the check counts as failed.
        runbook: Where people find instructions: a path or a URL.
        remedy: Command (argument list, no shell) that may fix the problem.
        thresholds: Names of the thresholds that the check reads from the configuration.
        origin: ``module:qualname`` of the function, for import in another process; None if only this process has it.
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
        """Return the fields as JSON values."""
        return {**asdict(self), "tags": sorted(self.tags), "impact": str(self.impact)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Return the spec with these fields."""
        given = dict(fields)
        for name in ("needs", "remedy", "thresholds"):
            given[name] = tuple(given[name])
        return cls(**{**given, "tags": frozenset(given["tags"]), "impact": Status(given["impact"])})


@dataclass(slots=True)
class Registry:
    """Checks by name, in the order of adding."""

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
        """Return a decorator that declares a function as a check and leaves the function unchanged.

        `Spec` explains the arguments.

        Raises:
            RegistryError: The name is malformed or taken, a tag is unknown, or an argument has a wrong value.
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
        """Remove a check.

        Raises:
            UnknownCheck: There is no check of this name.
        """
        if name not in self.specs:
            raise UnknownCheck(f"there is no check {name!r}")
        del self.specs[name], self.checks[name]

    def load_built_in(self) -> None:
        """Add the built-in checks, unless already there. Cheap: a check imports other modules only when run."""
        for module in BUILT_IN:
            import_module(module)


registry = Registry()
"""The registry of the built-in checks, to which plug-ins add their checks."""


def origin_of(check: Check) -> str | None:
    """Return the place of a check for import in another process; None if only this process has the check."""
    module = getattr(check, "__module__", None)
    name = getattr(check, "__qualname__", None)
    if not module or not name or module in {"__main__", "__mp_main__"} or "<" in name:
        return None
    return f"{module}:{name}"


def resolve(origin: str) -> Check:
    """Return the check at an origin.

    Raises:
        ImportError: The module cannot be imported.
        AttributeError: The module does not have this name.
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
