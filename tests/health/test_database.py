"""The checks of a database on a real PostgreSQL server: it answers, its clock is compared, it goes away."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from kbstore.health import Engine, Report, Settings, Status
from kbstore.health.settings import Targets, Thresholds
from kbstore.migrator import DatabaseMigrator
from tests.migrator.servers import postgresql_server

NAMES = ("db.connect", "migrations.pending", "migrations.dirty", "migrations.ahead", "schema.drift", "clock")


@contextmanager
def database() -> Iterator[str]:
    """A PostgreSQL server with one database; its URL, with a password that the server does not ask for."""
    with postgresql_server() as folder:
        with psycopg.connect(host=str(folder), user="postgres", dbname="postgres", autocommit=True) as base:
            base.execute("CREATE DATABASE support")
        yield f"postgresql://postgres:hunter2hunter2@/support?host={folder}"


def look(url: str, migrations: str, *names: str) -> Report:
    """The report of one round in this process."""
    targets = Targets(database=url, migrations=migrations)
    # The machine that runs the tests may be busy.
    with Engine(Settings(targets=targets, thresholds=Thresholds(db_degraded_s=60)), isolate=False) as engine:
        return engine.run(names or NAMES)


def told(report: Report) -> dict[str, str]:
    """Status of each check."""
    return {o.name: str(o.status) for o in report.outcomes}


def test_postgresql_from_first_to_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pending, then healthy with the server's clock compared, then drifted, then gone; never with the password."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "001_notes.sql").write_text("CREATE TABLE notes (id integer PRIMARY KEY, text varchar(40));\n")
    reports = []
    with database() as url:
        reports.append(look(url, str(folder)))
        assert told(reports[-1])["migrations.pending"] == "degraded"
        DatabaseMigrator(url, folder).up()
        reports.append(look(url, str(folder)))
        assert set(told(reports[-1]).values()) == {"healthy"}
        (clock,) = [o for o in reports[-1].outcomes if o.name == "clock"]
        assert clock.result.message == "agrees with the database"
        assert clock.result.metrics["offset_s"] < 2
        with psycopg.connect(url, autocommit=True) as base:
            base.execute("DROP TABLE notes")
        reports.append(look(url, str(folder)))
        (drift,) = [o for o in reports[-1].outcomes if o.name == "schema.drift"]
        assert drift.status is Status.UNHEALTHY
        assert "notes" in drift.result.message
    reports.append(look(url, str(folder)))
    assert told(reports[-1])["db.connect"] == "unhealthy"
    assert told(reports[-1])["migrations.pending"] == "skipped"
    assert "hunter2hunter2" not in repr(reports)
