"""Tests whether a server keeps its basic promises: create an object only once, and store the sent bytes."""

import logging
import re
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import orjson

from kbstore.backends.s3.format import keys
from kbstore.backends.s3.log.append import create_slot
from kbstore.backends.s3.transport.client import Client, Got, Listed
from kbstore.backends.s3.transport.errors import Refused, is_transient
from kbstore.kit.errors import (
    BackendError,
    CorruptStore,
    OutcomeUnknown,
    StoreExists,
    StoreNotFound,
    StoreUnavailable,
    UnsupportedFormat,
)

FORMAT = 1
_log = logging.getLogger("kbstore")
_looked: set[str] = set()
_PRECONDITION_FAILED = 412
_LOOK_BYTES = 4096
_RACES, _RACERS = 3, 8
_IDENT = re.compile("[0-9a-f]{16}")


def begin_store(client: Client, token: str) -> str:
    """Make a new store under the client's prefix, whole or not at all; return the store's id.

    Raises:
        StoreExists: The prefix has objects, or lies within another store.
        StoreUnavailable: The server cannot keep a store; the message has the reason.
    """
    place = client.options.place
    for listed in client.listing(""):
        if _is_folder_marker(listed):
            continue
        if listed.key.startswith("probe/") and _is_probe(client, listed.key):
            continue  # left by an interrupted test, or by another process that begins just now: the marker decides
        ours = client.get(keys.MARKER)
        if ours is not None and _is_marker(ours.data):
            raise StoreExists(f"there is a store at {place} already", hint="open it, or take another prefix")
        raise StoreExists(
            f"{place} holds something else already: {listed.key}", hint="take a prefix that nothing else uses"
        )
    _refuse_outer(client)
    require_sound_server(client, token)
    require_one_winner(client, token)
    marker = orjson.dumps({"format": FORMAT, "id": token, "kind": "kbstore"}) + b"\n"
    if _create(client, keys.MARKER, marker) is not None:
        raise StoreExists(f"there is a store at {place} already", hint="open it")
    return token


def read_marker(client: Client) -> str:
    """Return the id of the store under the client's prefix.

    Raises:
        StoreNotFound: The prefix has no store.
        UnsupportedFormat: The store has a newer format.
        CorruptStore: The marker is damaged.
    """
    got = client.get(keys.MARKER)
    place = client.options.place
    if got is None:
        raise StoreNotFound(
            f"there is no store at {place}",
            hint="look at bucket and prefix, or start one: kbstore init FILE --store URL",
        )
    try:
        told = orjson.loads(got.data)
        kind, number, ident = told["kind"], told["format"], told["id"]
    except (ValueError, KeyError, TypeError):
        raise CorruptStore(f"{place}/{keys.MARKER} is not the marker of a store", hint="check the prefix") from None
    if kind != "kbstore" or not isinstance(number, int) or not isinstance(ident, str):
        raise CorruptStore(f"{place}/{keys.MARKER} is not the marker of a store", hint="check the prefix")
    if number > FORMAT:
        raise UnsupportedFormat(
            f"{place} has format {number}; this kbstore reads up to {FORMAT}", hint="install a newer kbstore"
        )
    if not _IDENT.fullmatch(ident):
        raise CorruptStore(f"the id in {place}/{keys.MARKER} is not one of a store", hint="check the prefix")
    return ident


def warn_of_outer(client: Client) -> None:
    """Warn, once for each process, if the store's prefix lies within another store; a failed look has no effect."""
    if client.options.place not in _looked:
        _looked.add(client.options.place)
        for above in _above(client):
            got = client.look_at(above + keys.MARKER)
            if isinstance(got, Got) and _is_marker(got.data):
                outer = _place_of(client, above)
                _log.warning(
                    "the store %s lies within the store %s: give each a prefix of its own", client.options.place, outer
                )
                return


def _refuse_outer(client: Client) -> None:
    """Refuse a prefix within another store; if the credentials do not allow the look, warn."""
    hidden = None
    for above in _above(client):
        outer = _place_of(client, above)
        got = _looked_at(client, above + keys.MARKER)
        if isinstance(got, Got):
            if _is_marker(got.data):
                raise StoreExists(
                    f"{client.options.place} lies within the store {outer}",
                    hint="take a prefix beside it, not below it",
                )
        elif got.status in (401, 403):
            hidden = outer
        elif got.code != "NoSuchKey":
            raise client.error(got, f"look for a store at {outer}, which would hold this one")
    if hidden is not None:
        _log.warning("whether there is a store at %s, which would hold this one, may not be read", hidden)


def _looked_at(client: Client, key: str) -> Got | Refused:
    """Return the object at a full key, or a refusal, asking until the server gives a lasting answer."""
    with client.one_call() as patience:
        while True:
            got = client.look_at(key)
            if isinstance(got, Got) or not is_transient(got) or not patience.wait(got):
                return got


def _above(client: Client) -> list[str]:
    """Return the prefixes above the store's prefix, the shortest first."""
    segments = client.options.prefix.split("/")[:-1]
    return ["".join(f"{segment}/" for segment in segments[:count]) for count in range(len(segments))]


