"""Changed lines of a text with context, for `diff -u` and for multi-line strings."""

from collections.abc import Sequence
from typing import NamedTuple

from kbstore.jsondoc.lcs import align


class Region(NamedTuple):
    """A range of replaced lines; line numbers count from 0.

    Attributes:
        old_start: First line in the old text.
        old_end: Line after the last line.
        new_start: First line in the new text.
        new_end: Line after the last line.
    """

    old_start: int
    old_end: int
    new_start: int
    new_end: int


def regions(old: Sequence[str], new: Sequence[str]) -> list[Region]:
    """Return the regions that differ between two texts, in order. Cost: near-linear, as `align`."""
    found: list[Region] = []
    left = right = 0
    for start, other, length in [*align(old, new), (len(old), len(new), 0)]:
        if start > left or other > right:
            found.append(Region(left, start, right, other))
        left, right = start + length, other + length
    return found


def hunks(old: Sequence[str], new: Sequence[str], context: int) -> list[list[Region]]:
    """Return the regions in groups; regions with at most two contexts of lines in between share a group."""
    gathered: list[list[Region]] = []
    for region in regions(old, new):
        if gathered and region.old_start - gathered[-1][-1].old_end <= 2 * context:
            gathered[-1].append(region)
        else:
            gathered.append([region])
    return gathered
