"""Cases of what is overwritten by force, of folders that share one store, and of commands that are repeated."""

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from kbstore import Store
from kbstore.worktree.json_file import WorkFile, WorkFileError
from kbstore.worktree.lost import LostFiles
from kbstore.worktree.project import Config, Project
from kbstore.worktree.working_copy import WorkingCopy
from tests.cases.support import Desk
from tests.cases.workcopy.saving import WORK, at_call, found, save
from tests.conftest import LONG

FIRST = {"p": {"a": {"n": 1}, "b": {"n": 2}}}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A folder with one version."""
    desk = Desk(tmp_path / "a")
    desk.write(FIRST)
    desk.ok("init", "kb.json")
    return desk


def test_what_was_overwritten_is_brought_back_with_its_base(desk: Desk) -> None:
    """It is listed and printed; after --restore its commit takes back nothing that others committed."""
    patch = json.dumps([{"op": "add", "path": "/p/c", "value": {"n": 3}}])
    desk.ok("apply", "-", "-m", "c", stdin=patch)
    mine = {"p": {"a": {"n": 1}, "b": {"n": 22}, "c": {"n": 3}}}
    desk.write(mine)
    ended = desk.ok("checkout", "v1", "--force")
    assert "a copy of what kb.json held is kept: kbstore lost" in ended.err
    (line,) = desk.ok("lost").lines
    assert line.startswith("1  ")
    assert "kb.json" in line
    assert "taken from v2_" in line
    assert json.loads(desk.ok("lost", "1").out) == mine
    (copy,) = LostFiles(desk.folder).copies()
    assert os.stat(copy.path).st_mode & 0o777 == 0o600
    desk.ok("lost", "--restore")
    assert desk.read() == mine
    desk.ok("commit", "-m", "mine")
    assert desk.newest() == mine
    assert "1 overwritten file is kept" in desk.ok("gc").out


def test_what_is_in_a_version_is_not_kept(desk: Desk) -> None:
    """Force where it was not needed leaves nothing behind."""
    desk.ok("checkout", "v1", "--force")
    assert desk.ok("lost").out == ""
    assert desk.run("lost", "1").code == 3


@pytest.mark.parametrize("way", ["checkout", "lost"])
@pytest.mark.parametrize("gone", ["backup", "store", "patch"])
def test_what_no_version_here_has_any_more_is_kept(desk: Desk, gone: str, way: str) -> None:
    """Nothing was changed in the file, but the store was exchanged, lost or damaged since: then the file is all."""
    desk.write({"early": 1})
    desk.ok("checkout", "v1", "--force")  # which makes a copy to bring back
    desk.ok("backup", "b.db")
    mine = {**FIRST, "late": 1}
    desk.write(mine)
    desk.ok("commit", "-m", "late")
    assert desk.ok("checkout", "HEAD", "--force").code == 0  # of this store, so nothing is kept
    store = desk.folder / ".kbstore" / "kb.db"
    if gone == "patch":
        with closing(sqlite3.connect(store)) as connection:
            connection.executescript("DROP TRIGGER bodies_update; UPDATE bodies SET body=x'00' WHERE id=2")
        desk.ok("checkout", "v1", "--force") if way == "checkout" else desk.ok("lost", "--restore")
    else:
        store.unlink()
        if gone == "backup":
            desk.ok("restore-backup", "b.db")
        if way == "lost":
            desk.ok("lost", "--restore")
        else:
            desk.run("checkout", "HEAD", "--force")
    if gone == "store" and way == "checkout":
        assert desk.read() == mine  # there was nothing to write
    else:
        assert json.loads(desk.ok("lost", "1").out) == mine


@pytest.mark.parametrize("command", [("status",), ("commit", "-m", "more")])
def test_another_base_is_named(desk: Desk, command: tuple[str, ...]) -> None:
    """If the file's version is gone, and another one has its content, that is said: the next commit builds on it."""
    desk.ok("backup", "b.db")
    for number in (5, 1):
        patch = json.dumps([{"op": "replace", "path": "/p/a/n", "value": number}])
        desk.ok("apply", "-", "-m", "n", stdin=patch)
    desk.ok("restore-backup", "b.db")
    told = desk.ok(*command).err
    assert "kb.json was taken from v3_" in told
    assert "which this store does not contain; v1_" in told
    assert "which this store does not contain" not in desk.ok("status").err


