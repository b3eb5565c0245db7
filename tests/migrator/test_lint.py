"""Each rule of lint finds what it is for, and not what looks like it; what a file allows is not told."""

import json
import re
import stat
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbstore.migrator.errors import MigrationError, SplitError
from kbstore.migrator.lint import RULES, Finding, Subject, is_known_rule, lint, squawk
from kbstore.migrator.samples import sample_folder

ROOT = Path(__file__).resolve().parent.parent.parent

# rule: (dialect, a text with which it finds fault), ...
BAD: dict[str, list[tuple[str, str]]] = {
    "transaction-control": [
        ("postgresql", "SELECT 1; COMMIT"),
        ("sqlite", "BEGIN; SELECT 1"),
        ("mysql", "SET autocommit = 0"),
    ],
    "needs-transaction-off": [
        ("postgresql", "CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)"),
        ("postgresql", "DROP INDEX CONCURRENTLY i"),
        ("postgresql", "REINDEX TABLE CONCURRENTLY t"),
        ("sqlite", "VACUUM"),
    ],
    "several-ddl-in-one-file": [("mysql", "CREATE TABLE a (b int); DROP TABLE c")],
    "rows-and-schema-in-one-file": [
        ("mysql", "UPDATE t SET a = 1 WHERE b; ALTER TABLE t ADD c int"),
        ("mysql", "CREATE TABLE n (a int); INSERT INTO t (a) SELECT a FROM n"),
    ],
    "lock-tables": [("mysql", "LOCK TABLES t WRITE"), ("mysql", "UNLOCK TABLES")],
    "if-not-exists": [
        ("postgresql", "CREATE TABLE IF NOT EXISTS t (a int)"),
        ("sqlite", "create index if not exists i on t (a)"),
        ("postgresql", "ALTER TABLE t ADD COLUMN IF NOT EXISTS a int"),
    ],
    "checks-off": [
        ("sqlite", "PRAGMA foreign_keys = OFF"),
        ("mysql", "SET FOREIGN_KEY_CHECKS=0"),
        ("postgresql", "SET session_replication_role = replica"),
        ("postgresql", "ALTER TABLE t DISABLE TRIGGER ALL"),
    ],
    "update-without-where": [
        ("postgresql", "UPDATE t SET a = (SELECT 1 FROM u WHERE b)"),
        ("sqlite", "UPDATE OR IGNORE t SET a = 1"),
        ("mysql", "update t set a = 1 limit 3"),
        ("postgresql", "WITH x AS (SELECT 1 WHERE true) UPDATE ONLY s.t SET a = 1"),
    ],
    "delete-without-where": [("sqlite", 'DELETE FROM "t"'), ("postgresql", "DELETE FROM t USING u")],
    "destructive-without-rollback": [
        ("postgresql", "DROP TABLE t"),
        ("sqlite", "ALTER TABLE t DROP COLUMN a"),
        ("mysql", "TRUNCATE t"),
        ("sqlite", "DROP TABLE t; CREATE TABLE t (a int)"),
    ],
    "drop-table": [("postgresql", 'DROP TABLE IF EXISTS s."T"'), ("sqlite", "DROP TABLE t; CREATE TABLE t (a)")],
    "drop-column": [
        ("postgresql", "ALTER TABLE t ADD b int, DROP COLUMN IF EXISTS a"),
        ("mysql", "ALTER TABLE t DROP `a`"),
    ],
    "drop-database": [("mysql", "DROP DATABASE d"), ("postgresql", "DROP SCHEMA s")],
    "truncate": [("postgresql", "TRUNCATE TABLE t"), ("mysql", "TRUNCATE t")],
    "drop-cascade": [
        ("postgresql", "DROP VIEW v CASCADE"),
        ("postgresql", "ALTER TABLE t DROP CONSTRAINT c CASCADE"),
    ],
    "insert-without-columns": [("sqlite", "INSERT INTO t VALUES (1, 2)"), ("mysql", "REPLACE INTO t VALUES (1)")],
    "backfill-with-schema": [("postgresql", "ALTER TABLE t ADD a int; UPDATE t SET a = 1 WHERE b")],
    "password-in-file": [
        ("postgresql", "CREATE ROLE r LOGIN PASSWORD 'geheim'"),
        ("mysql", "ALTER USER u IDENTIFIED BY 'geheim'"),
        ("mysql", "SET PASSWORD FOR u = 'geheim'"),
    ],
    "not-null-without-default": [
        ("sqlite", "ALTER TABLE t ADD COLUMN a INTEGER NOT NULL"),
        ("postgresql", "ALTER TABLE t ADD a numeric(10, 2) NOT NULL, ADD b int"),
        ("mysql", "ALTER TABLE t ADD COLUMN (a int), ADD b INT NOT NULL AFTER c"),
    ],
    "volatile-default": [("postgresql", "ALTER TABLE t ADD COLUMN a uuid DEFAULT gen_random_uuid()")],
    "index-not-concurrent": [("postgresql", "CREATE UNIQUE INDEX i ON ONLY s.t (a)")],
    "drop-index-not-concurrent": [("postgresql", "DROP INDEX IF EXISTS i")],
    "constraint-checked-at-once": [
        ("postgresql", "ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES u (a)"),
        ("postgresql", "ALTER TABLE t ADD CHECK (a > 1)"),
    ],
    "constraint-builds-index": [
        ("postgresql", "ALTER TABLE t ADD CONSTRAINT c UNIQUE (a)"),
        ("postgresql", "ALTER TABLE t ADD PRIMARY KEY (a)"),
    ],
    "set-not-null": [("postgresql", "ALTER TABLE t ALTER COLUMN a SET NOT NULL")],
    "change-column-type": [
        ("postgresql", "ALTER TABLE t ALTER a SET DATA TYPE text"),
        ("postgresql", "ALTER TABLE t ALTER COLUMN a TYPE text USING a::text"),
        ("mysql", "ALTER TABLE t MODIFY a BIGINT"),
    ],
    "rename-column": [("sqlite", "ALTER TABLE t RENAME COLUMN a TO b"), ("postgresql", "ALTER TABLE t RENAME a TO b")],
    "rename-table": [("postgresql", "ALTER TABLE t RENAME TO u"), ("mysql", "RENAME TABLE t TO u")],
    "exclusive-rebuild": [
        ("postgresql", "REFRESH MATERIALIZED VIEW m"),
        ("postgresql", "CLUSTER t"),
        ("postgresql", "ALTER TABLE t SET LOGGED"),
    ],
}

