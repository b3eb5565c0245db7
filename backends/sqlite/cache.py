"""Snapshots and notes in an SQLite file: data that may vanish, and that the caller then rebuilds.

A damaged row counts as vanished: reads skip the row, and `check` reports damage of a cache. A table that SQLite cannot
read is empty to readers, and writes to such a table are dropped.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from kbstore.backends import packing
from kbstore.backends.base import TRUTH, Chunk, Snapshot
from kbstore.backends.names import check_log, check_note
from kbstore.backends.sqlite import chunks as packs
from kbstore.backends.sqlite.connection import Connection
from kbstore.backends.sqlite.digests import never_raising
from kbstore.backends.sqlite.log import Logs
from kbstore.backends.sqlite.schema import NUMBER_MASK
from kbstore.kit.errors import CorruptStore

_NOTE_BATCH = 256
_PIECE_BYTES = 8 * 1024 * 1024


@never_raising
def snapshot_digest(row: Sequence[int], note: bytes) -> bytes:
    """Return the digest of a row in ``snapshots``: id, tier, first and last pack, bytes; then the note."""
    return packing.digest(b"%d %d %d %d %d " % tuple(row), note)


@never_raising
def note_digest(name: str, number: int, data: bytes) -> bytes:
    """Return the digest of a row in ``notes``."""
    return packing.digest(b"%b %d " % (name.encode(), number), data)


def left_behind(table: str, location: object) -> str:
    """Return the sentence that a table of caches cannot be read, and how to make a store without the table."""
    return f"the table {table} cannot be read; kbstore clone {location} NEW.db writes a whole copy without it"


def unreadable(table: str, location: object) -> CorruptStore:
    """Return the error of a call that needs a table of caches that cannot be read."""
    return CorruptStore(
        f"{location} has a damaged cache, the table {table}, which cannot be made anew in place; nothing is lost",
        hint=f"kbstore clone {location} NEW.db writes a whole copy without it; then: kbstore restore-backup NEW.db",
    )


def remove_snapshot(connection: sqlite3.Connection, ident: int) -> bool:
    """Delete a snapshot and the packs of the snapshot inside a transaction; False if there is no such snapshot."""
    row = connection.execute("SELECT first_pack, last_pack FROM snapshots WHERE id=?", (ident,)).fetchone()
    if row is None:
        return False
    first, last = row
    packs.remove_packs(connection, first, last, ident)
    connection.execute("DELETE FROM snapshots WHERE id=?", (ident,))
    return True


class Caches:
    """The snapshots and notes of a store."""

    def __init__(self, connection: Connection, logs: Logs) -> None:
        self._connection = connection
        self._logs = logs

    def put_snapshot(
        self, log: str, number: int, *, tier: int, note: bytes, chunks: Iterable[Chunk], requires: Mapping[int, bytes]
    ) -> bool:
        """Cache chunks as a snapshot, published in a single transaction, as `Backend.put_snapshot` does."""
        check_log(log)
        if not 1 <= tier < TRUTH:
            raise ValueError(f"a snapshot's tier is 1, 2 or 3, not {tier}")
        start = self._connection.use(partial(self._start_if_known, log=log, number=number))
        try:  # fail now, before a large snapshot is written in pieces
            self._connection.use(lambda c: c.execute("SELECT max(id) FROM snapshots").fetchone())
        except CorruptStore as error:
            raise unreadable("snapshots", self._connection.path) from error
        if start is None:
            raise ValueError(f"log {log} has no record {number} to snapshot")
        ident = start + number
        draft = _Draft(self._connection, ident, tier)

        def publish(connection: sqlite3.Connection) -> bool:
            for required, its_note in requires.items():
                row = (start + required, its_note)
                if not connection.execute("SELECT 1 FROM snapshots WHERE id=? AND note=?", row).fetchone():
                    return False
            if not draft.is_whole(connection):
                return False
            remove_snapshot(connection, ident)
            draft.publish(connection, note)
            return True

        try:
            for pack in packs.framed(chunks):
                draft.add(pack)
            draft.published = self._connection.write(publish)
            return draft.published
        finally:
            draft.discard()

    def _start_if_known(self, connection: sqlite3.Connection, log: str, number: int) -> int | None:
        """Return the offset from a record's number to the id; None if the log has no record of this number."""
        start = self._logs.start_of(connection, log)
        if start is None or not 1 <= number <= NUMBER_MASK:
            return None
        known = connection.execute("SELECT 1 FROM records WHERE id=?", (start + number,)).fetchone()
        return None if known is None else start

    def snapshots(self, log: str) -> list[Snapshot]:
        """Return all snapshots of a log."""
        check_log(log)

        def select(connection: sqlite3.Connection) -> list[Any]:
            start = self._logs.start_of(connection, log)
            if start is None:
                return []
            return connection.execute(
                "SELECT id, tier, first_pack, last_pack, bytes, digest, note FROM snapshots "
                "WHERE id BETWEEN ? AND ? ORDER BY id",
                (start, start + NUMBER_MASK),
            ).fetchall()

        try:
            rows = self._connection.read(select)
        except CorruptStore:
            return []
        return [
            Snapshot(row[0] & NUMBER_MASK, row[1], row[6], row[4])
            for row in rows
            if row[5] == snapshot_digest(row[:5], row[6])
        ]

    def drop_snapshots(self, log: str, numbers: Iterable[int]) -> int:
        """Forget snapshots; return the number of snapshots dropped."""
        check_log(log)

        def drop(connection: sqlite3.Connection) -> int:
            start = self._logs.start_of(connection, log)
            if start is None:
                return 0
            return sum(remove_snapshot(connection, start + number) for number in set(numbers))

        try:
            return self._connection.write(drop)
        except CorruptStore:
            return 0

    def put_note(self, name: str, number: int, data: bytes) -> None:
        """Cache a small record."""
        check_note(name)
        row = (name, number, note_digest(name, number, data), data)
        with suppress(CorruptStore):
            self._connection.write(lambda c: c.execute("INSERT OR REPLACE INTO notes VALUES(?,?,?,?)", row))

    def notes(self, name: str, first: int, last: int | None) -> Iterator[tuple[int, bytes]]:
        """Yield the cached records of a name, in batches."""
        check_note(name)
        high = (1 << 63) - 1 if last is None else last
        low = first
        while low <= high:
            try:
                rows = self._connection.use(partial(_notes_between, name=name, low=low, high=high))
            except CorruptStore:
                return
            for number, digest, data in rows:
                if type(number) is not int or number < low:  # a damaged tree may give rows again without end
                    return
                low = number + 1
                if digest == note_digest(name, number, data):
                    yield number, data
            if len(rows) < _NOTE_BATCH:
                return

    def drop_notes(self, name: str) -> int:
        """Forget all cached records of a name; return the number of records dropped."""
        check_note(name)
        try:
            return self._connection.write(lambda c: c.execute("DELETE FROM notes WHERE name=?", (name,)).rowcount)
        except CorruptStore as error:
            raise unreadable("notes", self._connection.path) from error

    def note_names(self) -> list[str]:
        """Return the names under which notes are cached, sorted."""
        try:
            names = self._connection.use(
                lambda c: c.execute("SELECT DISTINCT name FROM notes ORDER BY name").fetchall()
            )
        except CorruptStore:
            return []
        return [bytes(name).decode(errors="replace") for (name,) in names]


