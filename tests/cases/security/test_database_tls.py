"""A database's password goes to nobody but the server that the URL means."""

import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from kbstore.migrator import ConnectionFailed, DatabaseMigrator, MigrationError
from kbstore.migrator.engines.mysql import MySQLEngine
from kbstore.migrator.urls import parse_url
from tests.cases.security.certificates import Certificate, authority, signed
from tests.migrator.servers import mariadb_is_expected, mariadb_server

PASSWORD = "S3cretPw"
SSL, CLEAR = 0x800, b"mysql_clear_password"


class Thief:
    """A server in the middle that asks for the password, and keeps all that it is sent."""

    def __init__(self, certificate: Certificate | None, plugin: bytes) -> None:
        self.certificate = certificate
        self.plugin = plugin
        self.seen = b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(10)
        self.port = self.listener.getsockname()[1]

    def serve(self) -> None:
        with suppress(OSError, EOFError), ExitStack() as ends:
            raw = ends.enter_context(self.listener.accept()[0])
            raw.settimeout(5)
            salt = b"12345678abcdefghijkl"
            able = 0x1 | 0x2 | 0x8 | 0x200 | 0x8000 | 0x80000 | 0x2000000 | (SSL if self.certificate else 0)
            hello = (
                b"\x0a8.0.30\0" + struct.pack("<I", 1) + salt[:8] + b"\0" + struct.pack("<H", able & 0xFFFF) + b"\x2d"
            )
            hello += (
                struct.pack("<HH", 2, able >> 16) + bytes([21]) + b"\0" * 10 + salt[8:] + b"\0mysql_native_password\0"
            )
            raw.sendall(packet(0, hello))
            turn, said = receive(raw)
            self.seen += said
            connection = raw
            if self.certificate and struct.unpack("<I", said[:4])[0] & SSL and len(said) == 32:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(self.certificate.certificate, self.certificate.key)
                connection = ends.enter_context(context.wrap_socket(raw, server_side=True))
                turn, said = receive(connection)
                self.seen += said
            asked = b"\x04Password: " if self.plugin == b"dialog" else b""
            connection.sendall(packet(turn + 1, b"\xfe" + self.plugin + b"\0" + asked))
            while True:
                self.seen += receive(connection)[1]


def packet(turn: int, body: bytes) -> bytes:
    """Return a packet of the protocol."""
    return struct.pack("<I", len(body))[:3] + bytes([turn]) + body


def receive(connection: socket.socket) -> tuple[int, bytes]:
    """Return the number and the body of the next packet."""

    def take(count: int) -> bytes:
        taken = b""
        while len(taken) < count:
            more = connection.recv(count - len(taken))
            if not more:
                raise EOFError
            taken += more
        return taken

    head = take(4)
    return head[3], take(int.from_bytes(head[:3], "little"))


@contextmanager
def thief(certificate: Certificate | None, plugin: bytes = CLEAR) -> Iterator[Thief]:
    """Run a thief for one connection."""
    server = Thief(certificate, plugin)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield server
    thread.join(10)
    server.listener.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Certificate]:
    """An authority with certificates for this address and for another name; and somebody else's."""
    folder = tmp_path_factory.mktemp("certificates")
    good, evil = authority(folder, "good"), authority(folder, "evil")
    return {
        "good": good,
        "right": signed(folder, good, "right", "127.0.0.1", "localhost"),
        "other name": signed(folder, good, "other", "db.example.com"),
        "other authority": signed(folder, evil, "foreign", "127.0.0.1", "localhost"),
    }


@pytest.mark.parametrize("plugin", [CLEAR, b"dialog"])
@pytest.mark.parametrize("shown", ["other authority", "other name", "none"])
def test_a_server_without_the_right_certificate_gets_no_password(
    certificates: dict[str, Certificate], tmp_path: Path, shown: str, plugin: bytes
) -> None:
    """Case 07: with ssl_ca the certificate and its name are verified before anything of the password is sent."""
    (tmp_path / "m").mkdir()
    with thief(certificates.get(shown), plugin) as server:
        url = f"mysql://u:{PASSWORD}@127.0.0.1:{server.port}/d?ssl_ca={certificates['good'].certificate}"
        with pytest.raises(ConnectionFailed) as caught:
            DatabaseMigrator(url, tmp_path / "m").status()
    assert PASSWORD.encode() not in server.seen
    assert b"u\0" not in server.seen  # not even who asks
    assert "ssl_ca=" in str(caught.value.hint)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("plugin", [CLEAR, b"dialog"])
