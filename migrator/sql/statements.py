"""Split a file's SQL into statements, to be sent one by one.

The transaction of a migration belongs to migrator, since the history is written in the same transaction. So a statement
that begins or ends a transaction is refused here, before anything runs. Inside of functions and DO blocks the server
refuses such a statement.
"""

import re
from typing import NamedTuple

from kbstore.migrator.errors import SplitError
from kbstore.migrator.sql.lexer import canonical_dialect, line_at
from kbstore.migrator.sql.splitter import pieces

_CONTROL = frozenset({"BEGIN", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE", "XA"})
_CONTROL_PAIRS = frozenset(
    {("START", "TRANSACTION"), ("PREPARE", "TRANSACTION"), ("SET", "AUTOCOMMIT"), ("SET", "TRANSACTION")}
)


# Settings that need other rules than the rules of `kbstore.migrator.sql.lexer`.
_OTHER_QUOTES = re.compile(
    r"(?i)\bstandard_conforming_strings\b[\s=']*(?:to\b[\s']*)?(?:off|false|no|0)\b|\b(?:NO_BACKSLASH_ESCAPES|ANSI_QUOTES)\b"
)


class Statement(NamedTuple):
    """One statement of a file.

    Attributes:
        text: The text to send, from the first word to the last token, without surrounding comments and semicolon.
        line: The 1-based line of the first word.
        words: The first words, in upper case, at most eight, up to the first token of another kind.
        data: The rows after PostgreSQL's COPY ... FROM STDIN, for the driver's copy; `None` for every other statement.
    """

    text: str
    line: int
    words: tuple[str, ...]
    data: str | None = None


def split_statements(sql: str, dialect: str) -> list[str]:
    """Return the texts of a file's statements, in order.

    Args:
        sql: The file's text.
        dialect: "sqlite", "postgresql", "mysql" or "mariadb".

    Raises:
        SplitError: As `split`; and for rows after COPY ... FROM STDIN, since a list of texts would lose the rows.
    """
    statements = split(sql, dialect)
    for statement in statements:
        if statement.data is not None:
            hint = "call kbstore.migrator.sql.statements.split, whose statements carry them"
            raise SplitError("rows of COPY ... FROM STDIN are no statement", line=statement.line, hint=hint)
    return [statement.text for statement in statements]


def split(sql: str, dialect: str, *, name: str = "") -> list[Statement]:
    """Return a file's statements, in order, without empty statements. Cost: linear, some microseconds per token.

    Args:
        sql: The file's text; a byte order mark at the start is skipped.
        dialect: "sqlite", "postgresql", "mysql" or "mariadb".
        name: The file's name, for messages.

    Raises:
        SplitError: A quote, comment, parenthesis or body is never closed; or the text contains a command of a database
            shell (`\\copy`, `.mode`), a NUL, a statement that begins or ends a transaction, or a setting that changes
            the meaning of quotes.
    """
    dialect = canonical_dialect(dialect)
    if "\0" in sql:
        raise SplitError("the text holds a NUL character", file=name, line=line_at(sql, sql.index("\0")))
    sql = sql.removeprefix("\ufeff")
    statements = []
    line, counted = 1, 0
    for piece in pieces(sql, dialect, name=name):
        line += sql.count("\n", counted, piece.start)
        counted = piece.start
        text = sql[piece.start : piece.end]
        _refuse_transaction_control(piece.words, dialect, name, line)
        if piece.words[:1] == ("SET",) and _OTHER_QUOTES.search(text):
            message = "this setting changes what a quote or a backslash means for the rest of the file"
            hint = "leave it out; E'...' takes backslashes in PostgreSQL"
            raise SplitError(message, file=name, line=line, hint=hint)
        statements.append(Statement(text, line, piece.words, piece.data))
    return statements


def is_transaction_control(words: tuple[str, ...], dialect: str) -> bool:
    """Return whether a statement with these first words begins, ends or divides a transaction."""
    if dialect == "mysql" and words[:2] == ("BEGIN", "NOT"):
        return False  # MariaDB's compound statement
    return bool(words) and (words[0] in _CONTROL or words[:2] in _CONTROL_PAIRS)


def _refuse_transaction_control(words: tuple[str, ...], dialect: str, name: str, line: int) -> None:
    if is_transaction_control(words, dialect):
        raise SplitError(
            f"{' '.join(words[:2])} controls a transaction, and the migration runs in one that is not its own",
            file=name,
            line=line,
            hint="take it out; a migration that cannot run in one transaction says -- migrator: transaction=off",
        )
