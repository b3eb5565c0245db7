"""Checks of packs and of all data in packs: bodies, chunks, the index, snapshots and notes."""

import hashlib
import sqlite3
from collections.abc import Iterator

from kbstore.backends import packing
from kbstore.backends.base import Damage
from kbstore.backends.sqlite.cache import note_digest, snapshot_digest
from kbstore.backends.sqlite.check import CACHE_TIERS, Row, Table, in_steps, whole
from kbstore.backends.sqlite.chunks import prefix_of
from kbstore.backends.sqlite.connection import Connection
from kbstore.backends.sqlite.digests import base_bytes, body_pack_digest, pack_digest
from kbstore.backends.sqlite.log import Logs
from kbstore.backends.sqlite.schema import NUMBER_MASK

_PACKS = 8


def damage_of_packs(owner: Connection, logs: Logs) -> Iterator[Damage]:
    """Decompress every pack, and look for missing data and for data without a name in the store."""
    yield from in_steps(owner, _BodyPacks(logs))
    yield from in_steps(owner, _MissingBodies(logs))
    yield from in_steps(owner, _Packs())
    yield from whole(owner, _index, "chunks")
    yield from in_steps(owner, _Snapshots(logs))
    yield from whole(owner, _notes, "notes", cache=True)


class _BodyPacks(Table):
    """Checks each pack of bodies: the digest, and each body's size against the record."""

    name = "body_packs"
    query = "SELECT id, first, base, digest, frame FROM body_packs WHERE id>? AND id<=? ORDER BY id LIMIT ?"
    rows = _PACKS

    def __init__(self, logs: Logs) -> None:
        self._logs = logs

    def look(self, connection: sqlite3.Connection, row: Row) -> Iterator[str]:
        """Check the row's digest, the bodies, and that the pack does not overlap the pack before."""
        ident, first, base, digest, frame = row
        log, last = self._logs.place_of(connection, ident)
        name = f"the pack of bodies {first & NUMBER_MASK} to {last} of log {log}"
        # Query again in this transaction: a collection may have replaced the pack read by the previous step.
        (end,) = connection.execute("SELECT max(id) FROM body_packs WHERE id<?", (ident,)).fetchone()
        if end is not None and first <= end:
            yield f"{name} overlaps the one before"
        if digest != body_pack_digest(ident, first, base, frame):
            yield f"{name} is not as it was written"
            return
        bodies = packing.undo_bodies(first, packing.decompress(frame, base_bytes(connection, base)))
        sizes = connection.execute("SELECT id, size FROM records WHERE id BETWEEN ? AND ?", (first, ident)).fetchall()
        if {place: len(body) for place, body in bodies.items()} != {place: size for place, size in sizes if size}:
            yield f"{name} does not hold what its records say"

    def records(self, connection: sqlite3.Connection, row: Row) -> tuple[str, int, int]:
        """Return the records whose bodies the pack holds."""
        log, last = self._logs.place_of(connection, row[0])
        return log, row[1] & NUMBER_MASK, last


class _MissingBodies(Table):
    """Checks that each record with a body has the body in exactly one place."""

    name = "records"
    query = (
        "SELECT r.id FROM records r WHERE r.id>? AND r.id<=? AND r.size<>0 AND "
        "EXISTS(SELECT 1 FROM bodies WHERE id=r.id) = (r.id >= ifnull("
        "(SELECT first FROM body_packs WHERE id>=r.id ORDER BY id LIMIT 1), r.id+1)) ORDER BY r.id LIMIT ?"
    )

    def __init__(self, logs: Logs) -> None:
        self._logs = logs

    def look(self, connection: sqlite3.Connection, row: Row) -> Iterator[str]:
        """Report the row: the query finds only faulty rows."""
        (ident,) = row
        log, number = self._logs.place_of(connection, ident)
        yield f"the body of record {number} of log {log} is missing, or is in two places"

    def records(self, connection: sqlite3.Connection, row: Row) -> tuple[str, int, int]:
        """Return the record without a body."""
        log, number = self._logs.place_of(connection, row[0])
        return log, number, number


class _Packs(Table):
    """Checks each pack of chunks: the digest, every chunk against the address, and the rows in the index."""

    name = "packs"
    query = "SELECT id, tier, owner, base, digest, directory, frame FROM packs WHERE id>? AND id<=? ORDER BY id LIMIT ?"
    rows = _PACKS
    tier_column = 1

    def look(self, connection: sqlite3.Connection, row: Row) -> Iterator[str]:
        """Check the row's digest, then each chunk of the pack."""
        ident, tier, owner, base, digest, directory, frame = row
        if digest != pack_digest(tier, owner, base, directory, frame):
            yield f"pack {ident} is not as it was written"
            return
        for chunk in packing.undo_chunks(directory, frame, base_bytes(connection, base)).chunks():
            if hashlib.sha256(chunk.data).digest() != chunk.address:
                yield f"chunk {chunk.address.hex()} in pack {ident} does not match its address"
            place = (prefix_of(chunk.address), ident)
            if not connection.execute("SELECT 1 FROM chunks WHERE prefix=? AND pack=?", place).fetchone():
                yield f"chunk {chunk.address.hex()} in pack {ident} is not in the index"


def _index(connection: sqlite3.Connection) -> Iterator[Damage]:
    """Report rows of the index for chunks missing in the pack; `_Packs` looks for missing rows."""
    counts = dict(connection.execute("SELECT pack, count(*) FROM chunks GROUP BY pack"))
    for ident, tier, directory in connection.execute("SELECT id, tier, directory FROM packs"):
        wanted = len({prefix_of(address) for address in packing.addresses_in(directory)})
        found = counts.pop(ident, 0)
        if found != wanted:
            yield Damage(f"the index has {found} rows for pack {ident}, not {wanted}", cache=tier in CACHE_TIERS)
    for ident, count in counts.items():
        yield Damage(f"{count} rows of the index name pack {ident}, which does not exist", cache=True)


class _Snapshots(Table):
    """Checks each snapshot: the digest, and that all packs exist."""

    name = "snapshots"
    query = (
        "SELECT id, tier, first_pack, last_pack, bytes, digest, note FROM snapshots "
        "WHERE id>? AND id<=? ORDER BY id LIMIT ?"
    )
    cache = True

    def __init__(self, logs: Logs) -> None:
        self._logs = logs

    def look(self, connection: sqlite3.Connection, row: Row) -> Iterator[str]:
        """Check the row's digest, then the size of the packs."""
        ident, tier, first, last, size, digest, note = row
        log, number = self._logs.place_of(connection, ident)
        if digest != snapshot_digest((ident, tier, first, last, size), note):
            yield f"the snapshot of record {number} of log {log} is not as it was written"
            return
        (held,) = connection.execute(
            "SELECT ifnull(sum(length(directory) + length(frame)), 0) FROM packs "
            "WHERE id BETWEEN ? AND ? AND owner=? AND tier=?",
            (first, last, ident, tier),
        ).fetchone()
        if held != size:
            yield f"the packs of the snapshot of record {number} of log {log} hold {held} bytes, not {size}"


def _notes(connection: sqlite3.Connection) -> Iterator[Damage]:
    for name, number, digest, data in connection.execute("SELECT name, number, digest, data FROM notes"):
        try:
            text = name.decode()
            sound = digest == note_digest(text, number, data)
        except (AttributeError, UnicodeDecodeError):
            text, sound = repr(name), False
        if not sound:
            yield Damage(f"note {number} of {text} is not as it was written", cache=True)
