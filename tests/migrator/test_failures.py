"""What goes wrong with other tools, and does not here: each test is one of the field's known failures."""

import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kbstore.migrator import (
    ChangedError,
    ConnectionFailed,
    LockTimeout,
    MigrationError,
    MigrationFileError,
    NeedsRepair,
    Settings,
    SplitError,
    StatementFailed,
)
from kbstore.migrator.engines import DatabaseFault, Limits, make_engine
from kbstore.migrator.engines.postgresql import PostgreSQLEngine
from kbstore.migrator.history import History
from kbstore.migrator.urls import parse_url
from tests.migrator.connections import connect, execute
from tests.migrator.support import QUICK, FakeClock, Folder, call, ended, events, rows, spawn, states, wait_for

USERS = "CREATE TABLE users (id INTEGER PRIMARY KEY, name VARCHAR(40));"


def test_a_clean_rollback_leaves_nothing_dirty(folder: Folder, transactional: str) -> None:
    """After a failure the file is mended and `up` is said again; there is no flag to clear. The log tells of it."""
    folder.write(v001_users=USERS, v002_more=f"CREATE TABLE more (id INTEGER);\n\n{USERS}")
    migrator = folder.migrator(transactional)
    with pytest.raises(StatementFailed) as caught:
        migrator.up()
    fault = caught.value
    assert (fault.migration, fault.line, fault.statement, fault.statements) == ("002_more.sql", 3, 2, 2)
    assert fault.sql == USERS.rstrip(";")
    assert "already exists" in fault.database_message
    assert fault.outcome == "nothing of 002_more.sql, its transaction was rolled back; the one before it stays"
    assert fault.hint == "mend 002_more.sql, then: migrator up"
    assert states(migrator) == {"001_users.sql": "applied", "002_more.sql": "pending"}
    assert "more" not in migrator.dump()
    assert events(migrator)[-1] == ("failed", "002_more.sql")
    folder.write(v002_more="CREATE TABLE more (id INTEGER);")
    assert [result.migration for result in migrator.up()] == ["002_more.sql"]
    assert migrator.doctor() == []


SLOW = {
    "sqlite": "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 1e11) SELECT max(n) FROM c;",
    "postgresql": "SELECT pg_sleep(300);",
}


def _is_at_work(url: str) -> bool:
    connection, dialect = connect(url)
    try:
        if dialect == "postgresql":
            asks = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND datname = current_database()"
            return bool(connection.execute(asks).fetchall())
        connection.execute("PRAGMA busy_timeout = 0")
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return True
    finally:
        connection.close()
    return False


def test_a_killed_runner_leaves_neither_half_a_migration_nor_a_lock(folder: Folder, transactional: str) -> None:
    """`kill -9` in the middle of a statement: the next `up` runs at once, on a database in which nothing of it is."""
    kind = transactional.partition(":")[0]
    folder.write(v001_users=USERS)
    folder.migrator(transactional).up()
    folder.write(v002_slow=f"INSERT INTO users VALUES (1, 'x');\n{SLOW[kind]}")
    process = spawn("up", "--db", transactional, "--dir", str(folder.path))
    wait_for(lambda: process.poll() is not None or _is_at_work(transactional), "the slow statement runs")
    assert process.poll() is None, ended(process)
    if kind == "sqlite":
        wait_for(lambda: Path(f"{transactional.removeprefix('sqlite:///')}-journal").exists(), "users is written")
    process.send_signal(signal.SIGKILL)
    ended(process)
    migrator = folder.migrator(transactional, Settings(lock_timeout_s=30, wait_s=30), clock=None)
    assert states(migrator) == {"001_users.sql": "applied", "002_slow.sql": "pending"}
    folder.write(v002_slow="INSERT INTO users VALUES (1, 'y');")
    assert [result.migration for result in migrator.up()] == ["002_slow.sql"]
    assert rows(transactional, "SELECT id, name FROM users") == [(1, "y")]
    assert migrator.doctor() == []


