"""Runs one migration, or its rollback, so that the history never says more or less than what is in the database.

With transactional DDL one transaction holds everything: the row of the history first (its key keeps other runners
out), the statements, the verify script, the catalog, a line in the log. A failure is logged by a second connection,
since the rollback takes the row with it. Without, or with ``transaction=off``, each statement stands for itself and
the history is a journal: which statements are done, by their hashes. A statement that only changes rows commits
together with its entry in the journal; for any other the moment between the two is why `running` needs a person.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from migrator.clock import Clock, elapsed_ms, format_time, stopwatch
from migrator.engines.contract import DatabaseFault, Engine, Limits
from migrator.errors import LockTimeout, MigrationError, NeedsRepair, StatementFailed
from migrator.files import Script
from migrator.history import OWN_TABLES, History, Record, Taken, hash_of, hashes_of
from migrator.urls import redact_sql

if TYPE_CHECKING:
    from migrator.catalog import Snapshot
    from migrator.plan import Prepared
    from migrator.statements import Statement

_T = TypeVar("_T")
_ROWS_ONLY = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE"})
_REHEARSED = "what was there before: this was a dry run"
_GROUP_S = 0.1
_FIRST_PAUSE_S = 0.5
_SLOWEST_PAUSE_S = 8.0


class Direction(NamedTuple):
    """The states that a run in one direction goes through, and what people call it."""

    doing: str
    failed: str
    done: str
    verb: str
    again: str


UP = Direction("running", "failed", "applied", "applied", "migrator up")
DOWN = Direction("reverting", "revert_failed", "rolled_back", "rolled back", "migrator down {name}")


class Result(NamedTuple):
    """What came of one migration.

    Attributes:
        state: "applied", "rolled_back", "baseline"; of a dry run "executed" (and undone) or "not_executed".
        duration_ms: Of its statements and their commit; 0 where nothing was run.
    """

    migration: str
    message: str
    state: str
    duration_ms: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Its fields."""
        return self._asdict()


@dataclass
class _Place:
    """Where in a file the run is: for the report, should it end there."""

    script: Script
    statements: Sequence[Statement] = ()
    number: int = 0

    def enter(self, script: Script, statements: Sequence[Statement]) -> None:
        self.script, self.statements, self.number = script, statements, 0


