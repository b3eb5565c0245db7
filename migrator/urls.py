"""Database URLs as in SQLAlchemy, parsed without a library and shown without passwords."""

import re
from dataclasses import dataclass, field

from kbstore.migrator.errors import MigrationError

DEFAULT_URL = "sqlite:///migrator.db"

DIALECTS = ("sqlite", "postgresql", "mysql", "mariadb")
_SCHEMES = {"postgres": "postgresql", **{dialect: dialect for dialect in DIALECTS}}
_DRIVERS = {
    "sqlite": {"", "pysqlite"},
    "postgresql": {"", "psycopg", "psycopg2", "psycopg_async", "asyncpg", "pg8000"},
    "mysql": {"", "pymysql", "mysqldb", "mysqlconnector", "aiomysql", "asyncmy", "mariadbconnector"},
    "mariadb": {"", "pymysql", "mysqldb", "mysqlconnector", "aiomysql", "asyncmy", "mariadbconnector"},
}
_SECRET_OPTIONS = {"password", "passwd", "sslpassword"}
# CREATE ROLE ... PASSWORD '...' and IDENTIFIED BY '...', in a statement that is printed.
_SECRET_SQL = (
    r"(?i)(\bpassword\s*(?:\(|=|:=)?\s*|\bidentified\s+by\s+(?:password\s+)?|://[^:@/\s']+:)('[^']*'|[^\s'@]+(?=@))"
)


@dataclass(frozen=True)
class DatabaseUrl:
    """The address of a database, and the user.

    Attributes:
        dialect: "sqlite", "postgresql", "mysql" or "mariadb".
        database: The database's name; for SQLite the file.
        options: The driver's options, written after the question mark.
    """

    dialect: str
    database: str
    host: str = ""
    port: int | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    options: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def shown(self) -> str:
        """The URL for people: without password and options."""
        if self.dialect == "sqlite":
            return f"sqlite:///{self.database}"
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port is not None else ""
        return f"{self.dialect}://{user}{self.host}{port}/{self.database}"

    def redact(self, text: str) -> str:
        """Replace this URL's passwords, and passwords in SQL, by three stars."""
        secrets = {self.password, *(value for key, value in self.options.items() if key.lower() in _SECRET_OPTIONS)}
        for secret in sorted(filter(None, secrets), key=len, reverse=True):
            text = text.replace(secret, "***")
        return redact_sql(text)


def redact_sql(text: str) -> str:
    """Replace each password in SQL (in quotes, or in a URL) by three stars."""
    return re.sub(_SECRET_SQL, r"\1'***'", text)


def parse_url(text: str) -> DatabaseUrl:
    """Parse a URL; a text without a scheme is the path of a SQLite file.

    Raises:
        MigrationError: The URL does not name a database of a known kind. The message does not repeat the text, since
            the text may contain a password.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        return _sqlite("/" + text)
    name, _, driver = scheme.lower().partition("+")
    dialect = _SCHEMES.get(name, "")
    if driver not in _DRIVERS.get(dialect, ()):
        known = "sqlite:///FILE, postgresql://USER@HOST/NAME, mariadb://USER@HOST/NAME, mysql://USER@HOST/NAME"
        raise MigrationError("the database URL has a scheme that is not known here", hint=f"use one of {known}")
    if dialect == "sqlite":
        return _sqlite(rest)
    from urllib.parse import parse_qsl, unquote, urlsplit

    try:
        parts = urlsplit(f"//{rest}")
        port = parts.port
    except ValueError:
        raise MigrationError(
            "the database URL cannot be taken apart", hint="write special characters of a password as %40, %3A, %2F"
        ) from None
    database = unquote(parts.path.removeprefix("/"))
    if not database and dialect != "postgresql":
        raise MigrationError("the database URL names no database", hint=f"{dialect}://USER@HOST/NAME")
    return DatabaseUrl(
        dialect=dialect,
        database=database,
        host=unquote(parts.hostname or ""),
        port=port,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        options=dict(parse_qsl(parts.query, keep_blank_values=True)),
    )


def _sqlite(rest: str) -> DatabaseUrl:
    path, _, options = rest.partition("?")
    file = path.removeprefix("/")
    if not path.startswith("/") or file in ("", ":memory:"):
        raise MigrationError(
            "a SQLite database in memory is gone when its migrations are", hint="name a file: sqlite:///FILE"
        )
    if options:
        raise MigrationError("a SQLite URL takes no options here", hint="leave out what follows the question mark")
    return DatabaseUrl(dialect="sqlite", database=file)
