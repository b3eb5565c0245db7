"""Canonical JSON: what is refused, and where; what stays exactly what it was."""

import collections
import datetime as dt
import decimal
import enum
import inspect
import json
import math
import struct
import sys
import uuid
from fractions import Fraction
from typing import Any, NamedTuple

import orjson
import ormsgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbstore.errors import InvalidJSON, KBStoreError
from kbstore.jsondoc import canonical
from kbstore.jsondoc.canonical import (
    MAX_DEPTH,
    MISSING,
    check,
    clone,
    decode,
    dumps,
    encode,
    equal_by_value,
    loads,
    parse,
    same,
)
from tests.jsondoc.values import CONTAINERS, SCALARS, VALUES, exactly, nested


class Colour(enum.IntEnum):
    RED = 1


class Word(enum.StrEnum):
    A = "a"


class Text(str):
    __slots__ = ()


class Point(NamedTuple):
    x: int
    y: int


# Text, line, column, pointer, and a word of the message.
REFUSED_TEXTS: list[tuple[bytes, int, int, str, str]] = [
    (b"", 1, 1, "", "expected a value"),
    (b"  \n ", 2, 2, "", "the end of the text"),
    (b"\xef\xbb\xbf{}", 1, 1, "", "byte order mark"),
    (b'{"a":1,\n "a":2}', 2, 2, "/a", "twice"),
    (b'{"b":[{"a":1,"\\u0061":2}]}', 1, 14, "/b/0/a", "twice"),
    (b'{"x":{"\\u003a":1},"y":1,"y":2}', 1, 25, "/y", "twice"),
    (b"[1,\n NaN]", 2, 2, "/1", "NaN"),
    (b'{"a":Infinity}', 1, 6, "/a", "Infinity"),
    (b"[-Infinity]", 1, 2, "/0", "Infinity"),
    (b"[1e400]", 1, 2, "/0", "too large for a double"),
    (b"[-1E400]", 1, 2, "/0", "too large for a double"),
    (b"12345678901234567890.5", 1, 1, "", "would be rounded to 1.2345678901234567e+19"),
    (b'{"a":[0.1234567890123456789]}', 1, 7, "/a/0", "would be rounded to 0.12345678901234568"),
    (b'{"pi":\n3.141592653589793238}', 2, 1, "/pi", "would be rounded to 3.141592653589793"),
    (b"[1e-400]", 1, 2, "/0", "would be rounded to 0.0"),
    (b"[18446744073709551616]", 1, 2, "/0", "outside"),
    (b'{"n":-9223372036854775809}', 1, 6, "/n", "outside"),
    (b"1" * 5000, 1, 1, "", "outside"),
    (b'["a","\\ud800"]', 1, 6, "/1", "surrogate"),
    (b'["\\udc00\\ud800"]', 1, 2, "/0", "surrogate"),
    (b'{"\\ud800x":1}', 1, 2, "", "surrogate"),
    (b'["\xff"]', 1, 3, "/0", "UTF-8"),
    (b'["\xed\xa0\x80"]', 1, 3, "/0", "UTF-8"),
    (b'["\xc0\x80"]', 1, 3, "/0", "UTF-8"),
    ('["é", tru]'.encode(), 1, 7, "/1", "tru"),
    (b"{} {}", 1, 4, "", "follows"),
    (b"[1,]", 1, 4, "/1", "expected a value"),
    (b'{"a":1,}', 1, 8, "", "member name"),
    (b"[1 2]", 1, 4, "/0", "expected ','"),
    (b'{"a" 1}', 1, 6, "/a", "expected ':'"),
    (b"{1:2}", 1, 2, "", "member name"),
    (b"{'a':1}", 1, 2, "", "member name"),
    (b"[01]", 1, 2, "/0", "not a JSON number"),
    (b"[1.]", 1, 2, "/0", "not a JSON number"),
    (b"[.5]", 1, 2, "/0", "expected a value"),
    (b"[+1]", 1, 2, "/0", "expected a value"),
    (b"[-]", 1, 2, "/0", "expected a value"),
    (b"[1", 1, 3, "/0", "the end of the text"),
    (b'["a', 1, 2, "/0", "ends inside"),
    (b'["a\nb"]', 1, 2, "/0", "control character"),
    (b'["\\x"]', 1, 2, "/0", "bad escape"),
    (b'["\\u12"]', 1, 2, "/0", "bad escape"),
    (b"/**/1", 1, 1, "", "expected a value"),
    (b"\x0c1", 1, 1, "", "expected a value"),
    (b"\xc2\xa01", 1, 1, "", "expected a value"),
    (b"1\x00", 1, 2, "", "follows"),
    (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), 1, MAX_DEPTH + 1, "/0" * MAX_DEPTH, "deeper"),
    (b"[" * 100_000, 1, MAX_DEPTH + 1, "/0" * MAX_DEPTH, "deeper"),
    (b'{"a":' * 100_000, 1, 5 * MAX_DEPTH + 1, "/a" * MAX_DEPTH, "deeper"),
]


