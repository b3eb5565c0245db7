"""Rules about rows lost or changed by mistake."""

from collections.abc import Iterator

from kbstore.migrator.lint.reading import Reading, Script, starts
from kbstore.migrator.lint.registry import rule


@rule(
    "update-without-where",
    "error",
    why="this changes every row, and the old values are lost",
    instead="Add a WHERE clause; write WHERE TRUE if you mean all rows.",
)
def _update_without_where(script: Script) -> Iterator[tuple[Reading, str]]:
    for each in script.on_old_tables:
        if each.begins("UPDATE") and "WHERE" not in each.flat:
            yield each, f"UPDATE {each.target} without WHERE"


@rule(
    "delete-without-where",
    "error",
    why="this deletes every row",
    instead="Add a WHERE clause; write WHERE TRUE if you mean all rows.",
)
def _delete_without_where(script: Script) -> Iterator[tuple[Reading, str]]:
    for each in script.on_old_tables:
        if each.begins("DELETE", "FROM") and "WHERE" not in each.flat:
            yield each, f"DELETE FROM {each.target} without WHERE"  # noqa: S608


@rule(
    "destructive-without-rollback",
    "error",
    why="there is no rollback file, so nothing can undo even a part of this",
    instead="Add a file NAME_rollback.sql, or write `-- migrator: irreversible` in the head of the file.",
)
def _destructive_without_rollback(script: Script) -> Iterator[tuple[Reading, str]]:
    if not script.reversible:
        for each in script.on_old_tables:
            if (what := _destroys(each)) and each.target not in script.rebuilt:
                yield each, what


@rule(
    "drop-table",
    "warning",
    why="the rows are lost, and the running program may still use the table",
    instead="Stop using the table in one release, rename the table in the next, and drop the table in a later release.",
)
def _drop_table(script: Script) -> Iterator[tuple[Reading, str]]:
    for each in script.on_old_tables:
        if each.begins("DROP", "TABLE") and each.target not in script.rebuilt:
            yield each, f"DROP TABLE {each.target}"


@rule(
    "drop-column",
    "warning",
    why="the values are lost, and the running program may still use the column",
    instead="Stop using the column in one release, and drop the column in the next.",
)
def _drop_column(script: Script) -> Iterator[tuple[Reading, str]]:
    for each in script.on_old_tables:
        for clause in each.clauses:
            if _drops_column(clause):
                yield each, f"{' '.join(clause[:2])} of {each.target}"


@rule(
    "drop-database",
    "error",
    why="all data in the database or schema is lost",
    instead="Make a backup, and drop the database or schema outside of migrations.",
)
def _drop_database(script: Script) -> Iterator[tuple[Reading, str]]:
    for each in script.statements:
        if each.begins("DROP", "DATABASE|SCHEMA"):
            yield each, " ".join(each.flat[:2])


@rule(
    "truncate",
    "warning",
    why="a lock keeps even readers out of the table, and MySQL commits at once",
    instead="DELETE in batches, or create a new table and keep the old table.",
    dialects=("postgresql", "mysql"),
)
def _truncate(script: Script) -> Iterator[tuple[Reading, str]]:
    for each in script.on_old_tables:
        if each.begins("TRUNCATE"):
            yield each, f"TRUNCATE {each.target}"


@rule(
    "drop-cascade",
    "warning",
    why="this also drops objects that the file does not name",
    instead="Leave CASCADE out, and drop each dependent object by name.",
    dialects=("postgresql",),
)
def _drop_cascade(script: Script) -> Iterator[tuple[Reading, str]]:
    for each in script.statements:
        drops = each.begins("DROP|TRUNCATE") or any(clause[:1] == ["DROP"] for clause in each.clauses)
        if drops and each.flat[-1] == "CASCADE":
            yield each, " ".join([*each.flat[:2], "... CASCADE"])


@rule(
    "insert-without-columns",
    "warning",
    why="the order of columns decides where each value goes, and the next migration may change the order",
    instead="Name the columns: INSERT INTO t (a, b) ...",
)
def _insert_without_columns(script: Script) -> Iterator[tuple[Reading, str]]:
    for each in script.statements:
        if each.begins("INSERT|REPLACE") and "VALUES" in each.flat:
            before = each.flat[: each.flat.index("VALUES")]
            if "()" not in before and before[-1] != "DEFAULT":
                yield each, f"INSERT INTO {each.target} VALUES"


@rule(
    "backfill-with-schema",
    "warning",
    why="ALTER TABLE's lock is held while the rows are changed",
    instead="Change the schema in one migration and the rows in the next.",
    dialects=("postgresql",),
)
def _backfill_with_schema(script: Script) -> Iterator[tuple[Reading, str]]:
    if not script.transaction:
        return
    altered: set[str] = set()
    for each in script.on_old_tables:
        if each.clauses:
            altered.add(each.target)
        elif each.begins("UPDATE|DELETE") and each.target in altered:
            yield each, f"{each.flat[0]} {each.target} after its ALTER TABLE"


@rule(
    "password-in-file",
    "error",
    why="files are kept in version control, and statements in logs",
    instead="Set the password outside of migrations.",
)
def _password_in_file(script: Script) -> Iterator[tuple[Reading, str]]:
    for each in script.statements:
        if each.begins("CREATE|ALTER", "USER|ROLE") or each.begins("GRANT") or each.begins("SET", "PASSWORD"):
            for at, word in enumerate(each.all[:-1]):
                following = each.all[at + 1]
                if word in ("PASSWORD", "BY", "=") and following[:1] in ("'", '"') and len(following) > 2:
                    yield each, f"a password in {' '.join(each.flat[:2])}"
                    break


def _drops_column(clause: list[str]) -> bool:
    """Return whether a clause of ALTER TABLE drops a column; the word COLUMN is optional."""
    others = "CONSTRAINT|INDEX|KEY|PRIMARY|FOREIGN|CHECK|PARTITION|DEFAULT|EXPRESSION|IDENTITY|NOT|SYSTEM"
    return starts(clause, "DROP") and len(clause) > 1 and not starts(clause, "DROP", others)


def _destroys(each: Reading) -> str:
    """Describe the rows or columns that a statement destroys; "" if nothing is destroyed."""
    if each.begins("DROP", "TABLE"):
        return f"DROP TABLE {each.target}"
    if each.begins("TRUNCATE"):
        return f"TRUNCATE {each.target}"
    if any(_drops_column(clause) for clause in each.clauses):
        return f"DROP COLUMN of {each.target}"
    return ""
