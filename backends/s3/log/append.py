"""Creating a slot: one plain PUT with ``If-None-Match: *``, repeated until its outcome is known.

Invariants:

1. A slot is ours if and only if the server said so (200), or what stands there is byte for byte what we sent. So a
   lost answer, a timeout, a 409, or the 412 that one's own repeated request gets is neither a false conflict nor a
   false success.
2. What is repeated is the same bytes to the same key. That nothing stands there yet (404) proves nothing about a
   request that is still on its way; it does no harm once the same bytes, or another's, stand there.
3. Past the deadline an outcome that is not known is said to be so.
"""

from kbstore.backends.s3.transport.client import Client, Got
from kbstore.backends.s3.transport.errors import Refused, is_transient
from kbstore.kit.errors import BackendError, CorruptStore, OutcomeUnknown, ReadOnlyStore

_PRECONDITION_FAILED = 412


def create_slot(client: Client, key: str, data: bytes, *, write_id: str, look_bytes: int) -> Got | None:
    """Create an object.

    Args:
        client: Where to.
        key: Its key.
        data: Its bytes.
        write_id: Named in `OutcomeUnknown`.
        look_bytes: How much is read of what stands there already; it must tell one object from another.

    Returns:
        None where it is ours; else the beginning of what somebody else put there.

    Raises:
        OutcomeUnknown: The deadline passed, and it may or may not be there.
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
                # 412 for an object that is not there: a server that is of two minds. Ask again.
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
    """Write a part of a slot under the name that its SHA-256 gives; one that is there, and damaged, is written anew.

    Raises:
        StoreUnavailable: It could not be written.
        ReadOnlyStore: The credentials do not allow it.
        CorruptStore: One that is damaged may not be written anew.
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
    """The beginning of what stands there."""
    try:
        return client.get(key, 0, look_bytes)
    except BackendError as fault:
        raise OutcomeUnknown(
            f"a write to {client.options.place} found its slot taken, and reading it failed: {fault}",
            write_id=write_id,
        ) from fault
