"""Statements that end, or only at its end break, the transaction that they run in: nothing of their file stays."""

import pytest

from kbstore.migrator import LockTimeout, Settings, StatementFailed
from tests.migrator.support import Folder, events, rows, states

TABLE = "CREATE TABLE t (a INTEGER PRIMARY KEY);\n"


def fails_whole(folder: Folder, url: str, first: str, second: str, message: str) -> StatementFailed:
    """Apply `first`, then fail with `second`: nothing of it is there, it is pending, and the log has the failure."""
    migrator = folder.write(v001_first=first, v002_second=second).migrator(url, Settings(lint=False))
    with pytest.raises(StatementFailed, match=message) as caught:
        migrator.up()
    before = migrator.dump()
    assert "made" not in before
    assert states(migrator) == {"001_first.sql": "applied", "002_second.sql": "pending"}
    assert events(migrator) == [("applied", "001_first.sql"), ("failed", "002_second.sql")]
    assert "nothing of 002_second.sql" in caught.value.outcome
    assert migrator.doctor() == []
    folder.write(v002_second="CREATE TABLE made (a INTEGER);")
    assert [result.state for result in migrator.up()] == ["applied"]
    return caught.value


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (
            TABLE,
            "INSERT INTO t (a) VALUES (1);\nINSERT OR ROLLBACK INTO t (a) VALUES (1);\nCREATE TABLE made (a INTEGER);",
            r"002_second\.sql:2: statement 2 of 3 failed: UNIQUE constraint",
        ),
        (
            TABLE + "CREATE TRIGGER g BEFORE INSERT ON t BEGIN SELECT RAISE(ROLLBACK, 'no entry'); END;",
            "CREATE TABLE made (a INTEGER);\nINSERT INTO t (a) VALUES (1);",
            r"002_second\.sql:2: statement 2 of 2 failed: no entry",
        ),
        (
            TABLE,
            "CREATE TABLE made (a INTEGER);\nDROP TABLE schema_migrations;",
            r"002_second\.sql: failed: no such table: main\.schema_migrations",
        ),
    ],
)
def test_sqlite_statements_that_roll_back_themselves(
    folder: Folder, sqlite: str, first: str, second: str, message: str
) -> None:
    """What SQLite itself rolled back is not gone on with outside of a transaction."""
    fails_whole(folder, sqlite, first, second, message)
    assert rows(sqlite, "SELECT count(*) FROM t") == [(0,)]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (
            "CREATE TABLE t (a INTEGER PRIMARY KEY, b INTEGER REFERENCES t DEFERRABLE INITIALLY DEFERRED);",
            "CREATE TABLE made (a INTEGER);\nINSERT INTO t VALUES (1, 2);",
            r"002_second\.sql: failed: insert or update on table \"t\" violates foreign key",
        ),
        (
            TABLE,
            "CREATE TABLE made (a INTEGER);\nDO $$ BEGIN COMMIT; END $$;",
            r"002_second\.sql:2: statement 2 of 2 failed: invalid transaction termination",
        ),
        (
            TABLE + "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN ROLLBACK; END $$;",
            "CREATE TABLE made (a INTEGER);\nCALL p();",
            r"002_second\.sql:2: statement 2 of 2 failed: invalid transaction termination",
        ),
        (
            TABLE,
            "CREATE TABLE made (a INTEGER);\nDISCARD ALL;",
            r"002_second\.sql:2: statement 2 of 2 failed: DISCARD ALL cannot run inside",
        ),
        (
            TABLE,
            "CREATE TABLE made (a INTEGER);\nDROP TABLE schema_migrations;",
            r"002_second\.sql: failed: relation \"public\.schema_migrations\" does not exist",
        ),
    ],
)
def test_postgresql_statements_that_break_the_transaction(
    folder: Folder, postgresql: str, first: str, second: str, message: str
) -> None:
    """Also a fault that only COMMIT finds is one of the whole file."""
    fails_whole(folder, postgresql, first, second, message)
    assert rows(postgresql, "SELECT count(*) FROM t") == [(0,)]


@pytest.mark.long
def test_a_mariadb_file_that_locks_the_history_ends(folder: Folder, mariadb: str) -> None:
    """The runner does not wait for what it has locked itself; the history says that the file was begun."""
    folder.write(v001_locks="LOCK TABLES schema_migrations READ;", v002_more=TABLE)
    migrator = folder.migrator(mariadb, Settings(lint=False))
    with pytest.raises(LockTimeout, match=r"001_locks\.sql:1: statement 1 of 1 failed"):
        migrator.up()
    assert states(migrator) == {"001_locks.sql": "running", "002_more.sql": "pending"}
    migrator.repair("001", "mark-pending")
    folder.write(v001_locks="CREATE TABLE other (a INTEGER);")
    assert [result.state for result in migrator.up()] == ["applied", "applied"]


def test_a_mariadb_file_may_lock_its_own_tables(folder: Folder, mariadb: str) -> None:
    """LOCK TABLES takes the session's right to write elsewhere; the journal is kept by another connection."""
    text = f"{TABLE}LOCK TABLES t WRITE;\nINSERT INTO t (a) VALUES (1);\nUNLOCK TABLES;\nALTER TABLE t ADD b INTEGER;\n"
    migrator = folder.write(v001_locks=text, v002_more="CREATE TABLE more (a INTEGER);").migrator(mariadb)
    assert [result.state for result in migrator.up()] == ["applied", "applied"]
    assert rows(mariadb, "SELECT a, b FROM t") == [(1, None)]
    assert migrator.status()[0].statements_done == 5
    assert migrator.doctor() == []
