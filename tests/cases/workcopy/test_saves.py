"""Cases of an editor that saves while a command works: the save is in the file, in a version, or kept."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kbstore import KBStoreError, Store
from kbstore.jsondoc.canonical import encode
from kbstore.worktree.json_file import NO_FILE, FileChanged, WorkFile, WorkFileError, replace_file
from kbstore.worktree.project import Config, Project
from kbstore.worktree.working_copy import WorkingCopy
from tests.cases.support import Desk
from tests.cases.workcopy.saving import WORK, at_call, calls_of, found, run_stopped, save
from tests.conftest import LONG

FIRST = {"p": {"a": {"title": "A", "n": 1}, "b": {"title": "B", "n": 2}}}
SAVED = {"p": {"a": {"title": WORK, "n": 1}, "b": {"title": "B", "n": 2}}}
PATCH = [{"op": "replace", "path": "/p/b/n", "value": 3}]
MINE = {"p": {"a": {"title": "A", "n": 9}, "b": {"title": "B", "n": 2}, "c": {"title": "C"}}}


class Begun:
    """A working copy at v2 of two versions, while others have committed a third."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.store = Store.create("memory:", FIRST, author="me")
        self.file = WorkFile(folder / "kb.json")
        self.file.path.write_text(json.dumps(FIRST))
        self.project = Project.create(folder, Config(file="kb.json"))
        self.copy = WorkingCopy(self.store, self.file, self.project)
        self.copy.apply(encode([{"op": "add", "path": "/p/d", "value": {"title": "D"}}]), message="2")
        self.others()

    def others(self) -> None:
        """Commit something that the file does not have."""
        n = self.store.head().seq + 1
        self.store.commit(patch=[{"op": "add", "path": "/p/e", "value": {"n": n}}], author="others")

    def edit(self) -> None:
        """Change the file, in no version yet."""
        self.file.path.write_text(json.dumps(MINE))


def _newest(begun: Begun) -> None:
    begun.copy.take("HEAD")
    begun.edit()


COMMANDS: dict[str, tuple[Callable[[Begun], Any], Callable[[Begun], Any]]] = {
    "commit": (Begun.edit, lambda begun: begun.copy.commit(message="mine")),
    "commit of a place": (Begun.edit, lambda begun: begun.copy.commit(message="mine", places=["/p/c"])),
    "commit of the newest": (_newest, lambda begun: begun.copy.commit(message="mine")),
    "apply": (lambda _: None, lambda begun: begun.copy.apply(encode(PATCH), message="patch")),
    "restore": (lambda _: None, lambda begun: begun.copy.restore("v1")),
    "update": (Begun.edit, lambda begun: begun.copy.update()),
    "mv": (lambda _: None, lambda begun: begun.project.move(begun.file.path, begun.file.path.with_name("new.json"))),
    "checkout": (lambda _: None, lambda begun: begun.copy.take("v1")),
    "checkout into a new file": (lambda begun: begun.file.path.unlink(), lambda begun: begun.copy.take("v1")),
    "import and pull": (lambda _: None, lambda begun: begun.copy.catch_up()),
}
"""What is done before, and the command itself."""


