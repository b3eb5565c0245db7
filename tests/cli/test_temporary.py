"""Temporary files: those of a process that was killed are removed, and nothing else is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kbstore.worktree import json_file, swap
from kbstore.worktree.json_file import WorkFile, replace_file
from kbstore.worktree.temporary import open_temporary, remove_left
from tests.cli.support import Shell, environment

KILLED = """
import os, sys
from pathlib import Path
from kbstore.worktree import json_file as workfile
os.fsync = lambda descriptor: os._exit(9)
workfile.replace_file(Path(sys.argv[1]), b"half")
"""


def left_by_a_kill(path: Path) -> Path:
    """Write a file in a process that is gone before it is done; gives what it left."""
    before = set(path.parent.iterdir())
    subprocess.run([sys.executable, "-c", KILLED, str(path)], env=environment(), check=False)
    (left,) = set(path.parent.iterdir()) - before
    return left


def test_the_next_writer_removes_what_a_kill_left(tmp_path: Path) -> None:
    """Of the same file alone, and not what somebody writes just now."""
    path = tmp_path / "kb.json"
    left_by_a_kill(path)
    others = [".other.json.1.0.tmp", ".kb.json.x.0.tmp", ".kb.json.1.tmp", "kb.json.1.0.tmp", ".kb.json.1.0.swap.tmp"]
    for name in others:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".kb.json.2.0.tmp").symlink_to(tmp_path / others[0])
    live, descriptor = open_temporary(path, 0o600)
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == sorted([*others, ".kb.json.2.0.tmp", live.name, "kb.json"])
    os.close(descriptor)
    replace_file(path, b"newer")
    assert not live.exists()


def test_what_was_exchanged_is_not_taken_for_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the exchange and the look at what came out that may be an editor's file: nobody removes it."""
    file = WorkFile(tmp_path / "kb.json")
    file.path.write_text('{"a": 1}')
    digest = file.digest()
    rename = swap.rename

    def exchanged(source: Path, target: Path, flag: int) -> bool:
        file.path.write_text('{"saved": "by an editor"}')
        done = rename(source, target, flag)
        remove_left(tmp_path)
        return done

    monkeypatch.setattr(swap, "rename", exchanged)
    with pytest.raises(json_file.FileChanged):
        file.write({"a": 2}, unchanged=digest)
    monkeypatch.undo()
    assert "by an editor" in "".join(path.read_text() for path in tmp_path.iterdir())


def test_gc_removes_what_kills_left(kb: Shell) -> None:
    """In the project's folder all of them, beside the file its own."""
    folder = kb.folder / ".kbstore"
    left = [left_by_a_kill(folder / "newest.json"), left_by_a_kill(kb.file)]
    other = kb.folder / ".notes.json.1.0.tmp"
    other.write_bytes(b"")
    kb.ok("gc", "--dry-run")
    assert all(path.exists() for path in left)
    kb.ok("gc")
    assert not any(path.exists() for path in left)
    assert other.exists()


@pytest.mark.parametrize("command", ["gc", "init"])
def test_a_save_that_a_killed_exchange_has_taken_is_kept(kb: Shell, command: str) -> None:
    """It may stand under a temporary name if a command was killed right there; what the file holds already goes."""
    (kb.folder / ".kb.json.77.0.swap.tmp").write_bytes(b"saved by an editor")
    (kb.folder / ".kb.json.77.1.swap.tmp").write_bytes(kb.file.read_bytes())
    (kb.folder / ".other.json.77.1.swap.tmp").write_bytes(b"of somebody else")
    if command == "init":
        (kb.folder / ".kbstore" / "config.json").unlink()
        kb.ok("init", "kb.json")
    else:
        kb.ok("gc")
    assert sorted(path.name for path in kb.folder.glob("*.tmp")) == [".other.json.77.1.swap.tmp"]
    assert len(kb.ok("lost").lines) == 1
    assert kb.ok("lost", "1").out == "saved by an editor"
