"""Snapshots of live schemas: all that counts is in them, and differences name what differs."""

import json
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from kbstore.migrator.catalog import Snapshot, compare, dump, schema_hash, take_snapshot
from tests.migrator.connections import connect, execute
from tests.migrator.support import Folder

BASE = [
    """CREATE TABLE sessions (
        id INTEGER NOT NULL PRIMARY KEY, status VARCHAR(20) NOT NULL DEFAULT 'open',
        score INTEGER CHECK (score > 0), UNIQUE (status, score)
    )""",
    """CREATE TABLE steps (
        id INTEGER NOT NULL PRIMARY KEY, session_id INTEGER, note VARCHAR(50),
        FOREIGN KEY (session_id) REFERENCES sessions (id) ON DELETE CASCADE
    )""",
    "CREATE INDEX steps_by_note ON steps (note, session_id)",
    "CREATE VIEW open_sessions AS SELECT id FROM sessions WHERE status = 'open'",
]


@pytest.fixture
def base(database: str) -> tuple[Any, str]:
    """A connection to a database with two tables, an index and a view, and its dialect."""
    connection, dialect = connect(database)
    execute(connection, *BASE)
    return connection, dialect


def after(connection: Any, dialect: str, *statements: str) -> list[str]:
    """What is told of the schema after some statements have changed it."""
    before = take_snapshot(connection, dialect)
    execute(connection, *statements)
    now = take_snapshot(connection, dialect)
    told = compare(before, now)
    assert bool(told) == (schema_hash(before) != schema_hash(now)) == (dump(before) != dump(now))
    return [difference.message for difference in told]


def test_an_empty_database_is_an_empty_snapshot(database: str) -> None:
    """Nothing of the server's own is in it."""
    connection, dialect = connect(database)
    assert take_snapshot(connection, dialect) == {}
    connection.close()


def test_a_snapshot_is_sorted_plain_data(base: tuple[Any, str]) -> None:
    """It survives JSON, and two of the same schema are equal to the byte."""
    connection, dialect = base
    snapshot = take_snapshot(connection, dialect)
    assert json.dumps(snapshot) == json.dumps(take_snapshot(connection, dialect))
    assert json.loads(json.dumps(snapshot)) == snapshot
    assert list(snapshot) == sorted(snapshot)
    assert compare(json.loads(json.dumps(snapshot)), snapshot) == []
    assert schema_hash(snapshot).startswith("sha256:")
    assert snapshot["column"]["sessions.status"]["nullable"] is False
    assert set(snapshot["table"]) == {"sessions", "steps"}
    connection.close()


def test_what_was_recorded_but_is_not_there_is_named(base: tuple[Any, str]) -> None:
    """A table that is missing is one line, without a line for each of its columns and indexes."""
    connection, dialect = base
    assert after(connection, dialect, "DROP TABLE steps") == ["table steps is missing"]
    assert after(connection, dialect, "DROP VIEW open_sessions") == ["view open_sessions was dropped"]
    connection.close()


def test_drift_is_named(base: tuple[Any, str]) -> None:
    """A hot-fixed column, a dropped index, a new table."""
    connection, dialect = base
    assert after(connection, dialect, "ALTER TABLE sessions ADD COLUMN priority VARCHAR(9)") == [
        "column sessions.priority was added"
    ]
    dropped = "steps.steps_by_note" if dialect == "mariadb" else "steps_by_note on steps"
    other_index = "CREATE INDEX steps_of_session ON steps (session_id)"  # MariaDB's foreign key needs one
    execute(connection, other_index)
    drop = "DROP INDEX steps_by_note" + (" ON steps" if dialect == "mariadb" else "")
    assert after(connection, dialect, drop) == [f"index {dropped} was dropped"]
    assert after(connection, dialect, "CREATE TABLE extra (id INTEGER NOT NULL PRIMARY KEY)") == [
        "table extra was added"
    ]
    connection.close()


