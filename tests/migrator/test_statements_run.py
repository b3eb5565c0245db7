"""What the splitter gives is what each database takes: files with every hard thing in them leave what they should."""

import pytest

from kbstore.migrator import DatabaseMigrator, Settings
from tests.migrator.support import Folder, rows

SQLITE = """\
-- a trigger; with semicolons
CREATE TABLE t (a TEXT, "b;c" TEXT, [d;e] TEXT);
CREATE TABLE log (a TEXT);
CREATE TRIGGER g AFTER INSERT ON t BEGIN
    INSERT INTO log (a) VALUES ('x;' || new.a); -- one;
    INSERT INTO log (a) SELECT CASE WHEN new.a = 'END;' THEN 'yes' ELSE 'no' END;
END;
INSERT INTO t (a) VALUES ('END;'); /* ; */ INSERT INTO t (a, `b;c`) VALUES ('\\', 'it''s;')
"""

POSTGRESQL = r"""
CREATE TABLE t (a text, "b;c" text);
CREATE FUNCTION plain() RETURNS text LANGUAGE plpgsql AS $body$
BEGIN
    RETURN $$a;b$$ || '; -- c' || E'\';'; /* nested /* ; */ comment */
END
$body$;
CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql BEGIN ATOMIC
    SELECT 1; SELECT CASE WHEN n > 0 THEN n * 2 END;
END;
CREATE RULE r AS ON DELETE TO t DO INSTEAD (UPDATE t SET a = 'r;' WHERE a = OLD.a; SELECT 1);
DO $$ BEGIN INSERT INTO t (a) VALUES (plain()); END $$;
COPY t (a, "b;c") FROM stdin;
copied	;\\'
%s	\N
\.
INSERT INTO t (a) SELECT twice(21)::text; INSERT INTO t (a) VALUES (E'a\'b'
    '\'c;'), ('100%'), ('%s'), (U&'\0041;')
"""

MYSQL = r"""
CREATE TABLE t (a VARCHAR(40), `b;c` VARCHAR(40)); # one;
DELIMITER //
CREATE PROCEDURE fill(IN n INT)
BEGIN
    INSERT INTO t (a) VALUES (CONCAT('n;', n)); -- two;
    IF n > 1 THEN INSERT INTO t (a) VALUES ("it's;"); END IF;
END//
DELIMITER ;
CALL fill(2);
INSERT INTO t (a) VALUES ('\';'), ('100%'), ('%s'); /*! INSERT INTO t (a) VALUES ('executed;') */;
"""


def applied(folder: Folder, url: str, text: str) -> DatabaseMigrator:
    """A migrator after one file has been applied; lint has nothing to say here."""
    migrator = folder.write(v001_all=text).migrator(url, Settings(lint=False))
    assert [result.state for result in migrator.up()] == ["applied"]
    return migrator


def test_sqlite_runs_it(folder: Folder, sqlite: str) -> None:
    """Triggers with bodies, quotes of four kinds, and a backslash that is only that."""
    applied(folder, sqlite, SQLITE)
    assert rows(sqlite, 'SELECT a, "b;c" FROM t ORDER BY rowid') == [("END;", None), ("\\", "it's;")]
    assert [row[0] for row in rows(sqlite, "SELECT a FROM log ORDER BY rowid")] == ["x;END;", "yes", "x;\\", "no"]


def test_postgresql_runs_it(folder: Folder, postgresql: str) -> None:
    """Bodies in dollars and BEGIN ATOMIC, rules, rows of COPY, strings that go on, and percent signs untouched."""
    applied(folder, postgresql, POSTGRESQL)
    expected = ["a;b; -- c';", "copied", "%s", "42", "a'b'c;", "100%", "%s", "A;"]
    assert [row[0] for row in rows(postgresql, "SELECT a FROM t ORDER BY ctid")] == expected
    assert rows(postgresql, "SELECT \"b;c\" FROM t WHERE a = 'copied'") == [(";\\'",)]
    assert rows(postgresql, "SELECT count(*) FROM pg_rules WHERE tablename = 't'") == [(1,)]


def test_mariadb_runs_it(folder: Folder, mariadb: str) -> None:
    """DELIMITER, `#`, backslashes, executed comments, and percent signs untouched."""
    applied(folder, mariadb, MYSQL)
    expected = ["n;2", "it's;", "';", "100%", "%s", "executed;"]
    assert [row[0] for row in rows(mariadb, "SELECT a FROM t")] == expected


def test_bad_rows_of_copy_are_a_failure_of_their_statement(folder: Folder, postgresql: str) -> None:
    """The message names the file and the line of COPY; nothing of it stays."""
    folder.write(v001_all="CREATE TABLE t (a int);\nCOPY t FROM stdin;\n1\nx\n\\.\n")
    migrator = folder.migrator(postgresql)
    with pytest.raises(Exception, match=r"001_all\.sql:2: statement 2 of 2 failed: invalid input syntax") as caught:
        migrator.up()
    assert "nothing of 001_all.sql" in str(caught.value)
    assert rows(postgresql, "SELECT count(*) FROM pg_tables WHERE tablename = 't'") == [(0,)]
