"""Reader of a SQLite schema, from `sqlite_master` and table-valued pragma functions (SQLite 3.26 and later).

CHECK constraints appear only in the text of CREATE TABLE, and are read from this text.
"""

from collections.abc import Iterator

from kbstore.migrator.catalog.items import Connection, Item, normal_sql, rows
from kbstore.migrator.sql.lexer import Kind, Token, lex

_TABLES = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
_OTHERS = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE type <> 'table' AND sql IS NOT NULL"
_COLUMNS = f"""
SELECT t.name, c.name, c.type, c."notnull", c.dflt_value, c.pk, c.hidden
FROM ({_TABLES}) AS t, pragma_table_xinfo(t.name) AS c
ORDER BY t.name, c.pk, c.cid"""  # noqa: S608
_UNIQUE = f"""
SELECT t.name, i.name, c.name
FROM ({_TABLES}) AS t, pragma_index_list(t.name) AS i, pragma_index_info(i.name) AS c
WHERE i.origin = 'u' ORDER BY t.name, i.name, c.seqno"""  # noqa: S608
_FOREIGN_KEYS = f"""
SELECT t.name, f.id, f."from", f."table", f."to", f.on_update, f.on_delete
FROM ({_TABLES}) AS t, pragma_foreign_key_list(t.name) AS f
ORDER BY t.name, f.id, f.seq"""  # noqa: S608


def read(connection: Connection) -> Iterator[Item]:
    """Yield every object of the main schema."""
    for table, sql in rows(connection, _TABLES):
        yield Item("table", table, _table(sql or ""))
        for check in _checks(sql or ""):
            yield Item("constraint", f"{table} CHECK {check}", {"table": table})
    primary_keys: dict[str, list[str]] = {}
    for table, column, kind, not_null, default, pk, hidden in rows(connection, _COLUMNS):
        about = {"table": table, "type": kind, "nullable": not not_null, "default": default}
        if hidden:
            about["generated"] = {1: "hidden", 2: "virtual", 3: "stored"}.get(hidden, "yes")
        yield Item("column", f"{table}.{column}", about)
        if pk:
            primary_keys.setdefault(table, []).append(column)
    for table, columns in primary_keys.items():
        yield Item("constraint", f"{table} PRIMARY KEY ({', '.join(columns)})", {"table": table})
    unique: dict[tuple[str, str], list[str]] = {}
    for table, index, column in rows(connection, _UNIQUE):
        unique.setdefault((table, index), []).append(column or "an expression")
    for (table, _), columns in unique.items():
        yield Item("constraint", f"{table} UNIQUE ({', '.join(columns)})", {"table": table})
    yield from _foreign_keys(connection)
    for kind, name, table, sql in rows(connection, _OTHERS):
        attributes = {"definition": normal_sql(sql, "sqlite")}
        yield Item(kind, name, attributes if kind == "view" else {"table": table, **attributes})


def _foreign_keys(connection: Connection) -> Iterator[Item]:
    """Yield the foreign keys. SQLite gives foreign keys no names, so the columns serve as a name."""
    keys: dict[tuple[str, int], list[tuple[str, str, str | None, str, str]]] = {}
    for table, number, column, other, to, on_update, on_delete in rows(connection, _FOREIGN_KEYS):
        keys.setdefault((table, number), []).append((column, other, to, on_update, on_delete))
    for (table, _), parts in keys.items():
        _, other, to, on_update, on_delete = parts[0]
        columns = ", ".join(part[0] for part in parts)
        target = f"{other} ({', '.join(str(part[2]) for part in parts)})" if to is not None else other
        about = {"table": table, "on update": on_update, "on delete": on_delete}
        yield Item("foreign key", f"{table} ({columns}) -> {target}", about)


def _table(sql: str) -> dict[str, object]:
    """Return the attributes found only in CREATE TABLE: table options, or the definition of a virtual table."""
    if sql.rstrip().endswith(")") and not sql.upper().startswith("CREATE VIRTUAL"):
        return {}
    tokens = list(lex(sql, "sqlite"))
    words = [sql[token.start : token.end].upper() for token in tokens]
    if words[:2] == ["CREATE", "VIRTUAL"]:
        return {"definition": normal_sql(sql, "sqlite")}
    closing = max((at for at, token in enumerate(tokens) if token.kind is Kind.CLOSE), default=len(words))
    options = " ".join(words[closing + 1 :])
    return {"options": options} if options else {}


def _checks(sql: str) -> list[str]:
    """Return the CHECK constraints of a CREATE TABLE, sorted, without duplicates."""
    if "CHECK" not in sql.upper():
        return []
    tokens = list(lex(sql, "sqlite"))
    found = set()
    for at, token in enumerate(tokens[:-1]):
        opens = tokens[at + 1].kind is Kind.OPEN
        if token.kind is Kind.WORD and sql[token.start : token.end].upper() == "CHECK" and opens:
            end = _closing(tokens, at + 1)
            found.add(normal_sql(sql[tokens[at + 1].start : end], "sqlite"))
    return sorted(found)


def _closing(tokens: list[Token], at: int) -> int:
    """Return the offset after the parenthesis that closes the parenthesis at a token."""
    depth = 0
    for token in tokens[at:]:
        depth += {Kind.OPEN: 1, Kind.CLOSE: -1}.get(token.kind, 0)
        if depth == 0:
            return token.end
    return tokens[-1].end
