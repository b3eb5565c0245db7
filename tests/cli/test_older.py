"""A store that is older than it was: an old copy was put in its place, or another history."""

import shutil
from pathlib import Path

import pytest

from kbstore import Store
from tests.cli.support import DOCUMENT, Shell


@pytest.fixture
def older(shell: Shell) -> Shell:
    """A file at v1, and a store that had v2 by somebody else, which `log` has seen, and has v1 only."""
    shell.write(DOCUMENT)
    shell.ok("init", "kb.json")
    store = shell.folder / ".kbstore" / "kb.db"
    shutil.copy(store, shell.folder / "old.db")
    with Store.open(store, author="somebody") as kb:
        kb.commit(patch=[{"op": "replace", "path": "/name", "value": "by somebody"}])
    shell.ok("log")
    shutil.copy(store, shell.folder / "new.db")
    shutil.copy(shell.folder / "old.db", store)
    return shell


def test_reads_warn_and_writes_are_refused(older: Shell) -> None:
    """By whatever command the newest version was seen; the warning stays until something is done."""
    for arguments in (("log",), ("status",), ("diff",), ("get", "/name"), ("show",), ("verify",), ("tag",)):
        told = older.ok(*arguments).err
        assert told.startswith("warning: v2_")
        assert told.count("is an older copy, or another one") == 1
    older.write({**DOCUMENT, "name": "mine"})
    for arguments in (
        ("commit", "-m", "mine"),
        ("restore", "v1", "-m", "back"),
        ("tag", "t", "v1"),
        ("branch", "b", "v1"),
        ("config", "collection", "/problems"),
    ):
        refused = older.fails(3, *arguments)
        assert refused.err.startswith("error: v2_")
        assert "kbstore pull" in refused.err
    with Store.open(older.folder / ".kbstore" / "kb.db") as kb:
        assert kb.head().seq == 1
        assert not kb.tags()
        assert kb.branches() == ["main"]


def test_the_newer_store_is_brought_back(older: Shell) -> None:
    """As the hint says: versions of a copy are pulled, and all is well again."""
    older.ok("pull", "new.db")
    assert older.ok("status").err == ""
    older.write({**DOCUMENT, "name": "mine"})
    older.ok("commit", "-m", "mine", "--base", "v2")


@pytest.mark.parametrize("how", ["mark", "base", "backup", "init"])
def test_the_older_store_is_taken_as_it_is(older: Shell, how: str) -> None:
    """By removing what is remembered, by naming the base, by a backup that is put back, by a new history."""
    folder = older.folder / ".kbstore"
    if how == "mark":
        (folder / "newest.json").unlink()
    elif how == "backup":
        older.ok("restore-backup", "old.db")
    elif how == "init":
        for file in folder.glob("kb.db*"):
            file.unlink()
        older.ok("init", "kb.json")
    else:
        older.write({**DOCUMENT, "name": "mine"})
        older.ok("commit", "-m", "mine", "--base", "v1")
    assert older.ok("status").err == ""
    older.write({**DOCUMENT, "name": "again"})
    older.ok("commit", "-m", "again")
    assert older.ok("log").err == ""


def test_another_history_is_noticed_too(shell: Shell, tmp_path: Path) -> None:
    """As many versions are not the same versions; each branch has its own, and another store is not compared."""
    shell.write(DOCUMENT)
    shell.ok("init", "kb.json")
    shell.ok("branch", "b", "v1")
    shell.ok("--branch", "b", "log")
    other = tmp_path / "other.db"
    with Store.create(other, {"name": "other"}, author="x") as kb:
        kb.create_branch("b", "v1")
    assert shell.ok("--store", str(other), "log").err == ""
    shutil.copy(other, shell.folder / ".kbstore" / "kb.db")
    for branch in ("main", "b"):
        assert "another one" in shell.ok("--branch", branch, "log").err
