"""Finds plug-ins by the entry-point group ``kbstore.health.checks`` and has them loaded where they can do no harm.

An entry point names a module whose import adds checks to `health.registry`, or a function that is called with the
registry. A plug-in that cannot be loaded, or does not come back from loading, becomes an unhealthy check of its own.
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
    """What became of the plug-ins.

    Attributes:
        specs: The checks that they added.
        broken: An unhealthy outcome for each that could not be loaded.
        worker: A worker that has loaded all the others; None where there is none.
        survivors: Processes that outlived their kill.
    """

    specs: dict[str, Spec] = field(default_factory=dict)
    broken: list[Outcome] = field(default_factory=list)
    worker: Worker | None = None
    survivors: list[str] = field(default_factory=list)


def installed() -> list[tuple[str, str]]:
    """Name and value of each plug-in's entry point, in order; imports none of them."""
    if not _any_entry_points():
        return []
    from importlib.metadata import entry_points

    return sorted({(point.name, point.value) for point in entry_points(group=GROUP)})


def _any_entry_points() -> bool:
    """Whether any installed distribution names our group: a quick look, since importlib.metadata costs 80 ms of CPU."""
    for place in sys.path:
        try:
            names = os.listdir(place or os.curdir)  # noqa: PTH208 - 5 times as fast, and asked of every start
        except NotADirectoryError:
            return True  # an archive, into which only importlib.metadata can look
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
    """Load plug-ins one after the other in a worker; one that takes it down is left out of the next.

    Args:
        plugins: Name and value of each.
        spawn: Starts a worker that has been told its context.
        events: Where workers put what they report.
        worker: One that is up already.
        until: When (`time.monotonic`) there is no more time for it.
    """
    end = until if until is not None else float("inf")
    done = Loaded(worker=worker)
    sound: list[tuple[str, str]] = []
    for plugin in plugins:
        if done.worker is None:
            done.worker = spawn()
            for again in sound:
                # These came up before; the worker handles commands in order.
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
    """The check that stands for a plug-in that could not be loaded."""
    return Outcome("plugin." + (re.sub(r"[^a-z0-9_]+", "_", plugin.lower()) or "_"), result)


def _ask(worker: Worker, plugin: tuple[str, str], events: "SimpleQueue[Event]", end: float) -> list[Spec] | Result:
    """Have a worker load a plug-in: the checks that it added, or why it did not."""
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
