"""The outbox: alerts stay on disk until their sink has taken them, each sink at its own pace.

A sink that hangs or is down delays no other sink. When the sink is back, it gets the missed alerts in order.
"""

import json
import threading
from collections.abc import Callable

from kbstore.health.errors import StateError
from kbstore.health.run.engine import Engine
from kbstore.health.settings import Sink
from kbstore.health.state import State
from kbstore.health.watch.http import SendFault, request
from kbstore.health.watch.sinks import send

_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 300.0
_LOOK_S = 1.0
_BEAT_S = 10.0


class Outbox:
    """Delivers the alerts in the state's outbox until closed, with a thread for each sink.

    Args:
        engine: Engine with the settings of the sinks.
        state: State with the waiting alerts.
        say: Called with a line about each failed delivery.
        first_wait_s: Seconds before a sink is tried again; doubled each time, up to five minutes.
    """

    def __init__(
        self, engine: Engine, state: State, say: Callable[[str], None], *, first_wait_s: float = _FIRST_WAIT_S
    ) -> None:
        self._engine = engine
        self._state = state
        self._say = say
        self._first_wait_s = first_wait_s
        self._closed = threading.Event()
        self._beat = threading.Event()
        self._wanted = False
        self._wakes = {sink.label: threading.Event() for sink in engine.settings.sinks}
        self._threads = [
            threading.Thread(target=self._deliver, args=(sink,), daemon=True) for sink in engine.settings.sinks
        ]
        if engine.settings.watch.heartbeat_url:
            self._threads.append(threading.Thread(target=self._beat_on, daemon=True))
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Look for new alerts at once."""
        for wake in self._wakes.values():
            wake.set()

    def beat(self) -> None:
        """Fetch the heartbeat URL now, in the background. All calls during a fetch cause only one more fetch."""
        self._wanted = True
        self._beat.set()

    def close(self, grace_s: float = 2.0) -> None:
        """Stop after a last try; alerts that are not taken within `grace_s` wait on disk for the next watch."""
        self._closed.set()
        self.wake()
        self._beat.set()
        for thread in self._threads:
            thread.join(grace_s)

    def _deliver(self, sink: Sink) -> None:
        wake = self._wakes[sink.label]
        wait_s = 0.0
        closed = False
        while not closed:
            wake.wait(max(wait_s, _LOOK_S))
            wake.clear()
            closed = self._closed.is_set()
            try:
                wait_s = self._deliver_due(sink)
            except StateError as fault:
                self._tell(f"alerts wait: {fault}")

    def _deliver_due(self, sink: Sink) -> float:
        """Send due alerts in order, up to the first failure; return the seconds until the next try."""
        while True:
            now_s = self._engine.clock.now().timestamp()
            waiting = self._state.next_delivery(sink.label)
            if waiting is None:
                return 0.0
            if waiting.due > now_s:
                return waiting.due - now_s
            try:
                send(sink, json.loads(waiting.body), now_s, self._engine.settings.folder)
            except SendFault as fault:
                wait_s = float(min(self._first_wait_s * 2**waiting.tries, _LONGEST_WAIT_S))
                text = self._engine.scrubber.text(str(fault))
                self._state.delivery_failed(waiting.id, due=now_s + wait_s, fault=text)
                self._tell(f"{sink.label} did not take an alert, the next try is in {wait_s:g} s: {text}")
                return wait_s
            self._state.delivered(waiting.id, at=self._engine.clock.now().timestamp())

    def _beat_on(self) -> None:
        url = self._engine.settings.watch.heartbeat_url or ""
        closed = False
        while not closed:
            self._beat.wait()
            self._beat.clear()
            closed = self._closed.is_set()
            if self._wanted:
                self._wanted = False
                try:
                    request("GET", url, None, {"User-Agent": "health"}, _BEAT_S)
                except SendFault as fault:
                    self._tell(f"the heartbeat was not taken: {fault}")

    def _tell(self, text: str) -> None:
        self._say(self._engine.scrubber.text(text))
