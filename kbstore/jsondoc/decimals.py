"""Number literals that a double rounds: found fast in a whole text, and judged exactly one by one.

A literal is *exact* if its decimal value is that of the shortest literal of its double: ``1.10`` and ``0.1`` are exact,
``0.1234567890123456789`` is not. A literal of up to 15 significant digits always is, unless it is below the normal
doubles, so texts without a longer one cost one pass in C.
"""

import re
from collections.abc import Container, Iterator
from itertools import compress, repeat
from operator import ne
from typing import Any, Final, TypeAlias

import msgspec
import orjson

Lossy: TypeAlias = bool | Container[str]
"""The literals that may be rounded: True for all of them, False for none, else those in a container."""

_LONG: Final = b"0" * 16
_TINY: Final = b"e-000"
_SHAPES: Final = bytes(
    ord("0") if chr(code) in "0123456789." else ord("e") if chr(code) in "eE" else code if code == ord("-") else 32
    for code in range(256)
)
"""Maps a text to its shape, in which a literal of 16 digits and an exponent of three look alike wherever they are."""
_BLANKS: Final = b" \t\n\r"
_TOGETHER = 2048
"""Literals that are judged in one go: so few that what is made of them stays in the cache of the processor."""
_EXPONENTS = re.compile(rb"e[-+]?[0-9]+")


def is_exact(literal: str) -> bool:
    """Return whether a literal with a fraction or an exponent, which is finite as a double, equals what it prints."""
    return not _rounded([literal], orjson.dumps(float(literal)).decode())


def inexact_literals(data: bytes | bytearray, value: Any) -> set[str]:
    """Return the literals of a JSON text that are not exact.

    Args:
        data: A valid JSON text.
        value: Its value.

    Cost: 0.1 to 1 times ``orjson.loads`` for a text without a long number, up to 2 times for one that has some and
    prints them as orjson does. Else each number of the text is looked at, which takes 4 times where it is dense in
    numbers, and 20 where it is nothing but long ones.
    """
    shape = data.translate(_SHAPES)
    if _LONG not in shape and _TINY not in shape:
        return set()
    if orjson.dumps(value).translate(None, _BLANKS) == data.translate(None, _BLANKS):
        return set()  # what is printed as orjson prints it is exact; blanks stand nowhere in a number
    literals: list[str] = []
    msgspec.json.Decoder(float_hook=literals.append).decode(data)
    rounded: set[str] = set()
    for first in range(0, len(literals), _TOGETHER):
        some = literals[first : first + _TOGETHER]
        rounded.update(_rounded(some, orjson.dumps(orjson.loads(f"[{','.join(some)}]"))[1:-1].decode()))
    return rounded


def _rounded(literals: list[str], shortest: str) -> list[str]:
    """Return which of these literals are not exact.

    Args:
        literals: With a fraction or an exponent each, and finite as doubles.
        shortest: What their doubles print, separated by commas.

    A literal and the shortest one of its double lie within half a step of that double, so if they have the same
    significant digits they have the same value: another power of ten would be far away.
    """
    printed = ",".join(literals)
    # As most languages print exponents: 1E-07, 1e+23.
    if printed.lower().replace("e-0", "e-").replace("e+", "e") == shortest:
        return []
    held = shortest.split(",")
    differs = list(map(ne, literals, held))
    odd, held = list(compress(literals, differs)), list(compress(held, differs))
    return list(compress(odd, map(ne, _digits(odd), _digits(held))))


def _digits(literals: list[str]) -> Iterator[bytes]:
    """Yield the significant digits of each literal; those of zero are empty."""
    joined = ",".join(literals).lower().encode()
    if b"e" in joined:
        joined = _EXPONENTS.sub(b"", joined)
    return map(bytes.strip, joined.translate(None, b"-.").split(b","), repeat(b"0"))


def is_accepted(literal: str, lossy: Lossy) -> bool:
    """Whether a literal that is not exact may be rounded."""
    return lossy if isinstance(lossy, bool) else literal in lossy
