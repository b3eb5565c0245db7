"""Which lines of a text changed, with their neighbours: what `diff -u` and multi-line strings are made of."""

from collections.abc import Sequence
from typing import NamedTuple

from kbstore.jsondoc.lcs import align


class Region(NamedTuple):
    """Lines that were exchanged; line numbers count from 0.

    Attributes:
        old_start: First line of the old text.
        old_end: Line after the last one.
        new_start: First line of the new text.
        new_end: Line after the last one.
    """

    old_start: int
    old_end: int
    new_start: int
    new_end: int


def regions(old: Sequence[str], new: Sequence[str]) -> list[Region]:
    """Where two texts differ, in order. Near-linear, as `align` is."""
    found: list[Region] = []
    left = right = 0
    for start, other, length in [*align(old, new), (len(old), len(new), 0)]:
        if start > left or other > right:
            found.append(Region(left, start, right, other))
        left, right = start + length, other + length
    return found


def hunks(old: Sequence[str], new: Sequence[str], context: int) -> list[list[Region]]:
    """The regions, gathered where less than two contexts of lines lie between them."""
    gathered: list[list[Region]] = []
    for region in regions(old, new):
        if gathered and region.old_start - gathered[-1][-1].old_end <= 2 * context:
            gathered[-1].append(region)
        else:
            gathered.append([region])
    return gathered
