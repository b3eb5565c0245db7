"""The journal: run a file statement by statement, and record the hash of each finished statement.

A statement that only changes rows commits together with the record in the history. Any other statement commits a moment
before the record. So an interrupted run stays `running`, and a person must decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kbstore.migrator.clock import elapsed_ms, stopwatch
from kbstore.migrator.engines.contract import DatabaseFault
from kbstore.migrator.errors import LockTimeout, MigrationError, NeedsRepair
from kbstore.migrator.history import History, Record, hash_of, hashes_of
from kbstore.migrator.outcome import Direction, Result
from kbstore.migrator.run.context import Context, Place, checksum_of

if TYPE_CHECKING:
    from kbstore.migrator.plan import Prepared
    from kbstore.migrator.sql.statements import Statement

_ROWS_ONLY = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE"})


def run_journal(
    context: Context, item: Prepared, before: Record | None, direction: Direction, *, snapshot: bool
) -> Result:
    """Run a file from the first statement.

    Raises:
        StatementFailed: The database refused a statement; the message says what is in the database now.
        LockTimeout: A lock was not free in time, even after all retries.
        Taken: Another runner was first.
    """
    with context.engine.journal_lock(context.wait_s, context.clock):
        context.history.put(item.migration, direction.doing, before, checksum=checksum_of(item, before, direction))
        return _run(context, item, direction, 0, snapshot=snapshot)


def resume_journal(context: Context, item: Prepared, record: Record, direction: Direction) -> Result:
    """Continue a journal after the last finished statement.

    Raises:
        NeedsRepair: The file no longer begins with the finished statements, or an INVALID index is left.
    """
    done = record.statements_done
    if hashes_of([statement.text for statement in item.statements[:done]]) != record.statement_hashes:
        raise NeedsRepair(
            f"{item.script.file} no longer begins with the {done} statements that were run",
            hint=f"bring them back as they were; or settle it by hand, then migrator repair {record.name} "
            "--mark-applied | --mark-pending",
        )
    if broken := context.engine.broken_indexes():
        raise NeedsRepair(
            f"an INVALID index is left by what failed: {', '.join(broken)}",
            hint="; ".join(f"DROP INDEX CONCURRENTLY {name}" for name in broken) + "; then the same again",
        )
    with context.engine.journal_lock(context.wait_s, context.clock):
        context.history.update(
            record.name, state=direction.doing, error=None, checksum=checksum_of(item, record, direction)
        )
        context.history.add_line(record.name, "retry", statements_done=done)
        return _run(context, item, direction, done, snapshot=True)


def _run(context: Context, item: Prepared, direction: Direction, done: int, *, snapshot: bool) -> Result:
    started = stopwatch()
    name = item.migration.name
    place = Place(item.script, item.statements)
    hashes = [hash_of(statement.text) for statement in item.statements[:done]]
    context.engine.set_limits(context.limits_of(item))
    broken_before = set(context.engine.broken_indexes())
    try:
        for number, statement in enumerate(item.statements[done:], done + 1):
            place.number = number
            hashes.append(hash_of(statement.text))
            journal = {"statements_done": number, "statement_hashes": " ".join(hashes)}
            _statement(context, item, statement, journal)
            done = number
        context.engine.settle(item.script.text)
        context.engine.begin(context.limits_of(item))
        try:
            context.verify(item, place)
        finally:
            context.engine.rollback()
        place.enter(item.script, ())
        if broken := [index for index in context.engine.broken_indexes() if index not in broken_before]:
            raise DatabaseFault(f"an INVALID index is left: {', '.join(broken)}")
        context.engine.begin(context.limits_of(item))
        context.finish(item, direction, elapsed_ms(started), snapshot=snapshot)
        context.engine.commit()
    except DatabaseFault as fault:
        context.undo()
        raise _failure(context, item, direction, place, fault, done) from fault
    return Result(name, direction.verb, direction.done, elapsed_ms(started))


def _statement(context: Context, item: Prepared, statement: Statement, journal: Mapping[str, Any]) -> None:
    """Run one statement and record it in the history; in one transaction, if the statement only changes rows."""
    for last in context.attempts():
        try:
            if statement.words[:1] and statement.words[0] in _ROWS_ONLY:
                context.engine.begin(context.limits_of(item))
                context.engine.run(statement.text, statement.data)
                context.engine.before_commit()
                context.history.update(item.migration.name, **journal)
                context.engine.commit()
                return
            context.engine.run(statement.text, statement.data)
            break
        except DatabaseFault as fault:
            context.undo()
            if fault.kind != "lock" or last:
                raise
    try:
        context.history.update(item.migration.name, **journal)
    except DatabaseFault:
        # The statement took effect, so the history must say so. Perhaps the statement changed the rights of this
        # session: write over a new connection.
        with context.engine.beside() as other:
            History(other, context.clock, context.history.who).update(item.migration.name, **journal)


def _failure(
    context: Context, item: Prepared, direction: Direction, place: Place, fault: DatabaseFault, done: int
) -> MigrationError:
    """Record the failure of a journal over a second connection, and return the error to raise."""
    name, total = item.migration.name, len(item.statements)
    there = f"statements 1 to {done} of {total}" if done else "none of its statements"
    outcome = f"{there} of {item.script.file}{context.stays()}"
    unknown = fault.kind == "lost"
    if unknown:
        outcome += "; the connection was lost, so the next statement may have taken effect too"
    elif fault.kind != "lock":
        with suppress(DatabaseFault):
            if broken := context.engine.broken_indexes():
                outcome += f"; and an INVALID index, {', '.join(broken)}, which has to be dropped before a retry"
    failure = context.failure(item, place, fault, outcome, direction)
    failure.hint = (
        f"mend what failed, then: migrator repair {name} --retry (goes on after what is done); "
        "or --mark-applied, --mark-pending"
    )
    state = direction.doing if unknown else direction.failed

    def note(history: History) -> None:
        history.update(name, state=state, error=failure.database_message)
        history.add_line(name, direction.failed, statements_done=done, detail=failure.database_message)

    context.beside(note)
    if fault.kind == "lock":
        return LockTimeout(f"{failure}", hint=failure.hint)
    return failure