@pytest.mark.parametrize(("text", "line", "column", "pointer", "word"), REFUSED_TEXTS, ids=range(len(REFUSED_TEXTS)))
def test_a_text_that_is_refused_is_named_by_line_column_and_pointer(
    text: bytes, line: int, column: int, pointer: str, word: str
) -> None:
    """Every refusal of a text says where it lies and what is wrong there."""
    with pytest.raises(InvalidJSON) as caught:
        loads(text)
    fault = caught.value
    assert (fault.line, fault.column, fault.pointer) == (line, column, pointer)
    assert word in str(fault)
    assert f"line {line}, column {column}" in str(fault)
    assert isinstance(fault, KBStoreError)


REFUSED_VALUES: list[tuple[Any, str, str]] = [
    (math.nan, "", "nan"),
    ({"a": [1, math.inf]}, "/a/1", "inf"),
    ([0.5, {"b": -math.inf}], "/1/b", "inf"),
    ([struct.unpack(">d", bytes.fromhex("fff8000000000001"))[0]], "/0", "nan"),
    ([struct.unpack(">d", bytes.fromhex("7ff0000000000001"))[0]], "/0", "nan"),
    ([ormsgpack.Ext(1, b"x")], "/0", "Ext"),
    ([bytearray(b"x")], "/0", "bytearray"),
    ([Point(1, 2)], "/0", "Point"),
    ((1, 2), "", "tuple"),
    ([(1,)], "/0", "tuple"),
    ({1: 2}, "", "member name"),
    ({"a": {None: 2}}, "/a", "member name"),
    ({"a": b"x"}, "/a", "bytes"),
    ({"a": {1}}, "/a", "set"),
    ([2**64], "/0", "outside"),
    ([-(2**63) - 1], "/0", "outside"),
    (10**5000, "", "outside"),
    (Colour.RED, "", "Colour"),
    ({"x": Word.A}, "/x", "Word"),
    ({"x/y": Text("a")}, "/x~1y", "Text"),
    ({Text("a"): 1}, "", "member name"),
    ([collections.OrderedDict(a=1)], "/0", "OrderedDict"),
    ([collections.defaultdict(int)], "/0", "defaultdict"),
    (Point(1, 2), "", "Point"),
    ([uuid.UUID(int=1)], "/0", "UUID"),
    ({"t": dt.datetime(2025, 1, 27, tzinfo=dt.UTC)}, "/t", "datetime"),
    ([decimal.Decimal(1)], "/0", "Decimal"),
    ([MISSING], "/0", "Missing"),
    ([orjson.Fragment(b"1")], "/0", "Fragment"),
    (["ok", "\ud800"], "/1", "surrogate"),
    ({"a": {"\udfff": 1}}, "/a", "surrogate"),
    (object(), "", "object"),
    (nested(MAX_DEPTH + 1), "/0" * MAX_DEPTH, "deeper"),
]


@pytest.mark.parametrize(
    "value",
    [
        sys.float_info.max,
        -sys.float_info.max,
        0xCB7FF0,
        0xCB7FF80000000000,
        -int.from_bytes(bytes.fromhex("cbfff0cb7ff0"), "big"),
        "\u02ff\x7f\u00f0",
        "x" * 0xCB + "\x7f",
    ],
)
def test_what_only_looks_like_nan_when_packed_passes(value: Any) -> None:
    """Numbers and texts whose packed bytes hold those with which NaN or an infinity begins are good JSON."""
    assert loads(dumps([value, {"a": value}])) == [value, {"a": value}]


@pytest.mark.parametrize(("value", "pointer", "word"), REFUSED_VALUES, ids=range(len(REFUSED_VALUES)))
@pytest.mark.parametrize("reader", [dumps, check, clone])
def test_a_python_value_that_is_no_json_is_named_by_pointer(reader: Any, value: Any, pointer: str, word: str) -> None:
    """Whatever is not exactly JSON is refused from Python too, by its pointer."""
    with pytest.raises(InvalidJSON) as caught:
        reader(value)
    assert caught.value.pointer == pointer
    assert caught.value.line is None
    assert word in str(caught.value)


