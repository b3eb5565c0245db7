"""Checks of the database: whether it answers, and whether migrations and schema match the folder of migrations."""

import time
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kbstore.health.checks import built_in
from kbstore.health.context import Context
from kbstore.health.errors import NotConfigured
from kbstore.health.model import Result, counted

if TYPE_CHECKING:
    from kbstore.migrator import DatabaseMigrator
    from kbstore.migrator.engines import Engine

_SHOWN = 20


@built_in("db.connect", tags={"ready"}, timeout=10, thresholds=("db_degraded_s",))
def connect(ctx: Context) -> Result:
    """The database accepts connections and answers."""
    began = time.monotonic()
    with open_engine(ctx) as engine:
        engine.query("SELECT 1")
        shown = engine.url.shown
    took_s = time.monotonic() - began
    metrics = {"connect_s": took_s}
    if took_s >= ctx.thresholds.db_degraded_s:
        hint = "look at the load of the server, and at the network"
        return Result.degraded(f"{shown} took {took_s:.1f} s to answer", metrics=metrics, hint=hint)
    return Result.healthy(f"{shown} answers", metrics=metrics)


@built_in("migrations.pending", tags={"ready"}, timeout=10, needs=("db.connect",), impact="degraded")
def pending(ctx: Context) -> Result:
    """Every migration of the folder is applied."""
    waiting = _migrator(ctx).get_pending_migrations()
    metrics = {"pending_total": len(waiting)}
    if waiting:
        text = f"{len(waiting)} are not applied, the first is {waiting[0]}"
        return Result.degraded(text, metrics=metrics, details={"pending": waiting[:_SHOWN]}, hint="run: migrator up")
    return Result.healthy("all migrations are applied", metrics=metrics)


@built_in("migrations.dirty", tags={"ready"}, timeout=10, needs=("db.connect",), fall=1)
def dirty(ctx: Context) -> Result:
    """No migration is half done."""
    from kbstore.migrator.history import HALF_DONE

    half = [entry for entry in _migrator(ctx).status() if entry.state in HALF_DONE]
    if not half:
        return Result.healthy("no migration is half done")
    first = half[0]
    text = f"{first.name} is half done ({first.state}, {counted(first.statements_done or 0, 'statement')})"
    return Result.unhealthy(
        text + (f": {first.error}" if first.error else "") + _more(half),
        details={"half_done": [entry.as_dict() for entry in half[:_SHOWN]]},
        hint=f"migrator doctor says what is there; then migrator repair {first.name} --retry, or settle it by hand",
    )


@built_in("migrations.checksum", timeout=10, needs=("db.connect",), impact="degraded")
def checksum(ctx: Context) -> Result:
    """The file of each applied migration is unchanged."""
    changed = [entry.name for entry in _migrator(ctx).status() if entry.state == "changed"]
    if changed:
        return Result.unhealthy(
            f"{changed[0]} was changed after it had been applied" + _more(changed),
            details={"changed": changed[:_SHOWN]},
            hint=f"bring the file back, or settle it: migrator repair {changed[0]} --mark-applied",
        )
    return Result.healthy("every file is the one that was applied")


@built_in("migrations.ahead", timeout=10, needs=("db.connect",), impact="degraded")
def ahead(ctx: Context) -> Result:
    """The folder has every migration of the database: the database is not newer than this program."""
    unknown = [entry.name for entry in _migrator(ctx).status() if entry.state == "missing"]
    if unknown:
        return Result.unhealthy(
            f"{unknown[0]} is applied, and its file is not here" + _more(unknown),
            details={"unknown": unknown[:_SHOWN]},
            hint="deploy the version of the program that brought it, or bring its file back",
        )
    return Result.healthy("the database knows no migration that is not here")


@built_in("schema.drift", tags={"deep"}, timeout=30, every=900, needs=("db.connect",), fall=1)
def drift(ctx: Context) -> Result:
    """Tables, columns and indexes are as the migrations left them, and the verify scripts pass."""
    migrator = _migrator(ctx)
    found = [problem for problem in migrator.doctor() if problem.kind not in {"half-done", "changed"}]
    found += [problem for _, problem in migrator.verify() if problem is not None and problem.kind == "verify"]
    if found:
        worst = found[0]
        return Result.unhealthy(
            worst.message + _more(found), details={"found": [p.as_dict() for p in found[:_SHOWN]]}, hint=worst.hint
        )
    return Result.healthy("the schema is what the migrations left")


@contextmanager
def open_engine(ctx: Context) -> Iterator["Engine"]:
    """Open a connection to the database.

    Raises:
        NotConfigured: No database is configured.
        MigrationError: The database cannot be reached, or does not exist.
    """
    url = ctx.database_url
    from kbstore.migrator.engines import make_engine
    from kbstore.migrator.errors import ConnectionFailed
    from kbstore.migrator.urls import parse_url

    parsed = parse_url(url)
    if parsed.dialect == "sqlite" and not Path(parsed.database).is_file():
        # For migrator a missing file is an empty database; for an operator the database is lost.
        raise ConnectionFailed(f"there is no file {parsed.database}", hint="is it the right path? migrator up makes it")
    with make_engine(parsed) as engine:
        engine.open()
        yield engine


def _migrator(ctx: Context) -> "DatabaseMigrator":
    url = ctx.database_url
    if not ctx.targets.migrations:
        raise NotConfigured("no folder of migrations is configured", hint="set targets.migrations")
    from kbstore.migrator import DatabaseMigrator

    return DatabaseMigrator(url, ctx.targets.migrations)


def _more(found: Sized) -> str:
    return f" (and {len(found) - 1} more)" if len(found) > 1 else ""
