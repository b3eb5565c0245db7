"""Cases of clocks that are wrong: what a log says afterwards, and who is told."""

import json
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kbstore import KnowledgeBaseVersioner
from kbstore.kit.clock import SystemClock
from tests.cases.support import Desk

_FAKED = ("LD_PRELOAD", "FAKETIME", "FAKETIME_FMT")
_AHEAD = timedelta(days=400)


class Ahead(SystemClock):
    """The machine's clock, over a year ahead."""

    def now(self) -> datetime:
        return super().now() + _AHEAD


def commit_ahead(desk: Desk) -> str:
    """Commit the file on a machine whose clock is over a year ahead; returns what it says on stderr."""
    if shutil.which("faketime") is None:
        assert os.environ.get("CI") != "true", "this test needs faketime"
        KnowledgeBaseVersioner(desk.file, clock=Ahead()).create_version("clock ahead")
        return "warning: 400 days after"
    faked = subprocess.run(["faketime", "-f", f"+{_AHEAD.days}d", "env"], capture_output=True, text=True, check=True)
    found = dict(line.partition("=")[::2] for line in faked.stdout.splitlines())
    done = desk.apart("commit", "-m", "clock ahead", env={name: found[name] for name in _FAKED if name in found})
    assert done.code == 0, done
    return done.err


def test_a_clock_that_was_ahead_once_hides_no_true_time(tmp_path: Path) -> None:
    """Case 13: the commit warns, later versions keep their own time as `authored`, and `--since` goes by `time`."""
    desk = Desk(tmp_path / "desk", "ann")
    desk.write({"p": {"x": {"t": "1"}}})
    desk.ok("init", "kb.json")
    begun = datetime.now(UTC)
    desk.write({"p": {"x": {"t": "2"}}})
    told = commit_ahead(desk)
    assert "warning:" in told
    assert "400 days after" in told
    for text in ("3", "4"):
        desk.write({"p": {"x": {"t": text}}})
        said = desk.ok("commit", "-m", "clock right").err
        assert "warning: this machine's clock says" in said
    rows = [json.loads(line) for line in desk.ok("log", "--reverse", "--json").out.splitlines()]
    assert [row["seq"] for row in rows] == [1, 2, 3, 4]
    assert [row.get("authored") is not None for row in rows] == [False, False, True, True]
    times = [datetime.fromisoformat(row["time"]) for row in rows]
    assert times[1] == times[2] == times[3] > begun + timedelta(days=399)
    for row in rows[2:]:
        assert begun <= datetime.fromisoformat(row["authored"]) <= datetime.now(UTC)
    tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"
    found = desk.ok("log", "--oneline", "--since", tomorrow).out.splitlines()
    assert [line.partition("_")[0] for line in found] == ["v4", "v3", "v2"]
    assert desk.ok("show", f"@{tomorrow}", "--json").out.startswith("{")
    assert json.loads(desk.ok("show", f"@{tomorrow}", "--json").out)["seq"] == 1
    assert "written:" in desk.ok("show", "v4").out
    assert desk.ok("verify").code == 0
