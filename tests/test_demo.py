"""The demo of the README and of `make demo` keeps what it promises."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import kbstore
from examples.troubleshooting import __main__ as demo
from kbstore.cli.main import run
from tests.commands import run_here

ROOT = Path(__file__).resolve().parent.parent
Done = subprocess.CompletedProcess[bytes]


def test_the_week_of_a_support_team_ends_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command ends as it should, and every document is what it should be."""

    def here(command: Sequence[str], *, cwd: Path, env: Mapping[str, str], **_: Any) -> Done:
        code, out, err = run_here(run, command[1:], cwd, env=env)
        return Done(command, code, out, err.encode())

    monkeypatch.setattr(demo.subprocess, "run", here)
    demo.Demo("kbstore", tmp_path).support_team()
    assert "error: edits/06-refused.json: operation 1" in capsys.readouterr().out


@pytest.mark.long
def test_demo_ends_well(tmp_path: Path) -> None:
    """All of it, with a real history and the command as it is installed, ends as it should."""
    program = tmp_path / "kbstore"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from kbstore.cli import main; main()" "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(kbstore.__file__).parent.parent),
    }
    done = subprocess.run(
        [sys.executable, "-m", "examples.troubleshooting"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("# Everything was as promised.\n\n")
    assert "error: edits/06-refused.json: operation 1" in done.stdout
