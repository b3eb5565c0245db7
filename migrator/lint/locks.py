"""Rules about statements that stop a running program: locks, rewrites of tables, and renamed objects."""

from collections.abc import Iterator

from kbstore.migrator.lint.reading import Reading, Script, contains, starts
from kbstore.migrator.lint.registry import rule

_POSTGRESQL = ("postgresql",)
_STABLE = {"NOW", "CURRENT_DATE", "CURRENT_TIMESTAMP", "STATEMENT_TIMESTAMP", "TRANSACTION_TIMESTAMP", "CAST"}
_FILLED = {"SERIAL", "BIGSERIAL", "SMALLSERIAL", "IDENTITY", "GENERATED", "AUTO_INCREMENT", "DEFAULT", "AS"}


@rule(
    "not-null-without-default",
    "error",
    why="this fails on a table with rows, and MySQL fills in an empty value that nobody chose",
    instead="Add a DEFAULT; or add a nullable column, fill the rows, and set NOT NULL in a later migration.",
)
def _not_null_without_default(script: Script) -> Iterator[tuple[Reading, str]]:
    for each, clause in _added_columns(script):
        if contains(clause, "NOT", "NULL") and not _FILLED & set(clause):
            yield each, f"ADD COLUMN {_column(clause)} NOT NULL without DEFAULT"


@rule(
    "volatile-default",
    "warning",
    why="each row gets its own value, so the whole table is rewritten while nobody can read",
    instead="Add the column without a default, set the default in a second statement, and fill old rows in batches.",
    dialects=_POSTGRESQL,
)
def _volatile_default(script: Script) -> Iterator[tuple[Reading, str]]:
    for each, clause in _added_columns(script):
        if "DEFAULT" in clause:
            value = clause[clause.index("DEFAULT") + 1 :]
            if value[1:2] == ["()"] and value[0].isidentifier() and value[0].upper() not in _STABLE:
                yield each, f"ADD COLUMN {_column(clause)} DEFAULT {value[0]}()"


@rule(
    "index-not-concurrent",
    "warning",
    why="nobody can write to the table while the index is built",
    instead="CREATE INDEX CONCURRENTLY, in a separate file with `-- migrator: transaction=off`.",
    dialects=_POSTGRESQL,
)
def _index_not_concurrent(script: Script) -> Iterator[tuple[Reading, str]]:
    for each in script.on_old_tables:
        if each.begins("CREATE", "?UNIQUE", "INDEX") and "CONCURRENTLY" not in each.flat[:4]:
            yield each, f"CREATE INDEX on {each.target} without CONCURRENTLY"


@rule(
    "drop-index-not-concurrent",
    "warning",
    why="the statement waits for every query on the table, and every later query waits too",
    instead="DROP INDEX CONCURRENTLY, in a separate file with `-- migrator: transaction=off`.",
    dialects=_POSTGRESQL,
)
def _drop_index_not_concurrent(script: Script) -> Iterator[tuple[Reading, str]]:
    for each in script.statements:
        if each.begins("DROP", "INDEX") and "CONCURRENTLY" not in each.flat[:3]:
            yield each, "DROP INDEX without CONCURRENTLY"


@rule(
    "constraint-checked-at-once",
    "warning",
    why="every row is checked while nobody can write",
    instead="ADD CONSTRAINT ... NOT VALID, then VALIDATE CONSTRAINT in the next migration.",
    dialects=_POSTGRESQL,
)
def _constraint_checked_at_once(script: Script) -> Iterator[tuple[Reading, str]]:
    for each, clause in _added_constraints(script):
        if ({"FOREIGN", "CHECK"} & set(clause[:4])) and not contains(clause, "NOT", "VALID"):
            yield each, f"a constraint added to {each.target} without NOT VALID"


@rule(
    "constraint-builds-index",
    "warning",
    why="the constraint's index is built while nobody can read or write",
    instead="CREATE UNIQUE INDEX CONCURRENTLY first, then ADD CONSTRAINT ... USING INDEX.",
    dialects=_POSTGRESQL,
)
def _constraint_builds_index(script: Script) -> Iterator[tuple[Reading, str]]:
    for each, clause in _added_constraints(script):
        if ({"UNIQUE", "PRIMARY", "EXCLUDE"} & set(clause[:4])) and not contains(clause, "USING", "INDEX"):
            yield each, f"a constraint with an index added to {each.target}"


