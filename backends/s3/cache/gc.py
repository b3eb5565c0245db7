"""Garbage collection: unpublish unwanted snapshots now, and remove their data when no reader can be using the data.

Rules, each with the damage that it prevents:

1. Slots and blobs are never removed, even if nothing names the blobs: a writer may sleep for a week between writing
   the blobs and creating the slot, and then still finds the blobs.
2. A snapshot's index is removed first, the data a grace period later, so that a reader in the middle can finish. The
   period is measured by the server's clock alone: from the ``LastModified`` of the list of data to remove to the
   ``Date`` of an answer.
3. Data without an index is kept during the grace period: the data may belong to a snapshot that is being written.
4. Data is removed only if no index of any log names the data at that moment: a slow writer may have published the
   snapshot after the data was marked.
5. An object is removed only if the key has this store's id, or if the bytes name the key: the prefix may also hold
   another store, and objects of other programs.
6. If the server refuses to remove an object (a lock, a retention, a policy), the object stays, and all others are
   still removed. If an index stays, its data stays too, by rule 4.
7. A snapshot with missing data is removed, and so are the snapshots that build on it: readers would choose it again
   and again in vain. Of several snapshots of a record, a whole one stays.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import orjson

from kbstore.backends.base import Collection
from kbstore.backends.s3.cache.snapshots import Snapshots, outside_bytes, rank
from kbstore.backends.s3.format import keys
from kbstore.backends.s3.format.keys import SnapshotName
from kbstore.backends.s3.transport.client import Client, Listed, Want
from kbstore.kit.errors import BackendError

_PROBE_BYTES = 4096
_LIST_NAMES = 10_000
LIST_BYTES = 1024 * 1024
"""The longest list of data to remove; kbstore never writes a longer list."""


class Plan(NamedTuple):
    """The work of a collection.

    Attributes:
        indexes: Snapshots to drop, by log and key.
        trash: Data to remove after a grace period that starts now.
        due: Data marked by earlier collections, to remove now: lists of data, by the key of the list.
        probes: Test objects left over from checks of the server.
    """

    indexes: dict[str, dict[str, SnapshotName]]
    trash: list[str]
    due: dict[str, list[str]]
    probes: list[str]

    @property
    def removed(self) -> tuple[str, ...]:
        """Return the names of all objects to remove, now or later."""
        indexes = [key for found in self.indexes.values() for key in found]
        lists = [key for listed in self.due.items() for key in (listed[0], *listed[1])]
        return tuple(sorted({*indexes, *self.trash, *lists, *self.probes}))


def plan_collection(
    client: Client, snapshots: Snapshots, store: str, logs: Iterable[str], keep: Mapping[str, Iterable[int]]
) -> Plan:
    """Plan a collection that keeps the snapshots in `keep`, unless data is missing."""
    # Indexes before data, so that a snapshot published meanwhile does not seem to have lost its data.
    indexes = {log: snapshots.indexes(log) for log in logs}
    data = [one for one in client.listing(f"data/{store}/") if keys.data_token(one.key, store) is not None]
    stored: dict[str, int] = {}
    for one in data:
        stored[_token(one.key)] = stored.get(_token(one.key), 0) + one.size
    dropped: dict[str, dict[str, SnapshotName]] = {}
    kept_tokens: set[str] = set()
    for log, found in indexes.items():
        kept = _kept(found.values(), set(keep.get(log, ())), stored)
        kept_tokens |= kept
        dropped[log] = {key: name for key, name in found.items() if name.token not in kept}
    gone_tokens = {name.token for found in dropped.values() for name in found.values()}
    marked = _trash(client, store)
    known = {key for _, listed in marked.values() for key in listed}
    trash = [
        one.key
        for one in data
        if _token(one.key) not in kept_tokens and one.key not in known and _may_go(client, one, gone_tokens)
    ]
    due = {key: listed for key, (age_s, listed) in marked.items() if age_s >= client.options.grace}
    return Plan(dropped, trash, due, _probes(client))


def _probes(client: Client) -> list[str]:
    """Return test objects older than the grace period, out of use by now."""
    old = [one.key for one in client.listing("probe/") if one.age_s >= client.options.grace]
    got = client.get_many([Want(key, 0, _PROBE_BYTES) for key in old])
    return [key for key, there in zip(old, got, strict=True) if there is not None and keys.is_probe(key, there.data)]


def _kept(names: Iterable[SnapshotName], wanted: set[int], stored: Mapping[str, int]) -> set[str]:
    """Return the tokens of snapshots to keep: for each wanted record, a whole snapshot without lost requirements."""
    kept: dict[int, SnapshotName] = {}
    listed = sorted(names, key=lambda name: (name.number, rank(name)))
    given_up = {name.number for name in listed} - wanted
    for name in listed:
        whole = stored.get(name.token, 0) == outside_bytes(name)
        if whole and name.number in wanted and kept.keys() | given_up >= set(name.requires):
            kept[name.number] = name
    return {name.token for name in kept.values()}


def run_plan(
    client: Client, snapshots: Snapshots, plan: Plan, store: str, token: Callable[[], str]
) -> dict[str, BackendError]:
    """Carry out a plan, and remove the data of earlier plans whose grace period is over.

    Args:
        client: Requests.
        snapshots: The store's snapshots.
        plan: The plan.
        store: The store's id.
        token: Gives new random names.

    Returns:
        The objects that the server refuses to remove, each with the reason; the rest of the plan is done.
    """
    kept: dict[str, BackendError] = {}
    for log, indexes in plan.indexes.items():
        kept |= snapshots.withdraw(log, indexes)
    named = {name.token for found in plan.indexes.values() for key, name in found.items() if key in kept}
    trash = [key for key in plan.trash if _token(key) not in named]
    for begin in range(0, len(trash), _LIST_NAMES):
        client.put_new(keys.trash_key(store, token()), orjson.dumps(trash[begin : begin + _LIST_NAMES]))
    # With a grace period of 0, this includes the data marked just now.
    marked = _trash(client, store)
    due = {key: listed for key, (age_s, listed) in marked.items() if age_s >= client.options.grace}
    if due:
        used = snapshots.tokens()
        for key, listed in due.items():
            staying = client.remove([one for one in listed if _token(one) not in used])
            kept |= staying or client.remove([key])
    return kept | client.remove(plan.probes)


def result_of(plan: Plan, packed: int, before: int, after: int | None, kept: Mapping[str, BackendError]) -> Collection:
    """Return the result of a plan as the contract has it; `kept` is the result of `run_plan`, empty before."""
    gone = [name for found in plan.indexes.values() for key, name in found.items() if key not in kept]
    removed = tuple(name for name in plan.removed if name not in kept)
    why = next(map(str, kept.values()), "")
    size = sum(name.size_bytes for name in gone)
    return Collection(len(gone), size, packed, 0, before, after, removed, tuple(sorted(kept)), why)


def _may_go(client: Client, one: Listed, gone: set[str]) -> bool:
    return _token(one.key) in gone or one.age_s >= client.options.grace


def _token(key: str) -> str:
    """Return the token in the key of data."""
    return key.split("/")[2]


def _trash(client: Client, store: str) -> dict[str, tuple[float, list[str]]]:
    """Return the lists of data to remove, with their age in seconds; keys of other objects are left out."""
    listed = [one.key for one in client.listing(f"trash/{store}/") if keys.is_trash(one.key, store)]
    found = {}
    for key, got in zip(listed, client.get_many([Want(key, 0, LIST_BYTES) for key in listed]), strict=True):
        if got is not None:
            try:
                told = [str(one) for one in orjson.loads(got.data)]
                found[key] = (got.age_s, [one for one in told if keys.data_token(one, store) is not None])
            except (ValueError, TypeError):  # kbstore did not write this list
                continue
    return found


def size_bytes(client: Client) -> int:
    """Return the bytes of all objects of the store, with a request for each thousand objects."""
    return sum(one.size for one in client.listing(""))
