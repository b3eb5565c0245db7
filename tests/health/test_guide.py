"""The guide's part on health does what it says: ours, the user's own, and both scripts."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from kbstore.cli.main import run as run_kbstore
from kbstore.health.config import parse
from tests.health.support import ROOT, environment

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLE = ROOT / "examples" / "troubleshooting"
LOOP = """
import time

alerts = []
naps = []

def send_alert(text):
    alerts.append(text)
    print("alert:", text, flush=True)

sleep = time.sleep

def nap(seconds):
    if seconds < 300:
        return sleep(seconds)
    naps.append(seconds)
    if len(naps) == 1:
        import os
        os.rename(".kbstore/kb.db", ".kbstore/gone.db")
    else:
        raise SystemExit(f"naps: {naps}")

time.sleep = nap
"""


def section(text: str, heading: str) -> list[tuple[str, str]]:
    """The fenced blocks of one second-level section of a guide, as language and text."""
    (found,) = re.findall(rf"^## {heading}\n.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return BLOCK.findall(found)


def ours() -> list[tuple[str, str]]:
    """The blocks of our guide's section."""
    return section((ROOT / "docs" / "guia.es.md").read_text(encoding="utf-8"), "Comprobaciones de salud")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the example's knowledge base under version control, the scripts, and our programs on the path."""
    shutil.copy(EXAMPLE / "support_kb.json", tmp_path)
    shutil.copytree(EXAMPLE / "scripts", tmp_path / "scripts")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KBSTORE_AUTHOR", "ana@example.com")
    assert run_kbstore(["init", "support_kb.json"]) == 0
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (programs / "health").write_text(f"#!{sys.executable}\nfrom kbstore.health.cli import main\nmain()\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return tmp_path


def shell(text: str, place: Path) -> "subprocess.CompletedProcess[str]":
    """Run command lines, each of which must end well."""
    return subprocess.run(
        ["sh", "-euc", text], cwd=place, env=environment(), capture_output=True, text=True, check=False
    )


def test_our_guide_runs_as_printed(place: Path) -> None:
    """Every command ends with 0, every snippet prints exactly the block that follows it, the configuration is read."""
    told = ours()
    names: dict[str, Any] = {}
    ran = 0
    for number, (language, text) in enumerate(told):
        if language == "toml":
            import tomllib

            parse(tomllib.loads(text), Path("health.toml"), {"DB_PASSWORD": "x", "HOOK_SECRET": "y"})
        elif language == "bash":
            done = shell(text, place)
            assert done.returncode == 0, done.stdout + done.stderr
            ran += 1
        elif language == "python" and "while True" not in text:
            out = io.StringIO()
            with redirect_stdout(out):
                exec(compile(text, f"guia.es.md, snippet {number}", "exec"), names)
            assert told[number + 1][0] == "text"
            assert out.getvalue() == told[number + 1][1], text
            ran += 1
    assert ran == 6


@pytest.mark.parametrize("whose", ["ours", "the user's"])
def test_the_loop_runs_as_a_program(place: Path, whose: str, request: pytest.FixtureRequest) -> None:
    """Without a guard for `__main__`: it checks, sleeps, checks again, and alerts when the store is gone."""
    if whose == "ours":
        told = ours()
    else:
        shared = request.getfixturevalue("shared")
        told = section((shared / "guide.es.md").read_text(encoding="utf-8"), "Health Check Avanzado")
    (loop,) = [text for language, text in told if language == "python" and "while True" in text]
    (place / "loop.py").write_text(LOOP + loop)
    done = subprocess.run(
        [sys.executable, "loop.py"],
        cwd=place,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout == "alert: Sistema unhealthy: unhealthy\n"
    assert done.stderr == "naps: [300, 300]\n"


def test_the_users_guide_runs_as_written(place: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide as the user wrote it, with its own import: both commands, and what it prints of checks."""
    told = section((shared / "guide.es.md").read_text(encoding="utf-8"), "Health Check Avanzado")
    (commands,) = [text for language, text in told if language == "bash"]
    done = shell(commands, place)
    assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.syspath_prepend(str(place))
    (snippet,) = [text for language, text in told if language == "python" and "while True" not in text]

    def printed() -> str:
        out = io.StringIO()
        with redirect_stdout(out):
            exec(compile(snippet, "the user's guide", "exec"), {})
        return out.getvalue()

    assert printed() == "✅ Sistema saludable\n"
    (place / ".kbstore" / "kb.db").write_bytes(b"not a store" * 1000)
    first, *rest = printed().splitlines()
    assert first == "⚠️ Sistema con problemas: unhealthy"
    assert any(line.startswith("  - store.reachable: ") for line in rest)
    assert not any("not_configured" in line or "no S3" in line for line in rest)
    for name in [name for name in sys.modules if name.split(".")[0] == "scripts"]:
        del sys.modules[name]


@pytest.mark.parametrize("script", ["troubleshooting_health_check.py", "troubleshooting_health_check.sh"])
def test_both_scripts_take_options_and_give_exit_codes(place: Path, script: str) -> None:
    """They are `health check`: the same formats, the same exit codes."""
    call = ["python3"] if script.endswith(".py") else []
    run = [*call, f"scripts/{script}"] if call else [f"./scripts/{script}"]

    def ended(*more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([*run, *more], cwd=place, env=environment(), capture_output=True, text=True, check=False)

    done = ended("store.head", "--format", "json")
    assert (done.returncode, json.loads(done.stdout)["overall_status"]) == (0, "healthy"), done.stderr
    assert ended("--bogus").returncode == 3
    (place / ".kbstore" / "kb.db").unlink()
    assert ended("store.head").returncode == 2
