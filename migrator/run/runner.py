"""Run migrations so that history and database always agree.

If DDL can be rolled back, a migration is one transaction (`kbstore.migrator.run.transaction`). Otherwise, or with
``transaction=off``, a migration is a journal of statements (`kbstore.migrator.run.journal`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from kbstore.migrator.clock import stopwatch
from kbstore.migrator.errors import MigrationError
from kbstore.migrator.history import Record
from kbstore.migrator.outcome import UP, Direction, Result
from kbstore.migrator.run.context import Context
from kbstore.migrator.run.journal import resume_journal, run_journal
from kbstore.migrator.run.transaction import may_be_grouped, rehearse, run_group, run_together, run_transaction

if TYPE_CHECKING:
    from kbstore.migrator.plan import Prepared

_MOMENT_S = 0.1
"""Seconds between two waits for the disk, in a run of several migrations."""


class Runner:
    """A runner of migrations on one database.

    Args:
        context: A context with the lock held and, except for a rehearsal, an existing history.
    """

    def __init__(self, context: Context) -> None:
        self.context = context

    def run(
        self,
        item: Prepared,
        before: Record | None,
        direction: Direction,
        *,
        snapshot: bool = True,
        durable: bool = True,
    ) -> Result:
        """Run one migration or rollback to the end, and record the result.

        Args:
            item: The migration or rollback to run.
            before: The row of the migration, as read before.
            direction: `UP` or `DOWN`.
            snapshot: Whether to record the catalog afterwards.
            durable: Whether to wait for the disk. If False, the caller reports no result before a later durable commit.

        Raises:
            StatementFailed: The database refused a statement; the message says what is in the database now.
            LockTimeout: A lock was not free in time, even after all retries.
            Taken: Another runner was first, or changed the history.
        """
        if self.context.engine.transactional and item.transaction:
            result = run_transaction(self.context, item, before, direction, snapshot=snapshot, durable=durable)
        else:
            result = run_journal(self.context, item, before, direction, snapshot=snapshot)
        self.context.engine.reset(item.script.text)
        self.context.done_before.append(item.migration.name)
        return result

    def run_each(
        self, items: Sequence[Prepared], records: Mapping[str, Record], recorded: Collection[str]
    ) -> Iterator[Result]:
        """Run migrations forward one after the other, and yield each result once the result is durable.

        If a commit waits for the disk and locks the whole database (SQLite), several short migrations share a commit.
        If one of them fails, all are undone and run again separately.

        Args:
            items: The migrations to run.
            records: Rows by name, as read before.
            recorded: The names of the migrations after which the catalog is recorded.
        """
        number = 0
        waiting: list[Result] = []
        waited = stopwatch()
        together = self.context.engine.groups_commits and not self.context.limits.statement_timeout_s
        while number < len(items):
            done: list[Result] = []
            if together and len(items) - number > 1:
                done = run_group(self.context, items[number:], records, recorded)
                together = bool(done)
            if not done:
                item = items[number]
                name = item.migration.name
                # Only a commit that waits for the disk (the commit of a failure's log line does so too) makes the
                # commits before it durable. Until then the earlier results are not reported.
                durable = number == len(items) - 1 or stopwatch() - waited > _MOMENT_S
                try:
                    done = [self.run(item, records.get(name), UP, snapshot=name in recorded, durable=durable)]
                except BaseException:
                    yield from waiting
                    raise
                together = together or (self.context.engine.groups_commits and not may_be_grouped(self.context, item))
                if not durable:
                    waiting += done
                    number += 1
                    continue
                waited = stopwatch()
            number += len(done)
            yield from (*waiting, *done)
            waiting = []

    def run_all(self, items: Sequence[Prepared], records: Mapping[str, Record]) -> list[Result]:
        """Run several migrations in one transaction.

        Raises:
            MigrationError: A migration may not run in a transaction, or the database cannot roll back DDL.
        """
        self._refuse_journals(items)
        if not items:
            return []
        results = run_together(self.context, items, records)
        for item in items:
            self.context.engine.reset(item.script.text)
        return results

    def resume(self, item: Prepared, record: Record, direction: Direction) -> Result:
        """Continue a journal after the last finished statement.

        Raises:
            NeedsRepair: The file no longer begins with the finished statements, or an INVALID index is left.
            StatementFailed: As `run`.
        """
        result = resume_journal(self.context, item, record, direction)
        self.context.engine.reset(item.script.text)
        return result

    def rehearse(self, items: Sequence[Prepared], records: Mapping[str, Record], direction: Direction) -> list[Result]:
        """Run migrations in one transaction that is rolled back."""
        try:
            return rehearse(self.context, items, records, direction)
        finally:
            for item in items:
                self.context.engine.reset(item.script.text)

    def _refuse_journals(self, items: Sequence[Prepared]) -> None:
        if not self.context.engine.transactional:
            raise MigrationError(
                f"{self.context.engine.url.dialect} cannot roll back DDL, so one transaction for all is not to be had",
                hint="--tx each",
            )
        if alone := [item.script.file for item in items if not item.transaction]:
            raise MigrationError(
                f"{', '.join(alone)} cannot run in a transaction with others", hint="--tx each, or --to the one before"
            )
