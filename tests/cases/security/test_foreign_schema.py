"""A store that came from elsewhere runs nothing of its schema, at no command and at no call."""

import os
import signal
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from kbstore import Store
from kbstore.errors import CorruptStore, StoreUnavailable
from tests.cases.support import Desk

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n)"
TAMPERED = {
    "a view in the place of a table": (
        (
            "ALTER TABLE snapshots RENAME TO real_snapshots; CREATE VIEW snapshots AS "
            f"{ENDLESS} SELECT i AS id, 1 tier, 1 first_pack, 1 last_pack, 1 bytes, x'' digest, x'' note FROM n"
        ),
        "the view snapshots",
    ),
    "a trigger that writes": (
        "CREATE TRIGGER helpful AFTER INSERT ON records BEGIN INSERT INTO notes VALUES('x', NEW.id, x'', x''); END",
        "the trigger helpful",
    ),
    "a trigger of ours that does something else": (
        "DROP TRIGGER records_update; CREATE TRIGGER records_update BEFORE UPDATE ON records BEGIN SELECT 1; END",
        "the trigger records_update",
    ),
    "another view": ("CREATE VIEW extra AS SELECT 1", "the view extra"),
    "a virtual table": ("CREATE VIRTUAL TABLE words USING fts5(text)", "the virtual table words"),
    "a table of ours with other columns": (
        (
            "DROP TABLE notes; CREATE TABLE notes(name TEXT, number INTEGER, digest BLOB, data BLOB DEFAULT (x'01'),"
            " PRIMARY KEY(name, number)) WITHOUT ROWID"
        ),
        "the table notes",
    ),
    "an index over what a function makes of a header": (
        "CREATE INDEX costly ON records(length(replace(hex(zeroblob(1000)), '0', header)))",
        "the index costly",
    ),
    "an index that lets no second commit in": ("CREATE UNIQUE INDEX once ON records(log)", "the index once"),
}
PLAIN = (
    "CREATE TABLE extra(a INTEGER PRIMARY KEY AUTOINCREMENT, b UNIQUE); CREATE INDEX extra_b ON extra(b);"
    "CREATE INDEX by_size ON records(size DESC); CREATE TABLE _litestream_seq(id INTEGER PRIMARY KEY, seq INTEGER);"
    "INSERT INTO extra(b) VALUES(1); ANALYZE"
)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A folder with a store of one version."""
    desk = Desk(tmp_path / "desk")
    desk.write({"a": {"x": 1}})
    desk.ok("init", "kb.json")
    return desk


def tamper(desk: Desk, script: str) -> Path:
    """Run SQL on the store's file, as whoever gives it away may do."""
    path = desk.folder / ".kbstore" / "kb.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return path


@pytest.mark.parametrize("kind", TAMPERED)
def test_what_would_run_is_refused_by_name(desk: Desk, kind: str) -> None:
    """A store whose schema runs something is refused by whoever would run it, before a byte is written."""
    script, name = TAMPERED[kind]
    path = tamper(desk, script)
    before = path.read_bytes()
    for read_only in (False, True):
        if read_only and "trigger" in name:
            Store.open(path, read_only=True).close()  # nothing is written, so none runs; salvage needs this
            continue
        with pytest.raises(CorruptStore, match=name):
            Store.open(path, read_only=read_only)
    ended = desk.run("log")
    assert ended.code == 3
    assert name in ended.err
    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", TAMPERED)
def test_what_would_run_is_not_copied(desk: Desk, kind: str) -> None:
    """A backup would carry it on, and putting one back would bring it in: both are refused by name."""
    script, name = TAMPERED[kind]
    desk.ok("backup", "good.db")
    path = tamper(desk, script)
    refused = desk.run("backup", "copy.db")
    assert (refused.code, name in refused.err) == (3, True)
    assert not (desk.folder / "copy.db").exists()
    bad = desk.folder / "bad.db"
    bad.write_bytes(path.read_bytes())
    path.write_bytes((desk.folder / "good.db").read_bytes())
    refused = desk.run("restore-backup", "bad.db")
    assert (refused.code, name in refused.err) == (3, True)
    assert path.read_bytes() == (desk.folder / "good.db").read_bytes()
    assert sorted(each.name for each in path.parent.glob("kb.db*")) == ["kb.db"]
    desk.ok("commit", "--allow-empty", "-m", "second")


