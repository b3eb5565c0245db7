"""Reader of a MariaDB or MySQL schema, from `information_schema`, for the database in use."""

from collections.abc import Iterator

from kbstore.migrator.catalog.items import Connection, Item, rows

_HERE = "SCHEMA = DATABASE()"
_TABLES = f"""
SELECT TABLE_NAME, TABLE_TYPE, ENGINE, TABLE_COLLATION FROM information_schema.TABLES
WHERE TABLE_{_HERE} AND TABLE_TYPE <> 'VIEW'"""  # noqa: S608
_COLUMNS = f"""
SELECT c.TABLE_NAME, c.COLUMN_NAME, c.COLUMN_TYPE, c.IS_NULLABLE, c.COLUMN_DEFAULT, c.EXTRA, c.GENERATION_EXPRESSION
FROM information_schema.COLUMNS AS c
JOIN information_schema.TABLES AS t ON t.TABLE_SCHEMA = c.TABLE_SCHEMA AND t.TABLE_NAME = c.TABLE_NAME
WHERE c.TABLE_{_HERE} AND t.TABLE_TYPE LIKE '%TABLE%'"""  # noqa: S608
_INDEXES = f"""
SELECT TABLE_NAME, INDEX_NAME, NON_UNIQUE, COLUMN_NAME, SUB_PART, INDEX_TYPE FROM information_schema.STATISTICS
WHERE TABLE_{_HERE} ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX"""  # noqa: S608
_FOREIGN_KEYS = f"""
SELECT k.TABLE_NAME, k.CONSTRAINT_NAME, k.COLUMN_NAME, k.REFERENCED_TABLE_NAME, k.REFERENCED_COLUMN_NAME,
    r.UPDATE_RULE, r.DELETE_RULE
FROM information_schema.KEY_COLUMN_USAGE AS k
JOIN information_schema.REFERENTIAL_CONSTRAINTS AS r
    ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME
    AND r.TABLE_NAME = k.TABLE_NAME
WHERE k.TABLE_{_HERE} ORDER BY k.TABLE_NAME, k.CONSTRAINT_NAME, k.ORDINAL_POSITION"""  # noqa: S608
_MARIADB_CHECKS = f"""
SELECT TABLE_NAME, CONSTRAINT_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS
WHERE CONSTRAINT_{_HERE}"""  # noqa: S608
_MYSQL_CHECKS = f"""
SELECT t.TABLE_NAME, c.CONSTRAINT_NAME, c.CHECK_CLAUSE
FROM information_schema.CHECK_CONSTRAINTS AS c
JOIN information_schema.TABLE_CONSTRAINTS AS t
    ON t.CONSTRAINT_SCHEMA = c.CONSTRAINT_SCHEMA AND t.CONSTRAINT_NAME = c.CONSTRAINT_NAME
WHERE t.CONSTRAINT_{_HERE} AND t.CONSTRAINT_TYPE = 'CHECK'"""  # noqa: S608
_VIEWS = f"SELECT TABLE_NAME, VIEW_DEFINITION FROM information_schema.VIEWS WHERE TABLE_{_HERE}"  # noqa: S608
_TRIGGERS = f"""
SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_STATEMENT
FROM information_schema.TRIGGERS WHERE TRIGGER_{_HERE}"""  # noqa: S608
_ROUTINES = f"""
SELECT r.ROUTINE_TYPE, r.ROUTINE_NAME, r.DTD_IDENTIFIER, r.ROUTINE_DEFINITION,
    (SELECT GROUP_CONCAT(CONCAT_WS(' ', p.PARAMETER_MODE, p.PARAMETER_NAME, p.DTD_IDENTIFIER)
        ORDER BY p.ORDINAL_POSITION SEPARATOR ', ')
    FROM information_schema.PARAMETERS AS p
    WHERE p.SPECIFIC_SCHEMA = r.ROUTINE_SCHEMA AND p.SPECIFIC_NAME = r.SPECIFIC_NAME AND p.ORDINAL_POSITION > 0)
FROM information_schema.ROUTINES AS r WHERE r.ROUTINE_{_HERE}"""  # noqa: S608
_EVENTS = f"""
SELECT EVENT_NAME, STATUS, EVENT_TYPE, EXECUTE_AT, INTERVAL_VALUE, INTERVAL_FIELD, EVENT_DEFINITION
FROM information_schema.EVENTS WHERE EVENT_{_HERE}"""  # noqa: S608


