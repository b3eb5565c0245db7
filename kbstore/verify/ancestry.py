"""Looks for an event among the ancestors of another one, by every parent that the headers name."""

from collections.abc import Iterable, Mapping


def distances(newest: str, parents: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """Return each ancestor of an event with the fewest steps from child to parent that lead to it; itself with 0.

    Args:
        newest: Id of the event; where there is none (empty), nothing is its ancestor.
        parents: The parents of each event that is there, by id. An id that is only named by a child is not an
            ancestor, since nothing is known of the event.
    """
    found = {newest: 0} if newest in parents else {}
    row = list(found)
    steps = 0
    while row:
        steps += 1
        above = {parent for child in row for parent in parents[child] if parent in parents and parent not in found}
        found.update(dict.fromkeys(above, steps))
        row = list(above)
    return found
