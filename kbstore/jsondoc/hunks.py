"""The differences between two states: members and array regions with both sides' values."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from kbstore.jsondoc.canonical import JSON


class Hunk(NamedTuple):
    """A difference in an object's member (or in the root).

    Attributes:
        path: Tokens of the member.
        old: The old value, or `MISSING` for an added member.
        new: The new value, or `MISSING` for a removed member.
    """

    path: tuple[str, ...]
    old: JSON
    new: JSON


class Splice(NamedTuple):
    """A difference in a region of an array; several regions of one array are adjacent, in increasing order.

    Attributes:
        path: Tokens of the array.
        old_start: Index of the region in the old array.
        old: The old elements of the region.
        new_start: Index of the region in the new array.
        new: The new elements of the region.
    """

    path: tuple[str, ...]
    old_start: int
    old: list[JSON]
    new_start: int
    new: list[JSON]


Difference: TypeAlias = Hunk | Splice


class Change(NamedTuple):
    """A changed value, for people to read.

    Attributes:
        pointer: The place in the new document; for a removed value, the place in the old document.
        kind: added, removed, modified, or moved (an array element at another place).
        old: The old value, or `MISSING`.
        new: The new value, or `MISSING`.
        address: The same place by identity: the key names an element with a key, such as ``/steps/[id=s3]/text``.
    """

    pointer: str
    kind: Literal["added", "removed", "modified", "moved"]
    old: JSON
    new: JSON
    address: str


def inverse(hunks: Sequence[Difference]) -> list[Difference]:
    """Return the same differences in the other direction, from new to old."""
    return [
        Hunk(hunk.path, hunk.new, hunk.old)
        if isinstance(hunk, Hunk)
        else Splice(hunk.path, hunk.new_start, hunk.new, hunk.old_start, hunk.old)
        for hunk in hunks
    ]


def grouped(hunks: Sequence[Difference]) -> list[Hunk | list[Splice]]:
    """Return the differences in order, with the regions of one array grouped."""
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
