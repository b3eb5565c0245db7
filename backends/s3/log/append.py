"""Creating a slot: a plain PUT with ``If-None-Match: *``, repeated until the outcome is known.

Invariants:

1. A slot is ours if and only if the server said so (200), or the stored bytes are exactly the bytes that we sent. So a
   lost answer, a timeout, a 409, or the 412 for our own repeated request is neither a false conflict nor a false
   success.
2. A repeated request sends the same bytes to the same key. A missing slot (404) proves nothing about a request that is
   still on its way; that request does no harm once the same bytes, or another writer's bytes, are stored.
3. After the deadline, an unknown outcome is reported as unknown.
"""

from kbstore.backends.s3.transport.client import Client, Got
from kbstore.backends.s3.transport.errors import Refused, is_transient
from kbstore.kit.errors import BackendError, CorruptStore, OutcomeUnknown, ReadOnlyStore

_PRECONDITION_FAILED = 412


def create_slot(client: Client, key: str, data: bytes, *, write_id: str, look_bytes: int) -> Got | None:
    """Create an object, if the key is free.

    Args:
        client: Client for the store.
        key: Key of the object.
        data: Bytes of the object.
        write_id: Write id for the error `OutcomeUnknown`.
        look_bytes: How many bytes of an existing object are read; enough to distinguish objects.

    Returns:
        None if the object is ours; else the beginning of another writer's object.

    Raises:
        OutcomeUnknown: The deadline passed, and the object may or may not be stored.
        StoreUnavailable: Nothing was written.
    """
    with client.one_call() as patience:
        unclear = False
        while True:
            refused = client.create(key, data)
            if refused is None:
                return None
            if refused.status == _PRECONDITION_FAILED:
                there = _look(client, key, write_id, look_bytes)
                if there is not None:
                    return None if there.data == data[:look_bytes] and there.size == len(data) else there
                # 412 for an object that does not exist: the server contradicts itself. Ask again.
                refused = Refused(503, "PreconditionWithoutObject", True, refused.fault)
            unclear = unclear or refused.unclear
            if not is_transient(refused) or not patience.wait(refused):
                if unclear:
                    raise OutcomeUnknown(
                        f"no answer came for a write to {client.options.place} ({refused.code}); "
                        "it may have landed or not",
                        write_id=write_id,
                    ) from None
                raise client.error(refused, "write events", writing=True)


def put_blob(client: Client, key: str, data: bytes) -> None:
    """Write a part of a slot under the name from the part's SHA-256; write a damaged object of that name again.

    Raises:
        StoreUnavailable: The part could not be written.
        ReadOnlyStore: The credentials do not allow the write.
        CorruptStore: The credentials do not allow to write a damaged object again.
    """
    if not client.put_new(key, data):
        there = client.get(key)
        if there is None or there.data != data:
            try:
                client.put(key, data)
            except ReadOnlyStore as fault:
                raise CorruptStore(
                    f"{client.options.place}/{key} is damaged, and the credentials do not allow to write it again",
                    hint="put an older version of that object back, or remove it and repeat the command",
                ) from fault


def _look(client: Client, key: str, write_id: str, look_bytes: int) -> Got | None:
    """Return the beginning of the existing object; None if the object is missing."""
    try:
        return client.get(key, 0, look_bytes)
    except BackendError as fault:
        raise OutcomeUnknown(
            f"a write to {client.options.place} found its slot taken, and reading it failed: {fault}",
            write_id=write_id,
        ) from fault
