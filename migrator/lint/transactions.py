"""Rules about the state of the database after an interrupted run."""

from collections.abc import Iterator

from kbstore.migrator.lint.reading import Reading, Script
from kbstore.migrator.lint.registry import rule
from kbstore.migrator.sql.statements import is_transaction_control

_DDL = ("CREATE", "ALTER", "DROP", "RENAME", "TRUNCATE")
_CHECKS = {"FOREIGN_KEY_CHECKS", "UNIQUE_CHECKS", "CHECK_CONSTRAINT_CHECKS", "SESSION_REPLICATION_ROLE"}
_ROWS = ("INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE", "LOAD")
_ALONE = {  # statements that refuse to run in a transaction
    "postgresql": (
        ("CREATE", "?UNIQUE", "INDEX", "CONCURRENTLY"),
        ("DROP", "INDEX", "CONCURRENTLY"),
        ("VACUUM",),
        ("CREATE|DROP", "DATABASE|TABLESPACE"),
        ("ALTER", "SYSTEM"),
    ),
    "sqlite": (("VACUUM",),),
}


@rule(
    "transaction-control",
    "error",
    why="this ends the transaction that also writes the row of the history, so the row may be wrong after a failure",
    instead="Remove the statement; write `-- migrator: transaction=off` if a statement cannot run in a transaction.",
)
def _transaction_control(script: Script) -> Iterator[tuple[Reading, str]]:
    for each in script.statements:
        if is_transaction_control(tuple(each.flat), script.dialect):
            yield each, " ".join(each.flat[:2])


@rule(
    "needs-transaction-off",
    "error",
    dialects=("sqlite", "postgresql"),
    why="the database refuses this statement in a transaction",
    instead="Move the statement to a separate file with `-- migrator: transaction=off`.",
)
def _needs_transaction_off(script: Script) -> Iterator[tuple[Reading, str]]:
    if not script.transaction:
        return
    for each in script.statements:
        concurrent_reindex = each.begins("REINDEX") and "CONCURRENTLY" in each.flat
        if concurrent_reindex or any(each.begins(*head) for head in _ALONE[script.dialect]):
            yield each, " ".join(word for word in each.flat[:4] if word.isalpha())


@rule(
    "several-ddl-in-one-file",
    "warning",
    why="outside of a transaction each statement commits separately, so a failure leaves the file half applied",
    instead="Put each statement into its own migration: then an interrupted run leaves only complete migrations.",
)
def _several_ddl(script: Script) -> Iterator[tuple[Reading, str]]:
    if not script.transaction:
        ddl = [each for each in script.statements if each.begins("|".join(_DDL))]
        if len(ddl) > 1:
            yield ddl[1], f"{len(ddl)} statements that change the schema"


@rule(
    "rows-and-schema-in-one-file",
    "warning",
    dialects=("mysql",),
    why="a statement that changes the schema also commits the rows changed before",
    instead="Change the schema in one migration and the rows in another.",
)
def _rows_and_schema(script: Script) -> Iterator[tuple[Reading, str]]:
    if any(each.begins("|".join(_DDL)) for each in script.statements):
        for each in script.on_old_tables:
            if each.begins("|".join(_ROWS)):
                yield each, f"{each.flat[0]} beside a change of the schema"
                return


@rule(
    "lock-tables",
    "warning",
    dialects=("mysql",),
    why="this commits all changes made before, and the locks stay until the session ends",
    instead="Remove the statement: each statement takes the locks that it needs.",
)
def _lock_tables(script: Script) -> Iterator[tuple[Reading, str]]:
    for each in script.statements:
        if each.begins("LOCK|UNLOCK", "TABLES|TABLE"):
            yield each, " ".join(each.flat[:2])


@rule(
    "if-not-exists",
    "warning",
    why="an existing object with this name is accepted, even if the object is different",
    instead="Leave IF NOT EXISTS out: a transaction never leaves half of a migration.",
)
def _if_not_exists(script: Script) -> Iterator[tuple[Reading, str]]:
    if not script.transaction:
        return  # where a file may be half applied, running a statement twice must do no harm
    for each in script.statements:
        if each.begins("CREATE") and each.has("IF", "NOT", "EXISTS"):
            yield each, f"CREATE {each.flat[1]} IF NOT EXISTS"
        elif any(clause[:1] == ["ADD"] and "EXISTS" in clause for clause in each.clauses):
            yield each, "ADD COLUMN IF NOT EXISTS"


@rule(
    "checks-off",
    "warning",
    why="rows may break the database's own rules, and nothing checks these rows later",
    instead="Leave checks on; on SQLite, migrator turns foreign keys off and checks them before the commit.",
)
def _checks_off(script: Script) -> Iterator[tuple[Reading, str]]:
    for each in script.statements:
        off = (
            each.begins("PRAGMA", "FOREIGN_KEYS|IGNORE_CHECK_CONSTRAINTS|WRITABLE_SCHEMA"),
            each.begins("SET") and _CHECKS & set(each.flat),
            any(clause[:2] == ["DISABLE", "TRIGGER"] for clause in each.clauses),
        )
        if any(off) and each.flat[-1] not in ("ON", "1", "TRUE", "DEFAULT"):
            yield each, " ".join(each.flat[:3])