# rule: (dialect, a text that looks like it and is good), ...
GOOD: dict[str, list[tuple[str, str]]] = {
    "transaction-control": [("postgresql", "SELECT 'COMMIT'"), ("sqlite", 'SELECT "commit" FROM t')],
    "needs-transaction-off": [
        ("postgresql", "SELECT 'VACUUM'"),
        ("postgresql", "CREATE INDEX concurrently_made ON t (a)"),
    ],
    "several-ddl-in-one-file": [
        ("sqlite", "CREATE TABLE a (b int); CREATE TABLE c (d int)"),
        ("mysql", "CREATE TABLE a (b int); INSERT INTO a (b) VALUES (1)"),
    ],
    "rows-and-schema-in-one-file": [("mysql", "CREATE TABLE a (b int); INSERT INTO a (b) VALUES (1)")],
    "lock-tables": [("mysql", "SELECT 'LOCK TABLES'")],
    "if-not-exists": [("mysql", "CREATE TABLE IF NOT EXISTS t (a int)"), ("sqlite", "DROP TABLE IF EXISTS t")],
    "checks-off": [("sqlite", "PRAGMA foreign_keys = ON"), ("sqlite", "PRAGMA user_version = 0")],
    "update-without-where": [
        ("postgresql", "UPDATE t SET a = 1 WHERE true"),
        ("sqlite", "CREATE TABLE n (a); UPDATE n SET a = 1"),
        ("postgresql", "CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()"),
    ],
    "delete-without-where": [("mysql", "DELETE FROM t WHERE a IN (1, 2)")],
    "destructive-without-rollback": [
        ("sqlite", "CREATE TABLE n (a); INSERT INTO n (a) SELECT a FROM t; DROP TABLE t; ALTER TABLE n RENAME TO t"),
        ("postgresql", "CREATE TEMP TABLE n (a int); DROP TABLE n"),
        ("postgresql", "ALTER TABLE t DROP CONSTRAINT c"),
        ("postgresql", "ALTER TABLE t ALTER a DROP DEFAULT"),
    ],
    "drop-table": [("sqlite", "CREATE TABLE n (a); DROP TABLE t; ALTER TABLE n RENAME TO T")],
    "drop-column": [("mysql", "ALTER TABLE t DROP INDEX i, DROP FOREIGN KEY f, DROP PRIMARY KEY")],
    "drop-database": [("postgresql", "DROP TABLE database_names")],
    "truncate": [("postgresql", "SELECT truncate FROM t")],
    "drop-cascade": [("postgresql", "CREATE TABLE n (a int REFERENCES t ON DELETE CASCADE)")],
    "insert-without-columns": [
        ("sqlite", "INSERT INTO t (a, b) VALUES (1, 2)"),
        ("mysql", "INSERT INTO t SET a = 1"),
        ("postgresql", "INSERT INTO t DEFAULT VALUES"),
    ],
    "backfill-with-schema": [
        ("postgresql", "UPDATE t SET a = 1 WHERE b; ALTER TABLE t ADD c int"),
        ("postgresql", "ALTER TABLE t ADD a int; UPDATE u SET a = 1 WHERE b"),
    ],
    "password-in-file": [
        ("postgresql", "CREATE ROLE r LOGIN"),
        ("postgresql", "UPDATE users SET password = 'x' WHERE id = 1"),
    ],
    "not-null-without-default": [
        ("sqlite", "ALTER TABLE t ADD COLUMN a INTEGER NOT NULL DEFAULT 0"),
        ("sqlite", "CREATE TABLE n (a INTEGER NOT NULL)"),
        ("postgresql", "CREATE TABLE n (); ALTER TABLE n ADD a int NOT NULL"),
        ("postgresql", "ALTER TABLE t ADD a bigint GENERATED ALWAYS AS IDENTITY NOT NULL"),
        ("postgresql", "ALTER TABLE t ADD CONSTRAINT c CHECK (a IS NOT NULL) NOT VALID"),
        ("postgresql", "ALTER TABLE support_sessions ADD COLUMN new_field VARCHAR(255)"),
    ],
    "volatile-default": [
        ("postgresql", "ALTER TABLE t ADD COLUMN a timestamptz DEFAULT now()"),
        ("postgresql", "ALTER TABLE t ADD COLUMN a int DEFAULT 7"),
    ],
    "index-not-concurrent": [
        ("postgresql", "CREATE TABLE n (a int); CREATE INDEX i ON n (a)"),
        ("sqlite", "CREATE INDEX i ON t (a)"),
    ],
    "drop-index-not-concurrent": [("sqlite", "DROP INDEX i")],
    "constraint-checked-at-once": [
        ("postgresql", "ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES u (a) NOT VALID"),
        ("postgresql", "ALTER TABLE t VALIDATE CONSTRAINT c"),
    ],
    "constraint-builds-index": [("postgresql", "ALTER TABLE t ADD CONSTRAINT c UNIQUE USING INDEX i")],
    "set-not-null": [("postgresql", "ALTER TABLE t ALTER a DROP NOT NULL")],
    "change-column-type": [("postgresql", "ALTER TABLE t ALTER a SET DEFAULT 'type'"), ("sqlite", "SELECT 'MODIFY'")],
    "rename-column": [
        ("postgresql", "ALTER TABLE t RENAME CONSTRAINT a TO b"),
        ("mysql", "ALTER TABLE t RENAME INDEX a TO b"),
    ],
    "rename-table": [("postgresql", "ALTER INDEX i RENAME TO j")],
    "exclusive-rebuild": [("postgresql", "REFRESH MATERIALIZED VIEW CONCURRENTLY m")],
}


