"""A folder of migrations, a clock that obeys, and the command line run inside of this process."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kbstore import migrator
from kbstore.migrator import DatabaseMigrator, Settings
from kbstore.migrator.cli.main import run
from kbstore.migrator.settings import DEFAULTS
from tests.migrator.connections import connect

QUICK = Settings(lock_timeout_s=0.2, retries=1, wait_s=0.2)


class FakeClock:
    """Time stands still but for waiting, which takes none."""

    def __init__(self, moment: datetime = datetime(2025, 1, 27, 12, tzinfo=UTC)) -> None:
        self.moment = moment
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.moment

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.moment += timedelta(seconds=seconds)


@dataclass
class Folder:
    """A folder of migrations, written by name and text."""

    path: Path
    clock: FakeClock = field(default_factory=FakeClock)
    notices: list[str] = field(default_factory=list)

    def write(self, **files: str) -> "Folder":
        """Write files: ``v001_users=...`` becomes ``001_users.sql``; two underscores before a dialect become a dot."""
        self.path.mkdir(exist_ok=True)
        for name, text in files.items():
            (self.path / f"{name.removeprefix('v').replace('__', '.')}.sql").write_text(text, encoding="utf-8")
        return self

    def remove(self, name: str) -> None:
        (self.path / name).unlink()

    def migrator(self, url: str, settings: Settings = DEFAULTS, **more: Any) -> DatabaseMigrator:
        """A migrator on it, with a clock that obeys."""
        more = {"clock": self.clock, "who": "ana@test", "notice": self.notices.append, **more}
        return DatabaseMigrator(url, self.path, settings=settings, **more)


@dataclass
class Answer:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Its output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


def call(*arguments: str) -> Answer:
    """Run a command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(arguments)
    return Answer(code, out.getvalue(), err.getvalue())


def rows(url: str, sql: str) -> list[tuple[Any, ...]]:
    """Rows of a query by a plain connection."""
    connection, _ = connect(url)
    cursor = connection.cursor()
    cursor.execute(sql)
    found = [tuple(row) for row in cursor.fetchall()]
    connection.close()
    return found


def states(of: DatabaseMigrator) -> dict[str, str]:
    """The state of each migration."""
    return {entry.name: entry.state for entry in of.status()}


def events(of: DatabaseMigrator) -> list[tuple[str, str]]:
    """The log's lines, as event and migration."""
    return [(line["event"], line["name"]) for line in of.history()]


def spawn(*arguments: str) -> subprocess.Popen[str]:
    """Start a command line in a process of its own."""
    code = "from kbstore.migrator.cli import main; main()"
    home = str(Path(migrator.__file__).resolve().parent.parent)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([home, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    }
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts what runs in its background with interrupts ignored, and that would be inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def ended(process: subprocess.Popen[str]) -> Answer:
    """What a process printed, once it has ended."""
    out, err = process.communicate(timeout=120)
    return Answer(process.returncode, out, err)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Return once it holds; it is an error if it never does."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"it never came that {what}"
        time.sleep(0.02)
