"""A file is replaced whole or not at all, and keeps what its owner gave it."""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kbstore.errors import InvalidJSON
from kbstore.worktree import json_file
from kbstore.worktree.json_file import FileChanged, WorkFile, WorkFileError


@pytest.fixture
def file(tmp_path: Path) -> WorkFile:
    """A knowledge base with tabs, in an order of its own."""
    path = tmp_path / "kb.json"
    path.write_text('{\n\t"title": "x",\n\t"a": 1\n}')
    return WorkFile(path)


def test_style_and_order_stay(file: WorkFile) -> None:
    """Tabs, the order of members and the missing final newline survive a change."""
    file.write({"a": 2, "title": "x", "new": []})
    assert file.path.read_text() == '{\n\t"title": "x",\n\t"a": 2,\n\t"new": []\n}'


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755])
def test_the_mode_stays(file: WorkFile, mode: int) -> None:
    """The permissions of a file are those that it had."""
    file.path.chmod(mode)
    file.write({"a": 2})
    assert stat.S_IMODE(file.path.stat().st_mode) == mode


def test_a_new_file_has_the_mode_of_new_files(tmp_path: Path) -> None:
    """A new file gets the permissions that the user's mask gives, a style, and no company."""
    target = WorkFile(tmp_path / "new.json")
    other = tmp_path / "other"
    other.touch()
    target.write({"a": 1})
    assert target.path.stat().st_mode == other.stat().st_mode
    assert target.path.read_bytes() == b'{\n  "a": 1\n}\n'
    assert sorted(os.listdir(tmp_path)) == ["new.json", "other"]


def test_a_symbolic_link_stays_a_link(tmp_path: Path, file: WorkFile) -> None:
    """Writing through a link replaces what it points to, in its own folder."""
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "link.json"
    link.symlink_to("../kb.json")
    WorkFile(link).write({"a": 3})
    assert link.is_symlink()
    assert file.read() == {"a": 3}
    assert os.listdir(tmp_path / "links") == ["link.json"]


def test_a_link_that_points_nowhere_makes_its_target(tmp_path: Path) -> None:
    """A dangling link is followed: its target is made."""
    link = tmp_path / "link.json"
    link.symlink_to("target.json")
    assert not WorkFile(link).exists()
    WorkFile(link).write([1])
    assert link.is_symlink()
    assert (tmp_path / "target.json").read_bytes() == b"[\n  1\n]\n"


def test_errors_name_file_and_line(file: WorkFile) -> None:
    """A file that is not JSON is refused with its path, line and column."""
    file.path.write_text('{\n  "a": 1,\n  "a": 2\n}\n')
    with pytest.raises(InvalidJSON) as caught:
        file.read()
    assert str(file.path) in str(caught.value)
    assert caught.value.line == 3


def test_a_missing_file_is_told_as_such(tmp_path: Path) -> None:
    """A file that is not there is an error of the file, and has no digest."""
    missing = WorkFile(tmp_path / "none.json")
    with pytest.raises(WorkFileError, match=r"there is no file .*none\.json"):
        missing.read()
    assert missing.digest() is None


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """What is neither file nor folder is refused, where reading it could last for ever."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(WorkFileError, match="is a pipe or a device"):
            WorkFile(path).load()


@pytest.mark.parametrize("data", [b"", b" \n\t"])
def test_an_empty_file_is_told_as_such(tmp_path: Path, data: bytes) -> None:
    """With what an empty knowledge base looks like."""
    (tmp_path / "kb.json").write_bytes(data)
    with pytest.raises(InvalidJSON, match=r"kb\.json is empty") as caught:
        WorkFile(tmp_path / "kb.json").load()
    assert caught.value.line == 1
    assert "{}" in str(caught.value.hint)


def test_a_file_that_is_no_json_is_replaced_in_the_usual_style(file: WorkFile) -> None:
    """A corrupt file can be written over: nothing of its style is guessed."""
    file.path.write_text("{broken")
    file.write({"a": 1})
    assert file.path.read_bytes() == b'{\n  "a": 1\n}\n'


def test_a_file_that_changed_meanwhile_is_left_alone(file: WorkFile) -> None:
    """What an editor saved since the file was read is not written over."""
    content = file.load()
    file.path.write_text('{"mine": true}')
    with pytest.raises(FileChanged):
        file.write({"a": 1}, like=content, unchanged=content.digest)
    assert file.read() == {"mine": True}


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    """A path that is a folder is refused."""
    with pytest.raises(WorkFileError):
        json_file.replace_file(tmp_path, b"x")


def test_a_write_protected_file_is_left_alone(file: WorkFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without write permission is refused, though its folder would allow a replacement."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    before = file.path.read_bytes()
    with pytest.raises(WorkFileError, match="write-protected"):
        file.write({"a": 2})
    assert file.path.read_bytes() == before


@pytest.mark.parametrize("call", ["open", "write", "fsync", "fchmod"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_failing_disk_leaves_the_old_file(
    file: WorkFile, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    """Whichever call fails, the file is as it was, nothing else is left, and the error names the file."""

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(code, os.strerror(code))

    before = file.path.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(json_file.os, call, fail)
        with pytest.raises(WorkFileError, match=r"kb\.json"):
            json_file.replace_file(file.path, b"new")
    assert file.path.read_bytes() == before
    assert os.listdir(file.path.parent) == ["kb.json"]


def test_the_content_is_durable_before_it_has_the_name(file: WorkFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order is: content synced, renamed, folder synced. Any other loses the file in a power cut."""
    calls: list[str] = []

    def watched(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(json_file.os, "fsync", watched("fsync", os.fsync))
    monkeypatch.setattr(Path, "replace", watched("replace", Path.replace))
    file.write({"a": 2})
    assert calls == ["fsync", "replace", "fsync"]


def test_a_killed_writer_leaves_the_old_file_or_the_new(tmp_path: Path) -> None:
    """After SIGKILL between any two steps the file is whole: as it was, or as it was to be."""
    path = tmp_path / "kb.json"
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from kbstore.worktree import json_file as workfile\n"
        "step = int(sys.argv[2])\n"
        "def counted(function):\n"
        "    def call(*args, **kwargs):\n"
        "        global step\n"
        "        step -= 1\n"
        "        if step < 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return function(*args, **kwargs)\n"
        "    return call\n"
        "for name in ('write', 'fsync', 'close', 'fchmod'):\n"
        "    setattr(os, name, counted(getattr(os, name)))\n"
        "Path.replace = counted(Path.replace)\n"
        "workfile.replace_file(Path(sys.argv[1]), b'new')\n"
    )
    seen = set()
    for step in range(9):
        path.write_bytes(b"old")
        done = subprocess.run([sys.executable, "-c", program, str(path), str(step)], check=False)
        seen.add((done.returncode == 0, path.read_bytes()))
        assert path.read_bytes() in (b"old", b"new")
    assert {(False, b"old"), (False, b"new"), (True, b"new")} == seen
