"""Migrations are run, recorded and undone, on every kind of database."""

from collections.abc import Callable

import pytest

from kbstore.migrator import DatabaseMigrator, MigrationError, MigrationFileError, OrderError, StatementFailed
from tests.migrator.support import Folder, events, rows, states

USERS = "CREATE TABLE users (id INTEGER PRIMARY KEY, name VARCHAR(40) NOT NULL);\n"
ORDERS = "CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER);\nINSERT INTO orders VALUES (1, 10);\n"


@pytest.fixture
def two(folder: Folder) -> Folder:
    """Two migrations with their rollbacks."""
    return folder.write(
        v001_users=USERS,
        v001_users_rollback="DROP TABLE users;",
        v002_orders=ORDERS,
        v002_orders_rollback="DROP TABLE orders;",
    )


def test_up_runs_what_is_pending_in_order_and_records_it(two: Folder, database: str) -> None:
    """Each is applied once, in order; a second `up` finds nothing to do."""
    migrator = two.migrator(database)
    assert migrator.get_pending_migrations() == ["001_users.sql", "002_orders.sql"]
    results = migrator.apply_all_pending()
    assert [(row["migration"], row["message"], row["state"]) for row in results] == [
        ("001_users.sql", "applied", "applied"),
        ("002_orders.sql", "applied", "applied"),
    ]
    assert all(isinstance(row["duration_ms"], int) for row in results)
    assert migrator.get_pending_migrations() == []
    assert migrator.up() == []
    assert rows(database, "SELECT total FROM orders") == [(10,)]
    assert states(migrator) == {"001_users.sql": "applied", "002_orders.sql": "applied"}
    assert events(migrator) == [("applied", "001_users.sql"), ("applied", "002_orders.sql")]


def test_the_history_is_a_table_that_people_can_read(two: Folder, database: str) -> None:
    """The columns are those that the documentation names, and say who, when, what."""
    two.migrator(database).up()
    found = rows(
        database,
        "SELECT name, version, checksum, state, applied_by, statements_done, statement_hashes, error, schema_hash,"
        " tool_version, duration_ms FROM schema_migrations ORDER BY applied_at DESC, version DESC",
    )
    name, version, checksum, state, who, done, hashes, error, schema, tool, duration = found[0]
    assert (name, version, state, who, done, error) == ("002_orders.sql", 2, "applied", "ana@test", 2, None)
    assert str(checksum).startswith("sha256:")
    assert str(schema).startswith("sha256:")
    assert len(str(hashes).split()) == 2
    assert tool == "0.1.0"
    assert isinstance(duration, int)
    assert two.migrator(database).status()[0].applied_at == "2025-01-27T12:00:00.000000Z"


def test_down_undoes_and_up_does_again(two: Folder, database: str) -> None:
    """After `down` of all and `up` again the schema is the same; the log tells all of it."""
    migrator = two.migrator(database)
    migrator.up()
    before = migrator.dump()
    assert migrator.rollback_migration("002_orders.sql")["state"] == "rolled_back"
    assert migrator.down("users").migration == "001_users.sql"
    assert migrator.dump() == ""
    assert migrator.get_pending_migrations() == ["001_users.sql", "002_orders.sql"]
    assert rows(database, "SELECT DISTINCT state FROM schema_migrations") == [("rolled_back",)]
    migrator.up()
    assert migrator.dump() == before
    assert [event for event, _ in events(migrator)] == ["applied"] * 2 + ["rolled_back"] * 2 + ["applied"] * 2
    assert migrator.doctor() == []


def test_up_to_a_version_stops_there(two: Folder, database: str) -> None:
    """`to` is inclusive; a version that no file has is an error."""
    migrator = two.migrator(database)
    assert [result.migration for result in migrator.up(to="001")] == ["001_users.sql"]
    with pytest.raises(MigrationError, match="no migration with the version 7"):
        migrator.up(to=7)
    assert migrator.get_pending_migrations() == ["002_orders.sql"]


def test_a_repeatable_migration_runs_again_when_it_changes(folder: Folder, database: str) -> None:
    """After all versions, and only then when its text changed."""
    folder.write(
        v001_users=USERS,
        R_names="DROP VIEW IF EXISTS names;\nCREATE VIEW names AS SELECT name FROM users;",
    )
    migrator = folder.migrator(database)
    assert [result.migration for result in migrator.up()] == ["001_users.sql", "R_names.sql"]
    assert migrator.up() == []
    folder.write(R_names="DROP VIEW IF EXISTS names;\nCREATE VIEW names AS SELECT id FROM users;")
    assert states(migrator)["R_names.sql"] == "pending"
    assert [result.migration for result in migrator.up()] == ["R_names.sql"]
    assert rows(database, "SELECT id FROM names") == []
    assert migrator.up() == []


