"""Long texts are cut to one line, and of two the place that differs is on it."""

from hypothesis import given
from hypothesis import strategies as st

from kbstore.diff.render.excerpt import MARKS, cut, cut_pair
from kbstore.kit.graphemes import cells

letters = st.text("ab漢é😀", max_size=60)
columns = st.integers(40, 120)
LONG = "The printer is on the second floor. " * 30_000


@given(st.text("ab漢é ", max_size=300), columns)
def test_a_cut_text_fits(text: str, columns: int) -> None:
    """What fits is shown as it is; else the beginning, and the length."""
    shown = cut(text, columns)
    assert cells(shown) <= columns
    assert shown == text or shown.endswith(f"… ({len(text)} characters)")


@given(letters, letters, letters, letters, st.integers(0, 40), columns)
def test_both_texts_fit_and_show_where_they_differ(
    start: str, one: str, other: str, end: str, times: int, columns: int
) -> None:
    """However long the equal parts are, the stretch between the marks is the one that differs."""
    texts = (start * times + one + end * times, start * times + other + end * times)
    for text, shown in zip(texts, cut_pair(*texts, columns), strict=True):
        assert cells(shown) <= columns
        if MARKS[0] in shown:
            before, rest = shown.split(MARKS[0])
            differs, after = rest.split(MARKS[1])
            assert before.removeprefix("…") + differs.partition("… (")[0] in text
            assert after.removesuffix("…") in text
        elif cells(text) <= columns:
            assert shown == text


def test_a_word_deep_inside_is_found() -> None:
    """In texts of a megabyte the line shows the words around the change."""
    at = len(LONG) // 2
    one, other = cut_pair(f"{LONG[:at]}Call Ann. {LONG[at:]}", f"{LONG[:at]}Call Bob now. {LONG[at:]}", 80)
    assert ">>Ann<<. The printer" in one
    assert ">>Bob now<<. The printer" in other
    assert one.startswith("…") and other.endswith("…")  # noqa: PT018


def test_no_cluster_is_cut() -> None:
    """An accent that came is marked with its letter."""
    assert ">>e\u0301<<z" in cut_pair("x" * 99 + "e\u0301" + "z" * 99, "x" * 99 + "e" + "z" * 99, 60)[0]
    assert ">>e<<z" in cut_pair("x" * 99 + "e\u0301" + "z" * 99, "x" * 99 + "e" + "z" * 99, 60)[1]


def test_texts_with_nothing_in_common_have_no_marks() -> None:
    """Their beginnings are shown."""
    assert cut_pair("a" * 999, "(removed)", 40) == ("a" * 22 + "… (999 characters)", "(removed)")
