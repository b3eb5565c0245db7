"""Find the ends of statements: one small state machine for each dialect, fed with tokens.

- PostgreSQL, as psql: at a semicolon outside of parentheses and outside of a function's BEGIN ATOMIC body. The rows
  after COPY ... FROM STDIN belong to the COPY statement.
- SQLite, as `sqlite3_complete`: at a semicolon; in CREATE TRIGGER, at the semicolon after END.
- MySQL, as the MySQL client: at the mark last set by DELIMITER.
"""

import re
from collections.abc import Callable, Iterator
from typing import ClassVar, NamedTuple, Protocol

from kbstore.migrator.errors import SplitError
from kbstore.migrator.sql.lexer import Kind, Token, lex, line_at

_WORDS_KEPT = 8


class Piece(NamedTuple):
    """The place of a statement, without surrounding comments and without the end mark.

    Attributes:
        start: The offset of the first token.
        end: The offset after the last token.
        words: The first words, in upper case, at most eight, up to the first token of another kind.
        data: The rows after COPY ... FROM STDIN, up to the end mark; `None` for every other statement.
    """

    start: int
    end: int
    words: tuple[str, ...]
    data: str | None = None


class _Machine(Protocol):
    """The state of a statement being read, in one dialect."""

    has_rows: bool
    """Whether rows follow this statement in the text."""

    def ends(self, token: Token, word: str) -> bool:
        """Take the next token; return whether the statement ends here. `word` is the text of a word, in upper case."""

    def open_part(self) -> tuple[int, str, str] | None:
        """Return the part still open at the end of the text or statement: offset, name, and hint; or `None`."""


class _PostgreSQL:
    """psql's counts of parentheses, and of BEGIN ... END in CREATE FUNCTION and CREATE PROCEDURE."""

    def __init__(self) -> None:
        self.has_rows = False
        self._parentheses: list[int] = []
        self._bodies: list[int] = []
        self._head = ""  # the initials of the first four words, as in psql
        self._words = 0
        self._is_copy = False
        self._previous = ""

    def ends(self, token: Token, word: str) -> bool:
        if word:
            self._take_word(token, word)
        elif token.kind is Kind.OPEN:
            self._parentheses.append(token.start)
        elif token.kind is Kind.CLOSE and self._parentheses:
            self._parentheses.pop()
        return token.kind is Kind.SEMICOLON and not self._parentheses and not self._bodies

    def _take_word(self, token: Token, word: str) -> None:
        if self._words < 4:
            self._is_copy = self._is_copy or (not self._words and word == "COPY")
            known = word in ("CREATE", "FUNCTION", "PROCEDURE", "OR", "REPLACE")
            self._head += word[0] if known else "-"
            self._words += 1
        if self._parentheses:
            return
        if self._is_copy:
            self.has_rows = self.has_rows or (self._previous == "FROM" and word in ("STDIN", "STDOUT"))
            self._previous = word
        elif self._head.startswith(("CF", "CP", "CORF", "CORP")):
            if word == "BEGIN" or (word == "CASE" and self._bodies):
                self._bodies.append(token.start)
            elif word == "END" and self._bodies:
                self._bodies.pop()

    def open_part(self) -> tuple[int, str, str] | None:
        if self._parentheses:
            return self._parentheses[0], "the parenthesis (", "close it before the semicolon"
        if self._bodies:
            return self._bodies[0], "this BEGIN or CASE of a function's body", "close it with END"
        return None


class _SQLite:
    """The states of `sqlite3_complete`, with the names used in complete.c."""

    has_rows = False
    # state: {token: next state}, where "" is any other token
    _AFTER: ClassVar[dict[str, dict[str, str]]] = {
        "start": {"EXPLAIN": "explain", "CREATE": "create", "": "normal"},
        "explain": {"CREATE": "create"} | dict.fromkeys(("EXPLAIN", "TEMP", "TEMPORARY", "TRIGGER", "END"), "normal"),
        "create": {"TEMP": "create", "TEMPORARY": "create", "TRIGGER": "trigger", "": "normal"},
        "trigger": {";": "semi", "": "trigger"},
        "semi": {";": "semi", "END": "end", "": "trigger"},
        "end": {"": "trigger"},
    }

    def __init__(self) -> None:
        self._state = "start"
        self._trigger = 0

    def ends(self, token: Token, word: str) -> bool:
        semicolon = token.kind is Kind.SEMICOLON
        if semicolon and self._state not in ("trigger", "semi"):
            return True
        if self._state != "normal":
            after = self._AFTER[self._state]
            state = after.get(";" if semicolon else word) or after.get("", self._state)
            if state == "trigger" and self._state == "create":
                self._trigger = token.start
            self._state = state
        return False

    def open_part(self) -> tuple[int, str, str] | None:
        if self._state in ("trigger", "semi"):
            return self._trigger, "the body of this TRIGGER", "end it with END;"
        return None


