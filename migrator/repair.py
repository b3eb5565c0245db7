"""Decisions of a person about the history: continue, mark as applied, mark as pending, or begin a history.

Only `retry` runs SQL of a migration. Each decision is a line in the log.
"""

from collections.abc import Mapping, Sequence

from kbstore.migrator.engines import Engine, Limits
from kbstore.migrator.errors import ChangedError, MigrationError
from kbstore.migrator.files import Migration, find
from kbstore.migrator.history import DONE, HALF_DONE, History, Record, hashes_of
from kbstore.migrator.outcome import DOWN, UP, Direction, Result
from kbstore.migrator.plan import Prepared, prepare, prepare_rollback
from kbstore.migrator.run.context import record_catalog
from kbstore.migrator.run.runner import Runner


def retry(runner: Runner, engine: Engine, migration: Migration, record: Record | None) -> Result:
    """Continue a half-done migration, or a half-done rollback, after the last finished statement.

    Raises:
        MigrationError: The migration is not half done; and as `Runner.resume`.
    """
    if record is None or record.state not in HALF_DONE:
        raise MigrationError(
            f"{migration.name} is not half done", hint="migrator status; migrator up runs what is pending"
        )
    item, direction = _half(migration, record, engine.dialect)
    return runner.resume(item, record, direction)


def mark_applied(engine: Engine, history: History, migration: Migration, record: Record | None) -> Result:
    """Record a migration as applied, with the file and the database as they are now."""
    statements = prepare(migration, engine.dialect).statements
    engine.begin(Limits())
    try:
        history.create_within()
        history.put(migration, "applied", record)
        history.update(
            migration.name,
            statements_done=len(statements),
            statement_hashes=hashes_of([statement.text for statement in statements]),
            schema_hash=record_catalog(engine, history, migration.name),
        )
        history.add_line(migration.name, "marked_applied", checksum=migration.script.checksum)
        engine.commit()
    finally:
        engine.rollback()
    return Result(migration.name, "is taken for applied", "applied")


def mark_pending(engine: Engine, history: History, record: Record) -> Result:
    """Record a migration as not applied: nothing of it is in the database."""
    engine.begin(Limits())
    try:
        history.remove(record.name)
        record_catalog(engine, history, record.name)
        history.add_line(record.name, "marked_pending", checksum=record.checksum, detail=f"was {record.state}")
        engine.commit()
    finally:
        engine.rollback()
    return Result(record.name, "is taken for not applied", "pending")


def baseline(
    engine: Engine,
    history: History,
    records: Mapping[str, Record],
    chosen: Sequence[Migration],
    *,
    set_aside: bool = False,
) -> list[Result]:
    """Begin a history in a database with an existing schema: record the chosen migrations as applied.

    Args:
        set_aside: Whether to rename another tool's table, which has the name of the history.

    Raises:
        MigrationError: A history exists already, or nothing was chosen.
    """
    if done := [record.name for record in records.values() if record.state in DONE]:
        raise MigrationError(
            f"there is a history already: {done[-1]} is recorded", hint="migrator repair NAME --mark-applied marks one"
        )
    if not chosen:
        raise MigrationError("no migration is that old", hint="migrator status lists them")
    engine.begin(Limits())
    try:
        if set_aside:
            history.set_foreign_aside()
        history.create_within()
        for migration in chosen:
            history.put(migration, "baseline", records.get(migration.name))
            history.add_line(migration.name, "baseline", checksum=migration.script.checksum)
        digest = record_catalog(engine, history, chosen[-1].name)
        history.update(chosen[-1].name, schema_hash=digest)
        engine.commit()
    finally:
        engine.rollback()
    return [Result(each.name, "is taken for applied", "baseline") for each in chosen]


def foreign_choice(history: History, tool: str, migrations: Sequence[Migration]) -> list[Migration]:
    """Return the migrations that are applied according to another tool's table.

    Raises:
        MigrationError: The table was made by another tool, or is empty.
        ChangedError: The table names a version without a file here.
    """
    if history.foreign_tool() != tool:
        raise MigrationError(f"there is no table schema_migrations as {tool} lays it out", hint="migrator status")
    versions, listed = history.foreign_versions()
    if not versions:
        raise MigrationError(f"{tool}'s table is empty", hint="drop it; then migrator up")
    numbered = {each.version: each for each in migrations if each.version is not None}
    if gone := [version for version in versions if version not in numbered]:
        raise ChangedError(
            f"{tool} applied versions that have no file here: {', '.join(map(str, gone))}",
            hint="put them in the folder, named VERSION_slug.sql; they are not run",
        )
    if listed:
        return [numbered[version] for version in versions]
    return [each for version, each in sorted(numbered.items()) if version <= max(versions)]


def which(
    name: str, migrations: Sequence[Migration], records: Mapping[str, Record]
) -> tuple[Migration | None, Record | None]:
    """Return the migration and the row with this name. If the file is gone, there is only a row.

    Raises:
        MigrationError: There is neither.
    """
    stem = name.removesuffix(".sql") + ".sql"
    if stem in records and all(each.name != stem for each in migrations):
        return None, records[stem]
    migration = find(migrations, name)
    return migration, records.get(migration.name)


def _half(migration: Migration, record: Record, dialect: str) -> tuple[Prepared, Direction]:
    if record.state in (UP.doing, UP.failed):
        return prepare(migration, dialect), UP
    if migration.rollback is None:
        raise ChangedError(f"the rollback of {migration.name} is gone", hint="bring it back")
    return prepare_rollback(migration, migration.rollback, dialect), DOWN
