"""The events that touched each entry: an index in blocks, built at the first use; any process may rebuild the index.

A *key* is the first two tokens of a pointer that an operation writes, or fewer if the pointer is shorter. If an
operation inserts into or removes from a possible array, all later positions move. The key then ends in ``~`` instead of
the position (a lone ``~`` is not a valid token, so a member cannot have this name). Keys find candidates; the bodies of
the events give exact answers.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

import msgspec
import orjson
import zstandard

from kbstore.backends.base import Backend
from kbstore.errors import CorruptStore, ReadOnlyStore
from kbstore.history.branch import Line, read_bodies
from kbstore.jsondoc.canonical import decode

BLOCK_EVENTS: Final = 128
NAME: Final = "touched/"
_KEPT_BLOCKS = 512
_LARGEST_BLOCK_BYTES = 1 << 26
"""A larger block counts as damaged: the patches are read instead."""
_WORTH_KEEPING = 2048
_NEAR_EVENTS = 4 * BLOCK_EVENTS
_FEW_BLOCKS = 8
"""Up to this many blocks are built without checking for existing blocks: a check costs as much as it saves."""
_MOVING = frozenset({"add", "remove", "move", "copy"})


def is_position(token: str) -> bool:
    """Return whether a token may index an array."""
    return token == "-" or (token.isascii() and token.isdigit() and (token == "0" or token[0] != "0"))


def keys_of(body: bytes) -> set[str]:
    """Return the keys touched by a stored patch.

    Raises:
        CorruptStore: The body is not a patch.
    """
    keys = set()
    try:
        for operation in decode(body):
            op = operation["op"]
            if op == "test":
                continue
            keys.add(_key(operation["path"], op in _MOVING))
            if op == "move":
                keys.add(_key(operation["from"], True))
    except (ValueError, TypeError, LookupError, AttributeError) as fault:
        raise CorruptStore(f"a body is not a stored patch: {fault!r}", hint="run: kbstore verify") from None
    return keys


def _key(pointer: str, moves: bool) -> str:
    parts = pointer.split("/", 3)[1:]
    if moves and 0 < len(parts) <= 2 and is_position(parts[-1]):
        parts[-1] = "~"
    return "".join([f"/{p}" for p in parts[:2]])


class Touched:
    """The index of a store's line.

    Args:
        backend: Caches the blocks.
        line: The versions.
    """

    def __init__(self, backend: Backend, line: Line) -> None:
        self._backend = backend
        self._line = line
        self._unpacked: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._built: dict[str, int] = {}

    def events(self, pointer: str, first: int, last: int) -> list[tuple[int, bool]]:
        """Return candidates: versions from `first` to `last`, ascending, with a key that matches the pointer.

        The candidates include every version that touched the pointer. True beside a version: the key proves the touch.
        False: only the patch can (for a deeper pointer, a position, an operation on a container above).
        """
        sought = _Sought(pointer)
        found: list[tuple[int, bool]] = []
        for start, block in self._blocks(first, last, sought):
            offsets: dict[int, bool] = {}
            for key in sought.keys_in(block):
                if key in sought.above:
                    for offset in block[key]:
                        offsets.setdefault(offset, False)
                else:
                    offsets.update(dict.fromkeys(block[key], sought.certain))
            found.extend((s, offsets[o]) for o in sorted(offsets) if first <= (s := start + o) <= last)
        return found

    def expect(self, first: int, last: int, start: tuple[str, int] | None = None) -> None:
        """Announce coming calls of `events` to the backend, and a coming read of a snapshot (log and number)."""
        offset = self._line.segments[-1].offset
        low, high = max(first - offset, 1), last - offset
        if low > high:
            self._line.expect(start=start)
            return
        block, newest = (low - 1) // BLOCK_EVENTS, (high - 1) // BLOCK_EVENTS
        # In a wide range, only bodies outside whole blocks: whole blocks have notes, or are read if a note is missing.
        begin = block if last - first < _NEAR_EVENTS else newest
        seqs = range(offset + begin * BLOCK_EVENTS + 1, last + 1)
        self._line.expect(start=start, seqs=seqs, notes=NAME, blocks=(block, newest))

    def build(self, first: int, last: int) -> None:
        """Cache the whole blocks from `first` to `last` in the open log, unless cached already."""
        segment = self._line.segments[-1]
        begin = max((first - segment.offset - 1) // BLOCK_EVENTS, self._built.get(segment.log, 0))
        end = (last - segment.offset) // BLOCK_EVENTS
        if begin >= end:
            return
        # After blocks built here, other processes have rarely built more; such blocks would be the same anyway.
        alone = begin == self._built.get(segment.log) and end - begin <= _FEW_BLOCKS
        there = {} if alone else dict(self._backend.notes(NAME + segment.log, begin, end - 1))
        for number in range(begin, end):
            if number not in there:
                self._put(segment.log, number, building=True)
        self._built[segment.log] = end

    def collect(self) -> None:
        """Drop the blocks of short logs: building the blocks again costs less than the space."""
        for log in self._backend.logs():
            if self._backend.tail(log).number < _WORTH_KEEPING:
                with suppress(ReadOnlyStore):  # a server that lets nothing be removed: they take room, and are right
                    self._backend.drop_notes(NAME + log)
        self._built.clear()

    def _put(self, log: str, number: int, *, building: bool = False) -> bytes:
        start = number * BLOCK_EVENTS + 1
        block = orjson.dumps(self._read(log, start, start, start + BLOCK_EVENTS, None))
        if not self._backend.read_only and (building or not self._backend.remote):
            self._backend.put_note(NAME + log, number, _pack(block))
        return block

    def _blocks(self, first: int, last: int, sought: "_Sought") -> Iterator[tuple[int, dict[str, list[int]]]]:
        """Yield the blocks of these versions: the seq of offset 0, and offsets by key, for all sought keys at least."""
        for segment in self._line.segments:
            low = max(first - segment.offset, 1)
            high = min(last, segment.last if segment.last is not None else last) - segment.offset
            if low > high:
                continue
            newest = self._backend.tail(segment.log, fresh=False).number
            for number, data in self._whole(segment.log, (low - 1) // BLOCK_EVENTS, (high - 1) // BLOCK_EVENTS, newest):
                start = number * BLOCK_EVENTS + 1
                if data is None:
                    block = self._read(segment.log, start, max(start, low), high + 1, sought.in_bodies)
                elif sought.may_be_in(data):
                    block = _decoded(data) or self._read(
                        segment.log, start, max(start, low), high + 1, sought.in_bodies
                    )
                else:
                    continue
                yield segment.offset + start, block

    def _whole(self, log: str, first: int, last: int, newest: int) -> Iterator[tuple[int, bytes | None]]:
        """Yield numbers and data of blocks; None for the last block of the log if the block is not complete yet."""
        missing = [number for number in range(first, last + 1) if (log, number) not in self._unpacked]
        if missing:
            for number, note in self._backend.notes(NAME + log, missing[0], missing[-1]):
                if (data := unpacked_block(note)) is not None:
                    self._unpacked[log, number] = data
        for number in range(first, last + 1):
            data = self._unpacked.get((log, number))
            if data is None and (number + 1) * BLOCK_EVENTS <= newest:
                data = self._unpacked[log, number] = self._put(log, number)
            yield number, data
        while len(self._unpacked) > _KEPT_BLOCKS:
            self._unpacked.popitem(last=False)

    def _read(
        self, log: str, start: int, begin: int, stop: int, needles: Sequence[bytes] | None
    ) -> dict[str, list[int]]:
        """Return the keys in the bodies of a range of records; with `needles`, look only into bodies with a needle."""
        block: dict[str, list[int]] = {}
        segment = next(s for s in self._line.segments if s.log == log)
        for seq, body in read_bodies(self._backend, segment, range(begin, stop)):
            if needles is None or any(needle in body for needle in needles):
                for key in keys_of(body):
                    block.setdefault(key, []).append(seq - segment.offset - start)
        return block


class _Sought:
    """The keys that match a pointer.

    Attributes:
        whole: The key of the pointer.
        above: Keys of the containers above, and of changes that may move the pointer.
        certain: Whether `whole` alone proves a touch of the pointer.
        in_bodies: Byte strings; every body with such a key contains at least one string.
    """

    def __init__(self, pointer: str) -> None:
        parts = pointer.split("/", 3)[1:]
        self.whole = "".join(f"/{p}" for p in parts[:2])
        holders = ["".join(f"/{p}" for p in parts[:n]) for n in range(min(len(parts), 2))]
        arrays = [
            "".join(f"/{p}" for p in parts[: n - 1]) for n in (1, 2) if n <= len(parts) and is_position(parts[n - 1])
        ]
        self.above = {*holders, *(f"{array}/~" for array in arrays)}
        self.certain = len(parts) <= 2
        self._below = pointer + "/" if len(parts) < 2 else None
        self._in_blocks = [orjson.dumps(key) + b":" for key in (self.whole, *self.above)]
        self.in_bodies = [
            orjson.dumps(self.whole)[:-1],
            *(orjson.dumps(holder) for holder in holders),
            *(orjson.dumps(array + "/")[:-1] for array in arrays),
        ]

    def may_be_in(self, data: bytes) -> bool:
        """Return whether a block as JSON may hold a sought key."""
        return self._below is not None or any(needle in data for needle in self._in_blocks)

    def keys_in(self, block: dict[str, list[int]]) -> list[str]:
        """Return the keys of a block that match the pointer."""
        if self._below is None:
            return [key for key in (self.whole, *self.above) if key in block]
        return [key for key in block if key == self.whole or key in self.above or key.startswith(self._below)]


def _pack(block: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(block)


def _decoded(data: bytes) -> dict[str, list[int]]:
    """Return the content of a block; empty if the data is not a block, even if the digest is right: then read again."""
    try:
        return msgspec.json.decode(data, type=dict[str, list[int]])
    except (msgspec.DecodeError, ValueError, RecursionError):
        return {}


def unpacked_block(data: bytes) -> bytes | None:
    """Return a cached block; None for a damaged block (the events are then read again)."""
    try:
        if not 0 <= zstandard.frame_content_size(data) <= _LARGEST_BLOCK_BYTES:
            return None
        return zstandard.ZstdDecompressor().decompress(data)
    except zstandard.ZstdError:
        return None