@dataclass
class Runner:
    """Runs migrations on one database; the lock is held and the history is there.

    Attributes:
        limits: For files that name none of their own.
        retries: How often a transaction (a statement, in a journal) is begun again where a lock was not to be had.
        wait_s: How long to wait for another runner where there is a choice.
        rehearsing: Whether this is a copy, of which nothing will stay.
    """

    engine: Engine
    history: History
    clock: Clock
    limits: Limits
    retries: int
    wait_s: float
    rehearsing: bool = False
    done_before: list[str] = field(default_factory=list)

    def run(
        self,
        item: Prepared,
        before: Record | None,
        direction: Direction,
        *,
        snapshot: bool = True,
        durable: bool = True,
    ) -> Result:
        """Run one migration or rollback to its end, and record it.

        Args:
            item: What to run.
            before: Its row, as it was read.
            direction: `UP` or `DOWN`.
            snapshot: Whether to record the catalog after it.
            durable: Whether to wait for the disk; False only where another one follows that does.

        Raises:
            StatementFailed: The database refused a statement; the message says what is there now.
            LockTimeout: A lock was not to be had, also after all retries.
            Taken: Another runner was first, or changed the history.
        """
        if self.engine.transactional and item.transaction:
            result = self._patiently(
                item, lambda: self._in_transaction(item, before, direction, snapshot=snapshot, durable=durable)
            )
        else:
            with self.engine.journal_lock(self.wait_s, self.clock):
                self.history.put(item.migration, direction.doing, before, checksum=_checksum(item, before, direction))
                result = self._by_journal(item, direction, 0, snapshot=snapshot)
        self.engine.reset(item.script.text)
        self.done_before.append(item.migration.name)
        return result

    def run_each(
        self, items: Sequence[Prepared], records: Mapping[str, Record], recorded: Collection[str]
    ) -> Iterator[Result]:
        """Run migrations forward one after the other, and give each result once it is durable.

        Where a commit waits for the disk and locks the database whole (SQLite), those that fit into a moment are
        committed together. Should one of these fail, all are undone and run again each by itself.

        Args:
            items: What to run.
            records: Rows by name, as they were read.
            recorded: The names after which the catalog is recorded.
        """
        number = 0
        together = self.engine.groups_commits and not self.limits.statement_timeout_s
        while number < len(items):
            done: list[Result] = []
            if together and len(items) - number > 1:
                done = self._run_group(items[number:], records, recorded)
                together = bool(done)
            if not done:
                item = items[number]
                name = item.migration.name
                # Only the last commit waits for the disk: what was committed before it is durable with it. A failure
                # is logged by a commit of its own, so the same holds for a run that ends early.
                last = number == len(items) - 1
                done = [self.run(item, records.get(name), UP, snapshot=name in recorded, durable=last)]
                together = together or (self.engine.groups_commits and not self._groups(item))
            number += len(done)
            yield from done

    def _groups(self, item: Prepared) -> bool:
        """Whether a file may be committed together with others."""
        wanted = item.script.directives
        own_limits = wanted.lock_timeout_s is not None or wanted.statement_timeout_s is not None
        return wanted.transaction and not own_limits and not self.engine.sets_session(item.script.text)

    def _run_group(
        self, items: Sequence[Prepared], records: Mapping[str, Record], recorded: Collection[str]
    ) -> list[Result]:
        """Run the first of these in one transaction; none of them where one failed, or is not to be grouped."""
        results: list[Result] = []
        began = stopwatch()
        try:
            for item in items:
                if not self._groups(item) or (results and stopwatch() - began > _GROUP_S):
                    break
                started = stopwatch()
                if not results:
                    self.engine.begin(self.limits)
                    if self.engine.changed_by_others():
                        raise Taken
                name = item.migration.name
                place = _Place(item.script)
                self._do(item, records.get(name), UP, place, snapshot=name in recorded)
                results.append(Result(name, UP.verb, UP.done, elapsed_ms(started)))
            if results:
                self.engine.commit()
        except DatabaseFault:
            self._undo()
            return []
        except BaseException:
            self._undo()
            raise
        self.done_before += [result.migration for result in results]
        return results

    def resume(self, item: Prepared, record: Record, direction: Direction) -> Result:
        """Go on with a journal after its last statement that is done.

        Raises:
            NeedsRepair: What was done is not what the file begins with now.
        """
        done = record.statements_done
        if hashes_of([statement.text for statement in item.statements[:done]]) != record.statement_hashes:
            raise NeedsRepair(
                f"{item.script.file} no longer begins with the {done} statements that were run",
                hint=f"bring them back as they were; or settle it by hand, then migrator repair {record.name} "
                "--mark-applied | --mark-pending",
            )
        if broken := self.engine.broken_indexes():
            raise NeedsRepair(
                f"an INVALID index is left by what failed: {', '.join(broken)}",
                hint="; ".join(f"DROP INDEX CONCURRENTLY {name}" for name in broken) + "; then the same again",
            )
        with self.engine.journal_lock(self.wait_s, self.clock):
            self.history.update(
                record.name, state=direction.doing, error=None, checksum=_checksum(item, record, direction)
            )
            self.history.add_line(record.name, "retry", statements_done=done)
            result = self._by_journal(item, direction, done, snapshot=True)
        self.engine.reset(item.script.text)
        return result

    def run_all(self, items: Sequence[Prepared], records: Mapping[str, Record]) -> list[Result]:
        """Run several migrations in one transaction.

        Raises:
            MigrationError: One of them may not run in a transaction, or the database has none for DDL.
        """
        self._refuse_journals(items)
        if not items:
            return []
        results = self._patiently(items[0], lambda: self._all_in_one(items, records))
        for item in items:
            self.engine.reset(item.script.text)
        return results

    def rehearse(self, items: Sequence[Prepared], records: Mapping[str, Record], direction: Direction) -> list[Result]:
        """Run migrations in one transaction that is rolled back.

        From the first one on that may not run in a transaction nothing is executed, since what follows may need it.
        """
        results: list[Result] = []
        self.engine.begin(self.limits)
        try:
            self.history.create_within()
            for number, item in enumerate(items):
                if not item.transaction:
                    why = f"not executed: {item.script.file} runs outside of a transaction, which cannot be undone"
                    results += [Result(each.migration.name, why, "not_executed") for each in items[number:]]
                    break
                place = _Place(item.script)
                started = stopwatch()
                try:
                    self._do(item, records.get(item.migration.name), direction, place, snapshot=False)
                except DatabaseFault as fault:
                    self._undo()
                    if fault.kind == "lock":
                        raise LockTimeout(
                            f"{item.script.file}: {fault}. This was a dry run: nothing changed"
                        ) from fault
                    raise self._failure(item, place, fault, _REHEARSED, direction) from fault
                took = elapsed_ms(started)
                results.append(Result(item.migration.name, "executed and rolled back", "executed", took))
        finally:
            self._undo()
            for item in items:
                self.engine.reset(item.script.text)
        return results

    # One transaction

    def _patiently(self, item: Prepared, work: Callable[[], _T]) -> _T:
        """Begin again, after a pause that grows, where a lock was not to be had."""
        pause = _FIRST_PAUSE_S
        for attempt in range(self.retries + 1):
            try:
                return work()
            except DatabaseFault as fault:
                if fault.kind != "lock":
                    raise
                if attempt == self.retries:
                    self._note_failure(item, str(fault))
                    raise LockTimeout(
                        f"{item.script.file}: {fault}; tried {attempt + 1} times. In the database now: nothing of it",
                        hint=f"find who holds the lock, then {UP.again}; or give it longer: "
                        "-- migrator: lock_timeout=30s",
                    ) from fault
            self.clock.sleep(pause)
            pause = min(pause * 2, _SLOWEST_PAUSE_S)
        raise AssertionError("a loop that returns or raises")

    def _in_transaction(
        self, item: Prepared, before: Record | None, direction: Direction, *, snapshot: bool, durable: bool
    ) -> Result:
        started = stopwatch()
        place = _Place(item.script)
        try:
            self.engine.begin(self._limits(item), durable=durable)
            if self.engine.changed_by_others():
                raise Taken
            self._claim(item, before, direction)
            began = stopwatch()
            self._execute(item, place)
            with self._committing({item.migration.name: direction.done}), self._batch(snapshot):
                self._finish(item, direction, elapsed_ms(began), snapshot=snapshot)
                self.engine.commit()
        except DatabaseFault as fault:
            self._undo()
            if fault.kind == "lock":
                raise
            outcome = f"nothing of {item.script.file}, its transaction was rolled back{self._stays()}"
            failure = self._failure(item, place, fault, outcome, direction)
            self._note_failure(item, failure.database_message)
            raise failure from fault
        except BaseException:
            self._undo()
            raise
        return Result(item.migration.name, f"{direction.verb}", direction.done, elapsed_ms(started))

    def _all_in_one(self, items: Sequence[Prepared], records: Mapping[str, Record]) -> list[Result]:
        results = []
        place = _Place(items[0].script)
        item = items[0]
        self.engine.begin(self._limits(item))
        try:
            if self.engine.changed_by_others():
                raise Taken
            for number, item in enumerate(items, 1):
                started = stopwatch()
                self.engine.set_limits(self._limits(item))
                self._do(item, records.get(item.migration.name), UP, place, snapshot=number == len(items))
                results.append(Result(item.migration.name, UP.verb, UP.done, elapsed_ms(started)))
            with self._committing({each.migration.name: UP.done for each in items}):
                self.engine.commit()
        except DatabaseFault as fault:
            self._undo()
            if fault.kind == "lock":
                raise
            outcome = f"nothing of these {len(items)} migrations, their transaction was rolled back"
            failure = self._failure(item, place, fault, outcome, UP)
            self._note_failure(item, failure.database_message)
            raise failure from fault
        except BaseException:
            self._undo()
            raise
        return results

    def _do(
        self, item: Prepared, before: Record | None, direction: Direction, place: _Place, *, snapshot: bool
    ) -> None:
        """Everything between BEGIN and COMMIT."""
        place.enter(item.script, ())
        self._claim(item, before, direction)
        started = stopwatch()
        self._execute(item, place)
        self._finish(item, direction, elapsed_ms(started), snapshot=snapshot)

    def _claim(self, item: Prepared, before: Record | None, direction: Direction) -> None:
        """Write the row first: its key keeps another runner out."""
        self.history.put(item.migration, direction.done, before, checksum=_checksum(item, before, direction))

    def _execute(self, item: Prepared, place: _Place) -> None:
        """The statements, and the looks at what they left."""
        place.enter(item.script, item.statements)
        for number, statement in enumerate(item.statements, 1):
            place.number = number
            self.engine.run(statement.text, statement.data)
        self.engine.settle(item.script.text)
        self._verify(item, place)
        place.enter(item.script, ())
        if not self.engine.in_transaction():
            raise DatabaseFault("the file ended the transaction that it was run in")
        self.engine.before_commit()

    @contextmanager
    def _committing(self, expected: Mapping[str, str]) -> Iterator[None]:
        """Where the connection is lost over the COMMIT inside, ask by another one whether it took effect."""
        try:
            yield
        except DatabaseFault as fault:
            if fault.kind != "lost":
                raise
            try:
                with self.engine.beside() as other:
                    records = History(other, self.clock, "").load()
            except MigrationError as silence:
                raise MigrationError(
                    f"the connection was lost over the COMMIT of {', '.join(expected)}, and the server does not answer "
                    f"({silence}). It took effect whole, or not at all",
                    hint="migrator status tells, once the server is back",
                ) from fault
            if any(name not in records or records[name].state != state for name, state in expected.items()):
                raise
            self.engine.close()
            self.engine.open(create=True)

    def _undo(self) -> None:
        # A connection that fails while it rolls back is rolled back by the server; the first fault is the one to tell.
        with suppress(DatabaseFault):
            self.engine.rollback()

    # A journal

    def _by_journal(self, item: Prepared, direction: Direction, done: int, *, snapshot: bool) -> Result:
        started = stopwatch()
        name = item.migration.name
        place = _Place(item.script, item.statements)
        hashes = [hash_of(statement.text) for statement in item.statements[:done]]
        self.engine.set_limits(self._limits(item))
        broken_before = set(self.engine.broken_indexes())
        try:
            for number, statement in enumerate(item.statements[done:], done + 1):
                place.number = number
                hashes.append(hash_of(statement.text))
                journal = {"statements_done": number, "statement_hashes": " ".join(hashes)}
                self._statement(item, statement, journal)
                done = number
            self.engine.settle(item.script.text)
            self.engine.begin(self._limits(item))
            try:
                self._verify(item, place)
            finally:
                self.engine.rollback()
            place.enter(item.script, ())
            if broken := [index for index in self.engine.broken_indexes() if index not in broken_before]:
                raise DatabaseFault(f"an INVALID index is left: {', '.join(broken)}")
            self.engine.begin(self._limits(item))
            self._finish(item, direction, elapsed_ms(started), snapshot=snapshot)
            self.engine.commit()
        except DatabaseFault as fault:
            self._undo()
            raise self._journal_failure(item, direction, place, fault, done) from fault
        return Result(name, direction.verb, direction.done, elapsed_ms(started))

    def _statement(self, item: Prepared, statement: Statement, journal: Mapping[str, Any]) -> None:
        """Run one statement and write it in the journal; together, where it only changes rows."""
        pause = _FIRST_PAUSE_S
        for attempt in range(self.retries + 1):
            try:
                if statement.words[:1] and statement.words[0] in _ROWS_ONLY:
                    self.engine.begin(self._limits(item))
                    self.engine.run(statement.text, statement.data)
                    self.engine.before_commit()
                    self.history.update(item.migration.name, **journal)
                    self.engine.commit()
                    return
                self.engine.run(statement.text, statement.data)
                break
            except DatabaseFault as fault:
                self._undo()
                if fault.kind != "lock" or attempt == self.retries:
                    raise
            self.clock.sleep(pause)
            pause = min(pause * 2, _SLOWEST_PAUSE_S)
        try:
            self.history.update(item.migration.name, **journal)
        except DatabaseFault:
            # The statement took effect, so its entry must; perhaps it only took this session's right to write it.
            with self.engine.beside() as other:
                History(other, self.clock, self.history.who).update(item.migration.name, **journal)

    def _journal_failure(
        self, item: Prepared, direction: Direction, place: _Place, fault: DatabaseFault, done: int
    ) -> MigrationError:
        """Record that the journal ended in a failure; a lost connection is recorded by another one."""
        name, total = item.migration.name, len(item.statements)
        there = f"statements 1 to {done} of {total}" if done else "none of its statements"
        outcome = f"{there} of {item.script.file}{self._stays()}"
        unknown = fault.kind == "lost"
        if unknown:
            outcome += "; the connection was lost, so the next statement may have taken effect too"
        elif fault.kind != "lock":
            with suppress(DatabaseFault):
                if broken := self.engine.broken_indexes():
                    outcome += f"; and an INVALID index, {', '.join(broken)}, which has to be dropped before a retry"
        failure = self._failure(item, place, fault, outcome, direction)
        failure.hint = (
            f"mend what failed, then: migrator repair {name} --retry (goes on after what is done); "
            "or --mark-applied, --mark-pending"
        )
        state = direction.doing if unknown else direction.failed

        def note(history: History) -> None:
            history.update(name, state=state, error=failure.database_message)
            history.add_line(name, direction.failed, statements_done=done, detail=failure.database_message)

        self._beside(note)
        if fault.kind == "lock":
            return LockTimeout(f"{failure}", hint=failure.hint)
        return failure

    # Both

    def _batch(self, snapshot: bool) -> AbstractContextManager[None]:
        """One journey to the server, where nothing has to be read in between."""
        return nullcontext() if snapshot else self.engine.batch()

    def _verify(self, item: Prepared, place: _Place) -> None:
        """Run the verify script; whatever it does is undone."""
        if item.verify is None:
            return
        place.enter(item.verify, item.verify_statements)
        with self.engine.verify_scope():
            for number, statement in enumerate(item.verify_statements, 1):
                place.number = number
                check_answer(self.engine.run(statement.text, statement.data))

    def _finish(self, item: Prepared, direction: Direction, duration_ms: int, *, snapshot: bool) -> None:
        """Record that all is done: the catalog, the row, the log."""
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

    def _failure(
        self, item: Prepared, place: _Place, fault: DatabaseFault, outcome: str, direction: Direction
    ) -> StatementFailed:
        statement = place.statements[place.number - 1] if place.number and place.statements else None
        line, sql = (1, "") if statement is None else (statement.line, statement.text)
        return StatementFailed(
            place.script.file,
            line=line + sql.count("\n", 0, fault.position),
            statement=0 if statement is None else place.number,
            statements=len(place.statements),
            sql=redact_sql(sql),
            database_message=redact_sql(str(fault)),
            outcome=_REHEARSED if self.rehearsing else outcome,
            hint=f"mend {place.script.file}, then: {direction.again.format(name=item.migration.name)}",
        )

    def _note_failure(self, item: Prepared, message: str) -> None:
        self._beside(lambda history: history.add_line(item.migration.name, "failed", detail=message))

    def _beside(self, write: Callable[[History], object]) -> None:
        """Write to the history by a second connection; a failure here matters less than what is about to be raised."""
        with suppress(MigrationError):
            other = self.engine.beside()
            try:
                write(History(other, self.clock, self.history.who))
            finally:
                other.close()

    def _limits(self, item: Prepared) -> Limits:
        wanted = item.script.directives
        lock, statement = wanted.lock_timeout_s, wanted.statement_timeout_s
        return Limits(
            self.limits.lock_timeout_s if lock is None else lock,
            self.limits.statement_timeout_s if statement is None else statement,
        )

    def _refuse_journals(self, items: Sequence[Prepared]) -> None:
        if not self.engine.transactional:
            raise MigrationError(
                f"{self.engine.url.dialect} cannot roll back DDL, so one transaction for all is not to be had",
                hint="--tx each",
            )
        if alone := [item.script.file for item in items if not item.transaction]:
            raise MigrationError(
                f"{', '.join(alone)} cannot run in a transaction with others", hint="--tx each, or --to the one before"
            )

    def _stays(self) -> str:
        count = len(self.done_before)
        return (
            f"; the {count} before it in this run stay" if count > 1 else "; the one before it stays" if count else ""
        )