def test_tables_of_the_migrator_do_not_count(base: tuple[Any, str]) -> None:
    """What the caller names is left out with its columns, constraints and indexes."""
    connection, dialect = base
    before = take_snapshot(connection, dialect, exclude={"schema_migrations"})
    execute(
        connection,
        "CREATE TABLE schema_migrations (name VARCHAR(50) NOT NULL PRIMARY KEY, state VARCHAR(9) UNIQUE)",
        "CREATE INDEX by_state ON schema_migrations (state, name)",
    )
    assert take_snapshot(connection, dialect, exclude={"schema_migrations"}) == before
    assert take_snapshot(connection, dialect) != before
    connection.close()


def test_a_dump_shows_each_object_under_its_table(sqlite: str) -> None:
    """One line for each, in an order that does not change."""
    connection, dialect = connect(sqlite)
    execute(connection, *BASE, "CREATE TRIGGER t AFTER DELETE ON steps BEGIN DELETE FROM sessions; END")
    expected = """\
table sessions
  column id INTEGER not null
  column score INTEGER
  column status VARCHAR(20) not null default 'open'
  constraint CHECK (score > 0)
  constraint PRIMARY KEY (id)
  constraint UNIQUE (status, score)

table steps
  column id INTEGER not null
  column note VARCHAR(50)
  column session_id INTEGER
  constraint PRIMARY KEY (id)
  foreign key (session_id) -> sessions (id) on delete CASCADE on update NO ACTION
  CREATE INDEX steps_by_note ON steps (note, session_id)
  CREATE TRIGGER t AFTER DELETE ON steps BEGIN DELETE FROM sessions ; END

CREATE VIEW open_sessions AS SELECT id FROM sessions WHERE status = 'open'
"""
    assert dump(take_snapshot(connection, dialect)) == expected
    connection.close()


PARTIAL = "CREATE INDEX i ON t (a) WHERE a >"
SQLITE_CHANGES: dict[str, tuple[list[str], str, list[str]]] = {
    "layout only": (
        ["CREATE VIEW v AS SELECT 1 AS a"],
        'DROP VIEW v; CREATE VIEW\n v AS -- the same\n SELECT 1 AS "a"',
        [],
    ),
    "renamed and back": (
        ["CREATE TABLE t (a INTEGER)", "CREATE INDEX i ON t (a)"],
        "ALTER TABLE t RENAME TO u; ALTER TABLE u RENAME TO t",
        [],
    ),
    "column dropped and added": (
        ["CREATE TABLE t (a INTEGER, b TEXT)"],
        "ALTER TABLE t DROP COLUMN b; ALTER TABLE t ADD COLUMN b TEXT",
        [],
    ),
    "partial index": (
        ["CREATE TABLE t (a INTEGER)", "CREATE INDEX i ON t (a) WHERE a > 1"],
        "DROP INDEX i; CREATE INDEX i ON t (a) WHERE a > 2",
        [f"index i on t changed its definition from {PARTIAL} 1 to {PARTIAL} 2"],
    ),
    "check": (
        ["CREATE TABLE t (a INTEGER CHECK (a > 1))"],
        "DROP TABLE t; CREATE TABLE t (a INTEGER CHECK (a > 2))",
        ["constraint t CHECK (a > 1) was dropped", "constraint t CHECK (a > 2) was added"],
    ),
    "column": (
        ["CREATE TABLE t (a INTEGER DEFAULT 1, b TEXT)"],
        "DROP TABLE t; CREATE TABLE t (a BIGINT, b TEXT NOT NULL DEFAULT 'x')",
        [
            "column t.a lost its default 1 and changed its type from INTEGER to BIGINT",
            "column t.b has the default 'x' and became NOT NULL",
        ],
    ),
    "key": (
        ["CREATE TABLE t (a INTEGER NOT NULL, b INTEGER NOT NULL, PRIMARY KEY (a, b))"],
        "DROP TABLE t; CREATE TABLE t (a INTEGER NOT NULL, b INTEGER NOT NULL, PRIMARY KEY (b, a)) WITHOUT ROWID",
        [
            "table t changed its options from nothing to WITHOUT ROWID",
            "constraint t PRIMARY KEY (a, b) was dropped",
            "constraint t PRIMARY KEY (b, a) was added",
        ],
    ),
    "foreign key": (
        ["CREATE TABLE t (a INTEGER PRIMARY KEY, b INTEGER REFERENCES t)"],
        "DROP TABLE t; CREATE TABLE t (a INTEGER PRIMARY KEY, b INTEGER REFERENCES t ON DELETE SET NULL)",
        ["foreign key t (b) -> t changed its on delete from NO ACTION to SET NULL"],
    ),
    "generated": (
        ["CREATE TABLE t (a INTEGER, b INTEGER)"],
        "DROP TABLE t; CREATE TABLE t (a INTEGER, b INTEGER GENERATED ALWAYS AS (a + 1) STORED)",
        ["column t.b changed its generated from nothing to stored"],
    ),
    "trigger": (
        ["CREATE TABLE t (a INTEGER)", "CREATE TRIGGER g AFTER DELETE ON t BEGIN DELETE FROM t; END"],
        "DROP TRIGGER g",
        ["trigger g on t was dropped"],
    ),
    "virtual table": ([], "CREATE VIRTUAL TABLE f USING fts5(a)", ["table f was added"]),
}


