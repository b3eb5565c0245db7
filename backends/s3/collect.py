"""Collecting garbage: unpublish the snapshots that nobody keeps, and remove their data once nobody can be reading it.

Rules, each with the damage that it prevents:

1. Slots and blobs are never removed, whoever wrote them and whatever names them: a writer that sleeps for a week
   between writing its blobs and creating its slot finds both.
2. A snapshot's index goes first, its data a grace period later, so that a reader that has begun goes on. The period is
   measured by the server's clock alone: from the ``LastModified`` of a list of what is to go to the ``Date`` of an
   answer.
3. Data that no index names, and that is younger than the grace period, may be a snapshot that is being written.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import orjson

from backends.contract import Collection
from backends.s3.client import Client, Listed, Want
from backends.s3.snapshots import Snapshots


class Plan(NamedTuple):
    """What a collection is to do.

    Attributes:
        snapshots: Numbers to drop, by log.
        dropped_bytes: Stored bytes of their chunks.
        trash: Data that is to go once the grace period is over, from now on.
        snapshots_dropped: How many snapshots go.
    """

    snapshots: dict[str, list[int]]
    dropped_bytes: int
    trash: list[str]
    snapshots_dropped: int


def plan_collection(
    client: Client, snapshots: Snapshots, logs: Iterable[str], keep: Mapping[str, Iterable[int]]
) -> Plan:
    """What is not worth keeping."""
    dropped: dict[str, list[int]] = {}
    count = size = 0
    kept_tokens: set[str] = set()
    gone_tokens: set[str] = set()
    for log in logs:
        kept = set(keep.get(log, ()))
        for name in snapshots.names(log).values():
            if name.number in kept:
                kept_tokens.add(name.token)
                continue
            gone_tokens.add(name.token)
            dropped.setdefault(log, []).append(name.number)
            count += 1
            size += name.size_bytes
    listed = [one for one in client.listing("data/") if one.key.split("/")[1] not in kept_tokens]
    known = {key for keys_ in _trash(client).values() for key in keys_[1]}
    trash = [one.key for one in listed if one.key not in known and _may_go(client, one, gone_tokens)]
    return Plan(dropped, size, trash, count)


def run_plan(client: Client, snapshots: Snapshots, plan: Plan, token: str) -> None:
    """Do it, and remove what was planned to go long enough ago."""
    for log, numbers in plan.snapshots.items():
        snapshots.drop(log, numbers)
    if plan.trash:
        client.put(f"trash/{token}", orjson.dumps(plan.trash))
    used = {name.token for log in plan.snapshots for name in snapshots.names(log).values()}
    for key, (age_s, listed) in _trash(client).items():
        if age_s >= client.options.grace:
            client.delete([one for one in listed if one.startswith("data/") and one.split("/")[1] not in used])
            client.delete([key])
    client.delete([one.key for one in client.listing("probe/") if one.age_s >= client.options.grace])


def result_of(plan: Plan, packed: int, before: int, after: int | None) -> Collection:
    """What was planned or done, as the contract tells it."""
    return Collection(plan.snapshots_dropped, plan.dropped_bytes, packed, 0, before, after)


def _may_go(client: Client, one: Listed, gone: set[str]) -> bool:
    return one.key.split("/")[1] in gone or one.age_s >= client.options.grace


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
