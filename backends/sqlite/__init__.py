"""The default backend: an SQLite file in WAL mode, where a slot is a single durable transaction.

`SQLiteBackend` is a facade for five parts: the file and the connection, the logs, the chunks, the caches, and the work
of `collect` and `check` on all of them. docs/format.md describes the tables.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Self

from kbstore.backends.base import NOTHING, Chunk, Collection, Damage, Found, Record, Snapshot, StoredRecord, Tail
from kbstore.backends.sqlite import chunks as packs
from kbstore.backends.sqlite.backup import backup, restore
from kbstore.backends.sqlite.cache import Caches
from kbstore.backends.sqlite.check import damage_of_rows
from kbstore.backends.sqlite.check_packs import damage_of_packs
from kbstore.backends.sqlite.chunks import Chunks
from kbstore.backends.sqlite.connection import Connection
from kbstore.backends.sqlite.files import store_file
from kbstore.backends.sqlite.gc import collect_garbage
from kbstore.backends.sqlite.log import Logs
from kbstore.kit.errors import StoreNotFound

__all__ = ["SQLiteBackend", "backup", "create", "open_existing", "restore"]


def create(location: str, mode: int = 0o666, *, insecure: bool = False) -> "SQLiteBackend":  # noqa: ARG001 - for a server
    """Make an empty store at a path and open the store; `backends.create_backend` lists the errors."""
    path = store_file.path_of(location)
    store_file.create_file(path, mode)
    return SQLiteBackend(location)


def open_existing(location: str, *, read_only: bool = False, insecure: bool = False) -> "SQLiteBackend":  # noqa: ARG001 - for a server
    """Open the store at a path; `backends.open_backend` lists the errors."""
    return SQLiteBackend(location, read_only=read_only)


class SQLiteBackend:
    """A backend in an SQLite file; `kbstore.backends.base.Backend` describes every method.

    Threads may share a backend; each process opens another.
    """

    def __init__(self, location: str, *, read_only: bool = False) -> None:
        path = store_file.path_of(location)
        if not str(location):
            raise StoreNotFound("an empty path is not the location of a store", hint="name its file")
        self._location = str(path)
        # Absolute, because the process may change the working directory while the store is open.
        self._connection = Connection(path.absolute(), read_only=read_only)
        self._logs = Logs(self._connection)
        self._chunks = Chunks(self._connection, self._logs)
        self._caches = Caches(self._connection, self._logs)

    @property
    def location(self) -> str:
        """The path of the file."""
        return self._location

    @property
    def read_only(self) -> bool:
        """True if every writing method raises `ReadOnlyStore`."""
        return self._connection.read_only

    @property
    def shares_slots(self) -> bool:
        """False: a slot costs little."""
        return False

    @property
    def remote(self) -> bool:
        """False: a call costs little."""
        return False

    def server_time(self) -> datetime | None:
        """Return None: there is no server."""
        return None

    def expect(
        self,
        log: str,
        *,
        listing: bool = False,
        snapshot: int | None = None,
        bodies: Sequence[int] = (),
        notes: tuple[str, int, int] | None = None,
    ) -> None:
        """Do nothing: asking costs little."""

    def append(
        self,
        log: str,
        slot: int,
        records: Sequence[Record],
        *,
        write_id: str,
        chunks: Sequence[Chunk] = (),
        writes: Sequence[tuple[str, int]] = (),
    ) -> None:
        """Create slot `slot` of `log`; costs a transaction with a single sync."""
        if writes:
            raise ValueError("a slot of this backend holds one write")
        framed = list(packs.framed(self._chunks.without_truth(chunks))) if chunks else ()
        self._logs.append(log, slot, records, write_id=write_id, packs=framed, store_packs=packs.insert_truth)

    def tail(self, log: str, *, fresh: bool = True) -> Tail:  # noqa: ARG002 - one seek is always fresh
        """Return the newest slot and record number."""
        return self._logs.tail(log)

    def look(self, log: str) -> Callable[[], Tail]:
        """Look for the end of a log at once; return a function that gives the result."""
        found = self.tail(log)
        return lambda: found

    def logs(self) -> list[str]:
        """Return the names of all logs."""
        return self._logs.names()

    def recalled(self) -> Self:
        """Return this handle, since no cache holds records (`Backend.recalled`)."""
        return self

    def read(
        self, log: str, first: int = 1, last: int | None = None, *, newest_first: bool = False
    ) -> Iterator[StoredRecord]:
        """Yield the headers of a range of records."""
        return self._logs.read(log, first, last, newest_first=newest_first)

    def bodies(self, log: str, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Yield the bodies of these records."""
        return self._logs.bodies(log, numbers)

    def find_write(self, log: str, write_id: str, *, after: int | None = None) -> tuple[int, int] | None:  # noqa: ARG002 - one seek finds it anywhere
        """Return the records of a write."""
        return self._logs.find_write(log, write_id)

    def get_chunks(self, addresses: Iterable[bytes], *, in_order: bool = False) -> Iterator[Found]:
        """Yield the wanted chunks and their neighbours."""
        return self._chunks.get(addresses, in_order=in_order)

    def put_snapshot(
        self,
        log: str,
        number: int,
        *,
        tier: int,
        note: bytes,
        chunks: Iterable[Chunk],
        requires: Mapping[int, bytes] = NOTHING,
    ) -> bool:
        """Cache chunks as a snapshot."""
        return self._caches.put_snapshot(log, number, tier=tier, note=note, chunks=chunks, requires=requires)

    def snapshots(self, log: str) -> list[Snapshot]:
        """Return all snapshots of a log."""
        return self._caches.snapshots(log)

    def drop_snapshots(self, log: str, numbers: Iterable[int]) -> int:
        """Forget snapshots."""
        return self._caches.drop_snapshots(log, numbers)

    def put_note(self, name: str, number: int, data: bytes) -> None:
        """Cache a small record."""
        self._caches.put_note(name, number, data)

    def notes(self, name: str, first: int = 0, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Yield the cached records of a name."""
        return self._caches.notes(name, first, last)

    def drop_notes(self, name: str) -> int:
        """Forget cached records."""
        return self._caches.drop_notes(name)

    def note_names(self) -> list[str]:
        """Return the names under which notes are cached."""
        return self._caches.note_names()

    def collect(self, keep: Mapping[str, Iterable[int]], *, dry_run: bool = False) -> Collection:
        """Drop snapshots, pack cold data, and free space."""
        return collect_garbage(self._connection, self._logs, keep, dry_run=dry_run)

    def check(self) -> Iterator[Damage]:
        """Read every byte and yield the differences to the data as written."""
        parts = chain(damage_of_rows(self._connection, self._logs), damage_of_packs(self._connection, self._logs))
        told: set[str] = set()
        for damage in parts:
            if not damage.cache or damage.what not in told:  # two parts may report the same unreadable table
                told.add(damage.what)
                yield damage

    def intact(self, log: str, number: int) -> bool:
        """Return whether a record's header is as written."""
        return self._logs.intact(log, number)

    def size_bytes(self) -> int:
        """Return the bytes of the file and the WAL."""
        return store_file.total_bytes(self._connection.real)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
