"""What hostile users write stays inert in every form."""

# ruff: noqa: RUF001 - letters of other scripts are meant

import re
import unicodedata
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbstore.diff import render
from kbstore.kit import escape
from tests.conftest import LETTERS
from tests.diff.cases import diff_of

NASTY = [
    "\x1b[2J", "\x1b]0;owned\x07", "\x9b31m", "\x00", "\r", "\n", "\t", "\x7f", "\x85", "\u202e", "\u2066", "\u200b",
    "\u200d", "\u2028", "\ufeff", "\u00ad", "\u061c", "\U000e0041", "\u3164", "\u2800", "\ufe0f", "<script>", "</del>",
    "-->", "]]>", "<img src=x onerror=alert(1)>", '"', "'", "&lt;", "&", "`", "```", "*", "_", "[x](javascript:y)", "|",
    "~~", "$", "@all", "https://evil.example", "www.evil.example", "# h", "> q", "- l", "1. n", "\\", "{", "a", "word ",
    "ÄÖ", "漢字", "\u0301", "⚠️", "\u200c", "می", "क्",
]  # fmt: skip
text = st.lists(st.sampled_from(NASTY) | st.text(LETTERS, max_size=3), max_size=12).map("".join)
key = text.filter(lambda name: not any("\ud800" <= c <= "\udfff" for c in name))
plain = st.none() | st.booleans() | st.integers(-9, 9) | key
value = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(key, inner, max_size=3), max_leaves=6
)
article = st.dictionaries(st.sampled_from(["title", "text", "steps"]) | key, value, max_size=4)
document = st.builds(
    lambda problems, other: {**other, "problems": problems},
    st.dictionaries(st.sampled_from(["p1", "p2"]) | key, article, max_size=3),
    st.dictionaries(key, value, max_size=2),
)
SGR = re.compile(r"\x1b\[[\d;]*m")
UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


JOINED = re.compile("(?<=[\u0600-\u1cff\u2190-\u27ff\ufb50-\ufefc\ufe0f\U00010a00-\U0001faff])[\u200c\u200d]")


def unseen(told: str) -> list[str]:
    """Characters of a text, line ends apart, that a terminal or reader would obey rather than draw."""
    return [c for c in JOINED.sub("", told) if unicodedata.category(c) in UNSEEN and c != "\n"]


@given(old=document, new=document, color=st.booleans(), width=st.integers(0, 130))
def test_terminal_gets_only_what_is_drawn(old: Any, new: Any, color: bool, width: int) -> None:
    """No control, format, bidirectional or line-breaking character of a document reaches the terminal."""
    told = render.terminal(diff_of(old, new), color=color, width=width)
    assert unseen(SGR.sub("", told) if color else told) == []


@given(old=document, new=document)
def test_pipes_get_only_what_is_drawn(old: Any, new: Any) -> None:
    """The same holds for unified text, statistics, names and Markdown, which people also read at a terminal."""
    diff = diff_of(old, new)
    for told in (render.unified(diff), render.stat(diff), render.names(diff), render.markdown(diff)):
        assert unseen(told) == []


