"""Canonical JSON: a single spelling for each value, checked strictly on reading and on writing.

Invariants, on which hashes and histories rest:

1. A value is made of exactly `dict` with `str` keys, `list`, `str`, `int` in [-2^63, 2^64-1], finite `float`, `bool`
   and None, at most `MAX_DEPTH` containers deep. Other types are refused, from text and from Python; only a
   checked-out document (`kbstore.jsondoc.document`) also counts as a dict or list.
2. ``decode(encode(v))`` has the types and values of `v`, and ``encode(decode(b)) == b`` for canonical `b`:
   ``1``, ``1.0``, ``true``, ``0.0`` and ``-0.0`` stay apart. (The text ``-0`` is the integer 0, without a sign.)
3. A text is refused if its value depends on the reader: duplicate members, NaN, integers beyond 64 bit, other
   numbers that would be rounded, lone surrogates, invalid UTF-8 and a byte order mark.

Speed comes from never visiting a node in Python. msgspec reads: it keeps big integers, and refuses NaN, 1e400 and lone
surrogates. orjson prints. ormsgpack never takes one type for another, and so proves that a Python value has the types
of invariant 1. Only refused values are examined slowly, to find the place of the fault
(`kbstore.jsondoc.diagnose.text`, `kbstore.jsondoc.diagnose.value`).
"""

import os
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Final, TypeAlias

import msgspec.json
import orjson

from kbstore.errors import InvalidJSON
from kbstore.jsondoc.decimals import Lossy, inexact_literals, is_accepted
from kbstore.jsondoc.diagnose.text import locate_fault, locate_inexact
from kbstore.jsondoc.diagnose.value import find_fault, why_no_json
from kbstore.jsondoc.document import plain_or_refuse
from kbstore.jsondoc.pointer import MAX_DEPTH

JSON: TypeAlias = Any
"""None, bool, int, float, str, list of JSON, or dict of str to JSON. (A recursive alias would be exact but unusable:
each index into a document would need a cast.)"""


class _Missing:
    """The type of `MISSING`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""Marks the absence of a value; None is a value."""

_BLOCK_BYTES = 1024
_SORTED = orjson.OPT_SORT_KEYS
_ESCAPED_COLON = re.compile(rb"(?<!\\)(?:\\\\)*\\u003[aA]")
_MAYBE_NOT_FINITE = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]")
"""The first bytes of NaN and of the infinities in MessagePack: never in UTF-8 text, but possible in an integer."""


def _orjson_depth() -> int:
    """Return the deepest nesting of lists that orjson prints."""
    value: JSON = 0
    for depth in range(1, 4096):
        value = [value]
        try:
            orjson.dumps(value)
        except TypeError:
            return depth - 1
    return 0


_WRAPPERS = max(0, _orjson_depth() - MAX_DEPTH)
"""Lists to wrap around a value, so that orjson's own limit is exactly `MAX_DEPTH`: a check of depth at no cost."""


def encode(value: JSON) -> bytes:
    """Return the canonical bytes of a value known to be valid, without a check. Cost: 8 ms for 10 MB."""
    return _small(orjson.dumps(value, option=_SORTED))


def _small(data: bytes) -> bytes:
    # orjson writes into a block of a kilobyte or more; many small results in memory would keep all their blocks.
    return data if len(data) > _BLOCK_BYTES else bytes(memoryview(data))


def decode(data: bytes | bytearray | memoryview) -> JSON:
    """Return the value of canonical bytes written by `encode`: the fastest way, with few checks."""
    try:
        return msgspec.json.decode(data)
    except RecursionError:  # the caller is deep in Python's stack; orjson counts its own depth
        return orjson.loads(data)


decode_large = orjson.loads
"""As `decode`, and faster for many kilobytes, since orjson remembers keys."""


def loads(data: bytes | bytearray | memoryview | str, *, lossy: Lossy = False) -> JSON:
    """Return the value of a JSON text, read strictly; members keep the order of the text.

    Args:
        data: The text, in UTF-8.
        lossy: Numbers with more digits than a double, to round instead of refuse: True for all such numbers, or a
            container of their literals.

    Cost: 1.3 to 2.9 times ``orjson.loads``. For a text dense in numbers of more than 15 digits, written in another way
    than orjson prints numbers, 7 times; 20 times for a text of such numbers only.

    Raises:
        InvalidJSON: The text breaks a rule of this module. The error has the line, the column and the pointer.
    """
    return _read(data, lossy)[0]