class _MySQL:
    """Only the delimiter ends a statement; a routine's body cut off by a delimiter is detected."""

    has_rows = False
    _ROUTINES = ("PROCEDURE", "FUNCTION", "TRIGGER", "EVENT")
    _OTHERS = ("TABLE", "INDEX", "VIEW", "DATABASE", "SCHEMA", "SEQUENCE", "SERVER", "USER", "ROLE")

    def __init__(self) -> None:
        self._first = ""
        self._made = ""  # what CREATE makes
        self._body: int | None = None
        self._last = ""

    def ends(self, token: Token, word: str) -> bool:
        if token.kind is Kind.SEMICOLON:
            return True
        self._last = word
        if word:
            self._take_word(token, word)
        return False

    def _take_word(self, token: Token, word: str) -> None:
        if not self._first:
            self._first = word
        elif self._body is not None:
            return
        elif self._first == "BEGIN" and word == "NOT":  # MariaDB's BEGIN NOT ATOMIC
            self._body = token.start
        elif self._first == "CREATE" and not self._made and word in self._ROUTINES + self._OTHERS:
            self._made = word
        elif self._made in self._ROUTINES and word == "BEGIN":
            self._body = token.start

    def open_part(self) -> tuple[int, str, str] | None:
        if self._body is not None and self._last != "END":
            return self._body, "the body that begins here", "put DELIMITER // before the statement and end it with //"
        return None


_MACHINES: dict[str, Callable[[], _Machine]] = {"postgresql": _PostgreSQL, "sqlite": _SQLite, "mysql": _MySQL}


def pieces(sql: str, dialect: str, *, name: str = "") -> Iterator[Piece]:
    """Yield the statements of a text, in order; empty statements are left out.

    Args:
        sql: The text.
        dialect: A name in `kbstore.migrator.sql.lexer.DIALECTS`.
        name: The file's name, for messages.

    Raises:
        SplitError: A quote, comment, parenthesis or body is never closed, or the text has a command of a database
            shell.
    """
    at = 0
    while at < len(sql):
        following = len(sql)
        reader = _Reader(sql, dialect, name)
        for token in lex(sql, dialect, start=at, name=name):
            piece = reader.take(token)
            if piece is not None:
                yield piece
                if piece.data is not None:
                    following = reader.resume
                    break
        else:
            piece = reader.finish(len(sql))
            if piece is not None:
                yield piece
        at = following


class _Reader:
    """A reader that collects tokens into pieces.

    Attributes:
        resume: The offset after a piece with rows.
    """

    def __init__(self, sql: str, dialect: str, name: str) -> None:
        self.resume = 0
        self._sql = sql
        self._dialect = dialect
        self._name = name
        self._begin()

    def _begin(self) -> None:
        self._machine: _Machine = _MACHINES[self._dialect]()
        self._start: int | None = None
        self._end = 0
        self._words: list[str] = []
        self._in_head = True

    def take(self, token: Token) -> Piece | None:
        """Return the piece that this token ends, or `None`."""
        kind = token.kind
        if kind is Kind.COMMAND:
            self._refuse_command(token)
            return None
        word = self._sql[token.start : token.end].upper() if kind is Kind.WORD else ""
        if self._machine.ends(token, word):
            return self.finish(token.end)
        if self._start is None:
            if kind is Kind.SEMICOLON:
                self._begin()
                return None
            self._start = token.start
        self._end = token.end
        if self._in_head and kind is not Kind.EXECUTED:
            self._in_head = bool(word) and len(self._words) < _WORDS_KEPT
            if self._in_head:
                self._words.append(word)
        return None

    def finish(self, at: int) -> Piece | None:
        """Return the collected piece, which ends at the mark before `at` or at the end of the text; `None` if empty."""
        start, end, words, machine = self._start, self._end, tuple(self._words), self._machine
        self._begin()
        if start is None:
            return None
        if (still_open := machine.open_part()) is not None:
            offset, what, hint = still_open
            raise SplitError(f"{what} is never closed", file=self._name, line=line_at(self._sql, offset), hint=hint)
        data = self._rows(at) if machine.has_rows else None
        return Piece(start, end, words, data)

    def _rows(self, at: int) -> str:
        """Return the rows of COPY ... FROM STDIN after the semicolon that ends at `at`."""
        rest = re.compile(r"[ \t\r]*+(?:--[^\n]*+)?\n").match(self._sql, at)
        mark = re.compile(r"^\\\.\r?$", re.MULTILINE).search(self._sql, rest.end()) if rest else None
        if rest is None or mark is None:
            raise SplitError(
                "the rows of COPY ... FROM STDIN do not follow, or never end",
                file=self._name,
                line=line_at(self._sql, at),
                hint="begin them on the line after the semicolon and end them with a line of \\.",
            )
        self.resume = mark.end()
        return self._sql[rest.end() : mark.start()]

    def _refuse_command(self, token: Token) -> None:
        line_end = self._sql.find("\n", token.start)
        text = self._sql[token.start : line_end if line_end >= 0 else len(self._sql)].strip()
        if text[:9].upper() == "DELIMITER":
            return
        raise SplitError(
            f"{text[:40]!r} is an order to the database's shell, which no server understands",
            file=self._name,
            line=line_at(self._sql, token.start),
            hint="write SQL instead; rows for COPY ... FROM STDIN may stand in the file",
        )
