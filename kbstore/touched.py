"""Which events touched which entry: an index in blocks, built when first asked for, that any process may rebuild.

A *key* is the first two tokens of a pointer that an operation writes, as far as it has them. Where an operation inserts
into or removes from what may be an array, all positions behind move, so the key ends in ``~`` instead of the position
(a lone ``~`` is no valid token, so no member can have that name). Keys tell candidates; what is asked about more
precisely is told from the events' bodies.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import orjson
import zstandard

from backends.contract import Backend
from kbstore.canonical import decode
from kbstore.log import Line

BLOCK_EVENTS: Final = 512
_NAME = "touched/"
_MOVING = frozenset({"add", "remove", "move", "copy"})


def is_position(token: str) -> bool:
    """Whether a token may index an array."""
    return token == "-" or (token.isascii() and token.isdigit() and (token == "0" or token[0] != "0"))


def keys_of(body: bytes) -> set[str]:
    """The keys that a stored patch touches."""
    keys = set()
    for operation in decode(body):
        op = operation["op"]
        if op == "test":
            continue
        keys.add(_key(operation["path"], op in _MOVING))
        if op == "move":
            keys.add(_key(operation["from"], True))
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

    def events(self, pointer: str, first: int, last: int) -> list[tuple[int, bool]]:
        """Candidates: versions from `first` to `last`, ascending, with a key that meets this pointer.

        None that touched it is left out. Each comes with True where its key alone tells that it did, and False where
        only its patch can (a deeper pointer, a position, an operation on something that holds it).
        """
        parts = pointer.split("/", 3)[1:]
        whole = "".join(f"/{p}" for p in parts[:2])
        above = {"".join(f"/{p}" for p in parts[:n]) for n in range(min(len(parts), 2))}
        above |= {
            "".join(f"/{p}" for p in [*parts[: n - 1], "~"])
            for n in (1, 2)
            if n <= len(parts) and is_position(parts[n - 1])
        }
        below = pointer + "/" if len(parts) < 2 else None
        certain_here = len(parts) <= 2
        found: list[tuple[int, bool]] = []
        for start, block in self._blocks(first, last):
            meets: Iterable[str] = block if below is not None else [k for k in (whole, *above) if k in block]
            offsets: dict[int, bool] = {}
            for key in meets:
                if key == whole or (below is not None and key.startswith(below)):
                    offsets.update(dict.fromkeys(block[key], certain_here))
                elif key in above:
                    for offset in block[key]:
                        offsets.setdefault(offset, False)
            found.extend((s, offsets[o]) for o in sorted(offsets) if first <= (s := start + o) <= last)
        return found

    def build(self, first: int, last: int) -> None:
        """Cache the whole blocks among these versions that are not cached yet."""
        for _ in self._blocks(first, last, build_only=True):
            pass

    def _blocks(self, first: int, last: int, *, build_only: bool = False) -> Iterator[tuple[int, dict[str, list[int]]]]:
        """Blocks that cover these versions: the seq that offset 0 stands for, and the keys' offsets."""
        for segment in self._line.segments:
            low = max(first - segment.offset, 1)
            high = min(last, segment.last if segment.last is not None else last) - segment.offset
            if low > high:
                continue
            b_low, b_high = (low - 1) // BLOCK_EVENTS, (high - 1) // BLOCK_EVENTS
            cached = dict(self._backend.notes(_NAME + segment.log, b_low, b_high))
            newest = None
            for number in range(b_low, b_high + 1):
                start = number * BLOCK_EVENTS + 1
                block = _unpack(cached[number]) if number in cached else None
                if block is not None and build_only:
                    continue
                if block is None:
                    newest = newest if newest is not None else self._backend.tail(segment.log).number
                    whole = start + BLOCK_EVENTS - 1 <= newest
                    stop = start + BLOCK_EVENTS if whole else high + 1
                    begin = start if whole else max(start, low)
                    if build_only and not whole:
                        continue
                    block = self._read(segment.log, start, begin, stop)
                    if whole and not self._backend.read_only:
                        self._backend.put_note(_NAME + segment.log, number, _pack(block))
                yield segment.offset + start, block

    def _read(self, log: str, start: int, begin: int, stop: int) -> dict[str, list[int]]:
        block: dict[str, list[int]] = {}
        for number, body in self._backend.bodies(log, range(begin, stop)):
            for key in keys_of(body):
                block.setdefault(key, []).append(number - start)
        return block


def _pack(block: dict[str, list[int]]) -> bytes:
    return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(orjson.dumps(block))


def _unpack(data: bytes) -> dict[str, list[int]] | None:
    """A cached block, or None where it is damaged (it is then read anew)."""
    try:
        block: dict[str, list[int]] = orjson.loads(
            zstandard.ZstdDecompressor().decompress(data, max_output_size=1 << 26)
        )
    except (zstandard.ZstdError, ValueError):
        return None
    return block
