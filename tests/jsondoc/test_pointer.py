"""JSON Pointer: both directions, and every refusal."""

import jsonpointer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbstore.errors import PointerError
from kbstore.jsondoc.pointer import MAX_DEPTH, array_index, escape_token, format_pointer, parse_pointer, shorten
from tests.conftest import LETTERS
from tests.jsondoc.values import NAMES


@given(st.lists(NAMES, max_size=6))
def test_tokens_survive_the_round_trip(tokens: list[str]) -> None:
    """Any member names make a pointer that reads back as them, as another library reads it."""
    text = format_pointer(tokens)
    assert parse_pointer(text) == tuple(tokens)
    assert jsonpointer.JsonPointer(text).parts == tokens


@given(st.text(st.sampled_from("/~01ab-"), max_size=12) | st.text(LETTERS, max_size=12))
def test_any_text_is_read_as_another_library_reads_it_or_refused(text: str) -> None:
    """Texts that are no pointers are refused by both, and nothing else is."""
    try:
        text.encode()
        expected = jsonpointer.JsonPointer(text).parts
    except (jsonpointer.JsonPointerException, UnicodeEncodeError):
        with pytest.raises(PointerError) as caught:
            parse_pointer(text)
        assert caught.value.pointer == text
    else:
        assert list(parse_pointer(text)) == expected
        assert format_pointer(parse_pointer(text)) == text


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", ()),
        ("/", ("",)),
        ("/a~1b", ("a/b",)),
        ("/m~0n", ("m~n",)),
        ("/~01", ("~1",)),
        ("//", ("", "")),
        ("/0", ("0",)),
    ],
)
def test_escapes_of_rfc_6901(text: str, tokens: tuple[str, ...]) -> None:
    """~1 is read before ~0, so that ~01 is ~1."""
    assert parse_pointer(text) == tokens


@pytest.mark.parametrize(
    ("text", "word"),
    [("a", "slash"), ("#/a", "slash"), ("/~", "not followed"), ("/~2", "not followed"), ("/a~/b", "not followed"),
     ("/\ud800", "surrogate"), ("/a" * (MAX_DEPTH + 1), "deep")],
)  # fmt: skip
def test_a_malformed_pointer_is_refused(text: str, word: str) -> None:
    """The refusal says what is wrong and carries the text."""
    with pytest.raises(PointerError, match=word) as caught:
        parse_pointer(text)
    assert caught.value.pointer == text


def test_a_pointer_of_ten_megabytes_is_one_token_or_refused() -> None:
    """Neither costs a list of millions of tokens, nor a message of megabytes."""
    assert parse_pointer("/" + "a" * 10_000_000) == ("a" * 10_000_000,)
    with pytest.raises(PointerError) as caught:
        parse_pointer("/a" * 5_000_000)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("token", "append", "index"), [("0", False, 0), ("2", False, 2), ("3", True, 3), ("-", True, 3)]
)
def test_array_indexes(token: str, append: bool, index: int) -> None:
    """An index lies inside the array, or right after it where something is added."""
    assert array_index(token, 3, append=append) == index


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize(
    "token", ["", "00", "01", "-1", "+1", "1e0", "1.0", " 1", "1 ", "٣", "²", "4", "9" * 30, "a", "0x1"]
)
def test_tokens_that_are_no_index_of_three_elements(token: str, append: bool) -> None:
    """Leading zeros, signs, other digits and whatever lies outside are refused."""
    with pytest.raises(PointerError):
        array_index(token, 3, append=append)


def test_the_place_after_the_last_element_is_nothing_to_read() -> None:
    """- and the length are places only where something is added."""
    for token in ("-", "3"):
        with pytest.raises(PointerError):
            array_index(token, 3)


def test_small_helpers() -> None:
    """Tokens are escaped only where they must be; long texts are shown by their ends."""
    assert escape_token("a~/b") == "a~0~1b"
    assert escape_token("plain") == "plain"
    assert shorten("x" * 200) == "x" * 200
    assert "5000 characters" in shorten("x" * 5000)
