"""Packing bodies: many small rows become a compressed frame, in a transaction that deletes only after a proof.

Each step is a job of at most 256 KiB: read and compress without any lock, decompress the frame and compare, then in a
single transaction make sure that nobody did the same meanwhile, write the pack and delete the replaced rows. A kill at
any moment leaves every body readable, in exactly one place.
"""

import sqlite3
from functools import partial
from typing import NamedTuple

import zstandard

from kbstore.backends import packing
from kbstore.backends.sqlite.connection import Connection
from kbstore.backends.sqlite.digests import base_bytes, body_digest, body_pack_digest
from kbstore.backends.sqlite.errors import RESTORE_HINT
from kbstore.backends.sqlite.schema import NUMBER_MASK, ORDINAL_SHIFT
from kbstore.kit.errors import CorruptStore

_ROWS = 256
_GAIN = 0.95
"""A base costs decompression at every read, so the frame must shrink at least to this share."""


class _Job(NamedTuple):
    """Bodies that make a pack.

    Attributes:
        fresh: Ids of the bodies that have rows in ``bodies``.
        replaced: Id and digest of the short pack whose bodies come first, if any.
    """

    bodies: list[tuple[int, bytes]]
    fresh: list[int]
    replaced: tuple[int, bytes] | None


def count_fresh(connection: sqlite3.Connection) -> int:
    """Return the number of bodies in rows of ``bodies``."""
    (count,) = connection.execute("SELECT count(*) FROM bodies").fetchone()
    return int(count)


def pack_bodies(owner: Connection, base: int | None) -> tuple[int, CorruptStore | None]:
    """Pack all bodies; return the number moved, and the first damage. Damage ends the packing of a log.

    Args:
        owner: The store's connection.
        base: A pack of truth to use as base if frames get smaller.
    """
    moved, ordinal = 0, 0
    damage: CorruptStore | None = None
    while True:
        try:
            found = owner.read(partial(_look, start=ordinal << ORDINAL_SHIFT, base=base))
        except CorruptStore as fault:
            if isinstance(fault.__cause__, sqlite3.Error):
                raise  # a page is damaged, so the list of logs is unknown
            damage, found = damage or fault, (None, None)
        if found is None:
            return moved, damage
        job, base_raw = found
        if job is None:
            ordinal += 1
            continue
        moved += _carry_out(owner, job, base, base_raw)


def _look(connection: sqlite3.Connection, *, start: int, base: int | None) -> tuple[_Job | None, bytes | None] | None:
    """Return the next job of the log that begins at `start`, and the base's bytes; None if there is no such log."""
    if not connection.execute("SELECT 1 FROM records WHERE id=?", (start + 1,)).fetchone():
        return None
    return _next_job(connection, start), base_bytes(connection, base)


def _next_job(connection: sqlite3.Connection, start: int) -> _Job | None:
    """Return the next bodies of a log to pack: the bodies after the last pack, and the last pack's bodies if few."""
    last = connection.execute(
        "SELECT id, first, base, digest, frame FROM body_packs WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1",
        (start, start + NUMBER_MASK),
    ).fetchone()
    fresh = _fresh_bodies(connection, last[0] if last else start, start + NUMBER_MASK)
    if not fresh:
        return None
    old, replaced = [], None
    if last and zstandard.frame_content_size(last[4]) < packing.COLD_RAW_BYTES // 2:
        ident, first, base, digest, frame = last
        if digest != body_pack_digest(ident, first, base, frame):
            raise CorruptStore(f"the pack of bodies {ident} is damaged", hint=RESTORE_HINT)
        raw = packing.decompress(frame, base_bytes(connection, base))
        old, replaced = list(packing.undo_bodies(first, raw).items()), (ident, digest)
    return _Job(old + fresh, [ident for ident, _ in fresh], replaced)


def _fresh_bodies(connection: sqlite3.Connection, after: int, last: int) -> list[tuple[int, bytes]]:
    """Return bodies from rows, as many as fill a frame, and at least the first if there is any."""
    found: list[tuple[int, bytes]] = []
    size = 0
    while True:
        rows = connection.execute(
            "SELECT id, digest, body FROM bodies WHERE id>? AND id<=? ORDER BY id LIMIT ?", (after, last, _ROWS)
        ).fetchall()
        for ident, digest, body in rows:
            if digest != body_digest(ident, body):
                if found:
                    return found  # the next job begins with the damaged body, and raises
                raise CorruptStore(f"the body of record {ident & NUMBER_MASK} is damaged", hint="run: kbstore verify")
            size += len(body)
            if found and size > packing.COLD_RAW_BYTES:
                return found
            found.append((ident, body))
            after = ident
        if len(rows) < _ROWS:
            return found


def _carry_out(owner: Connection, job: _Job, base: int | None, base_raw: bytes | None) -> int:
    """Write the pack of a job and delete the replaced rows; 0 if another collector was faster."""
    raw = packing.body_frame(job.bodies)
    frame, leaning = packing.compress(raw, packing.COLD_LEVEL), 0
    if base is not None and base_raw is not None:
        leaner = packing.compress(raw, packing.COLD_LEVEL, base_raw)
        if len(leaner) < _GAIN * len(frame):
            frame, leaning = leaner, base
    if packing.undo_bodies(job.bodies[0][0], packing.decompress(frame, base_raw if leaning else None)) != dict(
        job.bodies
    ):
        raise CorruptStore("a pack of bodies cannot be read back", hint="report this, nothing was changed")
    first, last = job.bodies[0][0], job.bodies[-1][0]

    def move(connection: sqlite3.Connection) -> int:
        (there,) = connection.execute(
            "SELECT count(*) FROM bodies WHERE id BETWEEN ? AND ?", (job.fresh[0], job.fresh[-1])
        ).fetchone()
        if there != len(job.fresh) or not _still_there(connection, job.replaced):
            return 0
        if leaning and base_bytes(connection, leaning) != base_raw:
            return 0
        connection.execute(
            "INSERT INTO body_packs VALUES(?,?,?,?,?)",
            (last, first, leaning, body_pack_digest(last, first, leaning, frame), frame),
        )
        connection.execute("DELETE FROM bodies WHERE id BETWEEN ? AND ?", (job.fresh[0], job.fresh[-1]))
        if job.replaced:
            connection.execute("DELETE FROM body_packs WHERE id=?", (job.replaced[0],))
        return len(job.fresh)

    return owner.write(move)


def _still_there(connection: sqlite3.Connection, pack: tuple[int, bytes] | None) -> bool:
    return pack is None or bool(connection.execute("SELECT 1 FROM body_packs WHERE id=? AND digest=?", pack).fetchone())
