"""Checking every byte of a store: each row is as written, in the right place, and complete with all related rows.

SQLite checks pages, the digests check rows, and the rules of `schema` check that nothing is missing. Each part reports
and goes on, so that a fault does not hide another fault. `check_packs` checks packs and everything that depends on
packs.
"""

import sqlite3
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from kbstore.backends.base import Damage
from kbstore.backends.sqlite import schema
from kbstore.backends.sqlite.cache import left_behind
from kbstore.backends.sqlite.connection import Connection
from kbstore.backends.sqlite.digests import body_digest, record_digest
from kbstore.backends.sqlite.errors import code_of
from kbstore.backends.sqlite.log import Logs
from kbstore.backends.sqlite.schema import NUMBER_MASK, ORDINAL_SHIFT
from kbstore.kit.errors import BackendError, CorruptStore, StoreNotFound, StoreUnavailable

Part = Callable[[sqlite3.Connection], Iterator[Damage]]
Row = Sequence[Any]
"""Values as SQLite returned them: of any type, if a bit was flipped."""

CACHE_TIERS = (1, 2, 3)
_CACHES = ("notes", "snapshots")
_ROWS = 256
_FOREIGN_SHOWN = 8
_WRITES = 65536
_BEYOND = (1 << 63) - 1
# Errors from a value whose type or length a flipped bit has changed.
_NONSENSE = (BackendError, TypeError, ValueError, AttributeError, struct.error)


class Table(ABC):
    """A part of the check that walks a table in order of id, some rows at a time.

    Attributes:
        name: The table.
        query: Takes the id to go on after, the last id, and the number of rows; the id is the first column.
        cache: True if the rows can be rebuilt.
        tier_column: The column with the tier, which decides for each row instead of `cache`.
        headers: True if the table holds the headers of records.
    """

    name = ""
    query = ""
    rows = _ROWS
    cache = False
    tier_column = -1
    headers = False

    @abstractmethod
    def look(self, connection: sqlite3.Connection, row: Row) -> Iterator[str | Damage]:
        """Yield the faults of a row, a sentence each; as `Damage` if the fault affects other records than `records`."""

    def is_cache(self, row: Row) -> bool:
        """Return whether this row can be rebuilt; a row with an unreadable tier counts as truth."""
        return self.cache or (self.tier_column >= 0 and row[self.tier_column] in CACHE_TIERS)

    def records(self, connection: sqlite3.Connection, row: Row) -> tuple[str, int, int] | None:  # noqa: ARG002
        """Return log, first and last number of the records that a row affects, or None."""
        return None


def whole(owner: Connection, part: Part, table: str, *, cache: bool = False) -> list[Damage]:
    """Return the faults that a part finds in a single reading transaction; `table` is the table that the part reads."""
    found: list[Damage] = []
    try:
        owner.read(lambda connection: found.extend(part(connection)))
    except (StoreUnavailable, StoreNotFound):
        raise
    except _NONSENSE as error:
        what = left_behind(table, owner.path) if cache else f"the table {table} cannot be read: {error}"
        found.append(Damage(what, cache=cache))
    return found


def in_steps(owner: Connection, table: Table) -> Iterator[Damage]:
    """Yield the faults of a table, row by row; each step is a separate reading transaction.

    The check ends with the rows that existed at the beginning: rows that others add meanwhile are not checked.
    """
    for after, last in _spans(owner, table):
        more = True
        while more:
            found: list[Damage] = []
            try:
                after, count = owner.read(partial(_step, table=table, after=after, last=last, found=found))
            except CorruptStore as error:
                yield from found
                what = f"the table {table.name} cannot be read to the end: {error}"
                yield Damage(left_behind(table.name, owner.path) if table.cache else what, cache=table.cache)
                return
            yield from found
            more = count == table.rows


def _spans(owner: Connection, table: Table) -> list[tuple[int, int]]:
    """Return the ids in a table now, a span for each log: the id to go on after, and the last id."""

    def select(connection: sqlite3.Connection) -> list[tuple[int, int]]:
        spans: list[tuple[int, int]] = []
        query = f"SELECT max(id) FROM {table.name} WHERE id<?"  # noqa: S608 - the name is ours
        (last,) = connection.execute(query, (_BEYOND,)).fetchone()
        while last is not None and last >= 0:
            start = last >> ORDINAL_SHIFT << ORDINAL_SHIFT
            spans.append((start - 1, last))
            (last,) = connection.execute(query, (start,)).fetchone()
            if last is not None and last >= start:
                raise CorruptStore(f"row {last} comes before row {start}")
        return spans[::-1]

    try:
        return owner.read(select)
    except CorruptStore:
        return [(-1, _BEYOND)]  # reading the rows finds the same fault and reports it


