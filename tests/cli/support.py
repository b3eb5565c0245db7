"""Runs command lines: in this process, as nearly all tests do, or in one of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import kbstore
from kbstore.cli.main import run
from tests.commands import run_here

PROGRAM = [sys.executable, "-c", "from kbstore.cli import main; main()"]
DOCUMENT = {
    "name": "support",
    "problems": {
        "p1": {"title": "Login fails", "votes": 3, "steps": [{"id": "s1", "text": "Ask for the browser."}]},
        "p2": {"title": "Export stops", "votes": 5, "steps": [{"id": "s1", "text": "Ask for the size."}]},
        "p3": {"title": "No mail", "votes": 0, "steps": []},
    },
}


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it said."""

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The JSON objects on stdout, one a line."""
        return [json.loads(line) for line in self.lines]

    @property
    def object(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        (only,) = self.objects
        return only


class Shell:
    """A folder in which commands run."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.file = folder / "kb.json"
        self._monkeypatch = monkeypatch
        monkeypatch.chdir(folder)

    def run(
        self, *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None, terminal: bool = False
    ) -> Result:
        """Run one command line here, in this process, and as if at a terminal where that is wanted."""
        return Result(*run_here(run, arguments, self.folder, stdin=stdin, env=env, terminal=terminal))

    def ok(self, *arguments: str, **options: Any) -> Result:
        """Run one that ends well."""
        result = self.run(*arguments, **options)
        assert result.code == 0, (arguments, result)
        return result

    def fails(self, code: int, *arguments: str, **options: Any) -> Result:
        """Run one that ends with this code, saying so in one `error:` line, and at most one hint, on stderr."""
        result = self.run(*arguments, **options)
        assert result.code == code, (arguments, result)
        told = result.err.splitlines()
        assert [line for line in told if line.startswith("error: ")] == told[:1], (arguments, result)
        assert sum(line.startswith("hint: ") for line in told) <= 1, (arguments, result)
        assert "Traceback" not in result.err + result.out
        return result

    def process(self, *arguments: str, env: Mapping[str, str] | None = None, **options: Any) -> Any:
        """Run one in a process of its own."""
        options = {"capture_output": True, "cwd": self.folder, "check": False} | options
        return subprocess.run([*PROGRAM, *arguments], env=environment(env), timeout=60, **options)

    def write(self, document: Any, **options: Any) -> bytes:
        """Put a document into the file, as an editor would."""
        text = json.dumps(document, **({"indent": 2, "ensure_ascii": False} | options)) + "\n"
        self.file.write_text(text, encoding="utf-8")
        return text.encode()

    def read(self) -> Any:
        """What the file holds."""
        return json.loads(self.file.read_bytes())

    def edit(self, entry: str, **members: Any) -> None:
        """Change members of an entry in the file."""
        document = self.read()
        document["problems"].setdefault(entry, {}).update(members)
        self.write(document)

    def versions(self) -> int:
        """How many versions there are."""
        return len(self.ok("log", "--json").objects)


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a process of its own needs to find this kbstore."""
    return os.environ | {"PYTHONPATH": str(Path(kbstore.__file__).parent.parent)} | dict(more or {})