def _notes_between(connection: sqlite3.Connection, name: str, low: int, high: int) -> list[Any]:
    return connection.execute(
        "SELECT number, digest, data FROM notes WHERE name=? AND number BETWEEN ? AND ? ORDER BY number LIMIT ?",
        (name, low, high, _NOTE_BATCH),
    ).fetchall()


class _Draft:
    """The packs of an unfinished snapshot, written in pieces if large, so that no other writer waits long.

    Pieces written before the snapshot itself belong to no snapshot yet; `collect` removes them if the writer dies.
    """

    def __init__(self, connection: Connection, ident: int, tier: int) -> None:
        self._connection = connection
        self._ident = ident
        self._tier = tier
        self._waiting: list[packs.Pack] = []
        self._waiting_bytes = 0
        self._written: list[tuple[int, bytes]] = []  # id and digest, because ids of removed packs are used again
        self._size_bytes = 0
        self.published = False

    def add(self, pack: packs.Pack) -> None:
        """Take another pack, and write the waiting packs once they are large."""
        size = len(pack[0]) + len(pack[1])
        self._waiting.append(pack)
        self._waiting_bytes += size
        self._size_bytes += size
        if self._waiting_bytes >= _PIECE_BYTES:
            self._written += self._connection.write(self._write)
            self._waiting, self._waiting_bytes = [], 0

    def _write(self, connection: sqlite3.Connection) -> list[tuple[int, bytes]]:
        """Write the waiting packs, inside a transaction; return their ids and digests."""
        first, last = packs.insert_packs(connection, self._tier, self._ident, self._waiting)
        return connection.execute(
            "SELECT id, digest FROM packs WHERE id BETWEEN ? AND ? ORDER BY id", (first, last)
        ).fetchall()

    def is_whole(self, connection: sqlite3.Connection) -> bool:
        """Return whether all pieces still exist: neither collected, nor removed by a writer of the same snapshot."""
        return all(
            connection.execute("SELECT 1 FROM packs WHERE id=? AND digest=?", written).fetchone()
            for written in self._written
        )

    def publish(self, connection: sqlite3.Connection, note: bytes) -> None:
        """Write the rest and the snapshot, in the caller's transaction."""
        written = self._written + self._write(connection)
        first, last = (written[0][0], written[-1][0]) if written else (1, 0)
        between = connection.execute(
            "SELECT id, digest FROM packs WHERE id BETWEEN ? AND ? AND owner=?", (first, last, self._ident)
        ).fetchall()
        # Packs of another writer of the same snapshot, whose `is_whole` will notice.
        for pack, _ in set(between) - set(written):
            packs.remove_packs(connection, pack, pack, self._ident)
        row = (self._ident, self._tier, first, last, self._size_bytes)
        connection.execute("INSERT INTO snapshots VALUES(?,?,?,?,?,?,?)", (*row, snapshot_digest(row, note), note))

    def discard(self) -> None:
        """Remove the pieces of a snapshot that was not published."""
        if self._written and not self.published:
            self._connection.write(self._remove)

    def _remove(self, connection: sqlite3.Connection) -> None:
        for pack, digest in self._written:
            here = connection.execute("SELECT 1 FROM packs WHERE id=? AND digest=?", (pack, digest)).fetchone()
            claimed = connection.execute(
                "SELECT 1 FROM snapshots WHERE id=? AND ? BETWEEN first_pack AND last_pack", (self._ident, pack)
            ).fetchone()
            if here and not claimed:  # a signal may end the call right after it published the snapshot
                packs.remove_packs(connection, pack, pack, self._ident)
