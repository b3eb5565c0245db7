"""What each form promises beyond its looks."""

import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kbstore import apply_patch
from kbstore.diff import render
from kbstore.diff.render.layout import Piece, cells, clip, wrap
from kbstore.diff.render.unified_form import printed
from kbstore.jsondoc.canonical import MISSING, encode
from tests.diff.cases import NEW, OLD, diff_of
from tests.diff.test_hostile import article, document

HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


def patched(lines: list[str], told: list[str]) -> list[str]:
    """What `patch` makes of `lines` with the unified text `told` of one file."""
    result: list[str] = []
    place = 0
    for line in told[2:]:
        if found := HUNK.fullmatch(line):
            start = int(found[1]) - (found[2] != "0")
            result += lines[place:start]
            place = start
            assert len(result) == int(found[3]) - (found[4] != "0")
        elif line[0] in " -":
            assert lines[place] == line[1:]
            place += 1
        if line[0] in " +":
            result.append(line[1:])
    return result + lines[place:]


@given(old=article, new=article)
def test_unified_text_is_a_patch(old: Any, new: Any) -> None:
    """Applied as `patch` would, the unified text turns an entry's printed JSON into the new one."""
    told = render.unified(diff_of({"problems": {"p": old}}, {"problems": {"p": new}})).splitlines()
    if told:
        assert patched(printed(old), told) == printed(new)
    else:
        assert encode(old) == encode(new)


def test_unified_text_of_what_came_and_went() -> None:
    """An entry that only one side has is compared with /dev/null."""
    told = render.unified(diff_of(OLD, NEW)).splitlines()
    assert "+++ /dev/null" in told
    assert told[told.index("+++ /dev/null") - 1] == "--- v2_20250126_090000/problems/mobile-mdm"
    assert printed(MISSING) == []


@given(old=document, new=document)
def test_json_form_holds_the_patch(old: Any, new: Any) -> None:
    """The JSON form is plain JSON of schema 1, and its patch turns the old side into exactly the new one."""
    told = json.loads(json.dumps(render.as_json(diff_of(old, new))))
    assert told["schema_version"] == 1
    assert encode(apply_patch(old, told["patch"])) == encode(new)
    assert bool(told["changes"]) == (encode(old) != encode(new))


@given(old=document, new=document)
def test_names_are_lines(old: Any, new: Any) -> None:
    """Names has one line for each entry that came, went or changed, and at least one where anything changed."""
    diff = diff_of(old, new)
    told = render.names(diff).split("\n")[:-1]
    assert len(told) >= len(diff.added) + len(diff.removed) + len(diff.modified)
    assert bool(told) == (encode(old) != encode(new))


def test_many_new_entries_are_told_by_name() -> None:
    """A first version of a large knowledge base lists its entries instead of printing it all."""
    problems = {f"p{n}": {"title": f"Problem number {n}", "text": "x " * 500} for n in range(40)}
    told = render.terminal(diff_of(MISSING, {"problems": problems}), width=80)
    assert "+ p7  Problem number 7\n" in told
    assert told.count("\n") < 50
    assert told.endswith("40 added; 40 paths\n")


def test_long_values_are_cut_with_a_count() -> None:
    """Of a long new value the terminal shows the beginning and how many lines it leaves out."""
    old = {"problems": {"p": {"title": "x"}}}
    new = {"problems": {"p": {"title": "x", "steps": [f"Do the thing number {n}." for n in range(100)]}}}
    told = render.terminal(diff_of(old, new), width=80)
    assert "… 40 more lines" in told


def test_long_texts_are_elided_around_the_change() -> None:
    """Of a long text the terminal shows the changed words with their neighbours, not the rest."""
    filler = "Nothing of interest is said in this sentence, nor in the next one. " * 20
    old, new = f"{filler}Wait for ten minutes. {filler}", f"{filler}Wait for two hours. {filler}"
    told = render.terminal(diff_of({"problems": {"p": {"t": old}}}, {"problems": {"p": {"t": new}}}), width=80)
    assert "{+two hours+}" in told
    assert "[-ten minutes-]" in told
    assert len(told) < 700


def test_numbers_of_different_types_differ_in_print() -> None:
    """`1`, `1.0` and `true` are told apart."""
    told = render.terminal(diff_of(OLD, NEW), width=80)
    assert "1 -> 1.0" in told
    assert "true -> 1" in told


@given(st.lists(st.tuples(st.text("ab 漢é-", max_size=30), st.booleans())), st.integers(8, 60))
def test_wrapped_lines_fit(parts: list[tuple[str, bool]], width: int) -> None:
    """No wrapped line is wider than asked, and nothing but blanks is lost."""
    lines = wrap([Piece(text, marked) for text, marked in parts], width)
    flat = ["".join(piece.text for piece in line) for line in lines]
    assert all(cells(line) <= width for line in flat)
    assert "".join(flat).replace(" ", "") == "".join(text for text, _ in parts).replace(" ", "")


@given(st.text("ab 漢é", max_size=40), st.integers(2, 30))
def test_clipped_text_fits(text: str, width: int) -> None:
    """A clipped text is never wider than asked."""
    assert cells(clip(text, width)) <= width


@given(width=st.integers(40, 160))
def test_terminal_keeps_its_width(width: int) -> None:
    """Lines of ordinary articles stay within the terminal; marks of changed words included."""
    told = render.terminal(diff_of(OLD, NEW), width=width)
    headings = ("    /", "v2_")
    assert all(cells(line) <= width for line in told.splitlines() if not line.startswith(headings))