def test_a_killed_runner_of_a_journal_is_seen_and_settled(folder: Folder, mariadb: str) -> None:
    """Where DDL cannot be rolled back, a kill leaves `running`, with what is done; then a person has to decide."""
    folder.write(v001_users=f"{USERS}\nSELECT SLEEP(300);\nINSERT INTO users VALUES (1, 'x');")
    process = spawn("up", "--db", mariadb, "--dir", str(folder.path))
    query = "SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP(300)%'"
    wait_for(lambda: process.poll() is not None or bool(rows(mariadb, query)), "the slow statement runs")
    process.send_signal(signal.SIGKILL)
    ended(process)
    migrator = folder.migrator(mariadb, Settings(wait_s=30), clock=None)
    with pytest.raises(NeedsRepair, match=r"001_users\.sql was begun and not ended: 1 statements are done"):
        migrator.up()
    for (number,) in rows(mariadb, query):
        connection, _ = connect(mariadb)
        execute(connection, f"KILL {number}")
        connection.close()
    folder.write(v001_users=f"{USERS}\nSELECT SLEEP(0);\nINSERT INTO users VALUES (1, 'x');")
    assert migrator.repair("001_users", "retry").state == "applied"
    assert rows(mariadb, "SELECT id FROM users") == [(1,)]
    assert migrator.doctor() == []


def test_an_implicit_commit_half_way_is_a_journal(folder: Folder, mariadb: str) -> None:
    """The second of three statements fails on MariaDB: the first stays, recorded, and a retry goes on after it."""
    text = f"{USERS}\nCREATE TABLE users (id INTEGER);\nINSERT INTO users VALUES (1, 'x');"
    folder.write(v001_users=text)
    migrator = folder.migrator(mariadb)
    with pytest.raises(StatementFailed) as caught:
        migrator.up()
    assert (caught.value.line, caught.value.statement, caught.value.statements) == (2, 2, 3)
    assert caught.value.outcome == "statements 1 to 1 of 3 of 001_users.sql"
    assert "migrator repair 001_users.sql --retry" in str(caught.value.hint)
    (entry,) = migrator.status()
    assert (entry.state, entry.statements_done) == ("failed", 1)
    assert "already exists" in str(entry.error)
    with pytest.raises(NeedsRepair, match="and the next one was refused"):
        migrator.up()
    folder.write(v001_users=f"CREATE TABLE users (id INTEGER);\n{text}")
    with pytest.raises(NeedsRepair, match="no longer begins with the 1 statements that were run"):
        migrator.repair("001_users", "retry")
    folder.write(v001_users=f"{USERS}\nCREATE TABLE orders (id INTEGER);\nINSERT INTO users VALUES (1, 'x');")
    assert migrator.repair("001_users", "retry").state == "applied"
    assert rows(mariadb, "SELECT id FROM users") == [(1,)]
    assert migrator.doctor() == []
    assert [event for event, _ in events(migrator)] == ["failed", "retry", "applied"]


def test_rows_and_their_journal_are_one_transaction(folder: Folder, mariadb: str) -> None:
    """A statement that only changes rows leaves none where its journal cannot be written."""
    folder.write(v001_users=USERS)
    migrator = folder.migrator(mariadb)
    migrator.up()
    folder.write(v002_fill="INSERT INTO users VALUES (1, 'x');")
    connection, _ = connect(mariadb)
    execute(
        connection,
        "CREATE TRIGGER no_journal BEFORE UPDATE ON schema_migrations FOR EACH ROW "
        "IF NEW.statements_done = 1 AND NEW.version = 2 THEN SIGNAL SQLSTATE '45000'; END IF",
    )
    with pytest.raises(StatementFailed):
        migrator.up()
    assert rows(mariadb, "SELECT id FROM users") == []
    execute(connection, "DROP TRIGGER no_journal")
    connection.close()
    migrator.repair("002", "retry")
    assert rows(mariadb, "SELECT id FROM users") == [(1,)]


def test_a_living_lock_is_waited_for_and_a_dead_one_is_not_there(folder: Folder, postgresql: str, mariadb: str) -> None:
    """While another runner lives its lock is a timeout that names it; once its connection is gone, it is free."""
    folder.write(v001_users=USERS)
    for url in (postgresql, mariadb):
        with make_engine(parse_url(url)) as other:
            other.open()
            with other.lock(0, FakeClock()):
                with pytest.raises(LockTimeout, match="another migrator has worked on") as caught:
                    folder.migrator(url, QUICK).up()
                assert "server" in str(caught.value)
        assert len(folder.migrator(url, QUICK).up()) == 1


