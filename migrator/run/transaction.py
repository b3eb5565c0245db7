"""Run a migration in one transaction: history row, statements, verify script, catalog, log line, COMMIT.

The row comes first: its key keeps other runners out even if locks fail. A failure is logged over a second connection,
since the rollback removes the row.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, TypeVar

from kbstore.migrator.clock import elapsed_ms, stopwatch
from kbstore.migrator.engines.contract import DatabaseFault
from kbstore.migrator.errors import LockTimeout, MigrationError
from kbstore.migrator.history import History, Record, Taken
from kbstore.migrator.outcome import UP, Direction, Result
from kbstore.migrator.run.context import REHEARSED, Context, Place, checksum_of

if TYPE_CHECKING:
    from kbstore.migrator.plan import Prepared

_T = TypeVar("_T")
_GROUP_S = 0.1


def run_transaction(
    context: Context,
    item: Prepared,
    before: Record | None,
    direction: Direction,
    *,
    snapshot: bool,
    durable: bool,
) -> Result:
    """Run one file in a transaction.

    Raises:
        StatementFailed: The database refused a statement; nothing of the file is in the database.
        LockTimeout: A lock was not free in time, even after all retries.
        Taken: Another runner was first, or changed the history.
    """
    return _patiently(
        context, item, lambda: _run_one(context, item, before, direction, snapshot=snapshot, durable=durable)
    )


def run_together(context: Context, items: Sequence[Prepared], records: Mapping[str, Record]) -> list[Result]:
    """Run several files in one transaction; raise errors as `run_transaction`."""
    return _patiently(context, items[0], lambda: _run_all(context, items, records))


def run_group(
    context: Context, items: Sequence[Prepared], records: Mapping[str, Record], recorded: Collection[str]
) -> list[Result]:
    """Run the first files in one transaction, until a file may not share the commit or the time is up.

    Return the results; an empty list if a file failed (all are undone then), or if the first file may not share a
    commit.
    """
    results: list[Result] = []
    began = stopwatch()
    try:
        for item in items:
            if not may_be_grouped(context, item) or (results and stopwatch() - began > _GROUP_S):
                break
            started = stopwatch()
            if not results:
                context.engine.begin(context.limits)
                if context.engine.changed_by_others():
                    raise Taken
            name = item.migration.name
            place = Place(item.script)
            _do(context, item, records.get(name), UP, place, snapshot=name in recorded)
            results.append(Result(name, UP.verb, UP.done, elapsed_ms(started)))
        if results:
            context.engine.commit()
    except DatabaseFault:
        context.undo()
        return []
    except BaseException:
        context.undo()
        raise
    context.done_before += [result.migration for result in results]
    return results


def may_be_grouped(context: Context, item: Prepared) -> bool:
    """Return whether a file may share a commit with other files."""
    wanted = item.script.directives
    own_limits = wanted.lock_timeout_s is not None or wanted.statement_timeout_s is not None
    return wanted.transaction and not own_limits and not context.engine.sets_session(item.script.text)


def rehearse(
    context: Context, items: Sequence[Prepared], records: Mapping[str, Record], direction: Direction
) -> list[Result]:
    """Run migrations in one transaction that is rolled back.

    The first file that may not run in a transaction, and all files after it, are not executed, since later files may
    depend on earlier files.
    """
    results: list[Result] = []
    context.engine.begin(context.limits)
    try:
        context.history.create_within()
        for number, item in enumerate(items):
            if not item.transaction:
                why = f"not executed: {item.script.file} runs outside of a transaction, which cannot be undone"
                results += [Result(each.migration.name, why, "not_executed") for each in items[number:]]
                break
            place = Place(item.script)
            started = stopwatch()
            try:
                _do(context, item, records.get(item.migration.name), direction, place, snapshot=False)
            except DatabaseFault as fault:
                context.undo()
                if fault.kind == "lock":
                    raise LockTimeout(f"{item.script.file}: {fault}. This was a dry run: nothing changed") from fault
                raise context.failure(item, place, fault, REHEARSED, direction) from fault
            took = elapsed_ms(started)
            results.append(Result(item.migration.name, "executed and rolled back", "executed", took))
    finally:
        context.undo()
    return results


def _patiently(context: Context, item: Prepared, work: Callable[[], _T]) -> _T:
    """Call `work` again after each lock timeout, with pauses of growing length."""
    for number, last in enumerate(context.attempts(), 1):
        try:
            return work()
        except DatabaseFault as fault:
            if fault.kind != "lock":
                raise
            if last:
                context.note_failure(item, str(fault))
                raise LockTimeout(
                    f"{item.script.file}: {fault}; tried {number} times. In the database now: nothing of it",
                    hint=f"find who holds the lock, then {UP.again}; or give it longer: -- migrator: lock_timeout=30s",
                ) from fault
    raise AssertionError("a loop that returns or raises")


def _run_one(
    context: Context, item: Prepared, before: Record | None, direction: Direction, *, snapshot: bool, durable: bool
) -> Result:
    started = stopwatch()
    place = Place(item.script)
    try:
        context.engine.begin(context.limits_of(item), durable=durable)
        if context.engine.changed_by_others():
            raise Taken
        _claim(context, item, before, direction)
        began = stopwatch()
        _execute(context, item, place)
        with (
            _committing(context, {item.migration.name: direction.done}),
            nullcontext() if snapshot else context.engine.batch(),
        ):
            context.finish(item, direction, elapsed_ms(began), snapshot=snapshot)
            context.engine.commit()
    except DatabaseFault as fault:
        context.undo()
        if fault.kind == "lock":
            raise
        outcome = f"nothing of {item.script.file}, its transaction was rolled back{context.stays()}"
        failure = context.failure(item, place, fault, outcome, direction)
        context.note_failure(item, failure.database_message)
        raise failure from fault
    except BaseException:
        context.undo()
        raise
    return Result(item.migration.name, f"{direction.verb}", direction.done, elapsed_ms(started))


def _run_all(context: Context, items: Sequence[Prepared], records: Mapping[str, Record]) -> list[Result]:
    results = []
    place = Place(items[0].script)
    item = items[0]
    context.engine.begin(context.limits_of(item))
    try:
        if context.engine.changed_by_others():
            raise Taken
        for number, item in enumerate(items, 1):
            started = stopwatch()
            context.engine.set_limits(context.limits_of(item))
            _do(context, item, records.get(item.migration.name), UP, place, snapshot=number == len(items))
            results.append(Result(item.migration.name, UP.verb, UP.done, elapsed_ms(started)))
        with _committing(context, {each.migration.name: UP.done for each in items}):
            context.engine.commit()
    except DatabaseFault as fault:
        context.undo()
        if fault.kind == "lock":
            raise
        outcome = f"nothing of these {len(items)} migrations, their transaction was rolled back"
        failure = context.failure(item, place, fault, outcome, UP)
        context.note_failure(item, failure.database_message)
        raise failure from fault
    except BaseException:
        context.undo()
        raise
    return results


def _do(
    context: Context, item: Prepared, before: Record | None, direction: Direction, place: Place, *, snapshot: bool
) -> None:
    """Run all work between BEGIN and COMMIT."""
    place.enter(item.script, ())
    _claim(context, item, before, direction)
    started = stopwatch()
    _execute(context, item, place)
    context.finish(item, direction, elapsed_ms(started), snapshot=snapshot)


def _claim(context: Context, item: Prepared, before: Record | None, direction: Direction) -> None:
    """Write the row first: its key keeps other runners out."""
    context.history.put(item.migration, direction.done, before, checksum=checksum_of(item, before, direction))


def _execute(context: Context, item: Prepared, place: Place) -> None:
    """Run the statements and the verify script, and check the result."""
    place.enter(item.script, item.statements)
    for number, statement in enumerate(item.statements, 1):
        place.number = number
        context.engine.run(statement.text, statement.data)
    context.engine.settle(item.script.text)
    context.verify(item, place)
    place.enter(item.script, ())
    if not context.engine.in_transaction():
        raise DatabaseFault("the file ended the transaction that it was run in")
    context.engine.before_commit()


@contextmanager
def _committing(context: Context, expected: Mapping[str, str]) -> Iterator[None]:
    """If the connection is lost during the COMMIT inside, check over a second connection if the commit took effect."""
    try:
        yield
    except DatabaseFault as fault:
        if fault.kind != "lost":
            raise
        try:
            with context.engine.beside() as other:
                records = History(other, context.clock, "").load()
        except MigrationError as silence:
            raise MigrationError(
                f"the connection was lost over the COMMIT of {', '.join(expected)}, and the server does not answer "
                f"({silence}). It took effect whole, or not at all",
                hint="migrator status tells, once the server is back",
            ) from fault
        if any(name not in records or records[name].state != state for name, state in expected.items()):
            raise
        context.engine.close()
        context.engine.open(create=True)
