"""The tables of a store in an SQLite file, and the triggers that protect truth.

Invariants, each checked by `check`:

1. ``records.id`` is ``log's ordinal << 32 | number``: both dense, so the newest record of a log is found with a single
   seek, and the first log (ordinal 0) has the numbers as ids. A row is never changed, replaced or deleted: triggers
   refuse, also for ``INSERT OR REPLACE`` (which fires no delete trigger, hence the trigger before insert).
2. A record with ``size > 0`` has a body in ``bodies`` or in the single pack of bodies that spans the id. A body leaves
   ``bodies`` only while a pack spans the id, and a pack of bodies leaves only while a longer pack spans the same ids.
3. A chunk of a pack has a row in ``chunks`` under the first 8 bytes of the address; several packs may hold the chunk.
   Packs of tier 4 are truth and leave only in a transaction that says so (a row in ``notes`` named ``=moved``).
4. Packs of tiers 1 to 3 belong to the snapshot ``owner`` (the id of the snapshot's record). The snapshot's range of
   pack ids spans these packs, and they leave with the snapshot. A pack outside such a range belongs to an unfinished
   snapshot and may be removed.

``base`` of a pack is NULL as first written, 0 once packed cold without a base, else the id of the pack whose bytes are
the dictionary. There are few tables, because each costs a page or more of a small store. All features exist in SQLite
3.34.
"""

import re
import sqlite3
from typing import NamedTuple

FORMAT = 1
"""Number of the format, the last byte of the application id."""

APPLICATION_ID = 0x6B627300 | FORMAT
"""``kbs`` and the format: marks the file as a store, for the tool ``file`` and for kbstore."""

PAGE_BYTES = 2048
ORDINAL_SHIFT = 32
NUMBER_MASK = (1 << ORDINAL_SHIFT) - 1
MOVED = "=moved"
"""Name of the note that permits a pack of truth, by id, to leave; no caller can write a note of that name."""

_TABLES = """
CREATE TABLE records(id INTEGER PRIMARY KEY, log TEXT, number INTEGER AS (id & 4294967295), slot INTEGER,
 size INTEGER, digest BLOB, header TEXT);
CREATE TABLE writes(write_id, id INTEGER, PRIMARY KEY(write_id, id)) WITHOUT ROWID;
CREATE TABLE bodies(id INTEGER PRIMARY KEY, digest BLOB, body BLOB);
CREATE TABLE body_packs(id INTEGER PRIMARY KEY, first INTEGER, base INTEGER, digest BLOB, frame BLOB);
CREATE TABLE packs(id INTEGER PRIMARY KEY, tier INTEGER, owner INTEGER, base INTEGER, digest BLOB, directory BLOB,
 frame BLOB);
CREATE TABLE chunks(prefix INTEGER, pack INTEGER, PRIMARY KEY(prefix, pack)) WITHOUT ROWID;
CREATE TABLE snapshots(id INTEGER PRIMARY KEY, tier INTEGER, first_pack INTEGER, last_pack INTEGER, bytes INTEGER,
 digest BLOB, note BLOB);
CREATE TABLE notes(name TEXT, number INTEGER, digest BLOB, data BLOB, PRIMARY KEY(name, number)) WITHOUT ROWID;
"""

# table, event, condition
_GUARDS = (
    ("records", "UPDATE", "1"),
    ("records", "DELETE", "1"),
    (
        "records",
        "INSERT",
        (
            "EXISTS(SELECT 1 FROM records WHERE id=NEW.id) OR "
            "(NEW.id & 4294967295)>1 AND NOT EXISTS(SELECT 1 FROM records WHERE id=NEW.id-1)"
        ),
    ),
    ("writes", "UPDATE", "1"),
    ("writes", "DELETE", "1"),
    ("bodies", "UPDATE", "1"),
    ("bodies", "INSERT", "EXISTS(SELECT 1 FROM bodies WHERE id=NEW.id)"),
    (
        "bodies",
        "DELETE",
        "OLD.id < ifnull((SELECT first FROM body_packs WHERE id>=OLD.id ORDER BY id LIMIT 1), OLD.id+1)",
    ),
    ("body_packs", "UPDATE", "1"),
    ("body_packs", "INSERT", "EXISTS(SELECT 1 FROM body_packs WHERE id=NEW.id)"),
    (
        "body_packs",
        "DELETE",
        "OLD.first < ifnull((SELECT first FROM body_packs WHERE id>OLD.id ORDER BY id LIMIT 1), OLD.id+1)",
    ),
    ("packs", "UPDATE", "1"),
    ("packs", "INSERT", "EXISTS(SELECT 1 FROM packs WHERE id=NEW.id)"),
    (
        "packs",
        "DELETE",
        "OLD.tier=4 AND NOT EXISTS(SELECT 1 FROM notes WHERE name='=moved' AND number=OLD.id)",
    ),
)


