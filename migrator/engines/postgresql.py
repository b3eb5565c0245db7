"""PostgreSQL with psycopg 3: DDL in transactions, and an advisory lock on a separate connection.

The lock's connection is idle and in autocommit. Waiting inside a transaction would hold a snapshot, and CREATE INDEX
CONCURRENTLY of the runner with the lock would wait for this snapshot for ever. A pool that assigns sessions by
transaction (pgbouncer) may break the lock. The history's key, written first in each migration's transaction, still
keeps other runners out.
"""

import os
import re
import shutil
import subprocess
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kbstore.kit.hosts import is_local
from kbstore.migrator.clock import Clock
from kbstore.migrator.engines.contract import DatabaseFault, Engine, Limits, Row
from kbstore.migrator.errors import ConnectionFailed, LockTimeout, MigrationError
from kbstore.migrator.urls import DatabaseUrl

_LOCK_CLASS = 0x6D696772  # "migr"
_FRESH = (  # the parts of DISCARD ALL, since DISCARD ALL cannot be sent together with other statements
    "CLOSE ALL",
    "RESET SESSION AUTHORIZATION",
    "RESET ROLE",
    "RESET ALL",
    "DEALLOCATE ALL",
    "UNLISTEN *",
    "DISCARD TEMP",
    "DISCARD SEQUENCES",
)
_POLL_S = 0.05
_SLOWEST_POLL_S = 1.0
_CONNECT_TIMEOUT_S = 10
_CHECKS_CLIENTS = 140000  # since this version a server can notice the death of a client during a long statement
_CHECK_CLIENT_MS = 1000
# Words of statements that may change the session; plain DDL cannot. (ON DELETE SET NULL matches too: no harm.)
_WEARS = re.compile(
    r"(?i)\b(set|reset|set_config|role|authorization|temp|temporary|prepare|listen|declare|load|do|call|select|execute"
    r"|insert|update|delete|merge|copy|refresh|values|nextval|discard)\b"
)
_SETS_SESSION = re.compile(r"(?i)\b(set|set_config|role|authorization|do|call)\b")
_LOCKED = {"55P03", "40P01", "40001"}  # lock_not_available, deadlock_detected, serialization_failure
_TAKEN = {
    "23505",
    "42P07",
    "42710",
}  # unique_violation, duplicate table or object: the errors of concurrent CREATE TABLE IF NOT EXISTS


