"""Checking every byte of a store (thin: SQLite's own check)."""

from collections.abc import Iterator

from backends.contract import Damage
from backends.sqlite.connection import Connection


def check(owner: Connection) -> Iterator[Damage]:
    """See `Backend.check`."""
    with owner.reading() as connection:
        found = [bytes(text).decode(errors="replace") for (text,) in connection.execute("PRAGMA integrity_check")]
    yield from (Damage(text, cache=False) for text in found if text != "ok")
