"""A history that is lost, in part or as a whole, and how it comes back."""

import json
import shutil
from pathlib import Path

import pytest

from kbstore import Store
from tests.cli.support import DOCUMENT, Shell


def replaced(kb: Shell) -> str:
    """The one file that a restore kept."""
    (found,) = (kb.folder / ".kbstore").glob("kb.db.replaced-*")
    return str(found.relative_to(kb.folder))


def test_a_backup_of_another_history_is_refused(kb: Shell, tmp_path: Path) -> None:
    """Nothing is changed; with --force the store is replaced, and kept."""
    for name, document in (("other.db", {"mine": 1}), ("empty.db", None)):
        with Store.create(tmp_path / name, author="a") as store:
            if document is not None:
                store.commit(document)
        before = (kb.folder / ".kbstore" / "kb.db").read_bytes()
        told = kb.fails(11, "restore-backup", str(tmp_path / name)).err
        assert "they have no version in common, and 3 versions would be replaced; nothing was changed" in told
        assert "--force" in told
        assert (kb.folder / ".kbstore" / "kb.db").read_bytes() == before
    done = kb.ok("restore-backup", str(tmp_path / "other.db"), "--force")
    assert f"3 versions are only in that file; kbstore log --store {replaced(kb)} lists what is in it" in done.err
    assert kb.ok("get", "/mine").out == "1\n"
    assert len(kb.ok("log", "--json", "--store", replaced(kb)).objects) == 3


def test_a_store_without_versions_is_replaced_by_any_backup(kb: Shell) -> None:
    """Nothing can be lost with it."""
    kb.ok("backup", "kept.db")
    (kb.folder / ".kbstore" / "kb.db").unlink()
    Store.create(kb.folder / ".kbstore" / "kb.db").close()
    assert "only in that file" not in kb.ok("restore-backup", "kept.db").err
    assert kb.versions() == 3


def test_versions_that_an_older_backup_lacks_are_counted(kb: Shell) -> None:
    """On all branches; and the command that is named brings them back."""
    kb.ok("backup", "kept.db")
    kb.ok("commit", "-m", "four", "--allow-empty")
    kb.ok("branch", "side", "v2")
    with Store.open(kb.folder / ".kbstore", branch="side", author="a") as store:
        for number in range(2):
            store.commit({"n": number})
    assert kb.ok("restore-backup", "kept.db", "--json").object["only_in_replaced"] == 3
    assert (kb.versions(), kb.ok("branch").out) == (3, "* main\n")
    kb.ok("pull", replaced(kb))
    assert (kb.versions(), len(kb.ok("log", "side", "--json").objects)) == (4, 4)


def test_a_backup_with_versions_of_its_own(kb: Shell) -> None:
    """If both went on since, a pull would be refused, so the hint only shows what is there."""
    kb.ok("backup", "kept.db")
    kb.ok("--store", "kept.db", "restore", "v1", "--file", "none.json")
    for message in ("one", "two"):
        kb.ok("commit", "-m", message, "--allow-empty")
    told = kb.ok("restore-backup", "kept.db").err
    assert f"2 versions are only in that file; kbstore log --store {replaced(kb)} lists" in told


def test_a_damaged_store_that_is_replaced(kb: Shell) -> None:
    """What only it has cannot be counted; the command that saves what is left is named if it can do that."""
    kb.ok("backup", "kept.db")
    store = kb.folder / ".kbstore" / "kb.db"
    whole = store.read_bytes()
    assert b'"seq":3' in whole
    store.write_bytes(whole.replace(b'"seq":3', b'"seq":x'))
    told = kb.ok("restore-backup", "kept.db").err
    assert f"it cannot be read whole; kbstore salvage DIR --store {replaced(kb)} writes" in told
    kb.ok("salvage", "rescued", "--store", str(replaced(kb)))


def test_a_store_that_cannot_be_opened_is_replaced(kb: Shell) -> None:
    """No command that would fail is named."""
    kb.ok("backup", "kept.db")
    store = kb.folder / ".kbstore" / "kb.db"
    store.write_bytes(store.read_bytes()[:9000] + b"x" * 4000)
    told = kb.ok("restore-backup", "kept.db").err
    assert "it cannot be opened as a store, so nobody can say whether it had newer versions" in told
    kb.fails(3, "salvage", "rescued", "--store", str(replaced(kb)))


def test_a_new_history_after_the_store_was_deleted(kb: Shell) -> None:
    """`init` begins it with what the file holds; the version that the file was taken from is named."""
    head = kb.ok("log", "-n", "1", "--json").object["version"]
    (kb.folder / ".kbstore" / "kb.db").unlink()
    kb.edit("p1", votes=9)
    done = kb.ok("init", "kb.json")
    assert f"kb.json was taken from {head}, which this store does not contain" in done.err
    assert done.out.startswith("v1_")
    assert "nothing changed" in kb.ok("status").out
    assert kb.ok("get", "/problems/p1/votes").out == "9\n"


