"""Plain driver connections to the databases that the fixtures name by URL."""

import sqlite3
from typing import Any
from urllib.parse import parse_qsl, urlsplit


def connect(url: str) -> tuple[Any, str]:
    """An autocommitting DB-API connection and its dialect."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    dialect = parts.scheme.partition("+")[0]
    if dialect == "sqlite":
        return sqlite3.connect(parts.path.removeprefix("/"), isolation_level=None), dialect
    database = parts.path.removeprefix("/")
    if dialect == "postgresql":
        import psycopg

        return psycopg.connect(host=options["host"], user=parts.username, dbname=database, autocommit=True), dialect
    import pymysql

    socket = options["unix_socket"]
    return pymysql.connect(unix_socket=socket, user=parts.username, database=database, autocommit=True), dialect


def execute(connection: Any, *statements: str) -> None:
    """Run statements one by one."""
    for statement in statements:
        cursor = connection.cursor()
        cursor.execute(statement)
        cursor.close()
