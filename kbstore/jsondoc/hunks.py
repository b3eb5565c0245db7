"""What differs between two states, as found: members and array regions with both sides' values."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from kbstore.jsondoc.canonical import JSON


class Hunk(NamedTuple):
    """An object's member (or the root) that differs.

    Attributes:
        path: Its tokens.
        old: The old value, or `MISSING` where it was added.
        new: The new value, or `MISSING` where it was removed.
    """

    path: tuple[str, ...]
    old: JSON
    new: JSON


class Splice(NamedTuple):
    """A region of an array that differs; several of one array stand next to each other, in increasing order.

    Attributes:
        path: Tokens of the array.
        old_start: Index of the region in the old array.
        old: Its elements there.
        new_start: Index of the region in the new array.
        new: Its elements there.
    """

    path: tuple[str, ...]
    old_start: int
    old: list[JSON]
    new_start: int
    new: list[JSON]


Difference: TypeAlias = Hunk | Splice


class Change(NamedTuple):
    """One changed value, for people to read.

    Attributes:
        pointer: Where it stands in the new document; for what was removed, where it stood in the old one.
        kind: added, removed, modified, or moved (an array element that stands elsewhere).
        old: The old value, or `MISSING`.
        new: The new value, or `MISSING`.
        address: The same place by identity: elements that have a key are named by it, such as ``/steps/[id=s3]/text``.
    """

    pointer: str
    kind: Literal["added", "removed", "modified", "moved"]
    old: JSON
    new: JSON
    address: str


def inverse(hunks: Sequence[Difference]) -> list[Difference]:
    """The same differences seen from the other side."""
    return [
        Hunk(hunk.path, hunk.new, hunk.old)
        if isinstance(hunk, Hunk)
        else Splice(hunk.path, hunk.new_start, hunk.new, hunk.old_start, hunk.old)
        for hunk in hunks
    ]


def grouped(hunks: Sequence[Difference]) -> list[Hunk | list[Splice]]:
    """The differences in order, regions of one array together."""
    groups: list[Hunk | list[Splice]] = []
    for hunk in hunks:
        if isinstance(hunk, Hunk):
            groups.append(hunk)
            continue
        last = groups[-1] if groups else None
        if isinstance(last, list) and last[0].path == hunk.path:
            last.append(hunk)
        else:
            groups.append([hunk])
    return groups
