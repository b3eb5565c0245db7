"""A bucket in a dict that keeps the conditions of S3, with a latency to be switched on: for counting requests."""

import threading
import time
from collections.abc import Callable
from typing import Any
from zlib import crc32

from kbstore.backends.s3 import S3Backend
from kbstore.backends.s3.transport.client import Client, Got, Listed, Request
from kbstore.backends.s3.transport.clock import SystemChance
from kbstore.backends.s3.transport.errors import Refused
from kbstore.backends.s3.transport.url import Options
from kbstore.kit.forks import tell_of_forks

DENIED = Refused(403, "AccessDenied", False, PermissionError())


class Bucket:
    """Objects by key, and when each was written.

    Attributes:
        latency_s: How long each request takes, beside others.
        race_s: A conditional write checks, waits so long, then writes: of several at once more than one succeeds.
        now: The server's clock, in seconds.
        name: What it is called.
        stored_as: What becomes of the bytes that are written under a key.
        judge: Whether a policy allows an action (``s3:PutObject``) on a key, given the values of its condition keys.
    """

    stored_as: Callable[[str, bytes], bytes] | None = None
    judge: Callable[[str, str, dict[str, str]], bool] | None = None

    def __init__(self, name: str = "fake") -> None:
        self.name = name
        self.objects: dict[str, tuple[bytes, float]] = {}
        self.latency_s = 0.0
        self.race_s = 0.0
        self.now = 1_000_000.0
        self.after_fork()
        tell_of_forks(self)
        self.ordered: list[str] | None = None

    def after_fork(self) -> None:
        """Another thread may have held it."""
        self.lock = threading.Lock()

    def remove(self, *keys: str) -> None:
        """As a hand on the server would."""
        for key in keys:
            self.objects.pop(key, None)
        self.ordered = None


def _etag(data: bytes) -> str:
    return f'"{crc32(data):08x}-{len(data)}"'


class DictClient(Client):
    """The requests of the backend, answered from a `Bucket`."""

    def __init__(self, options: Options, bucket: Bucket) -> None:
        super().__init__(options, SystemChance())
        self.bucket = bucket

    @property
    def server(self) -> str:
        return f"a dict called {self.bucket.name}"

    def _get(self, key: str, start: int, stop: int | None) -> Got | Refused:
        with self._counted("GET", key) as request, self.bucket.lock:
            if self._denied(request, "s3:GetObject"):
                return DENIED
            if key not in self.bucket.objects:
                request.status = 404
                return Refused(404, "NoSuchKey", False, KeyError(key))
            data, written = self.bucket.objects[key]
            if start >= len(data) and (start or stop is not None):
                request.status = 416
                return Refused(416, "InvalidRange", False, KeyError(key))
            part = data[start:stop]
            request.came_bytes = len(part)
            return Got(part, len(data), self.bucket.now - written)

    def _put(self, key: str, data: bytes, *, absent: bool) -> Refused | None:
        with self._counted("PUT", key) as request, self.bucket.lock:
            request.sent_bytes, request.absent = len(data), absent
            if self._denied(request, "s3:PutObject", {"s3:if-none-match": "*"} if absent else {}):
                return DENIED
            if absent and key in self.bucket.objects:
                request.status = 412
                return Refused(412, "PreconditionFailed", False, KeyError(key))
            if absent and self.bucket.race_s:
                self.bucket.lock.release()
                time.sleep(self.bucket.race_s)
                self.bucket.lock.acquire()
            if key not in self.bucket.objects:
                self.bucket.ordered = None
            kept = data if self.bucket.stored_as is None else self.bucket.stored_as(key, data)
            self.bucket.objects[key] = (kept, self.bucket.now)
            self._note_etag(key, _etag(kept))
            return None

    def _delete(self, key: str) -> Refused | None:
        with self._counted("DELETE", key) as request, self.bucket.lock:
            if self._denied(request, "s3:DeleteObject"):
                return DENIED
            if self.bucket.objects.pop(key, None) is not None:
                self.bucket.ordered = None
            return None

    def _list(self, prefix: str, asked: dict[str, Any]) -> dict[str, Any] | Refused:
        from bisect import bisect_left, bisect_right
        from datetime import UTC, datetime

        with self._counted("LIST", prefix) as request, self.bucket.lock:
            if self._denied(request, "s3:ListBucket", {"s3:prefix": self.options.prefix + prefix}):
                return DENIED
            if self.bucket.ordered is None:
                self.bucket.ordered = sorted(self.bucket.objects)
            keys = self.bucket.ordered
            base = self.options.prefix
            after = asked.get("ContinuationToken") or asked.get("StartAfter")
            at = bisect_right(keys, after[len(base) :]) if after else bisect_left(keys, prefix)
            found: list[Listed] = []
            folders: dict[str, None] = {}
            while at < len(keys) and keys[at].startswith(prefix) and len(found) + len(folders) < asked["MaxKeys"]:
                rest = keys[at][len(prefix) :]
                if "Delimiter" in asked and "/" in rest:
                    folder = prefix + rest.partition("/")[0] + "/"
                    folders[folder] = None
                    at = bisect_left(keys, folder[:-1] + "0")
                    continue
                data, written = self.bucket.objects[keys[at]]
                found.append(Listed(keys[at], len(data), self.bucket.now - written, _etag(data)))
                at += 1
            more = at < len(keys) and keys[at].startswith(prefix)
            stamp = datetime.fromtimestamp(self.bucket.now, UTC)
            return {
                "Contents": [
                    {
                        "Key": base + one.key,
                        "Size": one.size,
                        "ETag": one.etag,
                        "LastModified": datetime.fromtimestamp(self.bucket.now - one.age_s, UTC),
                    }
                    for one in found
                ],
                "CommonPrefixes": [{"Prefix": base + folder} for folder in folders],
                "IsTruncated": more,
                "NextContinuationToken": base + keys[at - 1] if more else None,
                "ResponseMetadata": {"HTTPHeaders": {"date": stamp.strftime("%a, %d %b %Y %H:%M:%S GMT")}},
            }

    def _denied(self, request: Request, action: str, conditions: dict[str, str] | None = None) -> bool:
        """Whether the bucket's policy refuses a request, which is then counted as refused."""
        judge = self.bucket.judge
        key = "" if action == "s3:ListBucket" else self._full(request.key)
        denied = judge is not None and not judge(action, key, conditions or {})
        request.status = 403 if denied else request.status
        return denied

    def _counted(self, operation: str, key: str) -> "_Counted":
        return _Counted(self, operation, key)


class _Counted:
    """One request: counted, and as slow as the bucket."""

    def __init__(self, client: DictClient, operation: str, key: str) -> None:
        self._client = client
        self._request = Request(operation, key, client.chance.monotonic(), status=200)

    def __enter__(self) -> Request:
        if self._client.meter.on:
            self._client.meter.requests.append(self._request)
        if self._client.bucket.latency_s:
            time.sleep(self._client.bucket.latency_s)
        return self._request

    def __exit__(self, *_: object) -> None:
        self._request.ended = self._client.chance.monotonic()


def backend_on(bucket: Bucket, *, new: bool = False, read_only: bool = False, **options: Any) -> S3Backend:
    """A backend on such a bucket."""
    from kbstore.backends.s3 import probe

    chosen = Options(bucket.name, "kb/", cache="off", **options)
    client = DictClient(chosen, bucket)
    store = probe.begin_store(client, client.chance.token()) if new else None
    client.meter.on = True
    return S3Backend(chosen, client=client, store=store, read_only=read_only)
