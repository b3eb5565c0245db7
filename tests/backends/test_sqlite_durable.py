"""What a failed COMMIT means, and what is synced when, without a disk that fails: a connection refuses to commit."""

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kbstore.backends.base import Record
from kbstore.backends.sqlite import SQLiteBackend, schema
from kbstore.backends.sqlite.connection import Connection
from kbstore.backends.sqlite.files import store_file
from kbstore.kit.errors import CorruptStore, DiskFull, OutcomeUnknown, StoreUnavailable

WRITE_ID = "0123456789abcdef"


class Refusing:
    """A connection whose COMMIT raises an error with this code, after having done its work or without."""

    def __init__(self, inner: sqlite3.Connection, code: int, *, done: bool = False) -> None:
        self._inner = inner
        self._code = code
        self._done = done
        self.refused = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def execute(self, statement: str, *more: Any) -> sqlite3.Cursor:
        """Refuse to commit."""
        if statement != "COMMIT":
            return self._inner.execute(statement, *more)
        if self._done:
            self._inner.execute(statement)
        self.refused += 1
        error = sqlite3.OperationalError("the disk said no")
        error.sqlite_errorcode = self._code
        raise error


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An empty store."""
    store_file.create_file(tmp_path / "kb.db")
    return tmp_path / "kb.db"


def refuse(connection: Connection, code: int, *, done: bool = False) -> Refusing:
    """Let the next commits of a connection fail."""
    refusing = Refusing(connection.get(), code, done=done)
    connection._connection = refusing  # type: ignore[assignment]
    return refusing


def note(connection: sqlite3.Connection) -> None:
    """Write one row."""
    connection.execute("INSERT INTO notes SELECT 'x', count(*), x'00', x'00' FROM notes")


def count(connection: sqlite3.Connection) -> int:
    """How many rows there are."""
    return int(connection.execute("SELECT count(*) FROM notes").fetchone()[0])


class Synced:
    """What was written and synced by hand, and what was given a name, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, str]] = []
        self.fault: int | None = None
        fsync = os.fsync

        def synced(handle: int) -> None:
            name = os.path.basename(os.readlink(f"/proc/self/fd/{handle}"))
            self.calls.append(("sync", name))
            if self.fault is not None:
                raise OSError(self.fault, os.strerror(self.fault))
            fsync(handle)

        pwrite = os.pwrite

        def written(handle: int, data: bytes, at: int) -> int:
            self.calls.append(("write", os.path.basename(os.readlink(f"/proc/self/fd/{handle}"))))
            return pwrite(handle, data, at)

        monkeypatch.setattr(os, "pwrite", written)
        monkeypatch.setattr(os, "fsync", synced)
        for word in ("link", "replace", "rename"):
            monkeypatch.setattr(os, word, self._named(word, getattr(os, word)))

    def _named(self, word: str, call: Callable[..., None]) -> Callable[..., None]:
        def named(source: Any, target: Any, *more: Any, **options: Any) -> None:
            self.calls.append((word, os.path.basename(target)))
            call(source, target, *more, **options)

        return named


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> Synced:
    """All syncs and new names from here on."""
    return Synced(monkeypatch)


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_BUSY])
def test_a_commit_that_fails_has_an_unknown_outcome(path: Path, code: int, done: bool) -> None:
    """Whether its bytes are there nobody knows: the error names the write, and the connection is thrown away."""
    connection = Connection(path, read_only=False)
    refusing = refuse(connection, code, done=done)
    with pytest.raises(OutcomeUnknown, match="failed at the last step: the disk said no") as caught:
        connection.write(note, write_id=WRITE_ID)
    assert caught.value.write_id == WRITE_ID
    assert refusing.refused == 1
    assert not connection.is_open
    assert connection.use(count) == done
    connection.close()


def test_no_room_to_commit_is_no_doubt(path: Path) -> None:
    """Then nothing is there, and the caller may free space and write again; the connection goes all the same."""
    connection = Connection(path, read_only=False)
    refuse(connection, sqlite3.SQLITE_FULL)
    with pytest.raises(DiskFull, match="the disk is full"):
        connection.write(note, write_id=WRITE_ID)
    assert not connection.is_open
    connection.write(note, write_id=WRITE_ID)
    assert connection.use(count) == 1
    connection.close()


def test_a_failed_commit_of_a_cache_may_be_repeated(path: Path) -> None:
    """It has no write id, so the error says that the disk failed."""
    connection = Connection(path, read_only=False)
    refuse(connection, sqlite3.SQLITE_IOERR)
    with pytest.raises(StoreUnavailable, match="the disk failed") as caught:
        connection.write(note)
    assert not isinstance(caught.value, OutcomeUnknown)
    assert not connection.is_open
    connection.close()


def test_an_append_whose_commit_fails_says_so(path: Path) -> None:
    """Through the backend: the log ends where it did, or one slot later."""
    backend = SQLiteBackend(str(path))
    refuse(backend._connection, sqlite3.SQLITE_IOERR, done=True)
    with pytest.raises(OutcomeUnknown) as caught:
        backend.append("main", 1, [Record(b"{}", b"[]")], write_id=WRITE_ID)
    assert caught.value.write_id == WRITE_ID
    assert backend.find_write("main", WRITE_ID) == (1, 1)
    backend.close()


