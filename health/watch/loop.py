"""The watch: endless rounds on a steady schedule, never two at once, with alerts on lasting changes.

After each round, everything that matters is on disk: results, standings, waiting alerts. A watch that is killed and
started again continues from there, and neither repeats nor forgets an alert.
"""

import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any

from kbstore.health.check_registry import Spec
from kbstore.health.errors import ConfigError, HealthError, StateError
from kbstore.health.model import Report, Status, counted, rfc3339
from kbstore.health.run.engine import Engine
from kbstore.health.state import State
from kbstore.health.watch import remedy
from kbstore.health.watch.alerts import FAILED, Alert, Standing, step
from kbstore.health.watch.outbox import Outbox
from kbstore.kit.clock import format_time

FACT = "watch"
"""Name of the fact with the last round, for the check ``watch.heartbeat``."""

_LOCK = "watch.lock"


class Watch:
    """Makes rounds until stopped.

    Args:
        engine: Engine with the checks, the settings and the state.
        say: Called with a line about each round, alert and fault.
        wait: Waits for a number of seconds; True ends the watch.
        elapsed: A clock that only goes forward, in seconds.
        first_wait_s: Seconds before the first new try of a sink that did not take an alert.
    """

    def __init__(
        self,
        engine: Engine,
        say: Callable[[str], None],
        *,
        wait: Callable[[float], bool] | None = None,
        elapsed: Callable[[], float] = monotonic,
        first_wait_s: float = 1.0,
    ) -> None:
        if engine.state is None:
            raise StateError(
                "no folder is configured, and health watch keeps its state on disk", hint="set targets.state"
            )
        labels = [sink.label for sink in engine.settings.sinks]
        if twice := {label for label in labels if labels.count(label) > 1}:
            raise ConfigError(f"two sinks are named {min(twice)!r}", hint="name each differently")
        self._engine = engine
        self._state: State = engine.state
        self._say = say
        self._stop = threading.Event()
        self._wait = wait or self._stop.wait
        self._elapsed = elapsed
        self._first_wait_s = first_wait_s
        self._settings = engine.settings.watch

    def stop(self) -> None:
        """End the watch after the present round."""
        self._stop.set()

    def run(self, rounds: int | None = None) -> None:
        """Make this number of rounds, or rounds until stopped.

        Raises:
            StateError: Another watch keeps its state in the same folder.
            HealthError: The configuration or the declarations of checks cannot be used.
        """
        with self._alone():
            outbox = Outbox(self._engine, self._state, self._say, first_wait_s=self._first_wait_s)
            try:
                for number, late in enumerate(self._moments(), 1):
                    if late:
                        self._say(f"the last round took so long that {late} were left out")
                    self.round(outbox)
                    if number == rounds:
                        return
            finally:
                outbox.close()

    def _moments(self) -> Iterator[int]:
        """Wait for the time of each round; yield how many rounds were left out because the last round took too long.

        The schedule does not drift: the n-th round is due n intervals after the first. It starts late by a random part
        of the jitter, so that many watches do not all ask at the same time.
        """
        began = self._elapsed()
        turn = 0
        yield 0
        while True:
            passed = int((self._elapsed() - began) // self._settings.interval)
            late = max(passed - turn, 0)
            turn = max(turn, passed) + 1
            share = int(self._engine.clock.token()[:8], 16) / 0xFFFFFFFF
            due = began + (turn + share * self._settings.jitter) * self._settings.interval
            if self._wait(max(0.0, due - self._elapsed())):
                return
            yield late

    def round(self, outbox: Outbox | None = None) -> Report | None:
        """Run the due checks, send alerts, and run automatic remedies."""
        specs = self._engine.catalogue_of_last_round or self._engine.catalogue().specs
        due = self._due(specs)
        report = self._engine.run(due, every_plugin=True) if due else None
        now = self._engine.clock.now()
        try:
            alerts = self._judge(report) if report is not None else []
            self._state.set_fact(FACT, {"time": format_time(now), "interval_s": self._settings.interval})
        except StateError as fault:
            self._tell(f"alerts cannot be judged: {fault}")
            alerts = []
        if report is not None:
            self._say(_line(report))
        for alert in alerts:
            self._tell(f"alert: {alert.line}")
        if outbox is not None:
            outbox.wake()
            outbox.beat()
        self._mend(alerts)
        return report

    def _due(self, specs: Mapping[str, Spec]) -> list[str]:
        """Return the due checks; half an interval early counts as due, since rounds come at intervals."""
        now_s = self._engine.clock.now().timestamp()
        try:
            ran = self._state.ran_at()
        except StateError:
            ran = {}
        slack_s = self._settings.interval / 2
        return [name for name, spec in specs.items() if ran.get(name, 0.0) + spec.every - slack_s <= now_s]

    def _judge(self, report: Report) -> list[Alert]:
        """Return the alerts of a round, after storing standings and alerts in one transaction."""
        now = report.time
        specs = self._engine.catalogue_of_last_round
        known = self._state.standings()
        silences = self._state.silences(now)
        standings: dict[str, dict[str, Any]] = {}
        alerts = []
        for outcome in report.outcomes:
            spec = specs.get(outcome.name) or Spec(outcome.name, fall=1)
            before = Standing.from_dict(known[outcome.name]) if outcome.name in known else Standing()
            after, alert = step(before, outcome, spec, now, self._settings, silenced=outcome.name in silences)
            standings[outcome.name] = after.as_dict()
            if alert is not None:
                alerts.append(alert)
        sinks = [sink.label for sink in self._engine.settings.sinks]
        bodies = [{**alert.as_dict(), "id": self._engine.clock.token()} for alert in alerts]
        self._state.stand(standings, bodies, sinks, now)
        return alerts

    def _mend(self, alerts: list[Alert]) -> None:
        """Run automatic remedies, each in a thread, so that rounds go on."""
        specs = self._engine.catalogue_of_last_round
        for alert in alerts:
            if alert.kind == FAILED and alert.check in self._engine.settings.remedies.automatic:
                threading.Thread(target=self._mend_one, args=(specs[alert.check],), daemon=True).start()

    def _mend_one(self, spec: Spec) -> None:
        try:
            ran = remedy.run(self._engine, spec)
        except HealthError as fault:
            self._tell(f"remedy: {fault}")
        else:
            self._tell(f"remedy: {json.dumps(list(ran.command))} for {spec.name} ended with exit code {ran.code}")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            file = open(self._state.make_file(_LOCK), "a", encoding="utf-8", opener=_not_through_a_link)  # noqa: SIM115
        except OSError as fault:
            raise StateError(f"{self._state.folder}: {fault.strerror}") from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise StateError(
                    f"another health watch keeps its state in {self._state.folder}", hint="one is enough: end the other"
                ) from None
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield

    def _tell(self, text: str) -> None:
        self._say(self._engine.scrubber.text(text))


def _not_through_a_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)


def _line(report: Report) -> str:
    bad = [f"{o.name} is {o.status}" for o in report.worst_first if o.status.rank > Status.HEALTHY.rank]
    told = "; ".join([*bad, *report.survivors, *report.warnings])
    ran = counted(len(report.ran), "check")
    return f"{rfc3339(report.time)} {report.overall}: {ran}" + (f": {told}" if told else "")