def test_numpy_like_numbers_are_refused() -> None:
    """A subclass of float or int passes for nothing but itself."""

    class Number(float):
        pass

    with pytest.raises(InvalidJSON, match="Number"):
        dumps({"a": [Number(1.5)]})


def test_a_cyclic_value_is_refused_without_growing() -> None:
    """A list that holds itself many times over is found to be too deep, and soon."""
    one: list[Any] = []
    one.append(one)
    many: list[Any] = []
    many.extend([many] * 1000)
    table: dict[str, Any] = {}
    table["a"] = [table, table, table]
    for value in (one, many, table):
        with pytest.raises(InvalidJSON, match="deeper"):
            dumps(value)


def test_depth_is_counted_in_containers() -> None:
    """200 containers inside each other pass in every direction, with anything in the innermost."""
    for inner in (0, "x", None):
        value = nested(MAX_DEPTH, inner)
        text = dumps(value)
        assert loads(text) == decode(text) == clone(value) == value
    assert loads(dumps(nested(MAX_DEPTH - 1, {}))) == nested(MAX_DEPTH - 1, {})
    with pytest.raises(InvalidJSON, match="deeper"):
        loads(json.dumps(nested(MAX_DEPTH, {})))
    with pytest.raises(InvalidJSON, match="deeper"):
        dumps(nested(MAX_DEPTH, []))


def test_depth_does_not_depend_on_the_callers_stack() -> None:
    """A good document is read also where Python's own stack is nearly used up."""
    text = dumps(nested(MAX_DEPTH))

    def descend(frames: int) -> Any:
        return descend(frames - 1) if frames else (loads(text), decode(text))

    frames = sys.getrecursionlimit() - 150 - len(inspect.stack())
    assert descend(frames) == (nested(MAX_DEPTH), nested(MAX_DEPTH))


@pytest.mark.parametrize(
    ("text", "canonical_text"),
    [
        (b"-0", b"0"),
        (b"-0.0", b"-0.0"),
        (b"-0e1", b"-0.0"),
        (b"1E5", b"100000.0"),
        (b"1e22", b"1e+22"),
        (b"1.8446744073709552e19", b"1.8446744073709552e+19"),
        (b"0e-400", b"0.0"),
        (b"1.10", b"1.1"),
        (b"18446744073709551615", b"18446744073709551615"),
        (b"-9223372036854775808", b"-9223372036854775808"),
        (b'"\\u0000\\/\\ud83d\\ude00"', '"\\u0000/😀"'.encode()),
        (b' {"b":1, "a":[1.0, true] } ', b'{"a":[1.0,true],"b":1}'),
        ('{"\uffff":1,"😀":2}'.encode(), '{"\uffff":1,"😀":2}'.encode()),
        (b'{"\\u003a":":\\u003A","a\\\\u003a":1}', b'{":":"::","a\\\\u003a":1}'),
    ],
)
def test_every_value_has_one_spelling(text: bytes, canonical_text: bytes) -> None:
    """Spellings of one value print the same, and the print reads back the same."""
    value, printed = parse(text)
    assert printed == canonical_text == dumps(value) == encode(loads(canonical_text)) == encode(decode(canonical_text))
    assert exactly(loads(text.decode())) == exactly(loads(bytearray(text))) == exactly(loads(memoryview(text)))


def test_a_str_is_read_like_its_bytes() -> None:
    """Text may come decoded; a lone surrogate in it is refused by place."""
    assert loads('{"é":1}') == {"é": 1}
    with pytest.raises(InvalidJSON) as caught:
        loads('[1,\n"\ud800"]')
    assert (caught.value.line, caught.value.column) == (2, 2)
    with pytest.raises(InvalidJSON, match="byte order mark"):
        loads("\ufeff1")


def test_members_keep_the_order_of_the_text() -> None:
    """Reading and copying keep the order that a person wrote; only printing sorts."""
    assert list(loads(b'{"b":1,"a":2}')) == ["b", "a"] == list(clone({"b": 1, "a": 2}))


@given(VALUES)
def test_a_value_survives_the_round_trip_exactly(value: Any) -> None:
    """Printing and reading change neither value nor type nor the sign of zero."""
    text = dumps(value)
    assert exactly(loads(text)) == exactly(decode(text)) == exactly(clone(value)) == exactly(value)
    assert text == encode(value) == encode(decode(text)) == parse(text)[1]


