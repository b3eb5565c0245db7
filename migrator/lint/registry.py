"""Lint rules, findings, and the registry of rules."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from kbstore.migrator.lint.reading import Reading, Script
from kbstore.migrator.sql.lexer import DIALECTS

Level = Literal["error", "warning"]
Check = Callable[[Script], Iterator[tuple[Reading, str]]]
"""Yields each faulty statement with a description, such as "DROP COLUMN old"."""


@dataclass(frozen=True)
class Rule:
    """A lint rule.

    Attributes:
        name: The rule's name, as in `-- migrator: allow=NAME`.
        level: "error" stops `up`; "warning" is only reported.
        dialects: The dialects that the rule applies to.
        reason: The reason for the rule, one clause.
        instead: A better way.
        check: Yields the faulty statements of a file.
    """

    name: str
    level: Level
    dialects: tuple[str, ...]
    reason: str
    instead: str
    check: Check


@dataclass(frozen=True, order=True)
class Finding:
    """A place that a lint rule reports.

    Attributes:
        file: The file's name.
        line: The 1-based line of the statement.
        rule: The rule's name; rules of squawk begin with "squawk/".
        level: "error" or "warning".
        message: The finding, and the reason.
        instead: A better way.
    """

    file: str
    line: int
    rule: str
    level: Level
    message: str
    instead: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.level}: {self.message} [{self.rule}]\n  {self.instead}"


RULES: dict[str, Rule] = {}
"""Every rule of migrator by name, in the order of the documentation."""


def rule(
    name: str, level: Level, *, why: str, instead: str, dialects: tuple[str, ...] = DIALECTS
) -> Callable[[Check], Check]:
    """Register the check of a rule."""

    def register(check: Check) -> Check:
        if name in RULES:
            raise ValueError(f"there are two rules with the name {name}")
        RULES[name] = Rule(name, level, dialects, why, instead, check)
        return check

    return register
