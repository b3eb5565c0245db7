"""Packs: many small byte strings in a single zstd frame, because small frames take twice the space.

A pack of chunks is a directory (addresses, then sizes) beside a frame of the chunks' bytes in a row. A pack of bodies
has the directory inside the frame, where a directory compresses to next to nothing. A frame may have a *base*: the raw
bytes of another pack, used as the dictionary, so that the versions of a long text cost only the differences. A base has
no base, so a read decompresses two frames at most.
"""

import hashlib
import struct
import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import zstandard

from kbstore.backends.base import Chunk
from kbstore.kit.errors import CorruptStore

FRESH_RAW_BYTES = 64 * 1024
"""Raw bytes in a pack written with a slot or snapshot: a cold read of a chunk decompresses at most this much."""
COLD_RAW_BYTES = 256 * 1024
"""Raw bytes in a pack written by a garbage collection, where space counts more than the time of a single read."""
FRESH_LEVEL = 3
HASTY_LEVEL = 1
"""For packs that a collection will pack again: a tenth faster than `FRESH_LEVEL`, a sixteenth longer."""
COLD_LEVEL = 19
_ADDRESS_BYTES = 32
_ENTRY_BYTES = _ADDRESS_BYTES + 4
_DIGEST_BYTES = 8
LARGEST_RAW_BYTES = 64 * 1024 * 1024
"""Limit for any frame's content. A frame with more content must be at least a `MOST_EXPANDED`-th as long as the
content."""
MOST_EXPANDED = 64
_SKIPPED = struct.Struct("<II")
_SKIPPED_MAGIC = 0x184D2A50


class ChunkPack(NamedTuple):
    """The chunks of a decompressed pack: addresses, the end of each chunk, and the bytes of all chunks in a row."""

    addresses: tuple[bytes, ...]
    ends: tuple[int, ...]
    raw: bytes

    def columns(self) -> tuple[tuple[bytes, ...], list[bytes]]:
        """Return the addresses, and the bytes of each chunk, in the order of writing."""
        raw = self.raw
        return self.addresses, [raw[start:end] for start, end in zip((0, *self.ends), self.ends, strict=False)]

    def chunks(self) -> list[Chunk]:
        """Return the chunks, in the order of writing."""
        return list(map(Chunk._make, zip(*self.columns(), strict=True)))


def digest(*parts: bytes) -> bytes:
    """Return the first 8 bytes of the SHA-256 of these parts in a row: enough to find damage, not a proof."""
    state = hashlib.sha256()
    for part in parts:
        state.update(part)
    return state.digest()[:_DIGEST_BYTES]


def grouped(chunks: Iterable[Chunk], raw_bytes: int) -> Iterator[list[Chunk]]:
    """Yield runs of consecutive chunks of at most `raw_bytes`; a larger chunk makes a run alone."""
    group: list[Chunk] = []
    size = 0
    for chunk in chunks:
        if group and size + len(chunk.data) > raw_bytes:
            yield group
            group, size = [], 0
        group.append(chunk)
        size += len(chunk.data)
    if group:
        yield group


def directory_of(chunks: Sequence[Chunk]) -> bytes:
    """Return the directory of a pack of these chunks."""
    sizes = [len(chunk.data) for chunk in chunks]
    return b"".join(chunk.address for chunk in chunks) + struct.pack(f"<{len(sizes)}I", *sizes)


