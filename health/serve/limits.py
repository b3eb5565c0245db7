"""The limits that `health serve` sets to those who connect, which uvicorn does not.

A connection whose request does not come, or whose answer is not read, is closed after some seconds. If more are open
than the limit, the one that has waited longest is closed, so that a new request is always answered: ours take no time.
"""

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS = 64
"""How many connections may be open."""

REQUEST_S = 5.0
"""Seconds until a request has come whole and its answer is on its way."""

HEADER_BYTES = 16 * 1024
"""How long a request's line and headers may be together."""


class Limited(H11Protocol):
    """A connection with a timer, that knows the others of its process."""

    limit: ClassVar[int] = CONNECTIONS
    request_s: ClassVar[float] = REQUEST_S
    _open: ClassVar[dict["Limited", None]] = {}

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, and close the one that has waited longest if there are too many."""
        super().connection_made(transport)
        self._open[self] = None
        while len(self._open) > self.limit:
            next(iter(self._open)).cut()
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._open.pop(self, None)
        self._end()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for another request, as the connection that has waited least."""
        if self._open.pop(self, 0) is None:
            self._open[self] = None
            self._begin()
        super().on_response_complete()

    def cut(self) -> None:
        """Close the connection now."""
        self._open.pop(self, None)
        self._end()
        self.transport.abort()

    def _begin(self) -> None:
        self._end()
        self._timer = self.loop.call_later(self.request_s, self.cut)

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
