"""Chunks in an SQLite file: packs of neighbours, found by the first bytes of an address.

The index maps the first 8 bytes of an address to the packs that may hold the chunk; the pack's directory, which has
whole addresses, decides. So two chunks with the same 8 bytes, by chance or by malice, are never confused, and after a
copy of a chunk is dropped, the other copies can still be found.
"""

import hashlib
import itertools
import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import repeat
from typing import NamedTuple

from kbstore.backends import packing
from kbstore.backends.base import TRUTH, Chunk, Found
from kbstore.backends.names import check_address
from kbstore.backends.sqlite.connection import Connection
from kbstore.backends.sqlite.digests import base_bytes, pack_digest
from kbstore.backends.sqlite.errors import RESTORE_HINT
from kbstore.backends.sqlite.log import Logs
from kbstore.kit.errors import CorruptStore

_BATCH = 32
_BATCH_BYTES = 4 * 1024 * 1024
_AHEAD = 15
_BASES = 4
_CACHE_BYTES = 4 * 1024 * 1024

_LOCATE = (
    "SELECT c.prefix, p.id, p.tier, p.owner, p.digest FROM chunks c JOIN packs p ON p.id=c.pack "  # noqa: S608 - only marks
    f"WHERE c.prefix IN ({','.join('?' * _BATCH)}) ORDER BY p.tier DESC, p.id DESC"
)


Pack = tuple[bytes, bytes]
"""A pack's directory and frame."""


class Place(NamedTuple):
    """A pack that may hold a chunk."""

    pack: int
    tier: int
    owner: int
    digest: bytes


def prefix_of(address: bytes) -> int:
    """Return the first 8 bytes of an address as a signed integer, the integer type of SQLite."""
    return int.from_bytes(address[:8], signed=True)


def framed(chunks: Iterable[Chunk]) -> Iterator[Pack]:
    """Yield the fresh packs for these chunks, as first written."""
    for group in packing.grouped(chunks, packing.FRESH_RAW_BYTES):
        raw = b"".join([chunk.data for chunk in group])
        yield packing.directory_of(group), packing.compress(raw, packing.HASTY_LEVEL)


def insert_packs(
    connection: sqlite3.Connection, tier: int, owner: int, packs: Sequence[Pack], base: int | None = None
) -> tuple[int, int]:
    """Write packs and their index rows inside a transaction; return the first and last id."""
    (newest,) = connection.execute("SELECT ifnull(max(id), 0) FROM packs").fetchone()
    ident = newest
    for directory, frame in packs:
        ident += 1
        connection.execute(
            "INSERT INTO packs VALUES(?,?,?,?,?,?,?)",
            (ident, tier, owner, base, pack_digest(tier, owner, base, directory, frame), directory, frame),
        )
        connection.executemany(
            "INSERT OR IGNORE INTO chunks VALUES(?,?)",
            [(prefix_of(address), ident) for address in packing.addresses_in(directory)],
        )
    return newest + 1, ident


def insert_truth(connection: sqlite3.Connection, packs: Sequence[Pack]) -> None:
    """Write the packs of a slot."""
    insert_packs(connection, TRUTH, 0, packs)


def remove_packs(connection: sqlite3.Connection, first: int, last: int, owner: int) -> None:
    """Delete `owner`'s cached packs in a range, and the index rows of the packs; inside a transaction."""
    rows = connection.execute(
        "SELECT id, directory FROM packs WHERE id BETWEEN ? AND ? AND owner=? AND tier<?", (first, last, owner, TRUTH)
    ).fetchall()
    for ident, directory in rows:
        connection.executemany(
            "DELETE FROM chunks WHERE prefix=? AND pack=?",
            [(prefix_of(address), ident) for address in packing.addresses_in(directory)],
        )
        connection.execute("DELETE FROM packs WHERE id=?", (ident,))