def addresses_in(directory: bytes) -> tuple[bytes, ...]:
    """Return the addresses in a directory, in the order of writing.

    Raises:
        CorruptStore: The value is not bytes: a column of SQLite may hold any type.
    """
    if type(directory) is not bytes:
        raise CorruptStore("the directory of a pack is not what it should be", hint="run: kbstore verify")
    return struct.unpack_from(f"{_ADDRESS_BYTES}s" * (len(directory) // _ENTRY_BYTES), directory)


def entries_in(directory: bytes) -> tuple[tuple[bytes, ...], tuple[int, ...]]:
    """Return the addresses and the sizes in a directory, in the order of writing."""
    addresses = addresses_in(directory)
    return addresses, struct.unpack_from(f"<{len(addresses)}I", directory, len(addresses) * _ADDRESS_BYTES)


def undo_chunks(directory: bytes, frame: bytes, base: bytes | None) -> ChunkPack:
    """Decompress the chunks of a pack.

    Raises:
        CorruptStore: Directory and frame do not belong together.
    """
    addresses, sizes = entries_in(directory)
    if len(directory) != len(addresses) * _ENTRY_BYTES:
        raise CorruptStore(f"a pack's directory has {len(directory)} bytes, which are no whole entries")
    ends = tuple(accumulate(sizes))
    return ChunkPack(addresses, ends, decompress(frame, base, size=ends[-1] if ends else 0))


def body_frame(bodies: Sequence[tuple[int, bytes]]) -> bytes:
    """Return the content of a pack of bodies before compression: count, gaps between ids, sizes, then the bodies."""
    ids = [ident for ident, _ in bodies]
    gaps = [b - a for a, b in zip([ids[0], *ids], ids, strict=False)]
    sizes = [len(body) for _, body in bodies]
    count = len(ids)
    return struct.pack(f"<I{count}I{count}I", count, *gaps, *sizes) + b"".join(body for _, body in bodies)


def undo_bodies(first: int, raw: bytes) -> dict[int, bytes]:
    """Return the bodies in a pack by id, given the id of the first.

    Raises:
        CorruptStore: The sizes do not add up.
    """
    try:
        (count,) = struct.unpack_from("<I", raw)
        numbers = struct.unpack_from(f"<{2 * count}I", raw, 4)
    except struct.error:
        raise CorruptStore("a pack of bodies is cut off") from None
    found, ident, start = {}, first, 4 + 8 * count
    for gap, size in zip(numbers[:count], numbers[count:], strict=True):
        ident += gap
        found[ident] = raw[start : start + size]
        start += size
    if start != len(raw):
        raise CorruptStore(f"a pack of bodies promises {start} bytes and holds {len(raw)}")
    return found


def compress(raw: bytes, level: int, base: bytes | None = None) -> bytes:
    """Return a zstd frame that declares the content's size; `base` is a dictionary of raw content."""
    if base is None:
        return _lengthened(_tools.compressor(level).compress(raw), len(raw))
    # The window must cover the whole base, even if the raw bytes themselves are few.
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level,
        source_size=len(raw),
        dict_size=len(base),
        window_log=min(27, max(17, (len(base) + len(raw)).bit_length())),
    )
    frame = zstandard.ZstdCompressor(compression_params=parameters, dict_data=_dictionary(base)).compress(raw)
    return _lengthened(frame, len(raw))


def _lengthened(frame: bytes, raw_bytes: int) -> bytes:
    """Return the frame, padded with a skippable frame if readers would otherwise refuse so much content."""
    lacking = -(-raw_bytes // MOST_EXPANDED) - len(frame) if raw_bytes > LARGEST_RAW_BYTES else 0
    return frame + _SKIPPED.pack(_SKIPPED_MAGIC, lacking) + bytes(lacking) if lacking > 0 else frame


def decompress(frame: bytes, base: bytes | None = None, *, size: int | None = None) -> bytes:
    """Return the bytes given to `compress`.

    The declared size is checked against the limits before anything is decompressed: a few kilobytes could ask for
    gigabytes.

    Args:
        frame: The frame.
        base: As for `compress`.
        size: The number of bytes that the frame must hold; None if unknown.

    Raises:
        CorruptStore: The frame is damaged or too large, or another base was used.
    """
    try:
        declared = zstandard.frame_content_size(frame)
        if declared < 0 or (size is not None and declared != size):
            held = f"declares {declared}" if declared >= 0 else "does not declare its size"
            raise CorruptStore(f"a compressed frame {held}" + (f", not {size} bytes" if size is not None else ""))
        if declared > max(LARGEST_RAW_BYTES, MOST_EXPANDED * len(frame)):
            raise CorruptStore(
                f"a compressed frame of {len(frame):,} bytes would expand to {declared:,}: it is refused"
            )
        if base is None:
            return _tools.decompressor.decompress(frame)
        return _tools.decompressor_on(base).decompress(frame)
    except zstandard.ZstdError as fault:
        raise CorruptStore(f"a compressed frame cannot be decompressed: {fault}") from None


def _dictionary(base: bytes) -> zstandard.ZstdCompressionDict:
    return zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)


class _Tools(threading.local):
    """Contexts of zstd: kept because making a context is slow, and per thread because sharing is not allowed."""

    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor()
        self._leaning: tuple[bytes, zstandard.ZstdDecompressor] | None = None
        self._compressors: dict[int, zstandard.ZstdCompressor] = {}

    def decompressor_on(self, base: bytes) -> zstandard.ZstdDecompressor:
        """Return a decompressor for frames with exactly this base object; packs that are read together share a base."""
        if self._leaning is None or self._leaning[0] is not base:
            self._leaning = (base, zstandard.ZstdDecompressor(dict_data=_dictionary(base)))
        return self._leaning[1]

    def compressor(self, level: int) -> zstandard.ZstdCompressor:
        if level not in self._compressors:
            self._compressors[level] = zstandard.ZstdCompressor(level=level)
        return self._compressors[level]


_tools = _Tools()
