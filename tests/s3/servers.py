"""Servers that speak S3, for tests: moto behind a lock, and SeaweedFS, a real one."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from examples.s3.server import ACCESS_KEY, READER_KEY, READER_SECRET, SECRET_KEY, seaweed
from examples.s3.server import raw_client as new_raw_client
from kbstore.backends.s3.transport.client import _clients

__all__ = [
    "ACCESS_KEY",
    "READER_KEY",
    "READER_SECRET",
    "SECRET_KEY",
    "Locked",
    "MotoServer",
    "forget_clients",
    "raw_client",
    "seaweed",
    "use_credentials",
]

raw_client = cache(new_raw_client)
"""A plain boto3 client of a server: see `examples.s3.server`. One for each, since making it takes 0.1 s."""


def forget_clients(url: str) -> None:
    """Close what this process keeps for a server that is gone: each client of boto3 has 2 MB and its connections."""
    place = url.partition("://")[2]
    with _clients.lock:
        gone = [key for key in _clients.made if any(place in str(part) for part in key)]
        for key in gone:
            _clients.made.pop(key).close()


Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Locked:
    """moto, one request at a time: it checks, then writes, and without a lock some races have two winners.

    Attributes:
        delay_s: Waited before each request, beside one another, so that what runs at once is seen to.
        before: Called with each request's method and path; may answer instead by returning (status, body).
        stores_frames: Take a body that is framed as ``aws-chunked`` for content, as servers do that do not know it.
    """

    def __init__(self, inner: Wsgi) -> None:
        self.inner = inner
        self.delay_s = 0.0
        self.before: Callable[[dict[str, Any]], tuple[str, bytes] | None] | None = None
        self.stores_frames = False
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if self.delay_s:
            time.sleep(self.delay_s)
        if self.before is not None and (answer := self.before(environ)) is not None:
            status, body = answer
            start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [body]
        if self.stores_frames and environ.pop("HTTP_X_AMZ_DECODED_CONTENT_LENGTH", None):
            for name in ("HTTP_CONTENT_ENCODING", "HTTP_X_AMZ_TRAILER", "HTTP_X_AMZ_CONTENT_SHA256"):
                environ.pop(name, None)
        with self._lock:
            return [b"".join(self.inner(environ, start))]


class MotoServer:
    """moto's S3 on a port of its own, in threads of this process."""

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Quiet(WSGIRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_request(self, *_: object) -> None:
                pass

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.app = Locked(DomainDispatcherApplication(create_backend_app))
        self._server = make_server("127.0.0.1", 0, self.app, threaded=True, request_handler=Quiet)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        forget_clients(self.url)


def use_credentials(monkeypatch: Any, url: str | None) -> None:
    """The AWS chain of this test: our keys, our endpoint, nobody's files."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    if url is not None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
