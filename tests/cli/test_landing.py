"""Exit codes do not lie about what landed: each command that writes is stopped at each step, by a fault or a kill.

A step is a durable act: an append to the store, a file that is made durable, renamed or removed. Faults come before it
and behind it; a kill behind one step is a kill before the next. Whatever the command said then, the same command again
ends well, and has landed once.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from kbstore.backends.sqlite import SQLiteBackend
from kbstore.store import Store
from tests.cli.support import Shell, environment

PATCH = json.dumps([{"op": "add", "path": "/problems/p2/steps/-", "value": "once"}]).encode()
THEIRS = [{"op": "replace", "path": "/name", "value": "theirs"}]
COMMANDS = {
    "commit": ["commit", "-m", "mine"],
    "commit behind": ["commit", "-m", "mine"],
    "commit of a place behind": ["commit", "-m", "mine", "/problems/p2"],
    "apply": ["apply", "-", "-m", "mine"],
    "apply behind": ["apply", "-", "-m", "mine"],
    "restore": ["restore", "v1"],
    "pull": ["pull", "copy.db"],
    "import": ["import", "lines.jsonl"],
}
MOST = 40
"""No command has more steps than this."""
steps = {"append": SQLiteBackend.append, "fsync": os.fsync, "replace": os.replace, "unlink": os.unlink}


class Stopped:
    """Counts the steps of a command, and stops it at one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, stop: Callable[[str], None], *, behind: bool) -> None:
        self.count = 0
        self.landed = False
        for name, step in steps.items():
            monkeypatch.setattr(*self._place(name), self._counting(name, step, at, stop, behind))

    @staticmethod
    def _place(name: str) -> tuple[Any, str]:
        return (SQLiteBackend, "append") if name == "append" else (os, name)

    def _counting(self, name: str, step: Callable[..., Any], at: int, stop: Callable[[str], None], behind: bool) -> Any:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.count += 1
            mine = self.count == at
            if mine and not behind:
                stop(name)
            result = step(*arguments, **options)
            self.landed = self.landed or name == "append"
            if mine and behind and name != "unlink":  # behind that nothing is left to stop
                stop(name)
            return result

        return counted


def fail(name: str) -> None:
    """As a full disk would have it."""
    if name != "append":  # an append that fails is a matter of the store's own tests
        raise OSError(28, "No space left on device")


def prepared(kb: Shell, name: str) -> dict[str, Any]:
    """Bring everything to where the command can be run."""
    if name.startswith("commit"):
        kb.edit("p2", steps=["once"])
    if "place" in name:
        kb.edit("p1", votes=70)
    if name.endswith("behind"):
        with Store.open(kb.folder / ".kbstore" / "kb.db", author="they") as store:
            store.commit(patch=THEIRS, message="theirs")
    if name == "import":
        document = kb.read()
        document["problems"]["p2"]["steps"].append("once")
        (kb.folder / "lines.jsonl").write_text(json.dumps({"document": document}) + "\n")
    if name == "pull":
        kb.ok("clone", ".kbstore/kb.db", "copy.db")
        with Store.open(kb.folder / "copy.db", author="they") as store:
            store.commit(patch=json.loads(PATCH), message="theirs")
    return {"stdin": PATCH if name.startswith("apply") else b""}


def check(kb: Shell, name: str) -> None:
    """The change is there once, the file holds the newest version, and nothing is left to do."""
    with Store.open(kb.folder / ".kbstore" / "kb.db") as store:
        newest = store.checkout()
        assert store.head().seq == (5 if name.endswith("behind") else 4)
    if name == "restore":
        assert newest["problems"]["p1"]["title"] == "Login fails"
    else:
        assert newest["problems"]["p2"]["steps"].count("once") == 1
    assert newest["name"] == ("theirs" if name.endswith("behind") else "support")
    if "place" in name:
        assert newest["problems"]["p1"]["votes"] == 3
        newest["problems"]["p1"]["votes"] = 70
        assert kb.ok("status").lines[1:] == ["uncommitted: 1 modified", "  ~ p1"]
    else:
        assert kb.ok("status").lines[1:] == ["nothing changed"]
    assert kb.read() == newest
    assert [path.name for path in kb.folder.glob(".*.tmp")] == []


