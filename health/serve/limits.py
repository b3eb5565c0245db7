"""Limits on the connections of `health serve`, in addition to uvicorn's.

A connection is closed after some seconds if the request does not come, or the answer is not read. If too many
connections are open, the longest waiting connection is closed. So a new request is always answered: a normal request
takes no time.
"""

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS = 64
"""Largest number of open connections."""

REQUEST_S = 5.0
"""Seconds until a request must be complete and the answer under way."""

HEADER_BYTES = 16 * 1024
"""Largest size of the request line and the headers together."""


class Limited(H11Protocol):
    """A connection with a timer, and with access to the other connections of the process."""

    limit: ClassVar[int] = CONNECTIONS
    request_s: ClassVar[float] = REQUEST_S
    _open: ClassVar[dict["Limited", None]] = {}

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer; while too many connections are open, close the longest waiting."""
        super().connection_made(transport)
        self._open[self] = None
        while len(self._open) > self.limit:
            next(iter(self._open)).cut()
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer, and forget the connection."""
        self._open.pop(self, None)
        self._end()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for another request, now as the connection with the shortest wait."""
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