def test_a_checkout_with_other_line_ends_is_the_same_file(folder: Folder, transactional: str) -> None:
    """CRLF, a byte order mark and trailing blanks are no change; what is run has plain line ends."""
    text = "CREATE TABLE notes (id INTEGER, body TEXT);\nINSERT INTO notes VALUES (1, 'two\nlines');\n"
    folder.write(v001_notes="")
    file = folder.path / "001_notes.sql"
    file.write_bytes(text.encode())
    migrator = folder.migrator(transactional)
    migrator.up()
    file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").replace("TEXT);", "TEXT);   ").encode() + b"\r\n\r\n")
    assert states(migrator) == {"001_notes.sql": "applied"}
    assert migrator.up() == []
    file.write_bytes(text.replace("two", "three").encode())
    assert states(migrator) == {"001_notes.sql": "changed"}
    with pytest.raises(ChangedError, match=r"001_notes\.sql was changed after it was applied at 2025"):
        migrator.up()
    file.write_bytes(text.replace("\n", "\r\n").encode())
    folder.write(v001_notes_rollback="DROP TABLE notes;")
    migrator.down("001")
    migrator.up()
    assert rows(transactional, "SELECT body FROM notes") == [("two\nlines",)]


def test_no_lock_queue_forms_behind_a_long_reader(folder: Folder, database: str) -> None:
    """A reader's open transaction makes the migration give way and come back: others can read meanwhile."""
    folder.write(v001_users=USERS)
    clock = FakeClock()
    settings = Settings(lock_timeout_s=0.3, retries=2)
    migrator = folder.migrator(database, settings, clock=clock)
    migrator.up()
    reader, _ = connect(database)
    execute(reader, "BEGIN")
    cursor = reader.cursor()
    cursor.execute("SELECT * FROM users")
    cursor.fetchall()
    folder.write(v002_more="ALTER TABLE users ADD COLUMN more INTEGER;")
    sleep = clock.sleep
    seen: list[object] = []

    def meanwhile(seconds: float) -> None:
        """What happens between the first attempt and the second."""
        other, dialect = connect(database)
        if dialect == "postgresql":
            execute(other, "SET lock_timeout = 100")
        execute(other, "SELECT * FROM users")
        other.close()
        seen.append(seconds)
        execute(reader, "ROLLBACK")
        sleep(seconds)

    clock.sleep = meanwhile  # type: ignore[method-assign]
    assert [result.migration for result in migrator.up()] == ["002_more.sql"]
    assert len(seen) == 1
    reader.close()
    assert migrator.doctor() == []


def test_a_reader_that_never_ends_is_a_lock_timeout(folder: Folder, postgresql: str) -> None:
    """After all retries, with growing pauses, the error says so; nothing of the migration is there."""
    folder.write(v001_users=USERS)
    folder.migrator(postgresql).up()
    reader, _ = connect(postgresql)
    execute(reader, "BEGIN", "SELECT * FROM users")
    folder.write(v002_more="ALTER TABLE users ADD COLUMN more INTEGER;")
    settings = Settings(lock_timeout_s=0.05, retries=3)
    with pytest.raises(LockTimeout, match=r"002_more\.sql: .*lock timeout; tried 4 times.*nothing of it"):
        folder.migrator(postgresql, settings).up()
    assert folder.clock.slept == [0.5, 1.0, 2.0]
    reader.close()
    assert "more" not in folder.migrator(postgresql).dump()
    assert events(folder.migrator(postgresql))[-1] == ("failed", "002_more.sql")


REBUILD = """
CREATE TABLE parents_new (id INTEGER PRIMARY KEY, name TEXT NOT NULL DEFAULT '');
INSERT INTO parents_new SELECT id, name FROM parents {which};
DROP TABLE parents;
ALTER TABLE parents_new RENAME TO parents;
"""


