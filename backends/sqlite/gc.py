"""Collecting garbage: drop the snapshots that nobody keeps, pack cold data, and free space.

First comes a plan, which reads directories and counts rows; then the work, in many transactions: a transaction for each
snapshot and for each pack. Each leaves the store whole. So a kill at any moment leaves the result of a smaller
collection, and writers wait for a single step at most. Only caches are removed; truth is rewritten in tighter packs,
and the old packs go only after the new packs were decompressed and compared.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from functools import partial
from typing import NamedTuple

from kbstore.backends.base import TRUTH, Collection
from kbstore.backends.sqlite import chunks
from kbstore.backends.sqlite.cache import remove_snapshot, unreadable
from kbstore.backends.sqlite.connection import Connection
from kbstore.backends.sqlite.errors import code_of
from kbstore.backends.sqlite.files import store_file
from kbstore.backends.sqlite.files.drafts import remove_left_drafts
from kbstore.backends.sqlite.log import Logs
from kbstore.backends.sqlite.pack_bodies import count_fresh, pack_bodies
from kbstore.backends.sqlite.pack_chunks import eligible, first_base, repack
from kbstore.kit.folders import remove_left_folders

_SMALL_BYTES = 64 * 1024 * 1024
_WORTHWHILE = 0.05
"""Rewriting a large file costs as much as the file's size; a smaller share of free pages is left for new rows."""

_UNCLAIMED = (
    "SELECT p.id, p.owner, length(p.directory) + length(p.frame) FROM packs p WHERE p.tier<? AND NOT EXISTS "
    "(SELECT 1 FROM snapshots s WHERE s.id=p.owner AND p.id BETWEEN s.first_pack AND s.last_pack)"
)


class _Plan(NamedTuple):
    snapshots: list[tuple[int, int]]  # id, bytes
    unclaimed: list[tuple[int, int, int]]  # pack, owner, bytes
    bodies: int
    chunks: int


def collect_garbage(owner: Connection, logs: Logs, keep: Mapping[str, Iterable[int]], *, dry_run: bool) -> Collection:
    """Collect garbage, as `Backend.collect` does.

    Raises:
        CorruptStore: Truth is damaged. The damaged truth and the snapshots in `keep` are left as they are.
    """
    before = store_file.total_bytes(owner.real)
    plan = owner.read(partial(_plan, logs=logs, keep=keep, location=owner.path))
    dropped_bytes = sum(size for _, size in plan.snapshots) + sum(size for *_, size in plan.unclaimed)
    if dry_run:
        return Collection(len(plan.snapshots), dropped_bytes, plan.bodies, plan.chunks, before, None)
    remove_left_drafts(owner.real.parent)
    remove_left_folders()
    dropped = 0
    for ident, _ in plan.snapshots:
        dropped += owner.write(partial(remove_snapshot, ident=ident))
    if plan.unclaimed:
        owner.write(_remove_unclaimed)
    packed_chunks = repack(owner) if plan.chunks else 0
    packed_bodies, damage = 0, None
    if plan.bodies:
        packed_bodies, damage = pack_bodies(owner, owner.use(first_base))
    if damage is not None:
        raise damage
    give_back(owner, changed=bool(dropped or plan.unclaimed or packed_chunks or packed_bodies))
    return Collection(dropped, dropped_bytes, packed_bodies, packed_chunks, before, store_file.total_bytes(owner.real))


def _remove_unclaimed(connection: sqlite3.Connection) -> None:
    for pack, ident, _ in connection.execute(_UNCLAIMED, (TRUTH,)).fetchall():
        chunks.remove_packs(connection, pack, pack, ident)


def _plan(connection: sqlite3.Connection, *, logs: Logs, keep: Mapping[str, Iterable[int]], location: object) -> _Plan:
    kept = {
        start + number
        for log, numbers in keep.items()
        if (start := logs.start_of(connection, log)) is not None
        for number in numbers
    }
    # Newest first: a snapshot goes before the snapshots it requires, so a kill never leaves a requirement missing.
    try:
        rows = [row[:2] for row in connection.execute("SELECT id, bytes, note FROM snapshots ORDER BY id DESC")]
    except sqlite3.DatabaseError as error:
        if code_of(error) != sqlite3.SQLITE_CORRUPT:
            raise
        raise unreadable("snapshots", location) from error  # without the table nobody knows which packs may go
    return _Plan(
        [(ident, size) for ident, size in rows if ident not in kept],
        connection.execute(_UNCLAIMED, (TRUTH,)).fetchall(),
        count_fresh(connection),
        sum(len(source.addresses) for source in eligible(connection)),
    )


def give_back(owner: Connection, *, changed: bool) -> None:
    """Make the file as small as the content, if worth the rewriting and nobody else is busy."""
    try:
        store_file.sync_names(owner.real)  # VACUUM writes into the log too
        owner.use(partial(_shrink, changed=changed))
    finally:
        # SQLite's cache of the old pages is useless now, and would keep much memory after a large store.
        owner.use(lambda connection: connection.execute("PRAGMA shrink_memory"))


def _shrink(connection: sqlite3.Connection, *, changed: bool) -> None:
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    small = pages * page_bytes <= _SMALL_BYTES
    connection.execute("PRAGMA busy_timeout=1000")
    try:
        if (changed and small) or free > _WORTHWHILE * pages:
            connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 1)  # VACUUM attaches the file that it writes
            connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.OperationalError as error:
        if code_of(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise
        # Others are at work and can use the free pages; the next collection tries again.
    finally:
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.execute(store_file.patience())
