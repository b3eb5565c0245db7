"""JSON Pointer (RFC 6901): text to tokens and back, and the rules of array indexes.

Inside kbstore a pointer is a tuple of unescaped tokens; text is parsed once, on the way in.
"""

import re
from collections.abc import Iterable

from kbstore.errors import PointerError

MAX_DEPTH = 200
"""The deepest nesting of containers in a document; a pointer with more tokens is useless."""

_BAD_ESCAPE = re.compile(r"~(?![01])")
_SHOWN_CHARS = 200
_LONGEST_INDEX_DIGITS = 18
APPEND = frozenset("-")
"""The token for the place after the last element."""


def parse_pointer(text: str) -> tuple[str, ...]:
    """Return the tokens of a pointer; an empty tuple for the empty pointer, the whole document.

    Raises:
        PointerError: The text does not start with ``/``, holds a bad escape (RFC 6901 section 3) or a lone
            surrogate, or has more than `MAX_DEPTH` tokens.
    """
    if "~" not in text and text.isascii() and text[:1] == "/" and len(text) <= MAX_DEPTH:  # nearly all of them
        return tuple(text.split("/")[1:])
    if text == "":
        return ()
    if text[0] != "/":
        raise PointerError(
            f"the pointer {shorten(text)!r} does not start with a slash",
            pointer=text,
            hint="a JSON Pointer is empty or looks like /problems/p42/title",
        )
    if text.count("/") > MAX_DEPTH:
        raise PointerError(
            f"the pointer {shorten(text)!r} has {text.count('/')} tokens; documents are at most {MAX_DEPTH} deep",
            pointer=text,
        )
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise PointerError(
                f"the pointer {shorten(text)!a} holds a lone surrogate, which no JSON text can", pointer=text
            ) from None
    if "~" not in text:
        return tuple(text.split("/")[1:])
    if _BAD_ESCAPE.search(text):
        raise PointerError(
            f"the pointer {shorten(text)!r} has a ~ that is not followed by 0 or 1",
            pointer=text,
            hint="write ~0 for ~ and ~1 for /",
        )
    return tuple([token.replace("~1", "/").replace("~0", "~") for token in text.split("/")[1:]])


def escape_token(token: str) -> str:
    """Return a token as written in a pointer: ``~`` as ``~0`` and ``/`` as ``~1``."""
    if "~" in token or "/" in token:
        return token.replace("~", "~0").replace("/", "~1")
    return token


def format_pointer(tokens: Iterable[str]) -> str:
    """Return the pointer with these tokens; the inverse of `parse_pointer`."""
    return "".join(["/" + escape_token(token) for token in tokens])


def array_index(token: str, length: int, *, append: bool = False) -> int:
    """Return the index that a token names in an array of `length` elements (RFC 6901 section 4).

    Args:
        token: Decimal digits without leading zeros, or ``-`` if `append` is given.
        length: Number of elements.
        append: True if the place after the last element may be named, as in RFC 6902 ``add``.

    Raises:
        PointerError: The token is not an index, or the index is outside the array. The error has no pointer; the
            caller knows the pointer.
    """
    if token.isdigit() and token.isascii() and (token[0] != "0" or len(token) == 1):
        if len(token) <= _LONGEST_INDEX_DIGITS:
            index = int(token)
            if index < length or (append and index == length):
                return index
        raise PointerError(f"index {shorten(token)} is outside an array of {length} elements")
    if token in APPEND:
        if append:
            return length
        raise PointerError("- is the place after the last element, which has no value yet")
    raise PointerError(
        f"{shorten(token)!r} is not an array index", hint="write an index in decimal digits without leading zeros"
    )


def shorten(text: str) -> str:
    """Return the text, or only both ends of a text that is too long for a message."""
    if len(text) <= _SHOWN_CHARS:
        return text
    return f"{text[: _SHOWN_CHARS // 2]}...{text[-_SHOWN_CHARS // 4 :]} ({len(text)} characters)"
