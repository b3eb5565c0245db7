"""PostgreSQL by psycopg 3: DDL in transactions, and an advisory lock on a connection of its own.

The lock's connection is in autocommit and idle: one that waited inside of a transaction would hold a snapshot, for
which CREATE INDEX CONCURRENTLY of the runner that has the lock would wait for ever. A pool that deals out sessions by
transaction (pgbouncer) may break the lock; the history's key, taken first in each migration's transaction, still holds.
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
_FRESH = (  # DISCARD ALL in parts, since as a whole it must stand alone
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
_CHECKS_CLIENTS = 140000  # from this version on a server can notice in a long statement that its client has died
_CHECK_CLIENT_MS = 1000
# What may leave something in the session; a file of plain DDL cannot. ("SET" also begins ON DELETE SET NULL: no harm.)
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
}  # unique_violation, duplicate table or object: what racing CREATE TABLE IF NOT EXISTS give


class PostgreSQLEngine(Engine):
    """A connection in autocommit, whose transactions are begun and ended by SQL."""

    dialect = "postgresql"
    transactional = True
    rehearsal = "transaction"
    time_type = "TIMESTAMPTZ"

    def __init__(self, url: DatabaseUrl) -> None:
        super().__init__(url)
        self._connection: Any = None
        self._cursor: Any = None  # one for all: making them is dear, and nothing is read twice
        self._schema = ""
        self._worn = False

    def open(self, *, create: bool = False) -> None:  # noqa: ARG002
        """Connect, and learn the schema of the history: where it is on the search_path, else the first one there."""
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
        """Say so if the server has not proved who it is, and is not on this machine."""
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
        """A second connection."""
        other = PostgreSQLEngine(self.url)
        other._join(other._connect())
        other._schema = self._schema
        return other

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Rows of migrator's own SQL."""
        with self.faults():
            return list(self._execute(sql, parameters).fetchall())

    def change(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run migrator's own SQL."""
        with self.faults():
            return int(self._execute(sql, parameters).rowcount)

    def run(self, text: str, data: str | None = None) -> list[Row]:
        """Run one statement as it is: without parameters psycopg looks at nothing in it."""
        with self.faults():
            if data is not None:
                with self._cursor.copy(text.encode()) as copy:
                    copy.write(data.encode())
                return []
            self._cursor.execute(text.encode())
            return list(self._cursor.fetchall()) if self._cursor.description is not None else []

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Pipeline mode: one journey for all."""
        with self.faults(), self._connection.pipeline():
            yield

    def begin(self, limits: Limits, *, durable: bool = True) -> None:
        """BEGIN with limits that end with the transaction; what the file before set in this session goes first."""
        settings = self._settings("SET LOCAL", limits)
        if not durable:
            settings.append("SET LOCAL synchronous_commit = off")
        self._send([*(_FRESH if self._worn else ()), "BEGIN", *settings])

    def commit(self) -> None:
        """COMMIT; a transaction that an error had ended says ROLLBACK instead, which is a fault here."""
        with self.faults():
            answer = self._cursor.execute(b"COMMIT").statusmessage
            # In a pipeline there is no answer yet, and an error before is raised at its end.
            if answer not in ("COMMIT", None):
                raise DatabaseFault("the transaction was ended by an error before")
        self._worn = False

    def rollback(self) -> None:
        """ROLLBACK, where there is a transaction on a living connection."""
        if self._connection.closed or self._connection.info.transaction_status == 0:
            return
        with self.faults():
            self._connection.execute(b"ROLLBACK")

    def in_transaction(self) -> bool:
        """Whether the transaction still lasts."""
        return bool(self._connection.info.transaction_status == 2)  # INTRANS

    def set_limits(self, limits: Limits) -> None:
        """Limits of the transaction, or of a session that is as new where there is none."""
        if self.in_transaction():
            self._send(self._settings("SET LOCAL", limits))
            return
        self._send([*(_FRESH if self._worn else ()), *self._settings("SET", limits)])
        self._worn = False

    def table(self, name: str) -> str:
        """In the history's schema, whatever the search_path says."""
        return '"{}"."{}"'.format(self._schema.replace('"', '""'), name)

    def columns(self, name: str) -> list[str]:
        """Names of the columns."""
        sql = (
            "SELECT attname::text FROM pg_catalog.pg_attribute"
            " WHERE attrelid = pg_catalog.to_regclass(?) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        )
        return [row[0] for row in self.query(sql, (self.table(name),))]

    @contextmanager
    def lock(self, wait_s: float, clock: Clock) -> Iterator[None]:
        """pg_advisory_lock, polled on an idle connection of its own; the server frees it when that ends."""
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
        """A savepoint, rolled back."""
        if not self.in_transaction():
            yield
            return
        with self.faults():
            self._connection.execute(b"SAVEPOINT migrator_verify")
        yield
        with self.faults():
            self._connection.execute(b"ROLLBACK TO migrator_verify; RELEASE migrator_verify")

    def settle(self, text: str) -> None:
        """Back to the session's own role, search_path and other settings, which our SQL and the catalogue's need."""
        if _SETS_SESSION.search(text):
            with self.faults():
                self._connection.execute(b"RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL")

    def reset(self, text: str) -> None:
        """What DISCARD ALL does, together with the next `begin`; it has to be done again where that is rolled back."""
        self._worn = self._worn or _WEARS.search(text) is not None

    def broken_indexes(self) -> list[str]:
        """Those that a failed CREATE INDEX CONCURRENTLY left; not one that another session is making now."""
        sql = (
            "SELECT i.indexrelid::regclass::text FROM pg_catalog.pg_index i WHERE NOT i.indisvalid AND NOT EXISTS"
            " (SELECT 1 FROM pg_catalog.pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid) ORDER BY 1"
        )
        return [row[0] for row in self.query(sql)]

    def backup(self, folder: Path | None, stamp: str) -> Path | None:
        """pg_dump in its custom format to ``DATABASE.STAMP.dump``; the password goes by the environment."""
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
        """Run statements without answers, in one journey."""
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
            # Statements prepared behind our back would not survive DISCARD ALL, nor pgbouncer.
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
        """What the driver raises inside comes out as `DatabaseFault`."""
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
    """Who has the lock, as far as this user may see it."""
    rows = engine.query(
        "SELECT a.pid, a.usename, a.client_addr::text FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a"
        " ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted AND l.classid::bigint = ?"
        " AND l.objid::bigint = ? AND a.datname = current_database()",
        (key[0], key[1] % 2**32),
    )
    return "".join(f" (server process {pid}, user {user}, from {place or 'this machine'})" for pid, user, place in rows)
