"""Cases of the file that people edit: what is committed of it, what lands once, what a recipe does elsewhere."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import kbstore

PROGRAM = [sys.executable, "-c", "from kbstore.cli import main; main()"]


class Desk:
    """A folder with `kb.json`, in which the real command line runs in processes of its own."""

    def __init__(self, folder: Path, state: Path) -> None:
        self.folder = folder
        self.folder.mkdir(exist_ok=True)
        self.file = folder / "kb.json"
        self.environment = os.environ | {
            "PYTHONPATH": str(Path(kbstore.__file__).parent.parent),
            "KBSTORE_AUTHOR": "tester@example.com",
            "XDG_STATE_HOME": str(state),
        }

    def run(self, *arguments: str, stdin: str = "", code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run one command; it ends with this code, whatever that is if it is None."""
        done = subprocess.run(
            [*PROGRAM, *arguments],
            cwd=self.folder,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert code is None or done.returncode == code, (arguments, done)
        assert "Traceback" not in done.stderr
        return done

    def start(self, document: Any, *arguments: str) -> None:
        """Begin a history of this document."""
        self.write(document)
        self.run(*arguments, "init", "kb.json")

    def write(self, document: Any) -> None:
        """Put a document into the file, as an editor would."""
        self.file.write_text(json.dumps(document) + "\n", encoding="utf-8")

    def read(self) -> Any:
        """Return what the file holds."""
        return json.loads(self.file.read_bytes())

    def get(self, pointer: str = "") -> Any:
        """Return a value of the newest version."""
        return json.loads(self.run("get", pointer).stdout)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A folder with nothing in it."""
    return Desk(tmp_path / "a", tmp_path / "state")


def two(desk: Desk, base: Any, ann: Any, bob: Any) -> Desk:
    """Let Ann commit, and Bob edit his file of the same store, which he took before; return Bob's folder."""
    desk.start(base)
    other = Desk(desk.folder.parent / "b", Path(desk.environment["XDG_STATE_HOME"]))
    other.start(base, "--store", "../a/.kbstore/kb.db")
    desk.write(ann)
    other.write(bob)
    desk.run("commit", "-m", "ann")
    return other


def test_a_conflict_is_an_object_for_programs(desk: Desk) -> None:
    """Case 47: with --json a conflict is one JSON object on stdout, with all three values."""
    bob = two(desk, {"p": {"x": {"t": "X"}}}, {"p": {"x": {"t": "XA"}}}, {"p": {"x": {"t": "XB"}}})
    done = bob.run("commit", "-m", "again", "--json", code=11)
    assert json.loads(done.stdout) == {
        "schema_version": 1,
        "pointer": "/p/x/t",
        "kind": "both-modified",
        "base": "X",
        "ours": "XB",
        "theirs": "XA",
    }
    assert done.stderr.startswith("error: ")
