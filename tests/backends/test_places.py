"""Locations: what is opened, what is created, and a clear word about everything else that may stand there."""

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kbstore.backends import create_backend, open_backend
from kbstore.backends.base import Record
from kbstore.backends.sqlite.files import read_only
from kbstore.kit.errors import (
    BackendError,
    CorruptStore,
    ReadOnlyStore,
    StoreExists,
    StoreNotFound,
    StoreUnavailable,
    UnsupportedFormat,
)
from kbstore.kit.private_files import make_private_file
from tests.backends.samples import everything, fill, furnish


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A closed store with something of everything."""
    path = tmp_path / "kb.db"
    backend = create_backend(path)
    furnish(backend)
    backend.close()
    return path


def test_a_path_a_folder_and_a_url_name_the_same_store(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, its folder, and ``sqlite:`` before either open one store; the location is the file's path."""
    monkeypatch.chdir(store.parent)
    for location in (store, str(store), store.parent, f"{store.parent}/", f"sqlite:{store}", f"sqlite://{store}", "."):
        backend = open_backend(location)
        assert backend.tail("main").slot == 31
        assert Path(backend.location).resolve() == store.resolve()
        backend.close()


def test_creating_makes_one_file(tmp_path: Path) -> None:
    """After creating and closing there is one file, small, and nothing else beside it."""
    create_backend(tmp_path / "a.kb").close()
    assert os.listdir(tmp_path) == ["a.kb"]
    assert (tmp_path / "a.kb").stat().st_size <= 12 * 4096
    create_backend(tmp_path).close()
    assert sorted(os.listdir(tmp_path)) == ["a.kb", "kb.db"]


def test_the_last_close_leaves_no_wal(store: Path) -> None:
    """While a store is open SQLite keeps files beside it; after the last close, written or read, none is left."""
    writer, reader = open_backend(store), open_backend(store, read_only=True)
    fill(writer, 3, log="other")
    assert reader.tail("other").slot == 3
    assert len(os.listdir(store.parent)) == 3
    reader.close()
    writer.close()
    assert os.listdir(store.parent) == ["kb.db"]
    reader = open_backend(store, read_only=True)
    assert reader.tail("other").slot == 3
    reader.close()
    assert os.listdir(store.parent) == ["kb.db"]


def test_nothing_is_created_over_anything(tmp_path: Path, store: Path) -> None:
    """A file, an empty file, a dangling link: creating there is refused and changes nothing."""
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to("nowhere")
    before = store.read_bytes()
    for name in ("kb.db", "empty", "link"):
        with pytest.raises(StoreExists, match=name):
            create_backend(tmp_path / name)
    assert store.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["empty", "kb.db", "link"]


@pytest.mark.parametrize("location", ["s4://bucket/prefix", "http://x/y", "nosuch:thing"])
def test_an_unknown_scheme_is_named(location: str) -> None:
    """A URL that no backend knows is refused with the known schemes."""
    for action in (open_backend, create_backend):
        with pytest.raises(StoreNotFound, match=location.partition(":")[0]) as caught:
            action(location)
        assert "sqlite:" in str(caught.value.hint)


def test_a_file_with_a_colon_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path object is never a URL, and an existing file is a file whatever its name."""
    monkeypatch.chdir(tmp_path)
    create_backend(Path("odd:name")).close()
    open_backend("odd:name").close()
    open_backend("./odd:name").close()


@pytest.mark.parametrize("name", ["a b.db", "100%.db", "q?mode=memory#x.db", "ünï.db", "-x.db", "'.db"])
def test_odd_names_are_names(tmp_path: Path, name: str) -> None:
    """Nothing in a file's name is taken for a part of a URL."""
    backend = create_backend(tmp_path / name)
    fill(backend, 1)
    backend.close()
    assert os.listdir(tmp_path) == [name]
    open_backend(tmp_path / name, read_only=True).close()


