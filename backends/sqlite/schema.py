"""The tables of a store in an SQLite file, and the triggers that keep what is truth.

Invariants, each checked by `check`:

1. ``records.id`` is ``log's ordinal << 32 | number``: both dense, so the newest record of a log is one seek away, and
   the first log (ordinal 0) has its numbers as ids. A row is never changed, replaced or deleted: triggers see to it,
   also for ``INSERT OR REPLACE`` (which fires no delete trigger, hence the one before insert).
2. A record with ``size > 0`` has its body in ``bodies`` or in the one pack of bodies that spans its id. A body leaves
   ``bodies`` only while a pack spans it, and a pack of bodies only while a longer one does.
3. A chunk of a pack has a row in ``chunks`` under the first 8 bytes of its address; several packs may hold it. Packs of
   tier 4 are truth and leave only in a transaction that says so (a row in ``notes`` named ``=moved``).
4. Packs of tiers 1 to 3 belong to the snapshot ``owner`` (the id of its record), whose range of pack ids spans them,
   and leave with it. Those in no range are of a snapshot that was never finished, and may go.

``base`` of a pack is NULL as first written, 0 once packed cold, else the pack whose bytes are its dictionary.
Few tables, since each costs a page or more of a small store. Nothing newer than SQLite 3.34 is used.
"""

import re
import sqlite3

FORMAT = 1
"""Number of the format, the last byte of the application id."""

APPLICATION_ID = 0x6B627300 | FORMAT
"""``kbs`` and the format: marks the file as ours, for ``file`` and for us."""

PAGE_BYTES = 2048
ORDINAL_SHIFT = 32
NUMBER_MASK = (1 << ORDINAL_SHIFT) - 1
MOVED = "=moved"
"""Name of the note that permits a pack of truth, by its id, to leave; no caller can write a note of that name."""

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
        "OLD.first < ifnull((SELECT first FROM body_packs WHERE id>OLD.id ORDER BY id LIMIT 1), OLD.id)",
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
    """Everything that makes an empty store, in order."""
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
    # Where the count of writes begins: see `backends.sqlite.foreign_log`.
    (number,) = connection.execute("SELECT random() & 1073741823").fetchone()
    connection.execute(f"PRAGMA user_version={number:d}")
    for statement in statements():
        connection.execute(statement)
    connection.execute("COMMIT")


def differences(connection: sqlite3.Connection) -> list[str]:
    """Tables, indexes and triggers that are missing, changed or not ours, by name.

    SQLite's own statistics are passed over: any tool that runs ``ANALYZE`` or ``PRAGMA optimize`` leaves some.
    """
    wanted = {_name(statement): statement for statement in statements()}
    found = {
        bytes(name).decode(errors="replace"): bytes(sql).decode(errors="replace")
        for name, sql in connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT GLOB 'sqlite_stat*'"
        )
    }
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))


def _name(statement: str) -> str:
    found = re.match(r"CREATE \w+ (\w+)", statement)
    assert found
    return found[1]
