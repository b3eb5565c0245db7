"""Splitting a file into statements: each dialect's quotes, comments and bodies, and what is refused."""

import sqlite3
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kbstore.migrator.errors import MigrationError, SplitError
from kbstore.migrator.sql.lexer import lex
from kbstore.migrator.sql.statements import Statement, split, split_statements

EVERYWHERE = ("sqlite", "postgresql", "mysql")


@pytest.mark.parametrize("dialect", [*EVERYWHERE, "mariadb"])
@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("", []),
        (" ;; ; \n", []),
        ("-- nothing\n", []),
        ("/* nothing; */", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1;SELECT 2;", ["SELECT 1", "SELECT 2"]),
        ("\ufeffSELECT 1;", ["SELECT 1"]),
        ("SELECT 1 -- one;\n;\n-- two;\nSELECT /* ; */ 2 /* end */;", ["SELECT 1", "SELECT /* ; */ 2"]),
        ("SELECT ';', ';''', \";\";", ["SELECT ';', ';''', \";\""]),
        ("SELECT '--', '/*' ; SELECT '*/'", ["SELECT '--', '/*'", "SELECT '*/'"]),
        ("SELECT 1;\r\nSELECT 2;\r\n", ["SELECT 1", "SELECT 2"]),
        ("SELECT 4 - 1, 2 * 3, 4 / 2;SELECT 1", ["SELECT 4 - 1, 2 * 3, 4 / 2", "SELECT 1"]),
        ("SELECT '\u00e9\u2603'; SELECT \u00e9\u2603", ["SELECT '\u00e9\u2603'", "SELECT \u00e9\u2603"]),
    ],
)
def test_every_dialect(dialect: str, sql: str, expected: list[str]) -> None:
    """Quotes and comments hide semicolons; comments and empty statements around a statement are dropped."""
    assert split_statements(sql, dialect) == expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT $$;$$; SELECT 2", ["SELECT $$;$$", "SELECT 2"]),
        ("SELECT $a$ $b$;$a$; SELECT 2", ["SELECT $a$ $b$;$a$", "SELECT 2"]),
        ("SELECT $\u00e9$;$\u00e9$; SELECT 2", ["SELECT $\u00e9$;$\u00e9$", "SELECT 2"]),
        ("SELECT a$b$; SELECT c$b$", ["SELECT a$b$", "SELECT c$b$"]),
        ("SELECT $1; SELECT $2", ["SELECT $1", "SELECT $2"]),
        ("SELECT $1$$;$$; SELECT 2", ["SELECT $1$$;$$", "SELECT 2"]),
        (r"SELECT '\'; SELECT ';'", [r"SELECT '\'", "SELECT ';'"]),
        (r"SELECT E'\';', e'\\'; SELECT 2", [r"SELECT E'\';', e'\\'", "SELECT 2"]),
        ("SELECT E'a'\n -- on\n '\\';'; SELECT 2", ["SELECT E'a'\n -- on\n '\\';'", "SELECT 2"]),
        ("SELECT U&'\\', U&\";\\\"; SELECT 2", ["SELECT U&'\\', U&\";\\\"", "SELECT 2"]),
        (r"SELECT B'1', x'\'; SELECT 2", [r"SELECT B'1', x'\'", "SELECT 2"]),
        (r"SELECT 1E'\'; SELECT 2", [r"SELECT 1E'\'", "SELECT 2"]),
        ("SELECT /* a /* ; */ ; */ 1; SELECT 2", ["SELECT /* a /* ; */ ; */ 1", "SELECT 2"]),
        ("SELECT 1 +/* ; */ 1; SELECT 2", ["SELECT 1 +/* ; */ 1", "SELECT 2"]),
        (
            "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT 3",
            ["CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)", "SELECT 3"],
        ),
        (
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC; SELECT CASE WHEN true THEN 1 END; END; SELECT 2",
            ["CREATE FUNCTION f() RETURNS int BEGIN ATOMIC; SELECT CASE WHEN true THEN 1 END; END", "SELECT 2"],
        ),
        (
            "create or replace procedure p() begin atomic select 1; end; SELECT 2",
            ["create or replace procedure p() begin atomic select 1; end", "SELECT 2"],
        ),
        ("CREATE TABLE t (\"begin\" int); SELECT 'end'", ['CREATE TABLE t ("begin" int)', "SELECT 'end'"]),
        ("SELECT arr[1:2]; SELECT `", ["SELECT arr[1:2]", "SELECT `"]),
    ],
)
def test_postgresql(sql: str, expected: list[str] | None) -> None:
    """The rules of psql: dollar quotes, escape strings and what goes on with them, nesting, parentheses, SQL bodies."""
    found = split_statements(sql, "postgresql")
    assert found == expected if expected is not None else len(found) == 2


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT [;], `;`; SELECT 2", ["SELECT [;], `;`", "SELECT 2"]),
        (r"SELECT '\'; SELECT 2", [r"SELECT '\'", "SELECT 2"]),
        ("SELECT /* a /* ; */ 1; SELECT 2", ["SELECT /* a /* ; */ 1", "SELECT 2"]),
        ("SELECT (1; SELECT 2", ["SELECT (1", "SELECT 2"]),
        (
            "CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE a SET b = CASE WHEN 1 THEN 2 END; END; SELECT 2",
            ["CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE a SET b = CASE WHEN 1 THEN 2 END; END", "SELECT 2"],
        ),
        (
            "create temp trigger t after insert on a begin select 1; select 2;\n-- done\nEND ;SELECT 2",
            ["create temp trigger t after insert on a begin select 1; select 2;\n-- done\nEND", "SELECT 2"],
        ),
        ("CREATE TABLE trigger_log (a); SELECT 2", ["CREATE TABLE trigger_log (a)", "SELECT 2"]),
        ("SELECT 1.5; SELECT t.a FROM t", ["SELECT 1.5", "SELECT t.a FROM t"]),
    ],
)
def test_sqlite(sql: str, expected: list[str]) -> None:
    """SQLite's rules: four kinds of quotes, no escapes, comments that do not nest, triggers up to their END."""
    assert split_statements(sql, "sqlite") == expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT '\\';', \"\\\";\"; SELECT 2", ["SELECT '\\';', \"\\\";\"", "SELECT 2"]),
        (r"SELECT `\`; SELECT 2", [r"SELECT `\`", "SELECT 2"]),
        ("SELECT 1 # one; two\n; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("SELECT 4--1; SELECT 2 -- ;\n", ["SELECT 4--1", "SELECT 2"]),
        ("SELECT 1 --\t;\n+ 1; SELECT 2--", ["SELECT 1 --\t;\n+ 1", "SELECT 2"]),
        ("/*!40101 SET NAMES utf8 */; SELECT 2", ["/*!40101 SET NAMES utf8 */", "SELECT 2"]),
        ("/*M!100100 SELECT 1; */; SELECT 2", ["/*M!100100 SELECT 1; */", "SELECT 2"]),
        (
            "DELIMITER //\nCREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END//\ndelimiter ;\nSELECT 3; SELECT 4",
            ["CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END", "SELECT 3", "SELECT 4"],
        ),
        (
            "DELIMITER $$\nCREATE FUNCTION f() RETURNS int BEGIN RETURN 1; END$$\nSELECT 1$$ SELECT 2",
            ["CREATE FUNCTION f() RETURNS int BEGIN RETURN 1; END", "SELECT 1", "SELECT 2"],
        ),
        ("DELIMITER go\nSELECT 1;2 go\nSELECT 3", ["SELECT 1;2", "SELECT 3"]),
        (
            "CREATE TABLE t (event INT, begin INT); CREATE INDEX function ON t (begin)",
            ["CREATE TABLE t (event INT, begin INT)", "CREATE INDEX function ON t (begin)"],
        ),
        ("SELECT delimiter FROM t; SELECT 2", ["SELECT delimiter FROM t", "SELECT 2"]),
        ("CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.b = 1; SELECT 2", None),
    ],
)
def test_mysql(sql: str, expected: list[str] | None) -> None:
    """MySQL's rules: backslashes, `#`, `--` only before a space, executed comments, DELIMITER."""
    found = split_statements(sql, "mysql")
    assert found == expected if expected is not None else len(found) == 2


