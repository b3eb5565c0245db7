"""`DatabaseMigrator`: every operation of migrator, for programs and for the command line.

Each call opens a connection and closes it again, so the caller has nothing to close.
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
    """A migration and its state.

    Attributes:
        state: "changed" if the file differs from the applied file; "missing" if the file is gone; "pending" (also after
            a rollback, and for a repeatable file that changed); else the state in the history.
        applied_at: The time when the history reached the state, RFC 3339 in UTC, or `None`.
        error: The database's message at the last failure.
    """

    name: str
    state: str
    applied_at: str | None = None
    duration_ms: int | None = None
    applied_by: str | None = None
    statements_done: int | None = None
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary."""
        return self._asdict()


class DatabaseMigrator:
    """The migrations of one folder on one database.

    Args:
        db_url: A URL as in SQLAlchemy, or the path of a SQLite file.
        directory: The folder of the migrations, or ``builtin:NAME``.
        settings: Limits, order of files, backup and lint.
        clock: Gives versions and times; the machine's clock by default.
        who: The user to record; by default ``user@host``.
        progress: Called with each result as soon as the result is known.
        notice: Called with each sentence that a person should read besides the results.

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
        """The database's URL, without the password."""
        return self._url.shown

    @property
    def directory(self) -> str:
        """The folder of the migrations, as given."""
        return str(self._directory)

    # The user's guide

    def create_migration(self, name: str, sql: str) -> str:
        """Write the file of a new migration; run nothing.

        Args:
            name: The subject of the migration, such as ``add_orders``. A name ending in ``_rollback`` or ``_verify``
                makes a companion of the newest migration whose slug is the rest of the name.
            sql: The text of the file.

        Returns:
            The file's name: ``20250127_120000_add_orders.sql``.

        Raises:
            MigrationError: The name cannot be used in a file name, a companion has no migration, or the folder cannot
                be written.
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
        """Return the names of the migrations that `apply_all_pending` would run, in order."""
        from kbstore.migrator.plan import is_pending

        with self._opened() as (_, history):
            migrations, records = self._matched(history)
        return [each.name for each in migrations if is_pending(each, records.get(each.name))]

    def apply_all_pending(self, dry_run: bool = False) -> list[dict[str, Any]]:
        """Run every pending migration. Takes `dry_run` and raises errors as `up` does.

        Returns:
            A dictionary for each migration: ``migration``, ``message``, ``state`` and ``duration_ms``.
        """
        return [result.as_dict() for result in self.up(dry_run=dry_run)]

    def rollback_migration(self, name: str, dry_run: bool = False) -> dict[str, Any]:
        """Undo an applied migration as `down` does; return the result as a dictionary."""
        return self.down(name, dry_run=dry_run).as_dict()

    # Up and down

    def up(
        self, to: str | int | None = None, *, dry_run: bool = False, tx: Literal["each", "all"] = "each"
    ) -> "list[Result]":
        """Run pending migrations, in order. Every problem in files and history is found before anything runs.

        Args:
            to: The last version to run, as a number or as in the file's name; `None` for all.
            dry_run: Execute without effect. PostgreSQL executes in a transaction and rolls it back, SQLite executes on
                a copy. MariaDB and MySQL execute nothing: the results only show the SQL.
            tx: "each" for one transaction per migration, "all" for one transaction in total.

        Raises:
            StatementFailed: The database refused a statement.
            LockTimeout: Another runner, or another session, held a lock for too long.
            NeedsRepair: A migration is half done.
            ChangedError: An applied file changed or is gone.
            OrderError: A file comes before an applied file, or a required migration is missing.
            LintError: A lint rule reports an error.
            MigrationFileError: A file's name, encoding, directive or SQL is not accepted.
        """
        version = None if to is None else self._version(to)
        with self._working(create=not dry_run) as work:
            return work.rehearse_up(version) if dry_run else work.up(version, tx=tx)

    def down(self, name: str, *, dry_run: bool = False) -> "Result":
        """Undo an applied migration with its ``_rollback`` companion. The migration is pending afterwards.

        Args:
            name: The file's name, with or without ``.sql``, the version, or the slug.
            dry_run: As in `up`.

        Raises:
            MigrationError: The migration is not applied, is irreversible, or has no companion; and as in `up`.
        """
        with self._working() as work:
            return work.rehearse_down(name) if dry_run else work.down(name)

    # What is

    def migrations(self) -> list[Migration]:
        """Return the migrations of the folder, in order.

        Raises:
            MigrationFileError: A file's name, encoding or directive is not accepted.
        """
        return self._scan(must_exist=self._directory != DEFAULT_DIRECTORY)

    def _scan(self, *, must_exist: bool = True) -> list[Migration]:
        if must_exist and not open_directory(self._directory).is_dir():
            raise MigrationError(
                f"there is no folder {self.directory}", hint="migrator new makes it with the first file"
            )
        return scan(self._directory, self._url.dialect)

    def status(self) -> list[Entry]:
        """Return every migration with its state: first the files in order, then applied migrations without a file."""
        with self._opened() as (_, history):
            migrations, records = self._matched(history)
        entries = [_entry(each.name, records.get(each.name), each) for each in migrations]
        known = {each.name for each in migrations}
        gone = [each for each in records.values() if each.name not in known and each.state != "rolled_back"]
        return entries + [_entry(each.name, each, None) for each in sorted(gone, key=lambda each: each.name)]

    def history(self) -> list[dict[str, Any]]:
        """Return every line of the log, oldest first."""
        with self._opened() as (_, history):
            return history.log()

    def dump(self) -> str:
        """Return the schema of the database as text: a line for each object, in an order that depends on names only."""
        from kbstore.migrator.catalog import dump
        from kbstore.migrator.run.context import live_catalog

        with self._opened() as (engine, _):
            return dump(live_catalog(engine))

    def verify(self) -> "list[tuple[str, Problem | None]]":
        """Run the verify scripts of applied migrations, without effect.

        Returns:
            A pair for each migration with a verify script, and for each changed or missing file: the name, and the
            problem or `None`.
        """
        from kbstore.migrator import doctor as inspection

        with self._opened() as (engine, history):
            migrations, records = self._matched(history)
            return list(inspection.verify(engine, migrations, records, self._limits))

    def doctor(self) -> "list[Problem]":
        """Return every problem between files, history and database, the most serious first."""
        from kbstore.migrator import doctor as inspection

        with self._opened() as (engine, history):
            migrations, records = self._matched(history)
            return list(inspection.doctor(engine, history, migrations, records))

    def lint(self) -> "list[Finding]":
        """Return the findings of the lint rules in the folder's migrations, in order; no database is needed.

        On PostgreSQL the findings of squawk are included if squawk is installed.

        Raises:
            MigrationFileError: A file cannot be split into statements. Rollbacks are split too, to find an error before
                a rollback is needed.
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
            name: The file's name, the version, or the slug.
            action: "retry" continues after the last finished statement; "mark-applied" records the migration as
                applied, with file and database as they are now; "mark-pending" records it as not applied.

        Raises:
            NeedsRepair: The file no longer begins with the statements that were run, or an INVALID index is left:
                `retry` is not possible.
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
        """Begin the history of a database that already has a schema; run nothing.

        Args:
            version: Record every migration up to this version as applied.
            tool: "dbmate" or "golang-migrate": record the versions in the table of that tool, and rename the table.

        Raises:
            MigrationError: A history exists already, or neither or both arguments are given; and as `up`.
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
        """Return folder and history; read the folder again if another runner applied a new file in between."""
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