def found(rule: str, dialect: str, sql: str) -> list[Finding]:
    """What one rule finds; only its own premise about a rollback is set."""
    subject = Subject("001_a.sql", sql, dialect, reversible=rule != "destructive-without-rollback")
    return [finding for finding in lint(subject) if finding.rule == rule]


def test_every_rule_has_its_cases() -> None:
    """No rule goes untested, on any side."""
    assert set(BAD) == set(GOOD) == set(RULES)


@pytest.mark.parametrize(("rule", "dialect", "sql"), [(r, *case) for r, cases in BAD.items() for case in cases])
def test_a_rule_finds_what_it_is_for(rule: str, dialect: str, sql: str) -> None:
    """One finding, with the file, a line, the reason and what to do; none where the head allows it."""
    (finding,) = found(rule, dialect, sql)
    assert re.fullmatch(rf"001_a\.sql:1: (error|warning): .+: .+ \[{rule}\]\n  .+", str(finding))
    assert (finding.level, finding.instead) == (RULES[rule].level, RULES[rule].instead)
    allowed = lint(Subject("001_a.sql", sql, dialect, reversible=False, allow={rule}))
    assert rule not in {finding.rule for finding in allowed}


@pytest.mark.parametrize(("rule", "dialect", "sql"), [(r, *case) for r, cases in GOOD.items() for case in cases])
def test_a_rule_leaves_alone_what_only_looks_like_it(rule: str, dialect: str, sql: str) -> None:
    """No finding of that rule."""
    assert found(rule, dialect, sql) == []


