"""What a person decides: repair, baseline, taking over from other tools."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from kbstore.migrator import ChangedError, DatabaseMigrator, MigrationError, NeedsRepair, StatementFailed
from kbstore.migrator import api as database_module
from tests.migrator.connections import connect, execute
from tests.migrator.support import Folder, events, rows, states

USERS = "CREATE TABLE users (id INTEGER PRIMARY KEY);"
ORDERS = "CREATE TABLE orders (id INTEGER PRIMARY KEY);"


@pytest.fixture
def three(folder: Folder) -> Iterator[Folder]:
    """Three migrations."""
    return folder.write(v001_users=USERS, v002_orders=ORDERS, v003_more="CREATE TABLE more (id INTEGER);")


def by_hand(url: str, *statements: str) -> None:
    """What somebody did beside the migrator."""
    connection, _ = connect(url)
    with closing(connection):
        execute(connection, *statements)


def test_a_changed_file_may_be_taken_for_right(three: Folder, database: str) -> None:
    """`mark-applied` records the checksum of the file as it is now; the log keeps the decision."""
    migrator = three.migrator(database)
    migrator.up()
    three.write(v002_orders=f"-- with a comment\n{ORDERS}")
    assert states(migrator)["002_orders.sql"] == "changed"
    assert [problem.kind for problem in migrator.doctor()] == ["changed"]
    assert migrator.repair("002_orders", "mark-applied").state == "applied"
    assert states(migrator)["002_orders.sql"] == "applied"
    assert migrator.up() == []
    assert events(migrator)[-1] == ("marked_applied", "002_orders.sql")


def test_a_file_that_is_gone(three: Folder, sqlite: str) -> None:
    """It is an error of `up` and `down`; `mark-pending` forgets it, and nothing else can be said of it."""
    migrator = three.migrator(sqlite)
    migrator.up()
    three.remove("003_more.sql")
    assert states(migrator)["003_more.sql"] == "missing"
    with pytest.raises(ChangedError, match=r"003_more\.sql was applied at .*, and its file is gone"):
        migrator.up()
    with pytest.raises(ChangedError, match=r"003_more\.sql is applied, and its file is gone"):
        migrator.down("003_more.sql")
    with pytest.raises(ChangedError, match="is gone"):
        migrator.repair("003_more.sql", "mark-applied")
    migrator.repair("003_more.sql", "mark-pending")
    assert "003_more.sql" not in states(migrator)
    assert migrator.up() == []


def test_what_was_done_by_hand_may_be_marked(three: Folder, sqlite: str) -> None:
    """A pending migration whose table somebody made already is marked, and is not run."""
    by_hand(sqlite, USERS)
    migrator = three.migrator(sqlite)
    migrator.repair("001", "mark-applied")
    assert [result.migration for result in migrator.up()] == ["002_orders.sql", "003_more.sql"]
    assert migrator.doctor() == []


def test_an_accepted_change_is_no_drift_any_more(three: Folder, database: str) -> None:
    """A table dropped by hand is drift, until the database is said to be right as it is; `up` tells and logs it."""
    migrator = three.migrator(database)
    migrator.up()
    by_hand(database, "DROP TABLE orders")
    (problem,) = migrator.doctor()
    assert (problem.kind, problem.subject.rpartition(".")[2]) == ("drift", "orders")
    assert "is missing" in problem.message
    assert "002_orders.sql, recorded as applied" in problem.message
    three.write(v004_last="CREATE TABLE last (id INTEGER);")
    migrator.up()
    assert any("changed by another hand" in notice and "orders" in notice for notice in three.notices)
    assert ("drift", "") in events(migrator)
    assert migrator.doctor() == []


def test_a_half_done_migration_may_be_marked_either_way(folder: Folder, mariadb: str) -> None:
    """Nothing is run by that; both ways the next `up` goes on."""
    folder.write(v001_users=f"{USERS}\n{USERS}")
    migrator = folder.migrator(mariadb)
    for _ in range(2):
        with pytest.raises(StatementFailed):
            migrator.up()
        with pytest.raises(NeedsRepair):
            migrator.down("001_users")
        assert [problem.kind for problem in migrator.doctor()] == ["half-done"]
        migrator.repair("001_users", "mark-pending")
        assert states(migrator) == {"001_users.sql": "pending"}
        by_hand(mariadb, "DROP TABLE IF EXISTS users")
    with pytest.raises(StatementFailed):
        migrator.up()
    migrator.repair("001_users", "mark-applied")
    assert states(migrator) == {"001_users.sql": "applied"}
    assert migrator.up() == []
    told = [event for event, _ in events(migrator) if event != "drift"]
    assert told == ["failed", "marked_pending"] * 2 + ["failed", "marked_applied"]


def test_a_half_done_rollback_goes_on(folder: Folder, mariadb: str) -> None:
    """A `down` that fails half-way is a journal too: retry goes on with the rollback."""
    folder.write(v001_both=f"{USERS}\n{ORDERS}", v001_both_rollback="DROP TABLE orders;\nDROP TABLE nothing;")
    migrator = folder.migrator(mariadb)
    migrator.up()
    with pytest.raises(StatementFailed, match="statement 2 of 2 failed"):
        migrator.down("001_both")
    assert states(migrator) == {"001_both.sql": "revert_failed"}
    with pytest.raises(NeedsRepair, match=r"the rollback of 001_both\.sql failed: 1 statements are done"):
        migrator.up()
    folder.write(v001_both_rollback="DROP TABLE orders;\nDROP TABLE users;")
    assert migrator.repair("001_both", "retry").state == "rolled_back"
    assert migrator.dump() == ""
    assert states(migrator) == {"001_both.sql": "pending"}
    assert [result.state for result in migrator.up()] == ["applied"]


def test_repairs_that_make_no_sense_are_refused(three: Folder, sqlite: str) -> None:
    """Nothing to go on with, nothing to forget, no such migration."""
    migrator = three.migrator(sqlite)
    with pytest.raises(MigrationError, match="is not half done"):
        migrator.repair("001", "retry")
    with pytest.raises(MigrationError, match="is pending already"):
        migrator.repair("001", "mark-pending")
    with pytest.raises(MigrationError, match="there is no migration"):
        migrator.repair("009", "mark-applied")
    migrator.up()
    with pytest.raises(MigrationError, match="is not half done"):
        migrator.repair("001", "retry")


def test_a_baseline_takes_what_is_there_for_applied(three: Folder, database: str) -> None:
    """Up to its version nothing is run; what comes after is."""
    by_hand(database, USERS, ORDERS)
    migrator = three.migrator(database)
    assert [result.migration for result in migrator.baseline("002")] == ["001_users.sql", "002_orders.sql"]
    assert states(migrator) == {"001_users.sql": "baseline", "002_orders.sql": "baseline", "003_more.sql": "pending"}
    assert migrator.doctor() == []
    assert [result.migration for result in migrator.up()] == ["003_more.sql"]
    assert migrator.doctor() == []
    with pytest.raises(MigrationError, match="there is a history already"):
        migrator.baseline("003")
    for arguments in ({}, {"version": "001", "tool": "dbmate"}):
        with pytest.raises(MigrationError, match="a baseline takes a version, or the tool"):
            migrator.baseline(**arguments)  # type: ignore[arg-type]
    with pytest.raises(MigrationError, match="no migration with the version"):
        three.migrator(database + "x" if database.startswith("sqlite") else database).baseline("007")


def test_a_table_of_dbmate_is_refused_and_taken_over(three: Folder, database: str) -> None:
    """Its list says which are applied; what it does not list stays pending; its table stays under another name."""
    by_hand(
        database,
        USERS,
        "CREATE TABLE schema_migrations (version VARCHAR(128) PRIMARY KEY)",
        "INSERT INTO schema_migrations (version) VALUES ('001')",
    )
    migrator = three.migrator(database)
    for look in (migrator.status, migrator.up, migrator.doctor):
        with pytest.raises(MigrationError, match="laid out as dbmate does") as caught:
            look()
        assert caught.value.hint == "migrator baseline --from dbmate takes over what it says"
    with pytest.raises(MigrationError, match="as golang-migrate lays it out"):
        migrator.baseline(tool="golang-migrate")
    migrator.baseline(tool="dbmate")
    assert states(migrator) == {"001_users.sql": "baseline", "002_orders.sql": "pending", "003_more.sql": "pending"}
    assert rows(database, "SELECT version FROM schema_migrations_dbmate") == [("001",)]
    assert len(migrator.up()) == 2
    assert migrator.doctor() == []


def test_a_table_of_golang_migrate_is_refused_and_taken_over(three: Folder, database: str) -> None:
    """It names the newest version only; a dirty one is to be settled with that tool first."""
    by_hand(
        database,
        USERS,
        ORDERS,
        "CREATE TABLE schema_migrations (version BIGINT NOT NULL PRIMARY KEY, dirty BOOLEAN NOT NULL)",
        "INSERT INTO schema_migrations (version, dirty) VALUES (2, TRUE)",
    )
    migrator = three.migrator(database)
    with pytest.raises(MigrationError, match="laid out as golang-migrate does"):
        migrator.up()
    with pytest.raises(NeedsRepair, match="its version 2 is dirty"):
        migrator.baseline(tool="golang-migrate")
    by_hand(database, "UPDATE schema_migrations SET dirty = FALSE")
    migrator.baseline(tool="golang-migrate")
    assert states(migrator) == {"001_users.sql": "baseline", "002_orders.sql": "baseline", "003_more.sql": "pending"}


def test_a_version_of_another_tool_without_its_file_is_refused(three: Folder, sqlite: str) -> None:
    """Nothing is renamed then; and a table of neither tool is left alone."""
    by_hand(sqlite, "CREATE TABLE schema_migrations (version TEXT)", "INSERT INTO schema_migrations VALUES ('009')")
    migrator = three.migrator(sqlite)
    with pytest.raises(ChangedError, match="dbmate applied versions that have no file here: 9"):
        migrator.baseline(tool="dbmate")
    assert rows(sqlite, "SELECT version FROM schema_migrations") == [("009",)]
    by_hand(sqlite, "DROP TABLE schema_migrations", "CREATE TABLE schema_migrations (id INTEGER, applied TEXT)")
    with pytest.raises(MigrationError, match="with the columns id, applied"):
        migrator.up()


ACTIONS: dict[str, Callable[[DatabaseMigrator], object]] = {
    "up": lambda own: own.up(),
    "dry run": lambda own: own.up(dry_run=True),
    "down": lambda own: own.down("004_late"),
    "status": lambda own: states(own)["004_late.sql"] == "applied",
    "pending": lambda own: own.get_pending_migrations(),
    "doctor": lambda own: own.doctor(),
    "verify": lambda own: own.verify(),
    "repair": lambda own: own.repair("004_late", "mark-applied"),
}


@pytest.mark.parametrize(
    ("action", "answer"),
    [("up", []), ("dry run", []), ("status", True), ("pending", []), ("doctor", []), ("verify", []), ("down", None),
     ("repair", None)],
)  # fmt: skip
def test_a_file_that_another_runner_applies_meanwhile(
    three: Folder, sqlite: str, monkeypatch: pytest.MonkeyPatch, action: str, answer: object
) -> None:
    """It was written after this runner had read the folder: the folder is read again before a file is called gone."""
    three.migrator(sqlite).up()
    read = database_module.scan
    reads = []

    def reading(*arguments: Any) -> Any:
        found = read(*arguments)
        reads.append(None)
        if len(reads) == 1:
            three.write(v004_late="CREATE TABLE late (id INTEGER);", v004_late_rollback="DROP TABLE late;")
            assert [each.migration for each in three.migrator(sqlite).up()] == ["004_late.sql"]
        return found

    monkeypatch.setattr(database_module, "scan", reading)
    found = ACTIONS[action](three.migrator(sqlite))
    assert answer is None or found == answer
