"""Word marks: exact, readable, and cheap on long texts."""

# ruff: noqa: RUF001 - letters of other scripts are meant

from itertools import accumulate, pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from wcwidth import iter_graphemes

from kbstore.diff.render.words import Span, word_diff
from kbstore.kit.graphemes import cells, cluster_start, fitting
from tests.conftest import LETTERS

words = st.lists(
    st.sampled_from(["the", "event", "is", "kept", "72", "hours", ".", ",", " ", "  ", "\n", "é", "漢", "字"])
)
CLUSTERS = [
    "e\u0301",
    "👨\u200d👩\u200d👧",
    "👨\u200d👩\u200d👦",
    "🇩🇪",
    "🇫🇷",
    "👍🏽",
    "👍",
    "क्षि",
    "न",
    "मस्ते",
    "می\u200cخواهم",
    "각",
    " ",
    "x",
    "⚠️",
]
signs = st.lists(st.sampled_from([*CLUSTERS, "\u0301", "\u200d", "🇩", "\u094d", "\u11a8", "🏽"]), max_size=12).map(
    "".join
)
phrase = words.map(" ".join) | words.map("".join) | st.text(LETTERS, max_size=40) | signs


@given(phrase, phrase)
def test_spans_hold_both_texts(old: str, new: str) -> None:
    """The old sides of all spans joined are the old text, the new sides the new one; what is same is equal."""
    spans = word_diff(old, new)
    assert "".join(span.old for span in spans) == old
    assert "".join(span.new for span in spans) == new
    assert all(span.old == span.new for span in spans if span.same)
    assert all(one.same != two.same for one, two in pairwise(spans))


@given(signs, signs)
def test_no_mark_cuts_a_grapheme_cluster(old: str, new: str) -> None:
    """Marks begin and end between what a reader takes for characters."""
    spans = word_diff(old, new)
    for text, pieces in ((old, [span.old for span in spans]), (new, [span.new for span in spans])):
        assert [cluster for piece in pieces for cluster in iter_graphemes(piece)] == list(iter_graphemes(text))


@pytest.mark.parametrize(
    ("old", "new", "gone", "come"),
    [
        ("one cafe\u0301 is here", "one cafe is here", "cafe\u0301", "cafe"),
        ("we are 👨\u200d👩\u200d👧 now", "we are 👨\u200d👩\u200d👦 now", "👨\u200d👩\u200d👧", "👨\u200d👩\u200d👦"),
        ("from 🇩🇪🇫🇷 with love", "from 🇩🇪🇮🇹 with love", "🇫🇷", "🇮🇹"),
        ("नमस्ते दुनिया आज", "नमस्कार दुनिया आज", "नमस्ते", "नमस्कार"),
        ("من می\u200cخواهم بروم", "من نمی\u200cخواهم بروم", "می\u200cخواهم", "نمی\u200cخواهم"),
    ],
)
def test_a_word_with_marks_is_one_word(old: str, new: str, gone: str, come: str) -> None:
    """Accents, vowel signs and joiners belong to their word."""
    assert [(span.old, span.new) for span in word_diff(old, new) if not span.same] == [(gone, come)]


@given(signs, st.integers(0, 12))
def test_what_fits_is_cut_between_clusters(text: str, columns: int) -> None:
    """A cut text is no wider than it may be, and its last character is whole."""
    head = fitting(text, columns)
    assert text.startswith(head)
    assert cells(head) <= columns
    assert cluster_start(text, len(head)) == len(head)


@given(signs | st.text(LETTERS, max_size=40), st.integers(0, 40))
def test_a_cluster_start_is_one(text: str, at: int) -> None:
    """The nearest boundary before a place, as a walk over the whole text finds it."""
    starts = list(accumulate(map(len, iter_graphemes(text)), initial=0))
    assume(at <= len(text) and "\r\n" not in text)
    assert cluster_start(text, at) == max(start for start in starts if start <= at)


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