def test_a_verify_script_decides(folder: Folder, database: str) -> None:
    """A check that gives false stops the migration, and what it tried to write is undone."""
    folder.write(
        v001_users=USERS, v001_users_verify="SELECT id FROM users WHERE 1 = 0;\nSELECT count(*) = 1 FROM users;"
    )
    migrator = folder.migrator(database)
    with pytest.raises(StatementFailed, match=r"001_users_verify\.sql:2: statement 2 of 2 failed: the check gave"):
        migrator.up()
    folder.write(v001_users_verify="INSERT INTO users VALUES (1, 'x');\nSELECT count(*) = 1 FROM users;")
    if "mariadb" in database:
        migrator.repair("001_users", "retry")
    else:
        migrator.up()
    assert rows(database, "SELECT count(*) FROM users") == [(0,)]
    assert migrator.verify() == [("001_users.sql", None)]
    folder.write(v001_users_verify="SELECT count(*) FROM users;")
    ((name, problem),) = migrator.verify()
    assert name == "001_users.sql"
    assert problem is not None
    assert "001_users_verify.sql:1" in problem.message


def test_an_out_of_order_file_is_never_left_out_in_silence(two: Folder, sqlite: str) -> None:
    """A file below the newest applied version is an error, a warning or run, as the policy says; never skipped."""
    from kbstore.migrator import Settings

    two.migrator(sqlite).up()
    two.write(v000_late="CREATE TABLE late (id INTEGER);")
    with pytest.raises(OrderError, match=r"000_late\.sql comes before 002_orders\.sql, which is applied"):
        two.migrator(sqlite).up()
    assert states(two.migrator(sqlite))["000_late.sql"] == "pending"
    assert [result.migration for result in two.migrator(sqlite, Settings(out_of_order="warn")).up()] == ["000_late.sql"]
    assert any("comes before" in notice for notice in two.notices)


def test_requirements_are_looked_at_before_anything_runs(folder: Folder, sqlite: str) -> None:
    """`requires` means applied already, or run before in the same call."""
    folder.write(v001_a="-- migrator: requires=b\nCREATE TABLE a (id INTEGER);", v002_b="CREATE TABLE b (id INTEGER);")
    with pytest.raises(OrderError, match=r"001_a\.sql requires 002_b\.sql"):
        folder.migrator(sqlite).up()
    folder.write(
        v001_a="CREATE TABLE a (id INTEGER);", v003_c="-- migrator: requires=001,b\nCREATE TABLE c (id INTEGER);"
    )
    folder.write(v001_a_rollback="DROP TABLE a;")
    assert len(folder.migrator(sqlite).up()) == 3
    with pytest.raises(OrderError, match=r"003_c\.sql requires 001_a\.sql"):
        folder.migrator(sqlite).down("001")
    folder.write(v004_d="-- migrator: requires=nothing\nCREATE TABLE d (id INTEGER);")
    with pytest.raises(OrderError, match="requires 'nothing'"):
        folder.migrator(sqlite).up()


def test_down_says_why_it_does_not(two: Folder, sqlite: str) -> None:
    """Not applied, no companion, irreversible, newer ones applied, unknown: each is told, and nothing is done."""
    migrator = two.migrator(sqlite)
    with pytest.raises(MigrationError, match="is not applied"):
        migrator.down("001_users")
    two.write(
        v003_last="-- migrator: irreversible\nCREATE TABLE last (id INTEGER);", v003_last_rollback="DROP TABLE last;"
    )
    two.write(v004_bare="CREATE TABLE bare (id INTEGER);")
    migrator.up()
    before = migrator.dump()
    for name, words in (
        ("nothing", "there is no migration 'nothing'"),
        ("003_last.sql", "irreversible"),
        ("004", "has no rollback"),
        ("001_users", "came after 001_users.sql and is applied"),
    ):
        with pytest.raises(MigrationError, match=words):
            migrator.down(name)
    assert migrator.dump() == before


def test_nothing_is_written_by_looking(folder: Folder, tmp_path: object, sqlite: str) -> None:
    """`status`, `doctor`, `history`, `dump` and a dry run make neither the file nor the history."""
    from pathlib import Path

    folder.write(v001_users=USERS)
    migrator = folder.migrator(sqlite)
    migrator.status(), migrator.doctor(), migrator.history(), migrator.dump(), migrator.verify()
    assert [result.state for result in migrator.up(dry_run=True)] == ["executed"]
    assert not Path(sqlite.removeprefix("sqlite:///")).exists()


