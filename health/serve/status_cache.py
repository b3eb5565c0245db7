"""The newest outcome of every check, refreshed in the background, so that requests cost nothing.

A lane is a thread that runs a set of checks when their results are too old. Quick checks and deep checks have separate
lanes, and each outcome is shown as soon as known: a check that hangs delays only itself, until its timeout.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from time import monotonic

from kbstore.health.check_registry import Spec
from kbstore.health.errors import HealthError
from kbstore.health.model import NOT_STARTED, Outcome, Report, Result, Status
from kbstore.health.run.engine import Engine

STALE = "stale"
"""`Result.reason` of a result that is too old to believe."""

READY = "ready"
_NOT_YET = Result.unhealthy("has not run yet", reason=NOT_STARTED)
_TICK_S = 0.25


class Board:
    """The newest outcomes.

    Args:
        make_engine: Makes an engine for each lane.
        say: Called with a line about each problem outside the checks.

    Attributes:
        version: Grows with each new outcome.
    """

    def __init__(self, make_engine: Callable[[], Engine], say: Callable[[str], None]) -> None:
        self._make_engine = make_engine
        self._say = say
        self._lock = threading.Lock()
        self._outcomes: dict[str, Outcome] = {}
        self.version = 0
        self._seen: dict[str, float] = {}
        self._warnings: dict[str, tuple[str, ...]] = {}
        self._stop = threading.Event()
        self._engines: list[Engine] = []
        with make_engine() as engine:
            self._specs = dict(engine.catalogue().specs)
            self._every = engine.settings.serve.every
            self._clock = engine.clock
        quick = [name for name, spec in self._specs.items() if "deep" not in spec.tags]
        deep = [name for name in self._specs if name not in quick]
        self._lanes = [
            threading.Thread(target=self._keep_fresh, args=(name, names), name=f"health-{name}", daemon=True)
            for name, names in (("quick", quick), ("deep", deep))
            if names
        ]

    def start(self) -> None:
        """Start the lanes."""
        for lane in self._lanes:
            lane.start()

    def close(self) -> None:
        """Stop the lanes, and cancel their rounds."""
        self._stop.set()
        for engine in self._engines:
            engine.cancel()
        for lane in self._lanes:
            if lane.is_alive():
                lane.join(2.0)

    def report(self, tag: str | None = None) -> Report:
        """Return the newest outcomes of all checks, or of the checks with a tag; checks not run yet are left out.

        For the tag ``ready``, a check not run yet counts as unhealthy.
        """
        with self._lock:
            now = monotonic()
            found = tuple(
                self._aged(outcome, now - self._seen[name])
                for name, outcome in self._outcomes.items()
                if tag is None or (name in self._specs and tag in self._specs[name].tags) or name not in self._specs
            )
            if tag == READY:
                missing = [s for name, s in self._specs.items() if READY in s.tags and name not in self._outcomes]
                found += tuple(Outcome(s.name, _NOT_YET, s.impact, runbook=s.runbook) for s in missing)
            warnings = tuple(dict.fromkeys(text for texts in self._warnings.values() for text in texts))
        return Report(found, self._clock.now(), warnings=warnings)

    def _every_of(self, spec: Spec) -> float:
        return spec.every or self._every

    def _aged(self, outcome: Outcome, age_s: float) -> Outcome:
        """Return the outcome, or an unhealthy outcome if a new result is long overdue: then the lane does not work."""
        spec = self._specs.get(outcome.name)
        limit_s = 3 * (self._every_of(spec) if spec else self._every) + 120
        if age_s < limit_s or outcome.status is Status.SKIPPED:
            return outcome
        text = f"the last result is {age_s:.0f} s old: {outcome.result.message}"
        return replace(outcome, result=Result.unhealthy(text, hint="start health serve anew", reason=STALE))

    def _keep_fresh(self, lane: str, names: list[str]) -> None:
        with self._make_engine() as engine:
            self._engines.append(engine)
            started = {name: float("-inf") for name in names}
            while not self._stop.is_set():
                now = monotonic()
                due = [name for name in names if now - started[name] >= self._every_of(self._specs[name])]
                if due:
                    started.update(dict.fromkeys(due, now))
                    self._refresh(engine, lane, due, set(names))
                self._stop.wait(_TICK_S)

    def _refresh(self, engine: Engine, lane: str, due: list[str], own: set[str]) -> None:
        def show(outcome: Outcome) -> None:
            # A check that runs only as a need belongs to the other lane, which shows the outcome.
            if outcome.name in own or outcome.name not in self._specs:
                with self._lock:
                    before = self._outcomes.get(outcome.name)
                    since = (
                        before.since if before is not None and before.status is outcome.status else engine.clock.now()
                    )
                    self._outcomes[outcome.name] = replace(outcome, since=since)
                    self._seen[outcome.name] = monotonic()
                    self.version += 1

        try:
            report = engine.run(due, every_plugin=lane == "quick", on_outcome=show)
        except HealthError as fault:
            self._say(engine.scrubber.text(f"the checks could not run: {fault}"))
            return
        with self._lock:
            self._warnings[lane] = (*report.survivors, *report.warnings)