def test_a_statement_knows_its_line_and_its_first_words() -> None:
    """Lines count from 1 and name the first word, not the comment before it."""
    sql = (
        '-- head\n\n/* more\n */ create unique index concurrently i on t (a);\n\nselect\n1; insert into "a" values (1)'
    )
    assert split(sql, "postgresql") == [
        Statement(
            "create unique index concurrently i on t (a)",
            4,
            ("CREATE", "UNIQUE", "INDEX", "CONCURRENTLY", "I", "ON", "T"),
        ),
        Statement("select\n1", 6, ("SELECT",)),
        Statement('insert into "a" values (1)', 7, ("INSERT", "INTO")),
    ]


def test_first_words_are_at_most_eight() -> None:
    """They stop there, or at the first token that is no word."""
    assert split("a b c d e f g h i j", "sqlite")[0].words == tuple("ABCDEFGH")
    assert split("a b, c", "sqlite")[0].words == ("A", "B")


def test_rows_of_copy_stay_with_their_statement() -> None:
    """COPY ... FROM STDIN carries the lines up to `\\.`; what looks like SQL in them is data."""
    sql = "COPY t (a, b) FROM stdin;\n1\t'\n;SELECT\t\\N\n\\.\nSELECT 2;\ncopy t from STDOUT with csv; -- none\n\\.\n"
    assert split(sql, "postgresql") == [
        Statement("COPY t (a, b) FROM stdin", 1, ("COPY", "T"), "1\t'\n;SELECT\t\\N\n"),
        Statement("SELECT 2", 5, ("SELECT",)),
        Statement("copy t from STDOUT with csv", 6, ("COPY", "T", "FROM", "STDOUT", "WITH", "CSV"), ""),
    ]
    assert split("COPY t FROM '/tmp/file'; COPY (SELECT 1 FROM stdin) TO stdout;", "postgresql")[1].data is None


