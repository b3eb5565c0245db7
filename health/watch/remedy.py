"""Remedies: the command of a check runs if allowed, not too often, and every run is written down.

A remedy is an argument list, run without a shell. It runs only for checks in ``remedies.allow``, not within
``remedies.cooldown`` of the last run, and at most ``remedies.attempts`` times a day: if so many runs do not solve the
problem, a person must look.
"""

import os
import shlex
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from kbstore.health.check_registry import Spec
from kbstore.health.config import is_url
from kbstore.health.errors import RemedyError
from kbstore.health.run.engine import Engine
from kbstore.health.state import State

_OUTPUT_CHARS = 4_000
_TIMED_OUT = 124
_NOT_FOUND = 127


@dataclass(frozen=True, slots=True)
class Ran:
    """A finished run of a remedy.

    Attributes:
        command: Argument list of the run.
        code: Exit code; 124 if the command took too long, 127 if the command could not be started.
        output: End of the output, without secrets.
    """

    command: tuple[str, ...]
    code: int
    output: str


def plan(engine: Engine, spec: Spec, now: datetime) -> tuple[str, ...]:
    """Return the command that would run for a check now.

    Raises:
        RemedyError: The remedy may not run.
        StateError: Earlier runs cannot be read, so the limits cannot be checked.
    """
    limits = engine.settings.remedies
    if not spec.remedy:
        raise RemedyError(f"{spec.name} has no remedy", hint=f"set one in [checks.{spec.name!r}]: remedy = [...]")
    if spec.name not in limits.allow:
        raise RemedyError(
            f"the remedy of {spec.name} is not allowed: {shlex.join(spec.remedy)}",
            hint=f"to allow it, add {spec.name!r} to remedies.allow",
        )
    times = [time for time, *_ in _written(engine).remedies(spec.name)]
    if times and (now - times[-1]).total_seconds() < limits.cooldown:
        wait_s = limits.cooldown - (now - times[-1]).total_seconds()
        raise RemedyError(f"the remedy of {spec.name} ran just now; it may run again in {wait_s:.0f} s")
    if sum(now - time < timedelta(days=1) for time in times) >= limits.attempts:
        raise RemedyError(
            f"the remedy of {spec.name} ran {limits.attempts} times within a day and did not help",
            hint="look yourself: " + (spec.runbook or "it has no runbook"),
        )
    return spec.remedy


def run(engine: Engine, spec: Spec) -> Ran:
    """Run the remedy of a check, and write down the run.

    Raises:
        RemedyError: The remedy may not run.
        StateError: The run cannot be written down. If writing fails before the start, nothing runs.
    """
    now = engine.clock.now()
    command = plan(engine, spec, now)
    written = _written(engine)
    # Written down first: a remedy that ends this program must not run again at once.
    written.add_remedy(spec.name, command, -1, "", now)
    code, output = _call(command, engine)
    output = engine.scrubber.text(output)[-_OUTPUT_CHARS:]
    written.finish_remedy(spec.name, now, code, output)
    return Ran(command, code, output)


def _written(engine: Engine) -> State:
    """Return the state for writing down runs."""
    if engine.state is None:
        raise RemedyError("a remedy runs only where that can be written down", hint="set targets.state")
    return engine.state


def _call(command: Sequence[str], engine: Engine) -> tuple[int, str]:
    environ = dict(os.environ)
    if store := engine.settings.targets.store:
        environ["KBSTORE_STORE"] = store if is_url(store) else os.path.abspath(store)  # noqa: PTH100 - a link stays one
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=engine.settings.folder,  # the current folder may belong to somebody else
            env=environ,
            start_new_session=True,
        )
    except OSError as fault:
        return _NOT_FOUND, f"{command[0]}: {fault.strerror}"
    try:
        output, _ = process.communicate(timeout=engine.settings.remedies.timeout)
        return process.returncode, output.decode(errors="replace")
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return _TIMED_OUT, output.decode(errors="replace") + "\nit took too long and was ended"
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
