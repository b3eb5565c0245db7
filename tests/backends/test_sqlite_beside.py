"""What stands beside a local store: second names, logs of other files, logs that are removed, other tools."""

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from kbstore.backends import backup_store, create_backend, open_backend, restore_store
from kbstore.backends.base import Record
from kbstore.backends.sqlite.files import store_file as file
from kbstore.backends.sqlite.files.drafts import DRAFT, drafting
from kbstore.backends.sqlite.files.foreign_log import holds_write
from kbstore.kit import folders
from kbstore.kit.errors import BackendError, CorruptStore, StoreExists, StoreNotFound, StoreUnavailable
from tests.backends.samples import fill


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with a few slots."""
    path = tmp_path / "kb.db"
    backend = create_backend(path)
    fill(backend, 3)
    backend.close()
    return path


def killed(path: Path, sql: str = "") -> None:
    """Leave the log of a process that wrote and was killed: kbstore's, or that of another tool."""
    lines = (
        f"import sqlite3; c = sqlite3.connect({str(path)!r}, isolation_level=None); c.execute({sql!r})"
        if sql
        else "from kbstore.backends import open_backend; from tests.backends.samples import fill; "
        f"b = open_backend({str(path)!r}); fill(b, 2, first=b.tail('main').slot + 1)"
    )
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), root])
    subprocess.run(
        [sys.executable, "-c", f"{lines}; import os; os._exit(0)"], env={**os.environ, "PYTHONPATH": paths}, check=True
    )
    assert path.with_name("kb.db-wal").stat().st_size


def slots(path: Path) -> int:
    """How many slots a store holds, once it was checked."""
    with closing(open_backend(path)) as backend:
        assert list(backend.check()) == []
        return backend.tail("main").slot


# -- second names


@pytest.mark.parametrize("read_only", [False, True])
def test_a_second_name_is_refused(store: Path, read_only: bool) -> None:
    """A hard link has a log of its own: either name is refused, and the other name's owner is told how to find it."""
    os.link(store, store.with_name("other.db"))
    for name in (store, store.with_name("other.db")):
        with pytest.raises(StoreUnavailable, match="2 names") as told:
            open_backend(name, read_only=read_only)
        assert "-samefile" in str(told.value.hint)
    store.with_name("other.db").unlink()
    assert slots(store) == 3


def test_the_draft_of_a_killed_init_is_no_second_name(store: Path) -> None:
    """A process that was killed between giving the name and removing the draft's leaves a store that opens."""
    draft = store.with_name(".kb.db.123-456.new")
    os.link(store, draft)
    assert slots(store) == 3
    assert not draft.exists()


@pytest.mark.parametrize("act", ["init", "backup", "gc"])
def test_a_draft_that_was_left_is_removed_and_a_live_one_is_kept(store: Path, tmp_path: Path, act: str) -> None:
    """By whether its maker is there, in this process or another, and not by the number in its name."""
    left = [f".kb.db.1-2{DRAFT}", f".kb.db.1-2{DRAFT}-wal", f".x.db.{os.getpid()}-3{DRAFT}", ".kb.db.7.probe"]
    other = [".kb.db.new", f"kb.db.1-2{DRAFT}", f".kb.db.1-x{DRAFT}"]

    def clear() -> None:
        if act == "init":
            create_backend(tmp_path / "new.db").close()
        elif act == "backup":
            backup_store(store, tmp_path / "new.db")
        else:
            with closing(open_backend(store)) as backend:
                backend.collect({})
        (tmp_path / "new.db").unlink(missing_ok=True)

    with drafting(tmp_path / "slow.db") as draft:
        draft.write_bytes(b"")
        for name in (*left, *other):
            store.with_name(name).write_bytes(b"")
        clear()
        assert draft.exists()
        assert all(store.with_name(name).exists() for name in left)
    clear()
    assert sorted(os.listdir(tmp_path)) == sorted([*other, "kb.db"])