def test_a_list_of_texts_does_not_lose_rows_in_silence() -> None:
    """`split_statements` refuses what it could not give back."""
    with pytest.raises(SplitError, match=r"rows of COPY"):
        split_statements("COPY t FROM stdin;\n1\n\\.\n", "postgresql")


@pytest.mark.parametrize(
    ("dialect", "sql", "line", "what"),
    [
        *((dialect, "SELECT 1;\nSELECT 'a;\n\n", 2, "quote '") for dialect in EVERYWHERE),
        *((dialect, "SELECT 1;\n\nSELECT /* a;\n\n", 3, "comment") for dialect in EVERYWHERE),
        *((dialect, 'SELECT 1;\nSELECT "a', 2, 'quote "') for dialect in EVERYWHERE),
        *((dialect, "SELECT 1;\nSELECT \0", 2, "NUL") for dialect in EVERYWHERE),
        ("postgresql", "SELECT /* /* */ 1", 1, "comment"),
        ("postgresql", "\nSELECT $a$ ; $b$", 2, r"\$a\$"),
        ("postgresql", "SELECT E'\\'", 1, "quote '"),
        ("postgresql", "SELECT 1;\nCREATE TABLE t (\na int;\nSELECT (1);", 2, "parenthesis"),
        ("postgresql", "CREATE TABLE t (\na int;\nSELECT (1;", 1, "parenthesis"),
        ("postgresql", "CREATE FUNCTION f() RETURNS int\nBEGIN ATOMIC SELECT 1;", 2, "BEGIN"),
        ("postgresql", "SELECT 1;\n\\copy t from 'x'\n", 2, "copy"),
        ("postgresql", "SELECT 1 \\gset\n", 1, "gset"),
        ("postgresql", "\n\\! rm -rf x", 2, "rm"),
        ("postgresql", "COPY t FROM stdin;\n1\n2\n", 1, "rows of COPY"),
        ("postgresql", "COPY t FROM stdin; SELECT 1;\n1\n\\.\n", 1, "rows of COPY"),
        ("postgresql", "SELECT 1;\nCOPY t FROM stdin", 2, "rows of COPY"),
        ("sqlite", "SELECT [a", 1, r"quote \["),
        ("sqlite", "CREATE TRIGGER t AFTER INSERT ON a BEGIN\nSELECT 1;\nSELECT 2;", 1, "TRIGGER"),
        ("sqlite", "SELECT 1;\n.mode csv\n", 2, r"\.mode"),
        ("mysql", "SELECT `a", 1, "quote `"),
        ("mysql", "\n/*!40000 SELECT 1; SELECT 2;", 2, "comment"),
        ("mysql", "CREATE DEFINER=`a`@`b` FUNCTION f() RETURNS INT BEGIN RETURN 1; END;", 1, "body"),
        ("mysql", "SELECT 1;\n\\. other.sql\n", 2, "other.sql"),
        ("mysql", "\nCREATE PROCEDURE p() BEGIN SELECT 1; END;", 2, "body that begins here"),
        ("mysql", "CREATE OR REPLACE TRIGGER t BEFORE INSERT ON a FOR EACH ROW\nBEGIN SET @a = 1; END;", 2, "body"),
        ("mysql", "BEGIN NOT ATOMIC SELECT 1; END", 1, "body"),
        ("mysql", "SELECT 1;\nDELIMITER \\\n", 2, "DELIMITER"),
        ("mysql", "DELIMITER // SELECT 1//", 1, "follows DELIMITER"),
        ("mysql", "DELIMITER " + "/" * 16, 1, "DELIMITER"),
    ],
)
def test_what_is_never_closed_or_meant_for_a_shell_is_refused(dialect: str, sql: str, line: int, what: str) -> None:
    """Each refusal names the file, the line where it began, and what to do."""
    with pytest.raises(SplitError, match=rf"^007_a\.sql:{line}: .*{what}") as caught:
        split(sql, dialect, name="007_a.sql")
    assert (caught.value.file, caught.value.line) == ("007_a.sql", line)
    assert caught.value.hint or "NUL" in str(caught.value)


