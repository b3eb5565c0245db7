"""A folder to run commands in: an empty one, and one with three versions of a knowledge base."""

from pathlib import Path

import pytest

from tests.cli.support import DOCUMENT, Shell


@pytest.fixture(autouse=True)
def _compiled_once(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes share what Python compiles, and leave none of it in the checkout."""
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.getbasetemp() / "compiled"))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A folder with nothing in it."""
    monkeypatch.setenv("KBSTORE_AUTHOR", "Jana <jana@example.com>")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = tmp_path / "work"
    folder.mkdir()
    return Shell(folder, monkeypatch)


@pytest.fixture
def kb(shell: Shell) -> Shell:
    """v1: three entries. v2: p1 has a new title. v3: p4 is there, p3 is not."""
    shell.write(DOCUMENT)
    shell.ok("init", "kb.json")
    shell.edit("p1", title="Login fails on Mondays")
    shell.ok("commit", "-m", "A better title", "--author", "dev@example.com", "--tag", "api", "--tag", "title")
    document = shell.read()
    del document["problems"]["p3"]
    document["problems"]["p4"] = {"title": "Slow search", "votes": 1, "steps": []}
    shell.write(document)
    shell.ok("commit", "-m", "p4 replaces p3\n\nNobody asked for p3.")
    return shell