def test_a_dry_run_executes_and_leaves_nothing(two: Folder, database: str) -> None:
    """PostgreSQL in a transaction, SQLite on a copy; MariaDB says that it did not, and prints what it would run."""
    migrator = two.migrator(database)
    results = migrator.apply_all_pending(dry_run=True)
    assert [row["migration"] for row in results] == ["001_users.sql", "002_orders.sql"]
    if "mariadb" in database:
        assert {row["state"] for row in results} == {"not_executed"}
        assert "not executed" in results[0]["message"]
        assert "CREATE TABLE users" in results[0]["message"]
    else:
        assert {row["state"] for row in results} == {"executed"}
    assert migrator.dump() == ""
    assert migrator.history() == []
    assert migrator.get_pending_migrations() == ["001_users.sql", "002_orders.sql"]
    migrator.up()
    assert migrator.down("002_orders", dry_run=True).state == results[0]["state"]
    assert states(migrator)["002_orders.sql"] == "applied"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_dry_run_fails_as_the_real_one_would(two: Folder, kind: str, request: pytest.FixtureRequest) -> None:
    """The statement that would fail is named, and nothing stays."""
    url = request.getfixturevalue(kind)
    two.write(v002_orders="CREATE TABLE users (id INTEGER);")
    with pytest.raises(StatementFailed) as caught:
        two.migrator(url).up(dry_run=True)
    assert caught.value.outcome == "what was there before: this was a dry run"
    assert "002_orders.sql:1" in str(caught.value)
    assert two.migrator(url).dump() == ""


def test_one_transaction_for_all(two: Folder, postgresql: str, sqlite: str) -> None:
    """With `tx=all` a failure of the last leaves nothing of the first."""
    for url in (postgresql, sqlite):
        two.write(v003_bad="CREATE TABLE users (id INTEGER);")
        migrator = two.migrator(url)
        with pytest.raises(StatementFailed, match="nothing of these 3 migrations"):
            migrator.up(tx="all")
        assert migrator.dump() == ""
        assert len(migrator.get_pending_migrations()) == 3
        two.remove("003_bad.sql")
        assert len(migrator.up(tx="all")) == 2
        assert set(states(migrator).values()) == {"applied"}
        assert migrator.doctor() == []


def test_one_transaction_for_all_is_refused_where_it_cannot_be(two: Folder, sqlite: str, mariadb: str) -> None:
    """MariaDB has no such transaction; a file with transaction=off cannot be a part of one."""
    with pytest.raises(MigrationError, match="cannot roll back DDL"):
        two.migrator(mariadb).up(tx="all")
    two.write(v003_alone="-- migrator: transaction=off\nVACUUM;")
    with pytest.raises(MigrationError, match=r"003_alone\.sql cannot run in a transaction"):
        two.migrator(sqlite).up(tx="all")
    assert two.migrator(sqlite).dump() == ""


def test_a_file_outside_of_a_transaction_is_journalled(folder: Folder, sqlite: str, postgresql: str) -> None:
    """What cannot run in a transaction does with transaction=off, and is recorded statement by statement."""
    for url, alone in ((sqlite, "VACUUM;"), (postgresql, "CREATE INDEX CONCURRENTLY by_name ON users (name);")):
        folder.write(v001_users=USERS, v002_alone=f"-- migrator: transaction=off\n{alone}")
        migrator = folder.migrator(url)
        assert len(migrator.up()) == 2
        assert [entry.statements_done for entry in migrator.status()] == [1, 1]
        assert migrator.doctor() == []


def test_an_empty_file_is_not_recorded_as_applied(folder: Folder, sqlite: str) -> None:
    """A migration of which only the comment is written yet stops the run."""
    folder.write(v001_users="-- to do\n")
    with pytest.raises(MigrationFileError, match="holds no statement"):
        folder.migrator(sqlite).up()


def test_the_guides_three_calls(folder: Folder, new_postgresql: Callable[[], str]) -> None:
    """A migration and its `_rollback` share a version; companions are not pending."""
    migrator: DatabaseMigrator = folder.migrator(new_postgresql())
    name = migrator.create_migration("add_users", USERS)
    assert name == "20250127_120000_add_users.sql"
    assert migrator.create_migration("add_users_rollback", "DROP TABLE users;") == (
        "20250127_120000_add_users_rollback.sql"
    )
    assert migrator.get_pending_migrations() == [name]
    migrator.apply_all_pending()
    assert migrator.rollback_migration(name)["state"] == "rolled_back"
