"""The logs in an SQLite file: appending a slot, reading headers, and finding bodies in rows and packs.

`append` is the hot path: a single transaction that looks at the newest row and adds rows to three tables.
"""

import itertools
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from kbstore.backends import packing
from kbstore.backends.base import Record, StoredRecord, Tail
from kbstore.backends.names import check_log, check_write_id, is_log
from kbstore.backends.sqlite.connection import Connection
from kbstore.backends.sqlite.digests import base_bytes, body_digest, body_pack_digest, record_digest
from kbstore.backends.sqlite.errors import RESTORE_HINT
from kbstore.backends.sqlite.schema import NUMBER_MASK, ORDINAL_SHIFT
from kbstore.kit.errors import CorruptStore, SlotTaken

_FIRST_BATCH = 64
_LARGEST_BATCH = 1024
_BODY_BATCH = 128
_CACHED_PACKS = 4

StorePacks = Callable[[sqlite3.Connection, Sequence[tuple[bytes, bytes]]], None]
"""Writes packs of truth, each a directory and a frame, inside the transaction that appends."""


def stored_write_id(write_id: str) -> str | bytes:
    """Return a write id as stored: a hexadecimal id, the usual kind, takes half the space."""
    try:
        raw = bytes.fromhex(write_id)
    except ValueError:
        return write_id
    return raw if raw.hex() == write_id else write_id