def check_answer(rows: Sequence[Sequence[Any]]) -> None:
    """What a verify script's query has to give: anything but one single value that is NULL, false or 0.

    Raises:
        DatabaseFault: It gave that.
    """
    if len(rows) == 1 and len(rows[0]) == 1 and not rows[0][0]:
        raise DatabaseFault(f"the check gave {'NULL' if rows[0][0] is None else rows[0][0]}")


def live_catalog(engine: Engine) -> Snapshot:
    """What is in the database now, without migrator's own tables."""
    from migrator.catalog import take_snapshot

    with engine.faults():
        return take_snapshot(engine.connection, engine.dialect, exclude=OWN_TABLES)


def record_catalog(engine: Engine, history: History, name: str) -> str:
    """Keep the catalog as it is after a migration; returns its hash."""
    import json

    from migrator.catalog import schema_hash

    snapshot = live_catalog(engine)
    digest = schema_hash(snapshot)
    history.record_catalog(name, digest, json.dumps(snapshot, separators=(",", ":"), ensure_ascii=False))
    return digest


def _checksum(item: Prepared, before: Record | None, direction: Direction) -> str:
    """The row's checksum is that of the migration's own file, also while its rollback is run."""
    if direction is DOWN and before is not None:
        return before.checksum
    return item.migration.script.checksum