def _step(
    connection: sqlite3.Connection, *, table: Table, after: int, last: int, found: list[Damage]
) -> tuple[int, int]:
    """Add the faults of the next rows of a table to `found`; return the last id and the number of rows."""
    rows = connection.execute(table.query, (after, last, table.rows)).fetchall()
    for row in rows:
        if type(row[0]) is not int or row[0] <= after:  # a damaged tree may return rows again, without end
            raise CorruptStore(f"row {row[0]} comes after row {after}")
        after = row[0]
        found.extend(_looked_at(connection, table, row))
    return after, len(rows)


def _looked_at(connection: sqlite3.Connection, table: Table, row: Row) -> list[Damage]:
    found: list[str | Damage] = []
    try:
        found.extend(table.look(connection, row))
    except _NONSENSE as error:
        found.append(f"row {row[0]} of {table.name} cannot be read: {error}")
    if not found:
        return []
    records = None
    with suppress(*_NONSENSE):
        records = table.records(connection, row)
    return [
        one if isinstance(one, Damage) else Damage(one, table.is_cache(row), records, table.headers) for one in found
    ]


def damage_of_rows(owner: Connection, logs: Logs) -> Iterator[Damage]:
    """Yield the damage of pages, definitions, and logs, with the bodies that have rows in ``bodies``."""
    # Without a transaction, which could not be ended after SQLite found a damaged page.
    yield from owner.use(lambda connection: list(_pages(connection, owner.path)))
    yield from whole(owner, _definitions, "sqlite_schema")
    yield from in_steps(owner, _Records(logs))
    yield from whole(owner, lambda connection: _writes(connection, logs), "writes")
    yield from in_steps(owner, _Bodies(logs))


def _pages(connection: sqlite3.Connection, location: object) -> Iterator[Damage]:
    """Yield SQLite's findings about pages: for a cache only the name of the table.

    Findings about free pages that only follow from a damaged cache are left out.
    """
    said = _integrity(connection, "")
    if not said:
        return
    caches = [table for table in _CACHES if _integrity(connection, table)]
    truth = [text for table in sorted(schema.TABLES.difference(_CACHES)) for text in _integrity(connection, table)]
    yield from (Damage(left_behind(table, location), cache=True) for table in caches)
    if truth or not caches:
        yield from (Damage(f"SQLite: {text}", cache=False) for text in said)


def _integrity(connection: sqlite3.Connection, table: str) -> list[str]:
    """Return SQLite's findings about a table, or about the whole file; an empty list if all is sound."""
    said: list[str] = []
    try:
        for (text,) in connection.execute(f"PRAGMA integrity_check({table})" if table else "PRAGMA integrity_check"):
            said.append(text.decode(errors="replace").strip())
    except sqlite3.DatabaseError as error:
        if code_of(error) != sqlite3.SQLITE_CORRUPT:
            raise
        said.append(str(error))
    return [text for text in said if text != "ok"]


def _definitions(connection: sqlite3.Connection) -> Iterator[Damage]:
    found = schema.survey(connection)
    for name in sorted({name for _, name in found.refused} | set(found.missing)):
        yield Damage(f"the definition of {name} is not what kbstore made", cache=False)
    if found.foreign:
        names = ", ".join(sorted(found.foreign)[:_FOREIGN_SHOWN])
        names += "..." if len(found.foreign) > _FOREIGN_SHOWN else ""
        yield Damage(f"other tools keep something in the same file: {names}", cache=True, note=True)
    (found,) = connection.execute("PRAGMA application_id").fetchone()
    if found != schema.APPLICATION_ID:
        yield Damage(f"the file's application_id is {found}, not {schema.APPLICATION_ID}", cache=False)


