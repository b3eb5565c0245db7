"""Connections on which every wait ends by a deadline, whatever the server does.

A read timeout bounds only the wait for the next bytes, so an answer that comes a few bytes at a time never ends by
timeout. Here each wait of a request is cut to the time left until the deadline of its thread. Sending is bounded by
that deadline alone: sending a large object on a slow line takes longer than the connection timeout.

The deadline is on progress. Each byte sent or received moves the deadline on, as if the line carried exactly
`LEAST_RATE` bytes a second, but never farther away than at first. So an object may take any time on a line faster than
that, and an answer that drips still ends.

The size of an answer is bounded too, before the answer is kept and parsed: boto3 reads any answer other than an object
as a whole.
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
"""The largest answer other than an object. A page of a listing has 1,000 keys, at most 4 MB; a refusal is short."""
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
    """End all waits of this thread's requests within some seconds, counted anew from progress.

    A successful answer with more than `most_bytes`, or another answer larger than `LARGEST_TOLD_BYTES`, is refused as
    `TooLong`.
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
    """Move the deadline on for bytes that were sent or received."""
    if _limit.until != _NEVER:
        _limit.until = min(_limit.until + count / LEAST_RATE, time.monotonic() + _limit.seconds)


def bound_connections(client: Any) -> None:
    """Make a boto3 client use connections with a deadline.

    boto3 has no public way to do this. If botocore has changed inside, only botocore's own timeouts remain.
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
    """An answer, read within the deadline."""

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
    """Mixin that adds the deadline to a connection."""

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
    """Reader of a socket's bytes, within the deadline and the largest size."""

    def __init__(self, sock: Any, raw: Any) -> None:
        self._sock = sock
        self._raw = raw
        self._timeout = sock.gettimeout()
        self._came = 0
        self.most_bytes = _limit.most_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        # Much of a large object may still be in this machine's buffers, and no answer comes before that has left.
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
    """Cut a socket's timeout to the time left; without a deadline, leave the timeout unchanged.

    Raises:
        TimeoutError: No time is left.
    """
    if sock is None or _limit.until == _NEVER:
        return
    left = _limit.until - time.monotonic()
    if left <= 0:
        raise TimeoutError("the deadline is over")
    sock.settimeout(left if timeout is None else min(left, timeout))
