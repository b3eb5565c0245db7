"""Databases for tests of migrations: one server for the run, a database of its own for each test."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.migrator.servers import mariadb_is_expected, mariadb_server, postgresql_server
from tests.migrator.support import Folder

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _no_database_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads this user's MIGRATOR_ settings."""
    for name in ("MIGRATOR_DB_URL", "MIGRATOR_DIR", "MIGRATOR_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty folder for migrations."""
    return Folder(tmp_path / "migrations").write()


@pytest.fixture(scope="session")
def postgresql_folder() -> Iterator[Path]:
    """The socket folder of the PostgreSQL of this run. A server that does not start fails the test."""
    with postgresql_server() as folder:
        yield folder


@pytest.fixture(scope="session")
def mariadb_socket() -> Iterator[Path]:
    """The socket of the MariaDB of this run."""
    with mariadb_server() as socket:
        yield socket


@pytest.fixture
def new_postgresql(postgresql_folder: Path) -> Callable[[], str]:
    """Makes an empty PostgreSQL database; gives its URL."""
    import psycopg

    def make() -> str:
        name = f"test{next(_numbers)}"
        with psycopg.connect(host=str(postgresql_folder), user="postgres", dbname="postgres", autocommit=True) as base:
            base.execute(f"CREATE DATABASE {name}".encode())
        return f"postgresql://postgres@/{name}?host={postgresql_folder}"

    return make


@pytest.fixture
def new_mariadb(mariadb_socket: Path) -> Callable[[], str]:
    """Makes an empty MariaDB database; gives its URL."""
    import pymysql

    def make() -> str:
        name = f"test{next(_numbers)}"
        base = pymysql.connect(unix_socket=str(mariadb_socket), user="root", autocommit=True)
        with base.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        base.close()
        return f"mariadb+pymysql://root@localhost/{name}?unix_socket={mariadb_socket}"

    return make


@pytest.fixture
def postgresql(new_postgresql: Callable[[], str]) -> str:
    """The URL of an empty PostgreSQL database."""
    return new_postgresql()


@pytest.fixture
def mariadb(new_mariadb: Callable[[], str]) -> str:
    """The URL of an empty MariaDB database."""
    return new_mariadb()


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    """The URL of a SQLite database that does not exist yet."""
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def database(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database: the test runs once for each kind."""
    url = request.getfixturevalue(request.param)
    assert isinstance(url, str)
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def transactional(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database that rolls back DDL: the test runs once for each kind."""
    url = request.getfixturevalue(request.param)
    assert isinstance(url, str)
    return url


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs MariaDB where it is not installed: it comes from the system, not from pip."""
    if mariadb_is_expected():
        return
    needing = [item for item in items if _needs_mariadb(item)]
    if needing:
        config.hook.pytest_deselected(items=needing)
        items[:] = [item for item in items if not _needs_mariadb(item)]


def _needs_mariadb(item: pytest.Item) -> bool:
    fixtures = set(getattr(item, "fixturenames", ()))
    call = getattr(item, "callspec", None)
    # Compared, not printed: other tests have parameters that cannot be, such as an integer of 5,000 digits.
    chosen = call.params.get("database") if call is not None else None
    return "mariadb_socket" in fixtures or (isinstance(chosen, str) and chosen == "mariadb")
