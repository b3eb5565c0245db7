"""Connections on which every wait ends by a deadline, whatever the server does.

A read timeout bounds the wait for the next bytes, so an answer that comes a few bytes at a time never ends by it. Here
each wait of a request is cut to what is left until the deadline of its thread. Sending is bounded by that deadline
alone: large objects on a slow line take longer than a connection may.

The deadline is on progress: each byte that goes or comes moves it on, as if the line brought `LEAST_RATE` bytes a
second and no more, but never farther away than it was at first. So an object may take as long as it takes on a line
that is faster than that, and an answer that drips ends all the same.

The bytes of an answer are bounded too, before they are kept and parsed: boto3 reads what is no object as a whole.
"""

import http.client
import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kbstore.backends.s3.transport.errors import TooLong

LARGEST_TOLD_BYTES = 8 << 20
"""The largest answer that is no object. A page of a listing has 1,000 keys, 4 MB at the most; a refusal is short."""
_NEVER = float("inf")
LEAST_RATE = 8 * 1024
_SENT_AT_ONCE = 64 * 1024
_BUFFERED = 256 * 1024


class _Limit(threading.local):
    until = _NEVER
    seconds = _NEVER
    sent = 0
    most_bytes = LARGEST_TOLD_BYTES


_limit = _Limit()


@contextmanager
def bounded(seconds: float, most_bytes: int = LARGEST_TOLD_BYTES) -> Iterator[None]:
    """Let all waits of this thread's requests end within so many seconds, or so many after there was progress.

    An answer of success that has more than `most_bytes` is refused as `TooLong`, and any other that is larger than
    `LARGEST_TOLD_BYTES`.
    """
    before = _limit.until, _limit.seconds, _limit.most_bytes
    seconds = max(seconds, 0.0)
    _limit.most_bytes = most_bytes
    _limit.until, _limit.seconds, _limit.sent = time.monotonic() + seconds, seconds, 0
    try:
        yield
    finally:
        _limit.until, _limit.seconds, _limit.most_bytes = before


def _progress(count: int) -> None:
    """Move the deadline on for bytes that went or came."""
    if _limit.until != _NEVER:
        _limit.until = min(_limit.until + count / LEAST_RATE, time.monotonic() + _limit.seconds)


def bound_connections(client: Any) -> None:
    """Let a boto3 client make connections of this kind.

    There is no public way; where botocore has changed within, its own timeouts are what is left.
    """
    try:
        session = client._endpoint.http_session
        pools = session._pool_classes_by_scheme
        for scheme, pool in pools.items():
            connection = type("BoundedConnection", (_Bounded, pool.ConnectionCls), {})
            pools[scheme] = type("BoundedPool", (pool,), {"ConnectionCls": connection})
        session._manager.pool_classes_by_scheme = pools
    except AttributeError:
        pass


class _Response(http.client.HTTPResponse):
    """An answer that is read so."""

    def __init__(self, sock: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        raw = self.fp.detach()
        self._reader = _Reader(sock, raw)
        self.fp = io.BufferedReader(self._reader)

    def begin(self) -> None:
        super().begin()
        if self.status >= 300:
            self._reader.most_bytes = LARGEST_TOLD_BYTES


class _Bounded:
    """Mixed into a connection; see the module's text."""

    response_class = _Response
    sock: socket.socket | None

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        _wait_at_most(self.sock, None)

    def send(self, data: Any) -> Any:
        if not isinstance(data, bytes | bytearray | memoryview):
            _wait_at_most(self.sock, None)
            return super().send(data)  # type: ignore[misc]
        rest = memoryview(data)
        while True:
            part, rest = rest[:_SENT_AT_ONCE], rest[_SENT_AT_ONCE:]
            _wait_at_most(self.sock, None)
            super().send(part)  # type: ignore[misc]
            _progress(len(part))
            _limit.sent += len(part)
            if not rest:
                return None


class _Reader(io.RawIOBase):
    """The bytes of a socket."""

    def __init__(self, sock: Any, raw: Any) -> None:
        self._sock = sock
        self._raw = raw
        self._timeout = sock.gettimeout()
        self._came = 0
        self.most_bytes = _limit.most_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        # Of a large object much may still be in this machine's buffers, and no answer comes before it has left.
        _wait_at_most(self._sock, None if _limit.sent > _BUFFERED else self._timeout)
        _limit.sent = 0
        count: int | None = self._raw.readinto(buffer)
        _progress(count or 0)
        self._came += count or 0
        if self._came > self.most_bytes + _BUFFERED:  # the headers come on top
            raise TooLong(f"an answer of more than {self.most_bytes:,} bytes")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


def _wait_at_most(sock: Any, timeout: float | None) -> None:
    """Cut a socket's timeout to what is left; without a deadline it stays as it is."""
    if sock is None or _limit.until == _NEVER:
        return
    left = _limit.until - time.monotonic()
    if left <= 0:
        raise TimeoutError("the deadline is over")
    sock.settimeout(left if timeout is None else min(left, timeout))
