"""Which packs a log has: what hints tell, together, and what a listing shows where they tell too little.

A hint is overwritten without a condition, so one that comes late may tell less than the one that it replaces. Packs are
functions of their slots, so of two hints the one that names more packs is right about all of them, and both can be told
as one. Three things keep a loss from lasting:

1. Who did not create every slot since the hint that it knows reads the hint again before it writes one.
2. Who finds far fewer packs named than are due lists what is there.
3. Who found some that way tells of them in a new hint, if it may write.
"""

from collections.abc import Callable, Iterable

from kbstore.backends.s3.format import keys
from kbstore.backends.s3.format.pack import LARGE, SLOTS, SMALL, PackId
from kbstore.backends.s3.format.slot import Run
from kbstore.backends.s3.log.head import MOST_INNER, Hint
from kbstore.backends.s3.transport.client import Client

MISSED = 8 * SMALL
"""So many slots behind all packs that are named are no longer a race with whoever packs them."""
_MOST_INNER_FOUND = 8
_EACH = LARGE // SMALL

Load = Callable[[Iterable[int | PackId]], list[Run]]
"""Reads slots and packs."""


def packed_slots(hint: Hint) -> int:
    """How many slots stand in the packs that a hint names."""
    return len(hint.large) * LARGE + len(hint.small) * SMALL


def merged(one: Hint, other: Hint) -> Hint:
    """What two hints of a log tell together."""
    more, less = (one, other) if packed_slots(one) >= packed_slots(other) else (other, one)
    inner = sorted((dict(less.inner) | dict(more.inner)).items())
    return more._replace(slot=max(one.slot, other.slot), inner=tuple(inner[-MOST_INNER:]))


def listed_packs(client: Client, log: str) -> list[tuple[str, int | None, str]]:
    """Tier, number and key of each pack that there is now."""
    found = []
    for tier in SLOTS:
        folder = keys.pack_key(log, tier, 0).rpartition("/")[0] + "/"
        found += [(tier, keys.number_of(one.key[len(folder) :]), one.key) for one in client.listing(folder)]
    return found


def find_packs(client: Client, log: str, known: Hint, newest: int, load: Load) -> Hint:
    """What is known of packs, with those added that a listing shows.

    Args:
        client: Requests.
        log: The log.
        known: What hints tell.
        newest: The newest slot. A pack of later ones is no pack of this log: on a replica it may come before they do.
        load: Reads slots and packs of the log.
    """

    def numbers(tier: str) -> set[int]:
        folder = keys.pack_key(log, tier, 0).rpartition("/")[0] + "/"
        first = packed_slots(known) // SMALL if tier == "a" else len(known.large)
        after = keys.pack_key(log, tier, first - 1) if first else None
        shown = (keys.number_of(one.key[len(folder) :]) for one in client.listing(folder, after=after))
        return {number for number in shown if number is not None}

    headers, bodies, smalls = client.map(numbers, ["h", "b", "a"])
    large = min(_end(len(known.large), headers & bodies), newest // LARGE)
    small = min(_end(max(packed_slots(known) // SMALL, large * _EACH), smalls), newest // SMALL)
    return _with_packs(known, log, large, small, load) if small * SMALL > packed_slots(known) else known


def _end(number: int, there: set[int]) -> int:
    """The first number from here on that is not there."""
    while number in there:
        number += 1
    return number


def _with_packs(hint: Hint, log: str, large: int, small: int, load: Load) -> Hint:
    """A hint that names so many packs, counted from the first slot, given one that names fewer."""
    grown = range(len(hint.large), large)
    begin = large * _EACH if grown else packed_slots(hint) // SMALL
    slots = [at * LARGE + 1 for at in grown] + [at * SMALL + 1 for at in range(begin, small)]
    *runs, last = load([*slots, small * SMALL])
    firsts = [run.first for run in runs]
    larges = (*hint.large, *firsts[: len(grown)])
    smalls = (*(() if grown else hint.small), *firsts[len(grown) :])
    following = (*larges, *smalls[:1], last.last + 1)
    inner = dict(hint.inner)
    for at in [at for at in grown if following[at + 1] - larges[at] != LARGE][-_MOST_INNER_FOUND:]:
        places = [place for run in load([PackId(log, "h", at)]) for place in run.places]
        inner[at] = tuple(place.first for place in places if place.slot % SMALL == 1)
    newest_inner = tuple(sorted(inner.items())[-MOST_INNER:])
    return Hint(max(hint.slot, small * SMALL), larges, smalls, last.last + 1, newest_inner)
