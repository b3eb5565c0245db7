"""Locations ``s3://bucket/prefix?option=value``: where the store is, and how to talk to the server.

Credentials are never part of the URL: they come from the usual AWS chain (environment, profile, instance role). So do
the endpoint (``AWS_ENDPOINT_URL_S3``) and the region if the URL does not name them. Below the command line, only this
chain, the user's folder of caches, and the hosts that need no TLS are read from the environment: these settings hold
for every program of a user, whatever program embeds the store.
"""

import os
import re
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from kbstore.kit.errors import BackendError, StoreNotFound, StoreUnavailable
from kbstore.kit.hosts import INSECURE, is_local

_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]")
_IP_ADDRESS = re.compile(r"(?:[0-9]+\.){3}[0-9]+")
_RESERVED_STARTS = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_ENDS = ("--ol-s3", ".mrap", "--x-s3", "--table-s3")
"""``-s3alias`` is allowed: the alias of an access point replaces the name of its bucket."""
_SSE = ("AES256", "aws:kms", "aws:kms:dsse")
_CHECKSUMS = ("header", "trailer", "off")
_ARCHIVED = ("GLACIER", "DEEP_ARCHIVE")
_LONGEST_PREFIX = 400
_NOT_IN_URL = ("bucket", "prefix", "insecure")

_HOW_TO_WRITE = "write s3://bucket/prefix?region=...&endpoint=...; docs/s3.md lists the options"


@dataclass(frozen=True, slots=True)
class Options:
    """A parsed location.

    Attributes:
        bucket: The bucket.
        prefix: Beginning of all keys; empty or ending in ``/``.
        endpoint: URL of a server that is not AWS.
        region: The bucket's region.
        profile: Profile of the AWS configuration.
        addressing: ``auto``, ``path`` or ``virtual``: the place of the bucket's name in requests.
        ca: File of certificates of a private authority.
        sse: Server-side encryption of written objects: ``AES256``, ``aws:kms`` or ``aws:kms:dsse``.
        kms_key: The KMS key's id or ARN.
        storage_class: Storage class of written objects.
        checksums: How the CRC32 of a written object is sent: in a ``header``; in boto3's way (over TLS in a
            ``trailer``, with the body framed); or not at all (``off``).
        requester_pays: Send ``x-amz-request-payer: requester``.
        connect_timeout: Seconds for a connection.
        read_timeout: Seconds for an answer.
        timeout: Seconds until a call gives up, all tries together.
        threads: How many requests run at once.
        grace: Seconds that collected caches stay, by the server's clock, for readers that have begun with them.
        cache: Folder of the local cache of chunks; ``off`` for no cache; empty for the user's cache folder.
        cache_mb: Largest size of the local cache, in MB.
        group: Let concurrent commits of one process share a slot.
        insecure: Speak to a server on another host without TLS; not part of the URL, since a URL may come from
            anywhere.
    """

    bucket: str
    prefix: str
    endpoint: str = ""
    region: str = ""
    profile: str = ""
    addressing: str = "auto"
    ca: str = ""
    sse: str = ""
    kms_key: str = ""
    storage_class: str = ""
    checksums: str = "header"
    requester_pays: bool = False
    connect_timeout: float = 2.0
    read_timeout: float = 10.0
    timeout: float = 60.0
    threads: int = 48
    grace: float = 3600.0
    cache: str = ""
    cache_mb: float = 512.0
    group: bool = True
    insecure: bool = False

    @property
    def location(self) -> str:
        """Return the URL in the form that a person would write."""
        given = [
            (field.name, _shown(getattr(self, field.name)))
            for field in fields(self)
            if field.name not in _NOT_IN_URL and getattr(self, field.name) != field.default
        ]
        query = f"?{urlencode(given, safe='/:')}" if given else ""
        return f"s3://{self.bucket}/{self.prefix.rstrip('/')}".rstrip("/") + query

    @property
    def place(self) -> str:
        """Return the URL without options, for messages."""
        return f"s3://{self.bucket}/{self.prefix.rstrip('/')}".rstrip("/")

    def cache_folder(self) -> Path | None:
        """Return the folder of chunks cached on this machine; None if chunks are not cached."""
        chosen = self.cache or os.environ.get("KBSTORE_CACHE", "")
        if chosen == "off":
            return None
        if chosen:
            return Path(chosen)
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - may stay unexpanded
        return Path(home) / "kbstore" if not home.startswith("~") else None


