"""A round of checks, in which a check that hangs cannot hang the round.

Invariants:

1. The report is complete within a second of the deadline, whatever happens in the checks.
2. A check starts only after all its needs are decided. If a need failed or was skipped, the check is skipped.
3. Checks first run together in one worker. The guilty check is not known if the worker ends early, or if several
   are unfinished when all are overdue or half of the time is over. Then the worker is killed, and each unfinished check
   runs again alone. A check that fails alone is guilty.
4. Every worker is killed at the end, with all processes started by it. Survivors are reported.

Checks that exist only in this process (`Spec.origin` is None) run here, in daemon threads, and cannot be killed.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from kbstore.health.check_registry import Spec
from kbstore.health.context import Context
from kbstore.health.model import CRASH, NEEDS, NOT_STARTED, TIMEOUT, Check, Outcome, Result, Status
from kbstore.health.run.call import call_at
from kbstore.health.run.process import Event, Worker
from kbstore.health.run.select import longest_chain_s

_START_S = 10.0
"""Seconds for a worker to come up before the time counts against the checks."""
_STARTS_S = 3.0
"""Seconds for starting workers, in the default deadline of a round."""


@dataclass(frozen=True, slots=True)
class Task:
    """A check to run, and the inputs.

    Attributes:
        spec: Declaration of the check.
        check: Function of the check; None if `Spec.origin` must be imported.
        remembered: Values to remember from the last result of the check.
        options: Options of the check in the configuration.
        facts: Facts from other parts of health, such as the last drill.
    """

    spec: Spec
    check: Check | None = None
    remembered: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


Spawn = Callable[[], Worker]
"""Function to start a worker and send the context; raises OSError if the start fails."""


@dataclass(slots=True)
class _State:
    """The progress of a check during the round."""

    task: Task
    outcome: Outcome | None = None
    started_at: float | None = None
    worker: Worker | None = None
    overdue: bool = False

    @property
    def running(self) -> bool:
        return self.started_at is not None and self.outcome is None

    @property
    def began_at(self) -> float:
        """When the check was started; the present for a check not yet started."""
        return time.monotonic() if self.started_at is None else self.started_at

    def counts_from(self) -> float:
        """Return when the timeout begins to count: a worker may take a while to come up."""
        if self.worker is None:
            return self.began_at
        if self.worker.ready_at is None:
            return self.began_at + _START_S
        return max(self.began_at, self.worker.ready_at)


def default_deadline_s(specs: Sequence[Spec]) -> float:
    """Return the default length of a round: all checks run together, then the unfinished checks run again alone."""
    return 2 * longest_chain_s(specs) + _STARTS_S


class Round:
    """A round: runs a set of checks once.

    Args:
        tasks: Checks to run, with all their needs.
        base: Context for all checks.
        deadline_s: Seconds for the whole round.
        spawn: Starts a worker; None runs every check in this process.
        events: Queue of the workers' reports.
        finish: Called with each outcome as soon as the outcome is known; the returned outcome takes its place.

    Attributes:
        survivors: Processes still there after being killed, a sentence each.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        base: Context,
        deadline_s: float,
        spawn: Spawn | None = None,
        events: "SimpleQueue[Event] | None" = None,
        finish: Callable[[Outcome], Outcome] = lambda outcome: outcome,
    ) -> None:
        self._states = {task.spec.name: _State(task) for task in tasks}
        self._base = base
        self._spawn = spawn
        began = time.monotonic()
        self._deadline = began + deadline_s
        self._half = began + deadline_s / 2
        self._events: SimpleQueue[Event] = events if events is not None else SimpleQueue()
        self._workers: list[Worker] = []
        self._shared: Worker | None = None
        self._alone = False
        self._finish = finish
        self.survivors: list[str] = []

    def run(self, worker: Worker | None = None) -> list[Outcome]:
        """Run the checks; return an outcome for each, in the order of the tasks.

        Args:
            worker: Worker already up; used, and killed at the end like the others.
        """
        if worker is not None:
            self._workers.append(worker)
            self._shared = worker
        try:
            self._launch()
            while any(state.outcome is None for state in self._states.values()):
                self._listen()
                self._expire()
                self._close_shared()
                self._launch()
        finally:
            self._stop(*self._workers)
        return [state.outcome for state in self._states.values() if state.outcome is not None]

    def cancel(self) -> None:
        """End the round now, from another thread; unfinished checks are reported as if the time were over."""
        self._deadline = time.monotonic()
        self._events.put((None, {}))

    # ---- reports --------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Handle all reports received so far, or wait for reports until something is due.

        All must be handled: a report that arrived in time counts even if this process was slow to read it.
        """
        wait_s = max(0.0, self._next_moment() - time.monotonic())
        try:
            while True:
                source, fields = self._events.get(timeout=wait_s)
                wait_s = 0.0
                if fields is not None and fields.get("is") == "done":
                    self._done(source, fields)
                elif fields is None and source in self._workers:
                    self._lost(source)
        except Empty:
            return

    def _done(self, source: Worker | None, fields: Mapping[str, Any]) -> None:
        state = self._states.get(str(fields.get("check")))
        if state is None or not state.running or state.worker is not source or state.overdue:
            return
        try:
            result, duration_s = Result.from_dict(fields["result"]), float(fields["duration_s"])
        except (KeyError, TypeError, ValueError) as fault:
            result, duration_s = Result.unhealthy(f"the check's report is not one: {fault}", reason=CRASH), 0.0
        self._decide(state, result, duration_s)
        if source is not None and source is not self._shared:
            self._stop(source)

    def _lost(self, worker: Worker) -> None:
        """Handle a worker that ended by itself.

        If a check ran alone in the worker, the check is guilty. If several ran, the guilty check is not known.
        """
        unfinished = self._unfinished(worker)
        fate, printed = worker.fate(), worker.last_words()
        self._stop(worker)
        if worker is self._shared:
            self._shared = None
            self._run_alone(unfinished)
            return
        for state in unfinished:
            details = {"printed": printed} if printed else {}
            self._decide(state, Result.unhealthy(f"the check {fate}", details=details, reason=CRASH))

    def _unfinished(self, worker: Worker) -> list[_State]:
        return [state for state in self._states.values() if state.running and state.worker is worker]

    # ---- time -----------------------------------------------------------------------------------------------------

    def _limit(self, state: _State) -> float:
        """Return when a running check becomes overdue."""
        return min(state.counts_from() + state.task.spec.timeout, self._deadline)

    def _next_moment(self) -> float:
        moments = [self._limit(state) for state in self._states.values() if state.running and not state.overdue]
        if self._shared is not None and self._half > time.monotonic():
            moments.append(self._half)
        return min([self._deadline, *moments])

    def _expire(self) -> None:
        """Mark overdue checks, and decide them unless they run in the shared worker: `_close_shared` decides there.

        At the deadline, decide all checks.
        """
        now = time.monotonic()
        for state in self._states.values():
            if state.running and now >= self._limit(state):
                state.overdue = True
                if state.worker is None or state.worker is not self._shared:
                    self._time_out(state)
        if now >= self._deadline:
            for state in self._states.values():
                if state.running:
                    self._time_out(state)
                elif state.outcome is None:
                    text = "the round's time was over before this check could start"
                    self._decide(state, Result.unhealthy(text, reason=NOT_STARTED))

    def _close_shared(self) -> None:
        """Stop the shared worker if all its checks are overdue, or if the time is needed to find the guilty check."""
        if self._shared is None:
            return
        unfinished = self._unfinished(self._shared)
        overdue = all(state.overdue for state in unfinished)
        if not unfinished or not (overdue or (len(unfinished) > 1 and time.monotonic() >= self._half)):
            return
        self._stop(self._shared)
        self._shared = None
        if len(unfinished) == 1:
            self._time_out(unfinished[0])
        else:
            self._run_alone(unfinished)

    def _time_out(self, state: _State) -> None:
        took_s = time.monotonic() - state.began_at
        text = f"did not finish within {state.task.spec.timeout:g} s"
        if took_s < state.task.spec.timeout:
            text = f"did not finish within {took_s:.1f} s, when the round's time was over"
        if state.worker is not None and state.worker in self._workers:
            self._stop(state.worker)
        hint = "it hangs, or its timeout is too short"
        self._decide(state, Result.unhealthy(text, hint=hint, reason=TIMEOUT), took_s)

    # ---- starting and stopping ------------------------------------------------------------------------------------

    def _launch(self) -> None:
        """Start or skip the checks whose needs are decided; repeat, since a skip may decide other checks."""
        again = True
        while again:
            again = False
            for state in self._states.values():
                if state.started_at is not None or state.outcome is not None:
                    continue
                needs = [self._states[need].outcome for need in state.task.spec.needs]
                bad = [need for need in needs if need is not None and _failed(need)]
                if bad:
                    self._decide(state, _skipped_for(bad[0]))
                    again = True
                elif None not in needs:
                    self._start(state)
                    again = again or state.outcome is not None

    def _start(self, state: _State) -> None:
        state.started_at = time.monotonic()
        state.overdue = False
        task = state.task
        if self._spawn is None or task.spec.origin is None:
            self._start_here(task)
            return
        try:
            state.worker = self._worker(self._spawn)
        except OSError as fault:
            text = f"no process could be started to run the check in: {fault.strerror or fault}"
            self._decide(state, Result.unhealthy(text, reason=NOT_STARTED))
            return
        state.worker.tell(
            do="run",
            check=task.spec.name,
            seconds_left=max(0.0, self._deadline - time.monotonic()),
            origin=task.spec.origin,
            options=dict(task.options),
            remembered=dict(task.remembered),
            facts=dict(task.facts),
        )

    def _worker(self, spawn: Callable[[], Worker]) -> Worker:
        """Return the worker for the next check."""
        if self._shared is not None:
            return self._shared
        worker = spawn()
        self._workers.append(worker)
        if not self._alone:
            self._shared = worker
        return worker

    def _start_here(self, task: Task) -> None:
        base = self._base
        ctx = Context(base.targets, base.thresholds, task.options, task.remembered, task.facts, base.clock)

        def work() -> None:
            result, duration_s = call_at(task.check or task.spec.origin or "", ctx)
            told = {"is": "done", "check": task.spec.name, "result": result.as_dict(), "duration_s": duration_s}
            self._events.put((None, told))

        threading.Thread(target=work, name=f"health-{task.spec.name}", daemon=True).start()

    def _run_alone(self, unfinished: Sequence[_State]) -> None:
        self._alone = True
        for state in unfinished:
            self._start(state)

    def _stop(self, *workers: Worker) -> None:
        for worker in workers:
            self._workers.remove(worker)
            self.survivors += worker.stop()

    def _decide(self, state: _State, result: Result, duration_s: float = 0.0) -> None:
        spec = state.task.spec
        isolated = self._spawn is not None and spec.origin is not None
        outcome = Outcome(spec.name, result, spec.impact, duration_s, isolated, spec.runbook)
        state.outcome = self._finish(outcome)


def _failed(outcome: Outcome) -> bool:
    return outcome.status in {Status.UNHEALTHY, Status.SKIPPED}


def _skipped_for(need: Outcome) -> Result:
    """Return the result of a check that this need makes impossible; the message names the first cause of a chain."""
    if need.status is Status.SKIPPED:
        text = need.result.message if need.result.reason else f"needs {need.name}, which was skipped"
        return Result.skipped(text, reason=need.result.reason or NEEDS)
    return Result.skipped(f"needs {need.name}, which is {need.status}", reason=NEEDS)