def loads_rounded(data: bytes | bytearray, lossy: Lossy) -> tuple[JSON, set[str]]:
    """Return the value of a JSON text, and the rounded literals. Raises and costs as `loads`.

    Args:
        data: The text, in UTF-8.
        lossy: As for `loads`.
    """
    value = loads(data, lossy=True)
    rounded = _inexact(data, value)
    if not all(is_accepted(literal, lossy) for literal in rounded):
        loads(data, lossy=lossy)
    return value, rounded


def parse(data: bytes | bytearray | memoryview | str) -> tuple[JSON, bytes]:
    """Return the value and the canonical bytes of a JSON text. Raises and costs as `loads`."""
    value, printed = _read(data)
    return value, printed[_WRAPPERS : len(printed) - _WRAPPERS]


def dumps(value: JSON) -> bytes:
    """Return the canonical bytes of a Python value, after a check. Cost: 17 ms for 10 MB.

    Raises:
        InvalidJSON: A part of the value is not exactly JSON (invariant 1); the error has the pointer.
    """
    kind = type(value)
    if kind is str or kind is int:
        try:
            return _small(orjson.dumps(value))
        except TypeError:
            raise why_no_json(value) from None
    _check_types(value)
    try:
        data = orjson.dumps(value, option=_SORTED)
    except TypeError:
        raise why_no_json(value) from None
    # Few brackets prove that the value is shallow.
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH and not fits_depth(value, 0):
        raise why_no_json(value)
    return _small(data)


def dumps_within(values: Iterable[JSON], depth: int) -> list[bytes]:
    """Return the canonical bytes of values inside `depth` containers, as `dumps`.

    An error's pointer starts at a value.
    """
    pack, maybe_not_finite, around = _packer(), _MAYBE_NOT_FINITE.search, _WRAPPERS + depth
    inner: list[JSON] = [None]
    outer = _wrapped(inner, depth - 1)
    printed = []
    for value in values:
        inner[0] = value
        try:
            packed = pack(value)
            data = orjson.dumps(outer, option=_SORTED)
        except TypeError:
            raise why_no_json(value) from None
        if maybe_not_finite(packed) and (fault := find_fault(value)) is not None:
            raise fault
        printed.append(data[around : len(data) - around])
    return printed


def check(value: JSON) -> None:
    """Raise `InvalidJSON` if a value is not exactly JSON, as `dumps` does."""
    dumps(value)


def clone(value: JSON) -> JSON:
    """Return a checked copy that shares nothing mutable with `value`, members in the same order. Raises as `dumps`."""
    if isinstance(value, (dict, list)):
        _check_types(value)
        printed = _printed(value)
        return decode(memoryview(printed)[_WRAPPERS : len(printed) - _WRAPPERS])
    kind = type(value)
    if kind is str:
        if not value.isascii():
            dumps(value)
    elif value is not None and kind is not bool:
        dumps(value)
    return value


def copy_of(value: JSON) -> JSON:
    """Return a copy of a valid value that shares nothing mutable with `value`, members in the same order."""
    return decode(orjson.dumps(value)) if isinstance(value, (dict, list)) else value


def fits_depth(value: JSON, depth: int) -> bool:
    """Return whether a valid value may be inside `depth` containers without exceeding `MAX_DEPTH`."""
    if not isinstance(value, (dict, list)):
        return depth <= MAX_DEPTH
    try:
        orjson.dumps(_wrapped(value, depth))
    except TypeError:
        return False
    return True


def same(a: JSON, b: JSON) -> bool:
    """Return whether two valid values are the same JSON, types included: 1, 1.0 and true differ, as do 0.0 and -0.0."""
    if a is b:
        return True
    kind = type(a)
    if kind is not type(b):
        return False
    if kind is dict or kind is list:
        return len(a) == len(b) and orjson.dumps(a, option=_SORTED) == orjson.dumps(b, option=_SORTED)
    if kind is float:
        return orjson.dumps(a) == orjson.dumps(b)
    return bool(a == b)


def equal_by_value(a: JSON, b: JSON) -> bool:
    """Return whether two values are equal by RFC 6902 section 4.6: numbers by value (1 equals 1.0), but true is not 1.

    Cost: bounded by the smaller value.
    """
    if a != b:  # Python's == never misses equal values, but takes true for 1
        return False
    pairs = [(a, b)]
    while pairs:
        a, b = pairs.pop()
        kind = type(a)
        if kind is dict:
            pairs.extend([(value, b[key]) for key, value in a.items()])
        elif kind is list:
            pairs.extend(zip(a, b, strict=True))
        elif (kind is bool) is not (type(b) is bool):
            return False
    return True


