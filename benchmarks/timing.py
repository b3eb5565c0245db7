"""Takes times: side by side with a yardstick in one process, or of a whole child process."""

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

clock = time.perf_counter
"""What all times are taken with; ``--cpu`` makes it `time.process_time`, for a machine that does other work too."""


def use_cpu_clock() -> None:
    """From now on count this process's CPU time instead of the wall's."""
    global clock
    clock = time.process_time


def timed(work: Callable[[], Any]) -> float:
    """Seconds that a call takes; what it returns is freed afterwards, and that is not counted."""
    start = clock()
    kept = work()
    taken = clock() - start
    del kept
    return taken


def timed_all(works: Sequence[Callable[[], Any]]) -> float:
    """Median seconds of these calls."""
    return median(timed(work) for work in works)


def fastest(repeats: int, *works: Callable[[], Any]) -> list[float]:
    """Least seconds of each of these calls, made in turn so often: what else runs can only make them slower."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(repeats):
        for times, work in zip(taken, works, strict=True):
            times.append(timed(work))
    return [min(times) for times in taken]


def read_bytes() -> int:
    """What this process has read from files until now, cached by the system or not; 0 where that cannot be told."""
    try:
        with open("/proc/self/io", encoding="ascii") as counts:
            return int(next(counts).split()[1])
    except OSError:
        return 0


@contextmanager
def collector_paused() -> Iterator[None]:
    """No garbage collection within: it would charge one side for what the other one left behind."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def in_child(task: str, *arguments: object) -> dict[str, Any]:
    """Run a task of `benchmarks.child` in a process of its own; returns what it printed.

    ``peak_bytes`` is the most that was resident, ``cpu_s`` the CPU of the whole process, interpreter and imports
    included; compiled modules are kept, as they are where kbstore is installed.
    """
    command = [sys.executable, "-m", "benchmarks.child", task, *map(str, arguments)]
    root = Path(__file__).resolve().parents[1]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=root, env=kept).stdout
    return dict(json.loads(answer))


@contextmanager
def settled() -> Iterator[None]:
    """Within, garbage collection passes over all that was there before: inputs are no part of what is measured."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
