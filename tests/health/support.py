"""What the tests of health share: engines over a few checks, commands in a process, a look for orphans."""

import itertools
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import kbstore
from kbstore import Store
from kbstore.health import Engine, Registry, Report, Settings
from kbstore.health.settings import CheckSettings

_tokens = itertools.count(1)
ROOT = Path(__file__).resolve().parent.parent.parent


class Clock:
    """A clock that is set by hand and never gives the same token twice."""

    def __init__(self, now: datetime = datetime(2025, 1, 27, 12, tzinfo=UTC)) -> None:
        self.time = now

    def now(self) -> datetime:
        return self.time

    def token(self) -> str:
        return f"{os.getpid():08x}{next(_tokens):08x}"

    def pass_s(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


def registry_of(**checks: Any) -> Registry:
    """A registry with these checks; a value is a function, or a function and what is declared of it."""
    found = Registry()
    for name, given in checks.items():
        check, declared = given if isinstance(given, tuple) else (given, {})
        found.add(name, **{"timeout": 1.0, **declared})(check)
    return found


def run(checks: Registry, tmp_path: Path, *, deadline: float | None = None, **settings: Any) -> Report:
    """The report of one isolated round; checks that need a file for process ids have one in `tmp_path`."""
    options = {name: CheckSettings(options={"pids": str(tmp_path / f"{name}.pids")}) for name in checks.specs}
    isolate = settings.pop("isolate", True)
    chosen = Settings(deadline=deadline, checks=options, **settings)
    # Its tokens are what `workers` knows the workers of this process by.
    with Engine(chosen, checks=checks, isolate=isolate, clock=Clock()) as engine:
        return engine.run()


def command(*arguments: str, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``health`` with these arguments, on the same packages as this process."""
    call = [sys.executable, "-c", "from kbstore.health.cli import main; main()", *arguments]
    return subprocess.run(call, cwd=cwd, env=environment(env), capture_output=True, text=True, check=False, timeout=120)


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a command."""
    return {**os.environ, "PYTHONPATH": str(Path(kbstore.__file__).parent.parent), **(more or {})}


def demo_store(folder: Path, versions: int = 12) -> Path:
    """A store with some versions and a tag; its path."""
    path = folder / "kb.db"
    with Store.create(path, {"problems": {}}, author="ana@example.com") as store:
        for number in range(1, versions):
            patch = [
                {"op": "add", "path": f"/problems/p{number}", "value": {"title": f"Problem {number}", "n": number}}
            ]
            store.commit(patch=patch, message=f"add {number}")
        store.tag("stable", "v2")
    return path


def workers() -> list[int]:
    """Ids of all processes that are workers of this process, or descend from one."""
    mark = f"HEALTH_WORKER={os.getpid():08x}".encode()
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            environ = Path(f"/proc/{name}/environ").read_bytes()
        except OSError:
            continue
        if mark in environ:
            found.append(int(name))
    return found


def alive(pid: int) -> bool:
    """Whether a process is there and not just waiting to be counted as dead."""
    try:
        return not re.search(r"\) [ZX] ", Path(f"/proc/{pid}/stat").read_text())
    except OSError:
        return False


def wait_for(true: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait until something holds; fails where it does not in time."""
    until = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(0.02)
    return found
