"""Packs: many small byte strings in one zstd frame, since small frames cost twice the room.

A pack of chunks is a directory (their addresses, then their sizes) beside a frame of their bytes one after another. A
pack of bodies carries its directory inside the frame, where it compresses to next to nothing. A frame may lean on a
*base*: the raw bytes of another pack, used as the dictionary, so that the versions of one long text cost their
differences. Bases have no base themselves, so a read undoes two frames at most.
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
"""Raw bytes in a pack written with a slot or snapshot: a cold read of one chunk undoes at most this much."""
COLD_RAW_BYTES = 256 * 1024
"""Raw bytes in a pack written by a collection of garbage, where room counts for more than one read's time."""
FRESH_LEVEL = 3
HASTY_LEVEL = 1
"""For what a collection will pack again: a tenth faster than `FRESH_LEVEL`, a sixteenth longer."""
COLD_LEVEL = 19
_ADDRESS_BYTES = 32
_ENTRY_BYTES = _ADDRESS_BYTES + 4
_DIGEST_BYTES = 8
LARGEST_RAW_BYTES = 64 * 1024 * 1024
"""What any frame may hold. A larger one must be at least a `MOST_EXPANDED`-th as long as what it holds."""
MOST_EXPANDED = 64
_SKIPPED = struct.Struct("<II")
_SKIPPED_MAGIC = 0x184D2A50


class ChunkPack(NamedTuple):
    """Chunks of one pack, undone: their addresses, where each ends, and their bytes one after another."""

    addresses: tuple[bytes, ...]
    ends: tuple[int, ...]
    raw: bytes

    def columns(self) -> tuple[tuple[bytes, ...], list[bytes]]:
        """Addresses, and the bytes of each chunk, in the order of writing."""
        raw = self.raw
        return self.addresses, [raw[start:end] for start, end in zip((0, *self.ends), self.ends, strict=False)]

    def chunks(self) -> list[Chunk]:
        """The chunks, in the order of writing."""
        return list(map(Chunk._make, zip(*self.columns(), strict=True)))


def digest(*parts: bytes) -> bytes:
    """The first 8 bytes of the SHA-256 of these parts one after another: finds damage, proves nothing more."""
    state = hashlib.sha256()
    for part in parts:
        state.update(part)
    return state.digest()[:_DIGEST_BYTES]


def grouped(chunks: Iterable[Chunk], raw_bytes: int) -> Iterator[list[Chunk]]:
    """Runs of consecutive chunks of at most `raw_bytes`; a larger chunk stands alone."""
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
    """The directory of a pack of these chunks."""
    sizes = [len(chunk.data) for chunk in chunks]
    return b"".join(chunk.address for chunk in chunks) + struct.pack(f"<{len(sizes)}I", *sizes)


def addresses_in(directory: bytes) -> tuple[bytes, ...]:
    """The addresses in a directory, in the order of writing.

    Raises:
        CorruptStore: It is something else: any type may stand in a column of SQLite.
    """
    if type(directory) is not bytes:
        raise CorruptStore("the directory of a pack is not what it should be", hint="run: kbstore verify")
    return struct.unpack_from(f"{_ADDRESS_BYTES}s" * (len(directory) // _ENTRY_BYTES), directory)


def entries_in(directory: bytes) -> tuple[tuple[bytes, ...], tuple[int, ...]]:
    """The addresses and the sizes in a directory, in the order of writing."""
    addresses = addresses_in(directory)
    return addresses, struct.unpack_from(f"<{len(addresses)}I", directory, len(addresses) * _ADDRESS_BYTES)


def undo_chunks(directory: bytes, frame: bytes, base: bytes | None) -> ChunkPack:
    """The chunks of a pack.

    Raises:
        CorruptStore: Directory and frame do not belong together.
    """
    addresses, sizes = entries_in(directory)
    if len(directory) != len(addresses) * _ENTRY_BYTES:
        raise CorruptStore(f"a pack's directory has {len(directory)} bytes, which are no whole entries")
    ends = tuple(accumulate(sizes))
    return ChunkPack(addresses, ends, decompress(frame, base, size=ends[-1] if ends else 0))


def body_frame(bodies: Sequence[tuple[int, bytes]]) -> bytes:
    """What a pack of bodies holds, before compression: count, gaps between ids, sizes, then the bodies."""
    ids = [ident for ident, _ in bodies]
    gaps = [b - a for a, b in zip([ids[0], *ids], ids, strict=False)]
    sizes = [len(body) for _, body in bodies]
    count = len(ids)
    return struct.pack(f"<I{count}I{count}I", count, *gaps, *sizes) + b"".join(body for _, body in bodies)


def undo_bodies(first: int, raw: bytes) -> dict[int, bytes]:
    """The bodies in a pack by id, given the id of the first.

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
    """One zstd frame that tells its own size; `base` is a dictionary of raw content."""
    if base is None:
        return _lengthened(_tools.compressor(level).compress(raw), len(raw))
    # The window must reach over the whole base, also where the raw bytes themselves are few.
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level,
        source_size=len(raw),
        dict_size=len(base),
        window_log=min(27, max(17, (len(base) + len(raw)).bit_length())),
    )
    frame = zstandard.ZstdCompressor(compression_params=parameters, dict_data=_dictionary(base)).compress(raw)
    return _lengthened(frame, len(raw))


def _lengthened(frame: bytes, raw_bytes: int) -> bytes:
    """The frame, followed by one that readers skip where it would hold more than a reader takes."""
    lacking = -(-raw_bytes // MOST_EXPANDED) - len(frame) if raw_bytes > LARGEST_RAW_BYTES else 0
    return frame + _SKIPPED.pack(_SKIPPED_MAGIC, lacking) + bytes(lacking) if lacking > 0 else frame


def decompress(frame: bytes, base: bytes | None = None, *, size: int | None = None) -> bytes:
    """What `compress` was given.

    Nothing is decompressed before the size that the frame declares is known to be one that a reader takes: a few
    kilobytes could ask for gigabytes.

    Args:
        frame: The frame.
        base: As for `compress`.
        size: How many bytes it must hold; None if that is told by nothing else.

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
    """zstd's contexts, kept since they are dear to make; one set a thread, since they are not to be shared."""

    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor()
        self._leaning: tuple[bytes, zstandard.ZstdDecompressor] | None = None
        self._compressors: dict[int, zstandard.ZstdCompressor] = {}

    def decompressor_on(self, base: bytes) -> zstandard.ZstdDecompressor:
        """A decompressor for frames that lean on these very bytes; packs that are read together share their base."""
        if self._leaning is None or self._leaning[0] is not base:
            self._leaning = (base, zstandard.ZstdDecompressor(dict_data=_dictionary(base)))
        return self._leaning[1]

    def compressor(self, level: int) -> zstandard.ZstdCompressor:
        if level not in self._compressors:
            self._compressors[level] = zstandard.ZstdCompressor(level=level)
        return self._compressors[level]


_tools = _Tools()
