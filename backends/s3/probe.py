"""Whether a server keeps the one promise that everything stands on: it creates an object only where there is none."""

import orjson

from backends.errors import CorruptStore, StoreExists, StoreNotFound, StoreUnavailable, UnsupportedFormat
from backends.s3 import keys
from backends.s3.client import Client
from backends.s3.refusals import Refused, is_transient

FORMAT = 1
_CREATED = None
_REFUSALS = (412, 409)


def begin_store(client: Client, token: str) -> str:
    """Make a new store under the client's prefix, whole or not at all; returns its id.

    Raises:
        StoreExists: Something is there.
        StoreUnavailable: The server cannot keep a store, with the reason.
    """
    place = client.options.place
    for listed in client.listing("", limit=1):
        ours = client.get(keys.MARKER)
        if ours is not None and _is_marker(ours.data):
            raise StoreExists(f"there is a store at {place} already", hint="open it, or take another prefix")
        raise StoreExists(
            f"{place} holds something else already: {listed.key}", hint="take a prefix that nothing else uses"
        )
    require_create_if_absent(client, token)
    marker = orjson.dumps({"format": FORMAT, "id": token, "kind": "kbstore"}) + b"\n"
    refused = _create(client, keys.MARKER, marker)
    if refused is not None:
        there = client.get(keys.MARKER)
        if there is None or there.data != marker:
            raise StoreExists(f"there is a store at {place} already", hint="open it")
    return token


def read_marker(client: Client) -> str:
    """The id of the store under the client's prefix.

    Raises:
        StoreNotFound: There is none.
        UnsupportedFormat: It is of a newer format.
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
        raise CorruptStore(
            f"{place}/{keys.MARKER} is not the marker of a store", hint="is it the right prefix?"
        ) from None
    if kind != "kbstore" or not isinstance(number, int) or not isinstance(ident, str):
        raise CorruptStore(f"{place}/{keys.MARKER} is not the marker of a store", hint="is it the right prefix?")
    if number > FORMAT:
        raise UnsupportedFormat(
            f"{place} has format {number}; this kbstore reads up to {FORMAT}", hint="install a newer kbstore"
        )
    return ident


def require_create_if_absent(client: Client, token: str) -> None:
    """See that an object is created once and not twice.

    Raises:
        StoreUnavailable: The server ignores the condition.
    """
    key = f"probe/{token}"
    refused = _create(client, key, b"1")
    if refused is not None:
        raise client.error(refused, "create objects", writing=True)
    again = _create(client, key, b"2")
    try:
        client.delete([key])
    except Exception:  # noqa: BLE001, S110 - a policy without deletion leaves one byte behind
        pass
    if again is None or again.status not in _REFUSALS:
        raise ignores_conditions(client)


def require_still(client: Client) -> None:
    """The same for a store that exists, by its marker, which is left as it is: one request.

    Raises:
        StoreUnavailable: The server ignores the condition.
    """
    got = client.get(keys.MARKER)
    if got is not None and _create(client, keys.MARKER, got.data) is None:
        raise ignores_conditions(client)


def ignores_conditions(client: Client) -> StoreUnavailable:
    """The refusal of a server on which two writers could win one slot."""
    return StoreUnavailable(
        f"the server of {client.options.place} ignores If-None-Match, so two writers could both win a slot",
        hint="docs/s3.md lists servers that work",
    )


def _create(client: Client, key: str, data: bytes) -> Refused | None:
    """Create an object; the refusal where it is there, or where the server gives none better until the deadline."""
    patience = client.patience()
    while True:
        refused = client.create(key, data)
        if refused is None or refused.status == _REFUSALS[0]:
            return refused
        if not is_transient(refused) or not patience.wait(refused):
            raise client.error(refused, "create objects", writing=True)


def _is_marker(data: bytes) -> bool:
    try:
        return bool(orjson.loads(data).get("kind") == "kbstore")
    except (ValueError, AttributeError):
        return False