def test_the_draft_of_a_killed_maker_is_removed(store: Path, tmp_path: Path) -> None:
    """The lock ends with the process, so nothing is left for longer than until the next that makes a draft."""
    code = (
        "import os, sys; from pathlib import Path; from kbstore.backends.sqlite.files.drafts import drafting\n"
        "with drafting(Path(sys.argv[1])) as draft:\n    draft.write_bytes(b'x'); os._exit(9)"
    )
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), root])
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "new.db")], env={**os.environ, "PYTHONPATH": paths}, check=False
    )
    assert done.returncode == 9
    assert len(os.listdir(tmp_path)) == 2
    create_backend(tmp_path / "new.db").close()
    assert sorted(os.listdir(tmp_path)) == ["kb.db", "new.db"]


def test_a_link_leads_to_the_log(store: Path, tmp_path: Path) -> None:
    """Through a symbolic link the log beside the real file is found, by readers and writers."""
    killed(store)
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(store)
    with closing(open_backend(link, read_only=True)) as backend:
        assert backend.tail("main").slot == 5
        assert backend.size_bytes() > store.stat().st_size
    assert slots(link) == 5
    assert os.listdir(link.parent) == ["link.db"]


# -- logs of other files


def refused(path: Path) -> None:
    """The store is refused by name, and nothing is changed."""
    before = {file.name: file.read_bytes() for file in path.parent.iterdir() if not file.name.endswith("-shm")}
    for read_only in (False, True):
        with pytest.raises(StoreUnavailable, match="nothing shows that") as told:
            open_backend(path, read_only=read_only)
        assert str(path) in str(told.value)
        assert f"{path}-wal" in str(told.value)
        # If it is refused wrongly, the step must not part commits from the file that they belong to.
        assert f"{path}-wal" in str(told.value.hint)
        assert "copy both files" in str(told.value.hint)
    after = {file.name: file.read_bytes() for file in path.parent.iterdir() if not file.name.endswith("-shm")}
    assert after == before


@pytest.mark.parametrize("between", [1, 2, 7])
@pytest.mark.parametrize("other_tool", ["", "CREATE TABLE zz(a)", "VACUUM"])
def test_a_log_of_a_later_state_is_refused(store: Path, between: int, other_tool: str) -> None:
    """A backup that is moved over a store beside its log is kept; with the log moved away it opens."""
    backup = store.with_name("backup.db")
    shutil.copy(store, backup)
    with closing(open_backend(store)) as backend:
        for slot in range(between):
            backend.append("main", 4 + slot, [Record(b"h")], write_id=f"w{slot}")
    killed(store, other_tool)
    content = backup.read_bytes()
    backup.replace(store)
    refused(store)
    assert store.read_bytes() == content
    store.with_name("kb.db-wal").replace(store.with_name("kept"))
    assert slots(store) == 3


def test_a_log_of_another_store_is_refused(store: Path, tmp_path: Path) -> None:
    """Also if both stores are as long."""
    other = tmp_path / "other"
    other.mkdir()
    with closing(create_backend(other / "kb.db")) as backend:
        fill(backend, 3)
    killed(store)
    (other / "kb.db").replace(store)
    other.rmdir()
    refused(store)


def test_a_log_of_an_earlier_state_is_refused(store: Path) -> None:
    """A file that is newer than its log is not taken back."""
    killed(store)
    old = store.with_name("old-wal")
    shutil.copy(store.with_name("kb.db-wal"), old)
    with closing(open_backend(store)) as backend:
        fill(backend, 3, first=6)
    old.replace(store.with_name("kb.db-wal"))
    refused(store)


@pytest.mark.parametrize("other_tool", ["", "ANALYZE", "VACUUM", "CREATE TABLE IF NOT EXISTS zz(a)"])
def test_the_files_own_log_is_taken_in(store: Path, other_tool: str) -> None:
    """Whoever wrote it, and whether a part of it was written back already or not."""
    killed(store, other_tool)
    with closing(sqlite3.connect(store)) as beside:
        beside.execute("PRAGMA wal_checkpoint(PASSIVE)")
        copy = store.parent / "copy"
        copy.mkdir()
        for name in ("kb.db", "kb.db-wal"):
            shutil.copy(store.with_name(name), copy / name)
    open_backend(copy / "kb.db").close()
    open_backend(store).close()


