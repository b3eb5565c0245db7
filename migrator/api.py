"""`DatabaseMigrator`: all that a program or the command line can ask for.

Each call opens its own connection and closes it, so nothing has to be closed by the caller.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from kbstore.migrator.clock import Clock, SystemClock
from kbstore.migrator.engines import Engine, Limits, make_engine
from kbstore.migrator.errors import ChangedError, MigrationError
from kbstore.migrator.files import BUILTIN, Migration, new_name, open_directory, scan
from kbstore.migrator.history import DONE, History, Record, default_who
from kbstore.migrator.settings import DEFAULTS, Settings
from kbstore.migrator.urls import DEFAULT_URL, parse_url

if TYPE_CHECKING:
    from kbstore.migrator.doctor import Problem
    from kbstore.migrator.lint import Finding
    from kbstore.migrator.operations import Work
    from kbstore.migrator.outcome import Result

DEFAULT_DIRECTORY = "./migrations"


class Entry(NamedTuple):
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
        return self._asdict()


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
        progress: "Callable[[Result], None]" = lambda _: None,
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
        from kbstore.migrator.plan import is_pending

        with self._opened() as (_, history):
            migrations, records = self._matched(history)
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
    ) -> "list[Result]":
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
        with self._working(create=not dry_run) as work:
            return work.rehearse_up(version) if dry_run else work.up(version, tx=tx)

    def down(self, name: str, *, dry_run: bool = False) -> "Result":
        """Undo an applied migration by its ``_rollback`` companion. It is pending afterwards.

        Args:
            name: Its name, with or without ``.sql``, its version, or its slug.
            dry_run: As in `up`.

        Raises:
            MigrationError: It is not applied, cannot be undone, or has no companion; and as in `up`.
        """
        with self._working() as work:
            return work.rehearse_down(name) if dry_run else work.down(name)

    # What is

    def migrations(self) -> list[Migration]:
        """The migrations of the folder, in order.

        Raises:
            MigrationFileError: A file cannot be taken as it is.
        """
        return self._scan(must_exist=self._directory != DEFAULT_DIRECTORY)

    def _scan(self, *, must_exist: bool = True) -> list[Migration]:
        if must_exist and not open_directory(self._directory).is_dir():
            raise MigrationError(
                f"there is no folder {self.directory}", hint="migrator new makes it with the first file"
            )
        return scan(self._directory, self._url.dialect)

    def status(self) -> list[Entry]:
        """Every migration and how it stands: those of the folder in order, then those whose file is gone."""
        with self._opened() as (_, history):
            migrations, records = self._matched(history)
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
        from kbstore.migrator.catalog import dump
        from kbstore.migrator.run.context import live_catalog

        with self._opened() as (engine, _):
            return dump(live_catalog(engine))

    def verify(self) -> "list[tuple[str, Problem | None]]":
        """Run the verify scripts of what is applied, without effect.

        Returns:
            Each migration that has one, or whose file changed, and what is wrong with it or None.
        """
        from kbstore.migrator import doctor as inspection

        with self._opened() as (engine, history):
            migrations, records = self._matched(history)
            return list(inspection.verify(engine, migrations, records, self._limits))

    def doctor(self) -> "list[Problem]":
        """Everything that is wrong between files, history and database, the gravest first; empty where all is well."""
        from kbstore.migrator import doctor as inspection

        with self._opened() as (engine, history):
            migrations, records = self._matched(history)
            return list(inspection.doctor(engine, history, migrations, records))

    def lint(self) -> "list[Finding]":
        """What rules find in the folder's migrations, in order; nothing is run, and no database is needed.

        On PostgreSQL the findings of squawk stand among them where it is installed.

        Raises:
            MigrationFileError: A file cannot be split; also a rollback, before the day on which it is needed.
        """
        from kbstore.migrator.lint import lint, squawk
        from kbstore.migrator.plan import lint_subject, prepare, prepare_rollback

        findings = []
        for migration in self.migrations():
            item = prepare(migration, self._url.dialect)
            if migration.rollback is not None:
                prepare_rollback(migration, migration.rollback, self._url.dialect)
            subject = lint_subject(migration, self._url.dialect, item.statements)
            found = lint(subject)
            if self._url.dialect == "postgresql":
                found += squawk(subject.file, subject.sql, transaction=subject.transaction, allow=subject.allow)
            findings += sorted(found)
        return findings

    # What a person decides

    def repair(self, name: str, action: Literal["retry", "mark-applied", "mark-pending"]) -> "Result":
        """Settle a migration that is half done, changed or gone.

        Args:
            name: Its name, version or slug.
            action: Go on after its last statement that is done; take it for applied as its file and the database are
                now; or take it for not applied.

        Raises:
            NeedsRepair: What was done is not what the file begins with now, so it cannot go on.
            MigrationError: The action does not fit; and as `up`.
        """
        from kbstore.migrator import repair

        with self._working(create=True) as work:
            records = work.settled_records()  # first: it may read the folder again
            migration, record = repair.which(name, work.migrations, records)
            if action == "mark-pending":
                if record is None:
                    raise MigrationError(f"{name} is pending already", hint="migrator status")
                return repair.mark_pending(work.engine, work.history, record)
            if migration is None:
                raise ChangedError(f"the file of {name} is gone", hint="bring it back; or --mark-pending")
            if action == "mark-applied":
                return repair.mark_applied(work.engine, work.history, migration, record)
            return repair.retry(work.runner(), work.engine, migration, record)

    def baseline(self, version: str | int | None = None, *, tool: str | None = None) -> "list[Result]":
        """Begin the history of a database that has its schema already; nothing is run.

        Args:
            version: Every migration up to this one is taken for applied.
            tool: "dbmate" or "golang-migrate": what their table says is taken over, and the table is renamed.

        Raises:
            MigrationError: There is a history already, or neither or both are given; and as `up`.
        """
        if (version is None) == (tool is None):
            raise MigrationError("a baseline takes a version, or the tool whose table says it", hint="give one of them")
        from kbstore.migrator import repair

        with self._working(create=True) as work:
            if tool is not None:
                chosen = repair.foreign_choice(work.history, tool, work.migrations)
                return repair.baseline(work.engine, work.history, {}, chosen, set_aside=True)
            newest = self._version(version or 0)
            if all(each.version != newest for each in work.migrations):
                raise MigrationError(f"there is no migration with the version {version}", hint="migrator status")
            chosen = [each for each in work.migrations if each.version is not None and each.version <= newest]
            return repair.baseline(work.engine, work.history, work.history.load(), chosen)

    # Inside

    @contextmanager
    def _opened(self, *, create: bool = False) -> Iterator[tuple[Engine, History]]:
        with make_engine(self._url) as engine:
            engine.open(create=create)
            if warning := engine.warning():
                self._notice(warning)
            yield engine, History(engine, self._clock, self._who or default_who())

    @contextmanager
    def _working(self, *, create: bool = False) -> "Iterator[Work]":
        from kbstore.migrator.operations import Work

        migrations = self._scan()
        with self._opened(create=create) as (engine, history), engine.lock(self._settings.wait_s, self._clock):
            yield Work(
                engine, history, migrations, self._scan, self._settings, self._clock, self._progress, self._notice
            )

    def _matched(self, history: History) -> tuple[list[Migration], dict[str, Record]]:
        """The folder and the history; read again if another runner applied what was written in between."""
        migrations, records = self.migrations(), history.load()
        from kbstore.migrator.plan import changes

        return (self.migrations() if changes(migrations, records) else migrations), records

    @property
    def _limits(self) -> Limits:
        return Limits(self._settings.lock_timeout_s, self._settings.statement_timeout_s)

    def _version(self, to: str | int) -> int:
        from kbstore.migrator.files import parse_version

        return to if isinstance(to, int) else parse_version(to)


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