CONTROL = {
    "postgresql": (
        "BEGIN", "begin work", "START TRANSACTION READ ONLY", "COMMIT", "COMMIT AND CHAIN", "END", "END TRANSACTION",
        "ROLLBACK", "ROLLBACK TO SAVEPOINT a", "ABORT", "SAVEPOINT a", "RELEASE a", "PREPARE TRANSACTION 'a'",
        "COMMIT PREPARED 'a'", "/* quietly */ commit", "SET TRANSACTION READ ONLY",
    ),
    "sqlite": ("BEGIN", "BEGIN IMMEDIATE", "COMMIT", "END", "ROLLBACK", "SAVEPOINT a", "RELEASE a"),
    "mysql": (
        "BEGIN", "START TRANSACTION", "COMMIT", "ROLLBACK", "SAVEPOINT a", "RELEASE SAVEPOINT a", "XA START 'a'",
        "SET autocommit = 0", "/*!40000 COMMIT */",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("dialect", "control"), [(d, c) for d, controls in CONTROL.items() for c in controls])
def test_transaction_control_is_refused(dialect: str, control: str) -> None:
    """A file cannot begin, divide or end the transaction that its history row is written in."""
    with pytest.raises(SplitError, match=r"^002_b\.sql:3: .*transaction") as caught:
        split(f"SELECT 1;\n-- so\n{control};\nSELECT 2;", dialect, name="002_b.sql")
    assert "transaction=off" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("dialect", "sql"),
    [
        ("postgresql", "PREPARE commit AS SELECT 1"),
        ("postgresql", "DO $$ BEGIN COMMIT; END $$"),
        ("postgresql", 'CREATE TABLE "commit" (a int)'),
        ("sqlite", "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; END"),
        ("mysql", "START SLAVE"),
        ("mysql", "DELIMITER //\nBEGIN NOT ATOMIC SELECT 1; END//"),
    ],
)
def test_what_only_looks_like_transaction_control_is_not_refused(dialect: str, sql: str) -> None:
    """Names, bodies and other statements with the same words pass."""
    assert len(split(sql, dialect)) == 1


@pytest.mark.parametrize(
    ("dialect", "setting"),
    [
        ("postgresql", "SET standard_conforming_strings = off"),
        ("postgresql", "set local standard_conforming_strings to 'off'"),
        ("mysql", "SET SESSION sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES'"),
        ("mysql", "/*!40101 SET sql_mode='ANSI_QUOTES' */"),
    ],
)
def test_a_setting_under_which_the_rest_would_read_otherwise_is_refused(dialect: str, setting: str) -> None:
    """What was split by one rule is not sent under another."""
    with pytest.raises(SplitError, match=r"a\.sql:2: this setting changes what a quote"):
        split(f"SELECT 1;\n{setting};\nSELECT '\\';", dialect, name="a.sql")
    assert split("SET standard_conforming_strings = on; SET NAMES utf8", dialect)


def test_an_unknown_dialect_is_an_error() -> None:
    """It is never taken for another one."""
    with pytest.raises(MigrationError, match="unknown dialect 'oracle'"):
        split("SELECT 1", "oracle")


COMMON = ["SELECT 1", "a", "(b, c)", "'it''s; x'", '"q;"', "/* c; */", "+", "1.5e3", "\u00e9;"[:1], "tag$x", "-", "/ 2"]
PARTS = {
    "sqlite": [*COMMON, "[x;y]", "`a;b`", "'\\'", "-- c;\n", "/* /* */"],
    "postgresql": [*COMMON, "$$a;b$$", "$t$ $$ ; $t$", "E'\\';'", "U&'\\'", "$1", "/* /* ; */ */", "-- c;\n", "(a; b)"],
    "mysql": [*COMMON, "`a;b`", "'\\';'", "# c;\n", "-- c;\n", "/*!40000 x; */", "--1"],
}


