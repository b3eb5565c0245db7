"""Run the rules over a file."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from kbstore.migrator.lint import locks, rows, transactions  # noqa: F401 - these fill the registry
from kbstore.migrator.lint.reading import Reading, Script, read
from kbstore.migrator.lint.registry import RULES, Finding
from kbstore.migrator.lint.squawk import SQUAWK
from kbstore.migrator.sql.lexer import canonical_dialect
from kbstore.migrator.sql.statements import Statement


@dataclass(frozen=True)
class Subject:
    """A file that is to be looked at, and what its head and its neighbours say.

    Attributes:
        file: Its name, for messages.
        sql: Its text.
        dialect: "sqlite", "postgresql", "mysql" or "mariadb".
        transaction: False where its head says `transaction=off`.
        reversible: Whether a rollback stands beside it, or its head says `irreversible`.
        allow: The rules that its head allows.
        statements: What `split` made of it, to be spared another reading.
    """

    file: str
    sql: str
    dialect: str
    transaction: bool = True
    reversible: bool = True
    allow: Collection[str] = ()
    statements: Sequence[Statement] | None = None


def is_known_rule(name: str) -> bool:
    """Whether `allow=` may hold this: a rule of our own, or `squawk/` and any name."""
    return name in RULES or name.startswith(SQUAWK)


def lint(subject: Subject) -> list[Finding]:
    """What our own rules find, by line. Cost: one more reading of the text.

    Raises:
        SplitError: The text cannot be split.
    """
    dialect = canonical_dialect(subject.dialect)
    transaction = subject.transaction and dialect != "mysql"
    if subject.statements is None:
        readings = read(subject.sql.removeprefix("\ufeff"), dialect, subject.file)
    else:
        readings = [Reading(statement.text, statement.line, dialect) for statement in subject.statements]
    script = Script(readings, dialect, transaction, subject.reversible)
    return sorted(
        Finding(subject.file, statement.line, rule.name, rule.level, f"{what}: {rule.reason}", rule.instead)
        for rule in RULES.values()
        if dialect in rule.dialects and rule.name not in subject.allow
        for statement, what in rule.check(script)
    )
