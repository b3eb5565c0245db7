"""Run the lint rules over a file."""

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
    """A file to check, with the facts from the head of the file and from companions.

    Attributes:
        file: The file's name, for messages.
        sql: The text.
        dialect: "sqlite", "postgresql", "mysql" or "mariadb".
        transaction: False if the head has `transaction=off`.
        reversible: Whether a rollback exists, or the head has `irreversible`.
        allow: The rules that the head allows.
        statements: The result of `split`, to avoid splitting again.
    """

    file: str
    sql: str
    dialect: str
    transaction: bool = True
    reversible: bool = True
    allow: Collection[str] = ()
    statements: Sequence[Statement] | None = None


def is_known_rule(name: str) -> bool:
    """Return whether `allow=` may contain this name: a rule of migrator, or `squawk/` and any name."""
    return name in RULES or name.startswith(SQUAWK)


def lint(subject: Subject) -> list[Finding]:
    """Return the findings of migrator's own rules, by line. Cost: reading the text once more.

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
