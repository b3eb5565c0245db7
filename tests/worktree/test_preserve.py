"""A new document over an old text: it says exactly the new document, and what stayed keeps its characters."""

import difflib
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbstore.jsondoc.canonical import loads, same
from kbstore.order.carry_over import in_order_of
from kbstore.worktree.preserve import retouched
from kbstore.worktree.style import style_of

TEXT = """\
{
  "name": "support", "version": 1.0e0,

  "problems": {
    "p1": {"title": "Login fails", "votes": 3, "steps": [
      {"id": "s1", "text": "Ask for the browser."},
      {"id": "s2", "text": "Clear its \\u0063ookies."}
    ]},
    "p2": {"title": "Export stops", "votes": 5, "steps": []},
    "p3": {"title": "No mail",
           "votes": 0}
  },
  "numbers": [1,  2, 3,
              4, 5, 6]
}
"""


def written(text: str, document: Any) -> str:
    """The document over the text."""
    old = loads(text.encode())
    data = retouched(text.encode(), old, in_order_of(document, old), style_of(text.encode()))
    assert same(loads(data), document)
    return data.decode()


def changed(old: str, new: str) -> list[str]:
    """Lines that went and came."""
    return [row for row in difflib.ndiff(old.splitlines(), new.splitlines()) if row[:1] in "+-"]


def edit(text: str = TEXT) -> Any:
    """A copy of the text's document to change."""
    return json.loads(text)


def test_nothing_changed_is_nothing_written() -> None:
    """The same document gives the same bytes, whatever their layout."""
    for text in (TEXT, TEXT.replace("\n", "\r\n"), f"\n {TEXT.strip()}", "[ ]", '"x" ', "{\t}\n"):
        assert written(text, json.loads(text)) == text


def test_only_changed_lines_change() -> None:
    """A value in a short object on one line, an element that came, one that went, a member that came."""
    document = edit()
    document["problems"]["p2"]["votes"] = 6
    document["problems"]["p1"]["steps"].insert(1, {"id": "s9", "text": "Ask again."})
    document["problems"]["p3"]["severity"] = "low"
    del document["numbers"][4]
    assert changed(TEXT, written(TEXT, document)) == [
        '+       {"id": "s9", "text": "Ask again."},',
        '-     "p2": {"title": "Export stops", "votes": 5, "steps": []},',
        '+     "p2": {"title": "Export stops", "votes": 6, "steps": []},',
        '-            "votes": 0}',
        '+            "votes": 0,',
        '+            "severity": "low"}',
        "-               4, 5, 6]",
        "+               4,  6]",
    ]


@pytest.mark.parametrize("gone", ["p1", "p2", "p3"])
def test_a_member_goes_with_its_separator(gone: str) -> None:
    """The first, one between, and the last; the others stay as they are."""
    document = edit()
    del document["problems"][gone]
    came = [row for row in changed(TEXT, written(TEXT, document)) if row.startswith("+")]
    # The member before a last one loses its comma; nothing else is written anew.
    assert came == (['+     "p2": {"title": "Export stops", "votes": 5, "steps": []}'] if gone == "p3" else [])


def test_crlf_and_tabs_stay() -> None:
    """What is new has the line ends and the indentation of its place."""
    text = '{\r\n\t"a": {\r\n\t\t"b": 1\r\n\t}\r\n}\r\n'
    assert written(text, {"a": {"b": 1, "c": {"d": 2}}}) == (
        '{\r\n\t"a": {\r\n\t\t"b": 1,\r\n\t\t"c": {\r\n\t\t\t"d": 2\r\n\t\t}\r\n\t}\r\n}\r\n'
    )


values = [1.0, -0.0, 0.0, 1e300, "", "a", 'q"\\', "é\n", "{", "]", ", "]
scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(values)
documents = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["id", "b", 'c"', "d/é", ""]), inner, max_size=4)
        | st.lists(
            st.fixed_dictionaries({"id": st.integers(0, 5), "x": inner}), max_size=4, unique_by=lambda e: e["id"]
        )
    ),
    max_leaves=14,
)


def laid_out(value: Any, source: random.Random, depth: int = 0) -> str:
    """JSON text of a value with blanks wherever there may be some."""
    blank = source.choice(["", "", " ", "\n", "\n" + "  " * depth, "\r\n\t"])
    if isinstance(value, dict):
        items = [
            json.dumps(key) + source.choice([":", ": ", " : "]) + laid_out(member, source, depth + 1)
            for key, member in value.items()
        ]
    elif isinstance(value, list):
        items = [laid_out(v, source, depth + 1) for v in value]
    else:
        return json.dumps(value, ensure_ascii=source.random() < 0.5)
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return opening + blank + f"{source.choice(['', ' '])},{blank}".join(items) + blank + closing


def shared(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginning."""
    differ = (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differ, min(len(one), len(other)))


def test_an_id_of_any_kind() -> None:
    """Elements whose id is a list or an object, or 1 here and true there, are told apart all the same."""
    for one in ([], {}, 1, True, 1.0, None, "1"):
        for other in ([], {}, 1, True, 1.0, None, "1"):
            written(json.dumps([{"id": one, "x": 1}]), [{"id": other, "x": 2}])


@given(old=documents, new=documents, layout=st.integers(0, 2**32), kind=st.integers(0, 4))
def test_it_says_exactly_the_new_document(old: Any, new: Any, layout: int, kind: int) -> None:
    """For any two documents and any layout; and the old one over its own text is that text."""
    source = random.Random(layout)
    text = laid_out(old, source) if kind else json.dumps(old, indent=2)
    written(text, new)
    if kind != 1 and "\r" not in text:
        assert written(text, old) == text


@given(document=documents, layout=st.integers(0, 2**32))
def test_a_small_change_leaves_the_rest(document: Any, layout: int) -> None:
    """One entry more in a list of them: the text of all others is in the new text, in order."""
    entries = [{"id": n, "value": document} for n in range(5)]
    text = laid_out(entries, random.Random(layout))
    told = written(text, [*entries[:2], {"id": 9}, *entries[2:]])
    if "\r" in text:
        return
    assert shared(text, told) + shared(text[::-1], told[::-1]) >= len(text)
