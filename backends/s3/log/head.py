"""Finding the newest slot of a log: probes of the next slots, from a hint that is never trusted.

Slots are dense, so the newest is the one whose successor does not exist. Warm, one probe tells. Cold, a hint (where the
head was not long ago) is followed by probes of it and the eight slots behind it at once; if all are there, a LIST jumps
ahead, and probes settle it again, since a listing may be behind the truth.
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
"""How many slots behind what is known are probed at once."""
_LIST_PAGES = 2
_GALLOP = 24


class Hint(NamedTuple):
    """Where a log stood when this was written.

    Attributes:
        slot: Its newest slot.
        large: Number of the first record of each pack of tiers ``h`` and ``b``, in order.
        small: The same for the packs of tier ``a`` behind those.
        next: Number of the first record behind all packs.
        inner: For the newest large packs whose slots hold other than one record each: their number, and the numbers of
            the first records of the small packs of the same slots.
    """

    slot: int = 0
    large: tuple[int, ...] = ()
    small: tuple[int, ...] = ()
    next: int = 1
    inner: tuple[tuple[int, tuple[int, ...]], ...] = ()


NO_HINT = Hint()
MOST_INNER = 64
"""Of so many large packs a hint tells what small ones begin with."""


def encode_hint(log: str, hint: Hint) -> bytes:
    """The object of a hint."""
    fields = {"log": log, "slot": hint.slot, "next": hint.next}
    packed = orjson.dumps([hint.large, hint.small, hint.inner[-MOST_INNER:]])
    return container.pack(KIND, fields, [("p", packed, None)])


def decode_hint(log: str, data: bytes) -> Hint:
    """A hint; `NO_HINT` where it is damaged or of another log."""
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
    """What a hint says of a log that ends at this slot; one that arrived before the log promises what is not there."""
    if hint.slot <= slot:
        return hint
    large = min(len(hint.large), slot // LARGE)
    small = min(len(hint.small), slot // SMALL - large * (LARGE // SMALL)) if large == len(hint.large) else 0
    following = (*hint.large, *hint.small, hint.next)[large + small]
    inner = tuple(one for one in hint.inner if one[0] < large)
    return Hint(slot, hint.large[:large], hint.small[:small], following, inner)


Probe = Callable[[Sequence[int]], set[int]]
"""Which of these slots exist; reads and remembers those that do."""


def newest_slot(
    probe: Probe,
    jump: Callable[[int], tuple[int, bool]],
    begin: Callable[[Sequence[int]], tuple[set[int], int]],
    known: int,
    hinted: int,
) -> int:
    """The newest slot of a log.

    What stands behind a gap counts: slots that are gone are damage, and no end.

    Args:
        probe: Tells which slots exist.
        jump: The highest slot that a listing after a given one shows, and whether it shows all.
        begin: Asked where nothing is known: which of these slots exist, and the highest one that a listing shows.
        known: A slot that exists for certain; 0 for none.
        hinted: A slot that may exist.
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
        # With the one that was listed, since it is to be read.
        window = range(low, low + WINDOW + 2)
        found = probe(window)
        if window[-1] not in found:
            return max(found, default=low)
        low = _jumped(probe, jump, max(found))


def _jumped(probe: Probe, jump: Callable[[int], tuple[int, bool]], low: int) -> int:
    """Far ahead of a slot that exists, to one that exists as far as a listing tells."""
    for _ in range(_LIST_PAGES):
        shown, whole = jump(low)
        low = max(low, shown)
        if whole:
            return low
    # A listing of pages without end: double the step until nothing is there, then close in from both sides.
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
    """The hint of a log; `NO_HINT` where there is none."""
    got = client.get(keys.hint_key(log))
    return decode_hint(log, got.data) if got is not None else NO_HINT