class Chunks:
    """Reads chunks, and keeps a few decompressed packs in memory."""

    def __init__(self, connection: Connection, logs: Logs) -> None:
        self._connection = connection
        self._logs = logs
        self._undone: OrderedDict[tuple[int, bytes], packing.ChunkPack] = OrderedDict()
        self._undone_bytes = 0
        self._bases: OrderedDict[int, tuple[bytes, bytes]] = OrderedDict()

    def get(self, addresses: Iterable[bytes], *, in_order: bool = False) -> Iterator[Found]:
        """Yield the wanted chunks and their neighbours, as `Backend.get_chunks` does."""
        given: set[bytes] = set()
        asked = dict.fromkeys(map(check_address, addresses))
        waiting = (address for address in asked if address not in given)
        left: list[bytes] = []
        while batch := left + list(itertools.islice(waiting, _BATCH - len(left))):
            answer, done = self._connection.read(partial(self._batch, batch=batch, given=given, in_order=in_order))
            left = [address for address in batch[done:] if address not in given]
            yield from answer

    def _batch(
        self, connection: sqlite3.Connection, batch: Sequence[bytes], given: set[bytes], *, in_order: bool
    ) -> tuple[list[Found], int]:
        """Return chunks for the first addresses, as much as a step may read, and the number of addresses served.

        Args:
            connection: In a reading transaction.
            batch: The addresses.
            given: Addresses that the caller already has; the addresses returned here are added.
            in_order: As for `get`.
        """
        answer: list[Found] = []
        done, size = 0, 0
        places = self._locate(connection, batch)
        for address in batch:
            if size > _BATCH_BYTES:
                break
            done += 1
            if address in given:
                continue
            found = self._first_sound(connection, address, places.get(prefix_of(address), ()))
            if found is not None:
                place, pack = found
                size += len(pack.raw)
                owner = None if place.tier == TRUTH else self._logs.place_of(connection, place.owner)
                for near in (pack, *(self._following(connection, place) if in_order else ())):
                    given.update(near.addresses)
                    answer += map(Found._make, zip(*near.columns(), repeat(place.tier), repeat(owner)))
        return answer, done

    def without_truth(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        """Return the chunks that are not truth yet, in order, without duplicates.

        Truth stays truth, so the answer is still right in a later transaction.
        """
        new = {chunk.address: chunk for chunk in chunks}
        empty = self._connection.use(lambda c: c.execute("SELECT 1 FROM packs LIMIT 1").fetchone()) is None
        waiting = iter(() if empty else list(new))
        while batch := list(itertools.islice(waiting, _BATCH)):
            for address in self._connection.read(partial(self._truth_among, addresses=batch)):
                del new[address]
        return list(new.values())

    def _truth_among(self, connection: sqlite3.Connection, addresses: Sequence[bytes]) -> list[bytes]:
        """Return those of the addresses that are stored as truth."""
        places = self._locate(connection, addresses)
        return [
            address
            for address in addresses
            if any(
                place.tier == TRUTH and self._holds(connection, place, address)
                for place in places.get(prefix_of(address), ())
            )
        ]

    @staticmethod
    def _locate(connection: sqlite3.Connection, addresses: Sequence[bytes]) -> dict[int, list[Place]]:
        """Return the packs that may hold the chunks, by prefix, best first."""
        wanted = [prefix_of(address) for address in addresses]
        if len(wanted) < _BATCH:
            wanted += [wanted[0]] * (_BATCH - len(wanted))  # so that a single prepared statement serves all
        places: dict[int, list[Place]] = {}
        for prefix, *place in connection.execute(_LOCATE, wanted):
            places.setdefault(prefix, []).append(Place(*place))
        return places

    @staticmethod
    def _holds(connection: sqlite3.Connection, place: Place, address: bytes) -> bool:
        row = connection.execute("SELECT directory FROM packs WHERE id=?", (place.pack,)).fetchone()
        return row is not None and address in packing.addresses_in(row[0])

    def _first_sound(
        self, connection: sqlite3.Connection, address: bytes, places: Iterable[Place]
    ) -> tuple[Place, packing.ChunkPack] | None:
        """Return the best pack that holds this chunk undamaged; None if no pack holds the chunk at all."""
        fault: CorruptStore | None = None
        for place in places:
            try:
                pack = self.undo(connection, place)
                if address not in pack.addresses:
                    continue
                index = pack.addresses.index(address)
                start = pack.ends[index - 1] if index else 0
                if hashlib.sha256(pack.raw[start : pack.ends[index]]).digest() == address:
                    return place, pack
                raise CorruptStore(f"chunk {address.hex()} in pack {place.pack} does not match its address")
            except CorruptStore as damage:
                fault = fault or damage
        if fault is not None:
            raise CorruptStore(f"chunk {address.hex()} cannot be read: {fault}", hint="run: kbstore verify")
        return None

    def _following(self, connection: sqlite3.Connection, place: Place) -> Iterator[packing.ChunkPack]:
        """Yield the sound packs written by the same writer right after a pack.

        A walk reads each pack only once, so the packs are not kept in memory.
        """
        for tier, owner, base, digest, directory, frame in connection.execute(
            "SELECT tier, owner, base, digest, directory, frame FROM packs WHERE id BETWEEN ? AND ?",
            (place.pack + 1, place.pack + _AHEAD),
        ).fetchall():
            sound = digest == pack_digest(tier, owner, base, directory, frame)
            if (tier, owner) != (place.tier, place.owner) or not sound:
                return
            yield packing.undo_chunks(directory, frame, self._base(connection, base))

    def _base(self, connection: sqlite3.Connection, base: int | None) -> bytes | None:
        """Return `base_bytes`, kept in memory, because many packs share a base."""
        if not base:
            return None
        row = connection.execute("SELECT digest FROM packs WHERE id=?", (base,)).fetchone()
        kept = self._bases.get(base)
        if row is None or kept is None or kept[0] != row[0]:
            raw = base_bytes(connection, base)
            if raw is None:
                raise CorruptStore(f"the pack {base}, which others lean on, cannot be read", hint=RESTORE_HINT)
            kept = self._bases[base] = (row[0], raw)
            while len(self._bases) > _BASES:
                self._bases.popitem(last=False)
        return kept[1]

    def undo(self, connection: sqlite3.Connection, place: Place) -> packing.ChunkPack:
        """Decompress the chunks of a pack, and keep the pack in memory for the next call.

        Raises:
            CorruptStore: The pack does not match the digest.
        """
        key = (place.pack, place.digest)
        if key in self._undone:
            self._undone.move_to_end(key)
            return self._undone[key]
        tier, owner, base, digest, directory, frame = connection.execute(
            "SELECT tier, owner, base, digest, directory, frame FROM packs WHERE id=?", (place.pack,)
        ).fetchone()
        if digest != pack_digest(tier, owner, base, directory, frame):
            raise CorruptStore(f"pack {place.pack} is damaged", hint="run: kbstore verify")
        pack = packing.undo_chunks(directory, frame, self._base(connection, base))
        self._undone[key] = pack
        self._undone_bytes += len(pack.raw)
        while self._undone_bytes > _CACHE_BYTES:
            _, dropped = self._undone.popitem(last=False)
            self._undone_bytes -= len(dropped.raw)
        return pack
