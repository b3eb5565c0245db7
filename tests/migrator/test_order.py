"""What stands in one transaction, in which order, and who is asked first: held on SQLite, in milliseconds."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kbstore.migrator import MigrationError, OrderError, StatementFailed
from kbstore.migrator.engines.contract import DatabaseFault
from kbstore.migrator.engines.sqlite import SQLiteEngine
from kbstore.migrator.history import History, hashes_of
from tests.migrator.connections import connect
from tests.migrator.support import Folder, events, rows, states

USERS = "CREATE TABLE users (id INTEGER PRIMARY KEY)"
MORE = "CREATE TABLE more (id INTEGER)"
ALONE = "-- migrator: transaction=off\n"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The first words of all statements that databases were sent, in order."""
    found: list[str] = []
    opened = SQLiteEngine.open

    def watched(self: SQLiteEngine, *, create: bool = False) -> None:
        opened(self, create=create)
        self.connection.set_trace_callback(found.append)

    monkeypatch.setattr(SQLiteEngine, "open", watched)
    return found


def transaction_of(said: list[str], begins: str) -> list[str]:
    """The transaction in which a statement was sent."""
    at = next(n for n, statement in enumerate(said) if statement.startswith(begins))
    begin = max(n for n in range(at) if said[n].startswith(("BEGIN", "COMMIT", "ROLLBACK")))
    end = next(n for n in range(at, len(said)) if said[n] in ("COMMIT", "ROLLBACK"))
    assert said[begin].startswith("BEGIN"), "outside of a transaction"
    return said[begin : end + 1]


def one_of(transaction: list[str], begins: str) -> int:
    """Where a statement stands."""
    return next(at for at, statement in enumerate(transaction) if statement.startswith(begins))


@pytest.mark.parametrize(("tx", "files"), [("each", 1), ("each", 2), ("all", 1)])
def test_the_row_comes_first_and_all_is_one_transaction(
    folder: Folder, sqlite: str, said: list[str], tx: str, files: int
) -> None:
    """Its key keeps another runner out before a statement is run; the log is written before COMMIT."""
    folder.write(v001_users=f"{USERS};")
    if files == 2:
        folder.write(v002_more=f"{MORE};")
    folder.migrator(sqlite).up(tx=tx)
    whole = transaction_of(said, "CREATE TABLE users")
    row, line = 'INSERT INTO main."schema_migrations" ', 'INSERT INTO main."schema_migrations_log"'
    places = [one_of(whole, begins) for begins in (row, "CREATE TABLE users", line, "COMMIT")]
    assert places == sorted(places)


def test_rows_and_their_entry_are_one_transaction(folder: Folder, sqlite: str, said: list[str]) -> None:
    """So what a journal says of rows is so wherever the process is killed."""
    folder.write(v001_users=f"{ALONE}{USERS};\nINSERT INTO users VALUES (1);")
    folder.migrator(sqlite).up()
    whole = transaction_of(said, "INSERT INTO users")
    entry = one_of(whole, 'UPDATE main."schema_migrations"')
    assert one_of(whole, "INSERT INTO users") < entry < len(whole) - 1
    assert "statements_done" in whole[entry]
    assert whole[-1] == "COMMIT"


def losing(monkeypatch: pytest.MonkeyPatch, begins: str, kind: Any) -> None:
    """Let the database refuse a statement, as one does of which the connection is gone."""
    run = SQLiteEngine.run

    def refusing(self: SQLiteEngine, text: str, data: str | None = None) -> Any:
        if text.startswith(begins):
            raise DatabaseFault("the server went away", kind=kind)
        return run(self, text, data)

    monkeypatch.setattr(SQLiteEngine, "run", refusing)


@pytest.mark.parametrize(("kind", "state"), [("lost", "running"), ("sql", "failed"), ("lock", "failed")])
def test_a_lost_connection_is_no_failure(
    folder: Folder, sqlite: str, monkeypatch: pytest.MonkeyPatch, kind: str, state: str
) -> None:
    """The statement may have taken effect: the row stays as it was begun, and the message says so."""
    folder.write(v001_users=f"{ALONE}{USERS};\n{MORE};")
    losing(monkeypatch, "CREATE TABLE more", kind)
    migrator = folder.migrator(sqlite)
    with pytest.raises(MigrationError, match="statement 2 of 2 failed: the server went away") as caught:
        migrator.up()
    assert states(migrator) == {"001_users.sql": state}
    doubt = "the connection was lost, so the next statement may have taken effect too"
    assert (doubt in str(caught.value)) == (kind == "lost")
    assert rows(sqlite, "SELECT statements_done FROM schema_migrations") == [(1,)]


def test_one_transaction_for_all_takes_no_file_of_its_own(folder: Folder, sqlite: str) -> None:
    """Neither it nor those before it are run, and the message names it."""
    folder.write(v001_users=f"{USERS};", v002_alone=f"{ALONE}VACUUM;", v003_more=f"{MORE};")
    migrator = folder.migrator(sqlite)
    with pytest.raises(MigrationError, match=r"^002_alone\.sql cannot run in a transaction with others") as caught:
        migrator.up(tx="all")
    assert caught.value.hint == "--tx each, or --to the one before"
    assert set(states(migrator).values()) == {"pending"}
    assert rows(sqlite, "SELECT name FROM sqlite_master WHERE name='users'") == []
    assert [result.migration for result in migrator.up(to=1, tx="all")] == ["001_users.sql"]


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Callable[[], object]]]:
    """What happens between the plan and the first BEGIN of a run; once."""
    acts: list[Callable[[], object]] = []
    begin = SQLiteEngine.begin

    def begun(self: SQLiteEngine, *arguments: Any, **options: Any) -> None:
        while acts:
            acts.pop()()
        begin(self, *arguments, **options)

    monkeypatch.setattr(SQLiteEngine, "begin", begun)
    yield acts
    assert acts == []