@pytest.mark.parametrize("case", SQLITE_CHANGES)
def test_sqlite_changes(case: str) -> None:
    """Each kind of change is told in words; a change of layout is none."""
    start, change, told = SQLITE_CHANGES[case]
    connection = sqlite3.connect(":memory:")
    execute(connection, *start)
    before = take_snapshot(connection, "sqlite")
    connection.executescript(change)
    messages = [each.message for each in compare(before, take_snapshot(connection, "sqlite"))]
    assert messages[:1] + messages[1:] * (case != "virtual table") == told
    connection.close()


POSTGRESQL_CHANGES: dict[str, tuple[list[str], str, str]] = {
    "type": (
        [],
        "ALTER TABLE steps ALTER note TYPE text",
        "column steps.note changed its type from character varying(50) to text",
    ),
    "nullable": ([], "ALTER TABLE sessions ALTER status DROP NOT NULL", "column sessions.status became nullable"),
    "default": (
        [],
        "ALTER TABLE sessions ALTER score SET DEFAULT 7",
        "column sessions.score has the default 7",
    ),
    "check": (
        [],
        "ALTER TABLE sessions DROP CONSTRAINT sessions_score_check",
        "constraint sessions.sessions_score_check was dropped",
    ),
    "not valid": (
        ["ALTER TABLE sessions ADD CONSTRAINT c CHECK (id > 0) NOT VALID"],
        "ALTER TABLE sessions VALIDATE CONSTRAINT c",
        "constraint sessions.c changed its definition from CHECK ((id > 0)) NOT VALID to CHECK ((id > 0))",
    ),
    "foreign key": (
        [],
        "ALTER TABLE steps DROP CONSTRAINT steps_session_id_fkey",
        "foreign key steps.steps_session_id_fkey was dropped",
    ),
    "partial index": (
        [],
        "CREATE INDEX i ON sessions (score) WHERE status = 'open'",
        "index i on sessions was added",
    ),
    "identity": (
        [],
        "ALTER TABLE sessions ALTER id ADD GENERATED ALWAYS AS IDENTITY",
        "column sessions.id changed its identity from nothing to always",
    ),
    "sequence": ([], "CREATE SEQUENCE numbers START 7", "sequence numbers was added"),
    "sequence changed": (
        ["CREATE SEQUENCE numbers START 7"],
        "ALTER SEQUENCE numbers INCREMENT 2",
        "sequence numbers changed its increment from 1 to 2",
    ),
    "function": (
        [],
        "CREATE FUNCTION twice(a int) RETURNS int LANGUAGE sql AS 'SELECT a * 2'",
        "function twice(a integer) was added",
    ),
    "function changed": (
        ["CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'"],
        "CREATE OR REPLACE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 2'",
        "function one() changed its definition from",
    ),
    "procedure": ([], "CREATE PROCEDURE p() LANGUAGE sql AS ''", "procedure p() was added"),
    "enum": (
        ["CREATE TYPE mood AS ENUM ('sad', 'glad')"],
        "ALTER TYPE mood ADD VALUE 'calm' BEFORE 'glad'",
        "type mood changed its labels from (sad, glad) to (sad, calm, glad)",
    ),
    "domain": ([], "CREATE DOMAIN positive AS int CHECK (VALUE > 0)", "domain positive was added"),
    "composite": ([], "CREATE TYPE pair AS (a int, b text)", "type pair was added"),
    "trigger disabled": (
        [
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            "CREATE TRIGGER g BEFORE INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION f()",
        ],
        "ALTER TABLE sessions DISABLE TRIGGER g",
        "trigger sessions.g changed its enabled from True to False",
    ),
    "row security": (
        [],
        "ALTER TABLE sessions ENABLE ROW LEVEL SECURITY",
        "table sessions changed its row security from False to True",
    ),
    "policy": ([], "CREATE POLICY own ON sessions USING (score = 1)", "policy sessions.own was added"),
    "rule": ([], "CREATE RULE quiet AS ON DELETE TO steps DO INSTEAD NOTHING", "rule steps.quiet was added"),
    "unlogged": ([], "ALTER TABLE steps SET UNLOGGED", "table steps changed its unlogged from False to True"),
    "materialized view": ([], "CREATE MATERIALIZED VIEW m AS SELECT 1 AS a", "materialized view m was added"),
    "partitions": (
        ["CREATE TABLE parts (a int) PARTITION BY RANGE (a)"],
        "CREATE TABLE part PARTITION OF parts FOR VALUES FROM (1) TO (2)",
        "table part was added",
    ),
    "schema": ([], "CREATE SCHEMA other", "schema other was added"),
    "other schema": (["CREATE SCHEMA other"], "CREATE TABLE other.sessions (a int)", "table other.sessions was added"),
}