@rule(
    "set-not-null",
    "warning",
    why="every row is read while nobody can read or write",
    instead="Add CHECK (c IS NOT NULL) NOT VALID, VALIDATE CONSTRAINT in the next migration, then SET NOT NULL.",
    dialects=_POSTGRESQL,
)
def _set_not_null(script: Script) -> Iterator[tuple[Reading, str]]:
    for each in script.on_old_tables:
        for clause in each.clauses:
            if starts(clause, "ALTER") and contains(clause, "SET", "NOT", "NULL"):
                yield each, f"SET NOT NULL on {each.target}"


@rule(
    "change-column-type",
    "warning",
    why="the table is rewritten while nobody can read or write, and values may change or get lost",
    instead="Add a new column, write both columns, copy in batches, and drop the old column in a later release.",
    dialects=("postgresql", "mysql"),
)
def _change_column_type(script: Script) -> Iterator[tuple[Reading, str]]:
    for each in script.on_old_tables:
        for clause in each.clauses:
            typed = starts(clause, "ALTER") and "TYPE" in clause
            if typed or (script.dialect == "mysql" and starts(clause, "MODIFY|CHANGE")):
                yield each, f"the type of a column of {each.target}"


@rule(
    "rename-column",
    "warning",
    why="the running program still uses the old name in queries",
    instead="Add a new column, write both columns, and drop the old column in a later release.",
)
def _rename_column(script: Script) -> Iterator[tuple[Reading, str]]:
    for each in script.on_old_tables:
        for clause in each.clauses:
            if starts(clause, "RENAME") and not starts(clause, "RENAME", "TO|AS|INDEX|KEY|CONSTRAINT"):
                yield each, f"RENAME COLUMN of {each.target}"


@rule(
    "rename-table",
    "warning",
    why="the running program still uses the old name in queries",
    instead="Create a view with the old name in the same migration, or create a new table.",
)
def _rename_table(script: Script) -> Iterator[tuple[Reading, str]]:
    for each in script.on_old_tables:
        if any(starts(clause, "RENAME", "TO|AS") for clause in each.clauses):
            yield each, f"RENAME TABLE {each.target}"
    for each in script.statements:
        if each.begins("RENAME", "TABLE"):
            yield each, "RENAME TABLE"


@rule(
    "exclusive-rebuild",
    "warning",
    why="the whole table is rewritten while nobody can read",
    instead="REINDEX CONCURRENTLY, REFRESH ... CONCURRENTLY, or pg_repack.",
    dialects=_POSTGRESQL,
)
def _exclusive_rebuild(script: Script) -> Iterator[tuple[Reading, str]]:
    for each in script.statements:
        full = each.begins("VACUUM") and "FULL" in each.all
        quiet = each.begins("REINDEX|REFRESH") and "CONCURRENTLY" not in each.flat
        moved = any(starts(clause, "SET", "TABLESPACE|LOGGED|UNLOGGED") for clause in each.clauses)
        if full or quiet or moved or each.begins("CLUSTER"):
            yield each, " ".join(each.flat[:2])


def _added_columns(script: Script) -> Iterator[tuple[Reading, list[str]]]:
    """Yield the clauses for adding a column to an existing table."""
    others = "CONSTRAINT|INDEX|KEY|PRIMARY|UNIQUE|FOREIGN|CHECK|EXCLUDE|FULLTEXT|SPATIAL|PARTITION|GENERATED"
    for each in script.on_old_tables:
        for clause in each.clauses:
            if starts(clause, "ADD") and not starts(clause, "ADD", others):
                yield each, clause


def _added_constraints(script: Script) -> Iterator[tuple[Reading, list[str]]]:
    """Yield the clauses for adding a constraint to an existing table."""
    for each in script.on_old_tables:
        for clause in each.clauses:
            if starts(clause, "ADD", "CONSTRAINT|FOREIGN|CHECK|UNIQUE|PRIMARY|EXCLUDE"):
                yield each, clause


def _column(clause: list[str]) -> str:
    """Return the name of the column added by a clause."""
    names = [word for word in clause[1:5] if word not in ("COLUMN", "IF", "NOT", "EXISTS")]
    return names[0].strip('"`[]').lower() if names else ""
