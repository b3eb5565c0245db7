"""backup and restore-backup, as a user meets them."""

import os
from pathlib import Path

import pytest

from kbstore import Store
from kbstore.errors import CorruptStore
from kbstore.sync.backup import backup_store, restore_backup
from tests.cli.support import Shell


def test_a_backup_comes_back(kb: Shell) -> None:
    """The newest version is named both times, and the store that was replaced is kept."""
    version = kb.ok("log", "--json", "-n", "1").object["version"]
    made = kb.ok("backup", "kept.db", "--verify")
    assert made.out == f"kept.db: {version}, verified\n"
    kb.ok("tag", "later")
    done = kb.ok("restore-backup", "kept.db")
    assert done.out == f"restored {version} from kept.db\n"
    assert "kept as .kbstore/kb.db.replaced-" in done.err
    assert kb.ok("tag").out == ""
    assert kb.ok("verify").out.startswith("whole: ")
    (replaced,) = (kb.folder / ".kbstore").glob("kb.db.replaced-*")
    assert [line.split()[0] for line in kb.ok("--store", str(replaced), "tag").lines] == ["later"]


def test_backups_as_json(kb: Shell) -> None:
    """The members that docs/cli.md names."""
    found = kb.ok("backup", "kept.db", "--json").object
    assert found.keys() == {"schema_version", "path", "version"}
    found = kb.ok("restore-backup", "kept.db", "--json").object
    assert found.keys() == {"schema_version", "version", "replaced", "only_in_replaced"}
    assert (kb.folder / found["replaced"]).exists()


def test_a_backup_replaces_nothing(kb: Shell) -> None:
    """A file that exists stays; so does a store of which no backup is found."""
    kb.file.with_name("taken").write_text("mine")
    assert "exists already" in kb.fails(3, "backup", "taken").err
    assert kb.file.with_name("taken").read_text() == "mine"
    before = (kb.folder / ".kbstore" / "kb.db").read_bytes()
    assert "no store at" in kb.fails(10, "restore-backup", "nothing.db").err
    assert "not an SQLite file" in kb.fails(10, "restore-backup", str(kb.file)).err
    assert (kb.folder / ".kbstore" / "kb.db").read_bytes() == before


def test_a_folder_means_the_kb_db_in_it(kb: Shell) -> None:
    """Also the current one; an empty path is not it."""
    assert kb.ok("backup", ".").out.startswith("kb.db: v")
    assert (kb.folder / "kb.db").is_file()
    assert "kb.db exists already" in kb.fails(3, "backup", ".").err
    (kb.folder / "sub").mkdir()
    kb.ok("backup", "sub")
    assert "from sub" in kb.ok("restore-backup", "sub").out
    for command in ("backup", "restore-backup"):
        assert "an empty path names no file" in kb.fails(3, command, "").err


def test_an_open_store_is_not_replaced(kb: Shell) -> None:
    """While a program has it open, the restore says what to do and changes nothing."""
    kb.ok("backup", "kept.db")
    with Store.open(kb.folder / ".kbstore" / "kb.db", author="a") as store:
        store.head()
        said = kb.fails(3, "restore-backup", "kept.db").err
        assert "open elsewhere" in said
        assert "hint: close every program" in said
        store.tag("still")
    assert kb.ok("tag").lines


@pytest.mark.parametrize("place", ["s3://bucket/prefix"])
def test_what_is_not_a_file_is_cloned(kb: Shell, place: str) -> None:
    """A store on a bucket has no backup file; the hint names the command that copies it."""
    for command in (("backup", "x.db"), ("restore-backup", "x.db")):
        assert "hint: copy such a store with: kbstore clone" in kb.fails(3, "--store", place, *command).err


def test_a_damaged_backup_changes_nothing(kb: Shell, tmp_path: Path) -> None:
    """It is verified first; without that it is taken as it is."""
    location = kb.folder / ".kbstore" / "kb.db"
    backup = backup_store(location, tmp_path / "b.db").path
    content = bytearray(backup.read_bytes())
    at = content.rindex(b'"message"')
    content[at + 2] ^= 1
    backup.write_bytes(content)
    before = location.read_bytes()
    with pytest.raises(CorruptStore, match="not whole"):
        restore_backup(location, backup)
    assert location.read_bytes() == before
    assert sorted(os.listdir(location.parent)) == ["config.json", "files", "kb.db", "newest.json"]
    assert restore_backup(location, backup, verify=False).replaced is not None


def test_an_older_store_is_seen_to_be_older(kb: Shell) -> None:
    """A store that was put back is whole in itself; verify and status say which version of the file it lacks."""
    kb.ok("backup", "kept.db")
    kb.file.write_text('{"name": "later"}')
    newest = kb.ok("commit", "-m", "later", "--json").object["version"]
    assert newest not in kb.ok("verify").err
    kb.ok("restore-backup", "kept.db")
    done = kb.ok("verify")
    assert done.out.startswith("whole: ")
    assert f"was taken from {newest}, which this store does not contain" in done.err
    assert f"was taken from {newest}" in kb.fails(3, "status").err
    assert "leave no trace" in done.out
    noted = kb.ok("log", "--json", "-n", "1").object["id"]
    assert "leave no trace" not in kb.ok("verify", "--head", noted).out


