"""A slot as one object: the headers of its records, then their bodies, then the chunks that the records need.

Headers come first, so that the beginning of a slot of any size shows the records in the slot. If the slot would grow
beyond `LARGEST_SLOT_BYTES`, bodies and chunks first go to objects of their own (*blobs*, named by their SHA-256).
Creating the slot is then still one small PUT.
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
"""How much of a slot is read at first: nearly always the whole slot."""


class Piece(NamedTuple):
    """A range of bytes in an object.

    Attributes:
        key: Key of the object.
        start: Offset of the first byte.
        size: Length in bytes.
        digest: Digest of the bytes.
    """

    key: str
    start: int
    size: int
    digest: bytes


class Bodies(NamedTuple):
    """Bodies that are compressed together: number of the first record, count of records, and place."""

    first: int
    records: int
    piece: Piece


class ChunkPiece(NamedTuple):
    """Chunks that are compressed together: length of the directory, and the place of directory and frame."""

    directory_bytes: int
    piece: Piece


class Place(NamedTuple):
    """The records of a slot: their numbers and write ids.

    Attributes:
        slot: Number of the slot.
        first: Number of the first record.
        records: Count of records.
        writes: Write ids, each with the count of records from that write.
    """

    slot: int
    first: int
    records: int
    writes: tuple[tuple[str, int], ...]


@dataclass(slots=True)
class Run:
    """Consecutive slots of a log, as read from one object: headers at once, other content as pieces.

    Attributes:
        log: Name of the log.
        places: The slots, in order.
        headers: Headers of all records, in order; empty if the object holds no headers.
        sizes: Lengths of all bodies.
        bodies: Groups of bodies, with their places.
        chunks: Groups of chunks, with their places.
        held: The bytes of the object that were read so far, for pieces inside the object.
        key: Key of the object.
        size: Length of the object.
        leads: Piece with the leads of all chunks' addresses, in order; None if the object has no such piece.
        mark: For a slot: digest that distinguishes the content from any other.
        before: For a slot: mark of the previous slot; empty for the first slot.
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
        """Return the number of the first record."""
        return self.places[0].first

    @property
    def last(self) -> int:
        """Return the number of the last record."""
        return self.places[-1].first + self.places[-1].records - 1

    def records(self) -> Iterator[StoredRecord]:
        """Yield all records, with their headers."""
        at = 0
        for place in self.places:
            for number in range(place.first, place.first + place.records):
                yield StoredRecord(number, place.slot, self.headers[at])
                at += 1


class Written(NamedTuple):
    """A slot, ready to be created.

    Attributes:
        data: Bytes of the slot's object.
        blobs: Bytes of the blobs by key, to be written before the slot.
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
    """Return the object and the blobs of a slot.

    The records are numbered from `first` on; `before` is the mark of the previous slot.
    """
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
    """Decode a slot from the beginning of its object.

    Raises:
        Incomplete: More of the object is needed.
        CorruptStore: The slot is damaged, or the object holds another slot.
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
    """Return a piece of another object, from the reference in a description.

    Raises:
        TypeError, ValueError: The values are not a reference.
    """
    if not isinstance(key, str):
        raise TypeError("a key is not a text")
    return Piece(key, container.count(start), container.count(size), bytes.fromhex(hexed))


def leads_of(addresses: Iterable[bytes]) -> bytes:
    """Return the leads of addresses, joined; readers look for chunks by lead.

    The full addresses are stored with the chunks.
    """
    return b"".join(map(keys.lead_of, addresses))


def keys_blob(hexed: str) -> str:
    """Return the key of the blob with this SHA-256."""
    return f"blob/{hexed}"


def split_bodies(sizes: Sequence[int], frame: bytes, where: str) -> list[bytes]:
    """Return the bodies of a group, from the compressed bytes and the lengths of the bodies.

    Raises:
        CorruptStore: The bytes are damaged, or the lengths do not add up.
    """
    return _undone(frame, sizes, where)


def whole(read_on: Callable[[int], bytes], decode: Callable[[bytes], Run], data: bytes) -> Run:
    """Decode the beginning of an object, reading on as far as the decoder needs.

    Args:
        read_on: Returns the first n bytes of the object.
        decode: May raise `container.Incomplete`.
        data: The bytes that were read so far.

    Raises:
        CorruptStore: The object is cut off.
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
    """Move parts into blobs, several to a blob; return references to the moved parts, and the blobs by key."""
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
    """Return a value as compressed JSON."""
    return packing.compress(orjson.dumps(value), packing.FRESH_LEVEL)


def loads_compact(data: bytes) -> Any:
    """Return the value in compressed JSON, the reverse of `dumps_compact`."""
    return orjson.loads(packing.decompress(data))