class Logs:
    """All logs of a store."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ordinals: dict[str, int] = {}
        self._packs: OrderedDict[tuple[int, bytes], dict[int, bytes]] = OrderedDict()

    def append(
        self,
        log: str,
        slot: int,
        records: Sequence[Record],
        *,
        write_id: str,
        packs: Sequence[tuple[bytes, bytes]],
        store_packs: StorePacks,
    ) -> None:
        """Create a slot with the records and packs of truth, as `Backend.append` does."""
        if not records:
            raise ValueError("a slot holds at least one record")
        stored_id = stored_write_id(check_write_id(write_id))
        id_bytes = b"b" + stored_id if isinstance(stored_id, bytes) else b"t" + stored_id.encode()

        def insert(connection: sqlite3.Connection) -> None:
            ident_bytes = id_bytes
            ordinal = self._ordinal(connection, check_log(log))
            if ordinal is None:
                ordinal = len(self._ordinals)
            start = ordinal << ORDINAL_SHIFT
            newest, newest_slot = self._newest(connection, start)
            if slot != newest_slot + 1:
                raise SlotTaken(
                    f"slot {slot} of log {log} cannot be written: the newest is {newest_slot}",
                    hint="read what was written, then try with the next slot",
                )
            ident = first = newest + 1
            name = log.encode()
            execute = connection.execute
            for header, body in records:
                size = len(body)
                digest = record_digest(ident, name, slot, size, ident_bytes, header)
                execute(
                    "INSERT INTO records(id, log, slot, size, digest, header) VALUES(?,?,?,?,?,?)",
                    (ident, log, slot, size, digest, _text(header)),
                )
                if size:
                    execute("INSERT INTO bodies VALUES(?,?,?)", (ident, body_digest(ident, body), body))
                ident += 1
                ident_bytes = b""
            execute("INSERT INTO writes VALUES(?,?)", (stored_id, first))
            if packs:
                store_packs(connection, packs)

        self._connection.write(insert, write_id=write_id)

    def tail(self, log: str) -> Tail:
        """Return the newest slot and record, with a single seek."""
        check_log(log)

        def look(connection: sqlite3.Connection) -> Tail:
            ordinal = self._ordinal(connection, log)
            if ordinal is None:
                return Tail(0, 0)
            ident, slot = self._newest(connection, ordinal << ORDINAL_SHIFT)
            return Tail(slot, ident & NUMBER_MASK)

        return self._connection.use(look)

    def names(self) -> list[str]:
        """Return the names of all logs, sorted."""
        self._connection.use(lambda connection: self._ordinal(connection, ""))
        return sorted(filter(is_log, self._ordinals))

    def start_of(self, connection: sqlite3.Connection, log: str) -> int | None:
        """Return the offset from a record's number to the record's id; None if the log holds nothing."""
        ordinal = self._ordinal(connection, log)
        return None if ordinal is None else ordinal << ORDINAL_SHIFT

    def place_of(self, connection: sqlite3.Connection, ident: int) -> tuple[str, int]:
        """Return log and number of the record with this id."""
        self._ordinal(connection, "")
        ordinal = ident >> ORDINAL_SHIFT
        name = next((name for name, found in self._ordinals.items() if found == ordinal), "")
        return name, ident & NUMBER_MASK

    def read(self, log: str, first: int, last: int | None, *, newest_first: bool) -> Iterator[StoredRecord]:
        """Yield headers in batches, a statement for each batch, so that no lock is held between items."""
        low, high = max(first, 1), NUMBER_MASK if last is None else min(last, NUMBER_MASK)
        size = _FIRST_BATCH
        order = "DESC" if newest_first else "ASC"
        query = (
            "SELECT number, slot, header FROM records "  # noqa: S608 - the order is ours
            f"WHERE id BETWEEN ? AND ? ORDER BY id {order} LIMIT ?"
        )
        check_log(log)

        def select(connection: sqlite3.Connection) -> list[Any]:
            start = self.start_of(connection, log)
            return [] if start is None else connection.execute(query, (start + low, start + high, size)).fetchall()

        while low <= high:
            rows = self._connection.use(select)
            for number, slot, header in rows:
                # A damaged tree may give rows in any order, and the same rows again without end.
                sound = type(header) is bytes and type(slot) is int and type(number) is int
                if not sound or not low <= number <= high:
                    raise CorruptStore(f"record {number} of log {log} is damaged", hint="run: kbstore verify")
                if newest_first:
                    high = number - 1
                else:
                    low = number + 1
            yield from map(StoredRecord._make, rows)
            if len(rows) < size:
                return
            size = min(2 * size, _LARGEST_BATCH)

    def bodies(self, log: str, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Yield bodies in batches, in the order asked."""
        check_log(log)
        remaining = iter(numbers)
        while batch := list(itertools.islice(remaining, _BODY_BATCH)):
            yield from self._connection.read(partial(self._batch, log=log, numbers=batch))

    def find_write(self, log: str, write_id: str) -> tuple[int, int] | None:
        """Return the first and last record of the slot written with this id; a seek, and another over the slot."""
        check_log(log)

        def find(connection: sqlite3.Connection) -> tuple[int, int] | None:
            start = self.start_of(connection, log)
            if start is None:
                return None
            found = connection.execute(
                "SELECT w.id, r.slot FROM writes w JOIN records r ON r.id=w.id "
                "WHERE w.write_id=? AND w.id BETWEEN ? AND ? ORDER BY w.id DESC LIMIT 1",
                (stored_write_id(write_id), start, start + NUMBER_MASK),
            ).fetchone()
            if found is None:
                return None
            first, slot = found
            following = connection.execute(
                "SELECT id FROM records WHERE id BETWEEN ? AND ? AND slot<>? ORDER BY id LIMIT 1",
                (first, start + NUMBER_MASK, slot),
            ).fetchone()
            last = following[0] - 1 if following else self._newest(connection, start)[0]
            return first & NUMBER_MASK, last & NUMBER_MASK

        return self._connection.read(find)

    def intact(self, log: str, number: int) -> bool:
        """Return whether a header matches the digest. The digest covers the write id, so all write ids are searched."""
        check_log(log)

        def prove(connection: sqlite3.Connection) -> bool:
            start = self.start_of(connection, log)
            found = connection.execute(
                "SELECT slot, size, digest, header FROM records WHERE id=?", ((start or 0) + number,)
            ).fetchone()
            if start is None or found is None:
                return False
            slot, size, digest, header = found
            ident = connection.execute(
                "SELECT typeof(write_id), write_id FROM writes WHERE id=?", (start + number,)
            ).fetchone()
            write_id = ident[0][:1] + ident[1] if ident is not None else b""
            return bool(digest == record_digest(start + number, log.encode(), slot, size, write_id, header))

        return self._connection.read(prove)

    def _ordinal(self, connection: sqlite3.Connection, log: str) -> int | None:
        """Return a log's position in the order of creation; logs are never removed, so known positions stay true."""
        ordinals = self._ordinals
        while log not in ordinals:
            row = connection.execute(  # the log's first record, or if lost, the first existing record
                "SELECT log FROM records WHERE id>? AND id<=? ORDER BY id LIMIT 1",
                (start := len(ordinals) << ORDINAL_SHIFT, start + NUMBER_MASK),
            ).fetchone()
            if row is None:
                return None
            name = row[0].decode(errors="replace") if type(row[0]) is bytes else ""
            # A damaged name still counts, so that the logs behind it are found; nobody can ask for it.
            ordinals[name if is_log(name) and name not in ordinals else f"?{len(ordinals)}"] = len(ordinals)
        return ordinals[log]

    @staticmethod
    def _newest(connection: sqlite3.Connection, start: int) -> tuple[int, int]:
        """Return id and slot of the newest record of a log; (start, 0) if there is no record."""
        row: tuple[int, int] | None = connection.execute(
            "SELECT id, slot FROM records WHERE id<=? ORDER BY id DESC LIMIT 1", (start + NUMBER_MASK,)
        ).fetchone()
        return row if row is not None and row[0] > start else (start, 0)

    def _batch(self, connection: sqlite3.Connection, log: str, numbers: Sequence[int]) -> list[tuple[int, bytes]]:
        """Return the bodies of a few records: first from rows, then from packs, else known to be empty."""
        start = self.start_of(connection, log)
        if start is None:
            raise CorruptStore(f"log {log} holds no record {numbers[0]}", hint="run: kbstore verify")
        low, high = start + min(numbers), start + max(numbers)
        found: dict[int, bytes] = {}
        if high - low < 2 * len(numbers):
            rows: Iterable[tuple[int, bytes, bytes]] = connection.execute(
                "SELECT id, digest, body FROM bodies WHERE id BETWEEN ? AND ?", (low, high)
            )
        else:
            each = (
                connection.execute("SELECT id, digest, body FROM bodies WHERE id=?", (start + number,)).fetchone()
                for number in numbers
            )
            rows = (row for row in each if row)
        asked = set(numbers)
        for ident, digest, body in rows:
            if ident - start not in asked:
                continue
            if digest != body_digest(ident, body):
                raise _damaged(log, ident)
            found[ident] = body
        for number in numbers:
            if start + number not in found:
                found[start + number] = self._elsewhere(connection, log, start + number)
        return [(number, found[start + number]) for number in numbers]

    def _elsewhere(self, connection: sqlite3.Connection, log: str, ident: int) -> bytes:
        """Return a body that has no row in ``bodies``."""
        pack = connection.execute(
            "SELECT id, first, base, digest FROM body_packs WHERE id>=? ORDER BY id LIMIT 1", (ident,)
        ).fetchone()
        if pack and type(pack[1]) is int and pack[1] <= ident:
            body = self._unpacked(connection, log, *pack).get(ident)
            if body is not None:
                return body
        row = connection.execute("SELECT size FROM records WHERE id=?", (ident,)).fetchone()
        if row is None:
            raise CorruptStore(f"log {log} holds no record {ident & NUMBER_MASK}", hint="run: kbstore verify")
        if row[0] != 0:
            raise CorruptStore(
                f"the body of record {ident & NUMBER_MASK} of log {log} is missing", hint="run: kbstore verify"
            )
        return b""

    def _unpacked(
        self, connection: sqlite3.Connection, log: str, ident: int, first: int, base: int, digest: bytes
    ) -> dict[int, bytes]:
        """Return all bodies of a pack. The last few packs are kept in memory, because neighbours are read together."""
        key = (ident, digest)
        if key in self._packs:
            self._packs.move_to_end(key)
            return self._packs[key]
        (frame,) = connection.execute("SELECT frame FROM body_packs WHERE id=?", (ident,)).fetchone()
        if digest != body_pack_digest(ident, first, base, frame):
            raise _damaged(log, ident)
        bodies = packing.undo_bodies(first, packing.decompress(frame, base_bytes(connection, base)))
        self._packs[key] = bodies
        if len(self._packs) > _CACHED_PACKS:
            self._packs.popitem(last=False)
        return bodies


def _text(header: bytes) -> str | bytes:
    """Return a header as text, for any SQLite tool to read, or unchanged if the header is not text."""
    try:
        return header.decode()
    except UnicodeDecodeError:
        return header


def _damaged(log: str, ident: int) -> CorruptStore:
    return CorruptStore(f"the body of record {ident & NUMBER_MASK} of log {log} is damaged", hint=RESTORE_HINT)
