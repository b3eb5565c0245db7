"""A fake S3 that speaks HTTP: objects in a dict, and the bad habits of real servers, each behind a switch.

Keys are those of the bucket, not of a store's prefix, so a test can put foreign objects beside, above and
below a store.
"""

import ssl
import threading
import time
import zlib
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

_STREAMED = "STREAMING-"


class Stored(NamedTuple):
    """An object: its bytes, and when it was written."""

    data: bytes
    written: datetime


class Ask(NamedTuple):
    """A request as it came.

    Attributes:
        method: GET, PUT, DELETE, HEAD.
        bucket: The bucket.
        key: The whole key; empty for a request about the bucket.
        query: Parameters of the URL.
        headers: With names in lower case.
        body: Content as it will be stored.
    """

    method: str
    bucket: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class Answer(NamedTuple):
    """An answer: status, content and more headers."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}


def refusal(status: int, code: str, **headers: str) -> Answer:
    """An answer that says no, in the XML of S3."""
    text = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'
    return Answer(status, text.encode(), {"Content-Type": "application/xml", **headers})


@dataclass
class FakeS3:
    """Objects, and habits of the server that answers for them.

    Attributes:
        shared: The server; None for one of its own, on a port of its own, with a thread for each connection.
        tls: Speak TLS with this, from the start.
        ca: File of the certificate that its clients are to trust.
        objects: What is stored, by bucket and key.
        latency_s: Waited before each request, beside the others.
        race_s: A conditional PUT checks, waits so long, then writes: of several at once more than one succeeds.
        frames: A body that is framed as ``aws-chunked`` is stored with its frame.
        ignores_conditions: ``If-None-Match`` has no effect.
        taken: Status of a PUT whose condition fails.
        ranges: Obey ``Range``; else the whole object is answered.
        token: The only session token that is accepted; None if there is no session.
        offset: By how much the server's clock is ahead.
        page: Most keys on a page of a listing.
        before: Called with each request; may answer instead.
        asked: How often which method was used.
    """

    shared: "Server | None" = None
    tls: ssl.SSLContext | None = None
    ca: str = ""
    objects: dict[tuple[str, str], Stored] = field(default_factory=dict)
    latency_s: float = 0.0
    race_s: float = 0.0
    frames: bool = False
    ignores_conditions: bool = False
    taken: int = 412
    ranges: bool = True
    token: str | None = None
    offset: timedelta = timedelta()
    page: int = 1000
    before: Callable[[Ask], Answer | None] | None = None
    asked: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._own = None if self.shared else Server(self.tls)
        server = self.shared or self._own
        assert server is not None
        server.fake, self.url = self, server.url

    def close(self) -> None:
        """End the server, unless it is shared."""
        if self._own is not None:
            self._own.close()

    def place(self, path: str, **options: object) -> str:
        """The URL of a store on it, ``bucket/prefix`` and options."""
        given = {"endpoint": self.url, **({"ca": self.ca} if self.ca else {}), "cache": "off", **options}
        return f"s3://{path}?" + "&".join(f"{name}={value}" for name, value in given.items())

    def refuse(self, status: int, code: str, *, method: str = "", key: str = "", times: int = 1_000_000) -> None:
        """Refuse requests of a method whose keys begin so, a number of times."""
        left = [times]

        def before(ask: Ask) -> Answer | None:
            if (method and ask.method != method) or not ask.key.startswith(key) or left[0] <= 0:
                return None
            left[0] -= 1
            return refusal(status, code)

        self.before = before

    # ---- what tests do to objects ------------------------------------------------------------------------------------

    def plant(self, bucket: str, key: str, data: bytes = b"not ours", *, age: timedelta = timedelta()) -> None:
        """Put an object there, as another program would."""
        self.objects[bucket, key] = Stored(data, self.now() - age)

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """The keys of a bucket that begin so, in order."""
        return sorted(key for held, key in list(self.objects) if held == bucket and key.startswith(prefix))

    def data(self, bucket: str, key: str) -> bytes:
        """The bytes of an object."""
        return self.objects[bucket, key].data

    def change(self, bucket: str, key: str, change: Callable[[bytes], bytes]) -> None:
        """Change the bytes of an object behind everybody's back."""
        held = self.objects[bucket, key]
        self.objects[bucket, key] = Stored(change(held.data), held.written)

    def remove(self, bucket: str, prefix: str) -> list[str]:
        """Remove all objects whose keys begin so, as a lifecycle rule would; which they were."""
        gone = self.keys(bucket, prefix)
        for key in gone:
            del self.objects[bucket, key]
        return gone

    def now(self) -> datetime:
        """The present by the server's clock."""
        return datetime.now(UTC) + self.offset

    # ---- requests ----------------------------------------------------------------------------------------------------

    def answer(self, ask: Ask) -> Answer:
        """Answer a request."""
        with self._lock:
            self.asked[ask.method] += 1
        if self.latency_s:
            time.sleep(self.latency_s)
        if self.token is not None and ask.headers.get("x-amz-security-token") != self.token:
            return refusal(400, "ExpiredToken")
        if self.before is not None and (instead := self.before(ask)) is not None:
            return instead
        if not ask.key:
            return self._list(ask) if ask.method == "GET" and "list-type" in ask.query else _of_bucket(ask)
        return {"GET": self._get, "HEAD": self._get, "PUT": self._put, "DELETE": self._delete}[ask.method](ask)

    def _get(self, ask: Ask) -> Answer:
        held = self.objects.get((ask.bucket, ask.key))
        if held is None:
            return refusal(404, "NoSuchKey")
        headers = {"ETag": _etag(held.data), "Last-Modified": format_datetime(held.written, usegmt=True)}
        wanted = ask.headers.get("range") if self.ranges else None
        if wanted is None:
            return Answer(200, held.data, headers)
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, size = int(first), len(held.data)
        if start >= size:
            return refusal(416, "InvalidRange", **{"Content-Range": f"bytes */{size}"})
        stop = min(int(last) + 1, size) if last else size
        return Answer(206, held.data[start:stop], {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{size}"})

    def _put(self, ask: Ask) -> Answer:
        conditional = "if-none-match" in ask.headers and not self.ignores_conditions
        if conditional and self.race_s:
            if (ask.bucket, ask.key) in self.objects:
                return refusal(self.taken, "PreconditionFailed")
            time.sleep(self.race_s)
            conditional = False
        with self._lock:
            if conditional and (ask.bucket, ask.key) in self.objects:
                return Answer(304) if self.taken == 304 else refusal(self.taken, "PreconditionFailed")
            self.objects[ask.bucket, ask.key] = Stored(ask.body, self.now())
        return Answer(200, b"", {"ETag": _etag(ask.body)})

    def _delete(self, ask: Ask) -> Answer:
        self.objects.pop((ask.bucket, ask.key), None)
        return Answer(204)

    def _list(self, ask: Ask) -> Answer:
        prefix, delimiter = ask.query.get("prefix", ""), ask.query.get("delimiter", "")
        after = unquote(ask.query.get("continuation-token", "")) or ask.query.get("start-after", "")
        most = min(int(ask.query.get("max-keys", 1000)), self.page)
        lines: list[str] = []
        last = folder = ""
        truncated = False
        for key in self.keys(ask.bucket, prefix):
            if key <= after or (folder and key.startswith(folder)):
                continue
            if delimiter and after.endswith(delimiter) and key.startswith(after):
                continue
            if len(lines) == most:
                truncated = True
                break
            head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            if found:
                folder = last = prefix + head + delimiter
                lines.append(f"<CommonPrefixes><Prefix>{_name(folder)}</Prefix></CommonPrefixes>")
                continue
            held, last = self.objects[ask.bucket, key], key
            stamp = held.written.strftime("%Y-%m-%dT%H:%M:%S.000Z")
            lines.append(
                f"<Contents><Key>{_name(key)}</Key><LastModified>{stamp}</LastModified>"
                f"<ETag>{escape(_etag(held.data))}</ETag><Size>{len(held.data)}</Size></Contents>"
            )
        more = f"<NextContinuationToken>{_name(last)}</NextContinuationToken>" if truncated else ""
        text = (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{escape(ask.bucket)}</Name><Prefix>{_name(prefix)}</Prefix><KeyCount>{len(lines)}</KeyCount>"
            f"<EncodingType>url</EncodingType><IsTruncated>{str(truncated).lower()}</IsTruncated>"
            f"{more}{''.join(lines)}</ListBucketResult>"
        )
        return Answer(200, text.encode(), {"Content-Type": "application/xml"})


class Server(ThreadingHTTPServer):
    """Listens on a port of its own; a thread for each connection.

    Args:
        tls: Speak TLS with this, from the start.

    Attributes:
        fake: Answers the requests that begin from now on.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    fake: FakeS3

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        if tls is not None:
            # The handshake is left to the thread of the connection.
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that goes away is none of the test's business


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Server

    def handle_expect_100(self) -> bool:
        self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.wfile.flush()
        return True

    def _serve(self) -> None:
        fake = self.server.fake
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = _content(self.rfile, headers)
        problem = None
        if headers.get("x-amz-content-sha256", "").startswith(_STREAMED) and not fake.frames:
            trailer: dict[str, str] = {}
            body = _unframed(BytesIO(body), trailer)
            headers.update(trailer)
            if len(body) != int(headers["x-amz-decoded-content-length"]):
                problem = refusal(400, "IncompleteBody")
        told = headers.get("x-amz-checksum-crc32")
        if told is not None and told != b64encode(zlib.crc32(body).to_bytes(4, "big")).decode():
            problem = refusal(400, "BadDigest")
        parts = urlsplit(self.path)
        bucket, _, key = unquote(parts.path).removeprefix("/").partition("/")
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        answer = problem or fake.answer(Ask(self.command, bucket, key, query, headers, body))
        self.send_response_only(answer.status)
        told = {"Date": format_datetime(fake.now(), usegmt=True), **answer.headers}
        for name, value in told.items():
            self.send_header(name, value)
        if answer.status not in (204, 304):
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.wfile.flush()

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _serve  # noqa: N815 - names that the base class looks for


def _content(stream: BinaryIO, headers: Mapping[str, str]) -> bytes:
    """The content of a request; the chunks of HTTP are undone, those of S3 are not."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return _unframed(stream, {})
    return stream.read(int(headers.get("content-length", 0)))


def _unframed(stream: BinaryIO, trailer: dict[str, str]) -> bytes:
    """What stands in chunks; HTTP and S3 frame alike. The lines behind them go into `trailer`."""
    parts = []
    while size := int(stream.readline().split(b";")[0], 16):
        parts.append(stream.read(size))
        stream.readline()
    while line := stream.readline().strip():
        name, _, value = line.decode().partition(":")
        trailer[name.lower()] = value.strip()
    return b"".join(parts)


def _of_bucket(ask: Ask) -> Answer:
    """Answers about a bucket: there is every bucket, and nothing is configured."""
    if "lifecycle" in ask.query:
        return refusal(404, "NoSuchLifecycleConfiguration")
    return refusal(501, "NotImplemented") if ask.query else Answer(200)


def _etag(data: bytes) -> str:
    return f'"{md5(data, usedforsecurity=False).hexdigest()}"'


def _name(key: str) -> str:
    return escape(quote(key, safe="/"))
