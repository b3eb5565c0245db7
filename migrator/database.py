"""`DatabaseMigrator`: all that a program or the command line can ask for.

Each call opens its own connection and closes it, so nothing has to be closed by the caller.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from migrator import inspection, repair
from migrator.clock import Clock, SystemClock
from migrator.engines import Engine, Limits, make_engine
from migrator.errors import ChangedError, MigrationError, NeedsRepair, OrderError
from migrator.files import BUILTIN, Migration, find, new_name, open_directory, scan
from migrator.history import DONE, HALF_DONE, History, Record, Taken, default_who
from migrator.inspection import Problem
from migrator.plan import Plan, Prepared, half_done, is_pending, lint_subject, make_plan, prepare_rollback
from migrator.runner import DOWN, UP, Direction, Result, Runner, live_catalog
from migrator.settings import DEFAULTS, Settings
from migrator.urls import DEFAULT_URL, parse_url

if TYPE_CHECKING:
    from migrator.lint import Finding

DEFAULT_DIRECTORY = "./migrations"
ALL_SNAPSHOTS_UP_TO = 20
"""In a run of more migrations than this the catalog is recorded after the last one only."""


@dataclass(frozen=True)
class Entry:
    """A migration and how it stands.

    Attributes:
        state: That of the history; or "pending" (also where it was rolled back), "changed" or "missing" where the file
            is not what was applied.
        applied_at: RFC 3339 in UTC, or None.
        error: What the database said when it failed last.
    """

    name: str
    state: str
    applied_at: str | None = None
    duration_ms: int | None = None
    applied_by: str | None = None
    statements_done: int | None = None
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Its fields."""
        return dict(self.__dict__)