FIRST_PAGE = [
    "PRAGMA user_version=7",
    "PRAGMA user_version=0",
    "PRAGMA schema_version=3",
    "BEGIN; CREATE TABLE zz(a); PRAGMA user_version=7; COMMIT",
]


@pytest.mark.parametrize("versions", [0, 2])
@pytest.mark.parametrize("tool", FIRST_PAGE)
def test_a_log_that_another_program_began_is_taken_in(
    store: Path, tmp_path_factory: pytest.TempPathFactory, tool: str, versions: int
) -> None:
    """The number that logs go by was set by the first who wrote into the log: the versions prove that it belongs."""
    with closing(open_backend(store)) as backend:
        with closing(sqlite3.connect(store, isolation_level=None)) as other:
            assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
            other.executescript(tool)
        if versions:
            fill(backend, versions, first=4)
        copy = tmp_path_factory.mktemp("copy")
        for name in ("kb.db", "kb.db-wal"):
            shutil.copy(store.with_name(name), copy / name)
        # Beside the handle that is still open, and as if its process had been killed.
        for path in (store, copy / "kb.db"):
            if not versions and "CREATE" in tool:
                refused(path)  # it has no versions that prove anything, and changes more than the first page
                continue
            for read_only in (True, False):
                with closing(open_backend(path, read_only=read_only)) as found:
                    assert [damage for damage in found.check() if not damage.note] == []
                    assert found.tail("main").slot == 3 + versions
    assert not store.with_name("kb.db-wal").exists()


@pytest.mark.parametrize("tool", [FIRST_PAGE[0], FIRST_PAGE[-1]])
@pytest.mark.parametrize(
    ("other", "between"), [("its backup", 1), ("its backup", 7), ("another store", 1), ("another line", 1)]
)
def test_a_foreign_log_that_another_program_began_is_refused(
    store: Path, tmp_path: Path, tool: str, between: int, other: str
) -> None:
    """Whatever the numbers in the log say: a version is missing between the two, or only one of them has it."""
    moved = tmp_path / "moved.db"
    if other == "another store":
        with closing(create_backend(moved)) as backend:
            fill(backend, 3)
    else:
        shutil.copy(store, moved)
    if other == "another line":
        with closing(open_backend(moved)) as backend:
            for slot in range(between):
                backend.append("main", 4 + slot, [Record(b"other")], write_id=f"o{slot}")
    with closing(open_backend(store)) as backend:
        for slot in range(between):
            backend.append("main", 4 + slot, [Record(b"h")], write_id=f"w{slot}")
        with closing(sqlite3.connect(store, isolation_level=None)) as beside:
            beside.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            beside.executescript(tool)
        fill(backend, 2, first=4 + between)
        log = store.with_name("kb.db-wal")
        shutil.copy(log, tmp_path / "log")
    moved.replace(store)
    (tmp_path / "log").replace(log)
    refused(store)


# -- a log that is removed under an open handle


