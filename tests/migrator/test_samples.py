"""The migrations that come with migrator: whole, the same in the wheel and in the examples, and reversible."""

import re
from pathlib import Path
from typing import Any

import pytest

from kbstore.migrator.catalog import compare, dump, take_snapshot
from kbstore.migrator.errors import MigrationError
from kbstore.migrator.samples import sample_folder
from kbstore.migrator.sql.statements import split
from tests.migrator.connections import connect, execute

ROOT = Path(__file__).resolve().parent.parent.parent
NAMES = [  # as the user's guide lists them
    "001_initial_schema",
    "002_add_feedback_schema",
    "003_add_webhooks_schema",
    "004_add_advanced_features",
    "005_add_performance_optimizations",
    "006_add_error_tracking",
]
DIALECTS = {"sqlite": "sqlite", "postgresql": "postgresql", "mariadb": "mysql"}


def text(name: str, dialect: str) -> str:
    """The text of one script for a dialect: its own where there is one, else the common one."""
    own = sample_folder() / f"{name}.{DIALECTS[dialect]}.sql"
    return (own if own.exists() else sample_folder() / f"{name}.sql").read_text(encoding="utf-8")


def run(connection: Any, name: str, dialect: str) -> None:
    """Run one script, statement by statement."""
    execute(connection, *(statement.text for statement in split(text(name, dialect), dialect, name=name)))


def test_the_six_migrations_each_have_their_companions() -> None:
    """The names are the guide's; each has a rollback and a verification; nothing else lies there."""
    common = {
        path.name for path in sample_folder().iterdir() if not re.search(r"\.(mysql|postgresql)\.sql$", path.name)
    }
    assert common == {f"{name}{part}.sql" for name in NAMES for part in ("", "_rollback", "_verify")}


def test_the_examples_folder_holds_the_same() -> None:
    """examples/troubleshooting/migrations is what the package ships, byte for byte."""
    examples = ROOT / "examples" / "troubleshooting" / "migrations"
    assert {path.name: path.read_bytes() for path in examples.iterdir()} == {
        path.name: path.read_bytes() for path in sample_folder().iterdir()
    }


def test_up_down_and_up_again_gives_the_same_schema(database: str) -> None:
    """Each step verifies; each rollback gives the schema before its step; the end of all is an empty database."""
    connection, dialect = connect(database)
    empty = take_snapshot(connection, dialect)
    assert dump(empty) == ""
    steps = [empty]
    for name in NAMES:
        run(connection, name, dialect)
        run(connection, f"{name}_verify", dialect)
        steps.append(take_snapshot(connection, dialect))
        assert compare(steps[-2], steps[-1]), name
    for name, before in zip(reversed(NAMES), reversed(steps[:-1]), strict=True):
        run(connection, f"{name}_rollback", dialect)
        assert compare(before, take_snapshot(connection, dialect)) == []
    for name in NAMES:
        run(connection, name, dialect)
    assert take_snapshot(connection, dialect) == steps[-1]
    connection.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_verification_fails_before_its_migration(database: str, name: str) -> None:
    """It is no formality: without what its migration makes, it is an error."""
    connection, dialect = connect(database)
    for earlier in NAMES[: NAMES.index(name)]:
        run(connection, earlier, dialect)
    with pytest.raises(Exception, match=r"(?i)no such|does not exist|doesn't exist|unknown"):
        run(connection, f"{name}_verify", dialect)
    connection.close()


def test_rows_are_kept_apart_and_together_as_support_needs_it(database: str) -> None:
    """A session goes with its steps and feedback; a problem that is deleted leaves its sessions."""
    connection, dialect = connect(database)
    if dialect == "sqlite":
        execute(connection, "PRAGMA foreign_keys = ON")
    for name in NAMES:
        run(connection, name, dialect)
    table = "support_troubleshooting_"
    execute(
        connection,
        f"INSERT INTO {table}problems (id, title, category) VALUES ('p1', 'Webhook late', 'api')",
        f"INSERT INTO {table}sessions (id, customer_id, problem_id) VALUES ('s1', 'c1', 'p1')",
        f"INSERT INTO {table}steps (id, session_id, position, instruction) VALUES ('t1', 's1', 1, 'Look')",
        f"INSERT INTO {table}feedback (id, session_id, rating) VALUES ('f1', 's1', 5)",
        f"DELETE FROM {table}problems",
    )
    for bad in ("rating) VALUES ('f2', 's1', 6)", "rating) VALUES ('f2', 's2', 1)"):
        with pytest.raises(Exception, match=r"(?i)constraint"):
            execute(connection, f"INSERT INTO {table}feedback (id, session_id, {bad}")
    cursor = connection.cursor()
    cursor.execute(f"SELECT problem_id, status, priority FROM {table}sessions")
    assert list(cursor.fetchall()) == [(None, "open", "normal")]
    execute(connection, f"DELETE FROM {table}sessions")
    for child in ("steps", "feedback"):
        cursor.execute(f"SELECT count(*) FROM {table}{child}")
        assert cursor.fetchone()[0] == 0
    cursor.close()
    connection.close()


def test_an_unknown_set_is_an_error_that_names_those_that_there_are() -> None:
    """No folder is guessed."""
    with pytest.raises(MigrationError, match="'nope'") as caught:
        sample_folder("nope")
    assert caught.value.hint == "there are: troubleshooting"