class DatabaseMigrator:
    """Migrations of one folder on one database.

    Args:
        db_url: As SQLAlchemy writes it, or the path of a SQLite file.
        directory: The folder of the migrations, or ``builtin:NAME``.
        settings: See `Settings`.
        clock: Where versions and times come from.
        who: Who is recorded; by default ``user@host``.
        progress: Is told each result as it comes.
        notice: Is told, in a sentence, what a person should know beside the results.

    Raises:
        MigrationError: The URL is not understood.
    """

    def __init__(
        self,
        db_url: str = DEFAULT_URL,
        directory: str | Path = DEFAULT_DIRECTORY,
        *,
        settings: Settings = DEFAULTS,
        clock: Clock | None = None,
        who: str | None = None,
        progress: Callable[[Result], None] = lambda _: None,
        notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._url = parse_url(db_url)
        self._directory = directory
        self._settings = settings
        self._clock = clock or SystemClock()
        self._who = who
        self._progress = progress
        self._notice = notice

    @property
    def url(self) -> str:
        """The database's URL, without its password."""
        return self._url.shown

    @property
    def directory(self) -> str:
        """The folder of the migrations, as it was given."""
        return str(self._directory)

    # The user's guide

    def create_migration(self, name: str, sql: str) -> str:
        """Write a new migration; nothing is run.

        Args:
            name: What it is about: ``add_orders``. Ending in ``_rollback`` or ``_verify``, it becomes the companion of
                the newest migration whose slug is the rest.
            sql: Its text.

        Returns:
            The file's name: ``20250127_120000_add_orders.sql``.

        Raises:
            MigrationError: The name makes no file name, a companion has no migration, or the folder cannot be written.
        """
        if self.directory.startswith(BUILTIN):
            raise MigrationError(
                f"nothing is written to {self.directory}",
                hint="copy the files to a folder of your own, and name it by --dir",
            )
        folder = Path(self._directory)
        text = sql.strip("\n").rstrip() + "\n"
        while True:
            made = new_name(name, folder, self._clock.now())
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with (folder / made).open("x", encoding="utf-8", newline="\n") as file:
                    file.write(text)
            except FileExistsError:
                if not (folder / made).exists():
                    raise MigrationError(f"{folder} is not a folder") from None
                continue
            except OSError as fault:
                raise MigrationError(f"cannot write {folder / made}: {fault.strerror}") from fault
            return made

    def get_pending_migrations(self) -> list[str]:
        """Names of the migrations that `apply_all_pending` would run, in that order."""
        migrations = self.migrations()
        with self._opened() as (_, history):
            records = history.load()
        return [each.name for each in migrations if is_pending(each, records.get(each.name))]

    def apply_all_pending(self, dry_run: bool = False) -> list[dict[str, Any]]:
        """Run every pending migration; see `up`.

        Returns:
            For each its ``migration``, ``message``, ``state`` and ``duration_ms``.
        """
        return [result.as_dict() for result in self.up(dry_run=dry_run)]

    def rollback_migration(self, name: str, dry_run: bool = False) -> dict[str, Any]:
        """Undo an applied migration by its ``_rollback`` companion; see `down`."""
        return self.down(name, dry_run=dry_run).as_dict()

    # Up and down

    def up(
        self, to: str | int | None = None, *, dry_run: bool = False, tx: Literal["each", "all"] = "each"
    ) -> list[Result]:
        """Run what is pending, in order. Whatever is not as it should be is found before anything runs.

        Args:
            to: The last version to run, as a number or as in the file's name; None for all.
            dry_run: Execute without effect: PostgreSQL in a transaction that is rolled back, SQLite on a copy;
                MariaDB and MySQL cannot, and only say what would be run.
            tx: A transaction for each migration, or one for all.

        Raises:
            StatementFailed: The database refused a statement.
            LockTimeout: Another runner, or another session, held a lock for too long.
            NeedsRepair: A migration is half done.
            ChangedError: An applied file changed or is gone.
            OrderError: A file comes before one that is applied, or lacks what it requires.
            LintError: A rule finds fault.
            MigrationFileError: A file cannot be taken as it is.
        """
        version = None if to is None else self._version(to)
        migrations = self.migrations()
        with self._opened(create=not dry_run) as (engine, history), engine.lock(self._settings.wait_s, self._clock):
            if dry_run:
                return self._rehearse_up(engine, history, migrations, version)
            results: list[Result] = []
            while True:
                records, plan = self._plan(engine, history, migrations, version)
                if not plan.items:
                    return results
                if not results:
                    self._before_change(engine, history)
                try:
                    for result in self._run(self._runner(engine, history), plan, records, tx):
                        results.append(result)
                        self._progress(result)
                except Taken:
                    continue
                return results

    def down(self, name: str, *, dry_run: bool = False) -> Result:
        """Undo an applied migration by its ``_rollback`` companion. It is pending afterwards.

        Args:
            name: Its name, with or without ``.sql``, its version, or its slug.
            dry_run: As in `up`.

        Raises:
            MigrationError: It is not applied, cannot be undone, or has no companion; and as in `up`.
        """
        migrations = self.migrations()
        with self._opened() as (engine, history), engine.lock(self._settings.wait_s, self._clock):
            while True:
                engine.changed_by_others()
                records = self._settled_records(engine, history)
                item, record = self._rollback_of(name, migrations, records, engine.dialect)
                if dry_run:
                    return self._rehearse(engine, history, [item], records, DOWN)[0]
                self._before_change(engine, history)
                try:
                    result = self._runner(engine, history).run(item, record, DOWN)
                except Taken:
                    continue
                self._progress(result)
                return result

    # What is

    def migrations(self) -> list[Migration]:
        """The migrations of the folder, in order.

        Raises:
            MigrationFileError: A file cannot be taken as it is.
        """
        if self._directory != DEFAULT_DIRECTORY and not open_directory(self._directory).is_dir():
            raise MigrationError(
                f"there is no folder {self.directory}", hint="migrator new makes it with the first file"
            )
        return scan(self._directory, self._url.dialect)

    def status(self) -> list[Entry]:
        """Every migration and how it stands: those of the folder in order, then those whose file is gone."""
        migrations = self.migrations()
        with self._opened() as (_, history):
            records = history.load()
        entries = [_entry(each.name, records.get(each.name), each) for each in migrations]
        known = {each.name for each in migrations}
        gone = [each for each in records.values() if each.name not in known and each.state != "rolled_back"]
        return entries + [_entry(each.name, each, None) for each in sorted(gone, key=lambda each: each.name)]

    def history(self) -> list[dict[str, Any]]:
        """Everything that was ever done, oldest first: the lines of the log."""
        with self._opened() as (_, history):
            return history.log()

    def dump(self) -> str:
        """What is in the database now, as text: a line for each object, in the same order however it was made."""
        from migrator.catalog import dump

        with self._opened() as (engine, _):
            return dump(live_catalog(engine))

    def verify(self) -> list[tuple[str, Problem | None]]:
        """Run the verify scripts of what is applied, without effect.

        Returns:
            Each migration that has one, or whose file changed, and what is wrong with it or None.
        """
        migrations = self.migrations()
        with self._opened() as (engine, history):
            return list(inspection.verify(engine, migrations, history.load(), self._limits))

    def doctor(self) -> list[Problem]:
        """Everything that is wrong between files, history and database, the gravest first; empty where all is well."""
        migrations = self.migrations()
        with self._opened() as (engine, history):
            return list(inspection.doctor(engine, history, migrations, history.load()))

    def lint(self) -> "list[Finding]":
        """What rules find in the folder's migrations, in order; nothing is run, and no database is needed.

        On PostgreSQL the findings of squawk stand among them where it is installed.
        """
        from migrator.lint import lint, squawk

        findings = []
        for migration in self.migrations():
            subject = lint_subject(migration, self._url.dialect)
            found = lint(subject)
            if self._url.dialect == "postgresql":
                found += squawk(subject.file, subject.sql, transaction=subject.transaction, allow=subject.allow)
            findings += sorted(found)
        return findings

    # What a person decides

    def repair(self, name: str, action: Literal["retry", "mark-applied", "mark-pending"]) -> Result:
        """Settle a migration that is half done, changed or gone.

        Args:
            name: Its name, version or slug.
            action: Go on after its last statement that is done; take it for applied as its file and the database are
                now; or take it for not applied.

        Raises:
            NeedsRepair: What was done is not what the file begins with now, so it cannot go on.
            MigrationError: The action does not fit; and as `up`.
        """
        migrations = self.migrations()
        with self._opened(create=True) as (engine, history), engine.lock(self._settings.wait_s, self._clock):
            records = self._settled_records(engine, history)
            migration, record = repair.which(name, migrations, records)
            if action == "mark-pending":
                if record is None:
                    raise MigrationError(f"{name} is pending already", hint="migrator status")
                return repair.mark_pending(engine, history, record)
            if migration is None:
                raise ChangedError(f"the file of {name} is gone", hint="bring it back; or --mark-pending")
            if action == "mark-applied":
                return repair.mark_applied(engine, history, migration, record)
            return repair.retry(self._runner(engine, history), engine, migration, record)

    def baseline(self, version: str | int | None = None, *, tool: str | None = None) -> list[Result]:
        """Begin the history of a database that has its schema already; nothing is run.

        Args:
            version: Every migration up to this one is taken for applied.
            tool: "dbmate" or "golang-migrate": what their table says is taken over, and the table is renamed.

        Raises:
            MigrationError: There is a history already, or neither or both are given; and as `up`.
        """
        if (version is None) == (tool is None):
            raise MigrationError("a baseline takes a version, or the tool whose table says it", hint="give one of them")
        migrations = self.migrations()
        with self._opened(create=True) as (engine, history), engine.lock(self._settings.wait_s, self._clock):
            if tool is not None:
                chosen = repair.foreign_choice(history, tool, migrations)
                return repair.baseline(engine, history, {}, chosen, set_aside=True)
            newest = self._version(version or 0)
            if all(each.version != newest for each in migrations):
                raise MigrationError(f"there is no migration with the version {version}", hint="migrator status")
            chosen = [each for each in migrations if each.version is not None and each.version <= newest]
            return repair.baseline(engine, history, history.load(), chosen)

    # Inside

    @contextmanager
    def _opened(self, *, create: bool = False) -> Iterator[tuple[Engine, History]]:
        with make_engine(self._url) as engine:
            engine.open(create=create)
            yield engine, History(engine, self._clock, self._who or default_who())

    def _runner(self, engine: Engine, history: History) -> Runner:
        chosen = self._settings
        return Runner(engine, history, self._clock, self._limits, chosen.retries, chosen.wait_s)

    @property
    def _limits(self) -> Limits:
        return Limits(self._settings.lock_timeout_s, self._settings.statement_timeout_s)

    def _settled_records(self, engine: Engine, history: History) -> dict[str, Record]:
        """The history; where a migration seems half done, after whoever may be at work on it has ended."""
        records = history.load()
        if any(record.state in HALF_DONE for record in records.values()):
            with engine.journal_lock(self._settings.wait_s, self._clock):
                records = history.load()
        return records

    def _plan(
        self, engine: Engine, history: History, migrations: Sequence[Migration], to: int | None
    ) -> tuple[dict[str, Record], Plan]:
        engine.changed_by_others()
        records = self._settled_records(engine, history)
        plan = make_plan(
            migrations,
            records,
            engine.dialect,
            to=to,
            out_of_order=self._settings.out_of_order,
            lint=self._settings.lint,
        )
        for warning in plan.warnings:
            self._notice(warning)
        return records, plan

    def _run(self, runner: Runner, plan: Plan, records: Mapping[str, Record], tx: str) -> Iterator[Result]:
        if tx == "all":
            yield from runner.run_all(plan.items, records)
            return
        few = len(plan.items) <= ALL_SNAPSHOTS_UP_TO
        for number, item in enumerate(plan.items, 1):
            yield runner.run(item, records.get(item.migration.name), UP, snapshot=few or number == len(plan.items))

    def _before_change(self, engine: Engine, history: History) -> None:
        """Save the database, make the history, and note what somebody else changed since it was recorded."""
        wanted = self._settings.backup
        if wanted or (wanted is None and engine.dialect == "sqlite"):
            saved = engine.backup(self._settings.backup_folder, f"{self._clock.now():%Y%m%d_%H%M%S}")
            if saved is not None:
                self._notice(f"saved what was there to {saved}")
        history.create()
        for message in drift(engine, history):
            self._notice(f"changed by another hand since the last migration: {message}")
            history.add_line("", "drift", detail=message)

    def _rehearse_up(
        self, engine: Engine, history: History, migrations: Sequence[Migration], to: int | None
    ) -> list[Result]:
        records, plan = self._plan(engine, history, migrations, to)
        results = self._rehearse(engine, history, plan.items, records, UP) if plan.items else []
        for result in results:
            self._progress(result)
        return results

    def _rehearse(
        self,
        engine: Engine,
        history: History,
        items: Sequence[Prepared],
        records: Mapping[str, Record],
        direction: Direction,
    ) -> list[Result]:
        if engine.rehearsal == "none":
            return [Result(item.migration.name, _not_executed(engine, item), "not_executed") for item in items]
        if engine.rehearsal == "transaction":
            return self._runner(engine, history).rehearse(items, records, direction)
        with tempfile.TemporaryDirectory(prefix="migrator") as folder, engine.copy(Path(folder)) as copy:
            copied = History(copy, self._clock, history.who)
            copied.create()
            copy.changed_by_others()
            runner = self._runner(copy, copied)
            runner.rehearsing = True
            done = [runner.run(item, records.get(item.migration.name), direction, snapshot=False) for item in items]
        return [Result(each.migration, "executed on a copy", "executed", each.duration_ms) for each in done]

    def _rollback_of(
        self, name: str, migrations: Sequence[Migration], records: Mapping[str, Record], dialect: str
    ) -> tuple[Prepared, Record]:
        """The rollback to run, and the row that it changes; with every reason not to."""
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
        if newer and not migration.repeatable and self._settings.out_of_order != "allow":
            message = f"{', '.join(newer)} came after {migration.name} and is applied"
            if self._settings.out_of_order == "error":
                raise OrderError(message, hint=f"migrator down {newer[-1]}; or say --out-of-order allow")
            self._notice(message)
        return prepare_rollback(migration, migration.rollback, dialect), record

    def _version(self, to: str | int) -> int:
        from migrator.files import parse_version

        return to if isinstance(to, int) else parse_version(to)


def drift(engine: Engine, history: History) -> list[str]:
    """What somebody else changed in the database since its catalog was recorded; nothing where it never was."""
    from migrator.catalog import compare

    recorded = history.recorded_catalog()
    if recorded is None:
        return []
    return [difference.message for difference in compare(json.loads(recorded[2]), live_catalog(engine))]


def _entry(name: str, record: Record | None, migration: Migration | None) -> Entry:
    if record is None:
        return Entry(name, "pending")
    state = record.state
    if state == "rolled_back":
        state = "pending"
    elif state in DONE and migration is None:
        state = "missing"
    elif state in DONE and migration is not None and migration.script.checksum != record.checksum:
        state = "pending" if migration.repeatable else "changed"
    return Entry(
        name, state, record.applied_at, record.duration_ms, record.applied_by, record.statements_done, record.error
    )


def _not_executed(engine: Engine, item: Prepared) -> str:
    sql = "\n".join(f"{statement.text};" for statement in item.statements)
    return f"not executed, since {engine.url.dialect} cannot take DDL back; would run:\n{engine.url.redact(sql)}"