def foreign_database(path: Path) -> None:
    """An SQLite database of another program."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE records(id INTEGER PRIMARY KEY, note TEXT)")
    connection.close()


def cut(share: float) -> Callable[[Path], None]:
    """Cut a store's file down to a share of its size."""

    def cutting(path: Path) -> None:
        os.truncate(path, int(path.stat().st_size * share))

    return cutting


def overwrite(offset: int, data: bytes) -> Callable[[Path], None]:
    """Put other bytes into a file."""

    def overwriting(path: Path) -> None:
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(data)

    return overwriting


def version(number: int) -> Callable[[Path], None]:
    """Mark a store as of another format."""
    return overwrite(71, number.to_bytes(1))


WRONG: dict[str, tuple[Callable[[Path], object], type[BackendError], str]] = {
    "missing": (lambda p: p.unlink(), StoreNotFound, "no store in"),
    "folder": (lambda p: (p.unlink(), p.mkdir()), StoreNotFound, "no store in"),
    "fifo": (lambda p: (p.unlink(), os.mkfifo(p)), StoreNotFound, "regular file"),
    "empty": (lambda p: os.truncate(p, 0), CorruptStore, "is empty"),
    "ten bytes": (lambda p: os.truncate(p, 10), CorruptStore, "cut off after 10 bytes"),
    "sixty bytes": (lambda p: os.truncate(p, 60), CorruptStore, "cut off after 60 bytes"),
    "two bytes more": (lambda p: os.truncate(p, p.stat().st_size + 2), CorruptStore, "bytes are not whole pages of"),
    "half": (cut(0.5), CorruptStore, "damaged"),
    "most": (cut(0.95), CorruptStore, "damaged"),
    "json": (lambda p: p.write_text('{"problems": {}}'), CorruptStore, "not an SQLite file any more"),
    "text": (lambda p: p.write_text("# not JSON\n" * 100), CorruptStore, "not an SQLite file any more"),
    "no SQLite file": (overwrite(0, b"x"), CorruptStore, "its first page is damaged"),
    "application": (overwrite(68, b"x"), CorruptStore, "its header does not say that it is a store"),
    "foreign": (lambda p: (p.unlink(), foreign_database(p)), StoreNotFound, "another program"),
    "newer": (version(7), UnsupportedFormat, "in format 7, which a newer kbstore wrote; this one reads format 1"),
    "never": (version(0), CorruptStore, "which no kbstore wrote"),
    "page size": (overwrite(16, b"\x33\x33"), CorruptStore, "its first page is damaged"),
    "first page": (overwrite(100, b"\xff" * 200), CorruptStore, "damaged"),
}


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("kind", WRONG)
def test_what_is_not_a_store_is_named(store: Path, kind: str, read_only: bool) -> None:
    """Each thing that is no store, or one no more, has its own error with a hint, and is left as it was."""
    spoil, error, words = WRONG[kind]
    spoil(store)
    before = store.read_bytes() if store.is_file() else None
    with pytest.raises(error, match=words) as caught:
        open_backend(store, read_only=read_only)
    assert str(store.parent) in str(caught.value)
    assert caught.value.hint
    assert (store.read_bytes() if store.is_file() else None) == before


@pytest.mark.parametrize("text", ["{}", "# not JSON\n" * 100])
def test_a_file_of_another_name_that_is_not_an_sqlite_file_is_not_called_damaged(tmp_path: Path, text: str) -> None:
    """It may be any file, so the path may be wrong; ``kb.db`` is a store by its name."""
    path = tmp_path / "notes.txt"
    path.write_text(text)
    with pytest.raises(StoreNotFound, match="is not a store: it is not an SQLite file"):
        open_backend(path)


def test_missing_folders_are_named(tmp_path: Path) -> None:
    """Neither opening nor creating makes a folder."""
    for action in (open_backend, create_backend):
        with pytest.raises(StoreNotFound, match="nowhere"):
            action(tmp_path / "nowhere" / "kb.db")
    assert os.listdir(tmp_path) == []
    (tmp_path / "file").touch()
    with pytest.raises(StoreNotFound):
        open_backend(tmp_path / "file" / "kb.db")