@pytest.mark.parametrize("place", ["", "s3://bucket/x"])
def test_a_backup_has_a_name(kb: Shell, place: str) -> None:
    """Neither an empty argument nor a URL is taken for a file or for the folder."""
    kb.ok("backup", "kb.db")
    for command in ("backup", "restore-backup"):
        result = kb.run(command, place)
        assert result.code in (3, 10)
        assert "hint: " in result.err
    assert not list((kb.folder / ".kbstore").glob("*.replaced-*"))


def test_a_project_is_put_back_by_its_folder(kb: Shell) -> None:
    """As for clone and pull, a project's folder is the store in it; one whose store is on a server is cloned."""
    kb.ok("clone", ".", "copy")
    kb.edit("p1", votes=50)
    kb.ok("commit", "-m", "later")
    assert "1 version is only in that file" in kb.ok("restore-backup", "copy").err
    assert kb.ok("log", "-n", "1").out.startswith("v3_")
    config = kb.folder / "copy" / ".kbstore" / "config.json"
    config.write_text('{"format": 1, "store": "s3://bucket/kb"}')
    assert "kbstore clone SOURCE TARGET" in kb.fails(3, "restore-backup", "copy").err


def test_the_wrong_backup_is_blamed(kb: Shell) -> None:
    """A backup that is missing or damaged is what the hint speaks of, and not the store."""
    kb.file.with_name("empty.db").write_bytes(b"")
    assert "hint: try an older backup" in kb.fails(3, "restore-backup", "empty.db").err
    assert "hint: check the path of the backup" in kb.fails(10, "restore-backup", "nothing.db").err
    assert kb.ok("verify").out.startswith("whole: ")


def test_a_damaged_store_is_pulled_from_by_salvage(kb: Shell) -> None:
    """The refusal names the store and the commands; they bring what is sound, and a restore says so as well."""
    kb.ok("backup", "monday.db")
    for title in ("one", "lost", "two"):
        kb.edit("p1", title=title)
        kb.ok("commit", "-m", title)
    store = kb.folder / ".kbstore" / "kb.db"
    data = store.read_bytes()
    assert b'"value":"lost"' in data
    store.write_bytes(data.replace(b'"value":"lost"', b'"value":"LOST"'))
    said = kb.ok("restore-backup", "monday.db").err
    (replaced,) = (path.relative_to(kb.folder) for path in store.parent.glob("kb.db.replaced-*"))
    way = f"kbstore salvage DIR --store {replaced} writes "
    assert "3 versions are only in that file; not all of them can be read" in said
    assert way in said
    told = kb.fails(3, "pull", str(replaced)).err
    assert told.startswith(f"error: {replaced}: version v5 is damaged: its patch cannot be read\n")
    assert way in told
    assert "; kbstore import DIR/events.jsonl then takes the versions before the damage, and the versions" in told
    kb.ok("salvage", "rescued", "--store", str(replaced))
    assert kb.ok("import", "rescued/events.jsonl").lines[0].startswith("1 version imported (3 known already)")
    assert "line 5 and 1 line behind it were left out" in kb.ok("import", "rescued/events.jsonl").err


def test_a_store_of_any_first_page_is_replaced(kb: Shell) -> None:
    """The replaced file is kept and need not be readable, whatever byte of SQLite's header is wrong."""
    kb.ok("backup", "kept.db")
    store = kb.folder / ".kbstore" / "kb.db"
    whole = store.read_bytes()
    for place in range(106):
        spoilt = whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :]
        store.write_bytes(spoilt)
        done = restore_backup(store, kb.folder / "kept.db", verify=False)
        assert done.replaced is not None, place
        assert done.replaced.read_bytes()[106:] == whole[106:], place
        done.replaced.unlink()
        with Store.open(store, read_only=True) as restored:
            assert restored.head().seq == 3, place


def test_a_file_that_its_first_page_marks_read_only_is_damaged(kb: Shell) -> None:
    """A write version that SQLite does not know is no matter of permissions; the named clone loses nothing."""
    store = kb.folder / ".kbstore" / "kb.db"
    data = bytearray(store.read_bytes())
    data[18] = 0x57
    store.write_bytes(data)
    assert kb.ok("verify").out.startswith("whole: 3 versions")
    for arguments in (("commit", "-m", "four", "--allow-empty"), ("backup", "kept.db")):
        told = kb.fails(3, *arguments).err
        assert f"{store} is damaged: its first page says that it may only be read" in told
        assert f"kbstore clone {store} NEW.db, then kbstore restore-backup NEW.db" in told
    kb.ok("clone", str(store), "NEW.db")
    kb.ok("restore-backup", "NEW.db")
    kb.ok("commit", "-m", "four", "--allow-empty")
    assert kb.versions() == 4


@pytest.mark.parametrize("versions", [(1, 1), (2, 1), (0, 0)])
def test_the_first_commit_after_another_journal_mode_lands(kb: Shell, versions: tuple[int, int]) -> None:
    """A tool or a damaged byte may have set the mode; no log was deleted, so nobody is told so."""
    store = kb.folder / ".kbstore" / "kb.db"
    data = bytearray(store.read_bytes())
    data[18:20] = versions
    store.write_bytes(data)
    kb.ok("commit", "-m", "four", "--allow-empty")
    assert kb.versions() == 4
