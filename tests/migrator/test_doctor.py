"""The doctor: what the history says and what is in the database, told apart by the names of objects."""

import json
from contextlib import closing

import pytest

from tests.migrator.connections import connect, execute
from tests.migrator.support import Folder, call, rows

SAMPLES = "builtin:troubleshooting"
TABLE = "support_troubleshooting_"


@pytest.fixture
def applied(database: str) -> str:
    """A database of each kind on which the samples are applied."""
    answer = call("up", "--db", database, "--dir", SAMPLES, "--no-backup")
    assert answer.code == 0, answer.err
    return database


def hand(url: str, *statements: str) -> None:
    """Change the database beside the migrator's back."""
    connection, _ = connect(url)
    with closing(connection):
        execute(connection, *statements)


def problems(url: str) -> list[tuple[str, str]]:
    """Kind and message of each problem that the command prints as JSON."""
    answer = call("doctor", "--json", "--db", url, "--dir", SAMPLES)
    (row,) = answer.rows
    assert answer.code == (4 if row["problems"] else 0)
    assert row["ok"] == (not row["problems"])
    assert all(problem["hint"] for problem in row["problems"])
    return [(problem["kind"], problem["message"]) for problem in row["problems"]]


def test_after_up_all_is_well(applied: str) -> None:
    """`status --json` says applied for each, `verify` finds all, and `doctor` finds nothing."""
    (row,) = call("status", "--check", "--json", "--db", applied, "--dir", SAMPLES).rows
    assert [entry["state"] for entry in row["migrations"]] == ["applied"] * 6
    assert row["pending"] == []
    assert call("verify", "--db", applied, "--dir", SAMPLES).code == 0
    assert problems(applied) == []


def test_recorded_as_applied_but_the_table_is_missing(applied: str) -> None:
    """The guide's problem: the table is named, and the migration that made it; `verify` fails as well."""
    hand(applied, f"DROP VIEW {TABLE}problem_ratings", f"DROP TABLE {TABLE}feedback")
    told = problems(applied)
    assert (
        "drift",
        f"table {TABLE}feedback is missing (002_add_feedback_schema.sql, recorded as applied, is the last to name it)",
    ) in told
    assert len(told) == 2
    answer = call("verify", "--db", applied, "--dir", SAMPLES)
    assert answer.code == 4
    assert "002_add_feedback_schema.sql" in answer.out


def test_a_hot_fix_by_hand_is_drift(applied: str) -> None:
    """A column that somebody added and an index that somebody dropped are named; reverting them ends it."""
    mysql = applied.startswith("mariadb")
    index = f"{TABLE}sessions_by_status"
    on = f" ON {TABLE}sessions" if mysql else ""
    hand(applied, f"ALTER TABLE {TABLE}sessions ADD COLUMN hot VARCHAR(9)", f"DROP INDEX {index}{on}")
    messages = [message for _, message in problems(applied)]
    assert len(messages) == 2
    assert messages[0].startswith(f"column {TABLE}sessions.hot was added")
    assert index in messages[1]
    assert "was dropped (005_add_performance_optimizations.sql, recorded as applied" in messages[1]
    hand(
        applied,
        f"ALTER TABLE {TABLE}sessions DROP COLUMN hot",
        f"CREATE INDEX {index} ON {TABLE}sessions (status, started_at)",
    )
    assert problems(applied) == []


def test_drift_is_told_before_the_next_migration_and_kept_in_the_log(folder: Folder, database: str) -> None:
    """A change by hand does not become the new truth in silence."""
    folder.write(v001_users="CREATE TABLE users (id INTEGER PRIMARY KEY);")
    folder.migrator(database).up()
    hand(database, "ALTER TABLE users ADD COLUMN hot VARCHAR(9)")
    folder.write(v002_more="CREATE TABLE more (id INTEGER PRIMARY KEY);")
    folder.migrator(database).up()
    assert any("column users.hot was added" in notice for notice in folder.notices)
    assert any(
        line["event"] == "drift" and "users.hot" in line["detail"] for line in folder.migrator(database).history()
    )
    assert folder.migrator(database).doctor() == []


def test_the_catalogue_after_down_is_the_one_before_up(folder: Folder, database: str) -> None:
    """The doctor compares with what the last run left, whichever direction it had."""
    folder.write(
        v001_users="CREATE TABLE users (id INTEGER PRIMARY KEY);",
        v002_more="CREATE TABLE more (id INTEGER PRIMARY KEY);",
        v002_more_rollback="DROP TABLE more;",
    )
    migrator = folder.migrator(database)
    migrator.up(to="1")
    before = rows(database, "SELECT schema_hash FROM schema_migrations_catalog")
    migrator.up()
    assert rows(database, "SELECT schema_hash FROM schema_migrations_catalog") != before
    migrator.down("002")
    assert rows(database, "SELECT schema_hash FROM schema_migrations_catalog") == before
    assert migrator.doctor() == []
    assert "more" not in migrator.dump()


def test_an_index_that_became_invalid_is_named(postgresql: str) -> None:
    """What a failed CREATE INDEX CONCURRENTLY of somebody else left."""
    call("up", "--db", postgresql, "--dir", SAMPLES)
    problem = f"INSERT INTO {TABLE}problems (id, title, category) VALUES "
    hand(postgresql, f"{problem} ('a', 'same', 'x'), ('b', 'same', 'x')")
    with pytest.raises(Exception, match="could not create unique index"):
        hand(postgresql, f"CREATE UNIQUE INDEX CONCURRENTLY titles ON {TABLE}problems (title)")
    told = problems(postgresql)
    assert [kind for kind, _ in told] == ["drift", "invalid-index"]
    assert all("titles" in message for _, message in told)


def test_dump_is_the_same_text_for_the_same_schema(applied: str) -> None:
    """One line for each object; down and up again changes none of it."""
    first = call("dump", "--db", applied, "--dir", SAMPLES)
    assert first.code == 0
    assert f"table {TABLE}sessions" in first.out
    assert "schema_migrations" not in first.out
    for name in ("006", "005", "004", "003", "002", "001"):
        answer = call("down", name, "--db", applied, "--dir", SAMPLES, "--no-backup")
        assert answer.code == 0, answer.err
    assert call("dump", "--db", applied, "--dir", SAMPLES).out.strip() == ""
    assert call("up", "--db", applied, "--dir", SAMPLES, "--no-backup").code == 0
    assert call("dump", "--db", applied, "--dir", SAMPLES).out == first.out


def test_problems_are_plain_data(folder: Folder, sqlite: str) -> None:
    """What the library gives survives JSON."""
    folder.write(v001_users="CREATE TABLE users (id INTEGER PRIMARY KEY);")
    folder.migrator(sqlite).up()
    hand(sqlite, "DROP TABLE users")
    (problem,) = folder.migrator(sqlite).doctor()
    assert json.loads(json.dumps(problem.as_dict()))["subject"] == "users"
