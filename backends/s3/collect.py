"""Collecting garbage: unpublish the snapshots that nobody keeps, and remove their data once nobody can be reading it.

Rules, each with the damage that it prevents:

1. Slots and blobs are never removed, whoever wrote them and whatever names them: a writer that sleeps for a week
   between writing its blobs and creating its slot finds both.
2. A snapshot's index goes first, its data a grace period later, so that a reader that has begun goes on. The period is
   measured by the server's clock alone: from the ``LastModified`` of a list of what is to go to the ``Date`` of an
   answer.
3. Data that no index names, and that is younger than the grace period, may be a snapshot that is being written.
4. Data is removed only where no index names it now, of whatever log: a writer that was slow may have published its
   snapshot since its data was marked.
5. A snapshot whose data is not all there goes, whoever took it away, and so does what builds on it: it would be chosen
   and missed again and again. Of several snapshots of one record one that is whole stays.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import orjson

from backends.contract import Collection
from backends.s3.client import Client, Listed, Want
from backends.s3.keys import SnapshotName
from backends.s3.snapshots import Snapshots, outside_bytes, rank


class Plan(NamedTuple):
    """What a collection is to do.

    Attributes:
        indexes: Snapshots to drop, by log and key.
        dropped_bytes: Stored bytes of their chunks.
        trash: Data that is to go once the grace period is over, from now on.
    """

    indexes: dict[str, dict[str, SnapshotName]]
    dropped_bytes: int
    trash: list[str]


def plan_collection(
    client: Client, snapshots: Snapshots, logs: Iterable[str], keep: Mapping[str, Iterable[int]]
) -> Plan:
    """What is not worth keeping."""
    # Indexes before data: what is published meanwhile is then not taken for one whose data is gone.
    indexes = {log: snapshots.indexes(log) for log in logs}
    data = list(client.listing("data/"))
    stored: dict[str, int] = {}
    for one in data:
        stored[_token(one.key)] = stored.get(_token(one.key), 0) + one.size
    dropped: dict[str, dict[str, SnapshotName]] = {}
    kept_tokens: set[str] = set()
    for log, found in indexes.items():
        kept = _kept(found.values(), set(keep.get(log, ())), stored)
        kept_tokens |= kept
        dropped[log] = {key: name for key, name in found.items() if name.token not in kept}
    gone = [name for found in dropped.values() for name in found.values()]
    gone_tokens = {name.token for name in gone}
    known = {key for keys_ in _trash(client).values() for key in keys_[1]}
    trash = [
        one.key
        for one in data
        if _token(one.key) not in kept_tokens and one.key not in known and _may_go(client, one, gone_tokens)
    ]
    return Plan(dropped, sum(name.size_bytes for name in gone), trash)


def _kept(names: Iterable[SnapshotName], wanted: set[int], stored: Mapping[str, int]) -> set[str]:
    """Tokens of the snapshots that stay: of each record that is wanted one that is whole, and leans on nothing lost."""
    kept: dict[int, SnapshotName] = {}
    listed = sorted(names, key=lambda name: (name.number, rank(name)))
    given_up = {name.number for name in listed} - wanted
    for name in listed:
        whole = stored.get(name.token, 0) == outside_bytes(name)
        if whole and name.number in wanted and kept.keys() | given_up >= set(name.requires):
            kept[name.number] = name
    return {name.token for name in kept.values()}


def run_plan(client: Client, snapshots: Snapshots, plan: Plan, token: str) -> None:
    """Do it, and remove what was planned to go long enough ago."""
    for log, indexes in plan.indexes.items():
        snapshots.withdraw(log, indexes)
    if plan.trash:
        client.put_new(f"trash/{token}", orjson.dumps(plan.trash))
    due = {key: listed for key, (age_s, listed) in _trash(client).items() if age_s >= client.options.grace}
    if due:
        used = snapshots.tokens()
        for key, listed in due.items():
            client.delete([one for one in listed if one.startswith("data/") and _token(one) not in used])
            client.delete([key])
    client.delete([one.key for one in client.listing("probe/") if one.age_s >= client.options.grace])


def result_of(plan: Plan, packed: int, before: int, after: int | None) -> Collection:
    """What was planned or done, as the contract tells it."""
    return Collection(sum(map(len, plan.indexes.values())), plan.dropped_bytes, packed, 0, before, after)


def _may_go(client: Client, one: Listed, gone: set[str]) -> bool:
    return _token(one.key) in gone or one.age_s >= client.options.grace


def _token(key: str) -> str:
    """The token in the key of data."""
    return key.split("/")[1]


def _trash(client: Client) -> dict[str, tuple[float, list[str]]]:
    """The lists of what is to go, and how long ago they were written."""
    listed = [one.key for one in client.listing("trash/")]
    found = {}
    for key, got in zip(listed, client.get_many([Want(key) for key in listed]), strict=True):
        if got is not None:
            try:
                found[key] = (got.age_s, [str(one) for one in orjson.loads(got.data)])
            except (ValueError, TypeError):  # not one of ours
                continue
    return found


def size_bytes(client: Client) -> int:
    """Bytes of all objects of the store; one request for each thousand."""
    return sum(one.size for one in client.listing(""))
