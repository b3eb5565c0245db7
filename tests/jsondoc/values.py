"""Strategies of JSON values, and pairs of similar ones, shared by the tests of this folder."""

from typing import Any

from hypothesis import strategies as st

from tests.conftest import LETTERS

TEXT = st.text(LETTERS, max_size=6)
NAMES = st.sampled_from(["a", "b", "id", "", "0", "1", "-", "~", "/", "a/b", "m~n", "é", ":", "\\u003a"]) | TEXT
INTEGERS = (
    st.integers(-3, 3) | st.sampled_from([-(2**63), 2**53 + 1, 2**63, 2**64 - 1]) | st.integers(-(2**63), 2**64 - 1)
)
FLOATS = st.sampled_from([0.0, -0.0, 1.0, 2.0, 1e16, 1e22, 5e-324, 1.7976931348623157e308, 18446744073709551616.0])
SCALARS = st.none() | st.booleans() | INTEGERS | FLOATS | st.floats(allow_nan=False, allow_infinity=False) | NAMES
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=20
)
CONTAINERS = st.lists(VALUES, max_size=6) | st.dictionaries(NAMES, VALUES, max_size=6)


def nested(depth: int, inner: Any = 0) -> Any:
    """A value inside `depth` lists."""
    for _ in range(depth):
        inner = [inner]
    return inner


def exactly(value: Any) -> Any:
    """A form in which Python's == is exact: types are spelled out, and the sign of zero."""
    if isinstance(value, dict):
        return ("dict", {key: exactly(item) for key, item in value.items()})
    if isinstance(value, list):
        return ("list", [exactly(item) for item in value])
    return (type(value).__name__, repr(value))