def test_a_deleted_file_is_noticed(store: Path) -> None:
    """A store that is deleted while it is open refuses to go on, instead of writing into the void."""
    backend = open_backend(store)
    store.unlink()
    for call in (lambda: fill(backend, 1, log="new"), lambda: backend.tail("main"), lambda: list(backend.read("main"))):
        with pytest.raises(StoreNotFound, match="deleted or moved"):
            call()
    backend.close()


def test_a_replaced_file_is_noticed(store: Path, tmp_path: Path) -> None:
    """A store that is replaced while it is open is not written, and the new one is left as it is."""
    backend = open_backend(store)
    copy = tmp_path / "copy"
    shutil.copy(store, copy)
    copy.replace(store)
    with pytest.raises(StoreUnavailable, match="replaced"):
        fill(backend, 1, log="new")
    backend.close()
    backend = open_backend(store)
    assert backend.logs() == ["main", "refs"]
    assert list(backend.check()) == []


def test_the_folder_may_be_left(store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A store opened by a relative path goes on after a change of folder."""
    monkeypatch.chdir(tmp_path)
    backend = open_backend("kb.db")
    monkeypatch.chdir("/")
    fill(backend, 1, log="new")
    backend.close()


# -- what may not be written: in a process without root's powers, to whom every door is open

AS_NOBODY = """
import os, sys
import kbstore.backends.sqlite, shutil, subprocess, tempfile, traceback
from kbstore.backends import open_backend, create_backend
from kbstore.kit.errors import KBStoreError
from tests.backends.samples import everything, fill
if os.geteuid() == 0:
    # After the imports: the interpreter itself may lie where nobody else can read.
    os.setgid(65534); os.setuid(65534)
try:
    {code}
except KBStoreError as error:
    print(type(error).__name__, error.hint is not None)
"""


@pytest.fixture
def locked(store: Path) -> Iterator[Path]:
    """A store in a folder that nobody may write, reachable for a process of no rights."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        moved = place / "kb.db"
        shutil.move(store, moved)
        moved.chmod(0o444)
        place.chmod(0o555)
        yield moved
        place.chmod(0o755)


def test_a_folder_that_may_not_be_entered_is_named(locked: Path) -> None:
    """Not even whether there is a store can be told; the error is ours, with a hint."""
    locked.parent.chmod(0o700)
    for reading in (False, True):
        assert as_nobody(f"open_backend({str(locked)!r}, read_only={reading})") == "StoreUnavailable True"


def as_nobody(code: str) -> str:
    """What these lines print, run without the power to write what is read-only."""
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), root])
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY.format(code=code)],
        env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": "/tmp"},
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    return done.stdout.strip()


def test_read_only_media_are_read(locked: Path) -> None:
    """On media that cannot be written a read-only open reads everything and leaves nothing."""
    code = (
        f"b = open_backend({str(locked)!r}, read_only=True); "
        "print(len(repr(everything(b))), list(b.check())); b.close()"
    )
    whole = open_backend(locked, read_only=True)
    assert as_nobody(code) == f"{len(repr(everything(whole)))} []"
    whole.close()
    assert os.listdir(locked.parent) == ["kb.db"]


def test_read_only_media_refuse_writers(locked: Path) -> None:
    """Opening for writing what cannot be written, or creating there, is refused at once."""
    assert as_nobody(f"open_backend({str(locked)!r})") == "ReadOnlyStore True"
    assert as_nobody(f"create_backend({str(locked.with_name('new.db'))!r})") == "StoreUnavailable True"
    locked.chmod(0o000)
    assert as_nobody(f"open_backend({str(locked)!r}, read_only=True)") == "StoreUnavailable True"