def parse_location(location: str) -> Options:
    """Return the options in a URL.

    Raises:
        StoreNotFound: The text is not such a URL.
        BackendError: An option is wrong.
    """
    if not location.isprintable():  # `urlsplit` drops some of these characters, and so names another store
        raise _wrong("this URL", "it has characters that cannot be printed")
    try:
        parts = urlsplit(location)
    except ValueError:
        raise _wrong("this URL", "it is not of the form s3://bucket/prefix") from None
    if parts.scheme.lower() != "s3" or parts.fragment or "@" in parts.netloc or ":" in parts.netloc:
        raise _wrong("this URL", "it is not of the form s3://bucket/prefix")
    # Messages repeat no option, and nothing in front of an @: somebody may have put a secret there.
    location = "this URL" if "@" in location else location.partition("?")[0]
    bucket = parts.netloc
    if not bucket:
        raise _wrong(location, "it has no bucket")
    if (
        not _BUCKET.fullmatch(bucket)
        or _IP_ADDRESS.fullmatch(bucket)
        or bucket.startswith(_RESERVED_STARTS)
        or bucket.endswith(_RESERVED_ENDS)
    ):
        raise _no_bucket_name(location, bucket)
    prefix = parts.path.strip("/")
    segments = prefix.split("/") if prefix else []
    if any(s in ("", ".", "..") for s in segments) or len(prefix.encode()) > _LONGEST_PREFIX:
        raise _wrong(location, "its prefix has empty or dotted segments, or is too long")
    values: dict[str, object] = {}
    kinds = {field.name: field.type for field in fields(Options)}
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        if name not in kinds or name in _NOT_IN_URL:
            near = get_close_matches(name, kinds.keys() - {*_NOT_IN_URL}, n=1)
            raise _wrong_option(location, "it has an unknown option" + (f"; did you mean {near[0]}?" if near else ""))
        values[name] = _value(location, name, kinds[name], text)
    _check_endpoint(location, str(values.get("endpoint", "")))
    options = Options(bucket, f"{prefix}/" if prefix else "", **values)  # type: ignore[arg-type]
    if options.sse and options.sse not in _SSE:
        raise _wrong_option(options.place, f"sse is one of {', '.join(_SSE)}")
    if options.kms_key and not options.sse.startswith("aws:kms"):
        raise _wrong_option(options.place, "kms_key needs sse=aws:kms")
    if options.storage_class.upper() in _ARCHIVED:
        raise _wrong_option(
            options.place, f"objects with storage_class={options.storage_class} cannot be read before they are restored"
        )
    if options.checksums not in _CHECKSUMS:
        raise _wrong_option(options.place, f"checksums is one of {', '.join(_CHECKSUMS)}")
    if options.addressing not in ("auto", "path", "virtual"):
        raise _wrong_option(options.place, "addressing is auto, path or virtual")
    return options


def _value(location: str, name: str, kind: object, text: str) -> object:
    try:
        if kind is bool:
            return {"true": True, "1": True, "on": True, "false": False, "0": False, "off": False}[text.lower()]
        if kind is int or kind is float:
            number = int(text) if kind is int else float(text)
            if not 0 <= number < 1e9 or (name == "threads" and number < 1):
                raise ValueError
            return number
    except (ValueError, KeyError):
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}
        raise _wrong_option(location, f"the option {name} is not {wanted.get(kind, 'of its kind')}") from None  # type: ignore[call-overload]
    return text


def _check_endpoint(location: str, endpoint: str) -> None:
    if not endpoint:
        return
    try:
        parts = urlsplit(endpoint)
        odd = parts.query or parts.fragment or parts.port == 0
    except ValueError:
        odd = "?"
    if "@" in endpoint:
        raise _wrong_option(location, "its endpoint holds a user; credentials come by the AWS chain only")
    if odd or parts.scheme not in ("http", "https") or not parts.hostname:
        raise _wrong_option(location, "its endpoint is not of the form https://host:port")


def _no_bucket_name(location: str, bucket: str) -> StoreNotFound:
    """Return the error for a name that a bucket cannot have.

    The message may repeat the name: a name with ``@`` or ``:``, and so perhaps with a secret, was refused before.
    """
    if bucket.endswith("--x-s3"):
        return _wrong(location, f"{bucket} is a directory bucket, which lists its keys in no order")
    if bucket.startswith(_RESERVED_STARTS) or bucket.endswith(_RESERVED_ENDS):
        return _wrong(location, f"{bucket} is not the name of a bucket: S3 keeps names that begin or end so for itself")
    return _wrong(
        location,
        f"{bucket} is not the name of a bucket: these have 3 to 63 lower-case letters, digits, dots and hyphens, with "
        "a letter or digit first and last, no two dots in a row, and are not IP addresses",
    )


def refuse_insecure(endpoint: str, options: Options) -> None:
    """Refuse a server on another host without TLS, unless the user of the program allows that host.

    Args:
        endpoint: The server's URL, as derived from location, environment and profile.
        options: Options of the location.

    Raises:
        StoreUnavailable: The server is refused. Nothing was sent.
    """
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    if parts.scheme == "https" or options.insecure or is_local(host):
        return
    allowed = [name.strip() for name in os.environ.get(INSECURE, "").split(",")]
    if "*" in allowed or host in allowed or f"{host}:{parts.port}" in allowed:
        return
    raise StoreUnavailable(
        f"{options.place} is behind http://{host}, and whoever is in between could read and change everything",
        hint=f"use https; or, if you trust the network in between, set {INSECURE}={host}",
    )


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _wrong(location: str, why: str) -> StoreNotFound:
    return StoreNotFound(f"{location} is not the location of a store: {why}", hint=_HOW_TO_WRITE)


def _wrong_option(location: str, why: str) -> BackendError:
    """Return the error for a wrong option; not `StoreNotFound`, since the store may exist."""
    return BackendError(f"the store {location} cannot be opened as its URL says: {why}", hint=_HOW_TO_WRITE)
