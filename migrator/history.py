"""The history of a database: one row for each migration, and an append-only log.

States of a row, and the states that may follow:

==================  ============================================================  ===============================
state               meaning                                                       next
==================  ============================================================  ===============================
(no row)            pending                                                       applied, running, baseline
running             running statement by statement; `statements_done` are done    applied, failed
failed              as running, and the next statement was refused                running (repair --retry)
applied             done                                                          rolled_back, reverting
baseline            recorded as applied by `baseline`; never run here             rolled_back, reverting
reverting           the rollback is running statement by statement                rolled_back, revert_failed
revert_failed       as reverting, and the next statement was refused              reverting (repair --retry)
rolled_back         pending again                                                 applied, running
==================  ============================================================  ===============================

A migration in one transaction writes the row first in this transaction. The row's key then stops a second runner even
if locks fail, and no reader ever sees running, failed, reverting or revert_failed.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kbstore.migrator._version import __version__
from kbstore.migrator.clock import Clock, format_time
from kbstore.migrator.engines.contract import DatabaseFault, Engine, Limits
from kbstore.migrator.errors import MigrationError, NeedsRepair
from kbstore.migrator.files import Migration

TABLE = "schema_migrations"
LOG = "schema_migrations_log"
CATALOG = "schema_migrations_catalog"
OWN_TABLES = (TABLE, LOG, CATALOG)

DONE = frozenset({"applied", "baseline"})
HALF_DONE = frozenset({"running", "failed", "reverting", "revert_failed"})

COLUMNS = (
    "name",
    "version",
    "checksum",
    "state",
    "applied_at",
    "duration_ms",
    "applied_by",
    "statements_done",
    "statement_hashes",
    "error",
    "schema_hash",
    "tool_version",
)
LOG_COLUMNS = (
    "id",
    "at",
    "name",
    "event",
    "checksum",
    "statements_done",
    "duration_ms",
    "done_by",
    "detail",
    "tool_version",
)
_ATTEMPTS = 8
_FOREIGN = {("version",): "dbmate", ("version", "dirty"): "golang-migrate"}


class Record(NamedTuple):
    """A row of the history; the fields are the columns.

    Attributes:
        version: The number in the name, or `None` for a repeatable migration.
        checksum: The checksum of the file that was run.
        applied_at: The time when the migration reached the state, RFC 3339 in UTC.
        statements_done: The number of finished statements of the file (while reverting, of the rollback).
        statement_hashes: The hashes of the finished statements, in order, separated by blanks.
        schema_hash: The hash of the catalog after the migration, or `None` if the catalog was not recorded.
    """

    name: str
    version: int | None
    checksum: str
    state: str
    applied_at: str
    duration_ms: int
    applied_by: str
    statements_done: int
    statement_hashes: str
    error: str | None
    schema_hash: str | None
    tool_version: str


class Taken(MigrationError):
    """Another runner changed the history first; the caller must read the history again."""

    def __init__(self) -> None:
        super().__init__("another runner changed the history at this moment", hint="the same command again")


class History:
    """The history in one database.

    Args:
        engine: An opened engine.
        clock: Gives the times to record.
        who: The user to record.
    """

    def __init__(self, engine: Engine, clock: Clock, who: str) -> None:
        self._engine = engine
        self._clock = clock
        self.who = who
        self._table, self._log, self._catalog = map(engine.table, OWN_TABLES)

    def exists(self) -> bool:
        """Return whether the history exists.

        Raises:
            MigrationError: Another tool made a table with the same name.
        """
        columns = self._engine.columns(TABLE)
        if not columns:
            return False
        if set(COLUMNS) <= set(columns):
            return True
        tool = self.foreign_tool()
        whose = f"as {tool} does" if tool else f"with the columns {', '.join(columns)}"
        raise MigrationError(
            f"{self._engine.url.shown} has a table {TABLE} that is laid out {whose}",
            hint=f"migrator baseline --from {tool} takes over what it says"
            if tool
            else "rename it; migrator keeps its history under this name",
        )

    def foreign_tool(self) -> str | None:
        """Return the name of the other tool that made the table, or `None` if the columns are not known."""
        return _FOREIGN.get(tuple(self._engine.columns(TABLE)))

    def foreign_versions(self) -> tuple[list[int], bool]:
        """Return the versions in another tool's table, and whether all versions are listed.

        dbmate lists each version. golang-migrate lists only the newest version.

        Raises:
            NeedsRepair: According to the table, a migration is half done.
            MigrationError: The table contains a value that is not a version.
        """
        if self.foreign_tool() == "golang-migrate":
            rows = self._engine.query(f"SELECT version, dirty FROM {self._table}")  # noqa: S608 - a quoted name
            if any(dirty for _, dirty in rows):
                raise NeedsRepair(
                    f"golang-migrate says that its version {rows[0][0]} is dirty",
                    hint="settle that with golang-migrate",
                )
            return [int(version) for version, _ in rows], False
        rows = self._engine.query(f"SELECT version FROM {self._table}")  # noqa: S608
        try:
            return sorted(int(str(row[0]).replace("_", "")) for row in rows), True
        except ValueError as fault:
            raise MigrationError(f"the table {TABLE} holds what is no version: {fault}") from fault

    def set_foreign_aside(self) -> str:
        """Rename another tool's table; return the new name."""
        name = f"{TABLE}_{(self.foreign_tool() or 'other').replace('-', '_')}"
        new = name if self._engine.dialect != "mysql" else self._engine.table(name)
        self._engine.change(f"ALTER TABLE {self._table} RENAME TO {new}")
        return name

    def create(self) -> None:
        """Create missing tables, in a transaction. Several runners may do so at the same time."""
        for attempt in range(_ATTEMPTS):
            try:
                if self.exists():
                    return
                self._engine.begin(Limits())
                self.create_within()
                self._engine.commit()
                return
            except DatabaseFault as fault:
                self._engine.rollback()
                # PostgreSQL's IF NOT EXISTS fails if another session makes the table at the same time.
                if attempt == _ATTEMPTS - 1 or fault.kind not in ("taken", "lock"):
                    raise

    def create_within(self) -> None:
        """Create missing tables inside the present transaction."""
        if self.exists():
            return
        text, moment, end = self._engine.text_type, self._engine.time_type, self._engine.table_options
        identity = {
            "sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT",
            "postgresql": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
            "mysql": "BIGINT AUTO_INCREMENT PRIMARY KEY",
        }[self._engine.dialect]
        log = (
            f"CREATE TABLE IF NOT EXISTS {self._log} (id {identity}, at {moment} NOT NULL, name VARCHAR(255) NOT NULL,"
            " event VARCHAR(20) NOT NULL, checksum VARCHAR(80), statements_done INTEGER, duration_ms BIGINT,"
            f" done_by VARCHAR(255) NOT NULL, detail {text}, tool_version VARCHAR(40) NOT NULL){end}"
        )
        catalog = (
            f"CREATE TABLE IF NOT EXISTS {self._catalog} (name VARCHAR(255) NOT NULL PRIMARY KEY,"
            f" schema_hash VARCHAR(80) NOT NULL, catalog {text} NOT NULL){end}"
        )
        table = (
            f"CREATE TABLE IF NOT EXISTS {self._table} (name VARCHAR(255) NOT NULL PRIMARY KEY, version BIGINT,"
            f" checksum VARCHAR(80) NOT NULL, state VARCHAR(20) NOT NULL, applied_at {moment} NOT NULL,"
            " duration_ms BIGINT NOT NULL, applied_by VARCHAR(255) NOT NULL, statements_done INTEGER NOT NULL,"
            f" statement_hashes {text} NOT NULL, error {text}, schema_hash VARCHAR(80),"
            f" tool_version VARCHAR(40) NOT NULL){end}"
        )
        for sql in (log, catalog, table):
            self._engine.change(sql)

    def load(self) -> dict[str, Record]:
        """Return all rows by name; empty without a history. Cost: two queries."""
        if not self.exists():
            return {}
        rows = self._engine.query(f"SELECT {', '.join(COLUMNS)} FROM {self._table}")  # noqa: S608
        at = COLUMNS.index("applied_at")
        return {row[0]: Record(*(*row[:at], _time(row[at]), *row[at + 1 :])) for row in rows}

    def log(self) -> list[dict[str, Any]]:
        """Return all lines of the log, oldest first."""
        if not self.exists():
            return []
        rows = self._engine.query(f"SELECT {', '.join(LOG_COLUMNS)} FROM {self._log} ORDER BY id")  # noqa: S608
        return [{**dict(zip(LOG_COLUMNS, row, strict=True)), "at": _time(row[1])} for row in rows]

    def put(self, migration: Migration, state: str, before: Record | None, *, checksum: str | None = None) -> None:
        """Write the row of a migration at the start of a run: insert the row, or change the row that was read.

        Raises:
            Taken: Another runner wrote the row in the meantime.
        """
        checksum = checksum or migration.script.checksum
        now = self._engine.time_value(format_time(self._clock.now()))
        if before is None:
            try:
                self._engine.change(
                    f"INSERT INTO {self._table} ({', '.join(COLUMNS)})"  # noqa: S608
                    f" VALUES ({', '.join('?' * len(COLUMNS))})",
                    (
                        migration.name,
                        migration.version,
                        checksum,
                        state,
                        now,
                        0,
                        self.who,
                        0,
                        "",
                        None,
                        None,
                        __version__,
                    ),
                )
            except DatabaseFault as fault:
                if fault.kind == "taken":
                    raise Taken from fault
                raise
            return
        changed = self._engine.change(
            f"UPDATE {self._table} SET checksum = ?, state = ?, applied_at = ?, duration_ms = 0, applied_by = ?,"  # noqa: S608
            " statements_done = 0, statement_hashes = '', error = NULL, schema_hash = NULL, tool_version = ?"
            " WHERE name = ? AND state = ? AND checksum = ?",
            (checksum, state, now, self.who, __version__, migration.name, before.state, before.checksum),
        )
        if changed != 1:
            raise Taken

    def update(self, name: str, **fields: Any) -> None:
        """Change columns of one row."""
        if "applied_at" in fields:
            fields["applied_at"] = self._engine.time_value(fields["applied_at"])
        if unknown := sorted(set(fields) - set(COLUMNS)):
            raise ValueError(f"the history has no columns {unknown}")
        sets = ", ".join(f"{column} = ?" for column in fields)
        self._engine.change(f"UPDATE {self._table} SET {sets} WHERE name = ?", (*fields.values(), name))  # noqa: S608

    def remove(self, name: str) -> None:
        """Delete the row of a migration, which is pending then; the log keeps its lines."""
        self._engine.change(f"DELETE FROM {self._table} WHERE name = ?", (name,))  # noqa: S608

    def add_line(
        self,
        name: str,
        event: str,
        *,
        checksum: str | None = None,
        statements_done: int | None = None,
        duration_ms: int | None = None,
        detail: str | None = None,
    ) -> None:
        """Add a line to the log."""
        now = self._engine.time_value(format_time(self._clock.now()))
        self._engine.change(
            f"INSERT INTO {self._log} ({', '.join(LOG_COLUMNS[1:])})"  # noqa: S608
            f" VALUES ({', '.join('?' * (len(LOG_COLUMNS) - 1))})",
            (now, name, event, checksum, statements_done, duration_ms, self.who, detail, __version__),
        )

    def record_catalog(self, name: str, schema_hash: str, catalog: str) -> None:
        """Store the catalog after a migration, in place of the catalog stored before."""
        self._engine.change(f"DELETE FROM {self._catalog}")  # noqa: S608
        self._engine.change(
            f"INSERT INTO {self._catalog} (name, schema_hash, catalog) VALUES (?, ?, ?)",  # noqa: S608
            (name, schema_hash, catalog),
        )

    def recorded_catalog(self) -> tuple[str, str, str] | None:
        """Return the stored catalog, or `None`: the last migration before it, the hash, and the catalog as JSON."""
        if not self._engine.columns(CATALOG):
            return None
        rows = self._engine.query(f"SELECT name, schema_hash, catalog FROM {self._catalog}")  # noqa: S608
        return (str(rows[0][0]), str(rows[0][1]), str(rows[0][2])) if rows else None


def newest_of(records: Mapping[str, Record]) -> Record | None:
    """Return the row written last. Without a `schema_hash`, the catalog was not recorded after this migration."""
    return max(records.values(), key=lambda each: (each.applied_at, each.schema_hash is not None), default=None)


def hash_of(statement: str) -> str:
    """Return the hash of a statement for the journal: 16 characters of a SHA-256."""
    return hashlib.sha256(statement.encode()).hexdigest()[:16]


def hashes_of(statements: Sequence[str]) -> str:
    """Return the hashes of several statements in the form of the history: separated by blanks."""
    return " ".join(map(hash_of, statements))


def default_who() -> str:
    """Return ``user@host``."""
    import getpass

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    host = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    return f"{user}@{host}"


def _time(value: Any) -> str:
    return value if isinstance(value, str) else format_time(value)