def _read(data: bytes | bytearray | memoryview | str, lossy: Lossy = False) -> tuple[JSON, bytes]:
    """Return the value of a text, and the canonical bytes within `_WRAPPERS` lists."""
    if isinstance(data, str):
        text = data
        try:
            data = text.encode()
        except UnicodeEncodeError as fault:
            raise _lone_surrogate_in_text(text, fault.start) from None
    elif isinstance(data, memoryview):
        data = bytes(data)
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        found = locate_fault(data, lossy)
        if found is not None:
            raise found from None
        if not isinstance(fault, RecursionError):
            raise InvalidJSON(f"the text is not JSON: {fault}") from None
        value = orjson.loads(data)  # only Python's stack was short; the text itself has no fault
    try:
        printed = orjson.dumps(_wrapped(value), option=_SORTED)
    except TypeError as fault:
        raise locate_fault(data, lossy) or InvalidJSON(f"the text is not JSON: {fault}") from None
    if data.count(b":") + _escaped_colons(data) != printed.count(b":"):
        # Of two members with one name, the reader drops the first, and a colon with it.
        raise locate_fault(data, lossy) or InvalidJSON("the text has an object with two members of one name")
    if lossy is not True and not all(is_accepted(literal, lossy) for literal in _inexact(data, value)):
        raise locate_fault(data, lossy) or InvalidJSON("the text has a number that would be rounded")
    return value, printed


def _inexact(data: bytes | bytearray, value: JSON) -> set[str]:
    """Return the literals of a valid text that are not exact."""
    try:
        return inexact_literals(data, value)
    except RecursionError:  # the caller is deep in Python's stack; the scanner keeps a stack of its own
        return {literal for _, literal in locate_inexact(data)}


def _escaped_colons(data: bytes | bytearray) -> int:
    """Return how often ``\\u003a`` means a colon in a valid text (a backslash before may cancel the meaning)."""
    candidates = data.count(b"\\u003a") + data.count(b"\\u003A")
    if candidates and (b"\\\\u003a" in data or b"\\\\u003A" in data):
        return len(_ESCAPED_COLON.findall(data))
    return candidates


def _wrapped(value: JSON, depth: int = 0) -> JSON:
    """Return a value inside enough lists for orjson to refuse nesting deeper than `MAX_DEPTH` minus `depth`."""
    for _ in range(_WRAPPERS + depth):
        value = [value]
    return value


def _printed(value: JSON, option: int = 0) -> bytes:
    """Print a value within `_WRAPPERS` lists; refuse integers, surrogates and depth beyond the bounds."""
    try:
        return orjson.dumps(_wrapped(value), option=option)
    except TypeError:
        raise why_no_json(value) from None


def _check_types(value: JSON) -> None:
    """Refuse wrong types (subclasses too) and NaN; `_printed` checks the rest of invariant 1."""
    try:
        packed = _packer()(value)
    except TypeError:
        raise why_no_json(value) from None
    if _MAYBE_NOT_FINITE.search(packed) and (fault := find_fault(value)) is not None:
        raise fault


@cache
def _packer() -> Callable[[JSON], bytes]:
    """Return a packer for values with only types of invariant 1. Imported on first use: reading never packs."""
    import ormsgpack

    exact = (
        ormsgpack.OPT_PASSTHROUGH_DATACLASS
        | ormsgpack.OPT_PASSTHROUGH_DATETIME
        | ormsgpack.OPT_PASSTHROUGH_ENUM
        | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
        | ormsgpack.OPT_PASSTHROUGH_TUPLE
        | ormsgpack.OPT_PASSTHROUGH_UUID
    )
    return lambda value: ormsgpack.packb(value, default=plain_or_refuse, option=exact)


if hasattr(os, "register_at_fork"):
    # If another thread imports a module while the process forks, the child can never import the module: it would wait
    # for that thread for ever. So the import is done before a fork.
    os.register_at_fork(before=_packer)


def _lone_surrogate_in_text(text: str, index: int) -> InvalidJSON:
    line = text.count("\n", 0, index) + 1
    column = index - text.rfind("\n", 0, index)
    return InvalidJSON(
        f"line {line}, column {column}: a lone surrogate, which no JSON text can hold", line=line, column=column
    )
