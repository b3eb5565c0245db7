"""Number literals that a double rounds: found fast in a whole text, and judged exactly one by one.

A literal is *exact* if its decimal value is that of the shortest literal of its double: ``1.10`` and ``0.1`` are exact,
``0.1234567890123456789`` is not. A literal of up to 15 significant digits always is, unless it is below the normal
doubles, so texts without a longer one cost one pass in C.
"""

import re
from collections.abc import Container
from decimal import Decimal
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
_NONZERO = re.compile("[1-9]")


def is_exact(literal: str) -> bool:
    """Whether a literal with a fraction or an exponent, which is finite as a double, equals what its double prints."""
    value = float(literal)
    if value == 0:
        return _NONZERO.search(literal.lower().partition("e")[0]) is None
    return Decimal(literal) == Decimal(repr(value))


def inexact_literals(data: bytes | bytearray, value: Any) -> set[str]:
    """Return the literals of a JSON text that are not exact.

    Args:
        data: A valid JSON text.
        value: Its value.

    Cost: 0.1 to 0.4 times ``orjson.loads`` for a text without a long number, up to 1.2 times for one that has some and
    prints them as orjson does, and up to 5 times for one that is dense in others.
    """
    shape = data.translate(_SHAPES)
    if _LONG not in shape and _TINY not in shape:
        return set()
    if orjson.dumps(value).translate(None, _BLANKS) == data.translate(None, _BLANKS):
        return set()  # what is printed as orjson prints it is exact; blanks stand nowhere in a number
    literals: list[str] = []
    msgspec.json.Decoder(float_hook=literals.append).decode(data)
    if not literals:
        return set()
    shortest = orjson.dumps(orjson.loads(f"[{','.join(literals)}]")).decode()[1:-1].split(",")
    pairs = zip(literals, shortest, strict=True)
    return {literal for literal, short in pairs if literal != short and not is_exact(literal)}


def is_accepted(literal: str, lossy: Lossy) -> bool:
    """Whether a literal that is not exact may be rounded."""
    return lossy if isinstance(lossy, bool) else literal in lossy