def test_a_wal_left_on_read_only_media_is_read_too(locked: Path) -> None:
    """Commits that a killed writer left in the WAL are not passed over: a recovered copy is read, and removed."""
    locked.parent.chmod(0o755)
    locked.chmod(0o644)
    writer = open_backend(locked)
    fill(writer, 5, log="late")
    kept = locked.with_name("kept")
    kept.mkdir()
    for name in ("kb.db", "kb.db-wal"):
        shutil.copy(locked.parent / name, kept / name)
    writer.close()
    for path in (*kept.iterdir(), kept):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path.name: path.read_bytes() for path in kept.iterdir()}
    code = f"b = open_backend({str(kept)!r}, read_only=True); print(b.tail('late').slot, list(b.check())); b.close()"
    assert as_nobody(code) == "5 []"
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before
    kept.chmod(0o755)


def test_a_private_copy_is_gone_however_its_reader_ends(locked: Path, tmp_path: Path) -> None:
    """It has no name while it is read, so a child that ends without clearing up leaves nothing."""
    locked.parent.chmod(0o755)
    locked.chmod(0o644)
    kept, temporary = locked.with_name("kept"), locked.with_name("temporary")
    kept.mkdir()
    temporary.mkdir()
    temporary.chmod(0o777)
    with closing(open_backend(locked)) as writer:
        fill(writer, 5, log="late")
        for name in ("kb.db", "kb.db-wal"):
            shutil.copy(locked.parent / name, kept / name)
    for path in (*kept.iterdir(), kept):
        path.chmod(0o555 if path.is_dir() else 0o444)
    code = (
        f"import tempfile; tempfile.tempdir = {str(temporary)!r}\n"
        f"    b = open_backend({str(kept)!r}, read_only=True); b.tail('late')\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        found = b.tail('late').slot == 5 and list(b.check()) == []\n"
        "        os._exit(0 if found and b._connection._reader.detached else 1)\n"
        "    print(os.waitpid(child, 0)[1], os.listdir(tempfile.tempdir), b.tail('late').slot); sys.stdout.flush()\n"
        "    os._exit(0)"
    )
    assert as_nobody(code) == "0 [] 5"
    assert os.listdir(temporary) == []
    kept.chmod(0o755)


def test_a_frozen_store_that_changes_after_all_is_read_anew(locked: Path) -> None:
    """Where SQLite was told that nothing changes and something does, the next call sees it."""
    code = (
        f"b = open_backend({str(locked)!r}, read_only=True); print(b.tail('late').slot); sys.stdout.flush(); "
        "sys.stdin.readline(); print(b.tail('late').slot)"
    )
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), root])
    with subprocess.Popen(
        [sys.executable, "-c", AS_NOBODY.format(code=code)],
        env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "0\n"
            locked.parent.chmod(0o755)
            locked.chmod(0o644)
            writer = open_backend(locked)
            writer.append("late", 1, [Record(b"x")], write_id="x")
            writer.close()
            assert child.communicate("\n")[0] == "1\n"
        finally:
            child.kill()


def steps_as_nobody(code: str, act: Callable[[], object]) -> list[str]:
    """What these lines print, in a process without rights that waits for `act` at each `sys.stdin.readline()`."""
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), root])
    with subprocess.Popen(
        [sys.executable, "-uc", AS_NOBODY.format(code=code)],
        env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": "/tmp"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
    ) as child:
        try:
            assert child.stdout is not None
            first = child.stdout.readline()
            act()
            return [first.strip(), *child.communicate("\n")[0].split()]
        finally:
            child.kill()


def test_a_log_that_appears_is_read(locked: Path) -> None:
    """A reader without rights that opened the file alone sees what a writer has only in its log so far."""
    locked.parent.chmod(0o755)
    locked.chmod(0o444)
    opened = []

    def write() -> None:
        opened.append(open_backend(locked))
        opened[0].append("late", 1, [Record(b"x")], write_id="x")

    code = f"b = open_backend({str(locked)!r}, read_only=True); print(b.tail('late').slot); sys.stdin.readline(); "
    assert steps_as_nobody(code + "print(b.tail('late').slot)", write) == ["0", "1"]
    opened[0].close()


