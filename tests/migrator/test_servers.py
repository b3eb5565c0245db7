"""The servers that the tests run on are what they are taken for."""

import re


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