class _Records(Table):
    """Compares each header with the digest, and checks the numbers of records, slots and logs."""

    name = "records"
    headers = True
    query = "SELECT id, log, slot, size, digest, header FROM records WHERE id>? AND id<=? ORDER BY id LIMIT ?"

    def __init__(self, logs: Logs) -> None:
        self._log_names = logs
        self._previous: tuple[int, int | None, bytes] = (-1, 0, b"")  # id; slot, unless it is in doubt; log
        self._logs: set[bytes] = set()
        self._writes: dict[int, bytes] = {}
        self._writes_end = -1

    def look(self, connection: sqlite3.Connection, row: Row) -> Iterator[str | Damage]:
        """Check the row's digest, then the place after the row before."""
        ident, log, slot, size, digest, header = row
        name = f"record {ident & NUMBER_MASK} of log {log.decode(errors='replace')}"
        before, slot_before, log_before = self._previous
        opens_log = ident & NUMBER_MASK == 1
        if opens_log:
            if ident >> ORDINAL_SHIFT != (before >> ORDINAL_SHIFT) + 1 or log in self._logs:
                yield f"{name} opens a log out of turn"
            self._logs.add(log)
            slot_before = 0
        elif ident != before + 1 or log != log_before:
            yield self._missing(connection, name, before, ident)
            slot_before = None
        write_id = self._write_id(connection, ident)
        if slot_before is not None:
            opens_slot = slot != slot_before
            if opens_slot and slot != slot_before + 1:
                yield f"{name} is in slot {slot}, after slot {slot_before}"
            if opens_slot != (write_id is not None):
                yield f"{name} has {'no' if opens_slot else 'a'} write id"
        sound = digest == record_digest(ident, log, slot, size, write_id or b"", header)
        if not sound:
            yield f"{name} is not as it was written"
        self._previous = (ident, slot if sound else None, log)

    def _missing(self, connection: sqlite3.Connection, name: str, before: int, ident: int) -> Damage:
        log, number = self._log_names.place_of(connection, ident)
        opened = self._previous[2].decode(errors="replace")
        first = (before & NUMBER_MASK) + 1 if before >> ORDINAL_SHIFT == ident >> ORDINAL_SHIFT else 1
        what = f"{name} does not follow on record {before & NUMBER_MASK} of log {opened}: one is missing"
        return Damage(what, cache=False, records=(log, first, number - 1) if first < number else None)

    def records(self, connection: sqlite3.Connection, row: Row) -> tuple[str, int, int]:
        """Return the record."""
        log, number = self._log_names.place_of(connection, row[0])
        return log, number, number

    def _write_id(self, connection: sqlite3.Connection, ident: int) -> bytes | None:
        """Return the write id of a record. Many are read at once, because ``writes`` has another order.

        All checked records existed before the first step began, so their write ids did too.
        """
        if ident > self._writes_end:
            self._writes_end = ident + _WRITES
            rows = connection.execute(
                "SELECT id, typeof(write_id), write_id FROM writes WHERE id BETWEEN ? AND ?", (ident, self._writes_end)
            )
            self._writes = {place: kind[:1] + write_id for place, kind, write_id in rows}
        return self._writes.get(ident)


def _writes(connection: sqlite3.Connection, logs: Logs) -> Iterator[Damage]:
    for ident, count, there in connection.execute(
        "SELECT w.id, count(*), r.id IS NOT NULL FROM writes w LEFT JOIN records r ON r.id=w.id "
        "GROUP BY w.id HAVING count(*)>1 OR r.id IS NULL"
    ):
        log, number = logs.place_of(connection, ident) if type(ident) is int else ("", 0)
        name = f"record {number} of log {log}" if log else f"row {ident} of records"
        what = f"{count} write ids name {name}, which {'has one' if there else 'is missing'}"
        yield Damage(what, cache=False, records=(log, number, number) if log else None)


class _Bodies(Table):
    """Compares each body that has a row in ``bodies`` with the digest and with the record."""

    name = "bodies"
    query = (
        "SELECT b.id, b.digest, b.body, r.size FROM bodies b LEFT JOIN records r ON r.id=b.id "
        "WHERE b.id>? AND b.id<=? ORDER BY b.id LIMIT ?"
    )

    def __init__(self, logs: Logs) -> None:
        self._logs = logs

    def look(self, connection: sqlite3.Connection, row: Row) -> Iterator[str]:
        """Check the row's digest, then the size against the record."""
        ident, digest, body, size = row
        log, number = self._logs.place_of(connection, ident)
        if digest != body_digest(ident, body):
            yield f"the body of record {number} of log {log} is not as it was written"
        if size is None:
            yield f"the body of record {number} of log {log} has no header"
        elif size != len(body):
            yield f"the body of record {number} of log {log} has {len(body)} bytes, not {size}"

    def records(self, connection: sqlite3.Connection, row: Row) -> tuple[str, int, int]:
        """Return the record of the body."""
        log, number = self._logs.place_of(connection, row[0])
        return log, number, number
