"""The only module with boto3: a few requests, with our own retries, deadlines and errors.

botocore's silent retries are off, so each attempt is seen here. Each process has one session and client for each way to
connect. Both are made on first use, also after a fork, and under a lock, since importing boto3 and the first client
cost about 0.3 s.
"""

import os
import re
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar
from zlib import crc32

from kbstore.backends.s3.format.keys import is_cache
from kbstore.backends.s3.transport.clock import Chance
from kbstore.backends.s3.transport.deadline import LARGEST_TOLD_BYTES, bound_connections, bounded
from kbstore.backends.s3.transport.errors import (
    NotS3,
    Refused,
    TooLong,
    explain,
    explain_kept,
    is_expired,
    is_kept,
    is_settled_soon,
    is_transient,
    is_withheld,
    may_have_landed,
    not_s3,
    refused_by,
)
from kbstore.backends.s3.transport.url import Options, refuse_insecure
from kbstore.kit.errors import BackendError, StoreUnavailable
from kbstore.kit.forks import tell_of_forks
from kbstore.kit.hosts import INSECURE

_T = TypeVar("_T")
_R = TypeVar("_R")

_FIRST_WAIT_S = 0.05
_LONGEST_WAIT_S = 5.0
_FEW_TRIES = 4
_LARGE_BYTES = 1024 * 1024
_LARGE_AT_ONCE = 4
_PAGE_KEYS = 1000
_EMPTY_PAGES = 100
"""A listing with more pages in a row without a key than this counts as endless."""
_LARGEST_ANSWER_BYTES = 1 << 28
"""The largest object to read: an endless answer must not fill the memory."""
_SHOWN_KEY = 48
_NO_TIME = (TypeError, ValueError, OverflowError, OSError)
"""Errors from an unusable time."""
_TASKS = 8
_NOT_MODIFIED = 304
_RANGE = re.compile("bytes ([0-9]{1,15})-[0-9]{1,15}/([0-9]{1,15})")
_OF_ANSWERS = ("botocore", "urllib3", "http", "ssl", "xml")
"""Packages for reading answers: an error from these packages is about the answer, whatever the error's class."""
_RANGE_NOT_SATISFIABLE = 416
_PRECONDITION_FAILED = 412


class Got(NamedTuple):
    """Result of a GET.

    Attributes:
        data: The bytes, or the requested range of bytes.
        size: Length of the whole object.
        age_s: Seconds since the object was written, by the server's clock.
    """

    data: bytes
    size: int
    age_s: float


class Want(NamedTuple):
    """An object to read; for a range, also the first byte and the byte after the last."""

    key: str
    start: int = 0
    stop: int | None = None


class Listed(NamedTuple):
    """A key of a listing; the size of a folder is -1.

    Attributes:
        key: The key without the store's prefix.
        size: Length of the object.
        age_s: Seconds since the object was written, by the server's clock.
        etag: The server's name for the content.
    """

    key: str
    size: int
    age_s: float
    etag: str = ""


@dataclass(slots=True)
class Request:
    """An HTTP request, as counted.

    Attributes:
        operation: GET, PUT, LIST, DELETE.
        key: Key or prefix of the request.
        begun: Time of sending (`Chance.monotonic`).
        ended: Time of the answer.
        sent_bytes: Bytes of content sent.
        came_bytes: Bytes of content received.
        status: HTTP status; 0 if no answer came.
        absent: True for a PUT with ``If-None-Match: *``.
    """

    operation: str
    key: str
    begun: float
    ended: float = 0.0
    sent_bytes: int = 0
    came_bytes: int = 0
    status: int = 0
    absent: bool = False


@dataclass(slots=True)
class Meter:
    """Counter of requests, active while `on` is true; begin and end of each show how many followed one another."""

    on: bool = False
    requests: list[Request] = field(default_factory=list)

    def reset(self) -> list[Request]:
        """Start to count from zero; return the requests counted so far."""
        done, self.requests = self.requests, []
        self.on = True
        return done


