"""Objects of a schema, as the readers of the databases return objects, and the connection used by a reader."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from kbstore.migrator.sql.lexer import Kind, lex

Attributes = dict[str, Any]
"""The attributes of an object: names to texts, booleans, or lists of texts. Attributes survive JSON unchanged."""


class Item(NamedTuple):
    """An object of a schema.

    Attributes:
        kind: "table", "column", "constraint", "index", "view", "trigger", "function", "sequence", ... in the words of
            people.
        name: The object's name; for a column or constraint, with the table's name in front.
        attributes: The known attributes. "table" names the table of the object.
    """

    kind: str
    name: str
    attributes: Attributes


class Cursor(Protocol):
    """The part of PEP 249's cursor that the readers use."""

    def execute(self, operation: str, *parameters: Any) -> object:
        """Run a query."""

    def fetchall(self) -> Sequence[Any]:
        """Return all rows, each a sequence."""

    def close(self) -> None:
        """Free the resources of the cursor."""


class Connection(Protocol):
    """The part of PEP 249's connection that the readers use. Rows are tuples."""

    def cursor(self) -> Any:
        """Return a new cursor."""


Reader = Callable[[Connection], Iterator[Item]]


def rows(connection: Connection, query: str, *parameters: Sequence[Any]) -> list[Sequence[Any]]:
    """Return all rows of a query. Takes at most one sequence of parameters, in the driver's style."""
    cursor: Cursor = connection.cursor()
    try:
        cursor.execute(query, *parameters)
        return list(cursor.fetchall())
    finally:
        cursor.close()


def normal_sql(sql: str, dialect: str) -> str:
    """Return SQL on one line, without comments and needless quotes, so that the layout makes no difference."""
    shown, tight = "", True
    for token in lex(sql, dialect):
        text = sql[token.start : token.end]
        if token.kind is Kind.QUOTED and text[0] in '"`[' and text[1:-1].isidentifier():
            text = text[1:-1]
        shown += text if tight or text in (",", ")", ".") else f" {text}"
        tight = text in ("(", ".")
    return shown
