"""MariaDB and MySQL with PyMySQL. DDL commits all changes so far, so a migration is a journal of statements.

GET_LOCK on a separate connection keeps other runners out. Lock names belong to the whole server, so the name of the
lock contains the name of the database.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kbstore.kit.hosts import is_local
from kbstore.migrator.clock import Clock
from kbstore.migrator.engines.contract import DatabaseFault, Engine, Limits, Row
from kbstore.migrator.errors import ConnectionFailed, LockTimeout, MigrationError
from kbstore.migrator.urls import DatabaseUrl

_POLL_S = 0.05
_SLOWEST_POLL_S = 1.0
_CONNECT_TIMEOUT_S = 10
_A_DAY_S = 86_400
_LOCK_NAME_LIMIT = 64
_LOCKED = {1205, 1213}  # lock wait timeout, deadlock
_LOST = {0, 2006, 2013, 2055}
_TAKEN = {1050, 1062}  # table exists, duplicate key
_OPTIONS = {"unix_socket": str, "charset": str, "connect_timeout": int}
_TLS_OPTIONS = {"ssl_ca", "ssl_cert", "ssl_key", "tls"}
_TLS_HINT = "name the authority's certificate with ?ssl_ca=FILE, or say ?tls=off if you trust the network in between"


class MySQLEngine(Engine):
    """A connection in autocommit; its transactions cover rows only."""

    dialect = "mysql"
    transactional = False
    rehearsal = "none"
    time_type = "DATETIME(6)"
    text_type = "LONGTEXT"
    table_options = " ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"

    def __init__(self, url: DatabaseUrl) -> None:
        super().__init__(url)
        self._connection: Any = None
        self._in_transaction = False

    def open(self, *, create: bool = False) -> None:  # noqa: ARG002
        """Connect."""
        self._connection = self._connect()

    def close(self) -> None:
        """Disconnect."""
        if self._connection is not None and self._connection.open:
            self._connection.close()

    def beside(self) -> "MySQLEngine":
        """Return an engine with a second connection."""
        other = MySQLEngine(self.url)
        other.open()
        other.set_limits(Limits())  # by default it would wait up to a day for rows locked by this connection
        return other

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Run a query of migrator's own SQL; return the rows."""
        with self.faults(), self._connection.cursor() as cursor:
            cursor.execute(*_composed(sql, parameters))
            return list(cursor.fetchall())

    def change(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run migrator's own SQL; return the number of rows found, including rows that keep their values."""
        with self.faults(), self._connection.cursor() as cursor:
            return int(cursor.execute(*_composed(sql, parameters)))

    def run(self, text: str, data: str | None = None) -> list[Row]:
        """Run one statement unchanged. A CALL may give several results; the first is returned."""
        if data is not None:
            raise MigrationError("the data of COPY can be sent to PostgreSQL alone")
        with self.faults(), self._connection.cursor() as cursor:
            cursor.execute(text)
            rows = list(cursor.fetchall()) if cursor.description else []
            while cursor.nextset():
                pass
            return rows

    def begin(self, limits: Limits, *, durable: bool = True) -> None:  # noqa: ARG002
        """Begin a transaction of rows; DDL ends the transaction."""
        self.set_limits(limits)
        with self.faults():
            self._connection.begin()
        self._in_transaction = True

    def commit(self) -> None:
        """Commit the transaction."""
        with self.faults():
            self._connection.commit()
        self._in_transaction = False

    def rollback(self) -> None:
        """Roll back, if the connection is open."""
        self._in_transaction = False
        if self._connection.open:
            with self.faults():
                self._connection.rollback()

    def in_transaction(self) -> bool:
        """Return whether this engine began a transaction and has not ended it. Statements may have ended it."""
        return self._in_transaction

    def set_limits(self, limits: Limits) -> None:
        """Set the session's limits. The lock timeout is in whole seconds and at least 1, as the server requires."""
        lock_s = max(1, round(limits.lock_timeout_s)) if limits.lock_timeout_s else 31_536_000
        self.change(f"SET SESSION lock_wait_timeout = {lock_s:d}, innodb_lock_wait_timeout = {lock_s:d}")
        if "MariaDB" in self._connection.server_version:
            self.change(f"SET SESSION max_statement_time = {limits.statement_timeout_s:f}")
        else:
            self.change(f"SET SESSION max_execution_time = {round(limits.statement_timeout_s * 1000):d}")

    def table(self, name: str) -> str:
        """Return the name with the URL's database in front, since a file may have chosen another database with USE."""
        return "`{}`.`{}`".format(self.url.database.replace("`", "``"), name)

    def columns(self, name: str) -> list[str]:
        """Return the names of the columns."""
        sql = (
            "SELECT column_name FROM information_schema.columns WHERE table_schema = ? AND table_name = ?"
            " ORDER BY ordinal_position"
        )
        return [str(row[0]).lower() for row in self.query(sql, (self.url.database, name))]

    def time_value(self, moment: str) -> str:
        """Return a moment without an offset, since DATETIME takes none. Moments are always UTC here."""
        return moment.replace("T", " ").removesuffix("Z")

    @contextmanager
    def lock(self, wait_s: float, clock: Clock) -> Iterator[None]:
        """Poll GET_LOCK on a separate connection; the server frees the lock at the end of this connection."""
        name = f"migrator.{self.url.database}"
        if len(name) > _LOCK_NAME_LIMIT:
            name = "migrator." + hashlib.sha256(name.encode()).hexdigest()[:40]
        holder = self.beside()
        try:
            holder.change(f"SET SESSION wait_timeout = {_A_DAY_S:d}")
            waited, pause = 0.0, _POLL_S
            while holder.query("SELECT GET_LOCK(?, 0)", (name,))[0][0] != 1:
                if waited >= wait_s:
                    owner = holder.query("SELECT IS_USED_LOCK(?)", (name,))[0][0]
                    raise LockTimeout(
                        f"another migrator has worked on {self.url.shown} for over {waited:.0f} s"
                        f" (server connection {owner})",
                        hint="wait for it to end; the server frees its lock when its connection ends",
                    )
                clock.sleep(pause)
                waited += pause
                pause = min(pause * 1.5, _SLOWEST_POLL_S)
            yield
        finally:
            holder.close()

    def settle(self, text: str) -> None:
        """Return to the URL's database."""
        if "use" in text.lower():
            with self.faults():
                self._connection.select_db(self.url.database)

    def reset(self, text: str) -> None:
        """Connect again, since the server has no statement to undo all settings."""
        if "set" in text.lower() or "temporary" in text.lower() or "use" in text.lower():
            self.close()
            self.open()

    def _connect(self) -> Any:
        try:
            import pymysql
        except ImportError as fault:
            raise ConnectionFailed(
                f"{self.url.dialect} needs PyMySQL, which is not installed", hint="pip install 'kbstore[mysql]'"
            ) from fault
        url = self.url
        given = {"host": url.host, "port": url.port, "user": url.user, "password": url.password}
        parameters: dict[str, Any] = {"charset": "utf8mb4", "connect_timeout": _CONNECT_TIMEOUT_S}
        parameters |= {key: value for key, value in given.items() if value} | _tls(url)
        for key, value in url.options.items():
            if key in _TLS_OPTIONS:
                continue
            if key not in _OPTIONS:
                raise MigrationError(
                    f"the database URL has an option {key!r} that is not known here",
                    hint="there are: " + ", ".join([*_OPTIONS, *sorted(_TLS_OPTIONS)]),
                )
            try:
                parameters[key] = _OPTIONS[key](value)
            except ValueError:
                raise MigrationError(f"the option {key!r} of the database URL is no number") from None
        try:
            return pymysql.connect(
                database=url.database,
                autocommit=True,
                local_infile=False,
                client_flag=pymysql.constants.CLIENT.FOUND_ROWS,
                **parameters,
            )
        except (pymysql.MySQLError, OSError) as fault:
            message = url.redact(str(fault.args[-1]))
            about_tls = any(word in message for word in ("SSL", "certificate", _CLEAR))
            raise ConnectionFailed(
                f"cannot connect to {url.shown}: {message}",
                hint=_TLS_HINT if about_tls else "is the server up, and the URL right?",
            ) from None

    @property
    def connection(self) -> Any:
        """The driver's connection."""
        return self._connection

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Raise errors of the driver inside the block as `DatabaseFault`."""
        import pymysql

        try:
            yield
        except (pymysql.MySQLError, OSError) as fault:
            code = fault.args[0] if fault.args and isinstance(fault.args[0], int) else 0
            message = str(fault.args[-1]) if fault.args else type(fault).__name__
            kind: Any = "sql"
            if code in _LOCKED:
                kind = "lock"
            elif code in _TAKEN:
                kind = "taken"
            elif code in _LOST or isinstance(fault, OSError) or not self._connection.open:
                kind = "lost"
                message = message if code else "the connection is gone"
            raise DatabaseFault(self.url.redact(f"{message} ({code})" if code else message), kind=kind) from None


def _tls(url: DatabaseUrl) -> dict[str, Any]:
    """Return the driver's options for TLS.

    A server on another host must prove by a certificate that it is the server of the URL. The same holds for every
    server if the URL names certificates or has ``tls=verify``. Only such a server ever receives the password itself.

    Raises:
        MigrationError: The options contradict each other, or a file cannot be read.
    """
    import ssl

    mode = url.options.get("tls", "")
    authority, certificate = url.options.get("ssl_ca"), url.options.get("ssl_cert")
    if mode not in ("", "off", "verify"):
        raise MigrationError("the option 'tls' of the database URL is 'off' or 'verify'")
    if mode == "off" and (authority or certificate):
        raise MigrationError("the database URL says tls=off and names certificates", hint="leave out one of them")
    local = "unix_socket" in url.options or not url.host or is_local(url.host)
    if mode == "off":
        return {"ssl_disabled": True, "auth_plugin_map": _NOTHING_IN_CLEAR}
    if not (mode or authority or certificate) and local:
        return {"auth_plugin_map": _NOTHING_IN_CLEAR}  # TLS if the server offers TLS, without proof of identity
    try:
        context = ssl.create_default_context(cafile=authority or None)
        if certificate:
            context.load_cert_chain(certificate, url.options.get("ssl_key") or None)
    except (OSError, ValueError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) and fault.strerror else str(fault)
        raise MigrationError(f"a certificate that the database URL names cannot be used: {reason}") from None
    return {"ssl": context}


class _Refused:
    """An authentication plug-in that refuses to send the password in clear text."""

    def __init__(self, connection: Any) -> None:
        pass

    def authenticate(self, _: Any) -> Any:
        """Raise an error instead of sending the password."""
        import pymysql

        raise pymysql.err.OperationalError(2059, f"{_CLEAR}, and it has not proved who it is by a certificate")


_CLEAR = "the server asks for the password in clear text"
_NOTHING_IN_CLEAR = {"mysql_clear_password": _Refused, "dialog": _Refused}


def _composed(sql: str, parameters: Sequence[Any]) -> tuple[Any, ...]:
    if not parameters:
        return (sql,)
    return sql.replace("%", "%%").replace("?", "%s"), tuple(parameters)