class _Tags(HTMLParser):
    """Collects the tags of a page and its text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text: list[str] = []
        self.comments: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


OURS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "header",
    "h1",
    "h2",
    "h3",
    "p",
    "nav",
    "ul",
    "li",
    "a",
    "code",
    "main",
    "section",
    "span",
    "del",
    "ins",
    "mark",
    "div",
}
ATTRIBUTES = {
    "lang",
    "charset",
    "http-equiv",
    "content",
    "name",
    "id",
    "class",
    "dir",
    "href",
    "aria-label",
    "aria-labelledby",
}


@given(old=document, new=document, title=text)
def test_page_has_no_tag_but_ours(old: Any, new: Any, title: str) -> None:
    """No text of a document or title becomes an element, an attribute or a comment of the page."""
    page = render.html(diff_of(old, new), title)
    reader = _Tags()
    reader.feed(page)
    reader.close()
    assert reader.tags <= OURS
    assert reader.attributes <= ATTRIBUTES
    assert reader.comments == []
    assert unseen(page) == []
    assert "url(" not in page.partition("</style>")[0]


@given(text)
def test_html_escape_leaves_no_markup(raw: str) -> None:
    """An escaped text has none of the five characters that HTML reads as markup."""
    told = escape.html(raw)
    assert not set("<>\"'") & set(told)
    assert re.sub(r"&(?:amp|lt|gt|quot|#39);", "", told).count("&") == 0


@given(text)
def test_markdown_escape_leaves_no_markup(raw: str) -> None:
    """In escaped Markdown each sign that could open a construct has a backslash or is a character reference."""
    told = escape.markdown(raw)
    bare = re.sub(r"\\[\\`*_\[\]|~$!]", "", told)
    assert not set("`*_[]|~$<@") & set(bare)
    assert re.sub(r"&(?:amp|lt|#\d+);", "", told).count("&") == 0
    assert "://" not in told
    assert not re.search(r"(?i)\bwww\.", told)
    assert not re.match(r"\s*(?:[-+#=>]|\d+[.)])", told)


@given(text)
def test_markdown_code_cannot_be_left(raw: str) -> None:
    """A code span's fence is longer than every run of backticks in it."""
    told = escape.markdown_code(raw)
    if raw:
        fence = re.match("`+", told)
        assert fence is not None
        inside = told[len(fence.group()) : -len(fence.group())]
        runs = [len(run) for run in re.findall("`+", inside)]
        assert len(fence.group()) not in runs
        assert not inside.startswith("`")
        assert not inside.endswith("`")


def test_every_unseen_character_is_shown_by_its_code() -> None:
    """All of Unicode's control, format, surrogate and separator characters are escaped, ASCII's drawn ones never."""
    for code in range(0x110000):
        character = chr(code)
        if unicodedata.category(character) in UNSEEN:
            assert escape.visible(character).startswith("\\"), hex(code)
            assert escape.visible_json(character).startswith("\\u"), hex(code)
    drawn = "".join(map(chr, range(0x20, 0x7F))) + "äß€漢字🙂"
    assert escape.visible(drawn) == drawn


def test_codes_are_those_that_people_know() -> None:
    """Short forms for line ends and tabs, two digits for bytes, four or eight for the rest."""
    assert escape.visible("a\n\r\t\x1b\x9b\u202e\U000e0041b") == r"a\n\r\t\x1b\x9b\u202e\U000e0041b"
    assert escape.visible(r"C:\Users") == r"C:\Users"
    assert escape.visible("⚠️ a\ufe0f") == "⚠️ a\\ufe0f"


@pytest.mark.parametrize(
    "drawn", ["👨\u200d👩\u200d👧", "❤️\u200d🔥", "می\u200cخواهم", "क्\u200dष", "\u0dc1\u0dca\u200d\u0dbb"]
)
def test_joiners_are_text_where_they_join(drawn: str) -> None:
    """Families and hearts, Persian, Hindi and Sinhala words are shown as they are, in JSON too."""
    assert escape.visible(drawn) == escape.visible_json(drawn) == drawn


@pytest.mark.parametrize("hiding", ["a{}b", "{}", "é{}", "7{}", "漢{}", "می\u200c{}"])
def test_joiners_are_shown_where_they_would_hide(hiding: str) -> None:
    """Two names that look the same are two names."""
    for joiner in "\u200c\u200d":
        assert escape.visible(hiding.format(joiner)) == hiding.format(f"\\u{ord(joiner):x}")


@given(text)
def test_json_escape_keeps_the_value(raw: str) -> None:
    """Printed JSON stays JSON of the same value after its unseen characters are escaped."""
    import json

    assert json.loads(escape.visible_json(json.dumps(raw, ensure_ascii=False))) == raw