def statements() -> list[str]:
    """Return all statements that make an empty store, in order."""
    tables = [statement.strip() for statement in _TABLES.split(";") if statement.strip()]
    triggers = [
        f"CREATE TRIGGER {table}_{event.lower()} BEFORE {event} ON {table}"
        + (f" WHEN {condition}" if condition != "1" else "")
        + " BEGIN SELECT RAISE(ABORT,'kept for ever'); END"
        for table, event, condition in _GUARDS
    ]
    return tables + triggers


def create(connection: sqlite3.Connection) -> None:
    """Make an empty store in an empty database."""
    connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    # The first mark of a write: see `kbstore.backends.sqlite.files.foreign_log`.
    (number,) = connection.execute("SELECT random() & 1073741823").fetchone()
    connection.execute(f"PRAGMA user_version={number:d}")
    for statement in statements():
        connection.execute(statement)
    connection.execute("COMMIT")


class Found(NamedTuple):
    """The differences between a database's schema and the schema that kbstore writes.

    Attributes:
        refused: Kind and name of each object that may run something when the tables are used, or that differs from
            kbstore's object of the same name.
        missing: Names of kbstore's own objects that are not there.
        foreign: Names of tables and indexes that run nothing: from other tools, and SQLite's own statistics.
    """

    refused: list[tuple[str, str]]
    missing: list[str]
    foreign: list[str]


def survey(connection: sqlite3.Connection) -> Found:
    """Compare the schema with kbstore's own schema, in a single query that runs nothing of the file's schema.

    A file may come from anywhere, and SQLite runs the code in a schema: a view in the place of a table at every read, a
    trigger or the expression of an index at every commit.
    """
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
    if rows == _ROWS:
        return Found([], [], [])
    there = {_text(row[1]).lower(): row for row in rows}
    refused, foreign = [], []
    for row in rows:
        kind, name, table = (_text(value).lower() for value in row[:3])
        if row in _ROWS:
            continue
        shown = _text(row[1])
        if name not in _NAMES and _runs_nothing(kind, name, table, row[3]):
            foreign.append(shown)
        else:
            virtual = kind == "table" and _text(row[3])[:15].upper() == "CREATE VIRTUAL "
            refused.append(("virtual table" if virtual else kind, shown))
    return Found(refused, [name for name in _NAMES if name not in there], foreign)


def _runs_nothing(kind: str, name: str, table: str, sql: object) -> bool:
    """Return whether a foreign table or index does nothing while kbstore's tables are used.

    SQLite itself writes the first words of a definition in this form, whatever the author wrote.
    """
    text = _text(sql)
    if kind == "table":
        return text.startswith("CREATE TABLE ")
    if kind != "index":
        return False
    if sql is None:
        return name.startswith("sqlite_autoindex_") and table not in _NAMES
    if table in _NAMES:
        return _PLAIN_INDEX.fullmatch(text) is not None  # SQLite updates this index at every commit
    return text.startswith(("CREATE INDEX ", "CREATE UNIQUE INDEX "))


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _row(statement: str) -> tuple[bytes, bytes, bytes, bytes]:
    found = re.match(r"CREATE (\w+) (\w+)(?: BEFORE \w+ ON (\w+))?", statement)
    if found is None:
        raise ValueError(f"{statement} creates nothing")
    kind, name, table = found[1].lower(), found[2], found[3] or found[2]
    return (kind.encode(), name.encode(), table.encode(), statement.encode())


_ROWS = [_row(statement) for statement in statements()]
_NAMES = {row[1].decode(): row[0].decode() for row in _ROWS}
NAMES = frozenset(_NAMES)
"""Names of all tables and triggers that kbstore makes."""
_COLUMN = r"(\"?\w+\"?( COLLATE (BINARY|NOCASE|RTRIM))?( ASC| DESC)?)"
_PLAIN_INDEX = re.compile(
    rf"CREATE INDEX \"?\w+\"?\s+ON\s+\"?\w+\"?\s*\(\s*{_COLUMN}(\s*,\s*{_COLUMN})*\s*\)\s*", re.IGNORECASE
)
TABLES = frozenset(name for name, kind in _NAMES.items() if kind == "table")
"""Names of the tables; without all of them nothing can be read."""
