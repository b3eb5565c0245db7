"""Garbage collection: unpublish unwanted snapshots now, and remove their data when no reader can be using the data.

Rules, each with the damage that it prevents:

1. Slots and blobs are never removed, whoever wrote them and whatever names them: a writer that sleeps for a week
   between writing its blobs and creating its slot finds both.
2. A snapshot's index goes first, its data a grace period later, so that a reader that has begun goes on. The period is
   measured by the server's clock alone: from the ``LastModified`` of a list of what is to go to the ``Date`` of an
   answer.
3. Data that no index names, and that is younger than the grace period, may be a snapshot that is being written.
4. Data is removed only where no index names it now, of whatever log: a writer that was slow may have published its
   snapshot since its data was marked.
5. Only objects whose key has this store's id, or whose bytes name their key, are removed: a prefix may
   hold other things, and another store.
6. What the server refuses to remove (a lock, a retention, a policy) stays, and stops nothing else. As long as an index
   stays, its data does, by rule 4.
7. A snapshot whose data is not all there goes, whoever took it away, and so does what builds on it: it would be chosen
   and missed again and again. Of several snapshots of one record one that is whole stays.
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
"""A list of what is to go has no more names and bytes than these; one that is longer is not ours."""


class Plan(NamedTuple):
    """The work of a collection.

    Attributes:
        indexes: Snapshots to drop, by log and key.
        trash: Data that is to go once the grace period is over, from now on.
        due: What was planned so earlier and goes now: lists of data, by the key of each.
        probes: What is left of the trials of a server.
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
    """Do it, and remove what was planned to go long enough ago.

    Args:
        client: Requests.
        snapshots: Of the store.
        plan: What to do.
        store: The store's id.
        token: Gives new random names.

    Returns:
        The objects that the server keeps, each with the reason; all else is done.
    """
    kept: dict[str, BackendError] = {}
    for log, indexes in plan.indexes.items():
        kept |= snapshots.withdraw(log, indexes)
    named = {name.token for found in plan.indexes.values() for key, name in found.items() if key in kept}
    trash = [key for key in plan.trash if _token(key) not in named]
    for begin in range(0, len(trash), _LIST_NAMES):
        client.put_new(keys.trash_key(store, token()), orjson.dumps(trash[begin : begin + _LIST_NAMES]))
    # With a grace of 0 also what was planned just now.
    marked = _trash(client, store)
    due = {key: listed for key, (age_s, listed) in marked.items() if age_s >= client.options.grace}
    if due:
        used = snapshots.tokens()
        for key, listed in due.items():
            staying = client.remove([one for one in listed if _token(one) not in used])
            kept |= staying or client.remove([key])
    return kept | client.remove(plan.probes)


def result_of(plan: Plan, packed: int, before: int, after: int | None, kept: Mapping[str, BackendError]) -> Collection:
    """What was planned or done, as the contract tells it; `kept` as `run_plan` gives it."""
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
            except (ValueError, TypeError):  # not a list of ours
                continue
    return found


def size_bytes(client: Client) -> int:
    """Return the bytes of all objects of the store, with a request for each thousand objects."""
    return sum(one.size for one in client.listing(""))