def test_a_clone_takes_versions_and_no_schema(desk: Desk) -> None:
    """Each version is proved and written anew, so a store with a trigger can be cloned; what it would run is not."""
    tamper(desk, TAMPERED["a trigger that writes"][0])
    desk.ok("clone", ".", "copy.db")
    desk.ok("verify", "--store", "copy.db")
    with closing(sqlite3.connect(desk.folder / "copy.db")) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name='helpful'").fetchone() == (0,)
    assert desk.run("salvage", "rescued").code == 0


@pytest.mark.parametrize("mode", ["rw", "ro"])
def test_a_definition_that_hides_what_it_is_is_refused(desk: Desk, mode: str) -> None:
    """The text of a definition in an odd form is not taken for that of a plain table."""
    path = tamper(
        desk,
        "PRAGMA writable_schema=ON; INSERT INTO sqlite_master VALUES('table','odd','odd',0,"
        "'CREATE/**/VIRTUAL TABLE odd USING fts5(x)')",
    )
    with pytest.raises(CorruptStore):
        Store.open(path, read_only=mode == "ro")


def test_plain_tables_of_others_are_a_note(desk: Desk) -> None:
    """Tables and indexes that run nothing change nothing: the store is written, is whole, and verify names them."""
    tamper(desk, PLAIN)
    desk.write({"a": {"x": 2}})
    desk.ok("commit", "-m", "second")
    said = desk.ok("verify").out
    assert "whole: 2 versions" in said
    for name in ("_litestream_seq", "by_size", "extra", "extra_b", "sqlite_stat1"):
        assert name in said
    assert "damaged" not in said


def test_a_trigger_that_comes_while_a_store_is_open_never_runs(desk: Desk) -> None:
    """Whoever may write the file cannot commit in the name of a process that has it open."""
    path = desk.folder / ".kbstore" / "kb.db"
    with Store.open(path) as store:
        store.commit({"a": {"x": 2}}, message="second")
        tamper(desk, TAMPERED["a trigger that writes"][0])
        with pytest.raises(CorruptStore, match="the trigger helpful"):
            store.commit({"a": {"x": 3}}, message="third")
        tamper(desk, "DROP TRIGGER helpful")
        assert store.commit({"a": {"x": 3}}, message="third").seq == 3


@pytest.mark.skipif(os.name != "posix", reason="this system has no POSIX signals")
def test_a_signal_ends_a_long_statement(desk: Desk) -> None:
    """Ctrl-C ends a statement that would run for ever, and the store is used again afterwards."""
    with Store.open(desk.folder / ".kbstore" / "kb.db") as store:
        connection = store.backend._connection  # type: ignore[attr-defined]
        for begin in (connection.read, connection.use):
            timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
            timer.start()
            with pytest.raises(KeyboardInterrupt):
                begin(lambda one: one.execute(f"{ENDLESS} SELECT count(*) FROM n").fetchone())
            timer.join()
            assert store.get("/a/x") == 1
        store.commit({"a": {"x": 2}}, message="second")


@pytest.mark.skipif(os.name != "posix", reason="this system has no POSIX signals")
def test_a_signals_handler_cannot_use_the_store_within_a_statement(desk: Desk) -> None:
    """SQLite allows no second use of a connection there; the handler is told, and its exception ends the statement."""
    with Store.open(desk.folder / ".kbstore" / "kb.db") as store:

        def handle(*_: object) -> None:
            store.get("/a/x")

        connection = store.backend._connection  # type: ignore[attr-defined]
        before = signal.signal(signal.SIGALRM, handle)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(StoreUnavailable, match="in the middle of a call"):
                connection.read(lambda one: one.execute(f"{ENDLESS} SELECT count(*) FROM n").fetchone())
        finally:
            signal.signal(signal.SIGALRM, before)
        assert store.get("/a/x") == 1
