"""Export of a version as tables, by sqlite-utils, for queries with SQL or for browsing with Datasette.

The knowledge base's collection becomes a table with full-text search over the texts, and so does every other container
with a majority of objects. An item that is not an object is a row too, with the value in the column ``_value``. Values
outside of all tables go into the table ``document``, the history into ``versions``. The file is a copy for reading:
nothing is ever read back from the file.

Columns have no type, so SQLite changes no value: "007" stays a text, 9007199254740993 an integer and 1.0 a real number.
"""

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kbstore.errors import KBStoreError
from kbstore.history.version import Version
from kbstore.jsondoc.canonical import encode
from kbstore.jsondoc.pointer import format_pointer, parse_pointer
from kbstore.store import Store
from kbstore.worktree.json_file import OPEN_MODE
from kbstore.worktree.lost import FORCED, LostFiles
from kbstore.worktree.output_file import Replaceable, new_file

_ROW_KEY = "_key"
_ROW_VALUE = "_value"
_OTHER = "document"
_VERSIONS = "versions"
_MAX_COLUMNS = 500
_SQLITE_INT = range(-(2**63), 2**63)
# Marks an export in SQLite's header (https://sqlite.org/fileformat.html, 1.3): "kbtb".
_APPLICATION_ID = 0x6B627462
_LOGS = ("-wal", "-shm", "-journal")
_SEARCH = "_fts"
_SEARCH_TABLES = (_SEARCH, *(f"{_SEARCH}_{part}" for part in ("data", "idx", "docsize", "config", "content")))
"""Suffixes of the tables of full-text search, behind the name of the searched table."""
_RESERVED = frozenset({"rank", "rowid", "oid", "_rowid_"})
"""Names of columns with a special meaning in SQLite or in full-text search."""