def round_trips(requests: Iterable[Request]) -> int:
    """Return the length of the longest chain of requests that each began after the previous request ended."""
    count, end = 0, float("-inf")
    for request in sorted(requests, key=lambda r: r.ended):
        if request.begun >= end:
            count, end = count + 1, request.ended
    return count


class _Clients:
    """The boto3 clients of this process, by way to connect."""

    def __init__(self) -> None:
        self.after_fork()
        tell_of_forks(self)

    def after_fork(self) -> None:
        """Forget all clients, since two processes must not share a connection (`kbstore.kit.forks.Forked`)."""
        self.lock = threading.Lock()
        self.made: dict[tuple[Any, ...], Any] = {}


_clients = _Clients()


def _client_for(options: Options, *, instead_of: Any = None) -> Any:
    """Return the boto3 client of this process for a way to connect.

    Args:
        options: The way to connect.
        instead_of: A client with an expired session, to be replaced unless another thread has already done so.
    """
    key = (
        options.endpoint,
        options.insecure or os.environ.get(INSECURE, ""),
        options.region,
        options.profile,
        options.addressing,
        options.ca,
        options.checksums == "off",
        options.connect_timeout,
        options.read_timeout,
        options.threads,
        *(os.environ.get(n) for n in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_PROFILE")),
        *(os.environ.get(n) for n in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION")),
    )
    with _clients.lock:
        if key not in _clients.made or _clients.made[key] is instead_of:
            _clients.made[key] = _new_client(options)
        return _clients.made[key]


def _new_client(options: Options) -> Any:
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
        from botocore.session import get_session
    except ImportError as fault:
        raise StoreUnavailable(
            f"stores on S3 need boto3, which cannot be imported: {fault}", hint="pip install 'kbstore[s3]'"
        ) from None
    _check_certificates(options)
    try:
        inner = get_session()
        inner.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_moment)
        session = boto3.session.Session(
            profile_name=options.profile or None, region_name=options.region or None, botocore_session=inner
        )
        client = session.client(
            "s3",
            endpoint_url=options.endpoint or None,
            region_name=session.region_name or "us-east-1",
            verify=options.ca or None,
            config=Config(
                **({"request_checksum_calculation": "when_required"} if options.checksums == "off" else {}),
                retries={"total_max_attempts": 1},
                connect_timeout=options.connect_timeout,
                read_timeout=options.read_timeout,
                max_pool_connections=options.threads + 4,
                tcp_keepalive=True,
                s3={"addressing_style": options.addressing},
            ),
        )
        refuse_insecure(client.meta.endpoint_url, options)
        bound_connections(client)
        # `Expect: 100-continue` costs each PUT a second round trip, and waits for the answer without a deadline.
        client.meta.events.register_last("before-call.s3", lambda params, **_: _drop_expect(params))
        return client
    except (BotoCoreError, ValueError) as fault:
        # The text of a ValueError repeats the endpoint, and an endpoint from the environment may hold a secret.
        why = str(fault) if isinstance(fault, BotoCoreError) else "the endpoint is not of the form https://host:port"
        raise StoreUnavailable(
            f"no connection to {options.place} can be set up: {why}",
            hint="look at the credentials, endpoint, region and profile",
        ) from None


def _check_certificates(options: Options) -> None:
    """Check the named file of certificates; otherwise each request would fail as if the server were at fault.

    Raises:
        StoreUnavailable: The file cannot be read, or holds no certificate.
    """
    if not options.ca:
        return
    from ssl import SSLError, create_default_context

    try:
        create_default_context(cafile=options.ca)
    except (OSError, SSLError) as fault:
        why = "holds none" if isinstance(fault, SSLError) else f"cannot be read: {fault.strerror}"
        raise StoreUnavailable(
            f"the file of certificates {options.ca} {why}", hint="name one in PEM format with ?ca="
        ) from None


def _drop_expect(params: dict[str, Any]) -> None:
    params["headers"].pop("Expect", None)


class _Call(threading.local):
    """The call that a thread works for.

    Attributes:
        until: Time (`Chance.monotonic`) at which the call gives up.
    """

    until = float("inf")


class Client:
    """Requests for one store: keys are relative to the store's prefix. Threads share a client.

    Attributes:
        meter: Counts requests.
        options: Place of the store, and way to connect.
        chance: Waits and jitter.
        etags: ETags of the slots created here, by key, until `Chain.prove` has compared the ETags.
    """

    def __init__(self, options: Options, chance: Chance) -> None:
        self.options = options
        self.chance = chance
        self.meter = Meter()
        self.etags: dict[str, str] = {}
        self.after_fork()
        tell_of_forks(self)
        payer = {"RequestPayer": "requester"} if options.requester_pays else {}
        self._reading = {"Bucket": options.bucket, **payer}
        self._writing = {"Bucket": options.bucket, **payer}
        self._told: tuple[str, float] | None = None
        if options.sse:
            self._writing["ServerSideEncryption"] = options.sse
        if options.kms_key:
            self._writing["SSEKMSKeyId"] = options.kms_key
        if options.storage_class:
            self._writing["StorageClass"] = options.storage_class

    def server_time(self) -> datetime | None:
        """Return the present by the server's clock, from the last answer; None if no answer gave a time."""
        told = self._told
        if told is None:
            return None
        try:
            moment = parsedate_to_datetime(told[0]).astimezone(UTC)
            return moment + timedelta(seconds=self.chance.monotonic() - told[1])
        except _NO_TIME:
            return None

    def _hear(self, answer: dict[str, Any]) -> None:
        """Remember the server's time, if the answer gives the time."""
        stamp = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        if stamp is not None:
            self._told = (stamp, self.chance.monotonic())

    def after_fork(self) -> None:
        """Start without threads and with new locks; a fork does not copy threads (`kbstore.kit.forks.Forked`)."""
        self._pool: ThreadPoolExecutor | None = None
        self._tasks: ThreadPoolExecutor | None = None
        self._pool_lock = threading.Lock()
        self._large = threading.BoundedSemaphore(_LARGE_AT_ONCE)
        self._call = _Call()

    def close(self) -> None:
        """Wait for the threads, and end the pools."""
        with self._pool_lock:
            pools, self._pool, self._tasks = (self._tasks, self._pool), None, None
        for pool in pools:
            if pool is not None:
                pool.shutdown(wait=True)

    @property
    def server(self) -> str:
        """Return a text about the server and the way to the server; with equal texts, writes have equal results."""
        from botocore import __version__

        client = _client_for(self.options)
        return f"{client.meta.endpoint_url} {self.options.bucket} {self.options.checksums} {__version__}"

    # ---- requests that are repeated until they succeed or the deadline is over ---------------------------------------

    def get(self, key: str, start: int = 0, stop: int | None = None) -> Got | None:
        """Return an object, or the existing part of a range; None if the object does not exist.

        A cache object that exists but cannot be read (denied, archived, encrypted with a lost key) counts as absent.

        Raises:
            StoreUnavailable: The server gives no answer, or refuses.
        """

        def once() -> Got | Refused | None:
            found = self._get(key, start, stop)
            if isinstance(found, Refused):
                if found.status == _RANGE_NOT_SATISFIABLE:
                    return Got(b"", 0, 0.0)  # an object that ends before the range, or is empty: cut short
                if is_cache(key) and is_withheld(found):
                    return None
            return found

        found = self._repeat(once, f"read {_named(key)}", absent=True)
        return found if isinstance(found, Got) else None

    def get_many(self, wanted: Sequence[Want]) -> list[Got | None]:
        """Read many objects at once, each as `get` does."""
        return self.map(lambda want: self.get(*want), wanted)

    def put(self, key: str, data: bytes) -> None:
        """Write an object, over any other object under the key.

        Raises:
            StoreUnavailable: The object could not be written.
            ReadOnlyStore: The credentials do not allow the write.
        """
        with self._turn(data):
            self._repeat(lambda: self._put(key, data, absent=False), f"write {_named(key)}", writing=True)

    def put_new(self, key: str, data: bytes) -> bool:
        """Write an object that is never overwritten; return False if the key has an object already.

        An earlier try of the same call may have written that object.

        Raises:
            StoreUnavailable: The object could not be written.
            ReadOnlyStore: The credentials do not allow the write.
        """

        def once() -> bool | Refused:
            refused = self._put(key, data, absent=True)
            if refused is not None and refused.status == _PRECONDITION_FAILED:
                return False
            return True if refused is None else refused

        with self._turn(data):
            return bool(self._repeat(once, f"write {_named(key)}", writing=True))

    def _turn(self, data: bytes) -> AbstractContextManager[object]:
        """Return a context to bound how many large objects are sent at once: each progresses on a slow line."""
        return self._large if len(data) > _LARGE_BYTES else nullcontext()

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; a missing object is not an error.

        Raises:
            BackendError: The server refuses to remove an object.
        """
        for fault in self.remove(keys).values():
            raise fault

    def remove(self, keys: Sequence[str]) -> dict[str, BackendError]:
        """Remove objects; a missing object is not an error.

        Returns:
            The objects that the server refuses to remove, each with the reason: a lock, a retention, a policy.

        Raises:
            StoreUnavailable: The server gives no answer, or refuses the credentials.
        """

        def one(key: str) -> BackendError | None:
            def once() -> BackendError | Refused | None:
                refused = self._delete(key)
                return explain_kept(self.options, refused, _named(key)) if refused and is_kept(refused) else refused

            return self._repeat(once, f"remove {_named(key)}", writing=True, absent=True)

        told = zip(keys, self.map(one, list(keys)), strict=True)
        return {key: fault for key, fault in told if fault is not None}

    def listing(
        self, prefix: str, *, after: str | None = None, folders: bool = False, limit: int | None = None
    ) -> Iterator[Listed]:
        """Yield the keys under a prefix that ends in ``/``, in order; with `folders`, a single level of keys.

        Args:
            prefix: A prefix relative to the store's prefix.
            after: A full key of the same level, after which the listing starts.
            folders: Yield deeper keys as their folder, ending in ``/``.
            limit: The most keys to yield.
        """
        base = self.options.prefix
        given = empty = 0
        token: str | None = None
        last = ""
        while True:
            asked: dict[str, Any] = {**self._reading, "Prefix": base + prefix}
            asked["MaxKeys"] = min(_PAGE_KEYS, limit - given) if limit is not None else _PAGE_KEYS
            if folders:
                asked["Delimiter"] = "/"
            if token is not None:
                asked["ContinuationToken"] = token
            elif after is not None:
                asked["StartAfter"] = base + after
            answer = self._repeat(lambda asked=asked: self._list(prefix, asked), f"list {prefix}")  # type: ignore[misc]
            if answer is None:  # only a read of one object may find nothing
                raise StoreUnavailable(f"the bucket does not say what is under {prefix}")
            age = _ages(answer)
            found = [
                Listed(entry["Key"][len(base) :], entry["Size"], age(entry.get("LastModified")), entry.get("ETag", ""))
                for entry in answer.get("Contents", ())
            ]
            found += [Listed(entry["Prefix"][len(base) :], -1, 0.0) for entry in answer.get("CommonPrefixes", ())]
            found.sort()
            # A page may be empty, and may begin with the last key of the previous page.
            empty = 0 if found else empty + 1
            if (found and token is not None and found[-1].key <= last) or empty > _EMPTY_PAGES:
                raise StoreUnavailable(f"the server lists {prefix} without end", hint="ask who runs the server")
            last = max(last, found[-1].key) if found else last
            for one in found:
                # Some servers include the `StartAfter` key itself.
                if after is None or one.key > after:
                    given += 1
                    yield one
            token = answer.get("NextContinuationToken")
            if not answer.get("IsTruncated") or token is None or (limit is not None and given >= limit):
                return

    # ---- the one request that the caller repeats --------------------------------------------------------------------

    def create(self, key: str, data: bytes) -> Refused | None:
        """Try once to write an object that does not exist yet; return None on success, else the refusal."""
        return self._put(key, data, absent=True)

    # ---- many at once -----------------------------------------------------------------------------------------------

    def map(self, function: Callable[[_T], _R], items: Sequence[_T]) -> list[_R]:
        """Call a function for many items at once, in a bounded pool.

        The results are in order; the first error is raised.
        """
        if len(items) <= 1:
            return [function(item) for item in items]
        until = self._call.until

        def carried(item: _T) -> _R:
            with self._within(until):
                return function(item)

        return list(self._pools()[0].map(carried, items))

    def submit(self, function: Callable[[], _R]) -> Callable[[], _R]:
        """Begin a task that may itself use `map`; the returned function waits for the result.

        In a child of this process, no thread works on the task, so the returned function runs the task anew.
        """
        begun = self._pools()[1].submit(function)
        process = os.getpid()
        return lambda: begun.result() if os.getpid() == process else function()

    def _pools(self) -> tuple[ThreadPoolExecutor, ThreadPoolExecutor]:
        """Return two pools: threads for requests, and threads for tasks, which wait for requests."""
        with self._pool_lock:
            if self._pool is None or self._tasks is None:
                self._pool = ThreadPoolExecutor(self.options.threads, thread_name_prefix="kbstore-s3")
                self._tasks = ThreadPoolExecutor(_TASKS, thread_name_prefix="kbstore-s3-task")
            return self._pool, self._tasks

    def look_at(self, key: str) -> Got | Refused:
        """Try once to read an object by its full key in the bucket, in or above the store's prefix."""
        return self._get(f"/{key}", 0, None)

    # ---- single attempts --------------------------------------------------------------------------------------------

    def _full(self, key: str) -> str:
        """Return the key in the bucket; a key that begins with ``/`` is not below the store's prefix."""
        return key[1:] if key.startswith("/") else self.options.prefix + key

    def _get(self, key: str, start: int, stop: int | None) -> Got | Refused:
        asked = {**self._reading, "Key": self._full(key)}
        if start or stop is not None:
            asked["Range"] = f"bytes={start}-" if stop is None else f"bytes={start}-{stop - 1}"

        def call(client: Any) -> Got:
            answer = client.get_object(**asked)
            self._hear(answer)
            with closing(answer["Body"]) as body:
                data: bytes = body.read(_LARGEST_ANSWER_BYTES + 1)
                data += body.read(1)  # only a read up to the end reports an answer that was cut off
            if len(data) > _LARGEST_ANSWER_BYTES:
                raise TooLong(f"an object of more than {_LARGEST_ANSWER_BYTES:,} bytes")
            if "LastModified" not in answer:
                raise NotS3("an object without LastModified")
            if answer["ResponseMetadata"]["HTTPStatusCode"] not in (200, 206):
                raise NotS3("an object without content")
            size = len(data)
            if "ContentRange" in answer:
                told = _RANGE.fullmatch(answer["ContentRange"])
                if told is None or int(told[1]) != start:
                    raise NotS3("a range that was not asked for")
                size = int(told[2])
                if stop is not None:
                    data = data[: stop - start]
            elif "Range" in asked:
                data = data[start:stop]  # a server that does not know ranges
            return Got(data, size, _ages(answer)(answer["LastModified"]))

        return self.attempt("GET", key, call, came=lambda got: len(got.data), most_bytes=_LARGEST_ANSWER_BYTES)

    def _put(self, key: str, data: bytes, *, absent: bool) -> Refused | None:
        asked: dict[str, Any] = {**self._writing, "Key": self.options.prefix + key, "Body": data}
        if self.options.checksums == "header":
            asked["ChecksumCRC32"] = b64encode(crc32(data).to_bytes(4, "big")).decode()
        if absent:
            asked["IfNoneMatch"] = "*"

        def call(client: Any) -> None:
            answer = client.put_object(**asked)
            self._hear(answer)
            if "ETag" not in answer:
                raise NotS3("a written object without ETag")
            self._note_etag(key, answer["ETag"])

        refused = self.attempt("PUT", key, call, sent=len(data), absent=absent)
        if absent and refused is not None and refused.status == _NOT_MODIFIED:
            return refused._replace(status=_PRECONDITION_FAILED)  # how some old servers refuse
        return refused

    def _note_etag(self, key: str, etag: str) -> None:
        if key.startswith("log/"):
            self.etags[key] = etag

    def _delete(self, key: str) -> Refused | None:
        asked = {**self._reading, "Key": self.options.prefix + key}

        def call(client: Any) -> None:
            client.delete_object(**asked)

        return self.attempt("DELETE", key, call)

    def _list(self, prefix: str, asked: dict[str, Any]) -> dict[str, Any] | Refused:
        def call(client: Any) -> dict[str, Any]:
            answer: dict[str, Any] = client.list_objects_v2(**asked)
            self._hear(answer)
            if "IsTruncated" not in answer:
                raise NotS3("a listing without an end")
            named = [(one.get("Key"), one.get("Size")) for one in answer.get("Contents", ())]
            named += [(one.get("Prefix"), 0) for one in answer.get("CommonPrefixes", ())]
            if not all(isinstance(size, int) and str(name).startswith(asked["Prefix"]) for name, size in named):
                raise NotS3("a listing of other keys")
            return answer

        return self.attempt("LIST", prefix, call)

    def attempt(
        self,
        operation: str,
        key: str,
        call: Callable[[Any], _R],
        *,
        sent: int = 0,
        came: Callable[[_R], int] = lambda _: 0,
        most_bytes: int = LARGEST_TOLD_BYTES,
        absent: bool = False,
    ) -> _R | Refused:
        """Make a request with the boto3 client of this process, counted; return a refusal instead of an error.

        Args:
            operation: Name of the request in the count.
            key: Key or prefix of the request.
            call: Makes the request.
            sent: Bytes of content to send.
            came: Returns how many bytes of content a result has.
            most_bytes: A larger answer is refused.
            absent: True if the object must not exist yet.
        """
        once = partial(
            self._attempt, operation=operation, key=key, call=call,
            sent=sent, came=came, most_bytes=most_bytes, absent=absent,
        )  # fmt: skip
        client = _client_for(self.options)
        result = once(client)
        if isinstance(result, Refused) and is_expired(result):
            # Only a new session reads credentials that were renewed outside, for example in a file.
            client = _client_for(self.options, instead_of=client)
            result = once(client)
        return result

    def _attempt(
        self,
        client: Any,
        operation: str,
        key: str,
        call: Callable[[Any], _R],
        *,
        sent: int,
        came: Callable[[_R], int],
        most_bytes: int,
        absent: bool,
    ) -> _R | Refused:
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

        handled = sys.exception()
        request = Request(operation, key, self.chance.monotonic(), sent_bytes=sent, absent=absent)
        if self.meter.on:
            self.meter.requests.append(request)
        left = min(self._call.until - request.begun, self.options.timeout)
        try:
            with bounded(left, most_bytes):
                result = call(client)
            request.status = 200
            request.came_bytes = came(result)
            return result
        except ClientError as fault:
            request.status = int(fault.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            code = str(fault.response.get("Error", {}).get("Code", ""))
            return Refused(request.status, code, may_have_landed(request.status, code), fault)
        except (BotoCoreError, HTTPClientError, OSError) as fault:
            if _ends_a_circle(fault):
                return Refused(301, "PermanentRedirect", False, fault)
            return refused_by(fault, handled)
        except NotS3 as fault:
            return not_s3(fault, writing=operation == "PUT")
        except RecursionError as fault:
            # botocore follows redirects to other regions, even in a circle.
            return Refused(301, "PermanentRedirect", False, fault)
        except Exception as fault:
            # Errors of these packages come from reading an answer; any other error is a bug of ours.
            if _raised_in(fault).partition(".")[0] in _OF_ANSWERS:
                return refused_by(fault, handled)
            raise
        finally:
            request.ended = self.chance.monotonic()

    def _repeat(
        self, once: Callable[[], _R | Refused], what: str, *, absent: bool = False, writing: bool = False
    ) -> _R | None:
        """Repeat a request until success, a lasting refusal or the deadline.

        With `absent`, a missing object gives None.
        """
        answered: Refused | None = None
        with self.one_call() as patience:
            while True:
                result = once()
                if not isinstance(result, Refused):
                    return result
                if absent and result.code == "NoSuchKey":
                    return None
                answered = result if result.status else answered
                if not is_transient(result):
                    raise self.error(result, what, writing=writing)
                if not patience.wait(result):
                    # The deadline cut off the last attempt; an earlier answer of the server explains more.
                    raise self.error(result if writing else answered or result, what, writing=writing)

    @contextmanager
    def one_call(self) -> Iterator["Patience"]:
        """Give all requests within one deadline, also in threads of `map`; a nested call keeps the outer deadline."""
        until = min(self._call.until, self.chance.monotonic() + self.options.timeout)
        with self._within(until):
            yield Patience(self.chance, until)

    @contextmanager
    def _within(self, until: float) -> Iterator[None]:
        before, self._call.until = self._call.until, until
        try:
            yield
        finally:
            self._call.until = before

    def error(self, refused: Refused, what: str, *, writing: bool = False) -> BackendError:
        """Return the error to explain a refusal to a person."""
        return explain(self.options, refused, what, writing=writing)


class Patience:
    """Waits between attempts, longer and longer and never in step with other writers, up to a deadline."""

    def __init__(self, chance: Chance, until: float) -> None:
        self._chance = chance
        self._deadline = until
        self._tries = 0

    def wait(self, refused: Refused) -> bool:
        """Wait before another attempt; return False if no attempt should follow."""
        self._tries += 1
        if is_settled_soon(refused) and self._tries >= _FEW_TRIES:
            return False
        longest = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**self._tries)
        seconds = longest * (0.25 + 0.75 * self._chance.fraction())
        if self._chance.monotonic() + seconds > self._deadline:
            return False
        self._chance.sleep(seconds)
        return True


def _ends_a_circle(fault: BaseException) -> bool:
    """Return whether redirects led in a circle until the stack was full.

    botocore wraps the `RecursionError` if the error happens while sending.
    """
    cause: BaseException | None = fault
    while cause is not None:
        if isinstance(cause, RecursionError):
            return True
        cause = cause.__context__
    return False


def _raised_in(fault: Exception) -> str:
    """Return the name of the module in which an error was raised."""
    trace = fault.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return str(trace.tb_frame.f_globals.get("__name__", "")) if trace is not None else ""


def _named(key: str) -> str:
    """Return a key for messages, cut short: a snapshot's key is long, and the beginning identifies the snapshot."""
    return key if len(key) <= _SHOWN_KEY else f"{key[:_SHOWN_KEY]}..."


def _moment(text: Any) -> datetime | None:
    """Return the time in an answer; None if the text is not a time, so that a broken proxy does not stop the read."""
    from botocore.utils import parse_timestamp

    try:
        told: datetime = parse_timestamp(text)
    except (*_NO_TIME, RuntimeError):
        return None
    return told


def _ages(answer: dict[str, Any]) -> Callable[[datetime | None], float]:
    """Return a function that gives the age of an object in this answer, in seconds by the server's clock.

    If the server's time or the object's time is missing, the object counts as new, and so is not removed for its age.
    """
    stamp = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")

    def age(written: datetime | None) -> float:
        try:
            return parsedate_to_datetime(stamp).timestamp() - written.timestamp() if written is not None else 0.0
        except _NO_TIME:
            return 0.0

    return age