WORDS = """ALTER TABLE CREATE DROP INDEX ON ADD COLUMN NOT NULL DEFAULT CONSTRAINT CHECK RENAME TO TYPE SET
    UPDATE DELETE FROM WHERE INSERT INTO VALUES WITH AS IF EXISTS ONLY CONCURRENTLY CASCADE PASSWORD
    PRAGMA t "T" 'x' ( ) , . = ; now"""


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql", "mysql"])
@given(words=st.lists(st.sampled_from(WORDS.split()), max_size=14))
def test_no_text_is_too_odd_for_the_rules(dialect: str, words: list[str]) -> None:
    """What can be split can be looked at, however little sense it makes."""
    with suppress(SplitError):
        findings = lint(Subject("1.sql", " ".join(words), dialect, reversible=False))
        assert all(finding.rule in RULES for finding in findings)


def test_findings_come_by_line_and_name_it() -> None:
    """The line is that of the statement's first word."""
    sql = "-- head\nDELETE FROM t;\n\nUPDATE t\nSET a = 1;\n"
    assert [(each.line, each.rule) for each in lint(Subject("1.sql", sql, "sqlite"))] == [
        (2, "delete-without-where"),
        (4, "update-without-where"),
    ]


def test_what_is_said_of_transactions_depends_on_the_head() -> None:
    """With `transaction=off` concurrent builds are right, and two of them in one file are told."""
    sql = "CREATE INDEX CONCURRENTLY i ON t (a); CREATE INDEX CONCURRENTLY j ON t (b)"
    names = [
        {finding.rule for finding in lint(Subject("1.sql", sql, "postgresql", transaction=transaction))}
        for transaction in (True, False)
    ]
    assert names == [{"needs-transaction-off"}, {"several-ddl-in-one-file"}]


def test_what_cannot_be_split_is_not_linted() -> None:
    """The text's own fault comes first."""
    with pytest.raises(SplitError, match=r"1\.sql:1"):
        lint(Subject("1.sql", "SELECT 'a", "sqlite"))


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql", "mysql"])
def test_the_samples_are_clean(dialect: str) -> None:
    """What comes with migrator breaks no rule that its heads do not allow."""
    findings = []
    for path in sorted(sample_folder().glob("00?_*.sql")):
        parts = path.name.split(".")
        if not parts[0].endswith(("_rollback", "_verify")) and parts[1] in ("sql", dialect):
            own = path.with_name(f"{parts[0]}.{dialect}.sql")
            sql = (own if own.exists() else path).read_text(encoding="utf-8")
            allow = re.findall(r"allow=(\S+)", sql)
            findings += lint(Subject(path.name, sql, dialect, "transaction=off" not in sql, allow=allow))
    assert findings == []


