"""Whose fault it is that a worker ended, decided without a process: workers are played by the test."""

import threading
from queue import SimpleQueue
from typing import Any

import pytest

from kbstore.health.context import Context
from kbstore.health.model import Outcome, Result, Status
from kbstore.health.run.rounds import Round, Task
from tests.health.support import registry_of, wait_for

NAMES = ("one", "two", "three")


class Played:
    """A worker that does what its script says of the check that it is told to run."""

    def __init__(self, events: "SimpleQueue[Any]", guilty: str) -> None:
        self._events = events
        self._guilty = guilty
        self.told: list[str] = []
        self.stopped = 0
        self.ready_at = 0.0

    def tell(self, **command: Any) -> None:
        """Report, or end by itself; where several run together, the guilty one takes all down before they report."""
        self.told.append(command["check"])
        together = len(self.told) > 1
        if command["check"] == self._guilty:
            self._events.put((self, None))
        elif not together and command["check"] != NAMES[0]:
            result = Result.healthy("well").as_dict()
            self._events.put((self, {"is": "done", "check": command["check"], "result": result, "duration_s": 0.1}))

    def fate(self) -> str:
        """How it ended."""
        return "was killed by signal 11"

    def last_words(self) -> str:
        """What it printed."""
        return "a trace"

    def stop(self) -> list[str]:
        """End it."""
        self.stopped += 1
        return []


@pytest.mark.parametrize("guilty", ["two", "three"])
def test_one_dead_worker_takes_no_blame_of_others(guilty: str) -> None:
    """Together nobody knows whose fault it was; alone the guilty one is, and those that still run are waited for."""
    events: SimpleQueue[Any] = SimpleQueue()
    workers: list[Played] = []

    def spawn() -> Any:
        workers.append(Played(events, guilty))
        return workers[-1]

    checks = registry_of(**{name: (_well, {"timeout": 25.0}) for name in NAMES})
    tasks = [Task(spec) for spec in checks.specs.values()]
    running = Round(tasks, Context(), 30, spawn, events)
    told = threading.Thread(target=lambda: _answer_late(events, workers), daemon=True)
    told.start()
    outcomes = {outcome.name: outcome for outcome in running.run()}
    told.join()
    assert {name: outcome.status for name, outcome in outcomes.items() if name != guilty} == dict.fromkeys(
        set(NAMES) - {guilty}, Status.HEALTHY
    )
    blamed: Outcome = outcomes[guilty]
    assert (blamed.status, blamed.result.reason) == (Status.UNHEALTHY, "crash")
    assert blamed.result.message == "the check was killed by signal 11"
    assert blamed.result.details == {"printed": "a trace"}
    assert [worker.told for worker in workers] == [list(NAMES), *([name] for name in NAMES)]
    assert [worker.stopped for worker in workers] == [1, 1, 1, 1]


def _well(ctx: Context) -> Result:
    return Result.healthy("well")


def _answer_late(events: "SimpleQueue[Any]", workers: list[Played]) -> None:
    """The first check answers after all others have ended."""
    wait_for(lambda: len(workers) == 4 and sum(worker.stopped for worker in workers) == 3)
    result = Result.healthy("well").as_dict()
    events.put((workers[1], {"is": "done", "check": NAMES[0], "result": result, "duration_s": 0.1}))
