"""Describe the differences between two snapshots, with the name of each object."""

from collections.abc import Iterator
from typing import NamedTuple

from kbstore.migrator.catalog.items import Attributes
from kbstore.migrator.catalog.snapshot import Snapshot


class Difference(NamedTuple):
    """An object that differs from the expected schema.

    Attributes:
        kind: "table", "column", "index", ...
        name: The name in the snapshot.
        change: "missing", "added" or "changed".
        message: The difference as a sentence without a full stop.
    """

    kind: str
    name: str
    change: str
    message: str


def compare(expected: Snapshot, live: Snapshot) -> list[Difference]:
    """Return the differences of `live` from `expected`; empty if both are equal.

    Parts of a missing or added table are not listed beside the table. Tables come first, then the other kinds by name.
    """
    return [
        *_of_kind("table", expected, live),
        *(
            difference
            for kind in sorted({*expected, *live} - {"table"})
            for difference in _of_kind(kind, expected, live)
        ),
    ]


def _of_kind(kind: str, expected: Snapshot, live: Snapshot) -> Iterator[Difference]:
    before, after = expected.get(kind, {}), live.get(kind, {})
    for name in sorted({*before, *after}):
        if name not in after:
            if _has_table(before[name], live):
                yield Difference(kind, name, "missing", f"{_named(kind, name, before[name])} {_gone(kind)}")
        elif name not in before:
            if _has_table(after[name], expected):
                yield Difference(kind, name, "added", f"{_named(kind, name, after[name])} was added")
        elif before[name] != after[name]:
            change = _change(before[name], after[name])
            yield Difference(kind, name, "changed", f"{_named(kind, name, after[name])} {change}")


def _has_table(attributes: Attributes, snapshot: Snapshot) -> bool:
    """Return whether an object belongs to no table, or to a table in the snapshot."""
    table = attributes.get("table")
    tables = [*snapshot.get("table", ()), *snapshot.get("view", ()), *snapshot.get("foreign table", ())]
    return table is None or table in tables


def _named(kind: str, name: str, attributes: Attributes) -> str:
    table = attributes.get("table")
    if table is None or name.startswith((f"{table}.", f"{table} ")):
        return f"{kind} {name}"
    return f"{kind} {name} on {table}"


def _gone(kind: str) -> str:
    return "is missing" if kind == "table" else "was dropped"


def _change(before: Attributes, after: Attributes) -> str:
    """Describe the changes in an object's attributes."""
    if before.get("valid") and after.get("valid") is False:
        return "is INVALID"
    parts = []
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        if key == "nullable":
            parts.append("became nullable" if new else "became NOT NULL")
        elif key == "default" and old is None:
            parts.append(f"has the default {_shown(new)}")
        elif key == "default" and new is None:
            parts.append(f"lost its default {_shown(old)}")
        else:
            parts.append(f"changed its {key} from {_shown(old)} to {_shown(new)}")
    return " and ".join(parts)


def _shown(value: object) -> str:
    if isinstance(value, list):
        return "(" + ", ".join(map(str, value)) + ")"
    return "nothing" if value is None else " ".join(str(value).split())
