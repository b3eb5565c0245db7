"""Collecting garbage: drop snapshots, pack what is cold, give the room back (thin: drops and vacuums)."""

from collections.abc import Iterable, Mapping

from backends.contract import Collection
from backends.sqlite import file
from backends.sqlite.caches import remove_snapshot
from backends.sqlite.connection import Connection
from backends.sqlite.log import Logs


def collect(owner: Connection, logs: Logs, keep: Mapping[str, Iterable[int]], *, dry_run: bool) -> Collection:
    """See `Backend.collect`."""
    before = file.total_bytes(owner.path)
    with owner.using() as connection:
        kept = {
            start + number
            for log, numbers in keep.items()
            if (start := logs.start_of(connection, log)) is not None
            for number in numbers
        }
        rows = connection.execute("SELECT id, bytes FROM snapshots").fetchall()
    doomed = [(ident, size) for ident, size in rows if ident not in kept]
    plan = Collection(len(doomed), sum(size for _, size in doomed), 0, 0, before, None)
    if dry_run:
        return plan
    with owner.writing() as connection:
        for ident, _ in doomed:
            remove_snapshot(connection, ident)
    return Collection(plan.dropped_snapshots, plan.dropped_bytes, 0, 0, before, file.total_bytes(owner.path))
