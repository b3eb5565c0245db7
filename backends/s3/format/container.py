"""One layout for every object: what it is, a description, and parts, each with its digest.

::

    8 bytes    what it is: ``KBS`` and five letters
    4 bytes    length of the description, big-endian
    8 bytes    digest of the description
    ...        the description: JSON, with ``parts``: [[name, length, digest, ...], ...]
    ...        the parts, one after another

A part is read alone with a range GET and checked alone. What is asked for first stands first, so the beginning of an
object is often enough.
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
    """Where a part stands.

    Attributes:
        name: What it is.
        start: Offset of its first byte in the object.
        size: Its length.
        digest: Its digest.
        detail: More about it, as its writer put it.
    """

    name: str
    start: int
    size: int
    digest: bytes
    detail: Any


class Incomplete(Exception):
    """More of the object is needed.

    Attributes:
        needed: How many bytes from its beginning.
    """

    def __init__(self, needed: int) -> None:
        super().__init__(f"the first {needed} bytes are needed")
        self.needed = needed


class Contents(NamedTuple):
    """The beginning of an object, read.

    Attributes:
        description: What its writer said.
        parts: Its parts, in order.
        size: Length of the whole object.
    """

    description: dict[str, Any]
    parts: list[Part]
    size: int


def pack(kind: bytes, description: dict[str, Any], parts: Sequence[tuple[str, bytes, Any]]) -> bytes:
    """An object of these parts, each a name, its bytes and a detail."""
    table = [[name, len(data), digest(data).hex(), detail] for name, data, detail in parts]
    described = orjson.dumps({**description, "parts": table})
    head = _HEAD.pack(b"KBS" + kind, len(described), digest(kind, described))
    return b"".join([head, described, *(data for _, data, _ in parts)])


def unpack(kind: bytes, data: bytes, where: str) -> Contents:
    """What the beginning of an object tells.

    Args:
        kind: The five letters.
        data: The object, or its beginning.
        where: Names it, for errors.

    Raises:
        Incomplete: The beginning is too short.
        CorruptStore: It is damaged, or something else.
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
    """Return what a description gives as a count, a length or an offset, if it can be one.

    Raises:
        ValueError: It is not a whole number, or negative.
    """
    if type(value) is not int or not 0 <= value < _NO_COUNT:
        raise ValueError("a count is not one")
    return value


def counts(values: Iterable[Any]) -> list[int]:
    """Return several as a list; see `count`."""
    return [count(value) for value in values]


def mark_of(data: bytes) -> str:
    """What tells an object from others, given its beginning: the digest of its description, which has all others."""
    return bytes(_HEAD.unpack_from(data)[2]).hex()


def part_in(part: Part, data: bytes, where: str, *, start: int = 0) -> bytes:
    """A part out of the bytes of an object from `start` on, checked.

    Raises:
        Incomplete: They end before it does.
        CorruptStore: It is damaged.
    """
    begin = part.start - start
    found = data[begin : begin + part.size]
    if len(found) < part.size:
        raise Incomplete(part.start + part.size)
    if digest(found) != part.digest:
        raise CorruptStore(f"{part.name} of {where} is damaged", hint="run: kbstore verify")
    return found