def test_an_older_copy_is_joined(kb: Shell) -> None:
    """What the file holds more than the copy is uncommitted, and can be committed."""
    kb.ok("backup", "kept.db")
    kb.edit("p1", votes=9)
    kb.ok("commit", "-m", "four")
    kb.edit("p1", votes=10)
    (kb.folder / ".kbstore" / "kb.db").unlink()
    told = kb.ok("init", "kb.json", "--store", "kept.db").err
    assert "which this store does not contain" in told
    assert "it is compared with v3_" in told
    assert kb.ok("commit", "-m", "again").out.startswith("v4_")


@pytest.mark.parametrize("file", ["there", "lost"])
@pytest.mark.parametrize("way", ["restore-backup", "clone"])
def test_the_folder_was_lost(kb: Shell, file: str, way: str) -> None:
    """The documented commands bring the history back, and the file if it is lost too."""
    kb.ok("backup", "kept.db")
    shutil.rmtree(kb.folder / ".kbstore")
    if file == "lost":
        kb.file.unlink()
    (kb.folder / ".kbstore").mkdir()
    if way == "clone":
        kb.ok("clone", "kept.db", ".kbstore/kb.db")
    else:
        kb.ok("restore-backup", "kept.db", "--store", ".kbstore/kb.db")
    kb.ok("init", "kb.json")
    assert "nothing changed" in kb.ok("status").out
    assert set(kb.read()["problems"]) == {"p1", "p2", "p4"}


@pytest.mark.parametrize("place", [".kbstore/kb.db", "history.db", ".kbstore"])
def test_a_project_with_its_store_can_be_moved(shell: Shell, place: str, tmp_path: Path) -> None:
    """A store inside the folder is remembered by where it is in there; one outside by its whole path."""
    shell.write(DOCUMENT)
    (shell.folder / ".kbstore").mkdir()
    shell.ok("init", "kb.json", "--store", place)
    outside = tmp_path / "two"
    outside.mkdir()
    (outside / "kb.json").write_text("{}")
    shell.ok("-C", str(outside), "init", "kb.json", "--store", str(shell.folder / "new.db"))
    assert json.loads((outside / ".kbstore" / "config.json").read_text())["store"] == str(shell.folder / "new.db")
    shutil.rmtree(outside)
    shell.folder.rename(tmp_path / "moved")
    shell.folder.mkdir()
    assert "nothing changed" in shell.ok("-C", str(tmp_path / "moved"), "status").out
    shutil.rmtree(shell.folder)
    (tmp_path / "moved").rename(shell.folder)


def test_verify_tells_an_older_copy_from_damage(kb: Shell) -> None:
    """A copy that ends before the noted event is not called damaged; the exit code is 3 all the same."""
    kb.ok("backup", "kept.db")
    kb.ok("commit", "-m", "four", "--allow-empty")
    noted = kb.ok("log", "-n", "1", "--json").object["id"]
    done = kb.fails(3, "verify", "--head", noted, "--store", "kept.db")
    assert "damaged" not in done.out + done.err
    assert f"missing: this history ends at v3 and does not have the event {noted}" in done.out
    assert "newer copy" in done.err
    fields = kb.run("verify", "--head", noted, "--store", "kept.db", "--json").object
    assert (fields["ok"], fields["problems"], fields["missing"] != "") == (False, [], True)
    kb.ok("verify", "--head", noted)


def test_verify_tells_an_older_copy_by_its_tags_too(kb: Shell) -> None:
    """As by its versions; if both ids were noted, both are said."""
    kb.ok("backup", "kept.db")
    kb.ok("commit", "-m", "four", "--allow-empty")
    kb.ok("tag", "release")
    noted = kb.run("verify", "--json").object
    refs = noted["refs_head"]
    done = kb.fails(3, "verify", "--refs-head", refs, "--store", "kept.db")
    assert "damaged" not in done.out + done.err
    assert f"missing: the log of tags and branches does not have the change {refs}" in done.out
    assert f"kbstore verify --refs-head {refs} --store COPY" in done.err
    done = kb.fails(3, "verify", "--head", noted["head"], "--refs-head", refs, "--store", "kept.db")
    assert f"does not have the event {noted['head']}" in done.out
    assert f"does not have the change {refs}" in done.out
    assert f"kbstore verify --head {noted['head']} --refs-head {refs} --store COPY" in done.err
    kb.ok("verify", "--head", noted["head"], "--refs-head", refs)


def test_verify_says_that_a_version_is_another_one(kb: Shell) -> None:
    """What the file remembers proves that the history was written anew, or is that of another store."""
    other = kb.folder / "other.db"
    with Store.create(other, author="a") as store:
        for number in range(4):
            store.commit({"n": number})
    other.replace(kb.folder / ".kbstore" / "kb.db")
    (kb.folder / ".kbstore" / "newest.json").unlink()
    assert "its v3 is another version, so it was rewritten, or it is another store" in kb.ok("verify").err
