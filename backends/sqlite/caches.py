"""Snapshots and notes in an SQLite file: what may vanish, and is then rebuilt by the caller.

A damaged row here counts as vanished: it is passed over when read, and reported by `check` as damage of a cache.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence

from backends import packing
from backends.contract import TRUTH, Chunk, Snapshot
from backends.names import check_log, check_note
from backends.sqlite import chunks as packs
from backends.sqlite.connection import Connection
from backends.sqlite.digests import never_raising
from backends.sqlite.log import Logs
from backends.sqlite.schema import NUMBER_MASK

_NOTE_BATCH = 256
_PIECE_BYTES = 8 * 1024 * 1024


@never_raising
def snapshot_digest(row: Sequence[int], note: bytes) -> bytes:
    """The digest of a row in ``snapshots``: id, tier, first and last pack, bytes; then the note."""
    return packing.digest(b"%d %d %d %d %d " % tuple(row), note)


@never_raising
def note_digest(name: str, number: int, data: bytes) -> bytes:
    """The digest of a row in ``notes``."""
    return packing.digest(b"%b %d " % (name.encode(), number), data)


def remove_snapshot(connection: sqlite3.Connection, ident: int) -> bool:
    """Delete a snapshot and its packs inside a transaction; False where there is none."""
    row = connection.execute("SELECT first_pack, last_pack FROM snapshots WHERE id=?", (ident,)).fetchone()
    if row is None:
        return False
    first, last = row
    packs.remove_packs(connection, first, last, ident)
    connection.execute("DELETE FROM snapshots WHERE id=?", (ident,))
    return True


class Caches:
    """The snapshots and notes of one store."""

    def __init__(self, connection: Connection, logs: Logs) -> None:
        self._connection = connection
        self._logs = logs

    def put_snapshot(
        self, log: str, number: int, *, tier: int, note: bytes, chunks: Iterable[Chunk], requires: Sequence[int]
    ) -> bool:
        """Cache chunks as a snapshot in one transaction; see `Backend.put_snapshot`."""
        check_log(log)
        if not 1 <= tier < TRUTH:
            raise ValueError(f"a snapshot's tier is 1, 2 or 3, not {tier}")
        with self._connection.using() as connection:
            start = self._logs.start_of(connection, log)
            ident = (start or 0) + number
            known = connection.execute("SELECT 1 FROM records WHERE id=?", (ident,)).fetchone()
        if start is None or known is None or not 1 <= number <= NUMBER_MASK:
            raise ValueError(f"log {log} has no record {number} to snapshot")
        draft = _Draft(self._connection, ident, tier)
        try:
            for pack in packs.framed(chunks):
                draft.add(pack)
            with self._connection.writing() as connection:
                for required in set(requires):
                    if not connection.execute("SELECT 1 FROM snapshots WHERE id=?", (start + required,)).fetchone():
                        return False
                if not draft.is_whole(connection):
                    return False
                remove_snapshot(connection, ident)
                draft.publish(connection, note)
                return True
        finally:
            draft.discard()

    def snapshots(self, log: str) -> list[Snapshot]:
        """All snapshots of a log."""
        check_log(log)
        with self._connection.reading() as connection:
            start = self._logs.start_of(connection, log)
            if start is None:
                return []
            rows = connection.execute(
                "SELECT id, tier, first_pack, last_pack, bytes, digest, note FROM snapshots "
                "WHERE id BETWEEN ? AND ? ORDER BY id",
                (start, start + NUMBER_MASK),
            ).fetchall()
        return [
            Snapshot(row[0] & NUMBER_MASK, row[1], row[6], row[4])
            for row in rows
            if row[5] == snapshot_digest(row[:5], row[6])
        ]

    def drop_snapshots(self, log: str, numbers: Iterable[int]) -> int:
        """Forget snapshots; see `Backend.drop_snapshots`."""
        check_log(log)
        with self._connection.writing() as connection:
            start = self._logs.start_of(connection, log)
            if start is None:
                return 0
            return sum(remove_snapshot(connection, start + number) for number in set(numbers))

    def put_note(self, name: str, number: int, data: bytes) -> None:
        """Cache a small record; see `Backend.put_note`."""
        check_note(name)
        with self._connection.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO notes VALUES(?,?,?,?)", (name, number, note_digest(name, number, data), data)
            )

    def notes(self, name: str, first: int, last: int | None) -> Iterator[tuple[int, bytes]]:
        """Cached records of a name, in batches."""
        check_note(name)
        high = (1 << 63) - 1 if last is None else last
        low = first
        while low <= high:
            with self._connection.using() as connection:
                rows = connection.execute(
                    "SELECT number, digest, data FROM notes WHERE name=? AND number BETWEEN ? AND ? "
                    "ORDER BY number LIMIT ?",
                    (name, low, high, _NOTE_BATCH),
                ).fetchall()
            for number, digest, data in rows:
                if type(number) is not int or number < low:  # a damaged tree may give rows again without end
                    return
                low = number + 1
                if digest == note_digest(name, number, data):
                    yield number, data
            if len(rows) < _NOTE_BATCH:
                return

    def drop_notes(self, name: str) -> int:
        """Forget all cached records of a name; returns how many there were."""
        check_note(name)
        with self._connection.writing() as connection:
            return connection.execute("DELETE FROM notes WHERE name=?", (name,)).rowcount

    def note_names(self) -> list[str]:
        """Names under which notes are cached, sorted."""
        with self._connection.using() as connection:
            return [
                bytes(name).decode(errors="replace")
                for (name,) in connection.execute("SELECT DISTINCT name FROM notes ORDER BY name")
            ]


class _Draft:
    """The packs of a snapshot being written: a large one goes in pieces, so that other writers wait for none long.

    What is written before the snapshot itself belongs to nobody yet; `collect` removes it if the writer dies.
    """

    def __init__(self, connection: Connection, ident: int, tier: int) -> None:
        self._connection = connection
        self._ident = ident
        self._tier = tier
        self._waiting: list[packs.Pack] = []
        self._waiting_bytes = 0
        self._written: list[tuple[int, bytes]] = []  # id and digest, since the id of a removed pack is given again
        self._size_bytes = 0
        self._published = False

    def add(self, pack: packs.Pack) -> None:
        """Take one more pack, and write what waits where that is much."""
        size = len(pack[0]) + len(pack[1])
        self._waiting.append(pack)
        self._waiting_bytes += size
        self._size_bytes += size
        if self._waiting_bytes >= _PIECE_BYTES:
            with self._connection.writing() as connection:
                self._write(connection)

    def _write(self, connection: sqlite3.Connection) -> None:
        first, last = packs.insert_packs(connection, self._tier, self._ident, self._waiting)
        self._written.extend(
            connection.execute("SELECT id, digest FROM packs WHERE id BETWEEN ? AND ? ORDER BY id", (first, last))
        )
        self._waiting, self._waiting_bytes = [], 0

    def is_whole(self, connection: sqlite3.Connection) -> bool:
        """False where somebody collected a part of it, or published another with packs between ours."""
        return all(
            connection.execute("SELECT 1 FROM packs WHERE id=? AND digest=?", written).fetchone()
            for written in self._written
        )

    def publish(self, connection: sqlite3.Connection, note: bytes) -> None:
        """Write the rest and the snapshot, in the caller's transaction."""
        self._write(connection)
        first, last = (self._written[0][0], self._written[-1][0]) if self._written else (1, 0)
        between = connection.execute(
            "SELECT id, digest FROM packs WHERE id BETWEEN ? AND ? AND owner=?", (first, last, self._ident)
        ).fetchall()
        for pack, _ in set(between) - set(self._written):  # of another writer of the same, which will find them gone
            packs.remove_packs(connection, pack, pack, self._ident)
        row = (self._ident, self._tier, first, last, self._size_bytes)
        connection.execute("INSERT INTO snapshots VALUES(?,?,?,?,?,?,?)", (*row, snapshot_digest(row, note), note))
        self._published = True

    def discard(self) -> None:
        """Remove the pieces of a snapshot that came to nothing."""
        if self._written and not self._published:
            with self._connection.writing() as connection:
                for pack, digest in self._written:
                    if connection.execute("SELECT 1 FROM packs WHERE id=? AND digest=?", (pack, digest)).fetchone():
                        packs.remove_packs(connection, pack, pack, self._ident)