def test_old_copies_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest 20 stay, of a size together, and the newest one whatever its size."""
    lost = LostFiles(tmp_path)
    for number in range(23):
        lost.keep(tmp_path / "kb.json", b"%d" % number, None)
    assert [kept.path.read_bytes() for kept in lost.copies()] == [b"%d" % n for n in range(22, 2, -1)]
    monkeypatch.setattr("kbstore.worktree.lost._BYTES", 5)
    lost.keep(tmp_path / "kb.json", b"large copy", None)
    assert [kept.path.read_bytes() for kept in lost.copies()] == [b"large copy"]
    assert len(list((tmp_path / ".kbstore" / "lost").iterdir())) == 2


def test_a_copy_is_put_back_only_inside_of_the_folder(tmp_path: Path) -> None:
    """A folder that comes from somebody else writes nowhere but in itself."""
    inner = tmp_path / "project"
    inner.mkdir()
    lost = LostFiles(inner)
    for place in (tmp_path / "outside", tmp_path / "project2", inner / "inside"):
        lost.keep(place, b"{}", None)
    inside, *others = lost.copies()
    for kept in others:
        with pytest.raises(WorkFileError, match="outside of"):
            lost.restore(kept, None, lambda state, digest: False)
    lost.restore(inside, None, lambda state, digest: False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["project"]
    assert (inner / "inside").read_bytes() == b"{}"


@pytest.mark.parametrize("call", ["take", "restore"])
def test_a_save_during_a_forced_overwrite_is_kept(tmp_path: Path, call: str) -> None:
    """At any call, as for commands that are not forced."""
    number = 0
    while True:
        folder = tmp_path / str(number)
        folder.mkdir()
        store, file = Store.create("memory:", FIRST, author="me"), folder / "kb.json"
        file.write_text("{broken")
        copy = WorkingCopy(store, WorkFile(file), Project.create(folder, Config(file="kb.json")))
        with at_call(number, lambda file=file, n=number: save(file, {"p": WORK}, in_place=n % 2 == 0)) as calls:
            copy.take("v1", force=True) if call == "take" else copy.restore("v1", force=True)
        if len(calls) <= number:
            break
        assert found(file, store), f"a save before call {number} is lost: {calls[: number + 9]}"
        assert any(kept.path.read_bytes() == b"{broken" for kept in LostFiles(folder).copies()) or number < 9
        number += 1 if LONG else 2
    assert number > 12


def test_two_folders_that_share_a_store_have_two_bases(desk: Desk, tmp_path: Path) -> None:
    """A commit in one does not take back what was committed in the other."""
    other = Desk(tmp_path / "b")
    (other.folder / ".kbstore").symlink_to(desk.folder / ".kbstore")
    inner = Desk(desk.folder / "inner")
    (inner.folder / ".kbstore").symlink_to("../.kbstore")
    for one in (other, inner):
        one.ok("checkout", "v1")
    desk.write({"p": {"a": {"n": 10}, "b": {"n": 2}}})
    desk.ok("commit", "-m", "a")
    for number, one in enumerate((other, inner), 1):
        one.write({"p": {"a": {"n": 1}, "b": {"n": 2}, f"c{number}": {}}})
        one.ok("commit", "-m", "b")
        assert one.read() == one.newest()
    assert desk.newest() == {"p": {"a": {"n": 10}, "b": {"n": 2}, "c1": {}, "c2": {}}}


def test_another_file_is_not_committed_in_the_place_of_a_missing_one(desk: Desk) -> None:
    """Whether or not the project's file is there, its history takes no file that was never taken from it."""
    (desk.folder / "two.json").write_text('{"p": {}}')
    desk.file.unlink()
    ended = desk.run("--file", "two.json", "commit", "-m", "slip")
    assert ended.code == 3
    assert "two.json was never taken from this history, which is that of kb.json" in ended.err
    assert desk.newest() == FIRST


def test_a_restore_follows_what_head_showed(tmp_path: Path) -> None:
    """A version that was looked at is no surprise; one that was not is a conflict."""
    with Store.create(tmp_path / "kb.db", {"n": 1}, author="a") as one, Store.open(tmp_path / "kb.db") as two:
        for n in (2, 3):
            one.commit({"n": n}, author="a")
            assert two.head().seq == 2 * n - 2
            version = two.restore("v1", author="b")
            assert (version.seq, two.checkout()) == (2 * n - 1, {"n": 1})
            assert one.head() == version


def test_a_file_that_is_the_version_asked_for_is_clean(desk: Desk) -> None:
    """A checkout that was killed before it was remembered is repeated."""
    desk.write({"p": {}})
    desk.ok("commit", "-m", "2")
    desk.write(FIRST)
    desk.ok("checkout", "v1")
    assert desk.ok("status").lines[0].startswith("kb.json: at v1_")
