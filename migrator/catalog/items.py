"""One object of a schema, as each database's reader gives it, and what a reader needs of a connection."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from kbstore.migrator.sql.lexer import Kind, lex

Attributes = dict[str, Any]
"""What is known of an object: names to texts, booleans, or lists of texts. It survives JSON unchanged."""


class Item(NamedTuple):
    """An object of a schema.

    Attributes:
        kind: "table", "column", "constraint", "index", "view", "trigger", "function", "sequence", ... as people say it.
        name: Its name; a column's and a constraint's with its table before it.
        attributes: What is known of it. "table" names the table to which it belongs.
    """

    kind: str
    name: str
    attributes: Attributes


class Cursor(Protocol):
    """The part of PEP 249's cursor that is used here."""

    def execute(self, operation: str, *parameters: Any) -> object:
        """Run a query."""

    def fetchall(self) -> Sequence[Any]:
        """All rows, each a sequence."""

    def close(self) -> None:
        """Free what it holds."""


class Connection(Protocol):
    """The part of PEP 249's connection that is used here. Rows are tuples."""

    def cursor(self) -> Any:
        """A new cursor."""


Reader = Callable[[Connection], Iterator[Item]]


def rows(connection: Connection, query: str, *parameters: Sequence[Any]) -> list[Sequence[Any]]:
    """All rows of a query; at most one sequence of parameters, in the driver's style."""
    cursor: Cursor = connection.cursor()
    try:
        cursor.execute(query, *parameters)
        return list(cursor.fetchall())
    finally:
        cursor.close()


def normal_sql(sql: str, dialect: str) -> str:
    """SQL on one line, without comments and needless quotes, so that its layout makes no difference."""
    shown, tight = "", True
    for token in lex(sql, dialect):
        text = sql[token.start : token.end]
        if token.kind is Kind.QUOTED and text[0] in '"`[' and text[1:-1].isidentifier():
            text = text[1:-1]
        shown += text if tight or text in (",", ")", ".") else f" {text}"
        tight = text in ("(", ".")
    return shown
