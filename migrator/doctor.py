"""Find differences between files, history and database: `verify` runs scripts, `doctor` reads the catalog."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kbstore.migrator.engines import DatabaseFault, Engine, Limits
from kbstore.migrator.files import Migration, read_script
from kbstore.migrator.history import DONE, HALF_DONE, History, Record, newest_of
from kbstore.migrator.outcome import check_answer
from kbstore.migrator.plan import changes, half_done
from kbstore.migrator.run.context import live_catalog
from kbstore.migrator.sql.statements import split

Kind = Literal["half-done", "changed", "drift", "invalid-index", "orphans", "unrecorded", "verify"]


@dataclass(frozen=True)
class Problem:
    """A difference between files, history and database.

    Attributes:
        kind: "half-done"; "changed" (a file), "drift" (an object of the database), "invalid-index", "orphans" (rows
            whose foreign key has no row in the parent table), "unrecorded" (the catalog was not recorded), "verify".
        subject: The migration or object.
        message: The problem, in one sentence.
        hint: The next step.
    """

    kind: Kind
    subject: str
    message: str
    hint: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary."""
        return dict(self.__dict__)


def verify(
    engine: Engine, migrations: Sequence[Migration], records: Mapping[str, Record], limits: Limits
) -> Iterator[tuple[str, Problem | None]]:
    """Run the verify script of every applied migration in a transaction that is rolled back.

    Yields:
        First each changed or missing file (`changes`). Then each migration with a verify script, with the problem or
        `None`.
    """
    for name, message in changes(migrations, records):
        yield name, Problem("changed", name, message, f"bring the file back; or migrator repair {name} --mark-applied")
    for migration in migrations:
        if migration.verify is None or migration.name not in records or records[migration.name].state not in DONE:
            continue
        script = read_script(migration.verify)
        problem = None
        engine.begin(limits)
        try:
            for statement in split(script.text, engine.dialect, name=script.file):
                line = statement.line
                check_answer(engine.run(statement.text, statement.data))
        except DatabaseFault as fault:
            message = f"{script.file}:{line}: {fault}"
            problem = Problem("verify", migration.name, message, "migrator doctor names what is missing")
        finally:
            engine.rollback()
            engine.reset(script.text)
        yield migration.name, problem


def doctor(
    engine: Engine, history: History, migrations: Sequence[Migration], records: Mapping[str, Record]
) -> Iterator[Problem]:
    """Yield every problem, the most serious first."""
    for record in records.values():
        if record.state in HALF_DONE:
            hint = f"migrator repair {record.name} --retry | --mark-applied | --mark-pending"
            yield Problem("half-done", record.name, half_done(record), hint)
    for name, message in changes(migrations, records):
        yield Problem("changed", name, message, f"bring the file back; or migrator repair {name} --mark-applied")
    yield from _drift(engine, history, migrations, records)
    for index in engine.broken_indexes():
        message = f"the index {index} is INVALID: making it failed, and no query uses it"
        yield Problem("invalid-index", index, message, f"DROP INDEX CONCURRENTLY {index}, and make it again")
    for table, parent, rows in engine.orphans():
        message = f"{rows} rows of {table} have no row in {parent}, which their foreign key wants"
        yield Problem("orphans", table, message, f"PRAGMA foreign_key_check({table}) lists them")


def _drift(
    engine: Engine, history: History, migrations: Sequence[Migration], records: Mapping[str, Record]
) -> Iterator[Problem]:
    from kbstore.migrator.catalog import compare

    done = [record for record in records.values() if record.state in DONE]
    recorded = history.recorded_catalog()
    if recorded is None:
        if done:
            message = "no migration was run here yet that recorded the catalog, so there is nothing to compare with"
            yield Problem("unrecorded", "", message, f"migrator repair {done[-1].name} --mark-applied records it")
        return
    newest = newest_of(records)
    if newest is not None and newest.schema_hash is None:
        if newest.state not in HALF_DONE:
            message = f"the catalog was not recorded after {newest.name}: that run did not come to its end"
            yield Problem(
                "unrecorded", newest.name, message, f"migrator repair {newest.name} --mark-applied records it"
            )
        return
    for difference in compare(json.loads(recorded[2]), live_catalog(engine)):
        made_by = _last_to_name(difference.name, migrations, records)
        message = difference.message
        if made_by is not None:
            message += f" ({made_by}, recorded as {records[made_by].state}, is the last to name it)"
        hint = (
            "make it again by a new migration, or restore a backup"
            if difference.change == "missing"
            else "write what was changed by hand as a migration of its own"
        )
        yield Problem("drift", difference.name, message, hint)


def _last_to_name(name: str, migrations: Sequence[Migration], records: Mapping[str, Record]) -> str | None:
    """Return the last applied migration that names an object: ``table``, ``schema.table`` or ``table.column``."""
    parts = [re.escape(part) for part in re.findall(r"\w+", name) if part.lower() not in ("public", "check", "unique")]
    for count in range(len(parts), 0, -1):
        words = [re.compile(rf"(?i)(?<!\w){part}(?!\w)") for part in parts[:count]]
        for migration in reversed(migrations):
            record = records.get(migration.name)
            if record is None or record.state not in DONE:
                continue
            if all(word.search(migration.script.text) for word in words):
                return migration.name
    return None
