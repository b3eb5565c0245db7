"""SQL as tokens: just enough to separate code from quotes and comments in each dialect.

The three dialects share one lexer and differ in tables: the kinds of quotes and their ends, the start of a comment,
nesting of comments. Sources: PostgreSQL's `psqlscan.l`, SQLite's `complete.c`, MySQL's `client/mysql.cc`. The lexer
ignores server settings that change the meaning of a quote: it assumes `standard_conforming_strings` on, and `sql_mode`
without NO_BACKSLASH_ESCAPES.

Cost: linear in the text on any input, one or two microseconds per token.
"""

import re
from collections.abc import Iterator
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from kbstore.migrator.errors import MigrationError, SplitError


class Kind(Enum):
    """The kind of a token, as needed to find the end of a statement. Spaces and comments are not tokens."""

    WORD = "word"
    QUOTED = "quoted"
    SEMICOLON = "semicolon"  # or the mark set by MySQL's DELIMITER
    OPEN = "open"
    CLOSE = "close"
    EXECUTED = "executed"  # the two ends of MySQL's /*! ... */, whose inside is code
    COMMAND = "command"  # an order to the shell, not to the server: \copy, .mode, DELIMITER
    OTHER = "other"


class Token(NamedTuple):
    """A piece of the text: `text[start:end]`."""

    kind: Kind
    start: int
    end: int


DIALECTS = ("sqlite", "postgresql", "mysql")
_ALSO_KNOWN_AS = {"mariadb": "mysql", "postgres": "postgresql"}

_SPACE = r" \t\n\r\f\v"
# Letters are ASCII letters, "_" and all characters beyond ASCII. Sets of the other characters compile faster.
_LETTER = r"[^\x00-@\[-^`{-\x7f]"
_LETTER_OR_DIGIT = r"[^\x00-/:-@\[-^`{-\x7f]"
_WORD_PART = r"[^\x00-\x23%-/:-@\[-^`{-\x7f]"  # also a $
_WORD = rf"{_LETTER}{_WORD_PART}*+"
_PLAIN = r"(?:[\x00-\x08\x0e-\x1f!%&+,:<=>?@\]^{|}~\x7f]|/(?!\*)|-(?!-)|\*(?!/))"
"""A character that can only be an operator, in every dialect."""

_DOUBLED = {quote: re.compile(f"[^{quote}]*+(?:{quote}{quote}[^{quote}]*+)*+{quote}") for quote in "'\"`"}
_DOUBLED["["] = re.compile(r"[^\]]*+\]")
_ESCAPED = {q: re.compile(rf"[^{q}\\]*+(?:(?:{q}{q}|\\.)[^{q}\\]*+)*+{q}", re.DOTALL) for q in "'\""}
# In PostgreSQL, a quote on a later line continues the string before it, with the same rules for escapes.
_CONTINUED = re.compile(rf"(?:[ \t\f\v]|--[^\n\r]*+)*+[\n\r](?:[{_SPACE}]|--[^\n\r]*+[\n\r])*+'")
_LONGEST_DELIMITER = 15
_NESTING = re.compile(r"/\*|\*/")

_FIRST = {
    "postgresql": rf"""(?P<space>[{_SPACE}]++)|(?P<comment>--[^\n\r]*+)|(?P<block>/\*)|(?P<escaped>[eE]')
        |(?P<quote>(?:[bBxXnN]|[uU]&)?'|(?:[uU]&)?")|(?P<dollar>\$(?:{_LETTER}{_LETTER_OR_DIGIT}*+)?\$)|(?P<word>{_WORD})
        |(?P<semicolon>;)|(?P<open>\()|(?P<close>\))|(?P<command>\\)|(?P<other>[0-9]++(?:{_WORD})?|{_PLAIN}++|.)""",
    "sqlite": rf"""(?P<space>[{_SPACE}]++)|(?P<comment>--[^\n]*+)|(?P<block>/\*)|(?P<quote>['"`\[])|(?P<word>{_WORD})
        |(?P<semicolon>;)|(?P<open>\()|(?P<close>\))|(?P<command>\.)|(?P<other>[0-9]++(?:{_WORD})?|{_PLAIN}++|.)""",
    # A delimiter ends a statement at any place, even at the end of a word: END$$.
    "mysql": rf"""(?P<semicolon>DELIMITER)|(?P<space>[{_SPACE}]++)|(?P<executed>/\*M?![0-9]*+)|(?P<block>/\*)
        |(?P<comment>\#[^\n]*+|--(?=[\x00-\x20]|\Z)[^\n]*+)|(?P<leave>\*/)|(?P<escaped>['"])|(?P<quote>`)
        |(?P<command>\\|(?i:delimiter)(?=[ \t]))|(?P<word>(?:(?!DELIMITER){_WORD_PART})++)|(?P<open>\()|(?P<close>\))
        |(?P<other>(?:(?!DELIMITER){_PLAIN})++|.)""",
}
"""The pattern for the start of a token; the name of the matching group gives the kind."""


@lru_cache(maxsize=64)
def _first(dialect: str, delimiter: str = ";") -> re.Pattern[str]:
    return re.compile(_FIRST[dialect].replace("DELIMITER", re.escape(delimiter)), re.VERBOSE)