def rounds(kb: Shell) -> Iterator[int]:
    """The numbers of steps, each time with the folder as it was."""
    shutil.copytree(kb.folder, kb.folder.parent / "kept")
    for number in range(1, MOST + 1):
        renew(kb)
        yield number
    pytest.fail("MOST is too small for all steps")


def renew(kb: Shell) -> None:
    """Bring the folder back to what it was, and let nothing be remembered of a command."""
    for path in kb.folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(kb.folder.parent / "kept", kb.folder, dirs_exist_ok=True)
    shutil.rmtree(kb.folder.parent / "state", ignore_errors=True)


@pytest.mark.parametrize("behind", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_fault_at_each_step(kb: Shell, monkeypatch: pytest.MonkeyPatch, name: str, behind: bool) -> None:
    """Exit 3 only if nothing landed; 13 or 0 if it did, by name; the same command again lands nothing more."""
    options = prepared(kb, name)
    codes = []
    for at in rounds(kb):
        with monkeypatch.context() as patched:
            stopped = Stopped(patched, at, fail, behind=behind)
            result = kb.run(*COMMANDS[name], **options)
        codes.append(result.code)
        assert result.code in ((0, 13) if stopped.landed else (0, 3)), (at, result)
        assert "Traceback" not in result.err
        if result.code == 13:
            assert "is in the store" in result.err or "imported" in result.err, result
            assert "run the same command again" in result.err, result
        if result.code:
            kb.ok(*COMMANDS[name], **options)
        check(kb, name)
        if stopped.count < at:
            break
    assert 13 in codes


@pytest.mark.parametrize("behind", [False, True], ids=["before", "after"])
def test_a_checkout_that_fails_at_a_step(kb: Shell, monkeypatch: pytest.MonkeyPatch, behind: bool) -> None:
    """Exit 3 only if the file is as it was; a version that it holds is known to be there, whatever failed behind it."""
    before = kb.file.read_bytes()
    codes = []
    for at in rounds(kb):
        with monkeypatch.context() as patched:
            stopped = Stopped(patched, at, fail, behind=behind)
            result = kb.run("checkout", "v1")
        codes.append(result.code)
        written = kb.file.read_bytes() != before
        assert written == (result.code == 0 or "kb.json was written" in result.err), (at, result)
        lines = kb.ok("status").lines
        assert lines[0].startswith(f"kb.json: at {'v1' if written else 'v3'}_")
        assert lines[-1] == "nothing changed"
        if stopped.count < at:
            break
    assert 3 in codes


@pytest.mark.parametrize("name", COMMANDS)
def test_a_kill_at_each_step(kb: Shell, name: str) -> None:
    """The same command after it ends well, has landed once, and no file is half or forgotten."""
    options = prepared(kb, name)
    for at in rounds(kb):
        killed = in_a_child(partial(run_killed, kb, at, name, options))
        if not killed:
            break
        kb.ok(*COMMANDS[name], **options)
        for leftover in kb.folder.glob("**/.*.tmp"):
            leftover.unlink()  # of the process that was killed
        check(kb, name)


def run_killed(kb: Shell, at: int, name: str, options: dict[str, Any]) -> None:
    """Run a command that is killed at a step."""
    with pytest.MonkeyPatch.context() as patched:
        Stopped(patched, at, lambda _: os.kill(os.getpid(), signal.SIGKILL), behind=False)
        kb.run(*COMMANDS[name], **options)


def in_a_child(work: Callable[[], None]) -> bool:
    """Do it in a process that may be killed, and return whether it was."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


ENDINGS = {
    "log": 3,
    "status": 3,
    "diff v1 v2 --json": 3,
    "checkout v1 --json": 13,
    "checkout HEAD --json": 13,
    "tag t --json": 13,
    "tag -d t --json": 13,
    "branch b --json": 13,
    "push copy.db": 13,
    "pull copy.db": 3,
    "clone .kbstore other.db": 13,
    "backup backup.db": 13,
}
"""How commands end whose output cannot be written: 3 is for those that changed nothing."""


def test_an_output_that_cannot_be_written(kb: Shell) -> None:
    """The version is there, so it is not exit 3; the same command again prints its name."""
    with open("/dev/full", "wb") as full:
        done = kb.process("apply", "patch.json", "-m", "mine", stdout=full, stderr=None, capture_output=False)
        assert done.returncode == 3  # there is no such patch
        (kb.folder / "patch.json").write_bytes(PATCH)
        for _ in range(2):
            done = kb.process("apply", "patch.json", "-m", "mine", stdout=full, stderr=None, capture_output=False)
            assert done.returncode == 13
        kb.ok("clone", ".kbstore", "copy.db")
        for command, code in ENDINGS.items():
            done = kb.process(*command.split(), stdout=full, stderr=None, capture_output=False)
            assert (command, done.returncode) == (command, code)
    assert kb.ok("apply", "patch.json", "-m", "mine").out.startswith("v4_")
    assert kb.versions() == 4


def test_a_file_that_somebody_edits_meanwhile_is_left_alone(kb: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 0 with a warning: the version landed, and what was typed stays uncommitted, on the file's old base."""
    append = SQLiteBackend.append

    def slow(self: SQLiteBackend, *arguments: Any, **options: Any) -> None:
        append(self, *arguments, **options)
        kb.edit("p1", votes=77)

    with monkeypatch.context() as patched:
        patched.setattr(SQLiteBackend, "append", slow)
        result = kb.ok("apply", "-", "-m", "mine", stdin=PATCH)
    assert result.err == "warning: kb.json has changes that are in no version, and was left as it is\n"
    assert result.out.startswith("v4_")
    assert kb.ok("status").lines[1:] == [
        f"1 newer version; the newest is {result.out.split()[0]}; kbstore update takes it in",
        "uncommitted: 1 modified",
        "  ~ p1",
    ]
    kb.ok("commit", "-m", "typed")
    assert kb.read()["problems"]["p2"]["steps"][-1] == "once"
    assert kb.read()["problems"]["p1"]["votes"] == 77


WAITING = """
from kbstore.backends.sqlite import SQLiteBackend
append = SQLiteBackend.append
def waiting(*arguments, **options):
    print("waiting", flush=True)
    input()
    append(*arguments, **options)
SQLiteBackend.append = waiting
from kbstore.cli import main
main()
"""


def test_two_that_run_the_same_command_at_once_mean_two(kb: Shell) -> None:
    """An id that a running process left behind is its own; the id of one that was killed is taken up, once."""
    (kb.folder / "patch.json").write_bytes(PATCH)
    command = ["apply", "patch.json", "-m", "mine"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    for stopped in (False, True):
        before = kb.versions()
        program = [sys.executable, "-c", WAITING, *command, "--file", "none.json"]
        with subprocess.Popen(program, cwd=kb.folder, env=environment(), **pipes) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"waiting\n"
            assert "this settles it" not in kb.ok(*command, "--file", "none.json").err
            if stopped:
                other.kill()
            _, err = other.communicate(b"\n")
        (kb.folder / "none.json").unlink()
        assert other.returncode == (-signal.SIGKILL if stopped else 11), err
        assert kb.versions() == before + 1
    assert "this settles it" in kb.ok(*command, "--file", "none.json").err
    assert "this settles it" not in kb.run(*command, "--file", "none.json").err
