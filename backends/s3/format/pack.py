"""Packs: copies of many slots in one object, so that a long log is read with few requests.

Tier ``a`` holds all content of 32 slots. Tiers ``h`` and ``b`` hold the headers, and the bodies and chunks, of 1,024
slots. Large content is not copied; the pack refers to the other object instead. A pack is a function of its slots, so
every writer makes the same bytes, and making a pack twice does no harm.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from kbstore.backends import packing
from kbstore.backends.s3.format import container, keys
from kbstore.backends.s3.format.slot import (
    Bodies,
    ChunkPiece,
    Piece,
    Place,
    Run,
    dumps_compact,
    loads_compact,
    piece_at,
)
from kbstore.kit.errors import CorruptStore

KIND = b"pack1"
SMALL: Final = 32
"""Slots in a pack of tier ``a``."""
LARGE: Final = 1024
"""Slots in a pack of tiers ``h`` and ``b``."""
SLOTS: Final = {"a": SMALL, "h": LARGE, "b": LARGE}
_COPIED_BYTES = 256 * 1024
_GROUP_RAW_BYTES = 64 * 1024


class PackId(NamedTuple):
    """Name of a pack: number i of tier ``a`` holds slots 32 i + 1 to 32 (i + 1), and so on."""

    log: str
    tier: str
    at: int

    @property
    def key(self) -> str:
        """Return the key of the pack."""
        return keys.pack_key(*self)

    @property
    def slots(self) -> range:
        """Return the slots that the pack holds."""
        size = SLOTS[self.tier]
        return range(self.at * size + 1, (self.at + 1) * size + 1)


def pack_of(log: str, key: str) -> PackId | None:
    """Return the pack of a log with this key; None if the key does not name a pack of the log."""
    _, _, rest = key.partition(f"pack/{keys.log_segment(log)}/")
    tier, _, number = rest.partition("/")
    at = keys.number_of(number)
    return PackId(log, tier, at) if tier in SLOTS and at is not None else None


class PackedBodies(NamedTuple):
    """Bodies for a pack: the bytes, or a piece of another object with the bytes."""

    first: int
    records: int
    raw: list[bytes]
    piece: Piece | None


class PackedChunks(NamedTuple):
    """Chunks for a pack: directory and frame, or a piece of another object with both."""

    directory_bytes: int
    data: bytes
    piece: Piece | None


def is_copied(size: int) -> bool:
    """Return whether content of this size is copied into packs; a pack refers to larger content."""
    return size <= _COPIED_BYTES


def encode_pack(
    ident: PackId,
    places: Sequence[Place],
    headers: Sequence[bytes] | None,
    sizes: Sequence[int],
    bodies: Iterable[PackedBodies] = (),
    chunks: Sequence[PackedChunks] = (),
    leads: bytes = b"",
) -> bytes:
    """Return the object of a pack; without headers if `headers` is None."""
    told = {
        "slots": [
            [p.slot, p.first, p.records, [list(w) for w in p.writes] if headers is not None else []] for p in places
        ],
        "headers": [len(h) for h in headers] if headers is not None else [],
        "bodies": list(sizes),
    }
    parts: list[tuple[str, bytes, Any]] = [("s", dumps_compact(told), None)]
    if headers is not None:
        parts.append(("h", packing.compress(b"".join(headers), packing.FRESH_LEVEL), None))
    if leads:
        parts.append(("d", leads, None))
    for group in _regrouped(bodies):
        if group.piece is None:
            parts.append(
                ("b", packing.compress(b"".join(group.raw), packing.FRESH_LEVEL), [group.first, group.records])
            )
        else:
            parts.append(("b", b"", [group.first, group.records, *_reference(group.piece)]))
    for chunk in chunks:
        if chunk.piece is None:
            parts.append(("c", chunk.data, [chunk.directory_bytes]))
        else:
            parts.append(("c", b"", [chunk.directory_bytes, *_reference(chunk.piece)]))
    return container.pack(KIND, {"log": ident.log, "tier": ident.tier, "index": ident.at}, parts)


def decode_pack(ident: PackId, data: bytes) -> Run:
    """Decode a pack from the beginning of its object.

    Raises:
        Incomplete: More of the object is needed.
        CorruptStore: The pack is damaged, or the object holds another pack.
    """
    where = f"pack {ident.tier}/{ident.at} of log {ident.log}"
    contents = container.unpack(KIND, data, where)
    try:
        told = contents.description
        if (told["log"], told["tier"], told["index"]) != tuple(ident):
            raise CorruptStore(f"{where} holds another pack", hint="run: kbstore gc")
        inside = loads_compact(container.part_in(contents.parts[0], data, where))
        places = [
            Place(container.count(s), container.count(f), container.count(n), _writes(w))
            for s, f, n, w in inside["slots"]
        ]
        header_sizes, body_sizes = container.counts(inside["headers"]), container.counts(inside["bodies"])
        headers: list[bytes] = []
        rest = contents.parts[1:]
        if ident.tier != "b":
            raw = packing.decompress(container.part_in(rest[0], data, where), size=sum(header_sizes))
            start = 0
            for size in header_sizes:
                headers.append(raw[start : start + size])
                start += size
            rest = rest[1:]
        bodies, chunks, leads = [], [], None
        for part in rest:
            if part.name == "d":
                leads = Piece(ident.key, part.start, part.size, part.digest)
                continue
            detail = part.detail
            skip = 2 if part.name == "b" else 1
            piece = Piece(ident.key, part.start, part.size, part.digest)
            if len(detail) > skip:
                piece = piece_at(*detail[skip:])
            if part.name == "b":
                bodies.append(Bodies(container.count(detail[0]), container.count(detail[1]), piece))
            else:
                chunks.append(ChunkPiece(container.count(detail[0]), piece))
        run = Run(ident.log, places, headers, body_sizes, bodies, chunks, data, ident.key, contents.size, leads)
        _check(run, ident, where)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as fault:
        raise CorruptStore(f"{where} is malformed: {fault!r}", hint="run: kbstore gc") from None
    return run


def _check(run: Run, ident: PackId, where: str) -> None:
    expected = run.places[0].first
    count = sum(place.records for place in run.places)
    sound = [place.slot for place in run.places] == list(ident.slots) and len(run.sizes) == count
    for place in run.places:
        sound = sound and place.first == expected
        expected += place.records
    if ident.tier != "b":
        sound = sound and len(run.headers) == count
    if not sound:
        raise CorruptStore(f"the counts of {where} do not agree", hint="run: kbstore gc")


def _writes(told: Any) -> tuple[tuple[str, int], ...]:
    return tuple((str(ident), container.count(records)) for ident, records in told)


def _reference(piece: Piece) -> list[Any]:
    return [piece.key, piece.start, piece.size, piece.digest.hex()]


def _regrouped(bodies: Iterable[PackedBodies]) -> Iterator[PackedBodies]:
    """Join neighbouring bodies into groups of up to `_GROUP_RAW_BYTES`."""
    group: list[bytes] = []
    first = size = 0
    for given in bodies:
        if given.piece is not None:
            if group:
                yield PackedBodies(first, len(group), group, None)
                group, size = [], 0
            yield given
            continue
        for at, raw in enumerate(given.raw):
            if group and size + len(raw) > _GROUP_RAW_BYTES:
                yield PackedBodies(first, len(group), group, None)
                group, size = [], 0
            if not group:
                first = given.first + at
            group.append(raw)
            size += len(raw)
    if group:
        yield PackedBodies(first, len(group), group, None)