class PostgreSQLEngine(Engine):
    """A connection in autocommit; transactions begin and end by SQL."""

    dialect = "postgresql"
    transactional = True
    rehearsal = "transaction"
    time_type = "TIMESTAMPTZ"

    def __init__(self, url: DatabaseUrl) -> None:
        super().__init__(url)
        self._connection: Any = None
        self._cursor: Any = None  # one cursor for all statements: a new cursor costs time, and each result is read once
        self._schema = ""
        self._worn = False

    def open(self, *, create: bool = False) -> None:  # noqa: ARG002
        """Connect, and find the schema of the history: on the search_path, else the first schema there."""
        self._join(self._connect())
        schema, existing = self.query(
            "SELECT current_schema(), (SELECT n.nspname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
            " ON n.oid = c.relnamespace WHERE c.oid = pg_catalog.to_regclass('schema_migrations'))"
        )[0]
        if existing is None and schema is None:
            self.close()
            raise ConnectionFailed(
                f"no schema on the search_path of {self.url.shown} exists", hint="CREATE SCHEMA it, or set search_path"
            )
        self._schema = existing or schema

    def warning(self) -> str:
        """Return a warning if the server is on another host and has not proved its identity."""
        info = self._connection.info
        chosen = {option.keyword: option.val for option in self._connection.pgconn.info}
        if info.host.startswith("/") or is_local(info.hostaddr or info.host):
            return ""
        if self._connection.pgconn.ssl_in_use and chosen.get(b"sslmode") == b"verify-full":
            return ""
        return (
            f"warning: {info.host} has not proved that it is the server that is meant; whoever is in between can read "
            "and change everything: add sslmode=verify-full and sslrootcert=FILE to the URL"
        )

    def close(self) -> None:
        """Disconnect."""
        if self._connection is not None:
            self._connection.close()

    def beside(self) -> "PostgreSQLEngine":
        """Return an engine with a second connection."""
        other = PostgreSQLEngine(self.url)
        other._join(other._connect())
        other._schema = self._schema
        return other

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Run a query of migrator's own SQL; return the rows."""
        with self.faults():
            return list(self._execute(sql, parameters).fetchall())

    def change(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run migrator's own SQL; return the number of changed rows."""
        with self.faults():
            return int(self._execute(sql, parameters).rowcount)

    def run(self, text: str, data: str | None = None) -> list[Row]:
        """Run one statement unchanged: without parameters, psycopg does not look into the text."""
        with self.faults():
            if data is not None:
                with self._cursor.copy(text.encode()) as copy:
                    copy.write(data.encode())
                return []
            self._cursor.execute(text.encode())
            return list(self._cursor.fetchall()) if self._cursor.description is not None else []

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Use pipeline mode: one round trip for all statements."""
        with self.faults(), self._connection.pipeline():
            yield

    def begin(self, limits: Limits, *, durable: bool = True) -> None:
        """Begin a transaction with limits. Settings left in the session by the file before are undone first."""
        settings = self._settings("SET LOCAL", limits)
        if not durable:
            settings.append("SET LOCAL synchronous_commit = off")
        self._send([*(_FRESH if self._worn else ()), "BEGIN", *settings])

    def commit(self) -> None:
        """Commit. After an error in the transaction the server rolls back instead; this raises `DatabaseFault`."""
        with self.faults():
            answer = self._cursor.execute(b"COMMIT").statusmessage
            # In a pipeline there is no answer yet; an earlier error is raised at the end of the pipeline.
            if answer not in ("COMMIT", None):
                raise DatabaseFault("the transaction was ended by an error before")
        self._worn = False

    def rollback(self) -> None:
        """Roll back, if a transaction is open on a living connection."""
        if self._connection.closed or self._connection.info.transaction_status == 0:
            return
        with self.faults():
            self._connection.execute(b"ROLLBACK")

    def in_transaction(self) -> bool:
        """Return whether the transaction is still open."""
        return bool(self._connection.info.transaction_status == 2)  # INTRANS

    def set_limits(self, limits: Limits) -> None:
        """Set the limits of the transaction; outside of a transaction, reset the session and set its limits."""
        if self.in_transaction():
            self._send(self._settings("SET LOCAL", limits))
            return
        self._send([*(_FRESH if self._worn else ()), *self._settings("SET", limits)])
        self._worn = False

    def table(self, name: str) -> str:
        """Return the name with the history's schema in front, independent of the search_path."""
        return '"{}"."{}"'.format(self._schema.replace('"', '""'), name)

    def columns(self, name: str) -> list[str]:
        """Return the names of the columns."""
        sql = (
            "SELECT attname::text FROM pg_catalog.pg_attribute"
            " WHERE attrelid = pg_catalog.to_regclass(?) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        )
        return [row[0] for row in self.query(sql, (self.table(name),))]

    @contextmanager
    def lock(self, wait_s: float, clock: Clock) -> Iterator[None]:
        """Poll pg_advisory_lock on a separate idle connection; the end of this connection frees the lock."""
        holder = self.beside()
        if holder._connection.info.server_version >= _CHECKS_CLIENTS:
            holder.change("SET idle_session_timeout = 0")
        key = (_LOCK_CLASS, zlib.crc32(self._schema.encode()) - 2**31)
        try:
            waited, pause = 0.0, _POLL_S
            while not holder.query("SELECT pg_try_advisory_lock(?, ?)", key)[0][0]:
                if waited >= wait_s:
                    raise LockTimeout(
                        f"another migrator has worked on {self.url.shown} for over {waited:.0f} s{_who(holder, key)}",
                        hint="wait for it to end; the server frees its lock when its connection ends",
                    )
                clock.sleep(pause)
                waited += pause
                pause = min(pause * 1.5, _SLOWEST_POLL_S)
            yield
        finally:
            holder.close()

    @contextmanager
    def verify_scope(self) -> Iterator[None]:
        """Use a savepoint, and roll back to it at the end of the block."""
        if not self.in_transaction():
            yield
            return
        with self.faults():
            self._connection.execute(b"SAVEPOINT migrator_verify")
        yield
        with self.faults():
            self._connection.execute(b"ROLLBACK TO migrator_verify; RELEASE migrator_verify")

    def settle(self, text: str) -> None:
        """Return to the session's own role, search_path and settings, as needed by the SQL of history and catalog."""
        if _SETS_SESSION.search(text):
            with self.faults():
                self._connection.execute(b"RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL")

    def reset(self, text: str) -> None:
        """Mark the session as changed, if the file may have changed the session.

        The next `begin` then does what DISCARD ALL does. A rollback undoes the reset too, so the mark stays until a
        commit.
        """
        self._worn = self._worn or _WEARS.search(text) is not None

    def broken_indexes(self) -> list[str]:
        """Return invalid indexes of failed CREATE INDEX CONCURRENTLY, but not indexes that a session is building."""
        sql = (
            "SELECT i.indexrelid::regclass::text FROM pg_catalog.pg_index i WHERE NOT i.indisvalid AND NOT EXISTS"
            " (SELECT 1 FROM pg_catalog.pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid) ORDER BY 1"
        )
        return [row[0] for row in self.query(sql)]

    def backup(self, folder: Path | None, stamp: str) -> Path | None:
        """Save to ``DATABASE.STAMP.dump`` with pg_dump in the custom format; the environment passes the password."""
        from psycopg.conninfo import make_conninfo

        if shutil.which("pg_dump") is None:
            raise MigrationError("pg_dump is not on the PATH", hint="install it, or leave out --backup")
        parameters = self._parameters()
        environment = dict(os.environ)
        if password := parameters.pop("password", None):
            environment["PGPASSWORD"] = password
        folder = folder or Path.cwd()
        target = folder / f"{self.url.database or 'database'}.{stamp}.dump"
        command = [
            "pg_dump",
            "--format=custom",
            "--no-password",
            f"--file={target}",
            f"--dbname={make_conninfo(**parameters)}",
        ]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        except OSError as fault:
            raise MigrationError(f"cannot run pg_dump: {fault.strerror}", hint="or leave out --backup") from fault
        if done.returncode:
            target.unlink(missing_ok=True)
            raise MigrationError(
                f"pg_dump failed: {self.url.redact(done.stderr.strip())}", hint="mend it, or leave out --backup"
            )
        return target

    def _settings(self, word: str, limits: Limits) -> list[str]:
        lock, statement = round(limits.lock_timeout_s * 1000), round(limits.statement_timeout_s * 1000)
        settings = [f"{word} lock_timeout = {lock:d}", f"{word} statement_timeout = {statement:d}"]
        if self._connection.info.server_version >= _CHECKS_CLIENTS:
            settings.append(f"{word} client_connection_check_interval = {_CHECK_CLIENT_MS:d}")
        return settings

    def _send(self, statements: Sequence[str]) -> None:
        """Run statements without answers, in one round trip."""
        with self.faults():
            self._cursor.execute("; ".join(statements).encode())

    def _parameters(self) -> dict[str, Any]:
        url = self.url
        given = {"host": url.host, "port": url.port, "user": url.user, "password": url.password, "dbname": url.database}
        return {**{key: value for key, value in given.items() if value}, **url.options}

    def _join(self, connection: Any) -> None:
        self._connection = connection
        self._cursor = connection.cursor()

    def _connect(self) -> Any:
        try:
            import psycopg
        except ImportError as fault:
            raise ConnectionFailed(
                "PostgreSQL needs psycopg, which is not installed", hint="pip install 'kbstore[postgresql]'"
            ) from fault
        parameters: dict[str, Any] = {"connect_timeout": _CONNECT_TIMEOUT_S, "fallback_application_name": "migrator"}
        parameters |= {"client_encoding": "UTF8"} | self._parameters()
        try:
            # No prepared statements: DISCARD ALL removes them without psycopg's knowledge, and pgbouncer loses them.
            return psycopg.connect(autocommit=True, prepare_threshold=None, **parameters)
        except psycopg.Error as fault:
            message = self.url.redact(str(fault).strip())
            raise ConnectionFailed(
                f"cannot connect to {self.url.shown}: {message}", hint="is the server up, and the URL right?"
            ) from None

    def _execute(self, sql: str, parameters: Sequence[Any]) -> Any:
        if not parameters:
            return self._cursor.execute(sql.encode())
        return self._cursor.execute(sql.replace("%", "%%").replace("?", "%s").encode(), parameters)

    @property
    def connection(self) -> Any:
        """The driver's connection."""
        return self._connection

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Raise errors of the driver inside the block as `DatabaseFault`."""
        import psycopg

        try:
            yield
        except psycopg.Error as fault:
            diagnosis = fault.diag
            said = [diagnosis.message_primary or str(fault).strip() or type(fault).__name__]
            said += [
                f"{label}: {text}"
                for label, text in (("detail", diagnosis.message_detail), ("hint", diagnosis.message_hint))
                if text
            ]
            kind: Any = "sql"
            if self._connection is None or self._connection.closed:
                kind = "lost"
            elif fault.sqlstate in _LOCKED:
                kind = "lock"
            elif fault.sqlstate in _TAKEN:
                kind = "taken"
            position = int(diagnosis.statement_position or 1) - 1
            raise DatabaseFault(self.url.redact("; ".join(said)), kind=kind, position=position) from None


def _who(engine: PostgreSQLEngine, key: tuple[int, int]) -> str:
    """Return a description of the lock's holder, as far as this user may see."""
    rows = engine.query(
        "SELECT a.pid, a.usename, a.client_addr::text FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a"
        " ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted AND l.classid::bigint = ?"
        " AND l.objid::bigint = ? AND a.datname = current_database()",
        (key[0], key[1] % 2**32),
    )
    return "".join(f" (server process {pid}, user {user}, from {place or 'this machine'})" for pid, user, place in rows)
