"""Backups, timeouts, and SQL that is sent as it is written."""

import os
import sqlite3
from pathlib import Path

import pytest

from kbstore.migrator import MigrationError, Settings, StatementFailed
from tests.migrator.servers import postgresql_binaries
from tests.migrator.support import QUICK, FakeClock, Folder, rows

USERS = "CREATE TABLE users (id INTEGER PRIMARY KEY, name VARCHAR(40));"


def backups(url: str) -> list[Path]:
    """The backups beside a SQLite file, oldest first."""
    file = Path(url.removeprefix("sqlite:///"))
    return sorted(file.parent.glob(f"{file.name}.*.bak"))


def test_a_sqlite_file_is_saved_before_it_is_changed(folder: Folder, sqlite: str) -> None:
    """The copy holds what was there; an empty database needs none; five stay."""
    folder.write(v001_users=f"{USERS}\nINSERT INTO users VALUES (1, 'x');", v001_users_rollback="DROP TABLE users;")
    migrator = folder.migrator(sqlite)
    migrator.up()
    assert backups(sqlite) == []
    migrator.down("001")
    (saved,) = backups(sqlite)
    assert saved.name == "test.db.20250127_120000.bak"
    assert folder.notices[-1] == f"saved what was there to {saved}"
    assert rows(f"sqlite:///{saved}", "SELECT id, name FROM users") == [(1, "x")]
    assert saved.stat().st_mode & 0o077 == 0
    for _ in range(4):
        migrator.up()
        migrator.down("001")
    names = [path.name for path in backups(sqlite)]
    assert len(names) == 5
    assert names[-1] == "test.db.20250127_120000_006.bak"


def test_a_backup_goes_where_it_is_wanted_or_nowhere(folder: Folder, sqlite: str, tmp_path: Path) -> None:
    """`backup_folder` is made; `backup=False` makes none; a place that cannot be written stops the run."""
    folder.write(v001_users=USERS)
    folder.migrator(sqlite).up()
    folder.write(v002_more="CREATE TABLE more (id INTEGER);")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MigrationError, match="cannot save"):
        folder.migrator(sqlite, Settings(backup_folder=tmp_path / "file")).up()
    folder.migrator(sqlite, Settings(backup_folder=tmp_path / "saved")).up()
    assert [path.name for path in (tmp_path / "saved").iterdir()] == ["test.db.20250127_120000.bak"]
    folder.write(v003_last="CREATE TABLE last (id INTEGER);")
    folder.migrator(sqlite, Settings(backup=False)).up()
    assert backups(sqlite) == []


