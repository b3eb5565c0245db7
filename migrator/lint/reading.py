"""A file as lint rules read it: statements as lists of words, with the content of parentheses left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from kbstore.migrator.sql.lexer import Kind, lex, line_at
from kbstore.migrator.sql.splitter import pieces

_FOLDED = "()"
_VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE", "MERGE")


class Reading:
    """One statement.

    Attributes:
        text: The statement as it is sent.
        line: The 1-based line of the first word.
        all: Every token; words in upper case, quoted texts unchanged.
        flat: The tokens, with `()` in place of each outermost pair of parentheses with content, and without a WITH
            clause before the verb.
    """

    def __init__(self, text: str, line: int, dialect: str) -> None:
        self.text = text
        self.line = line
        self.all: list[str] = []
        self.flat: list[str] = []
        depth = 0
        for token in lex(text, dialect):
            shown = text[token.start : token.end]
            shown = shown.upper() if token.kind is Kind.WORD else shown
            self.all.append(shown)
            if token.kind is Kind.OPEN:
                depth += 1
                self.flat += [_FOLDED] * (depth == 1)
            elif token.kind is Kind.CLOSE:
                depth = max(depth - 1, 0)
            elif depth == 0:
                self.flat.append(shown)
        if self.flat[:1] == ["WITH"]:
            self.flat = self.flat[next((at for at, word in enumerate(self.flat) if word in _VERBS), 0) :]

    def begins(self, *words: str) -> bool:
        """Return whether the statement begins with these words; `A|B` matches either word, `?A` an optional word."""
        return _skip(self.flat, words) is not None

    def has(self, *words: str) -> bool:
        """Return whether the statement has these words in sequence, outside of parentheses."""
        return contains(self.flat, *words)

    @cached_property
    def clauses(self) -> list[list[str]]:
        """The actions of ALTER TABLE: tokens after the table's name, split at commas; empty for other statements."""
        if not self.begins("ALTER", "TABLE"):
            return []
        found: list[list[str]] = [[]]
        for word in self.flat[self._after_target :]:
            if "," in word:
                found.append([])
            else:
                found[-1].append(word)
        return found

    @cached_property
    def target(self) -> str:
        """The table in CREATE, ALTER or DROP TABLE, TRUNCATE, INSERT, UPDATE, DELETE or CREATE INDEX; else ""."""
        start = self._target_start
        return plain_name(self.flat[start : self._after_target]) if start is not None else ""

    @cached_property
    def _target_start(self) -> int | None:
        """The index in `flat` of the first token of the table's name."""
        for head in _HEADS:
            at = _skip(self.flat, head)
            if at is not None:
                return at
        if self.begins("CREATE", "?UNIQUE", "INDEX") and "ON" in self.flat:
            return self.flat.index("ON") + 1 + self.has("ON", "ONLY")
        return None

    @property
    def _after_target(self) -> int:
        """The index in `flat` of the first token after the table's name."""
        at = self._target_start
        if at is None:
            return len(self.flat)
        while self.flat[at + 1 : at + 2] == ["."]:
            at += 2
        return min(at + 1, len(self.flat))


_CONFLICT = "?ROLLBACK|ABORT|FAIL|IGNORE|REPLACE"
_HEADS = (
    ("CREATE", "?OR", "?REPLACE", "?GLOBAL|LOCAL", "?TEMP|TEMPORARY|UNLOGGED", "TABLE", "?IF", "?NOT", "?EXISTS"),
    ("ALTER", "?FOREIGN", "TABLE", "?IF", "?EXISTS", "?ONLY"),
    ("DROP", "TABLE", "?IF", "?EXISTS"),
    ("TRUNCATE", "?TABLE", "?ONLY"),
    ("INSERT|REPLACE", "?OR", _CONFLICT, "INTO"),
    ("UPDATE", "?LOW_PRIORITY", "?OR", _CONFLICT, "?ONLY"),
    ("DELETE", "FROM", "?ONLY"),
)


@dataclass(frozen=True)
class Script:
    """A file, with the facts that a rule needs.

    Attributes:
        dialect: One of `kbstore.migrator.sql.lexer.DIALECTS`.
        transaction: Whether the file runs in one transaction: the database supports this, and the file does not refuse.
        reversible: Whether a rollback exists, or the file declares that a rollback is impossible.
    """

    statements: Sequence[Reading]
    dialect: str
    transaction: bool
    reversible: bool

    @cached_property
    def on_old_tables(self) -> Sequence[Reading]:
        """The statements about tables not created earlier in this file: such a table may have rows and readers."""
        made, old = set(), []
        for each in self.statements:
            if each.begins(*_HEADS[0][:6]):
                made.add(each.target)
            elif each.target and each.target not in made:
                old.append(each)
        return old

    @cached_property
    def rebuilt(self) -> frozenset[str]:
        """The tables replaced by a renamed table: in SQLite, the way to change a table."""
        moves = (clause for each in self.statements for clause in each.clauses)
        return frozenset(plain_name(clause) for clause in moves if starts(clause, "RENAME", "TO"))


def read(sql: str, dialect: str, name: str) -> list[Reading]:
    """Return the statements of a text.

    Raises:
        SplitError: As `kbstore.migrator.sql.statements.split`. Transaction control raises no error here, since a rule
            reports it.
    """
    return [
        Reading(sql[piece.start : piece.end], line_at(sql, piece.start), dialect)
        for piece in pieces(sql, dialect, name=name)
    ]


def contains(tokens: Sequence[str], *words: str) -> bool:
    """Return whether a list of tokens has these words in sequence."""
    size = len(words)
    return any(tuple(tokens[at : at + size]) == words for at in range(len(tokens) - size + 1))


def starts(tokens: Sequence[str], *words: str) -> bool:
    """Return whether a list of tokens begins with these words, as `Reading.begins`."""
    return _skip(tokens, words) is not None


def plain_name(tokens: Sequence[str]) -> str:
    """Return the last part of a name, in lower case and without quotes, as the database compares names."""
    return tokens[-1].strip('"`[]').lower() if tokens else ""


def _skip(tokens: Sequence[str], words: Sequence[str]) -> int | None:
    """Return the index after these words at the start of the tokens; `None` if the tokens begin with other words."""
    at = 0
    for word in words:
        choices = word.removeprefix("?").split("|")
        if at < len(tokens) and tokens[at] in choices:
            at += 1
        elif not word.startswith("?"):
            return None
    return at
