"""Numbers that a double cannot hold: found wherever they stand, and nothing else is taken for one."""

import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kbstore.errors import InvalidJSON
from kbstore.jsondoc.canonical import loads
from kbstore.jsondoc.decimals import inexact_literals, is_exact
from kbstore.jsondoc.diagnose.text import locate_inexact
from tests.jsondoc.values import TEXT

EXACT = [
    *["0.1", "1.10", "-0.0", "0.0e5", "1e23", "5e-324", "1e-07", "0.30000000000000004", "9007199254740992.0"],
    *["123456789012345680000.0", "1.7976931348623157e308", "0.000000000000000000000000000000000000000000001"],
    *["0e99999999999999999999", "0.0e-99999999999999999999", "2.2250738585072014E-308", "1000000000000000000000.0"],
    *["1.0E-5", "1E-05", "1E+023", "1.234567890123456E10", "-12.50e-01", "0.00012345678901234567"],
    *["1.50000000000000000000", "0.10e1"],
]
INEXACT = [
    *["12345678901234567890.5", "0.1234567890123456789", "3.141592653589793238", "-3.141592653589793238"],
    *["9007199254740993.0", "1e-400", "4.9E-324", "1.2345e-320", "2e-0324"],
    *["1e-99999999999999999999", "0.10000000000000001", "9007199254740993e0", "0." + "1" * 5000],
    *["1.00000000000000001E5", "1.2345678901234567899E-10", "20000000000000000000000001.0", "0.10e-400"],
]


@pytest.mark.parametrize("literal", EXACT)
def test_a_number_that_its_double_prints_is_read(literal: str) -> None:
    """However it is spelled: the decimal value counts, not the text."""
    assert is_exact(literal)
    assert loads(literal) == float(literal)
    assert inexact_literals(literal.encode(), float(literal)) == set()


@pytest.mark.parametrize("literal", INEXACT)
@pytest.mark.parametrize("around", ["{}", "[1, {}]", '{{"a": {{"0.5": {} }}}}', '["0.12345678901234567890", {}]'])
def test_a_number_that_would_be_rounded_is_refused(literal: str, around: str) -> None:
    """Anywhere in a text; and read where rounding was asked for, for all or for this one."""
    text = around.format(literal)
    with pytest.raises(InvalidJSON, match="would be rounded") as caught:
        loads(text)
    assert caught.value.hint is not None
    assert "--lossy" in caught.value.hint
    assert caught.value.pointer == locate_inexact(text.encode())[0][0]
    assert loads(text, lossy=True) == loads(text, lossy={literal}) == json.loads(text)
    with pytest.raises(InvalidJSON):
        loads(text, lossy={"0.5"})


@pytest.mark.parametrize("literal", ["1e400", "-1E400", "18446744073709551616", "1" * 5000])
def test_a_number_out_of_range_may_be_a_string(literal: str) -> None:
    """There is nothing to round it to."""
    with pytest.raises(InvalidJSON) as refused:
        loads(literal)
    assert refused.value.hint == "keep such a number as a string"


def test_one_rounded_number_among_many_is_found() -> None:
    """Literals are judged many at a time, wherever the odd one stands and however the others are printed."""
    many = ["1.234567890123456E10", "1e-07", "2.50", "0.1"] * 1500
    for at in (0, 2047, 2048, 5999):
        literals = [*many[:at], "0.1234567890123456789", *many[at:]]
        text = f"[{','.join(literals)}]".encode()
        assert inexact_literals(text, json.loads(text)) == {"0.1234567890123456789"}
    text = f"[{','.join(many)}]".encode()
    assert inexact_literals(text, json.loads(text)) == set()


def test_digits_in_strings_and_integers_are_no_such_numbers() -> None:
    """Long runs of digits cost a closer look and change nothing."""
    document = {"0.12345678901234567890": ["e-999", "1" * 99, ". " * 20, "..................."], "n": 2**64 - 1}
    for indent in (None, 2):
        assert loads(json.dumps(document, indent=indent)) == document


def test_the_places_of_rounded_numbers_are_bounded() -> None:
    """As many as are wanted, in the order of the text, those known apart."""
    text = b'{"a": [0.1234567890123456789, 1.5, {"b/c": 1e-400}], "d": 0.1234567890123456789}'
    assert locate_inexact(text) == [
        ("/a/0", "0.1234567890123456789"),
        ("/a/2/b~1c", "1e-400"),
        ("/d", "0.1234567890123456789"),
    ]
    assert locate_inexact(text, 1) == [("/a/0", "0.1234567890123456789")]
    assert locate_inexact(text, known={"0.1234567890123456789"}) == [("/a/2/b~1c", "1e-400")]


DIGITS = st.text("0123456789", min_size=1, max_size=22)
LITERALS = st.builds(
    lambda sign, whole, fraction, exponent: f"{sign}{int(whole)}{fraction}{exponent}",
    st.sampled_from(["", "-"]),
    DIGITS,
    DIGITS.map(lambda digits: f".{digits}"),
    st.just("") | st.integers(-345, 280).map(lambda e: f"e{e}") | st.integers(-9, 9).map(lambda e: f"E{e:+}"),
)


@given(st.lists(LITERALS | st.floats(allow_nan=False, allow_infinity=False).map(repr), max_size=4), TEXT)
@example(["1e-400"], "")
def test_a_text_is_refused_exactly_if_a_number_in_it_would_change(literals: list[str], beside: str) -> None:
    """Fractions, which know no rounding, say which."""
    values: list[Any] = [beside]
    text = f"[{json.dumps(beside)}{''.join(f', {literal}' for literal in literals)}]"
    if all(_held(literal) for literal in literals):
        values += [float(literal) for literal in literals]
        assert loads(text) == values
    else:
        with pytest.raises(InvalidJSON):
            loads(text)


def _held(literal: str) -> bool:
    value = float(literal)
    return Fraction(literal) == Fraction(repr(value))
