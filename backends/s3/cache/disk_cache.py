"""Chunks on this machine's disk: a bounded SQLite file, shared by any number of processes, that may vanish.

Each read checks a chunk against its address, so damage to the file does no harm: a chunk that does not match
counts as absent. A fault of the file itself turns the cache off for this process.
"""

import hashlib
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

from kbstore.backends.base import Chunk
from kbstore.kit.private_files import make_private_file, make_private_folder

_NAME = "chunks.db"
_BATCH = 500
_SHRINK_TO = 0.75
_BUSY_S = 2.0
_LARGEST_BYTES = 1 << 28
"""Chunks of this length or more are not read from the file: any program may have written the file."""


class Cache:
    """Chunks by address.

    Args:
        folder: Folder of the file; created if missing.
        limit_bytes: Most bytes of all chunks together.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._path = folder / _NAME
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._off = limit_bytes <= 0
        self._unseen: list[bytes] = []

    def get(self, addresses: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the chunks that are cached and sound."""
        found: dict[bytes, bytes] = {}
        with self._lock:
            connection = self._open()
            if connection is None:
                return found
            try:
                for start in range(0, len(addresses), _BATCH):
                    batch = addresses[start : start + _BATCH]
                    marks = ",".join("?" * len(batch))
                    rows = connection.execute(
                        f"SELECT address, data FROM chunks WHERE address IN ({marks}) AND length(data)<?",  # noqa: S608
                        [*batch, _LARGEST_BYTES],
                    )
                    found.update(rows)
            except sqlite3.Error:
                self._turn_off()
        sound = {a: data for a, data in found.items() if hashlib.sha256(data).digest() == a}
        self._unseen.extend(sound)
        return sound

    def put(self, chunks: Iterable[Chunk]) -> None:
        """Keep chunks; remove the chunks with the oldest use if the total grows too large."""
        rows = [(chunk.address, len(chunk.data), chunk.data) for chunk in chunks]
        with self._lock:
            connection = self._open()
            if connection is None:
                return
            try:
                with connection:
                    connection.execute("BEGIN IMMEDIATE")
                    (now,) = connection.execute("SELECT ifnull(max(used), 0) + 1 FROM chunks").fetchone()
                    unseen, self._unseen = self._unseen[:_BATCH], []
                    connection.executemany("UPDATE chunks SET used=? WHERE address=?", [(now, a) for a in unseen])
                    connection.executemany(
                        "INSERT OR IGNORE INTO chunks VALUES(?,?,?,?)", [(a, now, size, data) for a, size, data in rows]
                    )
                    self._shrink(connection)
            except sqlite3.Error:
                self._turn_off()

    def close(self) -> None:
        """Close the file; the cache stays off."""
        with self._lock:
            self._turn_off()

    def _shrink(self, connection: sqlite3.Connection) -> None:
        (size,) = connection.execute("SELECT ifnull(sum(size), 0) FROM chunks").fetchone()
        if size <= self._limit:
            return
        for address, one in connection.execute("SELECT address, size FROM chunks ORDER BY used, address").fetchall():
            if size <= self._limit * _SHRINK_TO:
                return
            connection.execute("DELETE FROM chunks WHERE address=?", (address,))
            size -= one

    def _open(self) -> sqlite3.Connection | None:
        if self._connection is None and not self._off:
            try:
                make_private_folder(self._path.parent)
                make_private_file(self._path)
                self._connection = _connect(self._path)
            except (OSError, sqlite3.Error):
                self._turn_off()
        return self._connection

    def _turn_off(self) -> None:
        self._off = True
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error:
                pass


def _connect(path: Path) -> sqlite3.Connection:
    """Open the file; replace a file of another kind."""
    for attempt in (1, 2):
        connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=OFF")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS chunks"
                "(address BLOB PRIMARY KEY, used INTEGER NOT NULL, size INTEGER NOT NULL, data BLOB NOT NULL)"
            )
            connection.execute("CREATE INDEX IF NOT EXISTS chunks_used ON chunks(used, address, size)")
            connection.execute("SELECT address, used, size, data FROM chunks LIMIT 1").fetchone()
        except sqlite3.OperationalError:
            connection.close()
            raise
        except sqlite3.DatabaseError:
            connection.close()
            if attempt == 2:
                raise
            path.unlink(missing_ok=True)
            continue
        return connection
    raise sqlite3.DatabaseError("unreachable")
