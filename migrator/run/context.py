"""The context of a running migration: the database, the history, and reports of failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kbstore.migrator.clock import Clock, format_time
from kbstore.migrator.engines.contract import DatabaseFault, Engine, Limits
from kbstore.migrator.errors import MigrationError, StatementFailed
from kbstore.migrator.files import Script
from kbstore.migrator.history import OWN_TABLES, History, Record, hashes_of
from kbstore.migrator.outcome import DOWN, Direction, check_answer
from kbstore.migrator.urls import redact_sql

if TYPE_CHECKING:
    from kbstore.migrator.catalog import Snapshot
    from kbstore.migrator.plan import Prepared
    from kbstore.migrator.sql.statements import Statement

REHEARSED = "what was there before: this was a dry run"
_FIRST_PAUSE_S = 0.5
_SLOWEST_PAUSE_S = 8.0


@dataclass
class Place:
    """The place in a file that the run has reached, for the report of a failure."""

    script: Script
    statements: Sequence[Statement] = ()
    number: int = 0

    def enter(self, script: Script, statements: Sequence[Statement]) -> None:
        """Begin a script; pass no statements for work outside of statements."""
        self.script, self.statements, self.number = script, statements, 0


@dataclass
class Context:
    """A database to run migrations on. The lock is held and the history exists.

    Attributes:
        limits: The limits for files without limits in the head.
        retries: How often a transaction (in a journal: a statement) begins again after a lock timeout.
        wait_s: Seconds to wait for another runner.
        rehearsing: Whether the database is a copy for a dry run.
        done_before: The names of the migrations finished in this run.
    """

    engine: Engine
    history: History
    clock: Clock
    limits: Limits
    retries: int
    wait_s: float
    rehearsing: bool = False
    done_before: list[str] = field(default_factory=list)

    def attempts(self) -> Iterator[bool]:
        """Yield for each attempt whether it is the last; pause between attempts, longer each time."""
        pause = _FIRST_PAUSE_S
        for _ in range(self.retries):
            yield False
            self.clock.sleep(pause)
            pause = min(pause * 2, _SLOWEST_PAUSE_S)
        yield True

    def limits_of(self, item: Prepared) -> Limits:
        """Return the limits of the file, if the head has limits, else the limits of the run."""
        wanted = item.script.directives
        lock, statement = wanted.lock_timeout_s, wanted.statement_timeout_s
        return Limits(
            self.limits.lock_timeout_s if lock is None else lock,
            self.limits.statement_timeout_s if statement is None else statement,
        )

    def undo(self) -> None:
        """Roll back. Ignore an error: the server then rolls back, and the error before the rollback matters more."""
        with suppress(DatabaseFault):
            self.engine.rollback()

    def verify(self, item: Prepared, place: Place) -> None:
        """Run the verify script; undo all changes made by the script."""
        if item.verify is None:
            return
        place.enter(item.verify, item.verify_statements)
        with self.engine.verify_scope():
            for number, statement in enumerate(item.verify_statements, 1):
                place.number = number
                check_answer(self.engine.run(statement.text, statement.data))

    def finish(self, item: Prepared, direction: Direction, duration_ms: int, *, snapshot: bool) -> None:
        """Record the end of a run: the catalog, the row, the log."""
        name = item.migration.name
        fields: dict[str, Any] = {"duration_ms": duration_ms, "statements_done": len(item.statements)}
        fields["statement_hashes"] = hashes_of([statement.text for statement in item.statements])
        if snapshot:
            fields["schema_hash"] = record_catalog(self.engine, self.history, name)
        fields |= {"state": direction.done, "error": None, "applied_at": format_time(self.clock.now())}
        self.history.update(name, **fields)
        self.history.add_line(
            name,
            direction.done,
            checksum=item.script.checksum,
            statements_done=len(item.statements),
            duration_ms=duration_ms,
        )

    def failure(
        self, item: Prepared, place: Place, fault: DatabaseFault, outcome: str, direction: Direction
    ) -> StatementFailed:
        """Return the error for a failed run: the place, the reason, and the present content of the database."""
        statement = place.statements[place.number - 1] if place.number and place.statements else None
        line, sql = (1, "") if statement is None else (statement.line, statement.text)
        return StatementFailed(
            place.script.file,
            line=line + sql.count("\n", 0, fault.position),
            statement=0 if statement is None else place.number,
            statements=len(place.statements),
            sql=redact_sql(sql),
            database_message=redact_sql(str(fault)),
            outcome=REHEARSED if self.rehearsing else outcome,
            hint=f"mend {place.script.file}, then: {direction.again.format(name=item.migration.name)}",
        )

    def note_failure(self, item: Prepared, message: str) -> None:
        """Add a failure to the log."""
        self.beside(lambda history: history.add_line(item.migration.name, "failed", detail=message))

    def beside(self, write: Callable[[History], object]) -> None:
        """Write to the history over a second connection; ignore a failure, since a more important error follows."""
        with suppress(MigrationError):
            other = self.engine.beside()
            try:
                write(History(other, self.clock, self.history.who))
            finally:
                other.close()

    def stays(self) -> str:
        """Return the part of a message about the migrations finished earlier in this run."""
        count = len(self.done_before)
        return (
            f"; the {count} before it in this run stay" if count > 1 else "; the one before it stays" if count else ""
        )


def live_catalog(engine: Engine) -> Snapshot:
    """Return the present schema of the database, without migrator's own tables."""
    from kbstore.migrator.catalog import take_snapshot

    with engine.faults():
        return take_snapshot(engine.connection, engine.dialect, exclude=OWN_TABLES)


def record_catalog(engine: Engine, history: History, name: str) -> str:
    """Record the catalog as the catalog after a migration; return the hash."""
    import json

    from kbstore.migrator.catalog import schema_hash

    snapshot = live_catalog(engine)
    digest = schema_hash(snapshot)
    history.record_catalog(name, digest, json.dumps(snapshot, separators=(",", ":"), ensure_ascii=False))
    return digest


def checksum_of(item: Prepared, before: Record | None, direction: Direction) -> str:
    """Return the checksum for the row: the checksum of the migration's own file, also during a rollback."""
    if direction is DOWN and before is not None:
        return before.checksum
    return item.migration.script.checksum