def test_the_log_is_written_once_more_after_a_failed_commit(path: Path, synced: Synced) -> None:
    """Before anything else is written, and once: what a failed sync left unwritten, a later one never writes."""
    beside = Connection(path, read_only=False)  # else the log would go with the connection that is thrown away
    connection = Connection(path, read_only=False)
    connection.write(note)
    refuse(connection, sqlite3.SQLITE_IOERR)
    with pytest.raises(OutcomeUnknown):
        connection.write(note, write_id=WRITE_ID)
    synced.calls.clear()
    connection.use(count)
    assert synced.calls == [("write", "kb.db-wal"), ("sync", "kb.db-wal")]
    connection.discard()
    connection.use(count)
    assert len(synced.calls) == 2
    connection.close()
    beside.close()


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB])
def test_a_statement_that_fails_may_have_committed(path: Path, synced: Synced, code: int) -> None:
    """VACUUM commits by itself: after such an error too the connection goes, and the log is written once more."""
    beside = Connection(path, read_only=False)
    connection = Connection(path, read_only=False)
    connection.write(note)

    def failing(raw: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("the disk said no")
        error.sqlite_errorcode = code
        raise error

    with pytest.raises((StoreUnavailable, CorruptStore), match="the disk said no"):
        connection.use(failing)
    assert not connection.is_open
    synced.calls.clear()
    connection.use(count)
    assert synced.calls == [("write", "kb.db-wal"), ("sync", "kb.db-wal")]
    connection.close()
    beside.close()


def test_a_log_that_cannot_be_written_once_more_is_tried_again(path: Path, synced: Synced) -> None:
    """As long as the disk fails nothing is read or written through the handle."""
    beside = Connection(path, read_only=False)  # else the log would go with the connection that is thrown away
    connection = Connection(path, read_only=False)
    connection.write(note)
    refuse(connection, sqlite3.SQLITE_IOERR)
    with pytest.raises(OutcomeUnknown):
        connection.write(note, write_id=WRITE_ID)
    synced.fault = errno.EIO
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"the disk failed under .*Input/output error"):
            connection.write(note)
    synced.fault = None
    synced.calls.clear()
    assert connection.use(count) == 1
    assert ("sync", "kb.db-wal") in synced.calls
    connection.close()
    beside.close()


def test_a_failed_commit_of_no_doubt_leaves_the_log_alone(path: Path, synced: Synced) -> None:
    """A statement that fails is taken back, and the connection is used further."""
    connection = Connection(path, read_only=False)
    kept = connection.get()

    def twice(raw: sqlite3.Connection) -> None:
        note(raw)
        raise KeyError

    with pytest.raises(KeyError):
        connection.write(twice)
    assert connection.get() is kept
    assert connection.use(count) == 0
    assert ("sync", "kb.db-wal") not in synced.calls
    connection.close()


def test_a_store_is_made_durably(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, synced: Synced) -> None:
    """Its pages are synced before it has its name, and its name is before anybody is told."""
    levels = []
    said: list[str] = []
    create = schema.create

    def watched(connection: sqlite3.Connection) -> None:
        levels.append(connection.execute("PRAGMA synchronous").fetchone()[0])
        create(connection)
        connection.set_trace_callback(said.append)

    monkeypatch.setattr(schema, "create", watched)
    store_file.create_file(tmp_path / "kb.db")
    assert levels == [2]
    assert said == ["PRAGMA wal_checkpoint(TRUNCATE)"]  # closing would too, and pass over a failure
    assert synced.calls == [("link", "kb.db"), ("sync", tmp_path.name)]


def test_a_name_that_cannot_be_made_durable_is_an_error(tmp_path: Path, synced: Synced) -> None:
    """A folder that cannot be synced on any system is no reason to fail, and a disk that fails is one."""
    synced.fault = errno.EINVAL
    store_file.create_file(tmp_path / "one.db")
    synced.fault = errno.EIO
    with pytest.raises(StoreUnavailable, match=r"two\.db cannot be created: Input/output error"):
        store_file.create_file(tmp_path / "two.db")


def test_the_name_of_a_log_is_durable_before_it_holds_anything(path: Path, synced: Synced) -> None:
    """SQLite syncs the folder too, and passes over a failure. Only the first write into a log pays for it."""
    connection = Connection(path, read_only=False)
    connection.use(count)
    assert synced.calls == []
    synced.fault = errno.EIO
    with pytest.raises(StoreUnavailable, match=r"the folder of .*kb\.db cannot be synced: Input/output error"):
        connection.write(note, write_id=WRITE_ID)
    assert path.with_name("kb.db-wal").stat().st_size == 0
    synced.fault = None
    synced.calls.clear()
    for _ in range(2):
        connection.write(note, write_id=WRITE_ID)
    assert synced.calls == [("sync", path.parent.name)]
    assert connection.use(count) == 2
    connection.close()