@pytest.mark.parametrize(("tx", "files"), [("each", 1), ("each", 2), ("all", 1), ("all", 2)])
def test_what_another_runner_did_meanwhile_is_read(
    folder: Folder, sqlite: str, meanwhile: list[Callable[[], object]], tx: str, files: int
) -> None:
    """A plan is made anew: what is older than a migration that is applied by now is not run behind it unasked."""
    folder.write(v000_first="CREATE TABLE first (id INTEGER);")
    folder.migrator(sqlite).up()
    other = Folder(folder.path.with_name("other"), folder.clock)
    other.write(v000_first="CREATE TABLE first (id INTEGER);", v009_late="CREATE TABLE late (id INTEGER);")
    folder.write(v001_users=f"{USERS};", v009_late="CREATE TABLE late (id INTEGER);")
    if files == 2:
        folder.write(v002_more=f"{MORE};")
    migrator = folder.migrator(sqlite)
    meanwhile.append(lambda: other.migrator(sqlite).up())
    with pytest.raises(OrderError, match=r"001_users\.sql"):
        migrator.up(to=files, tx=tx)
    assert rows(sqlite, "SELECT name FROM schema_migrations ORDER BY name") == [("000_first.sql",), ("009_late.sql",)]
    assert rows(sqlite, "SELECT name FROM sqlite_master WHERE name='users'") == []


CHILD = "CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES users (id));"


@pytest.mark.parametrize(("head", "tx"), [("", "each"), ("", "all"), (ALONE, "each")])
def test_no_commit_leaves_a_row_without_its_parent(folder: Folder, sqlite: str, head: str, tx: str) -> None:
    """Foreign keys are off in a migration, so they are looked at before it ends."""
    folder.write(v001_users=f"{USERS};\n{CHILD}")
    migrator = folder.migrator(sqlite)
    migrator.up()
    folder.write(v002_orphan=f"{head}INSERT INTO child VALUES (1, 7);")
    with pytest.raises(StatementFailed, match="1 rows of child would be left without their row in users"):
        migrator.up(tx=tx)
    assert rows(sqlite, "SELECT * FROM child") == []
    assert states(migrator)["002_orphan.sql"] == ("failed" if head else "pending")


def test_a_file_that_ends_its_transaction_is_refused_before_its_row_is_lost(
    folder: Folder, sqlite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it did so: what is behind it would stand without a row of the history."""
    folder.write(v001_users=f"{USERS};")
    monkeypatch.setattr(SQLiteEngine, "in_transaction", lambda self: False)
    with pytest.raises(StatementFailed, match="the file ended the transaction that it was run in"):
        folder.migrator(sqlite).up(tx="all")
    monkeypatch.undo()
    assert rows(sqlite, "SELECT name FROM sqlite_master WHERE name='users'") == []


def test_a_migration_that_is_marked_has_a_whole_row(folder: Folder, sqlite: str) -> None:
    """Its statements count as done, and the catalog after it is the one of now; all or nothing of that is there."""
    folder.write(v001_users=f"{ALONE}{USERS};\n{MORE};")
    migrator = folder.migrator(sqlite)
    migrator.repair("001_users", "mark-applied")
    ((state, done, hashes, digest),) = rows(
        sqlite, "SELECT state, statements_done, statement_hashes, schema_hash FROM schema_migrations"
    )
    assert (state, done, hashes) == ("applied", 2, hashes_of([USERS, MORE]))
    assert rows(sqlite, "SELECT name, schema_hash FROM schema_migrations_catalog") == [("001_users.sql", digest)]
    assert events(migrator) == [("marked_applied", "001_users.sql")]


@pytest.mark.parametrize("action", ["mark-applied", "mark-pending"])
def test_a_mark_is_one_transaction(folder: Folder, sqlite: str, monkeypatch: pytest.MonkeyPatch, action: str) -> None:
    """A mark whose line cannot be logged is none."""
    folder.write(v001_users=f"{USERS};", v002_more=f"{MORE};")
    migrator = folder.migrator(sqlite)
    migrator.up(to=1)
    before = rows(sqlite, "SELECT * FROM schema_migrations"), rows(sqlite, "SELECT * FROM schema_migrations_catalog")

    def refuse(*arguments: object, **fields: object) -> None:
        raise DatabaseFault("no room")

    monkeypatch.setattr(History, "add_line", refuse)
    with pytest.raises(DatabaseFault, match="no room"):
        migrator.repair("002_more" if action == "mark-applied" else "001_users", action)
    assert before == (
        rows(sqlite, "SELECT * FROM schema_migrations"),
        rows(sqlite, "SELECT * FROM schema_migrations_catalog"),
    )
    assert [event for event, _ in events(migrator)] == ["applied"]


def test_what_is_marked_pending_is_no_drift(folder: Folder, sqlite: str) -> None:
    """The catalog is recorded as it is without it, so nothing of it is called another hand's change."""
    folder.write(v001_users=f"{USERS};", v002_more=f"{MORE};")
    migrator = folder.migrator(sqlite)
    migrator.up()
    connection, _ = connect(sqlite)
    connection.execute("DROP TABLE more")
    connection.close()
    assert [problem.kind for problem in migrator.doctor()] == ["drift"]
    migrator.repair("002_more", "mark-pending")
    assert states(migrator) == {"001_users.sql": "applied", "002_more.sql": "pending"}
    assert events(migrator)[-1] == ("marked_pending", "002_more.sql")
    assert migrator.doctor() == []
