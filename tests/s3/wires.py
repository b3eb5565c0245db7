"""A proxy that harms answers on the wire: it speaks TLS with a certificate of its own, breaks streams, and drips."""

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from tests.s3.proxy import Proxy, _ask, _body_of

_A_BROKEN_RECORD = b"\x17\x03\x03\x00\x20" + bytes(32)


class Wire(Proxy):
    """See above; only requests of `method` for slots are harmed.

    Attributes:
        context: TLS, where it is to be spoken.
        harm: ``broken`` (carried out, then a broken TLS record), ``drip``, or nothing.
        method: Of the requests that are harmed.
        pause_s: Between two pieces of a dripping answer.
        harmed: How often it was done.
    """

    context: ssl.SSLContext | None = None
    harm = ""
    method = "PUT"
    pause_s = 0.1
    harmed = 0

    def _serve(self, connection: socket.socket) -> None:
        if self.context is not None:
            try:
                connection = self.context.wrap_socket(connection, server_side=True)
            except OSError:
                return
        super()._serve(connection)

    def _one(self, connection, upstream, method, path, headers, body) -> bool:  # type: ignore[no-untyped-def]
        if not self.harm or method != self.method or "/log/" not in path:
            return super()._one(connection, upstream, method, path, headers, body)
        self.harmed += 1
        if self.harm == "drip":
            return super()._one(_Dripping(connection, self), upstream, method, path, headers, body)
        self.harm = ""
        _ask(upstream, method, path, headers, body)
        with socket.socket(fileno=connection.detach()) as bare:
            bare.sendall(_A_BROKEN_RECORD)
        return False


class _Dripping:
    """A connection that gives an answer away in small pieces."""

    def __init__(self, connection: socket.socket, wire: Wire) -> None:
        self._connection = connection
        self._wire = wire

    def sendall(self, data: bytes) -> None:
        for at in range(0, len(data), 8):
            self._connection.sendall(data[at : at + 8])
            if self._wire.harm:
                time.sleep(self._wire.pause_s)


def slow_taker(wait_s: float) -> str:
    """A server of one request, which it lets wait in the sender for so long before it takes it in; its URL."""

    def take(stream: BinaryIO) -> bool:
        time.sleep(wait_s)
        stream.readline()
        _body_of(stream, http.client.parse_headers(stream))
        return True

    return _serving_once(take)


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that vouches for itself, and a server's TLS with it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, secret = folder / "ca.pem", folder / "key.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, secret)
    return public, context


def thin_line(rate: int, *, stops_after: int = 1 << 40) -> str:
    """A server of one request, whose content it takes in at so many bytes a second, and only so many; its URL."""

    def take(stream: BinaryIO) -> bool:
        stream.readline()
        left = int(http.client.parse_headers(stream).get("Content-Length", 0))
        taken = 0
        while left and taken < stops_after and (got := len(stream.read1(min(left, rate // 20)))):  # type: ignore[attr-defined]
            left, taken = left - got, taken + got
            time.sleep(got / rate)
        return not left and taken > 0

    return _serving_once(take)


def _serving_once(take: Callable[[BinaryIO], bool]) -> str:
    """A server of one request, which `take` reads and says whether to answer; its URL."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    listener.bind(("127.0.0.1", 0))
    listener.listen()

    def serve() -> None:
        with listener, listener.accept()[0] as connection, connection.makefile("rb") as stream:
            if take(stream):
                connection.sendall(b'HTTP/1.1 200 OK\r\nETag: "x"\r\nContent-Length: 0\r\n\r\n')
            else:
                time.sleep(6)

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"
