"""Finding the newest slot of a log: probes of the next slots, from a hint that is never trusted.

Slots are dense, so the newest slot has no successor. Warm, one probe is enough. Cold, a hint (a recent
position of the head) is followed by probes of that slot and the nine next slots at once. If all exist, a LIST jumps
ahead, and probes find the end again, since a listing may be behind the truth.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import orjson

from kbstore.backends.s3.format import container, keys
from kbstore.backends.s3.format.container import Incomplete
from kbstore.backends.s3.format.pack import LARGE, SMALL
from kbstore.backends.s3.transport.client import Client
from kbstore.kit.errors import CorruptStore

KIND = b"hint1"
WINDOW = 8
"""How many slots after a known slot are found at once; a further slot is probed, to see the end."""
_LIST_PAGES = 2
_GALLOP = 24


class Hint(NamedTuple):
    """State of a log when the hint was written.

    Attributes:
        slot: The newest slot.
        large: Number of the first record of each pack of tiers ``h`` and ``b``, in order.
        small: Number of the first record of each later pack of tier ``a``, in order.
        next: Number of the first record after all packs.
        inner: For the newest large packs in which not every slot holds one record: number of the pack, and the numbers
            of the first records of the small packs of the same slots.
    """

    slot: int = 0
    large: tuple[int, ...] = ()
    small: tuple[int, ...] = ()
    next: int = 1
    inner: tuple[tuple[int, tuple[int, ...]], ...] = ()


NO_HINT = Hint()
MOST_INNER = 64
"""Most large packs with first records of small packs in a hint."""


def encode_hint(log: str, hint: Hint) -> bytes:
    """Return the object of a hint."""
    fields = {"log": log, "slot": hint.slot, "next": hint.next}
    packed = orjson.dumps([hint.large, hint.small, hint.inner[-MOST_INNER:]])
    return container.pack(KIND, fields, [("p", packed, None)])


def decode_hint(log: str, data: bytes) -> Hint:
    """Return the hint in an object; `NO_HINT` if the object is damaged or of another log."""
    try:
        contents = container.unpack(KIND, data, "the hint")
        large, small, inner = orjson.loads(container.part_in(contents.parts[0], data, "the hint"))
        told = contents.description
        if told["log"] != log:
            return NO_HINT
        inside = tuple((int(at), tuple(map(int, starts))) for at, starts in inner)
        hint = Hint(int(told["slot"]), tuple(map(int, large)), tuple(map(int, small)), int(told["next"]), inside)
    except (CorruptStore, Incomplete, ValueError, TypeError, KeyError, IndexError):
        return NO_HINT
    starts = (*hint.large, *hint.small, hint.next)
    rising = all(a < b for a, b in zip((0, *starts), starts, strict=False)) and starts[0] == 1
    return hint if rising and len(hint.large) * LARGE + len(hint.small) * SMALL <= hint.slot else NO_HINT


def as_far_as(hint: Hint, slot: int) -> Hint:
    """Return the part of a hint that is valid for a log up to this slot.

    A hint may arrive before the slots, and then names missing slots.
    """
    if hint.slot <= slot:
        return hint
    large = min(len(hint.large), slot // LARGE)
    small = min(len(hint.small), slot // SMALL - large * (LARGE // SMALL)) if large == len(hint.large) else 0
    following = (*hint.large, *hint.small, hint.next)[large + small]
    inner = tuple(one for one in hint.inner if one[0] < large)
    return Hint(slot, hint.large[:large], hint.small[:small], following, inner)


Probe = Callable[[Sequence[int]], set[int]]
"""Reads and remembers the existing slots among the given slots, and returns their numbers."""


def newest_slot(
    probe: Probe,
    jump: Callable[[int], tuple[int, bool]],
    begin: Callable[[Sequence[int]], tuple[set[int], int]],
    known: int,
    hinted: int,
) -> int:
    """Return the newest slot of a log.

    Slots after a gap count: missing slots are damage, and not the end.

    Args:
        probe: Returns which slots exist.
        jump: Returns the highest slot in a listing after a given slot, and whether the listing is complete.
        begin: Called if no slot is known; returns which of the given slots exist, and the highest slot in a listing.
        known: A certainly existing slot; 0 if unknown.
        hinted: A possibly existing slot; 0 if unknown.
    """
    low = known
    if known:
        if not probe([known + 1]):
            return known
        low = known + 1
    elif hinted:
        window = range(hinted, hinted + WINDOW + 2)
        found = probe(window)
        low = max(found, default=0)
        if found and window[-1] not in found:
            return low
        if found:
            low = _jumped(probe, jump, low)
    if not low:
        window = range(1, WINDOW + 2)
        found, shown = begin(window)
        low = max(found, default=0)
        if shown <= low < window[-1]:
            return low
        low = max(low, shown)
    while True:
        # The window begins with the listed slot, since that slot must be read too.
        window = range(low, low + WINDOW + 2)
        found = probe(window)
        if window[-1] not in found:
            return max(found, default=low)
        low = _jumped(probe, jump, max(found))


def _jumped(probe: Probe, jump: Callable[[int], tuple[int, bool]], low: int) -> int:
    """Return an existing slot far ahead of `low`, as far as a listing shows."""
    for _ in range(_LIST_PAGES):
        shown, whole = jump(low)
        low = max(low, shown)
        if whole:
            return low
    # More pages than are worth listing: double the step until no slot exists, then close in from both sides.
    steps = [low + (1 << k) for k in range(6, 6 + _GALLOP)]
    there = probe(steps)
    high = min((s for s in steps if s not in there and all(t < s for t in there)), default=steps[-1])
    low = max(there, default=low)
    while high - low > WINDOW:
        gap = max(1, (high - low) // 16)
        inner = range(low + gap, high, gap)
        there = probe(inner)
        if there:
            low = max(there)
        high = min((s for s in inner if s > low), default=high)
    return low


def read_hint(client: Client, log: str) -> Hint:
    """Return the hint of a log; `NO_HINT` if the log has no hint."""
    got = client.get(keys.hint_key(log))
    return decode_hint(log, got.data) if got is not None else NO_HINT
