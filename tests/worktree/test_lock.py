"""Commands that write one file take turns, and nobody waits for ever."""

import errno
import fcntl
import os
import threading
from pathlib import Path

import pytest

from kbstore.worktree import lock
from kbstore.worktree.json_file import WorkFileError
from kbstore.worktree.lock import locked


def test_one_at_a_time(tmp_path: Path) -> None:
    """Who comes second waits until the first is done, also through a link from elsewhere."""
    file = tmp_path / "kb.json"
    file.touch()
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "link.json"
    link.symlink_to(file)
    order = []
    waiting = threading.Event()

    def second() -> None:
        waiting.set()
        with locked(link):
            order.append("second")

    with locked(file):
        thread = threading.Thread(target=second)
        thread.start()
        waiting.wait()
        thread.join(0.05)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert sorted(os.listdir(tmp_path)) == ["kb.json", "links"]


def test_who_waits_too_long_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that was stopped while it held the lock is not waited for without end."""
    monkeypatch.setattr(lock, "_WAIT_S", 0.02)
    with (
        locked(tmp_path / "kb.json"),
        pytest.raises(WorkFileError, match="another kbstore command is writing"),
        locked(tmp_path / "kb.json"),
    ):
        pass
    with locked(tmp_path / "kb.json"):
        pass


def test_a_file_system_without_locks_is_used_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As some network shares are; and a folder that is not there is for others to name."""

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with locked(tmp_path / "kb.json"), locked(tmp_path / "kb.json"), locked(tmp_path / "nowhere" / "kb.json"):
        pass
