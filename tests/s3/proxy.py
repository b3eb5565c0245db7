"""A small HTTP proxy on loopback in front of an S3 server: counts requests, and harms them from seeded dice.

Faults, each of which real networks and servers show:

- *lost*: the server carries the request out, and the answer never arrives (the connection is cut).
- *reset*: the connection is cut before the server sees the request.
- *truncated*: half of the answer's content arrives.
- *error*: 500 after the server carried it out, or before (each half of the time).
- *slow down*: 503 SlowDown for this request and the next few.
- *conflict*: 409 ConditionalRequestConflict to a conditional PUT, which is not carried out.
- *late*: the request is carried out some time after its answer was given up (a PUT that arrives late).
- *stale*: a LIST leaves out its newest keys.
- *stall*: the request is carried out, and its answer comes after the client's patience with one is over.
"""

import http.client
import random
import re
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.s3.servers import forget_clients

_HOP = {"connection", "keep-alive", "transfer-encoding", "host", "expect"}
_LARGEST = 64 << 20


@dataclass
class Seen:
    """One request as the proxy saw it."""

    method: str
    path: str
    begun: float
    ended: float = 0.0
    sent_bytes: int = 0
    came_bytes: int = 0
    fault: str = ""
    status: int = 0


@dataclass
class Faults:
    """How likely each fault is, of 1."""

    lost: float = 0.0
    reset: float = 0.0
    truncated: float = 0.0
    error: float = 0.0
    slow_down: float = 0.0
    conflict: float = 0.0
    late: float = 0.0
    stale: float = 0.0
    stall: float = 0.0
    stall_s: float = 0.6
    delay_s: float = 0.0


