"""Word marks: exact, readable, and cheap on long texts."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from kbstore.render.words import Span, word_diff

words = st.lists(
    st.sampled_from(["the", "event", "is", "kept", "72", "hours", ".", ",", " ", "  ", "\n", "é", "漢", "字"])
)
phrase = words.map(" ".join) | words.map("".join) | st.text(max_size=40)


@given(phrase, phrase)
def test_spans_hold_both_texts(old: str, new: str) -> None:
    """The old sides of all spans joined are the old text, the new sides the new one; what is same is equal."""
    spans = word_diff(old, new)
    assert "".join(span.old for span in spans) == old
    assert "".join(span.new for span in spans) == new
    assert all(span.old == span.new for span in spans if span.same)
    assert all(one.same != two.same for one, two in pairwise(spans))


def test_whole_words_are_marked() -> None:
    """A changed word is marked as a whole, and nothing else is."""
    spans = word_diff("events are kept for 72 hours.", "events are kept for 7 days.")
    assert spans == [
        Span(True, "events are kept for ", "events are kept for "),
        Span(False, "72 hours", "7 days"),
        Span(True, ".", "."),
    ]


def test_unrelated_texts_are_one_exchange() -> None:
    """Two sentences that share only their small words are not speckled with marks."""
    old, new = "Restart the printer and wait.", "Ask an administrator for the licence key of that workspace."
    assert word_diff(old, new) == [Span(False, old, new)]


def test_ideographs_are_words() -> None:
    """In scripts without blanks each sign counts as a word."""
    assert [span.old for span in word_diff("私は東京に住む", "私は京都に住む") if not span.same] != ["私は東京に住む"]


def test_far_edits_in_a_long_text_are_found() -> None:
    """Twenty edits in a text of 100 KB are marked one by one."""
    sentences = [f"Step {n} says that the unit number {n * 7} must be looked at." for n in range(1800)]
    changed = list(sentences)
    for n in range(0, 1800, 90):
        changed[n] = changed[n].replace("must", "may")
    spans = word_diff(" ".join(sentences), " ".join(changed))
    assert [(span.old, span.new) for span in spans if not span.same] == [("must", "may")] * 20


def test_worst_texts_end() -> None:
    """Texts made of one word over and over still give spans that join to both."""
    for old, new in (
        ("a " * 50_000, "b " + "a " * 40_000 + "c "),
        ("a. " * 30_000, "a. " * 20_000 + "b. " + "a. " * 9_000 + "c"),
        ("ab" * 50_000, "ba" * 50_000),
    ):
        spans = word_diff(old, new)
        assert ("".join(s.old for s in spans), "".join(s.new for s in spans)) == (old, new)