def test_a_table_rebuild_in_sqlite_keeps_the_children(folder: Folder, sqlite: str) -> None:
    """DROP TABLE of a parent does not cascade; but a rebuild that loses parents is refused, and changes nothing."""
    folder.write(
        v001_family=(
            "CREATE TABLE parents (id INTEGER PRIMARY KEY, name TEXT);\n"
            "CREATE TABLE children (id INTEGER PRIMARY KEY,"
            " parent INTEGER NOT NULL REFERENCES parents ON DELETE CASCADE);\n"
            "INSERT INTO parents VALUES (1, 'a'), (2, 'b');\nINSERT INTO children VALUES (10, 1), (20, 2);\n"
        ),
        v002_rebuild=REBUILD.format(which=""),
    )
    migrator = folder.migrator(sqlite)
    migrator.up()
    assert rows(sqlite, "SELECT id, parent FROM children") == [(10, 1), (20, 2)]
    folder.write(v003_lossy=REBUILD.format(which="WHERE id = 1"))
    with pytest.raises(StatementFailed, match="1 rows of children would be left without their row in parents"):
        migrator.up()
    assert rows(sqlite, "SELECT id FROM parents") == [(1,), (2,)]
    connection, _ = connect(sqlite)
    execute(connection, "DELETE FROM parents WHERE id = 2")  # by a hand that checks nothing
    connection.close()
    folder.write(v003_lossy="ALTER TABLE parents ADD COLUMN age INTEGER;")
    assert len(migrator.up()) == 1, "what was orphaned before does not stop what has nothing to do with it"
    assert [(problem.kind, problem.subject) for problem in migrator.doctor()] == [("orphans", "children")]


def test_two_files_with_one_number_are_refused(folder: Folder, sqlite: str) -> None:
    """Also where one of them is written with other zeros; both are named, and nothing is run."""
    folder.write(v001_users=USERS, v0001_orders="CREATE TABLE orders (id INTEGER);")
    with pytest.raises(MigrationFileError, match=r"001_users\.sql: has the same version as 0001_orders\.sql"):
        folder.migrator(sqlite).up()
    assert not Path(sqlite.removeprefix("sqlite:///")).exists()


def test_a_script_with_its_own_commit_is_refused(folder: Folder, database: str) -> None:
    """Before anything runs, with file and line."""
    folder.write(v001_users=USERS, v002_commit="INSERT INTO users VALUES (1, 'x');\nCOMMIT;\nDROP TABLE users;")
    migrator = folder.migrator(database)
    with pytest.raises(SplitError, match=r"002_commit\.sql:2: COMMIT"):
        migrator.up()
    assert migrator.dump() == ""


def test_an_emptied_search_path_does_not_outlive_its_file(folder: Folder, postgresql: str) -> None:
    """A file as pg_dump writes it: its history is recorded, and the next file finds its schema."""
    folder.write(
        v001_dumped="SELECT pg_catalog.set_config('search_path', '', false);\nCREATE TABLE public.users (id INTEGER);",
        v001_dumped_verify="SELECT count(*) = 0 FROM users;",
        v002_next="CREATE TABLE orders (id INTEGER);",
        v003_role="SET ROLE pg_read_all_data;",
        v004_alone="-- migrator: transaction=off\nSET search_path = '';\nSET ROLE pg_read_all_data;",
        v005_last="CREATE TABLE last (id INTEGER);",
    )
    migrator = folder.migrator(postgresql)
    assert len(migrator.up()) == 5
    assert set(states(migrator).values()) == {"applied"}
    assert rows(postgresql, "SELECT schemaname, tablename FROM pg_tables WHERE tablename IN ('orders', 'last')") == [
        ("public", "orders"),
        ("public", "last"),
    ]
    assert migrator.doctor() == []


def test_settings_of_a_file_do_not_reach_the_next(folder: Folder, database: str) -> None:
    """Session settings and temporary tables are gone when the next file begins."""
    sets = {
        "sqlite": "PRAGMA recursive_triggers = ON;",
        "postgresql": "SET statement_timeout = 12345;",
        "mariadb": "SET SESSION max_join_size = 12345;",
    }
    asks = {
        "sqlite": "SELECT recursive_triggers = 0 FROM pragma_recursive_triggers;",
        "postgresql": "SELECT current_setting('statement_timeout') = '0';",
        "mariadb": "SELECT @@max_join_size <> 12345;",
    }
    kind = next(name for name in sets if database.startswith(name))
    folder.write(
        v001_set=f"{sets[kind]}\nCREATE TEMPORARY TABLE kept (id INTEGER);",
        v002_next="CREATE TEMPORARY TABLE kept (id INTEGER);",
        v002_next_verify=asks[kind],
    )
    assert len(folder.migrator(database).up()) == 2