def read(connection: Connection) -> Iterator[Item]:
    """Yield every object of the database in use."""
    ((database, version),) = rows(connection, "SELECT DATABASE(), VERSION()")
    for name, kind, engine, collation in rows(connection, _TABLES):
        if kind == "SEQUENCE":
            yield Item("sequence", name, {})
        else:
            yield Item("table", name, {"engine": engine, "collation": collation})
    for table, column, kind, nullable, default, extra, generated in rows(connection, _COLUMNS):
        # Without a default, MariaDB gives 'NULL' and MySQL gives nothing.
        default = None if default == "NULL" else default
        about = {"table": table, "type": kind, "nullable": nullable == "YES", "default": default}
        more = {"extra": extra, "generated": generated}
        yield Item("column", f"{table}.{column}", about | {key: value for key, value in more.items() if value})
    yield from _indexes(connection)
    yield from _foreign_keys(connection)
    checks = _MARIADB_CHECKS if "mariadb" in version.lower() else _MYSQL_CHECKS
    for table, name, clause in rows(connection, checks):
        yield Item("constraint", f"{table}.{name}", {"table": table, "definition": f"CHECK ({clause})"})
    for name, definition in rows(connection, _VIEWS):
        # The server writes the database before every name. Databases with the same schema must compare as equal.
        yield Item("view", name, {"definition": (definition or "").replace(f"`{database}`.", "")})
    for name, table, timing, event, action in rows(connection, _TRIGGERS):
        yield Item("trigger", name, {"table": table, "definition": f"{timing} {event} {action}"})
    for kind, name, returns, body, parameters in rows(connection, _ROUTINES):
        about = {"parameters": parameters or "", "definition": body}
        yield Item(kind.lower(), name, about | ({"returns": returns} if returns else {}))
    for name, status, kind, at, value, unit, body in rows(connection, _EVENTS):
        when = str(at) if at is not None else f"every {value} {unit}"
        yield Item("event", name, {"status": status, "type": kind, "when": when, "definition": body})


def _indexes(connection: Connection) -> Iterator[Item]:
    columns: dict[tuple[str, str, bool, str], list[str]] = {}
    for table, name, non_unique, column, part, kind in rows(connection, _INDEXES):
        shown = (column or "an expression") + (f"({part})" if part else "")
        columns.setdefault((table, name, not non_unique, kind), []).append(shown)
    for (table, name, unique, kind), names in columns.items():
        if name == "PRIMARY":
            yield Item("constraint", f"{table}.PRIMARY KEY", {"table": table, "columns": names})
        else:
            about = {"table": table, "columns": names, "unique": unique, "type": kind}
            yield Item("index", f"{table}.{name}", about)


def _foreign_keys(connection: Connection) -> Iterator[Item]:
    keys: dict[tuple[str, str], list[tuple[str, str, str, str, str]]] = {}
    for table, name, column, other, to, on_update, on_delete in rows(connection, _FOREIGN_KEYS):
        keys.setdefault((table, name), []).append((column, other, to, on_update, on_delete))
    for (table, name), parts in keys.items():
        _, other, _, on_update, on_delete = parts[0]
        columns, to = ", ".join(part[0] for part in parts), ", ".join(part[2] for part in parts)
        about = {"table": table, "definition": f"({columns}) -> {other} ({to})"}
        yield Item("foreign key", f"{table}.{name}", {**about, "on update": on_update, "on delete": on_delete})