@pytest.mark.parametrize("options", ["", "?tls=off"])
@pytest.mark.parametrize("shown", ["right", "none"])
def test_nobody_unproved_is_told_the_password_in_clear(
    certificates: dict[str, Certificate], tmp_path: Path, shown: str, options: str, plugin: bytes
) -> None:
    """A server on this machine, or one for which TLS is off, does not get the password itself, whatever it asks."""
    (tmp_path / "m").mkdir()
    with thief(certificates.get(shown), plugin) as server:
        url = f"mysql://u:{PASSWORD}@127.0.0.1:{server.port}/d{options}"
        with pytest.raises(ConnectionFailed, match="in clear text"):
            DatabaseMigrator(url, tmp_path / "m").status()
    assert PASSWORD.encode() not in server.seen


@pytest.mark.parametrize("shown", ["other authority", "none"])
def test_another_host_needs_a_verified_certificate(
    certificates: dict[str, Certificate], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: str
) -> None:
    """Without an option, a server that is not this machine must show a certificate; the error names both ways on."""
    (tmp_path / "m").mkdir()
    monkeypatch.setattr("kbstore.migrator.engines.mysql.is_local", lambda host: False)
    with thief(certificates.get(shown)) as server, pytest.raises(ConnectionFailed) as caught:
        DatabaseMigrator(f"mysql://u:{PASSWORD}@127.0.0.1:{server.port}/d", tmp_path / "m").status()
    assert b"u\0" not in server.seen
    assert "ssl_ca=FILE" in str(caught.value.hint)
    assert "tls=off" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("tls=on", "is 'off' or 'verify'"),
        ("tls=off&ssl_ca=x.pem", "says tls=off and names certificates"),
        ("ssl_ca=missing.pem", "cannot be used: No such file"),
        ("ssl_cert=missing.pem", "cannot be used: No such file"),
    ],
)
def test_odd_options_are_refused(tmp_path: Path, options: str, said: str) -> None:
    """An option that would leave it open whether the server is verified is an error before anything is sent."""
    (tmp_path / "m").mkdir()
    with pytest.raises(MigrationError, match=said) as caught:
        DatabaseMigrator(f"mysql://u:{PASSWORD}@127.0.0.1:9/d?{options}", tmp_path / "m").status()
    assert not isinstance(caught.value, ConnectionFailed)


@pytest.mark.skipif(not mariadb_is_expected(), reason="MariaDB is not installed; CI fails without it")
def test_a_server_with_the_right_certificate_is_used(certificates: dict[str, Certificate], tmp_path: Path) -> None:
    """A real server is verified with ssl_ca, by address and by name, and refused if the authority is not its own."""
    right = certificates["right"]
    with mariadb_server(tls=right) as server:
        import pymysql

        with pymysql.connect(unix_socket=str(server), user="root", autocommit=True) as base:
            base.cursor().execute("CREATE DATABASE d")
            base.cursor().execute(f"CREATE USER u IDENTIFIED BY '{PASSWORD}' REQUIRE SSL")
            base.cursor().execute("GRANT ALL ON d.* TO u")
            cursor = base.cursor()
            cursor.execute("SELECT @@port")
            port = cursor.fetchone()[0]
        for host in ("127.0.0.1", "localhost"):
            url = f"mysql://u:{PASSWORD}@{host}:{port}/d?ssl_ca={certificates['good'].certificate}"
            with MySQLEngine(parse_url(url)) as engine:
                engine.open()
                assert engine.query("SHOW STATUS LIKE 'Ssl_cipher'")[0][1]
        with MySQLEngine(parse_url(url.replace("good.pem", "evil.pem"))) as engine, pytest.raises(ConnectionFailed):
            engine.open()