@pytest.fixture(scope="module")
def one_postgresql(postgresql_folder: Any) -> Any:
    """A PostgreSQL database for all changes of this file; each undoes what it did."""
    import psycopg

    with psycopg.connect(host=str(postgresql_folder), user="postgres", dbname="postgres", autocommit=True) as server:
        server.execute("CREATE DATABASE test_catalog")
    url = f"postgresql://postgres@/test_catalog?host={postgresql_folder}"
    connection, _ = connect(url)
    execute(connection, *BASE)
    yield connection
    connection.close()


@pytest.mark.parametrize("case", POSTGRESQL_CHANGES)
def test_postgresql_changes(one_postgresql: Any, case: str) -> None:
    """Each kind of change is told in words."""
    start, change, told = POSTGRESQL_CHANGES[case]
    with one_postgresql.transaction(force_rollback=True):
        execute(one_postgresql, *start)
        messages = after(one_postgresql, "postgresql", change)
    assert [message for message in messages if message.startswith(told)], messages
    assert len(messages) <= 2


def test_an_invalid_index_is_seen(postgresql: str) -> None:
    """An index that a failed CREATE INDEX CONCURRENTLY left behind is not taken for a sound one."""
    connection, dialect = connect(postgresql)
    execute(connection, "CREATE TABLE t (a int)", "CREATE UNIQUE INDEX i ON t (a)")
    sound = take_snapshot(connection, dialect)
    execute(connection, "DROP INDEX i", "INSERT INTO t VALUES (1), (1)")
    with pytest.raises(Exception, match="could not create unique index"):
        execute(connection, "CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)")
    left = take_snapshot(connection, dialect)
    assert [each.message for each in compare(sound, left)] == ["index i on t is INVALID"]
    assert "CREATE UNIQUE INDEX i ON public.t USING btree (a) INVALID" in dump(left)
    connection.close()


