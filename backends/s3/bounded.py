"""Connections on which every wait ends by a deadline, whatever the server does.

A read timeout bounds the wait for the next bytes, so an answer that comes a few bytes at a time never ends by it. Here
each wait of a request is cut to what is left until the deadline of its thread. Sending is bounded by that deadline
alone: large objects on a slow line take longer than a connection may.
"""

import http.client
import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_NEVER = float("inf")


class _Limit(threading.local):
    until = _NEVER


_limit = _Limit()


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Let all waits of this thread's requests end within so many seconds."""
    before, _limit.until = _limit.until, time.monotonic() + max(seconds, 0.0)
    try:
        yield
    finally:
        _limit.until = before


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
        self.fp = io.BufferedReader(_Reader(sock, raw))


class _Bounded:
    """Mixed into a connection; see the module's text."""

    response_class = _Response
    sock: socket.socket | None

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        _wait_at_most(self.sock, None)

    def send(self, data: Any) -> Any:
        _wait_at_most(self.sock, None)
        return super().send(data)  # type: ignore[misc]


class _Reader(io.RawIOBase):
    """The bytes of a socket."""

    def __init__(self, sock: Any, raw: Any) -> None:
        self._sock = sock
        self._raw = raw
        self._timeout = sock.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        _wait_at_most(self._sock, self._timeout)
        return self._raw.readinto(buffer)  # type: ignore[no-any-return]

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
