"""Folders with a knowledge base, and the command line as a person runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kbstore
from kbstore.cli.main import run as kbstore_run
from kbstore.health.cli.main import run as health_run
from kbstore.migrator.cli.main import run as migrator_run
from tests.commands import run_here

PROGRAM = [sys.executable, "-c", "from kbstore.cli import main; main()"]


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Desk:
    """A folder in which one person works.

    Args:
        folder: The folder; made where it is missing.
        author: Who works there.
    """

    def __init__(self, folder: Path, author: str = "tester@example.com") -> None:
        self.folder = folder
        self.file = folder / "kb.json"
        self.author = author
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, *arguments: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Ended:
        """Run one command line here, in this process, which saves half a second."""
        return _ended(
            *_decoded(run_here(kbstore_run, arguments, self.folder, stdin=stdin.encode(), env=self._variables(env)))
        )

    def apart(self, *arguments: str, env: Mapping[str, str] | None = None) -> Ended:
        """Run one command line in a process of its own, for what only that can show."""
        found = subprocess.run(
            [*PROGRAM, *arguments],
            text=True,
            capture_output=True,
            cwd=self.folder,
            timeout=60,
            check=False,
            env=os.environ | self._variables(env) | {"PYTHONPATH": str(Path(kbstore.__file__).parent.parent)},
        )
        return _ended(found.returncode, found.stdout, found.stderr)

    def health(self, *arguments: str, **env: str) -> Ended:
        """Run one command line of health."""
        return _ended(*_decoded(run_here(health_run, arguments, self.folder, env=self._variables(env))))

    def migrator(self, *arguments: str) -> Ended:
        """Run one command line of migrator."""
        return _ended(*_decoded(run_here(migrator_run, arguments, self.folder, env=self._variables({}))))

    def _variables(self, more: Mapping[str, str] | None) -> dict[str, str]:
        home = self.folder.parent / "home"
        home.mkdir(exist_ok=True)
        own = {"KBSTORE_AUTHOR": self.author, "HOME": str(home), "XDG_STATE_HOME": str(home / "state")}
        return own | dict(more or {})

    def ok(self, *arguments: str, stdin: str = "") -> Ended:
        """Run one that ends well."""
        ended = self.run(*arguments, stdin=stdin)
        assert ended.code == 0, (arguments, ended)
        return ended

    def write(self, document: Any) -> None:
        """Put a document into the file, as an editor would."""
        self.file.write_text(json.dumps(document) + "\n", encoding="utf-8")

    def read(self) -> Any:
        """Return the document that the file holds."""
        return json.loads(self.file.read_bytes())

    def newest(self) -> Any:
        """Return the document of the newest version."""
        return json.loads(self.ok("get", "").out)


def two_desks(folder: Path, document: Any) -> tuple[Desk, Desk]:
    """Two folders with one store, Ann's and Bob's, both with this document as the first version."""
    ann, bob = Desk(folder / "a", "ann"), Desk(folder / "b", "bob")
    for desk in (ann, bob):
        desk.write(document)
    ann.ok("init", "kb.json")
    bob.ok("--store", str(ann.folder / ".kbstore" / "kb.db"), "init", "kb.json")
    return ann, bob


def _decoded(found: tuple[int, bytes, str]) -> tuple[int, str, str]:
    code, out, err = found
    return code, out.decode(), err


def _ended(code: int, out: str, err: str) -> Ended:
    assert "Traceback" not in err, err
    return Ended(code, out, err)
