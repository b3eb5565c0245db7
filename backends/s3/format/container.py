"""One layout for every object: a kind, a description, and parts, each with a digest.

::

    8 bytes    the kind: ``KBS`` and five letters
    4 bytes    length of the description, big-endian
    8 bytes    digest of the five letters and the description
    ...        the description: JSON, with ``parts``: [[name, length, digest, ...], ...]
    ...        the parts, one after another

A reader can get a single part with a range GET, and check that part alone. The parts that readers need first come
first, so the beginning of an object is often enough.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import orjson

from kbstore.backends.packing import digest
from kbstore.kit.errors import CorruptStore

_HEAD = struct.Struct(">8sI8s")
HEAD_BYTES = _HEAD.size
_LARGEST_DESCRIPTION = 1 << 28
_NO_COUNT = 1 << 53


class Part(NamedTuple):
    """Place, size and digest of a part.

    Attributes:
        name: Letter for the kind of content, such as ``h`` for headers.
        start: Offset of the first byte in the object.
        size: Length in bytes.
        digest: Digest of the bytes.
        detail: More about the part, in the form that the writer gave.
    """

    name: str
    start: int
    size: int
    digest: bytes
    detail: Any


class Incomplete(Exception):
    """The bytes at hand are too few: more of the object is needed.

    Attributes:
        needed: How many bytes are needed, counted from the beginning of the object.
    """

    def __init__(self, needed: int) -> None:
        super().__init__(f"the first {needed} bytes are needed")
        self.needed = needed


class Contents(NamedTuple):
    """Description and table of parts, as read from the beginning of an object.

    Attributes:
        description: The writer's fields, without ``parts``.
        parts: The parts, in order.
        size: Length of the whole object.
    """

    description: dict[str, Any]
    parts: list[Part]
    size: int


def pack(kind: bytes, description: dict[str, Any], parts: Sequence[tuple[str, bytes, Any]]) -> bytes:
    """Return the bytes of an object with these parts; each part is a name, bytes and a detail."""
    table = [[name, len(data), digest(data).hex(), detail] for name, data, detail in parts]
    described = orjson.dumps({**description, "parts": table})
    head = _HEAD.pack(b"KBS" + kind, len(described), digest(kind, described))
    return b"".join([head, described, *(data for _, data, _ in parts)])


def unpack(kind: bytes, data: bytes, where: str) -> Contents:
    """Return the description and the table of parts from the beginning of an object.

    Args:
        kind: The five letters.
        data: The object, or the beginning of the object.
        where: Name of the object, for errors.

    Raises:
        Incomplete: The data is too short.
        CorruptStore: The object is damaged, or of another kind.
    """
    if len(data) < HEAD_BYTES:
        raise Incomplete(HEAD_BYTES)
    found, length, expected = _HEAD.unpack_from(data)
    if found != b"KBS" + kind or length > _LARGEST_DESCRIPTION:
        raise CorruptStore(f"{where} is not what it should be: it begins with {found!r}", hint="run: kbstore verify")
    end = HEAD_BYTES + length
    if len(data) < end:
        raise Incomplete(end)
    described = data[HEAD_BYTES:end]
    if digest(kind, described) != expected:
        raise CorruptStore(f"{where} is damaged", hint="run: kbstore verify")
    try:
        description = orjson.loads(described)
        parts = []
        for name, size, hexed, detail in description.pop("parts"):
            count(size)
            parts.append(Part(name, end, size, bytes.fromhex(hexed), detail))
            end += size
    except (ValueError, TypeError, KeyError, AttributeError) as fault:
        raise CorruptStore(f"{where} is malformed: {fault}", hint="run: kbstore verify") from None
    return Contents(description, parts, end)


def count(value: Any) -> int:
    """Return a value of a description that must be a count, a length or an offset.

    Raises:
        ValueError: The value is not a whole number, is negative, or is 2^53 or more.
    """
    if type(value) is not int or not 0 <= value < _NO_COUNT:
        raise ValueError("a count is not one")
    return value


def counts(values: Iterable[Any]) -> list[int]:
    """Return several such values as a list, each checked by `count`."""
    return [count(value) for value in values]


def mark_of(data: bytes) -> str:
    """Return the mark of an object, given the beginning: the digest of the description.

    The description holds the digests of all parts, so objects with different content have different marks.
    """
    return bytes(_HEAD.unpack_from(data)[2]).hex()


def part_in(part: Part, data: bytes, where: str, *, start: int = 0) -> bytes:
    """Return the checked bytes of a part.

    Args:
        part: The part.
        data: Bytes of the object, from offset `start` on.
        where: Name of the object, for errors.
        start: Offset of `data` in the object.

    Raises:
        Incomplete: The data ends before the part does.
        CorruptStore: The part is damaged.
    """
    begin = part.start - start
    found = data[begin : begin + part.size]
    if len(found) < part.size:
        raise Incomplete(part.start + part.size)
    if digest(found) != part.digest:
        raise CorruptStore(f"{part.name} of {where} is damaged", hint="run: kbstore verify")
    return found
