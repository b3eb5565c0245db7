"""MariaDB's own client cuts a file where our splitter does: what it sends stands in the server's log."""

import random
import subprocess
from pathlib import Path

from kbstore.migrator.sql.lexer import lex
from kbstore.migrator.sql.splitter import pieces

PARTS = [
    "1.5e3", "a", "(b, c)", "END", "+", "4--1", "--1", "a$$b", "$$", "//", "''", "'a\\'b;'", "'a''b;'", '"x\\";y"',
    "`p``;q`", "/* ' ; */", "/*;*/", "-- '\n", "5 -- ;\n", "--\n", "# \"\n", "#\n", "/*!50000 ';' */", "\t",
]  # fmt: skip
TEXTS = 300


def a_file(chance: random.Random) -> str:
    """Statements of parts that hide delimiters, under delimiters that change."""
    delimiter, text = ";", ""
    for _ in range(TEXTS):
        if chance.random() < 0.3:
            delimiter = chance.choice([";", "//", "$$", ";;", "|", "go"])
            text += f"\n{chance.choice(['DELIMITER', 'delimiter'])} {delimiter}\n"
        parts = " ".join(chance.choice(PARTS) for _ in range(chance.randint(0, 6)))
        text += f"SELECT {parts} z{delimiter}{chance.choice(['', chr(10), ' ', chr(10) * 2])}"
    return text


def code(sql: str) -> list[str]:
    """The tokens of a statement: comments and spaces are of no account."""
    return [sql[token.start : token.end] for token in lex(sql, "mysql")]


def test_the_client_sends_what_we_would_send(mariadb_socket: Path) -> None:
    """Three hundred statements and more, each the same token by token."""
    import pymysql

    sql = a_file(random.Random(7))
    connection = pymysql.connect(unix_socket=str(mariadb_socket), user="root", autocommit=True)
    with connection, connection.cursor() as cursor:
        cursor.execute("SET GLOBAL log_output = 'TABLE'")
        cursor.execute("SET GLOBAL general_log = 1")
        client = ["mariadb", "--no-defaults", "--comments", "--force", "--user=root", f"--socket={mariadb_socket}"]
        subprocess.run(client, input=sql.encode(), capture_output=True, check=False)
        cursor.execute("SET GLOBAL general_log = 0")
        cursor.execute(
            "SELECT CAST(argument AS CHAR) FROM mysql.general_log"
            " WHERE command_type = 'Query' AND thread_id <> connection_id() AND argument NOT LIKE '%@@version_comment%'"
        )
        sent = [words for words in (code(row[0]) for row in cursor.fetchall()) if words]
    assert [code(sql[piece.start : piece.end]) for piece in pieces(sql, "mysql")] == sent
    assert len(sent) >= TEXTS
