"""The state that outlives a round: results, memories of checks, notes, silences, alerts, remedies.

The state is an SQLite file in its own folder. It is a convenience, never a condition: if the file cannot be read
or written, the checks still run and report the truth, and the report carries a warning.
"""

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kbstore.health.errors import StateError
from kbstore.health.model import Outcome, Report, Status
from kbstore.kit.forks import close_before_forks, leak
from kbstore.kit.private_files import make_private_file, make_private_folder

FILE = "health.db"
_PROJECT = ".kbstore"
_FORMAT = 1
_DAY_S = 86_400.0
_SCHEMA = """
CREATE TABLE rounds(id INTEGER PRIMARY KEY, time REAL, overall TEXT, duration_s REAL);
CREATE TABLE results(time REAL, name TEXT, status TEXT, message TEXT, reason TEXT, duration_s REAL, metrics TEXT);
CREATE INDEX results_of ON results(name, time);
CREATE TABLE checks(name TEXT PRIMARY KEY, status TEXT, since REAL, ran REAL, remembered TEXT, standing TEXT);
CREATE TABLE notes(name TEXT, time REAL, text TEXT);
CREATE TABLE silences(name TEXT PRIMARY KEY, time REAL, until REAL, reason TEXT);
CREATE TABLE remedies(name TEXT, time REAL, command TEXT, code INTEGER, output TEXT);
CREATE TABLE outbox(id INTEGER PRIMARY KEY, sink TEXT, time REAL, body TEXT, tries INTEGER, due REAL, sent REAL,
 fault TEXT);
CREATE TABLE facts(name TEXT PRIMARY KEY, value TEXT);
"""
_STATEMENTS = [statement.strip() for statement in _SCHEMA.split(";\n") if statement.strip()]


@dataclass(frozen=True, slots=True)
class Past:
    """An old result."""

    time: datetime
    name: str
    status: Status
    message: str
    reason: str | None
    duration_s: float
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Note:
    """A person's note about a check."""

    name: str
    time: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Silence:
    """A time without alerts about a check; the check still runs."""

    name: str
    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """An alert that a sink has not taken yet: its JSON, the number of tries, and when the next try is due (epoch)."""

    id: int
    body: str
    tries: int
    due: float