_KINDS = {kind.value: kind for kind in Kind}


def canonical_dialect(name: str) -> str:
    """Return the name in `DIALECTS` for a name in any case; "mariadb" is read as "mysql", "postgres" as "postgresql".

    Raises:
        MigrationError: There is no such dialect here.
    """
    dialect = _ALSO_KNOWN_AS.get(name.lower(), name.lower())
    if dialect not in DIALECTS:
        raise MigrationError(f"unknown dialect {name!r}", hint=f"name one of {', '.join(DIALECTS)}")
    return dialect


def lex(sql: str, dialect: str, *, start: int = 0, name: str = "") -> Iterator[Token]:
    """Yield the tokens of a text from `start` on, in order.

    Args:
        sql: The text.
        dialect: A name in `DIALECTS`.
        start: The offset to begin at; a statement must be able to begin there.
        name: The file's name, for messages.

    Raises:
        SplitError: A quote or a comment is never closed, or a DELIMITER is not valid.
    """
    first = _first(dialect)
    executed: int | None = None  # the offset of the open /*!, if any
    fresh = True  # no token of the statement was found yet
    at = start
    while at < len(sql):
        found = first.match(sql, at)
        if found is None:
            raise SplitError("what begins here is not SQL", file=name, line=line_at(sql, at))
        group, end = found.lastgroup or "", found.end()
        if group == "space" or group == "comment":
            at = end
            continue
        if group == "semicolon" and fresh and executed is None:
            at = end  # an empty statement
            continue
        if group == "block":
            at = _end_of_comment(sql, at, dialect == "postgresql", name)
            continue
        kind = _KINDS.get(group, Kind.QUOTED)
        if group in ("quote", "escaped", "dollar"):
            end = _end_of_quote(sql, found, name)
            if group == "escaped" and dialect == "postgresql":
                while more := _CONTINUED.match(sql, end):
                    end = _end_of_quote(sql, more, name, escaped=True)
        elif group in ("executed", "leave"):
            kind = Kind.EXECUTED if group == "executed" or executed is not None else Kind.OTHER
            executed = at if group == "executed" else None
        elif group == "semicolon":
            kind = kind if executed is None else Kind.OTHER
        elif group == "command" and sql[at] != "\\":
            if not fresh:
                kind = Kind.OTHER if sql[at] == "." else Kind.WORD
            elif dialect == "mysql":
                delimiter, end = _read_delimiter(sql, end, name)
                first = _first("mysql", delimiter)
        yield Token(kind, at, end)
        fresh = kind is Kind.SEMICOLON or kind is Kind.COMMAND
        at = end
    if executed is not None:
        raise _unclosed(sql, executed, "the comment /*!, whose inside is code,", "end it with */", name)


def line_at(sql: str, offset: int) -> int:
    """Return the 1-based line of an offset in a text."""
    return sql.count("\n", 0, offset) + 1


def _end_of_quote(sql: str, opening: re.Match[str], name: str, *, escaped: bool | None = None) -> int:
    """Return the offset after the quoted text that `opening` begins."""
    if opening.lastgroup == "dollar":
        tag = opening.group()
        closing = sql.find(tag, opening.end())
        if closing >= 0:
            return closing + len(tag)
        raise _unclosed(sql, opening.start(), f"the string that {tag} begins", f"end it with {tag}", name)
    quote = sql[opening.end() - 1]
    rules = _ESCAPED if escaped or opening.lastgroup == "escaped" else _DOUBLED
    found = rules[quote].match(sql, opening.end())
    if found is None:
        what = f"the quote {quote}"
        raise _unclosed(sql, opening.end() - 1, what, "close it; a quote inside a quote is written twice", name)
    return found.end()


def _end_of_comment(sql: str, at: int, nests: bool, name: str) -> int:
    """Return the offset after the comment that begins at `at`."""
    if not nests:
        end = sql.find("*/", at + 2)
        if end >= 0:
            return end + 2
    depth = 0
    for mark in _NESTING.finditer(sql, at) if nests else ():
        depth += 1 if mark.group() == "/*" else -1
        if depth == 0:
            return mark.end()
    raise _unclosed(sql, at, "the comment /*", "end it with */" + (", once for each /* in it" * nests), name)


def _read_delimiter(sql: str, at: int, name: str) -> tuple[str, int]:
    """Return the mark set by a DELIMITER line, and the offset of the line's end."""
    end = sql.find("\n", at)
    end = len(sql) if end < 0 else end
    words = sql[at:end].split()
    if not words or len(words[0]) > _LONGEST_DELIMITER or re.search(r"[\\'\"`]|/\*|--|#", words[0]):
        raise SplitError(
            "DELIMITER needs a short mark that ends statements",
            file=name,
            line=line_at(sql, at),
            hint="write DELIMITER //",
        )
    if len(words) > 1 and not words[1].startswith(("--", "#")):
        message = f"{' '.join(words[1:])[:40]!r} follows DELIMITER {words[0]} on its line"
        raise SplitError(message, file=name, line=line_at(sql, at), hint="begin a new line after it")
    return words[0], end


def _unclosed(sql: str, at: int, what: str, hint: str, name: str) -> SplitError:
    return SplitError(f"{what} is never closed", file=name, line=line_at(sql, at), hint=hint)
