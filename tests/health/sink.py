"""A real HTTP server on the loopback that takes alerts, refuses them, or never answers, as it is told."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Receiver:
    """Use it as a context manager.

    Attributes:
        mode: ``takes``, ``fails`` (500), ``hangs`` (no answer), ``trickles`` (a byte now and then), ``redirects``.
        seen: Headers and body of every request, also of those that were not taken.
        taken: The same, of those that were.
    """

    def __init__(self) -> None:
        self.mode = "takes"
        self.seen: list[tuple[dict[str, str], bytes]] = []
        self.taken: list[tuple[dict[str, str], bytes]] = []
        self._released = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver._handle(self)

            do_GET = do_POST  # noqa: N815 - the name that http.server looks for

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook?token=abcdef"

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        request = ({k.lower(): v for k, v in handler.headers.items()}, body)
        self.seen.append(request)
        mode = self.mode
        if mode == "hangs":
            self._released.wait(60)
            return
        if mode == "trickles":
            for _ in range(600):
                handler.wfile.write(b"H")
                if self._released.wait(0.1):
                    return
        if mode == "takes":
            self.taken.append(request)
        handler.send_response({"takes": 204, "fails": 500, "redirects": 302}[mode])
        handler.send_header("Location", "/elsewhere")
        handler.end_headers()

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
