"""The engine: runs rounds, from the settings and the declared checks to a report and the history."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from types import TracebackType
from typing import Any, Self, TypeVar

from kbstore.health.check_registry import Registry, Spec, registry
from kbstore.health.context import Context
from kbstore.health.errors import ConfigError, RegistryError, StateError
from kbstore.health.model import Outcome, Report, Status
from kbstore.health.run import plugins
from kbstore.health.run.process import Early, Event, Worker
from kbstore.health.run.rounds import Round, Task, default_deadline_s
from kbstore.health.run.scrub import Scrubber, secrets_of
from kbstore.health.run.select import select
from kbstore.health.settings import Settings
from kbstore.health.state import State
from kbstore.kit.clock import Clock, SystemClock

_T = TypeVar("_T")
_STATE_S = 2.0


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All checks, as configured.

    Attributes:
        specs: Declarations of the checks, by name.
        broken: An unhealthy outcome for each plug-in that could not be loaded.
    """

    specs: Mapping[str, Spec]
    broken: tuple[Outcome, ...] = ()


class Engine:
    """Runs checks as configured.

    Args:
        settings: The configuration.
        isolate: Run checks in a disposable process. If False, checks run in threads of this process, and a hang or a
            crash of a check cannot be undone.
        checks: Registry of the checks.
        clock: Source of the time and of random names.
        environ: Environment variables, searched for more secrets; by default the variables of this process.
        early: Worker that `start_early` started before the settings were known.

    Attributes:
        scrubber: Removes the secrets of this configuration from texts.
        state: The history; None if no folder is configured.
        catalogue_of_last_round: Declarations of all checks seen in the rounds so far, by name.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        isolate: bool = True,
        checks: Registry = registry,
        clock: Clock | None = None,
        environ: Mapping[str, str] | None = None,
        early: Early | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.clock = clock or SystemClock()
        self.scrubber = Scrubber(secrets_of(self.settings, os.environ if environ is None else environ))
        self.state = State(Path(self.settings.targets.state)) if self.settings.targets.state else None
        self._isolate = isolate
        self._registry = checks
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._early = early
        self._round: Round | None = None
        self._stuck = False
        self.catalogue_of_last_round: Mapping[str, Spec] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the history, and stop an early worker that was not used."""
        if self._early is not None:
            self._early.worker.stop()
            self._early = None
        if self.state is not None and not self._stuck:
            self.state.close()

    def cancel(self) -> None:
        """End the present round, from another thread."""
        if self._round is not None:
            self._round.cancel()

    def catalogue(self) -> Catalogue:
        """Return all checks; a worker loads the plug-ins.

        Raises:
            RegistryError: Declarations of checks contradict each other.
            ConfigError: The configuration names an unknown check.
        """
        loaded = self._load(())
        if loaded.worker is not None:
            loaded.worker.stop()
        return Catalogue(self._specs(loaded), tuple(loaded.broken))

    def run(
        self,
        names: Sequence[str] = (),
        tag: str | None = None,
        *,
        record: bool = True,
        every_plugin: bool = False,
        on_outcome: Callable[[Outcome], None] | None = None,
    ) -> Report:
        """Run checks and their needs.

        Args:
            names: Checks to run; by default all.
            tag: Run only checks with this tag.
            record: Keep the results in the history.
            every_plugin: Load all plug-ins, and report broken plug-ins, even if no check in `names` needs them.
            on_outcome: Called with each outcome as soon as the outcome is known, in this thread.

        Raises:
            UnknownCheck: A name or the tag is unknown.
            RegistryError: Declarations of checks contradict each other.
            ConfigError: The configuration names an unknown check.
        """
        time, began = self.clock.now(), monotonic()
        warnings: list[str] = []
        limit_s = self.settings.deadline
        loaded = self._load(() if every_plugin else names, None if limit_s is None else began + limit_s / 2)
        try:
            specs = self._specs(loaded, names)
            self.catalogue_of_last_round = {**self.catalogue_of_last_round, **specs}
            chosen = select(specs, names, tag)
            if self._isolate and loaded.worker is None and any(spec.origin for spec in chosen):
                loaded.worker = self._spawn_or_none()
            tasks = self._tasks(chosen, warnings)
        except BaseException:
            if loaded.worker is not None:
                loaded.worker.stop()
            raise
        deadline_s = default_deadline_s(chosen) if limit_s is None else max(began + limit_s - monotonic(), 0.0)
        spawn = self._spawn if self._isolate else None

        def scrubbed(outcome: Outcome) -> Outcome:
            clean = replace(outcome, result=self.scrubber.result(outcome.result))
            if on_outcome is not None:
                on_outcome(clean)
            return clean

        self._round = one = Round(tasks, self._base(), deadline_s, spawn, self._events, finish=scrubbed)
        outcomes = [*map(scrubbed, loaded.broken), *one.run(loaded.worker)]
        survivors = [self.scrubber.text(text) for text in (*loaded.survivors, *one.survivors)]
        report = Report(tuple(outcomes), time, monotonic() - began, tuple(survivors), tuple(warnings))
        return self._with_history(report, record=record)

    # ---- the checks of a round ------------------------------------------------------------------------------------

    def _load(self, names: Sequence[str], until: float | None = None) -> plugins.Loaded:
        """Declare the built-in checks, and load plug-ins unless all requested checks are there already."""
        if self._registry is registry:
            registry.load_built_in()
        worker = self._take_early()
        if self._registry is not registry or (names and all(name in self._registry.specs for name in names)):
            return plugins.Loaded(worker=worker)
        found = plugins.installed()
        if not found or self._isolate:
            return plugins.load_in_worker(found, self._spawn, self._events, worker, until)
        return self._load_here(found)

    def _load_here(self, found: Sequence[tuple[str, str]]) -> plugins.Loaded:
        from kbstore.health.model import LOAD, Result
        from kbstore.health.run.worker import load

        loaded = plugins.Loaded()
        for name, value in found:
            told = load(name, value)
            if told["is"] == "broken":
                text = f"the plug-in {name} ({value}) cannot be loaded: {told['message']}"
                loaded.broken.append(plugins.broken(name, Result.unhealthy(text, reason=LOAD)))
        return loaded

    def _specs(self, loaded: plugins.Loaded, names: Sequence[str] = ()) -> dict[str, Spec]:
        found = {**self._registry.specs, **loaded.specs}
        if self._isolate and (twice := self._registry.specs.keys() & loaded.specs.keys()):
            name = min(twice)
            mine, other = self._registry.specs[name].origin, loaded.specs[name].origin
            if mine != other:
                raise RegistryError(f"the check {name!r} is declared by this program and by a plug-in, {other}")
        unknown = [name for name in self.settings.checks if name not in found]
        if unknown and not names and not loaded.broken:
            near = get_close_matches(unknown[0], found, n=1)
            raise ConfigError(
                f"the configuration has settings for {unknown[0]!r}, which is no check",
                hint=f"did you mean {near[0]!r}?" if near else "health list",
            )
        off = [name for name, changed in self.settings.checks.items() if not changed.enabled]
        for name in off:
            found.pop(name, None)
        return {
            name: _configured(spec, self.settings, {n for n in off if n in spec.needs}) for name, spec in found.items()
        }

    def _tasks(self, chosen: Sequence[Spec], warnings: list[str]) -> list[Task]:
        remembered: Mapping[str, Mapping[str, Any]] = {}
        facts: Mapping[str, Any] = {}
        if self.state is not None:
            try:
                remembered, facts = self._asked(self.state, lambda state: (state.remembered(), state.facts()))
            except StateError as fault:
                warnings.append(self.scrubber.text(str(fault)))
        return [
            Task(
                spec,
                self._registry.checks.get(spec.name),
                remembered.get(spec.name, {}),
                self.settings.checks[spec.name].options if spec.name in self.settings.checks else {},
                facts,
            )
            for spec in chosen
        ]

    # ---- workers and the history ----------------------------------------------------------------------------------

    def _take_early(self) -> Worker | None:
        """Return the early worker after sending its context. Without an early worker, make a fresh queue."""
        self._events = SimpleQueue()
        if self._early is None:
            return None
        early, self._early = self._early, None
        self._events = early.events
        self._begin(early.worker)
        return early.worker

    def _base(self) -> Context:
        return Context(self.settings.targets, self.settings.thresholds, clock=self.clock)

    def _spawn_or_none(self) -> Worker | None:
        try:
            return self._spawn()
        except OSError:
            # The round tries again, and reports a failure under the name of each check.
            return None

    def _spawn(self) -> Worker:
        worker = Worker(self.clock.token(), self._events)
        self._begin(worker)
        return worker

    def _begin(self, worker: Worker) -> None:
        settings = self.settings
        worker.tell(
            do="begin",
            context={"targets": asdict(settings.targets), "thresholds": asdict(settings.thresholds)},
            memory_limit_mb=settings.memory_limit_mb,
        )

    def _asked(self, state: State, ask: Callable[[State], _T]) -> _T:
        """Return an answer of the history in time: the folder may be on the disk that hangs.

        Raises:
            StateError: The history cannot be used, or does not answer.
        """
        if not self._stuck:
            answers: SimpleQueue[_T | StateError] = SimpleQueue()
            Thread(target=_answer, args=(ask, state, answers), name="health-state", daemon=True).start()
            try:
                answer = answers.get(timeout=_STATE_S)
            except Empty:
                self._stuck = True
            else:
                if isinstance(answer, StateError):
                    raise answer
                return answer
        raise StateError(f"the history in {state.folder} does not answer", hint="look at its disk")

    # ---- after the round ------------------------------------------------------------------------------------------

    def _with_history(self, report: Report, *, record: bool) -> Report:
        if self.state is None:
            return report
        warnings = list(report.warnings)
        since: Mapping[str, datetime] = {}
        notes: Mapping[str, str] = {}
        try:
            if record:
                keep_days = self.settings.watch.keep_days
                since = self._asked(self.state, lambda state: state.record(report, keep_days=keep_days))
            if any(o.status.rank > Status.HEALTHY.rank for o in report.outcomes):
                notes = {note.name: note.text for note in self._asked(self.state, lambda state: state.notes())}
        except StateError as fault:
            text = self.scrubber.text(str(fault))
            warnings += [text] if text not in warnings else []
        outcomes = tuple(
            replace(
                o,
                since=since.get(o.name),
                last_note=notes.get(o.name) if o.status.rank > Status.HEALTHY.rank else None,
            )
            for o in report.outcomes
        )
        return replace(report, outcomes=outcomes, warnings=tuple(warnings))


def _answer(ask: Callable[[State], _T], state: State, answers: "SimpleQueue[_T | StateError]") -> None:
    try:
        answers.put(ask(state))
    except StateError as fault:
        answers.put(fault)
    except Exception as fault:  # noqa: BLE001 - a file that something else wrote may raise anything
        answers.put(StateError(f"the history in {state.folder} cannot be read: {fault}", hint="remove health.db there"))


def _configured(spec: Spec, settings: Settings, off: set[str]) -> Spec:
    """Return the spec with the configured changes, and without needs that are switched off."""
    spec = replace(spec, needs=tuple(need for need in spec.needs if need not in off)) if off else spec
    changed = settings.checks.get(spec.name)
    if changed is None:
        return spec
    fields: dict[str, Any] = {
        name: value
        for name in ("timeout", "every", "rise", "fall", "runbook", "remedy")
        if (value := getattr(changed, name)) is not None
    }
    if changed.impact is not None:
        fields["impact"] = Status(changed.impact)
    return replace(spec, **fields)
