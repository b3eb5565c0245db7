"""A slot as one object: its records' headers, then their bodies, then the chunks that they need.

Headers stand first, so that the beginning of a slot of any size tells what is in it. Where it would grow beyond
`LARGEST_SLOT_BYTES` the bodies and chunks go to objects of their own (*blobs*, named by their SHA-256) before the slot
is created, which is still one small PUT.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from kbstore.backends import packing
from kbstore.backends.base import Chunk, Record, StoredRecord
from kbstore.backends.s3.format import container, keys
from kbstore.kit.errors import CorruptStore

KIND = b"slot1"
LARGEST_SLOT_BYTES = 8 * 1024 * 1024
_BLOB_BYTES = 8 * 1024 * 1024
_BODY_RAW_BYTES = 1024 * 1024
FIRST_BYTES = 64 * 1024
"""How much of a slot is read at first: nearly always all of it."""


class Piece(NamedTuple):
    """Where some bytes stand: an object, and the range in it.

    Attributes:
        key: The object.
        start: First byte.
        size: How many.
        digest: Of these bytes.
    """

    key: str
    start: int
    size: int
    digest: bytes


class Bodies(NamedTuple):
    """Bodies that are compressed together: the first of them, how many, and where."""

    first: int
    records: int
    piece: Piece


class ChunkPiece(NamedTuple):
    """Chunks that are compressed together: length of their directory, and where directory and frame stand."""

    directory_bytes: int
    piece: Piece


class Place(NamedTuple):
    """Where a slot's records are numbered, and whose they are.

    Attributes:
        slot: The slot.
        first: Number of its first record.
        records: How many.
        writes: Write ids, each with the number of records that it brought.
    """

    slot: int
    first: int
    records: int
    writes: tuple[tuple[str, int], ...]


@dataclass(slots=True)
class Run:
    """Consecutive slots of a log, as read from one object: headers at once, the rest where it stands.

    Attributes:
        log: The log.
        places: Its slots, in order.
        headers: Headers of all records, in order; empty where the object holds none.
        sizes: Lengths of all bodies.
        bodies: Where bodies are.
        chunks: Where chunks are.
        held: The object's bytes as far as they were read, for pieces that stand in it.
        key: The object.
        size: Its length.
        leads: Where the beginnings of the addresses of all its chunks stand, in order; None where it has none.
        mark: Of a slot: what tells its bytes from any others.
        before: Of a slot: the mark of the slot before it; empty for the first.
    """

    log: str
    places: list[Place]
    headers: list[bytes]
    sizes: list[int]
    bodies: list[Bodies]
    chunks: list[ChunkPiece]
    held: bytes = field(repr=False)
    key: str
    size: int
    leads: Piece | None = None
    mark: str = ""
    before: str = ""

    @property
    def first(self) -> int:
        """Number of the first record."""
        return self.places[0].first

    @property
    def last(self) -> int:
        """Number of the last record."""
        return self.places[-1].first + self.places[-1].records - 1

    def records(self) -> Iterator[StoredRecord]:
        """All records, with their headers."""
        at = 0
        for place in self.places:
            for number in range(place.first, place.first + place.records):
                yield StoredRecord(number, place.slot, self.headers[at])
                at += 1


class Written(NamedTuple):
    """A slot, ready to be created.

    Attributes:
        data: The object.
        blobs: What has to be there before it, by key.
    """

    data: bytes
    blobs: dict[str, bytes]


def encode_slot(
    log: str,
    slot: int,
    first: int,
    records: Sequence[Record],
    chunks: Sequence[Chunk],
    writes: Sequence[tuple[str, int]],
    before: str = "",
) -> Written:
    """The object of a slot whose first record has number `first`, behind one with the mark `before`."""
    parts: list[tuple[str, bytes, Any]] = [("h", packing.compress(b"".join(r.header for r in records), 3), None)]
    if chunks:
        parts.append(("d", leads_of(c.address for c in chunks), None))
    rest: list[tuple[str, bytes, Any]] = []
    for group in _grouped_bodies(records):
        rest.append(("b", packing.compress(b"".join(group), packing.FRESH_LEVEL), [len(group)]))
    for chunk_group in packing.grouped(chunks, packing.FRESH_RAW_BYTES):
        directory = packing.directory_of(chunk_group)
        frame = packing.compress(b"".join(c.data for c in chunk_group), packing.FRESH_LEVEL)
        rest.append(("c", directory + frame, [len(directory)]))
    blobs: dict[str, bytes] = {}
    if sum(len(data) for _, data, _ in (*parts, *rest)) > LARGEST_SLOT_BYTES:
        rest, blobs = _outside(rest)
    description = {
        "log": log,
        "slot": slot,
        "first": first,
        "before": before,
        "writes": [list(write) for write in writes],
        "headers": [len(r.header) for r in records],
        "bodies": [len(r.body) for r in records],
    }
    return Written(container.pack(KIND, description, [*parts, *rest]), blobs)


def decode_slot(log: str, slot: int, data: bytes) -> Run:
    """A slot, from its beginning.

    Raises:
        Incomplete: More of it is needed.
        CorruptStore: It is damaged, or another slot.
    """
    key = keys.slot_key(log, slot)
    where = f"slot {slot} of log {log}"
    contents = container.unpack(KIND, data, where)
    try:
        told = contents.description
        if told["log"] != log or told["slot"] != slot:
            raise CorruptStore(f"{where} holds slot {told['slot']} of log {told['log']}", hint="run: kbstore verify")
        sizes = container.counts(told["headers"])
        first = container.count(told["first"])
        headers = _undone(container.part_in(contents.parts[0], data, where), sizes, where)
        writes = tuple((str(ident), container.count(records)) for ident, records in told["writes"])
        bodies: list[Bodies] = []
        chunks: list[ChunkPiece] = []
        leads = None
        number = first
        for part in contents.parts[1:]:
            detail = part.detail
            piece = Piece(key, part.start, part.size, part.digest)
            if part.name == "d":
                leads = piece
                continue
            if len(detail) > 1:
                piece = piece_at(keys_blob(detail[1]), *detail[2:])
            count = container.count(detail[0])
            if part.name == "b":
                bodies.append(Bodies(number, count, piece))
                number += count
            else:
                chunks.append(ChunkPiece(count, piece))
        counted = sum(count for _, count in writes)
        bodies_sizes = container.counts(told["bodies"])
        if not sizes or counted != len(sizes) or number != first + len(sizes) or len(bodies_sizes) != len(sizes):
            raise CorruptStore(f"the counts of {where} do not agree", hint="run: kbstore verify")
        place = Place(slot, first, len(sizes), writes)
        before = str(told["before"])
        mark = container.mark_of(data)
        return Run(log, [place], headers, bodies_sizes, bodies, chunks, data, key, contents.size, leads, mark, before)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as fault:
        raise CorruptStore(f"{where} is malformed: {fault!r}", hint="run: kbstore verify") from None


def piece_at(key: str, start: Any, size: Any, hexed: str) -> Piece:
    """A piece of another object, as a description refers to it.

    Raises:
        TypeError, ValueError: It is none.
    """
    if not isinstance(key, str):
        raise TypeError("a key is not a text")
    return Piece(key, container.count(start), container.count(size), bytes.fromhex(hexed))


def leads_of(addresses: Iterable[bytes]) -> bytes:
    """The beginnings of addresses, by which chunks are looked for; whole ones stand beside the chunks."""
    return b"".join(map(keys.lead_of, addresses))


def keys_blob(hexed: str) -> str:
    """The key of a blob with this SHA-256."""
    return f"blob/{hexed}"


def split_bodies(sizes: Sequence[int], frame: bytes, where: str) -> list[bytes]:
    """The bodies of a group, from its compressed bytes and their lengths.

    Raises:
        CorruptStore: They do not add up.
    """
    return _undone(frame, sizes, where)


def whole(read_on: Callable[[int], bytes], decode: Callable[[bytes], Run], data: bytes) -> Run:
    """Decode the beginning of an object, reading on as far as that needs.

    Args:
        read_on: Gives the object's first so many bytes.
        decode: May raise `container.Incomplete`.
        data: What was read so far.
    """
    while True:
        try:
            return decode(data)
        except container.Incomplete as more:
            longer = read_on(more.needed)
            if len(longer) < more.needed:
                raise CorruptStore("an object is cut off", hint="run: kbstore verify") from None
            data = longer


def _grouped_bodies(records: Sequence[Record]) -> Iterator[list[bytes]]:
    group: list[bytes] = []
    size = 0
    for record in records:
        if group and size + len(record.body) > _BODY_RAW_BYTES:
            yield group
            group, size = [], 0
        group.append(record.body)
        size += len(record.body)
    yield group


def _outside(
    parts: Sequence[tuple[str, bytes, Any]],
) -> tuple[list[tuple[str, bytes, Any]], dict[str, bytes]]:
    """Parts moved into blobs, several to a blob; what stays in the slot is where they went."""
    blobs: dict[str, bytes] = {}
    moved: list[tuple[str, bytes, Any]] = []
    group: list[tuple[str, bytes, Any]] = []
    size = 0
    for part in [*parts, None]:
        if group and (part is None or size + len(part[1]) > _BLOB_BYTES):
            data = b"".join(content for _, content, _ in group)
            named = hashlib.sha256(data).hexdigest()
            blobs[keys_blob(named)] = data
            start = 0
            for name, content, detail in group:
                where = [named, start, len(content), packing.digest(content).hex()]
                moved.append((name, b"", [*detail, *where]))
                start += len(content)
            group, size = [], 0
        if part is not None:
            group.append(part)
            size += len(part[1])
    return moved, blobs


def _undone(frame: bytes, sizes: Sequence[int], where: str) -> list[bytes]:
    try:
        raw = packing.decompress(frame, size=sum(sizes))
    except CorruptStore as fault:
        raise CorruptStore(f"{where} is damaged: {fault}", hint="run: kbstore verify") from fault
    found, start = [], 0
    for size in sizes:
        found.append(raw[start : start + size])
        start += size
    return found


def dumps_compact(value: Any) -> bytes:
    """JSON, compressed."""
    return packing.compress(orjson.dumps(value), packing.FRESH_LEVEL)


def loads_compact(data: bytes) -> Any:
    """The reverse of `dumps_compact`."""
    return orjson.loads(packing.decompress(data))
