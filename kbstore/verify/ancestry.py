"""Search for an event among the ancestors of another event, by all parents that the headers name."""

from collections.abc import Iterable, Mapping


def distances(newest: str, parents: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """Return the ancestors of an event, each with the fewest steps from child to parent; the event itself has 0.

    Args:
        newest: Id of the event; an empty id has no ancestors.
        parents: The parents of each known event, by id. An id that only a child names is not an ancestor, since nothing
            is known of the event.
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
