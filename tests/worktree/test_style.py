"""A file is written in the style that its owner gave it."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbstore.jsondoc.canonical import loads
from kbstore.worktree.style import DEFAULT_STYLE, FileStyle, print_json, style_of
from tests.conftest import LETTERS

ARTICLE = {
    "title": "Señal \u2014 \U0001f600",
    "tags": ["api", "a, b", '["x": 1]'],
    "steps": [{"id": 1, "text": "x\ny"}, {"id": 2, "text": 'quote " and \\'}],
    "deep": {"a": {"b": [[1, 2], [3]]}},
    "empty": {},
    "none": [],
    "n": -0.0,
}

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(LETTERS)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(LETTERS, max_size=8), inner, max_size=4),
    max_leaves=20,
)
styles = st.builds(
    FileStyle,
    indent=st.sampled_from([None, "", " ", "  ", "    ", "\t"]),
    item_separator=st.sampled_from([", ", ","]),
    key_separator=st.sampled_from([": ", ":", " : "]),
    newline=st.sampled_from(["\n", "\r\n"]),
    final_newline=st.booleans(),
    ascii_only=st.booleans(),
    flat_width=st.sampled_from([0, 40, 80, 1 << 30]),
)


@given(values, styles)
def test_every_style_prints_the_same_value(value: object, style: FileStyle) -> None:
    """Whatever the style, what is printed reads back as exactly the value."""
    data = print_json(value, style)
    assert orjson.dumps(loads(data)) == orjson.dumps(value)
    assert data.isascii() or not style.ascii_only
    assert data.endswith(b"\n") == style.final_newline


@pytest.mark.parametrize(
    "style",
    [
        DEFAULT_STYLE,
        FileStyle(indent="    ", final_newline=False),
        FileStyle(indent="\t", newline="\r\n"),
        FileStyle(indent=" ", ascii_only=True),
        FileStyle(indent=None, item_separator=", "),
        FileStyle(indent=None, item_separator=",", key_separator=":", final_newline=False),
        FileStyle(indent="  ", key_separator=" : "),
        FileStyle(indent="", key_separator=":"),
        FileStyle(indent="  ", flat_width=1 << 30),
    ],
)
def test_a_style_is_recognised_and_repeated(style: FileStyle) -> None:
    """Reading and writing a file without a change gives the same bytes."""
    data = print_json(ARTICLE, style)
    assert print_json(ARTICLE, style_of(data)) == data


@pytest.mark.parametrize("indent", [None, 0, 1, 2, 3, 4, 8, "\t"])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_what_the_standard_library_writes_is_kept(indent: int | str | None, ascii_only: bool) -> None:
    """A file as json.dump() left it is written back byte for byte."""
    data = json.dumps(ARTICLE, indent=indent, ensure_ascii=ascii_only).encode()
    assert print_json(ARTICLE, style_of(data)) == data


def test_short_arrays_stay_on_their_line_and_long_ones_do_not() -> None:
    """Where a file has arrays in both forms, those that fit 80 columns stand on one line."""
    text = b'{\n  "short": ["a", "b"],\n  "long": [\n    "%s",\n    "%s"\n  ]\n}\n' % (b"x" * 50, b"y" * 50)
    assert print_json(loads(text), style_of(text)) == text


@pytest.mark.parametrize("text", [b"{}", b"[]", b"3", b'"x"', b"null\n", b"{ }"])
def test_a_file_that_shows_no_style_gets_the_usual_one(text: bytes) -> None:
    """What says nothing about indentation is indented by two blanks when it grows."""
    assert style_of(text).indent == "  "
    assert style_of(text).final_newline == text.endswith(b"\n")
