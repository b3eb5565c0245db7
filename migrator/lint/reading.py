"""A file as rules read it: statements as words, with what stands in parentheses folded away."""

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
        text: As it is sent.
        line: The 1-based line of its first word.
        all: Every token; words in upper case, quoted texts as they are.
        flat: The same, with `()` in place of each outermost pair of parentheses and its inside, and without a WITH
            before the verb.
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
        """Whether these are its first words; `A|B` stands for either, `?A` for one that may be missing."""
        return _skip(self.flat, words) is not None

    def has(self, *words: str) -> bool:
        """Whether these words stand in it one after the other, outside of parentheses."""
        return contains(self.flat, *words)

    @cached_property
    def clauses(self) -> list[list[str]]:
        """ALTER TABLE's actions: what stands between commas, after the table's name; empty for other statements."""
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
        """The table that CREATE TABLE, ALTER TABLE, DROP TABLE, UPDATE, DELETE or CREATE INDEX is about."""
        start = self._target_start
        return plain_name(self.flat[start : self._after_target]) if start is not None else ""

    @cached_property
    def _target_start(self) -> int | None:
        """Where the table's name begins in `flat`."""
        for head in _HEADS:
            at = _skip(self.flat, head)
            if at is not None:
                return at
        if self.begins("CREATE", "?UNIQUE", "INDEX") and "ON" in self.flat:
            return self.flat.index("ON") + 1 + self.has("ON", "ONLY")
        return None

    @property
    def _after_target(self) -> int:
        """Where what follows the table's name begins in `flat`."""
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
    """A file with what a rule has to know of its surroundings.

    Attributes:
        dialect: One of `kbstore.migrator.sql.lexer.DIALECTS`.
        transaction: Whether it is run in one transaction: the database can, and the file does not say otherwise.
        reversible: Whether a rollback stands beside it, or the file says that there cannot be one.
    """

    statements: Sequence[Reading]
    dialect: str
    transaction: bool
    reversible: bool

    @cached_property
    def on_old_tables(self) -> Sequence[Reading]:
        """Statements about a table that the file has not made itself: one that is read already, and not empty."""
        made, old = set(), []
        for each in self.statements:
            if each.begins(*_HEADS[0][:6]):
                made.add(each.target)
            elif each.target and each.target not in made:
                old.append(each)
        return old

    @cached_property
    def rebuilt(self) -> frozenset[str]:
        """Tables that another one takes the place of, as SQLite needs it to change a table."""
        moves = (clause for each in self.statements for clause in each.clauses)
        return frozenset(plain_name(clause) for clause in moves if starts(clause, "RENAME", "TO"))


def read(sql: str, dialect: str, name: str) -> list[Reading]:
    """The statements of a text.

    Raises:
        SplitError: As `kbstore.migrator.sql.statements.split`, but not for transaction control, for which there is a
        rule.
    """
    return [
        Reading(sql[piece.start : piece.end], line_at(sql, piece.start), dialect)
        for piece in pieces(sql, dialect, name=name)
    ]


def contains(tokens: Sequence[str], *words: str) -> bool:
    """Whether these words stand in a list of tokens one after the other."""
    size = len(words)
    return any(tuple(tokens[at : at + size]) == words for at in range(len(tokens) - size + 1))


def starts(tokens: Sequence[str], *words: str) -> bool:
    """As `Reading.begins`, for any list of tokens."""
    return _skip(tokens, words) is not None


def plain_name(tokens: Sequence[str]) -> str:
    """The last part of a name as the database reads it, in lower case and without quotes."""
    return tokens[-1].strip('"`[]').lower() if tokens else ""


def _skip(tokens: Sequence[str], words: Sequence[str]) -> int | None:
    """Where the tokens go on after these words; None where they do not begin with them."""
    at = 0
    for word in words:
        choices = word.removeprefix("?").split("|")
        if at < len(tokens) and tokens[at] in choices:
            at += 1
        elif not word.startswith("?"):
            return None
    return at
