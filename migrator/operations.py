"""Up and down on one opened database: plan, save, run, and plan again if another runner was first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kbstore.kit.folders import temporary_folder
from kbstore.migrator.clock import Clock
from kbstore.migrator.engines import Engine, Limits
from kbstore.migrator.errors import ChangedError, MigrationError, NeedsRepair, OrderError
from kbstore.migrator.files import Migration, find
from kbstore.migrator.history import DONE, HALF_DONE, History, Record, Taken, newest_of
from kbstore.migrator.outcome import DOWN, UP, Direction, Result
from kbstore.migrator.plan import Plan, Prepared, changes, half_done, make_plan, prepare_rollback
from kbstore.migrator.run.context import Context, live_catalog
from kbstore.migrator.run.runner import Runner
from kbstore.migrator.settings import Settings

ALL_SNAPSHOTS_UP_TO = 20
"""In a run of more migrations than this, the catalog is recorded only after the last migration."""


@dataclass
class Work:
    """The parts that `up`, `down` and `repair` need while the lock is held.

    Attributes:
        scan: Reads the folder again.
        progress: Called with each result as soon as the result is known.
        notice: Called with each sentence that a person should read besides the results.
    """

    engine: Engine
    history: History
    migrations: Sequence[Migration]
    scan: Callable[[], Sequence[Migration]]
    settings: Settings
    clock: Clock
    progress: Callable[[Result], None]
    notice: Callable[[str], None]
    _prepared: dict[str, Prepared] = field(default_factory=dict)
    _began: bool = False

    def up(self, to: int | None, *, tx: str) -> list[Result]:
        """Run pending migrations as `DatabaseMigrator.up` describes."""
        results: list[Result] = []
        while True:
            records, plan = self._plan(to)
            if not plan.items:
                return results
            self._before_change(records)
            try:
                for result in self._run(plan, records, tx):
                    results.append(result)
                    self.progress(result)
            except Taken:
                continue
            return results

    def down(self, name: str) -> Result:
        """Undo a migration as `DatabaseMigrator.down` describes."""
        while True:
            records = self.settled_records()
            item, record = self._rollback_of(name, records)
            self._before_change(records)
            try:
                result = self.runner().run(item, record, DOWN)
            except Taken:
                continue
            self.progress(result)
            return result

    def rehearse_up(self, to: int | None) -> list[Result]:
        """Execute `up` without effect, as far as the database can."""
        records, plan = self._plan(to)
        results = self._rehearse(plan.items, records, UP) if plan.items else []
        for result in results:
            self.progress(result)
        return results

    def rehearse_down(self, name: str) -> Result:
        """Execute `down` without effect, as far as the database can."""
        records = self.settled_records()
        item, _ = self._rollback_of(name, records)
        return self._rehearse([item], records, DOWN)[0]

    def settled_records(self) -> dict[str, Record]:
        """Return the rows; if a migration seems half done, wait first for a runner that may still work on it."""
        self.engine.changed_by_others()
        records = self.history.load()
        if any(record.state in HALF_DONE for record in records.values()):
            with self.engine.journal_lock(self.settings.wait_s, self.clock):
                records = self.history.load()
        if changes(self.migrations, records):
            # Another runner may have applied a file that was written after the folder was read.
            self.migrations = self.scan()
            self._prepared.clear()
        return records

    def runner(self) -> Runner:
        """Return a runner for single migrations, with the limits of the settings."""
        chosen = self.settings
        limits = Limits(chosen.lock_timeout_s, chosen.statement_timeout_s)
        context = Context(self.engine, self.history, self.clock, limits, chosen.retries, chosen.wait_s)
        return Runner(context)

    def _plan(self, to: int | None) -> tuple[dict[str, Record], Plan]:
        records = self.settled_records()
        plan = make_plan(
            self.migrations,
            records,
            self.engine.dialect,
            to=to,
            out_of_order=self.settings.out_of_order,
            lint=self.settings.lint and not self._began,
            prepared=self._prepared,
        )
        if not self._began:
            for warning in plan.warnings:
                self.notice(warning)
        return records, plan

    def _run(self, plan: Plan, records: Mapping[str, Record], tx: str) -> Iterator[Result]:
        runner = self.runner()
        if tx == "all":
            yield from runner.run_all(plan.items, records)
            return
        few = len(plan.items) <= ALL_SNAPSHOTS_UP_TO
        recorded = frozenset(item.migration.name for item in (plan.items if few else plan.items[-1:]))
        yield from runner.run_each(plan.items, records, recorded)

    def _before_change(self, records: Mapping[str, Record]) -> None:
        """Save the database, create the history, and report changes made outside of migrator; only once."""
        if self._began:
            return
        self._began = True
        wanted = self.settings.backup
        if wanted or (wanted is None and self.engine.dialect == "sqlite"):
            saved = self.engine.backup(self.settings.backup_folder, f"{self.clock.now():%Y%m%d_%H%M%S}")
            if saved is not None:
                self.notice(f"saved what was there to {saved}")
        self.history.create()
        newest = newest_of(records)
        if newest is None or newest.schema_hash is None:
            return  # the recorded catalog is older than the last migration
        for message in _drift(self.engine, self.history):
            self.notice(f"changed by another hand since the last migration: {message}")
            self.history.add_line("", "drift", detail=message)

    def _rehearse(self, items: Sequence[Prepared], records: Mapping[str, Record], direction: Direction) -> list[Result]:
        engine = self.engine
        if engine.rehearsal == "none":
            return [Result(item.migration.name, _not_executed(engine, item), "not_executed") for item in items]
        if engine.rehearsal == "transaction":
            return self.runner().rehearse(items, records, direction)
        with temporary_folder() as folder, engine.copy(folder) as copy:
            history = History(copy, self.clock, self.history.who)
            history.create()
            copy.changed_by_others()
            runner = replace(self, engine=copy, history=history).runner()
            runner.context.rehearsing = True
            done = [runner.run(item, records.get(item.migration.name), direction, snapshot=False) for item in items]
        return [Result(each.migration, "executed on a copy", "executed", each.duration_ms) for each in done]

    def _rollback_of(self, name: str, records: Mapping[str, Record]) -> tuple[Prepared, Record]:
        """Return the rollback to run and the row to change; raise an error for every reason against running it."""
        migrations = self.migrations
        if half := next((each for each in records.values() if each.state in HALF_DONE), None):
            raise NeedsRepair(
                half_done(half), hint=f"migrator repair {half.name} --retry | --mark-applied | --mark-pending"
            )
        stem = name.removesuffix(".sql") + ".sql"
        if stem in records and all(each.name != stem for each in migrations):
            raise ChangedError(f"{stem} is applied, and its file is gone", hint="bring the file and its rollback back")
        migration = find(migrations, name)
        record = records.get(migration.name)
        if record is None or record.state not in DONE:
            raise MigrationError(f"{migration.name} is not applied", hint="migrator status")
        if migration.script.directives.irreversible:
            raise MigrationError(f"{migration.name} says that it is irreversible", hint="restore a backup instead")
        if migration.rollback is None:
            raise MigrationError(
                f"{migration.name} has no rollback",
                hint=f"migrator new {migration.slug}_rollback, and write what undoes it",
            )
        applied = [each for each in migrations if each.name in records and records[each.name].state in DONE]
        for other in applied:
            if other is not migration and any(
                find(migrations, text) is migration for text in other.script.directives.requires
            ):
                raise OrderError(f"{other.name} requires {migration.name}", hint=f"migrator down {other.name}")
        newer = [each.name for each in applied if (each.version or 0) > (migration.version or 0)]
        if newer and not migration.repeatable and self.settings.out_of_order != "allow":
            message = f"{', '.join(newer)} came after {migration.name} and is applied"
            if self.settings.out_of_order == "error":
                raise OrderError(message, hint=f"migrator down {newer[-1]}; or say --out-of-order allow")
            self.notice(message)
        return prepare_rollback(migration, migration.rollback, self.engine.dialect), record


def _drift(engine: Engine, history: History) -> list[str]:
    """Describe the changes made outside of migrator since the last recorded catalog; empty without such a catalog."""
    import json

    from kbstore.migrator.catalog import compare

    recorded = history.recorded_catalog()
    if recorded is None:
        return []
    return [difference.message for difference in compare(json.loads(recorded[2]), live_catalog(engine))]


def _not_executed(engine: Engine, item: Prepared) -> str:
    sql = "\n".join(f"{statement.text};" for statement in item.statements)
    return f"not executed, since {engine.url.dialect} cannot take DDL back; would run:\n{engine.url.redact(sql)}"
