"""Which events touched which entry: an index in blocks, built when first asked for, that any process may rebuild.

A *key* is the first two tokens of a pointer that an operation writes, as far as it has them. Where an operation inserts
into or removes from what may be an array, all positions behind move, so the key ends in ``~`` instead of the position
(a lone ``~`` is no valid token, so no member can have that name). Keys tell candidates; what is asked about more
precisely is told from the events' bodies.
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
"""A block that is larger is read from its patches, as one that is damaged."""
_WORTH_KEEPING = 2048
_NEAR_EVENTS = 4 * BLOCK_EVENTS
_FEW_BLOCKS = 8
"""So many are built without a look whether they are there, which costs as much as it saves."""
_MOVING = frozenset({"add", "remove", "move", "copy"})


def is_position(token: str) -> bool:
    """Whether a token may index an array."""
    return token == "-" or (token.isascii() and token.isdigit() and (token == "0" or token[0] != "0"))


def keys_of(body: bytes) -> set[str]:
    """The keys that a stored patch touches.

    Raises:
        CorruptStore: It is not a patch.
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
    """The index of one store's line.

    Args:
        backend: Where blocks are cached.
        line: The versions.
    """

    def __init__(self, backend: Backend, line: Line) -> None:
        self._backend = backend
        self._line = line
        self._unpacked: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._built: dict[str, int] = {}

    def events(self, pointer: str, first: int, last: int) -> list[tuple[int, bool]]:
        """Candidates: versions from `first` to `last`, ascending, with a key that meets this pointer.

        None that touched it is left out. Each comes with True where its key alone tells that it did, and False where
        only its patch can (a deeper pointer, a position, an operation on something that holds it).
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
        """Tell the backend that `events` of these versions will be asked for, and a snapshot (log and number) read."""
        offset = self._line.segments[-1].offset
        low, high = max(first - offset, 1), last - offset
        if low > high:
            self._line.expect(start=start)
            return
        block, newest = (low - 1) // BLOCK_EVENTS, (high - 1) // BLOCK_EVENTS
        # Far apart, only what is in no whole block: the others have notes, or are read when these are missed.
        begin = block if last - first < _NEAR_EVENTS else newest
        seqs = range(offset + begin * BLOCK_EVENTS + 1, last + 1)
        self._line.expect(start=start, seqs=seqs, notes=NAME, blocks=(block, newest))

    def build(self, first: int, last: int) -> None:
        """Cache the whole blocks among these versions of the open log that are not cached yet."""
        segment = self._line.segments[-1]
        begin = max((first - segment.offset - 1) // BLOCK_EVENTS, self._built.get(segment.log, 0))
        end = (last - segment.offset) // BLOCK_EVENTS
        if begin >= end:
            return
        # Behind blocks that were built here are rarely any of others, which come out the same.
        alone = begin == self._built.get(segment.log) and end - begin <= _FEW_BLOCKS
        there = {} if alone else dict(self._backend.notes(NAME + segment.log, begin, end - 1))
        for number in range(begin, end):
            if number not in there:
                self._put(segment.log, number, building=True)
        self._built[segment.log] = end

    def collect(self) -> None:
        """Drop the blocks of short logs, which are built again sooner than their room is worth."""
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
        """Blocks that cover these versions: the seq of offset 0, and keys' offsets, all that are sought."""
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
        """Numbers and data of blocks, None for the last one of the log where it is not whole yet."""
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
        """Keys in the bodies of these records; where `needles` are given, only bodies that hold one are looked into."""
        block: dict[str, list[int]] = {}
        segment = next(s for s in self._line.segments if s.log == log)
        for seq, body in read_bodies(self._backend, segment, range(begin, stop)):
            if needles is None or any(needle in body for needle in needles):
                for key in keys_of(body):
                    block.setdefault(key, []).append(seq - segment.offset - start)
        return block


class _Sought:
    """The keys that meet a pointer.

    Attributes:
        whole: The pointer's own key.
        above: Keys of what holds it, or may move it.
        certain: Whether `whole` alone tells that the pointer was touched.
        in_bodies: Byte strings of which one stands in every body with such a key.
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
        """Whether a block as JSON may hold one of the keys."""
        return self._below is not None or any(needle in data for needle in self._in_blocks)

    def keys_in(self, block: dict[str, list[int]]) -> list[str]:
        """Those of a block's keys that meet the pointer."""
        if self._below is None:
            return [key for key in (self.whole, *self.above) if key in block]
        return [key for key in block if key == self.whole or key in self.above or key.startswith(self._below)]


def _pack(block: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(block)


def _decoded(data: bytes) -> dict[str, list[int]]:
    """What a block says; nothing if it is not one, however right its digest is: it is then read anew."""
    try:
        return msgspec.json.decode(data, type=dict[str, list[int]])
    except (msgspec.DecodeError, ValueError, RecursionError):
        return {}


def unpacked_block(data: bytes) -> bytes | None:
    """A cached block, or None where it is damaged (it is then read anew)."""
    try:
        if not 0 <= zstandard.frame_content_size(data) <= _LARGEST_BLOCK_BYTES:
            return None
        return zstandard.ZstdDecompressor().decompress(data)
    except zstandard.ZstdError:
        return None