def test_discard_all_does_not_free_the_lock(folder: Folder, postgresql: str) -> None:
    """The lock is on a connection of its own, which no file can reach."""
    folder.write(
        v001_discard="-- migrator: transaction=off\nDISCARD ALL;\nSELECT pg_advisory_unlock_all();",
        v001_discard_verify="SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database());",
    )
    assert len(folder.migrator(postgresql).up()) == 1


def test_five_may_make_the_history_at_once(new_postgresql: Callable[[], str], mariadb: str, sqlite: str) -> None:
    """Without any lock: PostgreSQL's CREATE TABLE IF NOT EXISTS loses races against itself, and that is no error."""
    for url in (new_postgresql(), new_postgresql(), new_postgresql(), mariadb, sqlite):
        barrier = threading.Barrier(5)
        faults: list[Exception] = []

        def make(url: str = url, barrier: threading.Barrier = barrier, faults: list[Exception] = faults) -> None:
            try:
                with make_engine(parse_url(url)) as engine:
                    engine.open(create=True)
                    barrier.wait()
                    History(engine, FakeClock(), "ana@test").create()
            except Exception as fault:  # noqa: BLE001 - told by the main thread
                faults.append(fault)

        threads = [threading.Thread(target=make) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert faults == []
        with make_engine(parse_url(url)) as engine:
            engine.open()
            assert History(engine, FakeClock(), "ana@test").load() == {}


def test_the_key_keeps_others_out_where_the_lock_is_broken(folder: Folder, postgresql: str) -> None:
    """A second runner past the lock (as behind a pool) meets the row of the first, waits, and goes on without it."""
    folder.write(v001_users=USERS, v002_more="CREATE TABLE more (id INTEGER);")
    (first,) = [item for item in folder.migrator(postgresql).migrations() if item.version == 1]
    with make_engine(parse_url(postgresql)) as engine:
        engine.open()
        history = History(engine, FakeClock(), "ana@test")
        history.create()
        engine.begin(Limits())
        engine.run(USERS.rstrip(";"))
        history.put(first, "applied", None)
        clock = FakeClock()
        committed: list[float] = []

        def meanwhile(seconds: float) -> None:
            if not committed:
                engine.commit()
            committed.append(seconds)

        clock.sleep = meanwhile  # type: ignore[method-assign]
        results = folder.migrator(postgresql, Settings(lock_timeout_s=0.1), clock=clock).up()
    assert [result.migration for result in results] == ["002_more.sql"]
    assert len(committed) == 1


def test_a_failed_concurrent_index_is_seen(folder: Folder, postgresql: str) -> None:
    """The INVALID index is named by the error and by `doctor`; a retry is refused until it is gone."""
    folder.write(
        v001_users=f"{USERS}\nINSERT INTO users VALUES (1, 'x'), (2, 'x');",
        v002_index="-- migrator: transaction=off\n"
        "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS by_name ON users (name);",
    )
    migrator = folder.migrator(postgresql)
    with pytest.raises(StatementFailed) as caught:
        migrator.up()
    assert "an INVALID index, by_name" in caught.value.outcome
    assert states(migrator)["002_index.sql"] == "failed"
    assert {problem.kind for problem in migrator.doctor()} >= {"half-done", "invalid-index"}
    connection, _ = connect(postgresql)
    execute(connection, "DELETE FROM users WHERE id = 2")
    with pytest.raises(NeedsRepair, match="by_name") as refused:
        migrator.repair("002_index", "retry")
    assert "DROP INDEX CONCURRENTLY by_name" in str(refused.value.hint)
    execute(connection, "DROP INDEX CONCURRENTLY by_name")
    connection.close()
    assert migrator.repair("002_index", "retry").state == "applied"
    assert migrator.doctor() == []


def test_an_index_that_was_invalid_before_is_told(folder: Folder, postgresql: str) -> None:
    """`doctor` sees it also where migrator did not make it."""
    folder.write(v001_users=f"{USERS}\nINSERT INTO users VALUES (1, 'x'), (2, 'x');")
    migrator = folder.migrator(postgresql)
    migrator.up()
    import psycopg

    connection, _ = connect(postgresql)
    with pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute("CREATE UNIQUE INDEX CONCURRENTLY by_name ON users (name)")
    connection.close()
    assert ("invalid-index", "by_name") in [(problem.kind, problem.subject) for problem in migrator.doctor()]


@pytest.fixture
def losing_a_commit(postgresql: str, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The connection dies once, right after the COMMIT that made the table users; the list tells that it did."""
    batch = PostgreSQLEngine.batch
    lost: list[int] = []

    @contextmanager
    def losing(self: PostgreSQLEngine) -> Iterator[None]:
        with batch(self):
            yield
        made = rows(postgresql, "SELECT 1 FROM pg_tables WHERE tablename = 'users'")
        if made and not self.in_transaction() and not lost:
            self.close()
            lost.append(1)
            raise DatabaseFault("server closed the connection unexpectedly", kind="lost")

    monkeypatch.setattr(PostgreSQLEngine, "batch", losing)
    monkeypatch.setattr("kbstore.migrator.operations.ALL_SNAPSHOTS_UP_TO", 0)
    return lost


def test_a_commit_whose_answer_is_lost_is_looked_up(
    folder: Folder, postgresql: str, losing_a_commit: list[int]
) -> None:
    """COMMIT took effect, and its answer never came: another connection finds the row, and the run goes on."""
    folder.write(v001_users=USERS, v002_more="CREATE TABLE more (id INTEGER);")
    assert [result.state for result in folder.migrator(postgresql).up()] == ["applied", "applied"]
    assert losing_a_commit == [1]


def test_a_commit_whose_outcome_nobody_can_tell_is_told_so(
    folder: Folder, postgresql: str, losing_a_commit: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the server does not answer any more, the error claims neither; `status` tells later."""
    beside = PostgreSQLEngine.beside

    def silent(self: PostgreSQLEngine) -> PostgreSQLEngine:
        if losing_a_commit:
            raise ConnectionFailed("no answer")
        return beside(self)

    monkeypatch.setattr(PostgreSQLEngine, "beside", silent)
    folder.write(v001_users=USERS, v002_more="CREATE TABLE more (id INTEGER);")
    migrator = folder.migrator(postgresql)
    with pytest.raises(
        MigrationError, match=r"over the COMMIT of 001_users\.sql.* It took effect whole, or not at all"
    ):
        migrator.up()
    assert states(migrator) == {"001_users.sql": "applied", "002_more.sql": "pending"}


def test_a_connection_lost_before_the_commit_leaves_nothing(folder: Folder, postgresql: str) -> None:
    """A file that ends its own session fails, and says that nothing of it is there."""
    folder.write(v001_users=f"{USERS}\nSELECT pg_terminate_backend(pg_backend_pid());\nSELECT 1;")
    migrator = folder.migrator(postgresql)
    with pytest.raises(StatementFailed, match=r"001_users\.sql:2: statement 2 of 3 failed") as caught:
        migrator.up()
    assert "nothing of 001_users.sql" in caught.value.outcome
    assert migrator.dump() == ""
    assert events(migrator) == [("failed", "001_users.sql")]


def test_interrupting_leaves_nothing(folder: Folder, postgresql: str) -> None:
    """Ctrl-C in the middle of a statement: exit code 130, and nothing of the migration is there."""
    folder.write(v001_users=f"{USERS}\n{SLOW['postgresql']}")
    process = spawn("up", "--db", postgresql, "--dir", str(folder.path))
    wait_for(lambda: process.poll() is not None or _is_at_work(postgresql), "the slow statement runs")
    process.send_signal(signal.SIGINT)
    answer = ended(process)
    assert (answer.code, answer.err.strip()) == (130, "error: interrupted")
    assert folder.migrator(postgresql).dump() == ""
    assert call("status", "--db", postgresql, "--dir", str(folder.path)).out.startswith("pending")