def test_pg_dump_is_run_where_it_is_asked_for(
    folder: Folder, postgresql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file restores; where it is missing that is an error, and nothing was run."""
    folder.write(v001_users=USERS)
    settings = Settings(backup=True, backup_folder=tmp_path / "saved")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MigrationError, match="pg_dump is not on the PATH"):
        folder.migrator(postgresql, settings).up()
    assert folder.migrator(postgresql).dump() == ""
    monkeypatch.setenv("PATH", f"{postgresql_binaries()}{os.pathsep}/usr/bin{os.pathsep}/bin")
    folder.migrator(postgresql, settings).up()
    (saved,) = (tmp_path / "saved").iterdir()
    assert saved.read_bytes().startswith(b"PGDMP")
    assert any(str(saved) in notice for notice in folder.notices)


def test_mariadb_says_that_it_is_not_saved(folder: Folder, mariadb: str) -> None:
    """A backup that is asked for and not made is an error."""
    folder.write(v001_users=USERS)
    with pytest.raises(MigrationError, match="makes no backup of mariadb"):
        folder.migrator(mariadb, Settings(backup=True)).up()


def test_a_statement_that_takes_too_long_is_ended(folder: Folder, database: str) -> None:
    """By the directive of its file, on each kind of database; it is an error, and no retry."""
    slow = {
        "sqlite": "INSERT INTO users (id) SELECT n FROM"
        " (WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c);",
        "postgresql": "SELECT pg_sleep(60);",
        "mariadb": "SELECT SLEEP(60);",
    }
    kind = next(name for name in slow if database.startswith(name))
    folder.write(v001_users=USERS, v002_slow=f"-- migrator: statement_timeout=200ms\n{slow[kind]}")
    migrator = folder.migrator(database)
    with pytest.raises(StatementFailed, match=r"002_slow\.sql:2: statement 1 of 1 failed"):
        migrator.up()
    assert folder.clock.slept == []


def test_a_long_statement_before_is_no_reason_to_end_the_next(folder: Folder, sqlite: str) -> None:
    """A limit of one file is gone with the next."""
    slow = "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 300000) SELECT max(n) FROM c;"
    folder.write(v001_users=f"-- migrator: statement_timeout=50s\n{USERS}", v002_slow=slow)
    assert len(folder.migrator(sqlite).up()) == 2


def test_nothing_of_the_sql_is_taken_for_a_parameter(folder: Folder, database: str) -> None:
    """Percent signs, colons, question marks, braces and dollars arrive as they are written."""
    text = "100 % %s %(x)s ? :name $1 {y} ''"
    folder.write(v001_users=f"{USERS}\nINSERT INTO users VALUES (1, '{text}');")
    folder.migrator(database).up()
    assert rows(database, "SELECT name FROM users") == [(text.replace("''", "'"),)]


def test_rows_of_copy_are_copied(folder: Folder, postgresql: str) -> None:
    """As psql does it, in the migration's transaction."""
    folder.write(
        v001_users=f"{USERS}\nCOPY users (id, name) FROM STDIN;\n1\ta;b\n2\t\\N\n\\.\n"
        "UPDATE users SET name = 'c' WHERE id = 2;"
    )
    folder.migrator(postgresql).up()
    assert rows(postgresql, "SELECT id, name FROM users ORDER BY id") == [(1, "a;b"), (2, "c")]


def test_the_fault_is_placed_in_the_line_that_the_server_means(folder: Folder, postgresql: str) -> None:
    """PostgreSQL says where in the statement; the message has the file's line, the SQL, and no password."""
    folder.write(v001_users="-- about users\n\nCREATE TABLE users (\n  id INTEGER,\n  name VARCHARR(40)\n);")
    with pytest.raises(StatementFailed) as caught:
        folder.migrator(postgresql).up()
    assert caught.value.line == 5
    assert 'type "varcharr" does not exist' in caught.value.database_message
    assert "      name VARCHARR(40)" in str(caught.value)
    assert "in the database now: nothing of 001_users.sql" in str(caught.value)


def test_small_migrations_share_a_commit_and_fail_alone(folder: Folder, sqlite: str) -> None:
    """SQLite: what was before the one that fails stays, and only that one is told and logged."""
    for number in range(1, 8):
        folder.write(**{f"v{number:03}_t": f"CREATE TABLE t{number} (id INTEGER);"})
    folder.write(v005_t="CREATE TABLE t5 (id INTEGER);\nINSERT INTO nowhere VALUES (1);")
    migrator = folder.migrator(sqlite)
    with pytest.raises(StatementFailed) as caught:
        migrator.up()
    assert (
        caught.value.outcome
        == "nothing of 005_t.sql, its transaction was rolled back; the 4 before it in this run stay"
    )
    assert [entry.state for entry in migrator.status()] == ["applied"] * 4 + ["pending"] * 3
    assert [line["event"] for line in migrator.history()] == ["applied"] * 4 + ["failed"]
    folder.write(v005_t="CREATE TABLE t5 (id INTEGER);")
    assert len(migrator.up()) == 3


def test_a_long_run_that_ends_early_is_no_drift(
    folder: Folder, transactional: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the catalog was not recorded after the last migration, nothing is taken for another hand's change."""
    folder.write(v001_users=USERS)
    migrator = folder.migrator(transactional)
    migrator.up()
    folder.clock.sleep(1)
    monkeypatch.setattr("kbstore.migrator.operations.ALL_SNAPSHOTS_UP_TO", 0)
    folder.write(v002_b="CREATE TABLE b (id INTEGER);", v003_c="CREATE TABLE b (id INTEGER);")
    with pytest.raises(StatementFailed):
        migrator.up()
    (problem,) = migrator.doctor()
    assert (problem.kind, problem.subject) == ("unrecorded", "002_b.sql")
    folder.write(v003_c="CREATE TABLE c (id INTEGER);")
    folder.clock.sleep(1)
    migrator.up()
    assert not any("another hand" in notice for notice in folder.notices)
    assert migrator.doctor() == []


def test_many_migrations_share_few_commits(folder: Folder, sqlite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer than one each, and the results come in order."""
    from kbstore.migrator.engines.sqlite import SQLiteEngine

    commit = SQLiteEngine.commit
    count: list[int] = []
    monkeypatch.setattr(SQLiteEngine, "commit", lambda self: (count.append(1), commit(self))[1])
    for number in range(1, 61):
        folder.write(**{f"v{number:03}_t": f"CREATE TABLE t{number} (id INTEGER);"})
    results = folder.migrator(sqlite).up()
    assert [result.migration for result in results] == [f"{number:03}_t.sql" for number in range(1, 61)]
    assert len(count) < 40
    assert folder.migrator(sqlite).doctor() == []


def test_a_journal_on_sqlite_keeps_others_out(folder: Folder, sqlite: str) -> None:
    """A file outside of a transaction has a lock beside the database; whoever comes then waits, and finds it done."""
    from kbstore.migrator import LockTimeout
    from kbstore.migrator.engines import make_engine
    from kbstore.migrator.urls import parse_url

    folder.write(v001_alone="-- migrator: transaction=off\nCREATE TABLE users (id INTEGER);\nVACUUM;")
    with make_engine(parse_url(sqlite)) as engine:
        engine.open(create=True)
        with engine.journal_lock(0, FakeClock()), pytest.raises(LockTimeout, match="another migrator works on"):
            folder.migrator(sqlite, QUICK).up()
    assert len(folder.migrator(sqlite, QUICK).up()) == 1


def test_a_file_in_wal_mode_stays_in_it(folder: Folder, sqlite: str) -> None:
    """How the database keeps its journal is its owner's choice."""
    connection = sqlite3.connect(sqlite.removeprefix("sqlite:///"))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    folder.write(v001_users=USERS)
    folder.migrator(sqlite).up()
    assert rows(sqlite, "PRAGMA journal_mode") == [("wal",)]


def test_what_is_reported_is_on_the_disk(folder: Folder, postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On PostgreSQL not every commit of a run waits for the disk, but each is reported after one that did."""
    from kbstore.migrator.engines import Limits
    from kbstore.migrator.engines.postgresql import PostgreSQLEngine
    from kbstore.migrator.run import runner

    begin = PostgreSQLEngine.begin
    told: list[object] = []

    def noted(self: PostgreSQLEngine, limits: Limits, *, durable: bool = True) -> None:
        begin(self, limits, durable=durable)
        if self.columns("schema_migrations"):
            told.append(self.query("SHOW synchronous_commit")[0][0])

    monkeypatch.setattr(PostgreSQLEngine, "begin", noted)
    monkeypatch.setattr(runner, "_MOMENT_S", 1e9)
    folder.write(v001_users=USERS, v002_b="CREATE TABLE b (id INTEGER);", v003_c="CREATE TABLE c (id INTEGER);")
    folder.migrator(postgresql, progress=lambda result: told.append(result.migration[:3])).up()
    assert told == ["off", "off", "on", "001", "002", "003"]
    told.clear()
    monkeypatch.setattr(runner, "_MOMENT_S", -1)
    folder.write(v004_d="CREATE TABLE d (id INTEGER);", v005_e="CREATE TABLE e (id INTEGER);")
    folder.migrator(postgresql, progress=lambda result: told.append(result.migration[:3])).up()
    assert told == ["on", "004", "on", "005"]
