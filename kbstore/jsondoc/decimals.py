"""Number literals that a double rounds: found fast in a whole text, and judged exactly.

A literal is *exact* if the shortest literal of the same double has the same decimal value: ``1.10`` and ``0.1`` are
exact, ``0.1234567890123456789`` is not. A literal of up to 15 significant digits is always exact, unless the value is
below the normal doubles. So texts without a longer literal cost a single pass in C.
"""

import re
from collections.abc import Container, Iterator
from itertools import compress, repeat
from operator import ne
from typing import Any, Final, TypeAlias

import msgspec
import orjson

Lossy: TypeAlias = bool | Container[str]
"""The literals to accept although a double rounds them: all (True), not any (False), or the literals in a container."""

_LONG: Final = b"0" * 16
_TINY: Final = b"e-000"
_SHAPES: Final = bytes(
    ord("0") if chr(code) in "0123456789." else ord("e") if chr(code) in "eE" else code if code == ord("-") else 32
    for code in range(256)
)
"""Translates a text to a shape: each literal of 16 digits contains `_LONG` there, each exponent of -100 or less
contains `_TINY`."""
_BLANKS: Final = b" \t\n\r"
_TOGETHER = 2048
"""The number of literals to judge together: so few that the data in between stays in the processor's cache."""
_EXPONENTS = re.compile(rb"e[-+]?[0-9]+")


def is_exact(literal: str) -> bool:
    """Return whether a literal is exact. The literal has a fraction or an exponent, and is finite as a double."""
    return not _rounded([literal], orjson.dumps(float(literal)).decode())


def inexact_literals(data: bytes | bytearray, value: Any) -> set[str]:
    """Return the literals of a JSON text that are not exact.

    Args:
        data: A valid JSON text.
        value: The value of the text.

    Cost: 0.1 to 1 times ``orjson.loads`` for a text without long numbers, up to 2 times if all numbers are written as
    orjson prints them. Otherwise each number of the text is read: 4 times for a text dense in numbers, 20 times for a
    text of long numbers only.
    """
    shape = data.translate(_SHAPES)
    if _LONG not in shape and _TINY not in shape:
        return set()
    if orjson.dumps(value).translate(None, _BLANKS) == data.translate(None, _BLANKS):
        return set()  # numbers written as orjson prints them are exact; a number never contains blanks
    literals: list[str] = []
    msgspec.json.Decoder(float_hook=literals.append).decode(data)
    rounded: set[str] = set()
    for first in range(0, len(literals), _TOGETHER):
        some = literals[first : first + _TOGETHER]
        rounded.update(_rounded(some, orjson.dumps(orjson.loads(f"[{','.join(some)}]"))[1:-1].decode()))
    return rounded


def _rounded(literals: list[str], shortest: str) -> list[str]:
    """Return the literals that are not exact.

    Args:
        literals: Each has a fraction or an exponent, and is finite as a double.
        shortest: The shortest literals of the doubles, separated by commas.

    A literal and the shortest literal of its double lie within half a step of the double. So if both have the same
    significant digits, both have the same value: another power of ten would be far away.
    """
    printed = ",".join(literals)
    # Most languages print exponents as in 1E-07 and 1e+23, orjson as in 1e-7 (and 1e23, in some releases).
    if printed.lower().replace("e-0", "e-").replace("e+", "e") == shortest:
        return []
    held = shortest.split(",")
    differs = list(map(ne, literals, held))
    odd, held = list(compress(literals, differs)), list(compress(held, differs))
    return list(compress(odd, map(ne, _digits(odd), _digits(held))))


def _digits(literals: list[str]) -> Iterator[bytes]:
    """Yield the significant digits of each literal; zero has no digits."""
    joined = ",".join(literals).lower().encode()
    if b"e" in joined:
        joined = _EXPONENTS.sub(b"", joined)
    return map(bytes.strip, joined.translate(None, b"-.").split(b","), repeat(b"0"))


def is_accepted(literal: str, lossy: Lossy) -> bool:
    """Return whether a literal that is not exact may be rounded."""
    return lossy if isinstance(lossy, bool) else literal in lossy