def test_a_copy_of_a_log_is_taken_anew(locked: Path) -> None:
    """A reader without rights that reads a private copy sees what changed since it was taken."""
    locked.parent.chmod(0o755)
    locked.chmod(0o644)
    writer = open_backend(locked)
    fill(writer, 1, log="late")
    kept = locked.with_name("kept")
    kept.mkdir()

    def keep() -> None:
        for name in ("kb.db", "kb.db-wal"):
            shutil.copy(locked.parent / name, kept / name)

    def go_on() -> None:
        fill(writer, 2, log="late", first=2)
        keep()

    keep()
    code = f"b = open_backend({str(kept)!r}, read_only=True); print(b.tail('late').slot); sys.stdin.readline(); "
    assert steps_as_nobody(code + "print(b.tail('late').slot, list(b.check()))", go_on) == ["1", "3", "[]"]
    writer.close()


def test_a_copy_beside_a_writer_is_of_one_moment(locked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that change while they are copied are copied again, and never taken for damage."""
    backend = open_backend(locked)
    fill(backend, 1, log="late")
    copied = []

    def copy_late(parts: list[Path], folder: Path) -> None:
        for part in parts:
            shutil.copyfile(part, folder / part.name)
            if not copied and part == locked:
                fill(backend, 1, log="late", first=2)
        copied.append(len(parts))

    monkeypatch.setattr(read_only, "copy_parts", copy_late)
    reader = read_only.ReadOnlyConnection.__new__(read_only.ReadOnlyConnection)
    reader.detached = True
    connection = reader._recovered(locked, locked)
    assert connection.execute("SELECT count(*) FROM records WHERE log='late'").fetchone() == (2,)
    assert copied == [2, 2]
    reader.connection = connection
    reader.close()
    backend.close()


def test_a_hot_journal_is_not_passed_over(locked: Path) -> None:
    """What a killed program of another journal mode left is undone in a copy, for a reader without rights."""
    locked.parent.chmod(0o755)
    locked.chmod(0o644)
    kept = locked.with_name("kept")
    kept.mkdir()
    with closing(sqlite3.connect(locked, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode=DELETE")
        other.execute("PRAGMA cache_size=1")
        other.execute("BEGIN")
        other.execute("CREATE TABLE junk(x)")
        other.execute("INSERT INTO junk SELECT randomblob(1000) FROM records a, records b LIMIT 3000")
        for name in ("kb.db", "kb.db-journal"):
            shutil.copy(locked.parent / name, kept / name)
        other.execute("ROLLBACK")
    for path in (*kept.iterdir(), kept):
        path.chmod(0o555 if path.is_dir() else 0o444)
    code = f"b = open_backend({str(kept)!r}, read_only=True); print(b.tail('main').slot, list(b.check())); b.close()"
    with closing(open_backend(locked)) as backend:
        assert as_nobody(code) == f"{backend.tail('main').slot} []"
    kept.chmod(0o755)


def test_a_read_only_handle_says_so(store: Path) -> None:
    """The error names the store, and what to do."""
    backend = open_backend(store, read_only=True)
    with pytest.raises(ReadOnlyStore, match=r"kb\.db") as caught:
        fill(backend, 1, log="new")
    assert caught.value.hint


@pytest.mark.parametrize("links", [True, False])
def test_a_private_file_is_made_also_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """Its mode is right from the start, one that is there stays, and nothing is left beside it."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    make_private_file(tmp_path / "state.db")
    assert (tmp_path / "state.db").stat().st_mode & 0o777 == 0o600
    (tmp_path / "state.db").write_bytes(b"kept")
    make_private_file(tmp_path / "state.db")
    assert (tmp_path / "state.db").read_bytes() == b"kept"
    assert os.listdir(tmp_path) == ["state.db"]
