"""The servers that the tests run on are what they are taken for."""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from kbstore.migrator import DatabaseMigrator
from kbstore.migrator.engines.postgresql import PostgreSQLEngine
from kbstore.migrator.urls import parse_url


def test_postgresql_is_real(postgresql: str) -> None:
    """A new, empty database of a running PostgreSQL."""
    import psycopg

    with psycopg.connect(postgresql) as connection:
        row = connection.execute("SELECT version(), current_database()").fetchone()
    assert row is not None
    assert re.match(r"PostgreSQL \d\d", row[0])
    assert row[1] in postgresql


def test_mariadb_is_real(mariadb: str, mariadb_socket: object) -> None:
    """A new, empty database of a running MariaDB."""
    import pymysql

    connection = pymysql.connect(unix_socket=str(mariadb_socket), user="root")
    with connection.cursor() as cursor:
        cursor.execute("SELECT version()")
        row = cursor.fetchone()
    connection.close()
    assert row is not None
    assert "MariaDB" in row[0]


def test_a_postgresql_server_that_proved_nothing_is_warned_of(
    new_postgresql: Callable[[], str], tmp_path: Path
) -> None:
    """On another host without sslmode=verify-full, each run says what that means; on a Unix socket it says nothing."""
    (tmp_path / "m").mkdir()
    url, said = new_postgresql(), list[str]()
    DatabaseMigrator(url, tmp_path / "m", notice=said.append).status()
    assert said == []
    with PostgreSQLEngine(parse_url(url)) as engine:
        engine.open()
        own = engine._connection

        class Elsewhere:
            info = SimpleNamespace(host="db.example.com", hostaddr="192.0.2.7")
            pgconn = SimpleNamespace(ssl_in_use=True, info=[SimpleNamespace(keyword=b"sslmode", val=b"require")])

        engine._connection = Elsewhere
        assert "sslmode=verify-full" in engine.warning()
        Elsewhere.pgconn.info[0].val = b"verify-full"
        assert engine.warning() == ""
        Elsewhere.pgconn.ssl_in_use = False
        assert "db.example.com" in engine.warning()
        engine._connection = own
        assert any(option.keyword == b"sslmode" for option in own.pgconn.info)