@dataclass
class Proxy:
    """Listens on a port of its own; a thread for each connection.

    Attributes:
        target: The server's URL.
        faults: May be changed at any time.
        latency_s: Waited before each request is passed on.
        seen: What came, while `counting`.
    """

    target: str
    seed: int = 0
    faults: Faults = field(default_factory=Faults)
    latency_s: float = 0.0
    counting: bool = False
    seen: list[Seen] = field(default_factory=list)
    injected: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)
        self._lock = threading.Lock()
        self._storm = 0
        self._stopping = False
        self._late: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._stopping = True
        self._listener.close()
        self.settle()
        forget_clients(self.url)

    def settle(self) -> None:
        """Wait until what was to arrive late has arrived."""
        for thread in self._late:
            thread.join(10)
        self._late.clear()

    def reseed(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._storm = 0

    def _accept(self) -> None:
        while not self._stopping:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        upstream: http.client.HTTPConnection | None = None
        try:
            connection.settimeout(60)
            stream = connection.makefile("rb")
            while line := stream.readline(65536):
                method, path, _ = line.decode("latin-1").split(" ", 2)
                headers = http.client.parse_headers(stream)
                if headers.get("Expect", "").lower() == "100-continue":
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = _body_of(stream, headers)
                if upstream is None:
                    place = urlsplit(self.target)
                    upstream = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
                if not self._one(connection, upstream, method, path, headers, body):
                    return
        except (OSError, ValueError, http.client.HTTPException):
            return
        finally:
            connection.close()
            if upstream is not None:
                upstream.close()

    def _one(self, connection, upstream, method, path, headers, body) -> bool:  # type: ignore[no-untyped-def]
        seen = Seen(method, path, time.monotonic(), sent_bytes=len(body))
        if self.counting:
            self.seen.append(seen)
        fault, chance = self._draw(method, path, headers)
        seen.fault = fault
        try:
            if self.latency_s or self.faults.delay_s:
                time.sleep(self.latency_s + chance * self.faults.delay_s)
            if fault == "reset":
                return False
            if fault == "slow_down":
                return _answer(connection, seen, 503, "SlowDown")
            if fault == "conflict":
                return _answer(connection, seen, 409, "ConditionalRequestConflict")
            if fault == "error" and chance < 0.5:
                return _answer(connection, seen, 500, "InternalError")
            if fault == "late":
                thread = threading.Thread(target=self._much_later, args=(method, path, headers, body, chance))
                self._late.append(thread)
                thread.start()
                return False
            status, told, content = _ask(upstream, method, path, headers, body)
            if fault == "lost":
                return False
            if fault == "stall":
                time.sleep(self.faults.stall_s)
            if fault == "error":
                return _answer(connection, seen, 500, "InternalError")
            if fault == "stale":
                content = _stale(content)
                told = [(k, v) for k, v in told if k.lower() != "content-length"]
                told.append(("Content-Length", str(len(content))))
            seen.status, seen.came_bytes = status, len(content)
            lines = [
                f"HTTP/1.1 {status} {http.client.responses.get(status, '')}",
                *(f"{k}: {v}" for k, v in told),
                "",
                "",
            ]
            half = content[: len(content) // 2] if fault == "truncated" else content
            connection.sendall("\r\n".join(lines).encode("latin-1") + half)
            return fault != "truncated"
        finally:
            seen.ended = time.monotonic()

    def _draw(self, method: str, path: str, headers) -> tuple[str, float]:  # type: ignore[no-untyped-def]
        with self._lock:
            chance = self._dice.random()
            if self._storm > 0:
                self._storm -= 1
                self.injected["slow_down"] += 1
                return "slow_down", chance
            conditional = method == "PUT" and "If-None-Match" in headers
            listing = method == "GET" and "list-type=2" in path
            for name in ("lost", "reset", "truncated", "error", "slow_down", "conflict", "late", "stale", "stall"):
                fits = {"truncated": method == "GET", "conflict": conditional, "late": conditional, "stale": listing}
                if fits.get(name, True) and self._dice.random() < getattr(self.faults, name):
                    self.injected[name] += 1
                    if name == "slow_down":
                        self._storm = self._dice.randrange(4)
                    return name, chance
            return "", chance

    def _much_later(self, method, path, headers, body, chance: float) -> None:  # type: ignore[no-untyped-def]
        time.sleep(0.02 + chance * 0.3)
        place = urlsplit(self.target)
        upstream = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
        try:
            _ask(upstream, method, path, headers, body)
        except (OSError, http.client.HTTPException):
            pass
        finally:
            upstream.close()


def chain(seen: list[Seen]) -> int:
    """The longest chain of requests of which each began after the one before it had ended."""
    count, end = 0, float("-inf")
    for one in sorted(seen, key=lambda s: s.ended):
        if one.begun >= end:
            count, end = count + 1, one.ended
    return count


def _body_of(stream, headers) -> bytes:  # type: ignore[no-untyped-def]
    if headers.get("Transfer-Encoding", "").lower() == "chunked":
        parts = []
        while size := int(stream.readline().split(b";")[0], 16):
            parts.append(stream.read(size))
            stream.readline()
        while stream.readline().strip():
            pass
        return b"".join(parts)
    return stream.read(min(int(headers.get("Content-Length", 0)), _LARGEST))


def _ask(upstream, method, path, headers, body):  # type: ignore[no-untyped-def]
    passed = {k: v for k, v in headers.items() if k.lower() not in _HOP or k.lower() == "host"}
    passed.setdefault("Content-Length", str(len(body)))
    for attempt in (1, 2):
        try:
            upstream.request(method, path, body=body or None, headers=passed)
            response = upstream.getresponse()
            break
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            upstream.close()  # a connection that was idle for too long
            if attempt == 2:
                raise
    content = response.read()
    told = [(k, v) for k, v in response.getheaders() if k.lower() not in _HOP and k.lower() != "content-length"]
    told.append(("Content-Length", response.getheader("Content-Length") or str(len(content))))
    return response.status, told, content


def _answer(connection: socket.socket, seen: Seen, status: int, code: str) -> bool:
    text = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>injected</Message></Error>'.encode()
    seen.status = status
    head = f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {len(text)}\r\n\r\n"
    connection.sendall(head.encode() + text)
    return True


def _stale(content: bytes) -> bytes:
    """A listing without its last few keys, as if they had not been written yet."""
    entries = re.findall(rb"<Contents>.*?</Contents>", content, re.DOTALL)
    for entry in entries[-3:]:
        content = content.replace(entry, b"", 1)
    return content
