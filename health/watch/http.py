"""An HTTP request with a hard time limit: without redirects, without retries, without reading the body."""

import http.client
import socket
import threading
from collections.abc import Mapping
from urllib.parse import urlsplit

from kbstore.health.errors import HealthError


class SendFault(HealthError):
    """A message could not be sent; the caller may try again."""


def request(method: str, url: str, body: bytes | None, headers: Mapping[str, str], timeout_s: float) -> int:
    """Send a request; return the status of the answer, from 200 to 299.

    Raises:
        SendFault: The URL cannot be used, no answer came in time, or the answer has another status.
    """
    parts = urlsplit(url)
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    if parts.scheme not in kinds or not parts.hostname:
        raise SendFault("the address is no http or https URL")
    try:
        connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=timeout_s)
    except ValueError as fault:
        raise SendFault(f"the address cannot be used: {fault}") from None
    # A socket's timeout starts again with every byte; the timer ends also an answer that only trickles in.
    timer = threading.Timer(timeout_s, _cut, (connection,))
    timer.daemon = True
    timer.start()
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, body, dict(headers))
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException, AttributeError, ValueError) as fault:
        raise SendFault(f"{parts.hostname}: {type(fault).__name__}: {fault}") from None
    finally:
        timer.cancel()
        connection.close()
    if not 200 <= answer.status < 300:
        raise SendFault(f"{parts.hostname} answered {answer.status}")
    return int(answer.status)


def _cut(connection: http.client.HTTPConnection) -> None:
    try:
        if connection.sock is not None:
            connection.sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