class State:
    """The state in a folder, opened at first use. Threads may share a state; each process opens its own.

    Args:
        folder: Folder of the state; created if missing.

    Every method raises `StateError` if the file cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._inherited = False
        close_before_forks(self)

    def before_fork(self) -> bool:
        """Close the file, unless this thread is in the middle of a use (`kbstore.kit.forks.Parting`)."""
        if self._connection is not None and self._connection.in_transaction:
            return False
        self._forget()
        return True

    def after_fork(self, *, parted: bool) -> None:
        """Start afresh in a child process (`kbstore.kit.forks.Parting`)."""
        self.lock = threading.RLock()
        if not parted:
            leak(self._connection)
            self._connection, self._inherited = None, True

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction for this thread alone."""
        with self.lock:
            if self._inherited:
                raise StateError(
                    f"the history in {self.folder} was in use when this process was forked",
                    hint="start the process without a fork (spawn)",
                )
            try:
                if self._connection is None:
                    self._connection = self._open()
                elif self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")  # a signal's exception ended the transaction before this one
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                except BaseException:
                    self._connection.execute("ROLLBACK")
                    raise
                self._connection.execute("COMMIT")
            except (sqlite3.Error, OSError, ValueError, TypeError, OverflowError) as fault:  # columns hold any type
                self._forget()
                raise StateError(
                    f"the history in {self.folder} cannot be used: {fault}",
                    hint="make room or give permission; nothing is lost with the file but history, notes and silences",
                ) from fault

    def _open(self) -> sqlite3.Connection:
        file = self.make_file(FILE)
        connection = sqlite3.connect(
            file, timeout=1.0, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("BEGIN IMMEDIATE")
            if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
                for statement in _STATEMENTS:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version={_FORMAT}")
            # Anything else would run with our statements: a trigger, or a view in the place of a table.
            found = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
            if {sql for (sql,) in found} != set(_STATEMENTS):
                raise StateError(f"{file} was not made by health", hint=f"look at it, then remove it: {file}")
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection

    def make_file(self, name: str) -> Path:
        """Create a file in the folder, and the folder, if missing.

        The folder of a project may come from a stranger, so nothing is written there through a link.

        Raises:
            StateError: The place is a link, or not a file.
            OSError: The file cannot be created.
        """
        file = self.folder / name
        for place in (file, self.folder) if self.folder.parent.name == _PROJECT else (file,):
            if place.is_symlink():
                raise StateError(f"{place} is a link, so nothing is written there", hint=f"remove the link {place}")
        make_private_folder(self.folder)
        make_private_file(file)
        if not file.is_file():
            raise StateError(f"{file} is not a file", hint="look at it, then remove it")
        return file

    def _forget(self) -> None:
        if self._connection is not None:
            try:
                self._connection.close()
            except sqlite3.Error:
                pass
        self._connection = None

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        with self.lock:
            self._forget()

    # ---- results --------------------------------------------------------------------------------------------------

    def remembered(self) -> dict[str, dict[str, Any]]:
        """Return the values that each check asked to remember."""
        with self.transaction() as base:
            rows = base.execute("SELECT name, remembered FROM checks WHERE remembered IS NOT NULL").fetchall()
            return {name: json.loads(text) for name, text in rows}

    def record(self, report: Report, *, keep_days: float) -> dict[str, datetime]:
        """Add a round and drop results and alerts older than `keep_days`; return when each check's status began."""
        now = report.time.timestamp()
        with self.transaction() as base:
            base.execute(
                "INSERT INTO rounds(time, overall, duration_s) VALUES(?,?,?)",
                (now, str(report.overall), report.duration_s),
            )
            for outcome in report.outcomes:
                self._record(base, outcome, now)
            for table in ("rounds", "results", "outbox"):
                base.execute(f"DELETE FROM {table} WHERE time < ?", (now - keep_days * _DAY_S,))  # noqa: S608
            rows = base.execute("SELECT name, since FROM checks").fetchall()
            return {name: _moment(since) for name, since in rows}

    @staticmethod
    def _record(base: sqlite3.Connection, outcome: Outcome, now: float) -> None:
        result, status = outcome.result, str(outcome.status)
        metrics = json.dumps(dict(result.metrics)) if result.metrics else None
        base.execute(
            "INSERT INTO results VALUES(?,?,?,?,?,?,?)",
            (now, outcome.name, status, result.message, result.reason, outcome.duration_s, metrics),
        )
        remembered = json.dumps(dict(result.remember)) if result.remember is not None else None
        base.execute(
            "INSERT INTO checks(name, status, since, ran, remembered) VALUES(?1,?2,?3,?5,?4)"
            " ON CONFLICT(name) DO UPDATE SET since=iif(status=?2, since, ?3), status=?2, ran=ifnull(?5, ran),"
            " remembered=ifnull(?4, remembered)",
            (outcome.name, status, now, remembered, None if outcome.status is Status.SKIPPED else now),
        )

    def history(self, name: str | None = None, *, since: datetime | None = None, limit: int = 1_000_000) -> list[Past]:
        """Return the newest results (at most `limit`), oldest first; of a check, or of all."""
        with self.transaction() as base:
            rows = base.execute(
                "SELECT * FROM (SELECT rowid AS n, * FROM results WHERE (?1 IS NULL OR name=?1) AND time >= ?2"
                " ORDER BY time DESC, n DESC LIMIT ?3) ORDER BY time, n",
                (name, since.timestamp() if since is not None else 0.0, limit),
            ).fetchall()
            return [
                Past(_moment(time), name_, Status(status), message, reason, took, json.loads(metrics or "{}"))
                for _, time, name_, status, message, reason, took, metrics in rows
            ]

    # ---- notes and silences ---------------------------------------------------------------------------------------

    def add_note(self, name: str, text: str, now: datetime) -> None:
        """Write down how a check was fixed."""
        with self.transaction() as base:
            base.execute("INSERT INTO notes VALUES(?,?,?)", (name, now.timestamp(), text))

    def notes(self, name: str | None = None) -> list[Note]:
        """Return notes, oldest first; about a check, or all."""
        with self.transaction() as base:
            rows = base.execute("SELECT * FROM notes WHERE (?1 IS NULL OR name=?1) ORDER BY time, rowid", (name,))
            return [Note(about, _moment(time), text) for about, time, text in rows]

    def silence(self, name: str, until: datetime, reason: str, now: datetime) -> None:
        """Send no alerts about a check until a given time."""
        with self.transaction() as base:
            base.execute(
                "INSERT OR REPLACE INTO silences VALUES(?,?,?,?)", (name, now.timestamp(), until.timestamp(), reason)
            )

    def silences(self, now: datetime) -> dict[str, Silence]:
        """Return the silences in force now, by check."""
        with self.transaction() as base:
            rows = base.execute("SELECT name, until, reason FROM silences WHERE until > ?", (now.timestamp(),))
            return {name: Silence(name, _moment(until), reason) for name, until, reason in rows}

    # ---- alerts ---------------------------------------------------------------------------------------------------

    def standings(self) -> dict[str, dict[str, Any]]:
        """Return the standing of each check (`kbstore.health.watch.alerts.Standing`, as a dict)."""
        with self.transaction() as base:
            rows = base.execute("SELECT name, standing FROM checks WHERE standing IS NOT NULL").fetchall()
            return {name: json.loads(text) for name, text in rows}

    def ran_at(self) -> dict[str, float]:
        """Return when each check last ran (epoch); a skipped check did not run."""
        with self.transaction() as base:
            return dict(base.execute("SELECT name, ran FROM checks WHERE ran IS NOT NULL").fetchall())

    def stand(
        self,
        standings: Mapping[str, Mapping[str, Any]],
        alerts: Iterable[Mapping[str, Any]],
        sinks: Iterable[str],
        now: datetime,
    ) -> None:
        """Store standings, and in the same transaction put alerts into the outbox of each sink."""
        places = list(sinks)
        with self.transaction() as base:
            for name, standing in standings.items():
                base.execute("UPDATE checks SET standing=? WHERE name=?", (json.dumps(dict(standing)), name))
            for alert in alerts:
                for sink in places:
                    base.execute(
                        "INSERT INTO outbox(sink, time, body, tries, due) VALUES(?1,?2,?3,0,?2)",
                        (sink, now.timestamp(), json.dumps(dict(alert))),
                    )

    def next_delivery(self, sink: str) -> Waiting | None:
        """Return the oldest alert that a sink has not taken, or None."""
        with self.transaction() as base:
            row = base.execute(
                "SELECT id, body, tries, due FROM outbox WHERE sink=? AND sent IS NULL ORDER BY id LIMIT 1", (sink,)
            ).fetchone()
        return None if row is None else Waiting(*row)

    def delivered(self, number: int, *, at: float) -> None:
        """Write down that a sink took an alert."""
        with self.transaction() as base:
            base.execute("UPDATE outbox SET sent=?, tries=tries+1, fault=NULL WHERE id=?", (at, number))

    def delivery_failed(self, number: int, *, due: float, fault: str) -> None:
        """Write down that a sink did not take an alert, the reason, and when to try again."""
        with self.transaction() as base:
            base.execute("UPDATE outbox SET tries=tries+1, due=?, fault=? WHERE id=?", (due, fault, number))

    def deliveries(self) -> list[dict[str, Any]]:
        """Return all alerts in the outbox, delivered or not, oldest first."""
        with self.transaction() as base:
            rows = base.execute("SELECT sink, body, tries, sent, fault FROM outbox ORDER BY id").fetchall()
            names = ("sink", "body", "tries", "sent", "fault")
            return [{**dict(zip(names, row, strict=True)), "body": json.loads(row[1])} for row in rows]

    # ---- facts and remedies ---------------------------------------------------------------------------------------

    def set_fact(self, name: str, value: Mapping[str, Any]) -> None:
        """Store a fact from another part of health, for checks to judge."""
        with self.transaction() as base:
            base.execute("INSERT OR REPLACE INTO facts VALUES(?,?)", (name, json.dumps(dict(value))))

    def facts(self) -> dict[str, dict[str, Any]]:
        """Return all facts that `set_fact` stored."""
        with self.transaction() as base:
            return {name: json.loads(value) for name, value in base.execute("SELECT * FROM facts")}

    def add_remedy(self, name: str, command: Iterable[str], code: int, output: str, now: datetime) -> None:
        """Write down a run of a remedy."""
        with self.transaction() as base:
            base.execute(
                "INSERT INTO remedies VALUES(?,?,?,?,?)",
                (name, now.timestamp(), json.dumps(list(command)), code, output),
            )

    def finish_remedy(self, name: str, began: datetime, code: int, output: str) -> None:
        """Write down how a remedy ended."""
        with self.transaction() as base:
            base.execute(
                "UPDATE remedies SET code=?, output=? WHERE name=? AND time=?", (code, output, name, began.timestamp())
            )

    def remedies(self, name: str) -> list[tuple[datetime, list[str], int, str]]:
        """Return the runs of a check's remedy, oldest first: time, command, exit code and output."""
        with self.transaction() as base:
            rows = base.execute("SELECT time, command, code, output FROM remedies WHERE name=? ORDER BY time", (name,))
            return [(_moment(time), json.loads(command), code, output) for time, command, code, output in rows]


def _moment(time: float) -> datetime:
    return datetime.fromtimestamp(time, UTC)