@pytest.mark.parametrize("name", COMMANDS)
def test_a_save_at_any_call_is_found_again(tmp_path: Path, name: str) -> None:
    """Cases 01 and 05: whatever the command is doing just then, and whether or not it then ends well."""
    number = 0
    while True:
        begun = Begun(tmp_path / str(number))
        prepare, act = COMMANDS[name]
        prepare(begun)
        with at_call(number, lambda begun=begun, n=number: save(begun.file.path, SAVED, in_place=n % 2 == 0)) as calls:
            try:
                act(begun)
            except KBStoreError:
                pass
        if len(calls) <= number:
            break
        places = found(begun.file.path, begun.store)
        assert places, f"a save before call {number} is lost: {calls[: number + 9]}"
        left = [path.name for path in begun.file.path.parent.iterdir() if path.suffix == ".tmp"]
        assert left == []
        number += 1 if LONG else 3
    assert number > 12


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A file at v2, which others have gone on from, and what two commands read."""
    desk = Desk(tmp_path / "begun")
    desk.write(FIRST)
    desk.ok("init", "kb.json")
    desk.ok("apply", "-", "-m", "2", stdin=json.dumps([{"op": "add", "path": "/p/d", "value": {}}]))
    shutil.copytree(desk.folder, tmp_path / "other")
    Desk(tmp_path / "other").ok("apply", "-", "-m", "3", stdin=json.dumps([{"op": "add", "path": "/p/e", "value": {}}]))
    (desk.folder / "patch").write_text(json.dumps(PATCH))
    (desk.folder / "lines").write_text(json.dumps({"document": FIRST, "message": "imported"}))
    return desk


@pytest.mark.long
@pytest.mark.parametrize(
    "command",
    [
        "checkout v1",
        "restore v1",
        "apply patch -m x",
        "import lines",
        "pull ../other/.kbstore/kb.db",
        "commit -m x",
        "update",
        "mv kb.json new.json",
        "clone ../other .",
    ],
)
def test_a_save_at_any_call_of_a_process_is_found_again(tmp_path: Path, desk: Desk, command: str) -> None:
    """The same with the whole command line in a process of its own, which strace stops at each call."""
    begun, folder = desk.folder, tmp_path / "work"

    def fresh() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(begun, folder)
        if command.startswith(("commit", "update")):
            (folder / "kb.json").write_text(json.dumps(MINE))
        if command == "update":  # others have gone on
            shutil.copy(tmp_path / "other" / ".kbstore" / "kb.db", folder / ".kbstore" / "kb.db")
        if command.startswith("clone"):  # into an empty folder
            shutil.rmtree(folder)
            folder.mkdir()

    fresh()
    calls = list(calls_of(folder, command.split()))
    assert len(calls) > (30 if command.split()[0] not in ("mv", "clone") else 2)
    calls = calls[:: len(calls) // 100 + 1]
    for at, (name, number) in enumerate(calls):
        fresh()
        shutil.rmtree(tmp_path / "state", ignore_errors=True)
        saved = lambda: save(folder / "kb.json", SAVED, in_place=at % 2 == 0)  # noqa: B023, E731 - called at once
        run_stopped(folder, command.split(), name, number, saved)
        place = folder / ".kbstore" / "kb.db"  # which a clone that was refused did not make
        with Store.open(place) if place.exists() else Store.create("memory:") as store:
            assert found(folder / "kb.json", store), f"{command}: a save at {name} {number} is lost"


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    """A file that was missing is created, and one that is there by then stays."""
    path = tmp_path / "kb.json"
    path.write_text("mine")
    with pytest.raises(FileChanged, match="changed by another program"):
        replace_file(path, b"{}", unchanged=NO_FILE)
    assert [one.read_text() for one in tmp_path.iterdir()] == ["mine"]
    path.unlink()
    replace_file(path, b"{}", unchanged=NO_FILE)
    assert [one.read_text() for one in tmp_path.iterdir()] == ["{}"]


@pytest.mark.parametrize("there", [None, "other"])
def test_only_the_expected_file_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str | None) -> None:
    """With the exchange of two files in one step, and on a system without it."""
    path = tmp_path / "kb.json"
    for swaps in (True, False):
        if not swaps:
            monkeypatch.setattr("kbstore.worktree.swap._call", lambda: None)
        path.write_text("old")
        digest = WorkFile(path).digest()
        replace_file(path, b"new", unchanged=digest)
        assert [one.read_text() for one in tmp_path.iterdir()] == ["new"]
        path.unlink()
        if there is not None:
            path.write_text(there)
        with pytest.raises(FileChanged):
            replace_file(path, b"new", unchanged=digest)
        assert [one.read_text() for one in tmp_path.iterdir()] == ([there] if there else [])
        replace_file(path, b"{}", unchanged=NO_FILE if there is None else WorkFile(path).digest())
        path.unlink()


def test_a_replacement_that_fails_at_its_end_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the old file cannot be removed after the exchange, it is in its place again, and nothing else is left."""
    path = tmp_path / "kb.json"
    path.write_text("old")
    unlink = Path.unlink
    failing = [OSError(5, "Input/output error")]

    def once(self: Path, missing_ok: bool = False) -> None:
        if failing:
            raise failing.pop()
        unlink(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", once)
    with pytest.raises(WorkFileError, match="the old file is unchanged"):
        replace_file(path, b"new", unchanged=WorkFile(path).digest())
    assert [one.read_text() for one in tmp_path.iterdir()] == ["old"]
