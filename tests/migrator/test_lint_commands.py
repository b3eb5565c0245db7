"""Lint in the life of migrations: `lint` tells, `up` refuses errors before anything runs, and heads allow."""

import pytest

from kbstore.migrator import LintError, MigrationFileError, Settings
from kbstore.migrator.samples import sample_folder
from tests.migrator.support import Folder, call, states

EMPTYING = "DELETE FROM users;\n"
USERS = "CREATE TABLE users (id INTEGER PRIMARY KEY);\n"


def test_up_refuses_an_error_before_anything_runs(folder: Folder, database: str) -> None:
    """Also what comes before the faulty file is not run; `--no-lint` and `allow=` run it."""
    folder.write(v001_users=USERS, v002_clean=EMPTYING)
    migrator = folder.migrator(database)
    with pytest.raises(LintError, match=r"002_clean\.sql:1: error: DELETE FROM users without WHERE") as caught:
        migrator.up()
    assert len(caught.value.problems) == 1
    assert states(migrator) == {"001_users.sql": "pending", "002_clean.sql": "pending"}
    folder.migrator(database, Settings(lint=False)).up(to="1")
    folder.write(v002_clean=f"-- migrator: allow=delete-without-where\n{EMPTYING}")
    assert [result.migration for result in migrator.up()] == ["002_clean.sql"]


def test_up_tells_a_warning_and_goes_on(folder: Folder, sqlite: str) -> None:
    """It is a notice."""
    folder.write(v001_users="CREATE TABLE IF NOT EXISTS users (id INTEGER)")
    assert [result.state for result in folder.migrator(sqlite).up()] == ["applied"]
    assert [notice.splitlines()[0].endswith("[if-not-exists]") for notice in folder.notices] == [True]


def test_what_is_applied_is_not_looked_at_again(folder: Folder, sqlite: str) -> None:
    """A new rule stops no old migration."""
    folder.write(v001_users=USERS + EMPTYING, v002_more="CREATE TABLE more (id INTEGER);")
    folder.migrator(sqlite, Settings(lint=False)).up(to="1")
    assert [result.migration for result in folder.migrator(sqlite).up()] == ["002_more.sql"]


def test_a_rollback_beside_it_or_a_word_in_its_head_answers_for_destruction(folder: Folder, sqlite: str) -> None:
    """Dropping is an error only where nothing could undo it and nobody said so."""
    folder.write(v001_users=USERS, v002_drop="DROP TABLE users;")
    migrator = folder.migrator(sqlite)
    assert "destructive-without-rollback" in {finding.rule for finding in migrator.lint()}
    folder.write(v002_drop_rollback=USERS)
    assert "destructive-without-rollback" not in {finding.rule for finding in migrator.lint()}
    folder.remove("002_drop_rollback.sql")
    folder.write(v002_drop="-- migrator: irreversible allow=drop-table\nDROP TABLE users;")
    assert migrator.lint() == []


def test_a_rule_that_is_not_there_cannot_be_allowed(folder: Folder, sqlite: str) -> None:
    """A slip in `allow=` is an error with its file and line, and names the rules that there are."""
    folder.write(v001_users=f"-- migrator: allow=drop-colum\n{USERS}")
    with pytest.raises(MigrationFileError, match=r"001_users\.sql:1: allow= names 'drop-colum'") as caught:
        folder.migrator(sqlite).status()
    assert "drop-column" in str(caught.value.hint)


def test_the_command_tells_and_exits_with_7_for_errors(folder: Folder, sqlite: str) -> None:
    """Warnings exit with 7 only where `--strict` is said; no database is made."""
    folder.write(v001_users="CREATE TABLE IF NOT EXISTS users (id INTEGER)")
    common = ("lint", "--db", sqlite, "--dir", str(folder.path))
    answer = call(*common)
    assert (answer.code, answer.out.splitlines()[-1]) == (0, f"0 errors, 1 warnings in {folder.path}")
    assert call(*common, "--strict").code == 7
    folder.write(v002_clean=EMPTYING)
    answer = call(*common)
    assert answer.code == 7
    assert "002_clean.sql:1: error: DELETE FROM users without WHERE: this deletes every row" in answer.out
    (row,) = call(*common, "--json").rows
    assert [(each["file"], each["line"], each["rule"], each["level"]) for each in row["findings"]] == [
        ("001_users.sql", 1, "if-not-exists", "warning"),
        ("002_clean.sql", 1, "delete-without-where", "error"),
    ]
    up = call("up", "--db", sqlite, "--dir", str(folder.path))
    assert up.code == 7
    assert "[delete-without-where]" in up.err
    assert call("up", "--db", sqlite, "--dir", str(folder.path), "--no-lint").code == 0


@pytest.mark.parametrize("part", ["", "_rollback", "_verify"])
def test_a_file_that_cannot_be_split_is_told_before_it_is_needed(folder: Folder, sqlite: str, part: str) -> None:
    """Companions too: a rollback is no good whose text ends inside a quote."""
    folder.write(v001_users=USERS).write(**{f"v001_users{part}": "SELECT 1;\nSELECT 'a"})
    answer = call("lint", "--db", sqlite, "--dir", str(folder.path))
    assert answer.code == 1
    assert f"001_users{part}.sql:2: the quote ' is never closed" in answer.err


@pytest.mark.parametrize("url", ["sqlite:///x.db", "postgresql://nobody@nowhere/x", "mariadb://nobody@nowhere/x"])
def test_the_samples_are_clean(url: str) -> None:
    """Neither our rules nor squawk find fault with what comes with migrator; nothing connects."""
    answer = call("lint", "--strict", "--db", url, "--dir", str(sample_folder()))
    assert (answer.code, answer.err) == (0, "")