def texts(dialect: str) -> st.SearchStrategy[list[str]]:
    """Statements made of parts that hide semicolons, each beginning and ending with code."""
    body = st.lists(st.sampled_from(PARTS[dialect]), max_size=6).map(lambda parts: " ".join(["SELECT", *parts, "z"]))
    return st.lists(body, max_size=6)


@pytest.mark.parametrize("dialect", EVERYWHERE)
@given(data=st.data())
def test_joining_and_splitting_again_gives_the_statements_back(dialect: str, data: st.DataObject) -> None:
    """`split(join(statements)) == statements`: nothing is lost, added, merged or cut."""
    statements = data.draw(texts(dialect))
    between = data.draw(st.sampled_from([";", " ;\n", ";;", "; -- no;\n", ";/* ; */", "\n;\n"]))
    assert split_statements(between.join(statements), dialect) == statements


@pytest.mark.parametrize("dialect", EVERYWHERE)
@given(sql=st.text(alphabet="aE;'\"`[]()$-/*#\\\n .!B"))
def test_no_code_is_lost(dialect: str, sql: str) -> None:
    """Of any text that is not refused, every token but the semicolons around statements is in exactly one statement."""
    try:
        statements = split_statements(sql, dialect)
    except SplitError:
        return
    # MySQL's -- is a comment at the end of a text, and none before a semicolon.
    assume(dialect != "mysql" or not any(text.endswith("--") for text in statements))
    code = [sql[token.start : token.end] for token in lex(sql, dialect)]
    again = [text[token.start : token.end] for text in statements for token in lex(text, dialect)]
    assert [text for text in code if text != ";"] == [text for text in again if text != ";"]
    assert split_statements(";\n".join(statements), dialect) == statements


@given(
    parts=st.lists(st.sampled_from(["CREATE", "TEMP", "TRIGGER", "EXPLAIN", "END", ";", "x", "'a;'", "-- c\n", " "]))
)
def test_sqlite_agrees_with_its_library(parts: list[str]) -> None:
    """`sqlite3_complete` finds each of our statements complete, and none of their beginnings."""
    sql = " ".join(parts)
    try:
        statements = split_statements(sql, "sqlite")
    except SplitError:
        return
    for number, text in enumerate(statements):
        ended = number + 1 < len(statements)
        assert sqlite3.complete_statement(text + "\n;") or not ended
        ends = [at for at, letter in enumerate(text) if letter == ";"]
        assert not any(sqlite3.complete_statement(text[: at + 1]) for at in ends)


HOSTILE: dict[str, Callable[[int], str]] = {
    "quotes": lambda n: "SELECT '" + "''" * (n // 2) + "'",
    "escapes": lambda n: "SELECT E'" + "\\'" * (n // 2) + "'",
    "open quote": lambda n: "SELECT '" + "a" * n,
    "parentheses": lambda n: "(" * (n // 2) + ")" * (n // 2),
    "open parentheses": lambda n: "(" * n,
    "comments": lambda n: "/*" * (n // 4) + "*/" * (n // 4),
    "open comments": lambda n: "/*" * (n // 2),
    "slashes": lambda n: "/" * n,
    "dashes": lambda n: "- " * (n // 2),
    "dollars": lambda n: "$a" * (n // 2),
    "dollar tags": lambda n: "$a$ $b$ $a$ " * (n // 12),
    "digits and quotes": lambda n: "1E''" * (n // 4),
    "strings that might go on": lambda n: "E''\n\n-- a\n " * (n // 11),
    "semicolons": lambda n: ";" * n,
    "one word": lambda n: "a" * n,
    "spaces": lambda n: " " * n,
    "copies": lambda n: "COPY t FROM stdin;\n\\.\n" * (n // 22),
    "delimiters": lambda n: "DELIMITER ;\n" * (n // 12),
}


@pytest.mark.parametrize("shape", HOSTILE)
@pytest.mark.parametrize("dialect", EVERYWHERE)
def test_hostile_texts_end(dialect: str, shape: str) -> None:
    """A text of any shape is split or refused; squared cost would take minutes here."""
    with suppress(SplitError):
        split(HOSTILE[shape](50_000), dialect)


@pytest.mark.long
@pytest.mark.parametrize("shape", HOSTILE)
def test_ten_hostile_megabytes_end(shape: str) -> None:
    """As above, with two hundred times as much."""
    with suppress(SplitError):
        split(HOSTILE[shape](10_000_000), "postgresql")