def test_search_path_bends_nothing_and_is_kept(postgresql: str) -> None:
    """The same schema gives the same snapshot under any search_path, which is afterwards what it was."""
    connection, dialect = connect(postgresql)
    execute(connection, *BASE, "CREATE TYPE mood AS ENUM ('a')", "CREATE TABLE moods (m mood DEFAULT 'a')")
    usual = take_snapshot(connection, dialect)
    for path in ("", "pg_catalog, public", '"odd\'name", public'):
        connection.execute("SELECT set_config('search_path', %s, false)", (path,))
        assert take_snapshot(connection, dialect) == usual
        assert connection.execute("SELECT current_setting('search_path')").fetchone() == (path,)
    connection.close()


MARIADB_CHANGES: dict[str, tuple[list[str], str, str]] = {
    "type": (
        [],
        "ALTER TABLE sessions MODIFY score BIGINT",
        "column sessions.score changed its type from int(11) to bigint(20)",
    ),
    "engine": (
        ["CREATE TABLE lone (a INT) ENGINE = InnoDB"],
        "ALTER TABLE lone ENGINE = Aria",
        "table lone changed its engine from InnoDB to Aria",
    ),
    "prefix index": ([], "CREATE INDEX i ON steps (note(10))", "index steps.i was added"),
    "check": ([], "ALTER TABLE sessions ADD CONSTRAINT c CHECK (id > 0)", "constraint sessions.c was added"),
    "generated": (
        [],
        "ALTER TABLE sessions ADD COLUMN twice INT AS (score * 2) STORED",
        "column sessions.twice was added",
    ),
    "trigger": (
        [],
        "CREATE TRIGGER g BEFORE INSERT ON steps FOR EACH ROW SET NEW.note = 'x'",
        "trigger g on steps was added",
    ),
    "procedure": ([], "CREATE PROCEDURE p(IN a INT) SELECT a", "procedure p was added"),
    "function": ([], "CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1", "function f was added"),
    "event": ([], "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1", "event e was added"),
    "sequence": ([], "CREATE SEQUENCE numbers", "sequence numbers was added"),
    "foreign key": (
        [],
        "ALTER TABLE steps DROP FOREIGN KEY steps_ibfk_1",
        "foreign key steps.steps_ibfk_1 was dropped",
    ),
}


@pytest.mark.parametrize("case", MARIADB_CHANGES)
def test_mariadb_changes(new_mariadb: Callable[[], str], case: str) -> None:
    """Each kind of change is told in words."""
    start, change, told = MARIADB_CHANGES[case]
    connection, dialect = connect(new_mariadb())
    execute(connection, *BASE, *start)
    assert told in after(connection, dialect, change)
    connection.close()


def test_two_mariadb_databases_with_one_schema_are_equal(new_mariadb: Callable[[], str]) -> None:
    """The name of the database is in no definition."""
    snapshots: list[Snapshot] = []
    for _ in range(2):
        connection, dialect = connect(new_mariadb())
        execute(connection, *BASE)
        snapshots.append(take_snapshot(connection, dialect))
        connection.close()
    assert snapshots[0] == snapshots[1]


def test_a_history_in_another_schema_is_no_part_of_the_catalogue(folder: Folder, postgresql: str) -> None:
    """Where search_path puts it there, the migrator's own tables are still its own."""
    connection, _ = connect(postgresql)
    execute(connection, "CREATE SCHEMA app")
    connection.close()
    migrator = folder.write(v001_users="CREATE TABLE users (id INTEGER);").migrator(
        f"{postgresql}&options=-csearch_path%3Dapp"
    )
    migrator.up()
    assert migrator.dump().splitlines() == ["table app.users", "  column id integer", "", "schema app"]
    assert migrator.doctor() == []
