"""What a rule is, what it finds, and where rules are kept."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from kbstore.migrator.lint.reading import Reading, Script
from kbstore.migrator.sql.lexer import DIALECTS

Level = Literal["error", "warning"]
Check = Callable[[Script], Iterator[tuple[Reading, str]]]
"""Gives each statement that it finds fault with, and what it found, as "DROP COLUMN old"."""


@dataclass(frozen=True)
class Rule:
    """One thing that goes wrong.

    Attributes:
        name: What a file allows it by: `-- migrator: allow=NAME`.
        level: "error" stops `up`; "warning" is told.
        dialects: Where it can go wrong.
        reason: Why it does, one clause.
        instead: What to do.
        check: Finds it.
    """

    name: str
    level: Level
    dialects: tuple[str, ...]
    reason: str
    instead: str
    check: Check


@dataclass(frozen=True, order=True)
class Finding:
    """One place with which a rule finds fault.

    Attributes:
        file: The file's name.
        line: The 1-based line of the statement.
        rule: The rule's name; those of squawk begin with "squawk/".
        level: "error" or "warning".
        message: What was found, and why it matters.
        instead: What to do.
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
"""Every rule of our own by its name, in the order of the documentation."""


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
