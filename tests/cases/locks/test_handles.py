"""Several handles of one process: nothing that the process does beside a handle takes the handle's lock away."""

import shutil
from pathlib import Path

import pytest

from tests.cases.locks.support import acknowledged, assert_kept, made, run, words_of

ACTS = [
    "a second handle", "a read-only handle", "a symbolic link", "a refusal", "another SQLite connection", "kbstore log",
    "kbstore verify", "kbstore gc", "kbstore export", "kbstore export --sqlite", "kbstore clone", "kbstore backup",
    "health check", "checks in this process",
]  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store in a folder of its own."""
    (tmp_path / "store").mkdir()
    return made(tmp_path / "store" / "kb.db")


def _tidy(path: Path) -> None:
    """Remove what a program wrote beside the store."""
    for other in path.parent.iterdir():
        if other.name.startswith(f"{path.name}."):
            shutil.rmtree(other) if other.is_dir() else other.unlink()


@pytest.mark.parametrize("act", ACTS)
def test_nothing_beside_a_handle_takes_its_lock(store: Path, act: str) -> None:
    """Whatever is opened and closed beside a handle, its process stays locked in and the write-ahead log stays."""
    said = run("beside", "handle", store, act)
    assert words_of(said, "locked") == ["1"]
    assert words_of(said, "log") == ["1"]
    assert len(acknowledged(said)) == 8
    _tidy(store)
    assert_kept(store, acknowledged(said))


def test_one_of_several_handles_is_closed(store: Path) -> None:
    """A process is locked in until its last handle is closed, and not longer."""
    said = run("beside", "twice", store)
    assert words_of(said, "locked") == ["1", "1", "0"]
    assert len(acknowledged(said)) == 13
    assert_kept(store, acknowledged(said))


def test_checks_take_no_lock_of_a_database(tmp_path: Path) -> None:
    """Checks inside a process that writes to a database of migrations leave its transaction alone."""
    said = run("beside", "database", tmp_path / "app.db")
    assert int(words_of(said, "checked")[0]) > 0
    assert words_of(said, "locked") == ["1"]