@given(VALUES, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_any_spelling_of_a_value_is_read_as_the_standard_library_does(
    value: Any, indent: Any, ascii_only: bool
) -> None:
    """White space and escapes change nothing, and floats are rounded as Python rounds them."""
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert exactly(loads(text)) == exactly(json.loads(text)) == exactly(value)


@given(
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**300), max_value=10**300) | st.floats(0, 1e300)
)
def test_decimal_texts_are_rounded_as_python_rounds_them(number: Any) -> None:
    """The nearest double is taken, whatever the number of digits, if rounding was asked for."""
    text = f"{number:e}"
    assert repr(loads(text, lossy=True)) == repr(float(text)) == repr(decode(text.encode()))


@given(st.binary(max_size=30) | st.text(st.sampled_from('[]{}:,"\\u0123abe+-. \n'), max_size=30).map(str.encode))
def test_no_bytes_are_read_otherwise_than_by_a_strict_reference(text: bytes) -> None:
    """What the standard library with all its strictness refuses is refused, and by place; what it takes is equal."""
    try:
        expected = _reference(text)
    except ValueError:
        with pytest.raises(InvalidJSON) as caught:
            loads(text)
        assert caught.value.line is not None
        assert caught.value.column is not None
    else:
        assert exactly(loads(text)) == exactly(expected)


def _held(digits: str) -> bool:
    """Whether a double holds a number: by fractions, which know no limits."""
    mantissa, _, exponent = digits.lower().partition("e")
    if float(digits) == 0:
        return not mantissa.strip("-.0")
    return Fraction(mantissa) * Fraction(10) ** int(exponent or 0) == Fraction(repr(float(digits)))


def _reference(text: bytes) -> Any:
    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("duplicate")
        return dict(pairs)

    def refuse(word: str) -> Any:
        raise ValueError(word)

    def integer(digits: str) -> int:
        if not -(2**63) <= int(digits) <= 2**64 - 1:
            raise ValueError("range")
        return int(digits)

    def real(digits: str) -> float:
        if math.isinf(float(digits)) or not _held(digits):
            raise ValueError("range")
        return float(digits)

    value = json.loads(
        text.decode("utf-8"), object_pairs_hook=members, parse_constant=refuse, parse_int=integer, parse_float=real
    )
    json.dumps(value, ensure_ascii=False).encode()
    return value


@given(VALUES, VALUES)
def test_same_is_exact_equality(a: Any, b: Any) -> None:
    """Two values are the same exactly where types, values and the sign of zero are."""
    assert same(a, b) is (exactly(a) == exactly(b))
    assert same(a, clone(a))


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (1, 1.0, True),
        (0.0, -0.0, True),
        (1, True, False),
        (0, False, False),
        (1.0, True, False),
        ([1, {"a": [2]}], [1.0, {"a": [2.0]}], True),
        ([1, {"a": [1]}], [1, {"a": [True]}], False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        (2**53 + 1, float(2**53), False),
        ("1", 1, False),
        (None, False, False),
        ([], {}, False),
    ],
)
def test_equality_of_rfc_6902(a: Any, b: Any, equal: bool) -> None:
    """Numbers are compared by value, and nothing else is equal to another type."""
    assert equal_by_value(a, b) is equal
    assert equal_by_value(b, a) is equal


@given(SCALARS, SCALARS)
def test_exact_types_are_never_the_same_across_types(a: Any, b: Any) -> None:
    """1, 1.0 and true stay apart."""
    if type(a) is not type(b):
        assert not same(a, b)
        assert not same([a], [b])


@given(CONTAINERS)
def test_a_clone_shares_nothing(value: Any) -> None:
    """Changing a copy changes nothing else."""
    before = exactly(value)
    copy = clone(value)
    copy.clear()
    assert exactly(value) == before


def test_depth_limit_of_the_printer_is_known() -> None:
    """The check of depth rests on orjson's own limit, which lies above ours and was measured."""
    assert canonical._WRAPPERS > 0
    orjson.dumps(nested(canonical._WRAPPERS + MAX_DEPTH))
    with pytest.raises(TypeError):
        orjson.dumps(nested(canonical._WRAPPERS + MAX_DEPTH + 1))
    assert canonical.fits_depth([], MAX_DEPTH - 1)
    assert not canonical.fits_depth([], MAX_DEPTH)
    assert canonical.fits_depth("x", MAX_DEPTH)