@pytest.mark.parametrize("kept", ["nothing", "half", "all but a byte"])
def test_a_log_that_is_cut_off_is_named(store: Path, kept: str) -> None:
    """The next write says so and writes nothing behind the gap; so does whoever opens the store, and closing."""
    backend = open_backend(store)
    fill(backend, 6, first=4)
    log = store.with_name("kb.db-wal")
    size = log.stat().st_size
    os.truncate(log, {"nothing": 0, "half": size // 2, "all but a byte": size - 1}[kept])
    left = (log.read_bytes(), store.read_bytes())
    for act in (lambda: fill(backend, 1, first=10), lambda: slots(store), backend.close):
        with pytest.raises(StoreUnavailable, match=r"kb\.db-wal was cut off or deleted") as told:
            act()
        assert "close every program" in str(told.value.hint)
        assert (log.read_bytes(), store.read_bytes()) == left


@pytest.mark.parametrize("more", [0, 1])
def test_a_log_that_another_tool_wrote_back_is_not_called_cut_off(store: Path, more: int) -> None:
    """A checkpoint may cut the log off, once the file has all of it."""
    with closing(open_backend(store)) as backend, closing(open_backend(store)) as second:
        fill(backend, 6, first=4)
        with closing(sqlite3.connect(store)) as other:
            assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
        if more:
            fill(second, more, first=10)
        fill(backend, 1, first=10 + more)
    assert slots(store) == 10 + more


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_removed_log_is_named(store: Path, how: str) -> None:
    """The next write says so and writes nothing; closing this handle writes back what the log held."""
    with closing(open_backend(store)) as backend:
        fill(backend, 1, first=4)
        log = store.with_name("kb.db-wal")
        log.unlink()
        if how == "replaced":
            log.write_bytes(b"")
        with pytest.raises(StoreUnavailable, match="deleted or replaced") as told:
            fill(backend, 1, first=5)
        assert "the last" in str(told.value.hint) or "close" in str(told.value.hint)
    assert slots(store) == 4


def test_a_removed_log_is_named_to_other_programs(store: Path) -> None:
    """Also to the second one, which finds the empty log of the first; the step that both name loses nothing."""
    backend = open_backend(store)
    fill(backend, 1, first=4)
    store.with_name("kb.db-wal").unlink()
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), root])
    code = (
        "import sys\nfrom kbstore import StoreUnavailable, backends\n"
        "try: backends.open_backend(sys.argv[1])\n"
        "except StoreUnavailable as error: print(error, '/', error.hint)"
    )
    for _ in range(2):
        told = subprocess.run(
            [sys.executable, "-c", code, str(store)],
            env={**os.environ, "PYTHONPATH": paths}, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        assert "kb.db-wal was cut off or deleted by another program" in told
        assert "the one that committed last at the end" in told
    backend.close()
    assert slots(store) == 4


def test_a_file_that_is_mounted_alone_is_refused(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If its log is on another device than the file, other programs have another log; nothing is left beside it."""
    look = file.look_at_log

    def elsewhere(path: Path) -> file.LogState:
        found = look(path)
        device, *rest = found.identity or (0,)
        return found._replace(identity=(device + 1, *rest))

    monkeypatch.setattr(file, "look_at_log", elsewhere)
    with pytest.raises(StoreUnavailable, match="on another device than its folder") as told:
        open_backend(store)
    assert "mount the folder" in str(told.value.hint)
    assert os.listdir(store.parent) == ["kb.db"]


# -- backup and restore


def test_a_backup_beside_a_writer_is_whole(store: Path, tmp_path: Path) -> None:
    """It holds what only the log holds, opens alone, and is as private as the store."""
    store.chmod(0o600)
    with closing(open_backend(store)) as backend:
        fill(backend, 2, first=4)
        made = backup_store(store, tmp_path / "there")
    assert made == tmp_path / "there"
    assert made.stat().st_mode & 0o777 == 0o600
    assert slots(made) == 5
    assert sorted(os.listdir(tmp_path)) == ["kb.db", "there"]


def test_a_backup_replaces_nothing(store: Path, tmp_path: Path) -> None:
    """Neither a file nor a backup that failed leaves anything."""
    taken = tmp_path / "taken"
    taken.write_text("mine")
    with pytest.raises(StoreExists):
        backup_store(store, taken)
    assert taken.read_text() == "mine"

    def refuse(_: str) -> None:
        raise CorruptStore("no")

    with pytest.raises(CorruptStore):
        backup_store(store, tmp_path / "new", refuse)
    with pytest.raises(StoreNotFound):
        backup_store(tmp_path / "nothing.db", tmp_path / "new")
    assert sorted(os.listdir(tmp_path)) == ["kb.db", "taken"]


def test_a_restore_keeps_what_it_replaces(store: Path, tmp_path: Path) -> None:
    """The store is what the backup was; what was there opens under its new name."""
    backup = backup_store(store, tmp_path / "backup.db")
    with closing(open_backend(store)) as backend:
        fill(backend, 2, first=4)
    kept = restore_store(store, backup, "old")
    assert kept == store.with_name("kb.db.old")
    assert slots(store) == 3
    assert slots(kept) == 5
    assert slots(backup) == 3
    assert restore_store(store, backup, "old") == store.with_name("kb.db.old-2")
    assert sorted(os.listdir(tmp_path)) == ["backup.db", "kb.db", "kb.db.old", "kb.db.old-2"]


@pytest.mark.parametrize("read_only", [False, True])
def test_a_restore_is_refused_while_the_store_is_open(store: Path, tmp_path: Path, read_only: bool) -> None:
    """By another handle of this process or of another one; the store goes on as it was."""
    backup = backup_store(store, tmp_path / "backup.db")
    with closing(open_backend(store, read_only=read_only)) as backend:
        backend.tail("main")
        with pytest.raises(StoreUnavailable, match="open elsewhere"):
            restore_store(store, backup, "old")
        assert backend.tail("main").slot == 3
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            (
                f"from kbstore.backends import open_backend; b = open_backend({str(store)!r}); "
                "print(1, flush=True); input()"
            ),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(StoreUnavailable, match="open elsewhere"):
            restore_store(store, backup, "old")
        other.communicate("\n")
    assert slots(store) == 3


@pytest.mark.parametrize("damage", ["missing", "garbage", "half", "foreign log", "log alone"])
def test_a_restore_mends_a_damaged_store(store: Path, tmp_path: Path, damage: str) -> None:
    """Whatever is in its place is kept, logs too, and never written over what is restored."""
    backup = backup_store(store, tmp_path / "backup.db")
    if damage == "missing":
        store.unlink()
    elif damage == "garbage":
        store.write_bytes(b"garbage" * 1000)
    elif damage == "half":
        os.truncate(store, store.stat().st_size // 2)
    else:
        with closing(open_backend(store)) as backend:
            fill(backend, 2, first=4)
        killed(store)
        if damage == "foreign log":
            shutil.copy(backup, store)
        else:
            store.unlink()
    log = store.with_name("kb.db-wal")
    content = log.read_bytes() if log.exists() else None
    kept = restore_store(store, backup, "old")
    assert slots(store) == 3
    assert (kept is None) == (damage == "missing")
    if content is not None:
        assert store.with_name("kb.db.old-wal").read_bytes() == content


def test_a_writer_that_waits_for_a_restore_is_told(store: Path, tmp_path: Path) -> None:
    """A process that opened the file and waits for its lock writes nothing into the file that was replaced."""
    backup = backup_store(store, tmp_path / "backup.db")
    with closing(open_backend(store)) as backend:
        connection = backend._connection  # type: ignore[attr-defined]

        def swap() -> None:
            shutil.copy(backup, tmp_path / "draft")
            os.link(store, tmp_path / "kept")
            (tmp_path / "draft").replace(store)

        look = connection._look_again

        def late(opened: sqlite3.Connection) -> None:
            swap()
            look(opened)

        connection._look_again = late
        with pytest.raises(StoreUnavailable, match="replaced"):
            fill(backend, 1, first=4)
    os.unlink(tmp_path / "kept")
    assert slots(store) == 3


def test_a_store_that_is_not_a_file_has_no_backup_file() -> None:
    """A store in memory or on a bucket is copied with clone."""
    with pytest.raises(BackendError, match="not one file") as told:
        backup_store("s3://bucket/prefix", Path("x"))
    assert "clone" in str(told.value.hint)


def test_the_file_alone_is_whole_after_each_close(store: Path, tmp_path: Path) -> None:
    """What a handle wrote is in the file itself once it is closed, also while others have the store open."""
    with closing(open_backend(store)) as other:
        other.tail("main")
        with closing(open_backend(store)) as backend:
            fill(backend, 2, first=4)
        shutil.copy(store, tmp_path / "copy.db")
    assert slots(tmp_path / "copy.db") == 5


def test_a_read_only_backup_comes_back(store: Path, tmp_path: Path) -> None:
    """The store keeps its own mode, and nothing is left beside the backup."""
    backup = backup_store(store, tmp_path / "backup.db")
    backup.chmod(0o444)
    store.chmod(0o640)
    restore_store(store, backup, "old")
    assert store.stat().st_mode & 0o777 == 0o640
    store.unlink()
    restore_store(store, backup, "old")
    assert store.stat().st_mode & 0o777 == 0o644
    assert slots(store) == 3
    assert sorted(os.listdir(tmp_path)) == ["backup.db", "kb.db", "kb.db.old"]


def test_a_restore_over_a_copied_file_that_is_open_is_refused(store: Path, tmp_path: Path) -> None:
    """A file that was overwritten while programs have it open has their log beside it: they count all the same."""
    backup = backup_store(store, tmp_path / "backup.db")
    copy = tmp_path / "copy.db"
    shutil.copy(store, copy)
    code = (
        "from kbstore.backends import open_backend; from tests.backends.samples import fill; "
        f"b = open_backend({str(store)!r})"
        "\nfill(b, 2, first=4); print(1, flush=True); input(); fill(b, 1, first=6); b.close()"
    )
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), root])
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with closing(open_backend(store)) as backend:
            fill(backend, 1, first=6)  # so that the copy is older than the log's beginning, once it is written back
        store.write_bytes(copy.read_bytes())
        with pytest.raises(StoreUnavailable, match="open elsewhere"):
            restore_store(store, backup, "old")
        other.kill()
        other.communicate()
    assert not list(tmp_path.glob("*.old*"))


def test_a_removed_index_of_the_log_is_named(store: Path) -> None:
    """Without the -shm another process would write a log of its own into the same file."""
    with closing(open_backend(store)) as backend:
        fill(backend, 1, first=4)
        store.with_name("kb.db-shm").unlink()
        with pytest.raises(StoreUnavailable, match="deleted or replaced"):
            fill(backend, 1, first=5)
    assert slots(store) == 4


@pytest.mark.parametrize("how", ["backup_store", "cp"])
@pytest.mark.parametrize("writes", [1, 2, 3])
def test_two_lines_of_one_store_are_told_apart(store: Path, tmp_path: Path, how: str, writes: int) -> None:
    """A copy that was worked on elsewhere is not taken for the file that a log belongs to, however long both are."""
    copy = tmp_path / "copy.db"
    if how == "cp":
        shutil.copy(store, copy)
    else:
        backup_store(store, copy)
    with closing(open_backend(copy)) as backend:
        for slot in range(4, 4 + writes):
            backend.append("main", slot, [Record(b"other")], write_id=f"o{slot}")
    killed(store)
    copy.replace(store)
    refused(store)


_TOOL = """BEGIN;
CREATE TABLE zz(a INTEGER PRIMARY KEY, b);
INSERT INTO zz VALUES(1, 'old'), (2, hex(zeroblob(900)));
COMMIT"""


@pytest.mark.parametrize("beside", ["its file", "another file"])
def test_a_log_of_another_tool_alone_is_taken_in_if_it_belongs(store: Path, tmp_path: Path, beside: str) -> None:
    """The log has no first page, so nothing in it shows which file it belongs to."""
    with closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.executescript(_TOOL)
    copy = tmp_path / "copy.db"
    shutil.copy(store, copy)
    with closing(open_backend(store)) as backend:
        fill(backend, 40, first=4)
    with closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("VACUUM")  # the same rows on other pages
    killed(store, "UPDATE zz SET b='new' || substr(b, 4)")
    if beside == "another file":
        copy.replace(store)
        refused(store)
        return
    with closing(open_backend(store)) as backend:
        assert [damage for damage in backend.check() if not damage.note] == []
        assert backend.tail("main").slot == 43
    with closing(sqlite3.connect(store)) as other:
        assert other.execute("SELECT b FROM zz WHERE a=1").fetchone() == ("new",)


def test_a_kill_between_keeping_and_replacing_leaves_a_store_that_opens(store: Path) -> None:
    """The name under which a restore was about to keep the store is dropped, as the draft of an init is."""
    os.link(store, store.with_name("kb.db.replaced-20261127_120000"))
    assert slots(store) == 3
    assert os.listdir(store.parent) == ["kb.db"]


@pytest.mark.parametrize("reader", ["open", "open by a link", "backup", "create beside it"])
def test_a_reader_leaves_the_replaced_store_to_the_restore(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    """Between keeping and replacing the store has two names, and the kept one is soon the only one: nobody drops it."""
    backup = backup_store(store, tmp_path / "backup.db")
    with closing(open_backend(store)) as backend:
        fill(backend, 2, first=4)
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "kb.db"
    link.symlink_to(store)
    keep, told = os.link, []

    def meanwhile(source: Path, target: Path) -> None:
        keep(source, target)
        if ".replaced-" in target.name:
            if reader == "create beside it":
                create_backend(tmp_path / "new.db").close()
                return
            act = {
                "open": lambda: open_backend(store),
                "open by a link": lambda: open_backend(link),
                "backup": lambda: backup_store(store, tmp_path / "new.db"),
            }[reader]
            with pytest.raises(StoreUnavailable, match="being made or replaced") as refused:
                act()
            told.append(str(refused.value.hint))

    monkeypatch.setattr(file, "_PATIENCE_S", 0.0)
    monkeypatch.setattr(os, "link", meanwhile)
    kept = restore_store(store, backup, "replaced-20261127_120000")
    monkeypatch.undo()
    assert kept is not None
    assert (slots(store), slots(kept)) == (3, 5)
    assert all("try again when no other kbstore command runs" in hint for hint in told)
    assert len(told) == (reader != "create beside it")


def test_a_reader_waits_for_the_end_of_a_restore(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who opens the store in the middle of its replacement gets the new one."""
    backup = backup_store(store, tmp_path / "backup.db")
    with closing(open_backend(store)) as backend:
        fill(backend, 2, first=4)
    keep, found = os.link, []
    reader = threading.Thread(target=lambda: found.append(slots(store)))
    waits = threading.Event()

    def waiting(seconds: float) -> None:
        waits.set()
        sleep(seconds)

    def meanwhile(source: Path, target: Path) -> None:
        keep(source, target)
        monkeypatch.setattr(file.time, "sleep", waiting)
        reader.start()
        assert waits.wait(30)

    sleep = time.sleep
    monkeypatch.setattr(os, "link", meanwhile)
    kept = restore_store(store, backup, "replaced-20261127_120000")
    reader.join()
    monkeypatch.undo()
    assert kept is not None
    assert (found, slots(kept)) == ([3], 5)


def test_a_kept_store_that_another_program_removes_is_missed(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restore does not say that it kept what is gone."""
    backup = backup_store(store, tmp_path / "backup.db")
    keep = os.link

    def removed(source: Path, target: Path) -> None:
        keep(source, target)
        target.unlink()

    monkeypatch.setattr(os, "link", removed)
    with pytest.raises(StoreUnavailable, match="is gone: another program removed it"):
        restore_store(store, backup, "replaced-20261127_120000")


def test_no_draft_is_made_without_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has the folder's lock alone takes each draft for left: nobody makes one then."""
    monkeypatch.setattr(folders, "_TRIES", 2)
    handle = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(StoreUnavailable, match="another program keeps its folder locked"):
            create_backend(tmp_path / "kb.db")
    finally:
        os.close(handle)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("act", ["gc", "restore"])
def test_the_name_that_a_killed_restore_left_is_removed_by(store: Path, tmp_path: Path, act: str) -> None:
    """Only if it is a second one: a store that was replaced is kept."""
    backup = backup_store(store, tmp_path / "backup.db")
    replaced, left = (tmp_path / f"kb.db.replaced-2026112{day}_120000" for day in (7, 8))
    shutil.copy(store, replaced)
    with closing(open_backend(store)) as backend:
        os.link(store, left)
        if act == "gc":
            backend.collect({})
    if act == "restore":
        restore_store(store, backup, "old")
    assert not left.exists()
    assert slots(replaced) == 3


def test_a_handle_does_not_go_on_with_another_file_after_a_fork(store: Path, tmp_path: Path) -> None:
    """The file that was restored while the handle had none open is not mixed with what it remembers of the old one."""
    backup = backup_store(store, tmp_path / "backup.db")
    with closing(open_backend(store)) as backend:
        backend._connection.before_fork()  # type: ignore[attr-defined]
        restore_store(store, backup, "old")
        with pytest.raises(StoreUnavailable, match="replaced"):
            backend.tail("main")
    assert slots(store) == 3


def test_a_second_restore_leaves_the_first_ones_log_alone(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It opened the file that the first one replaced: it is refused, and what was committed since stays."""
    backup = backup_store(store, tmp_path / "backup.db")
    connect = file.connect_plain
    writers = []

    def late(path: Path, options: str) -> sqlite3.Connection:
        connection = connect(path, options)
        if options == "mode=rw" and path == store and not writers:
            writers.append(None)
            restore_store(store, backup, "first")
            writers[0] = open_backend(store)
            fill(writers[0], 2, first=4)
        return connection

    monkeypatch.setattr(file, "connect_plain", late)
    with pytest.raises(StoreUnavailable, match="open elsewhere"):
        restore_store(store, backup, "second")
    monkeypatch.undo()
    assert not list(tmp_path.glob("*second*"))
    writers[0].close()
    assert slots(store) == 5


def killed_in_a_journal(path: Path) -> None:
    """Leave the rollback journal of a tool that changed the journal mode, wrote, and was killed."""
    code = (
        f"import os, sqlite3; c = sqlite3.connect({str(path)!r}, isolation_level=None)\n"
        "c.execute('PRAGMA journal_mode=DELETE'); c.execute('PRAGMA cache_size=5'); c.execute('BEGIN')\n"
        "c.execute('ANALYZE'); c.execute('CREATE TABLE zz(a)')\n"
        "for _ in range(200): c.execute('INSERT INTO zz VALUES(zeroblob(2000))')\n"
        "os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert path.with_name("kb.db-journal").stat().st_size


@pytest.mark.parametrize("other", ["later", "another store", "its backup"])
def test_a_journal_of_another_file_is_refused(store: Path, tmp_path: Path, other: str) -> None:
    """SQLite would write its pages over the file; with the journal moved away the file opens."""
    moved = tmp_path / "other" / "kb.db"
    moved.parent.mkdir()
    if other == "another store":
        with closing(create_backend(moved)) as backend:
            fill(backend, 3)
    else:
        backup_store(store, moved)
    if other == "later":
        shutil.copy(store, moved)
        with closing(open_backend(store)) as backend:
            fill(backend, 1, first=4)
    killed_in_a_journal(store)
    moved.replace(store)
    moved.parent.rmdir()
    before = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
    for read_only in (False, True):
        with pytest.raises(StoreUnavailable, match=r"nothing shows that .*kb\.db-journal belongs") as told:
            open_backend(store, read_only=read_only)
        assert "copy both files" in str(told.value.hint)
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == before
    backup = tmp_path / "backup.db"
    shutil.copy(store, backup)
    assert restore_store(store, backup, "old") == tmp_path / "kb.db.old"
    assert (tmp_path / "kb.db.old").read_bytes() == before["kb.db"]
    assert (tmp_path / "kb.db.old-journal").read_bytes() == before["kb.db-journal"]
    assert slots(store) == 3


def test_the_files_own_journal_is_taken_in(store: Path) -> None:
    """What the killed tool had half written is undone."""
    killed_in_a_journal(store)
    assert slots(store) == 3
    assert os.listdir(store.parent) == ["kb.db"]


def test_a_log_that_others_write_back_is_not_called_cut_off(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a handle looks whether its log was cut off, others commit and write the log back: nothing is lost."""
    log = Path(f"{store}-wal")
    tried = []

    def beside(path: Path, name: str, number: int) -> bool:
        if not tried:
            tried.append(name)
            fill(other, 1, first=other.tail("main").slot + 1)
            with closing(sqlite3.connect(store, timeout=0)) as tool:
                tool.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return holds_write(path, name, number)

    with closing(open_backend(store)) as other:
        fill(other, 5, first=other.tail("main").slot + 1)
        backend = open_backend(store)
        fill(backend, 1, first=backend.tail("main").slot + 1)
        with closing(sqlite3.connect(store)) as tool:
            assert tool.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
        fill(other, 1, first=other.tail("main").slot + 1)
        assert log.stat().st_size > 0
        monkeypatch.setattr("kbstore.backends.sqlite.connection.holds_write", beside)
        backend.close()
        assert tried
        newest = other.tail("main").slot
    assert slots(store) == newest