def test_the_documentation_lists_every_rule() -> None:
    """docs/migrator-lint.md holds one row for each rule, as the registry has it."""
    shown = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MariaDB/MySQL"}
    rows = [
        f"| `{rule.name}` | {rule.level} | "
        f"{'all' if len(rule.dialects) == len(shown) else ', '.join(shown[each] for each in rule.dialects)} | "
        f"{rule.reason} | {rule.instead.replace('|', chr(92) + '|')} |"
        for rule in RULES.values()
    ]
    text = (ROOT / "docs" / "migrator-lint.md").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("| `")] == rows


def test_only_known_rules_can_be_allowed() -> None:
    """A slip in `allow=` is seen."""
    assert is_known_rule("drop-column")
    assert is_known_rule("squawk/prefer-identity")
    assert not is_known_rule("drop-colum")


@pytest.fixture
def no_squawk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without squawk: nothing beside Python, nothing on the PATH; gives the empty folder of that PATH."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_what_squawk_finds_and_we_do_not_is_told() -> None:
    """The real squawk, of the dev extra: its own findings, and none that our rules have."""
    findings = squawk("1.sql", "SELECT 1;\nALTER TABLE t DROP COLUMN a, ADD COLUMN b char(3);\n")
    assert [(each.file, each.line, each.rule) for each in findings] == [("1.sql", 2, "squawk/ban-char-field")]
    assert findings[0].message
    assert squawk("1.sql", "ALTER TABLE t ADD COLUMN b char(3);", allow={"squawk/ban-char-field"}) == []


def test_without_squawk_there_are_our_rules_only(no_squawk: Path) -> None:
    """It is no dependency."""
    assert squawk("1.sql", "DROP TABLE t") == []


def fake_squawk(folder: Path, answer: str) -> Path:
    """A program that notes how it was called and answers with a text, as squawk 2 does."""
    (folder / "answer").write_text(answer)
    program = folder / "squawk"
    program.write_text(
        f'#!/bin/sh\necho "$@" > {folder}/call\n/bin/cat > {folder}/input\n/bin/cat {folder}/answer\nexit 1\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return folder / "call"


def test_findings_of_squawk_are_told_as_ours(no_squawk: Path) -> None:
    """Its lines count from 0, its names get a prefix, its levels are warnings; what is allowed is left out."""
    answer = [
        {"line": 1, "rule_name": "prefer-identity", "level": "Error", "message": "Serial\ntypes", "help": "Use it."},
        {"line": 0, "rule_name": "ban-char-field", "level": "Warning", "message": "Old", "help": None},
        {"line": 0, "rule_name": "prefer-text-field", "level": "Warning", "message": "No", "help": None},
    ]
    call = fake_squawk(no_squawk, json.dumps(answer))
    findings = squawk("1.sql", "SELECT 1", allow={"squawk/prefer-text-field"})
    assert findings == [
        Finding("1.sql", 1, "squawk/ban-char-field", "warning", "Old", "See https://squawkhq.com/docs/rules."),
        Finding("1.sql", 2, "squawk/prefer-identity", "warning", "Serial types", "Use it."),
    ]
    assert (no_squawk / "input").read_text() == "SELECT 1"
    assert "--assume-in-transaction" in call.read_text()
    assert "ban-drop-column" in call.read_text()
    squawk("1.sql", "SELECT 1", transaction=False)
    assert "--assume-in-transaction" not in call.read_text()


@pytest.mark.parametrize("answer", ["no JSON", '[{"line": 1}]', "7"])
def test_a_squawk_that_answers_otherwise_is_an_error(no_squawk: Path, answer: str) -> None:
    """It is not taken for a squawk that finds nothing."""
    fake_squawk(no_squawk, answer)
    with pytest.raises(MigrationError, match="squawk does not answer") as caught:
        squawk("1.sql", "SELECT 1")
    assert caught.value.hint
