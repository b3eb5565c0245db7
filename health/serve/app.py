"""Health over HTTP: ``/livez``, ``/readyz``, ``/health`` and ``/metrics``.

Answers come from the board and run no check. Callers with the token see everything, other callers only the status. The
code is 200 for healthy or degraded, and 503 for unhealthy or not yet known; ``/metrics`` always answers 200.
"""

import hmac
import json
import socket
from collections.abc import Callable
from time import monotonic

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kbstore.health import formats
from kbstore.health.formats import health_json, openmetrics
from kbstore.health.model import Report, Status
from kbstore.health.serve.status_cache import Board

_NO_STORE = {"Cache-Control": "no-store"}
_KEPT_S = 1.0
"""Seconds for which an answer is reused if nothing new is known: only the ages in the answer change."""

_Handle = Callable[[Request], Response]
_Render = Callable[[Report, bool], str]


def application(board: Board, token: str) -> Starlette:
    """Return the ASGI application.

    Args:
        board: Source of the answers.
        token: Callers with ``Authorization: Bearer TOKEN`` see details; if empty, nobody does.
    """

    def trusted(request: Request) -> bool:
        given = request.headers.get("authorization", "")
        return bool(token) and hmac.compare_digest(given.encode(), f"Bearer {token}".encode())

    def answer(tag: str | None, render: _Render, media_type: str) -> _Handle:
        kept: dict[bool, tuple[int, float, str, int]] = {}

        def handle(request: Request) -> Response:
            details = trusted(request)
            version, until, text, code = kept.get(details, (-1, 0.0, "", 0))
            if version != board.version or monotonic() >= until:
                version = board.version
                report = board.report(tag)
                text = render(report, details)
                code = 503 if report.overall is Status.UNHEALTHY else 200
                kept[details] = (version, monotonic() + _KEPT_S, text, code)
            return Response(text, code, _NO_STORE, media_type)

        return handle

    def livez(request: Request) -> Response:
        # An answer shows that the process lives, unless a live check says otherwise.
        report = board.report("live")
        alive = not report.ran or report.overall is not Status.UNHEALTHY
        word = json.dumps({"status": "healthy" if alive else "unhealthy"}) + "\n"
        text = _status(report, True) if trusted(request) else word
        return Response(text, 200 if alive else 503, _NO_STORE, "application/json")

    def only_200(handle: _Handle) -> _Handle:
        # Prometheus ignores the metrics in an error, and during a failure the metrics are needed most.
        def always(request: Request) -> Response:
            response = handle(request)
            response.status_code = 200
            return response

        return always

    def sync(handle: _Handle) -> Callable[[Request], object]:
        # Handlers only read memory; in the event loop itself they are quicker than in a pool of threads.
        async def run(request: Request) -> Response:
            return handle(request)

        return run

    found = Starlette(
        routes=[
            Route("/livez", sync(livez)),
            Route("/readyz", sync(answer("ready", _status, "application/json"))),
            Route("/health", sync(answer(None, _health, health_json.MEDIA_TYPE))),
            Route("/metrics", sync(only_200(answer(None, _metrics, openmetrics.MEDIA_TYPE)))),
        ]
    )
    # A redirect would send the caller to any host that the request names.
    found.router.redirect_slashes = False
    return found


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free port.

    Raises:
        OSError: The address cannot be used.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    return listener


def run(board: Board, token: str, listener: socket.socket) -> None:
    """Answer requests until interrupted or terminated."""
    import uvicorn

    from kbstore.health.serve.limits import HEADER_BYTES, Limited

    config = uvicorn.Config(
        application(board, token),
        http=Limited,
        ws="none",
        h11_max_incomplete_event_size=HEADER_BYTES,
        backlog=16,  # connections to accept before the event loop serves any
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
    )
    board.start()
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        board.close()


def _status(report: Report, details: bool) -> str:
    return formats.render(report, "json") if details else json.dumps({"status": str(report.overall)}) + "\n"


def _health(report: Report, details: bool) -> str:
    if details:
        return formats.render(report, "health+json")
    return json.dumps({"status": health_json.WORDS[report.overall]}) + "\n"


def _metrics(report: Report, details: bool) -> str:
    return openmetrics.render(report, checks=details)
