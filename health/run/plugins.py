"""Plug-ins: found by the entry-point group ``kbstore.health.checks``, and loaded in a worker, where no harm is done.

An entry point names a module that adds checks to `health.registry` when imported, or a function to call with the
registry. A plug-in that cannot be loaded, or hangs while loading, becomes an unhealthy check of its own.
"""

import os
import re
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from kbstore.health.check_registry import Spec
from kbstore.health.model import LOAD, TIMEOUT, Outcome, Result
from kbstore.health.run.process import Event, Worker

GROUP = "kbstore.health.checks"
LOAD_TIMEOUT_S = 5.0
_START_S = 10.0


@dataclass(slots=True)
class Loaded:
    """The result of loading plug-ins.

    Attributes:
        specs: Checks added by the plug-ins.
        broken: An unhealthy outcome for each plug-in with a failed load.
        worker: Worker with all other plug-ins loaded, or None.
        survivors: Processes still there after being killed, a sentence each.
    """

    specs: dict[str, Spec] = field(default_factory=dict)
    broken: list[Outcome] = field(default_factory=list)
    worker: Worker | None = None
    survivors: list[str] = field(default_factory=list)


def installed() -> list[tuple[str, str]]:
    """Return name and value of each plug-in's entry point, in order; no plug-in is imported."""
    if not _any_entry_points():
        return []
    from importlib.metadata import entry_points

    return sorted({(point.name, point.value) for point in entry_points(group=GROUP)})


def _any_entry_points() -> bool:
    """Return whether an installed distribution names the group.

    A quick look, since importlib.metadata costs 80 ms of CPU.
    """
    for place in sys.path:
        try:
            names = os.listdir(place or os.curdir)  # noqa: PTH208 - 5 times as fast, and done at every start
        except NotADirectoryError:
            return True  # an archive, which only importlib.metadata can read
        except OSError:
            continue
        for name in names:
            if name.endswith((".dist-info", ".egg-info")):
                try:
                    with open(os.path.join(place, name, "entry_points.txt"), "rb") as file:  # noqa: PTH118, PTH123
                        if GROUP.encode() in file.read():
                            return True
                except OSError:
                    continue
    return False


def load_in_worker(
    plugins: Iterable[tuple[str, str]],
    spawn: Callable[[], Worker],
    events: "SimpleQueue[Event]",
    worker: Worker | None = None,
    until: float | None = None,
) -> Loaded:
    """Load plug-ins in a worker, each after the other; a plug-in that ends the worker is left out of the next worker.

    Args:
        plugins: Name and value of each plug-in.
        spawn: Starts a worker and sends the context.
        events: Queue of the workers' reports.
        worker: Worker already up.
        until: When (`time.monotonic`) loading must end.
    """
    end = until if until is not None else float("inf")
    done = Loaded(worker=worker)
    sound: list[tuple[str, str]] = []
    for plugin in plugins:
        if done.worker is None:
            done.worker = spawn()
            for again in sound:
                # These plug-ins were loaded well before; the worker handles commands in order.
                _ask(done.worker, again, events, end)
        answer = _ask(done.worker, plugin, events, end)
        if isinstance(answer, list):
            sound.append(plugin)
            done.specs.update({spec.name: spec for spec in answer})
            continue
        done.broken.append(broken(plugin[0], answer))
        if answer.reason != LOAD:
            done.survivors += done.worker.stop()
            done.worker = None
    return done


def broken(plugin: str, result: Result) -> Outcome:
    """Return the outcome that reports a failed load of a plug-in."""
    return Outcome("plugin." + (re.sub(r"[^a-z0-9_]+", "_", plugin.lower()) or "_"), result)


def _ask(worker: Worker, plugin: tuple[str, str], events: "SimpleQueue[Event]", end: float) -> list[Spec] | Result:
    """Have a worker load a plug-in; return the added checks, or an unhealthy result with the reason."""
    worker.tell(do="load", plugin=plugin[0], value=plugin[1])
    asked = time.monotonic()
    while True:
        began = max(asked, worker.ready_at) if worker.ready_at is not None else asked + _START_S
        over = min(began + LOAD_TIMEOUT_S, end)
        try:
            source, fields = events.get(timeout=max(0.0, min(over - time.monotonic(), 0.2)))
        except Empty:
            if time.monotonic() < over:
                continue
            return Result.unhealthy(
                f"the plug-in {plugin[0]} ({plugin[1]}) did not load within {time.monotonic() - asked:.1f} s",
                reason=TIMEOUT,
            )
        if source is not worker:
            continue
        if fields is None:
            return Result.unhealthy(
                f"the plug-in {plugin[0]} ({plugin[1]}) took the process down: it {worker.fate()}", reason="crash"
            )
        if fields.get("plugin") != plugin[0]:
            continue
        if fields.get("is") == "loaded":
            return [Spec.from_dict(spec) for spec in fields["checks"]]
        return Result.unhealthy(
            f"the plug-in {plugin[0]} ({plugin[1]}) cannot be loaded: {fields.get('message')}", reason=LOAD
        )