def _place_of(client: Client, prefix: str) -> str:
    """Return the URL of a prefix of the same bucket, without options."""
    return f"s3://{client.options.bucket}/{prefix}".rstrip("/")


def _is_probe(client: Client, key: str) -> bool:
    got = client.get(key, 0, _LOOK_BYTES)
    return got is None or keys.is_probe(key, got.data)


def require_sound_server(client: Client, token: str) -> None:
    """Check that an object is created once and not twice, and comes back as sent.

    Raises:
        StoreUnavailable: The server ignores the condition, or stores something else.
    """
    key, data = keys.probe_key(token), keys.probe_data(token)
    try:
        if _create(client, key, data) is not None or not _comes_back(client, key, data):
            raise _stores_something_else(client)
        ignored = not _refuses(client, key, data)
    finally:
        _remove(client, [key])
    if ignored:
        raise ignores_conditions(client)
    _remember(client)


def require_one_winner(client: Client, token: str) -> None:
    """Check that of several simultaneous writers, only one wins: a server may check a condition and write later.

    Raises:
        StoreUnavailable: Two writers won, or the stored object is not the winner's.
    """
    keys_ = [keys.probe_key(token, number) for number in range(_RACES)]
    runs = [(key, keys.probe_data(token) + b"%d" % racer) for racer in range(_RACERS) for key in keys_]
    try:
        won = client.map(lambda run: not _refuses(client, *run), runs)
        for key in keys_:
            winners = [data for (where, data), first in zip(runs, won, strict=True) if first and where == key]
            # Without a winner, the answer to the winner was lost.
            if len(winners) > 1 or (winners and not _comes_back(client, key, winners[0])):
                raise StoreUnavailable(
                    f"the server of {client.options.place} lets two writers win one slot: it checks If-None-Match, "
                    "and writes later",
                    hint="docs/s3.md lists servers that work",
                )
    finally:
        _remove(client, keys_)


def _remove(client: Client, probes: list[str]) -> None:
    """Remove test objects; if the policy forbids deletion, a few bytes stay, known to ``gc``."""
    with suppress(BackendError):
        client.delete(probes)


def is_known_server(client: Client) -> bool:
    """Return whether this machine has found the server sound."""
    place = _record(client)
    return place is not None and place.exists()


def _remember(client: Client) -> None:
    """Note that the server is sound, for other processes of this machine."""
    place = _record(client)
    if place is not None:
        try:
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            place.touch()
        except OSError:  # the next process tests again
            pass


def _record(client: Client) -> Path | None:
    folder = client.options.cache_folder()
    return folder / "servers" / sha256(client.server.encode()).hexdigest()[:32] if folder is not None else None


def require_still(client: Client) -> None:
    """Check that the server still refuses to create an existing object: the marker, left unchanged; two requests.

    Raises:
        StoreUnavailable: The server ignores the condition.
    """
    got = client.get(keys.MARKER)
    if got is not None and not _refuses(client, keys.MARKER, got.data):
        raise ignores_conditions(client)


def ignores_conditions(client: Client) -> StoreUnavailable:
    """Return the error for a server on which two writers could win one slot."""
    return StoreUnavailable(
        f"the server of {client.options.place} ignores If-None-Match, so two writers could both win a slot",
        hint="docs/s3.md lists servers that work",
    )


def _stores_something_else(client: Client) -> StoreUnavailable:
    """Return the error for a server with unreadable objects."""
    return StoreUnavailable(
        f"the server of {client.options.place} does not give back what was written",
        hint="docs/s3.md lists servers that work; with checksums=trailer, leave that option out",
    )


def _comes_back(client: Client, key: str, data: bytes) -> bool:
    """Return whether a new object comes back as sent."""
    try:
        got = client.get(key)
    except CorruptStore:
        return False
    return got is not None and got.data == data


def _create(client: Client, key: str, data: bytes) -> Got | None:
    """Create an object with unique bytes; return None if the object is ours, else the existing object."""
    try:
        return create_slot(client, key, data, write_id="", look_bytes=_LOOK_BYTES)
    except OutcomeUnknown as fault:
        raise StoreUnavailable(
            f"no store could be made at {client.options.place}: {fault}", hint="try again; what is left does no harm"
        ) from fault


def _refuses(client: Client, key: str, data: bytes) -> bool:
    """Return whether the server refuses to create an existing object; repeat until the answer is clear."""
    with client.one_call() as patience:
        while True:
            refused: Refused | None = client.create(key, data)
            if refused is None or refused.status == _PRECONDITION_FAILED:
                return refused is not None
            if not is_transient(refused) or not patience.wait(refused):
                raise client.error(refused, "create objects", writing=True)


def _is_folder_marker(listed: Listed) -> bool:
    """Return whether an object is the empty marker of a folder, made by a console: the store's own, or inside."""
    return listed.size == 0 and (listed.key == "" or listed.key.endswith("/"))


def _is_marker(data: bytes) -> bool:
    try:
        return bool(orjson.loads(data).get("kind") == "kbstore")
    except (ValueError, AttributeError):
        return False
