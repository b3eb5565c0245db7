"""The packs of a log: hints name the packs, and a listing completes hints that name too few.

A hint is overwritten without a condition, so a late hint may name fewer packs than the hint before. Packs are functions
of their slots. So of two hints, the hint with more packs is right about all packs, and both can be merged. Three rules
keep a loss from lasting:

1. A writer that did not create every slot since the known hint reads the hint again before writing a new hint.
2. A process that finds far fewer packs named than are due lists the packs.
3. After finding packs by listing, a process names the packs in a new hint, if writing is allowed.
"""

from collections.abc import Callable, Iterable

from kbstore.backends.s3.format import keys
from kbstore.backends.s3.format.pack import LARGE, SLOTS, SMALL, PackId
from kbstore.backends.s3.format.slot import Run
from kbstore.backends.s3.log.head import MOST_INNER, Hint
from kbstore.backends.s3.transport.client import Client

MISSED = 8 * SMALL
"""If this many slots come after all named packs, the cause is no longer a race with the compactor."""
_MOST_INNER_FOUND = 8
_EACH = LARGE // SMALL

Load = Callable[[Iterable[int | PackId]], list[Run]]
"""Reads slots and packs."""


def packed_slots(hint: Hint) -> int:
    """Return how many slots the packs in a hint hold."""
    return len(hint.large) * LARGE + len(hint.small) * SMALL


def merged(one: Hint, other: Hint) -> Hint:
    """Return two hints of a log as one."""
    more, less = (one, other) if packed_slots(one) >= packed_slots(other) else (other, one)
    inner = sorted((dict(less.inner) | dict(more.inner)).items())
    return more._replace(slot=max(one.slot, other.slot), inner=tuple(inner[-MOST_INNER:]))


def listed_packs(client: Client, log: str) -> list[tuple[str, int | None, str]]:
    """Return tier, number and key of each existing pack; the number is None if the key is not a pack's."""
    found = []
    for tier in SLOTS:
        folder = keys.pack_key(log, tier, 0).rpartition("/")[0] + "/"
        found += [(tier, keys.number_of(one.key[len(folder) :]), one.key) for one in client.listing(folder)]
    return found


def find_packs(client: Client, log: str, known: Hint, newest: int, load: Load) -> Hint:
    """Return the known packs, and the packs in a listing, as a hint.

    Args:
        client: Client for the store.
        log: Name of the log.
        known: The packs in hints.
        newest: The newest slot. Packs of later slots are ignored: on a replica, a pack may arrive before its slots.
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
    """Return the first number, from `number` on, that is missing."""
    while number in there:
        number += 1
    return number


def _with_packs(hint: Hint, log: str, large: int, small: int, load: Load) -> Hint:
    """Return a hint with `large` and `small` packs, counted from the first slot, from a hint with fewer packs."""
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
