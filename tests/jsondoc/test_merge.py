"""Merging two changes of one value: both are kept, and a sparse array gives what a whole one gives."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbstore.jsondoc.canonical import encode
from kbstore.jsondoc.hunks import Difference, Hunk, Splice
from kbstore.jsondoc.lcs import align
from kbstore.jsondoc.make_patch import patch_of
from kbstore.jsondoc.merge import merge
from kbstore.jsondoc.patch import apply_patch
from tests.jsondoc.values import exactly

VALUES = st.sampled_from(["a", "b", None, True])
ELEMENTS = st.builds(lambda key, value: {"id": key, "v": value}, st.integers(0, 9), VALUES)
ARRAYS = st.lists(ELEMENTS, max_size=9, unique_by=lambda element: element["id"])
NOTE = {"t": "y", "who": "w", "done": False}
SLUG = {"slug": "p", "t": "x", "u": "y", "v": "z"}
LOOSE = st.lists(st.integers(0, 2) | ELEMENTS, max_size=6)


def splices(old: list[Any], new: list[Any]) -> list[Difference]:
    """The regions in which two arrays differ, as the comparison of two trees gives them."""
    found: list[Difference] = []
    i = j = 0
    for at, to, length in [*align([*map(encode, old)], [*map(encode, new)]), (len(old), len(new), 0)]:
        if at > i or to > j:
            found.append(Splice(("list",), i, old[i:at], j, new[j:to]))
        i, j = at + length, to + length
    return found


def merged(base: Any, ours: Any, theirs: Any) -> tuple[Any, list[Any]]:
    """The merged document, and the conflicts."""
    found = merge([Hunk((), base, ours)], [Hunk((), base, theirs)], {})
    return apply_patch(theirs, patch_of(found.hunks)), found.conflicts


@given(ARRAYS, ARRAYS, ARRAYS)
def test_regions_merge_as_the_whole_does(base: list[Any], ours: list[Any], theirs: list[Any]) -> None:
    """What lies between the regions that differ has no part in it."""
    known = {"/list": ("id",)}
    whole = merge([Hunk(("list",), base, ours)], [Hunk(("list",), base, theirs)], known)
    sparse = merge(splices(base, ours), splices(base, theirs), known)
    assert bool(whole.conflicts) is bool(sparse.conflicts)
    if not whole.conflicts:
        results = [apply_patch({"list": theirs}, patch_of(found.hunks, known)) for found in (whole, sparse)]
        ids = [sorted(encode(element) for element in result["list"]) for result in results]
        assert ids[0] == ids[1]


@given(ARRAYS | LOOSE, ARRAYS | LOOSE)
def test_a_change_that_only_one_side_made_is_the_result(base: list[Any], changed: list[Any]) -> None:
    """Whichever side it is, exactly, order included."""
    assert exactly(merged(base, changed, base)) == exactly((changed, []))
    assert exactly(merged(base, base, changed)) == exactly((changed, []))


@given(ARRAYS, ARRAYS, ARRAYS)
def test_elements_are_merged_one_by_one(base: list[Any], ours: list[Any], theirs: list[Any]) -> None:
    """Each is as the side that changed it left it, wherever it is."""
    result, conflicts = merged(base, ours, theirs)
    by_id = [{element["id"]: element for element in side} for side in (base, ours, theirs, result)]
    assert len(by_id[3]) == len(result)
    for key in {key for side in by_id for key in side}:
        old, mine, other, now = (side.get(key) for side in by_id)
        if mine in (old, other):
            assert now == other
        elif other == old:
            assert now == mine
        else:
            assert conflicts


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "pointers"),
    [
        ({"n": 1}, {"n": 2}, {"n": 2}, ["/n"]),
        ({}, {"n": 1}, {"n": 1}, ["/n"]),
        ({"n": "1"}, {"n": "2"}, {"n": "2"}, []),
        ({}, {"a": {"n": 1}}, {"a": {"n": 1}}, ["/a"]),
        ({"a": {}}, {"a": {"w": [{"n": 0.5}]}}, {"a": {"w": [{"n": 0.5}]}}, ["/a/w"]),
        ({"a": None}, {"a": 1}, {"a": 1}, ["/a"]),
        ({"a": "x"}, {"a": {"n": 1}}, {"a": {"n": 1}}, ["/a"]),
        ({"a": {"n": 1}}, {"a": {"n": 1, "t": "x"}}, {"a": {"n": 1, "t": "x"}}, []),
        ({"a": {"n": 1}}, {}, {}, []),
        ({}, {"a": {"t": ["x", True, None]}}, {"a": {"t": ["x", True, None]}}, []),
        ([1, 2], [1, 3], [1, 3], ["/1"]),
        ([{"id": 1, "n": 0}], [{"id": 1, "n": 1}], [{"id": 1, "n": 1}], ["/[id=1]/n"]),
        ([{"id": "a"}], [{"id": "a"}, {"id": "b", "n": 1}], [{"id": "a"}, {"id": "b", "n": 1}], ["/[id=b]"]),
        ([{"id": "a"}], [{"id": "a"}, {"id": "b", "n": "1"}], [{"id": "a"}, {"id": "b", "n": "1"}], []),
        (["x"], ["x", "y"], ["x", "y"], ["/1"]),
        (["x", "y"], ["y"], ["y"], []),
        (["x", "y"], ["y"], ["x"], ["/0"]),
        ([5, 6], [4], [4], ["/0", "/1"]),
        (["x", "x"], ["x"], ["x"], ["/1"]),
        (["x", "y"], ["y", "z"], ["y", "z"], ["/0", "/1"]),
        (["x", "y"], ["X", "y"], ["X", "y"], []),
        ([{"t": "x"}, {"t": "y"}], [{"t": "X"}, {"t": "y"}], [{"t": "x"}, {"t": "Y"}], []),
        # Both changed one place: which element it was is not told by how alike it is.
        ([{"t": "x", "who": "w"}, NOTE], [{"t": "x", "who": "w"}, NOTE | {"t": "new"}],
         [{"t": "x", "who": "w"}, NOTE | {"done": True}], ["/1"]),
        ([NOTE], [NOTE | {"t": "new"}, NOTE | {"done": True}], [NOTE | {"who": "v"}], ["/0", "/1"]),
        ([NOTE], [NOTE | {"done": True}], [NOTE | {"who": "v"}], ["/0"]),
        # Elements without a key among others that have one.
        ([{"id": 1}, {"v": 1}, {"id": 2}], [{"id": 1}, {"v": 2}, {"id": 2}], [{"id": 1}, {"v": 2}, {"id": 2}], [""]),
        ([{"id": 1}, "x", {"id": 2}], [{"id": 1}, {"id": 2}], [{"id": 1}, {"id": 2}], []),
        ([{"id": 1}, "x", {"id": 2}, "x", {"id": 3}], [{"id": 1}, {"id": 2}, "x", {"id": 3}],
         [{"id": 1}, "x", {"id": 2}, {"id": 3}], [""]),
        # Edited in place and appended, unless what was appended may be what was there.
        (["x", "y"], ["X", "y"], ["x", "y", "z"], []),
        (["x", "y"], ["X", "y"], ["x", "y", "x"], ["/0"]),
        # An id that is there twice: its elements are known by content, and one side may change them.
        ([{"id": 1}, {"id": 2}], [{"id": 1, "v": 1}, {"id": 2}], [{"id": 1}, {"id": 1}, {"id": 2}], [""]),
        ([{"id": 1}, {"id": 1, "w": 1}, {"id": 2}, {"id": 3}],
         [{"id": 1}, {"id": 1, "w": 2}, {"id": 2}, {"id": 3}],
         [{"id": 1}, {"id": 1, "w": 1}, {"id": 2, "v": 1}, {"id": 3}], []),
        # Both moved one value elsewhere, or renamed it: to different places, or to the same.
        ({"p": {"t": "x"}}, {"q": {"t": "x"}}, {"r": {"t": "x"}}, ["/p", "/q", "/r"]),
        ({"p": {"t": "x"}}, {"q": {"t": "x"}}, {"q": {"t": "x"}}, []),
        ({"p": {"t": "x"}, "s": {"t": "x"}}, {"s": {"t": "x"}}, {"s": {"t": "x"}, "r": "y"}, []),
        ({"a": [{"id": "p"}, {"id": "q"}], "b": [], "c": []}, {"a": [{"id": "q"}], "b": [{"id": "p"}], "c": []},
         {"a": [{"id": "q"}], "b": [], "c": [{"id": "p"}]}, ["/a/[id=p]", "/b/0", "/c/0"]),
        ([{"id": "p", "t": "x"}, {"id": "z"}], [{"id": "q", "t": "x"}, {"id": "z"}],
         [{"id": "r", "t": "x"}, {"id": "z"}], ["/[id=p]"]),
        ([{"id": "p", "t": "x"}, {"id": "z"}], [{"id": "q", "t": "x"}, {"id": "z"}],
         [{"id": "q", "t": "x"}, {"id": "z"}], []),
        ([{"id": "p", "t": "x"}, {"id": "z"}], [{"id": "q", "t": "x"}, {"id": "z"}], [{"id": "z"}], ["/[id=p]"]),
        # A slug was edited along with the rest, as a difference tells it: the element is still the same one.
        ([SLUG, {"slug": "z"}], [SLUG | {"slug": "q", "t": "new"}, {"slug": "z"}], [{"slug": "z"}], ["/[slug=p]"]),
        ([SLUG, {"slug": "z"}], [{"slug": "z"}], [SLUG | {"slug": "q", "t": "new"}, {"slug": "z"}], ["/[slug=p]"]),
        ([SLUG, {"slug": "z"}], [SLUG | {"slug": "q", "t": "new"}, {"slug": "z"}],
         [SLUG | {"slug": "r", "u": "new"}, {"slug": "z"}], ["/[slug=p]"]),
        ([SLUG, {"slug": "z"}], [SLUG | {"slug": "q", "t": "new"}, {"slug": "z"}],
         [SLUG | {"slug": "q", "u": "new"}, {"slug": "z"}], ["/[slug=q]"]),
        ([SLUG, {"slug": "z"}], [SLUG | {"slug": "q", "t": "new"}, {"slug": "z"}], [{"slug": "z"}, SLUG], [""]),
        # One that is not like it is another one.
        ([SLUG, {"slug": "z"}], [{"slug": "q", "t": "new"}, {"slug": "z"}], [{"slug": "z"}], []),
        # Both changed the order: each pair as the one gave it that changed it, unless these contradict each other.
        ([{"id": 1}, {"id": 2}, {"id": 3}, {"id": 4}], [{"id": 2}, {"id": 1}, {"id": 3}, {"id": 4}],
         [{"id": 1}, {"id": 2}, {"id": 4}, {"id": 3}], []),
        ([{"id": 1}, {"id": 2}, {"id": 3}], [{"id": 2}, {"id": 1}, {"id": 3}],
         [{"id": 1}, {"id": 3}, {"id": 2}], [""]),
        # Both moved one element, to different places.
        ([{"id": 1}, {"id": 2}, {"id": 3}, {"id": 4}], [{"id": 4}, {"id": 1}, {"id": 2}, {"id": 3}],
         [{"id": 1}, {"id": 4}, {"id": 2}, {"id": 3}], [""]),
    ],
)  # fmt: skip
def test_what_is_a_conflict(base: Any, ours: Any, theirs: Any, pointers: list[str]) -> None:
    """A number may be a count, an element without a key may be another one, and one place has one order."""
    assert [conflict.pointer for conflict in merged(base, ours, theirs)[1]] == pointers
