"""Temporary folders: removed in the end, also those of a process that was killed; nobody else's is touched."""

import os
import signal
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from kbstore.backends import create_backend
from kbstore.backends.sqlite.files import read_only
from kbstore.backends.sqlite.files.read_only import ReadOnlyConnection
from kbstore.kit.errors import StoreUnavailable
from kbstore.kit.folders import temporary_folder
from tests.backends.samples import fill
from tests.backends.test_sqlite_beside import killed


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def _killed_inside() -> None:
    """Kill a process while it has a temporary folder with a file in it."""
    child = os.fork()
    if not child:
        with temporary_folder() as folder:
            (folder / "kb.db").write_bytes(b"secret")
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_the_folder_of_a_killed_process_is_removed_by_the_next_that_makes_one(place: Path) -> None:
    """And one that is in use, or has another name, is kept."""
    (place / ".kbstore-copy-of-mine").mkdir()
    with temporary_folder() as live:
        _killed_inside()
        assert len(list(place.iterdir())) == 3
        with temporary_folder() as another:
            assert sorted(place.iterdir()) == sorted([place / ".kbstore-copy-of-mine", live, another])
            assert live.stat().st_mode & 0o777 == 0o700
    assert list(place.iterdir()) == [place / ".kbstore-copy-of-mine"]


def test_the_folder_of_a_killed_process_is_removed_by_gc(place: Path, tmp_path: Path) -> None:
    """It may hold the whole store."""
    _killed_inside()
    with closing(create_backend(tmp_path / "kb.db")) as backend:
        fill(backend, 1)
        backend.collect({}, dry_run=True)
        assert len(list(place.iterdir())) == 1
        backend.collect({})
    assert list(place.iterdir()) == []


def test_a_child_that_ends_lets_the_folder_be(place: Path) -> None:
    """It leaves the same call as its parent, and the folder is the parent's."""
    call = temporary_folder()
    with call as folder:
        child = os.fork()
        if not child:
            call.__exit__(None, None, None)
            os._exit(0)
        os.waitpid(child, 0)
        with temporary_folder():
            assert folder.is_dir()
    assert list(place.iterdir()) == []


def test_a_copy_that_cannot_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container there may be no folder for temporary files at all."""
    path = tmp_path / "kb.db"
    with closing(create_backend(path)) as backend:
        fill(backend, 1)
    killed(path)
    path.with_name("kb.db-shm").unlink()
    monkeypatch.setattr(read_only.store_file, "may_write", lambda _: False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    reader = ReadOnlyConnection.__new__(ReadOnlyConnection)
    with pytest.raises(StoreUnavailable, match="the copy cannot be made") as told:
        reader._recovered(path, path)
    assert "as a user who may write it" in str(told.value.hint)