def export_tables(
    store: Store,
    path: Path,
    revision: "str | Version" = "HEAD",
    *,
    mode: int = OPEN_MODE,
    lost: LostFiles | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Make a SQLite database of a version and of the history up to this version.

    Args:
        store: The store.
        path: The file to make; an earlier export is replaced when the new file is complete.
        revision: The version.
        mode: The mode of the file, further narrowed by the user's mask.
        lost: The place for copies of other files; with a place, other files are replaced too.
        progress: Called with the number of tables done so far, and of all tables.

    Returns:
        The number of rows of each table, by name.

    Raises:
        KBStoreError: The file cannot be written, or the existing file is not an earlier export.
    """
    import sqlite3

    if lost is None:
        _refuse_other_files(path)
    version = store.version(revision)
    document = store.checkout(version)
    replaceable = Replaceable(lambda found: application_of(found) == _APPLICATION_ID, lost)
    try:
        with new_file(path, mode, replaceable, logs=_LOGS) as (part, _):
            pointer = store.collection(version)
            entries = parse_pointer(pointer) if pointer is not None else None
            return _fill(part, document, entries, _history(store, version), progress)
    except (OSError, sqlite3.Error) as fault:
        full = getattr(fault, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        cause = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) if full else fault
        reason = cause.strerror if isinstance(cause, OSError) else cause
        raise KBStoreError(f"cannot write {path}: {reason}") from cause


def _refuse_other_files(path: Path) -> None:
    """Refuse to replace any file except an earlier export."""
    if not path.exists():
        for end in _LOGS:
            if os.path.lexists(log := path.with_name(path.name + end)):
                raise KBStoreError(
                    f"{log} is left of another database, and SQLite would write it into {path}",
                    hint="choose another name, or use --force to remove it",
                )
        return
    if path.stat().st_size and application_of(path) != _APPLICATION_ID:
        raise KBStoreError(
            f"{path} is not an earlier export, so it is not overwritten",
            hint=FORCED,
        )


def application_of(path: Path) -> int | None:
    """Return the application id of a SQLite file; None for another kind of file.

    Only SQLite opens the file: a store in use may be there, and closing the file here would drop SQLite's locks on the
    store.
    """
    import sqlite3

    try:
        connection = sqlite3.connect(f"file:{quote(os.fsencode(path.absolute()))}?mode=ro&immutable=1", uri=True)
        try:
            (found,) = connection.execute("PRAGMA application_id").fetchone()
        finally:
            connection.close()
    except sqlite3.Error:
        return None
    return int(found)


def collections(
    document: Any, entries: tuple[str, ...] | None = None
) -> Iterator[tuple[tuple[str, ...], list[tuple[Any, Any]]]]:
    """Yield path and rows of each container that becomes a table.

    Args:
        document: The document.
        entries: Tokens of the pointer to the knowledge base's collection, always a table; None if there is no
            collection.
    """
    pending: list[tuple[tuple[str, ...], Any]] = [((), document)]
    while pending:
        path, value = pending.pop(0)
        rows = _rows(value)
        above = entries is not None and len(path) < len(entries) and entries[: len(path)] == path
        chosen = path == entries and isinstance(value, (dict, list))
        if chosen or (not above and _are_entries(rows) and not (path == () and _is_record(value))):
            yield path, rows
        elif isinstance(value, dict):
            pending.extend(((*path, key), child) for key, child in value.items())
        elif isinstance(value, list) and above:
            pending.extend(((*path, str(at)), child) for at, child in rows)


def _are_entries(rows: Sequence[tuple[Any, Any]]) -> bool:
    """Return whether more than half of the items are objects."""
    return 2 * sum(isinstance(row, dict) for _, row in rows) > len(rows)


def _is_record(value: Any) -> bool:
    """Return whether an object holds collections (and so is not a collection itself)."""
    return isinstance(value, dict) and any(
        isinstance(child, dict) and _are_entries(_rows(child)) for child in value.values()
    )


def _rows(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, list):
        return list(enumerate(value))
    return []


def _fill(
    path: Path,
    document: Any,
    entries: tuple[str, ...] | None,
    history: list[dict[str, Any]],
    progress: Callable[[int, int], None] | None,
) -> dict[str, int]:
    import sqlite_utils

    database = sqlite_utils.Database(path)
    try:
        # The collection comes first, so that it gets its own name before another table can take the name.
        found = sorted(collections(document, entries), key=lambda place: place[0] != entries)
        taken = {name + end for name in (_OTHER, _VERSIONS) for end in ("", *_SEARCH_TABLES)}
        made: dict[str, int] = {}
        for at, (place, rows) in enumerate(found):
            name = _table_name(place, taken)
            _add(database, name, rows)
            made[name] = len(rows)
            if progress is not None:
                progress(at + 1, len(found) + 1)
        others = _others(document, {place for place, _ in found})
        if others:
            _make(database, _OTHER, ["pointer", "value"], "pointer", ((row["pointer"], row["value"]) for row in others))
            made[_OTHER] = len(others)
        _make(database, _VERSIONS, _HISTORY, "seq", (tuple(row[name] for name in _HISTORY) for row in history))
        _search(database, _VERSIONS, ["message", "author", "tags"])
        made[_VERSIONS] = len(history)
        database.execute(f"PRAGMA application_id={_APPLICATION_ID}")
        return made
    finally:
        database.close()


def _add(database: Any, name: str, rows: Sequence[tuple[Any, Any]]) -> None:
    members = list(dict.fromkeys(key for _, row in rows if isinstance(row, dict) for key in row))
    if len(members) > _MAX_COLUMNS:
        # Too many columns for a table: each entry goes into one column as JSON, for json_extract().
        members = []
    columns = _columns(members, name)
    odd = not members or any(not isinstance(row, dict) for _, row in rows)
    names = [_ROW_KEY, *columns.values(), *([_ROW_VALUE] if odd and rows else [])]
    _make(database, name, names, _ROW_KEY, (_row(key, row, columns, odd=odd) for key, row in rows))
    texts = {
        column
        for member, column in columns.items()
        if any(isinstance(row, dict) and isinstance(_cell(row.get(member)), str) for _, row in rows)
    }
    _search(database, name, [column for column in names if column in texts or column == _ROW_VALUE])


def _make(database: Any, name: str, columns: Sequence[str], key: str, rows: Iterable[tuple[Any, ...]]) -> None:
    """Make a table with columns without a type, and fill the table; all names are plain (see `_plain`)."""
    told = ", ".join(f'"{column}"{" PRIMARY KEY" if column == key else ""}' for column in columns)
    places = ", ".join("?" * len(columns))
    with database.conn:
        database.execute(f'CREATE TABLE "{name}" ({told})')
        database.conn.executemany(f'INSERT INTO "{name}" VALUES ({places})', rows)  # noqa: S608 - a name of `_plain`


def _search(database: Any, name: str, columns: Sequence[str]) -> None:
    if columns:
        database.table(name).enable_fts(columns, create_triggers=False)


def _row(key: Any, row: Any, columns: dict[str, str], *, odd: bool) -> tuple[Any, ...]:
    spread = isinstance(row, dict) and bool(columns)
    cells = [_cell(row.get(member)) if spread else None for member in columns]
    whole = [None if spread else encode(row).decode()] if odd else []
    return (key, *cells, *whole)


def _cell(value: Any) -> Any:
    """Return a value for SQLite: containers, and integers beyond 64 bits, as JSON text."""
    if isinstance(value, (dict, list)) or (isinstance(value, int) and value not in _SQLITE_INT):
        return encode(value).decode()
    return value


def _columns(members: Sequence[str], table: str) -> dict[str, str]:
    """Return a column name for each member: the member's name, changed if SQLite could confuse two names."""
    taken = {_ROW_KEY, _ROW_VALUE, *_RESERVED, f"{table}{_SEARCH}".casefold()}
    return {member: _free(_plain(member), taken) for member in members}


def _table_name(place: tuple[str, ...], taken: set[str]) -> str:
    return _free(_plain("_".join(place)) if place else "entries", taken, _SEARCH_TABLES)


def _plain(name: str) -> str:
    """Return a name without characters that cause trouble in full-text search and other tools."""
    return re.sub(r"[^\w-]+", "_", name)[:60].strip("_") or "_"


def _free(name: str, taken: set[str], ends: Sequence[str] = ()) -> str:
    """Return a name that is free, also with each of these suffixes."""
    if name == "_" or name.casefold().startswith("sqlite"):
        name = f"t{name}"
    for number in count(1):
        tried = name if number == 1 else f"{name}_{number}"
        wanted = {f"{tried}{end}".casefold() for end in ("", *ends)}
        if not wanted & taken:
            taken.update(wanted)
            return tried
    raise AssertionError("count() ends never")


def _others(document: Any, places: set[tuple[str, ...]]) -> list[dict[str, str]]:
    """Return the values outside of all collections, by pointer."""
    found: list[dict[str, str]] = []
    pending: list[tuple[tuple[str, ...], Any]] = [((), document)]
    while pending:
        path, value = pending.pop()
        if path in places:
            continue
        if isinstance(value, dict) and value:
            pending.extend(((*path, key), child) for key, child in reversed(value.items()))
        else:
            found.append({"pointer": format_pointer(path), "value": encode(value).decode()})
    return found


_HISTORY = ("seq", "version", "id", "time", "authored", "author", "message", "tags", "state")


def _history(store: Store, last: Version) -> list[dict[str, Any]]:
    return [
        {
            "seq": version.seq,
            "version": version.name,
            "id": version.id,
            "time": version.event.time,
            "authored": version.event.authored or version.event.time,
            "author": version.author,
            "message": version.message,
            "tags": encode(list(version.tags)).decode(),
            "state": version.state,
        }
        for version in store.log(None, last, newest_first=False)
    ]
