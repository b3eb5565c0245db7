"""From two values to a patch: always exact, small where little changed, and told to people by element."""

import inspect
import random
import sys
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbstore.errors import InvalidJSON
from kbstore.jsondoc.canonical import clone, dumps
from kbstore.jsondoc.make_patch import MISSING, Change, Hunk, Splice, changes, id_key, inverse, make_patch, patch_of
from kbstore.jsondoc.match import pair_elements
from kbstore.jsondoc.patch import apply_patch
from tests.jsondoc.values import CONTAINERS, NAMES, VALUES, exactly, nested

TEXT = "a text of some length " * 5
IDS = st.sampled_from(["s1", "s2", "s3", "s4", 1, 2, True])
ELEMENTS = st.dictionaries(st.sampled_from(["id", "text", "n", "more"]), st.integers(0, 2) | IDS | VALUES, max_size=4)
RECORDS = st.lists(st.fixed_dictionaries({"id": IDS, "n": st.integers(0, 2)}) | ELEMENTS, max_size=6)
LISTS = RECORDS | st.lists(st.sampled_from([0, 1, 1.0, True, "a", "b", [], {}]), max_size=8)


@st.composite
def edited(draw: st.DrawFn, value: Any) -> Any:
    """The value after a few edits at random places."""
    value = clone(value)
    for _ in range(draw(st.integers(0, 4))):
        place = value
        while isinstance(place, (dict, list)) and place and draw(st.booleans()):
            inner = draw(st.sampled_from(list(place.values()) if isinstance(place, dict) else place))
            if not isinstance(inner, (dict, list)):
                break
            place = inner
        if isinstance(place, list):
            at = draw(st.integers(0, len(place)))
            if at < len(place) and draw(st.booleans()):
                place.append(place.pop(at))
            place[at : at + draw(st.integers(0, 2))] = draw(st.lists(VALUES, max_size=2))
        elif isinstance(place, dict):
            if place and draw(st.booleans()):
                place.pop(draw(st.sampled_from(sorted(place))))
            place[draw(NAMES)] = draw(VALUES)
    return value


SIDES = (
    st.tuples(VALUES, VALUES)
    | (CONTAINERS | LISTS).flatmap(lambda value: st.tuples(st.just(value), edited(value)))
    | st.tuples(LISTS, LISTS)
    | st.tuples(st.fixed_dictionaries({"list": LISTS}), st.fixed_dictionaries({"list": LISTS}))
)


@given(SIDES)
def test_the_patch_makes_exactly_the_new_value(sides: tuple[Any, Any]) -> None:
    """Applied to the old value the patch gives the new one, types exact, and back again."""
    old, new = sides
    before = exactly([old, new])
    patch = make_patch(old, new)
    assert exactly(apply_patch(old, patch)) == exactly(new)
    assert exactly(apply_patch(new, patch_of(inverse([Hunk((), old, new)])))) == exactly(old)
    assert (patch == []) is (exactly(old) == exactly(new))
    assert exactly([old, new]) == before


@given(SIDES)
def test_another_library_applies_the_patch_to_the_same_effect(sides: tuple[Any, Any]) -> None:
    """The patch is plain RFC 6902, in nobody's dialect."""
    old, new = sides
    patch = make_patch(old, new)
    # jsonpatch takes "-" for the end of an array also where it is a member's name.
    if not any(operation["path"].endswith("/-") for operation in patch):
        assert jsonpatch.apply_patch(clone(old), patch) == new


@given(SIDES)
def test_a_patch_is_never_much_longer_than_a_replacement(sides: tuple[Any, Any]) -> None:
    """What keeps nothing is replaced as a whole, where that is shorter."""
    old, new = sides
    if isinstance(new, list):
        whole = [{"op": "replace", "path": "", "value": new}]
        patch = make_patch(old, new)
        assert len(patch) <= max(1, len(new) // 4) or len(dumps(patch)) <= len(dumps(whole)) + 2


@given(SIDES)
def test_changes_tell_every_difference(sides: tuple[Any, Any]) -> None:
    """There is a change exactly where there is a difference, and each has both sides as they are."""
    old, new = sides
    told = changes([Hunk((), old, new)])
    assert bool(told) is (exactly(old) != exactly(new))
    for change in told:
        assert (change.old is MISSING) is (change.kind == "added")
        assert (change.new is MISSING) is (change.kind == "removed")
        if change.kind == "modified":
            assert exactly(change.old) != exactly(change.new)


@given(st.lists(VALUES, max_size=5), LISTS, LISTS, st.lists(VALUES, max_size=5), LISTS, LISTS)
def test_regions_of_one_array_are_patched_at_their_places(
    head: list[Any], old: list[Any], new: list[Any], between: list[Any], old2: list[Any], new2: list[Any]
) -> None:
    """Several regions given in increasing order become operations whose indexes hold when they are applied."""
    before = {"x": {"a": [*head, *old, *between, *old2, "end"]}}
    after = {"x": {"a": [*head, *new, *between, *new2, "end"]}}
    first, second = len(head), len(head) + len(between)
    hunks = [
        Splice(("x", "a"), first, old, first, new),
        Splice(("x", "a"), second + len(old), old2, second + len(new), new2),
    ]
    assert exactly(apply_patch(before, patch_of(hunks))) == exactly(after)
    assert exactly(apply_patch(after, patch_of(inverse(hunks)))) == exactly(before)


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 1.0}, [{"op": "replace", "path": "/a", "value": 1.0}]),
        ({"a": 1}, {"a": True}, [{"op": "replace", "path": "/a", "value": True}]),
        ({"a": 0.0}, {"a": -0.0}, [{"op": "replace", "path": "/a", "value": -0.0}]),
        ({"a": [[1]]}, {"a": [[True]]}, [{"op": "replace", "path": "/a/0/0", "value": True}]),
        ({"a/b": {"c": 1}}, {"a/b": {"c": 2}}, [{"op": "replace", "path": "/a~1b/c", "value": 2}]),
        ({"b": 1, "a": 1}, {"c": 2, "b": 1}, [{"op": "remove", "path": "/a"}, {"op": "add", "path": "/c", "value": 2}]),
        ([1, 2, 3], [0, 1, 2, 3], [{"op": "add", "path": "/0", "value": 0}]),
        ([1, 2, 3], [1, 2, 3, 4], [{"op": "add", "path": "/3", "value": 4}]),
        (["a", "b", "c", "d"], ["a", "c", "d"], [{"op": "remove", "path": "/1"}]),
        (["a", "b", "c"], ["a", "x", "c"], [{"op": "replace", "path": "/1", "value": "x"}]),
        ([{"id": 1, "t": "x", "long": TEXT}, {"id": 2, "t": "y", "long": TEXT}], [{"id": 2, "t": "z", "long": TEXT}],
         [{"op": "replace", "path": "/1/t", "value": "z"}, {"op": "remove", "path": "/0"}]),
        ([{"a": 1, "b": TEXT}, {"a": 3, "b": TEXT}], [{"x": 9}, {"a": 5, "b": TEXT}, {"a": 3, "b": TEXT}],
         [{"op": "replace", "path": "/0/a", "value": 5}, {"op": "add", "path": "/0", "value": {"x": 9}}]),
        ([{"name": "old", "a": 1, "b": 2}], [{"name": "new", "a": 1, "b": 2}],
         [{"op": "replace", "path": "/0/name", "value": "new"}]),
        (1, [2], [{"op": "replace", "path": "", "value": [2]}]),
        ({"a": {"x": 1, "y": 2, "z": 3}}, {"a": {"p": 1, "q": 2, "r": 3}},
         [{"op": "replace", "path": "/a", "value": {"p": 1, "q": 2, "r": 3}}]),
        ({"a": {"x": 1, "y": 2}}, {"a": {"x": 3, "y": 4}},
         [{"op": "replace", "path": "/a/x", "value": 3}, {"op": "replace", "path": "/a/y", "value": 4}]),
        ({"a": [1, 2, 3, 4]}, {"a": [5, 6, 7, 8]}, [{"op": "replace", "path": "/a", "value": [5, 6, 7, 8]}]),
    ],
)  # fmt: skip
def test_a_patch_says_what_changed_and_no_more(old: Any, new: Any, patch: Any) -> None:
    """Members and elements that stay are not touched; types count."""
    assert exactly(make_patch(old, new)) == exactly(patch)


def test_an_object_that_keeps_something_is_not_claimed_as_a_whole() -> None:
    """However many of its members change, those that stay are not written, so that others may change them."""
    old = {"x": {**{f"k{n}": n for n in range(50)}, "stays": 1}}
    new = {"x": {**{f"k{n}": -n - 1 for n in range(50)}, "stays": 1}}
    assert sorted(op["path"] for op in make_patch(old, new)) == sorted(f"/x/k{n}" for n in range(50))


def test_a_missing_side_is_an_addition_or_a_removal() -> None:
    """A hunk without an old or a new value adds or removes its member, or the document."""
    assert patch_of([Hunk(("a",), MISSING, 1)]) == [{"op": "add", "path": "/a", "value": 1}]
    assert patch_of([Hunk(("a",), 1, MISSING)]) == [{"op": "remove", "path": "/a"}]
    assert patch_of([Hunk((), MISSING, {})]) == [{"op": "add", "path": "", "value": {}}]
    assert inverse([Hunk(("a",), MISSING, 1)]) == [Hunk(("a",), 1, MISSING)]


def test_the_patch_shares_nothing_with_the_arguments() -> None:
    """Changing the new document later does not change the patch."""
    new = {"a": {"b": [1]}}
    patch = make_patch({}, new)
    new["a"]["b"].append(2)
    assert patch == [{"op": "add", "path": "/a", "value": {"b": [1]}}]


@pytest.mark.parametrize("sides", [({"a": float("nan")}, {}), ({}, {"a": (1,)})])
def test_values_that_are_no_json_are_refused(sides: tuple[Any, Any]) -> None:
    """Both sides are checked."""
    with pytest.raises(InvalidJSON):
        make_patch(*sides)


@pytest.mark.parametrize(
    ("elements", "key"),
    [
        ([{"id": 1}, {"id": 2}], "id"),
        ([{"id": 1}, {"id": 1}], None),
        ([{"id": 1}, {"id": True}], None),
        ([{"id": 1}, {"id": None}], None),
        ([{"id": 1}, {}], None),
        ([{"id": 1}, 2], None),
        ([{"id": [1]}], None),
        ([], None),
        ([1, 2], None),
        ([{"cveID": "a", "name": "x"}, {"cveID": "b", "name": "y"}], "name"),
        ([{"cveID": "a"}, {"cveID": "b"}], None),
        ([{"slug": "a", "id": 1}, {"slug": "b", "id": 1}], "slug"),
        ([{"_id": 1, "key": "a"}, {"_id": 2, "key": "b"}], "_id"),
        ([{"product_id": 1}, {"product_id": 2}], None),
        ([{"valid": 1}, {"valid": 2}], None),
    ],
)
def test_the_member_that_identifies_elements(elements: list[Any], key: str | None) -> None:
    """A name that is known for it, in every element, a string or integer, and never twice."""
    assert id_key(elements) == key


def test_changes_are_told_by_element_and_leaf() -> None:
    """Elements are matched by id wherever they stand now; members are entered; what is new is told whole."""
    old = {
        "p": {"steps": [{"id": "s1", "t": "a"}, {"id": "s2", "t": "b"}, {"id": "s3", "t": "c"}], "v": 1, "gone": [0]}
    }
    new = {"p": {"steps": [{"id": "s0", "t": "z"}, {"id": "s1", "t": "a"}, {"id": "s3", "t": "C"}], "v": 2}}
    assert changes([Hunk((), old, new)]) == [
        Change("/p/gone", "removed", [0], MISSING, "/p/gone"),
        Change("/p/steps/0", "added", MISSING, {"id": "s0", "t": "z"}, "/p/steps/[id=s0]"),
        Change("/p/steps/1", "removed", {"id": "s2", "t": "b"}, MISSING, "/p/steps/[id=s2]"),
        Change("/p/steps/2/t", "modified", "c", "C", "/p/steps/[id=s3]/t"),
        Change("/p/v", "modified", 1, 2, "/p/v"),
    ]


def test_moved_elements_are_told_as_moved() -> None:
    """An element that stands elsewhere is one change, also from one region to another, and when it changed as well."""
    old = [{"id": n, "t": "x"} for n in range(5)]
    new = [old[1], old[2], old[3], {"id": 0, "t": "y"}, old[4]]
    assert changes([Hunk((), old, new)]) == [
        Change("/3", "moved", {"id": 0, "t": "x"}, {"id": 0, "t": "y"}, "/[id=0]"),
        Change("/3/t", "modified", "x", "y", "/[id=0]/t"),
    ]
    assert changes([Splice(("a",), 0, ["x"], 0, []), Splice(("a",), 9, [], 8, ["x"])]) == [
        Change("/a/8", "moved", "x", "x", "/a/8")
    ]


def test_an_address_names_each_element_by_its_key() -> None:
    """Within nested lists each element on the way is named, in as many members as identify it."""
    old = [{"id": "e1", "steps": [{"id": "s1", "t": 1}]}, {"id": "e2", "steps": []}]
    new = [{"id": "e1", "steps": [{"id": "s1", "t": 2}]}, {"id": "e2", "steps": []}]
    (change,) = changes([Hunk(("list",), old, new)])
    assert (change.pointer, change.address) == ("/list/0/steps/0/t", "/list/[id=e1]/steps/[id=s1]/t")
    old, new = ([{"a=b": "x,y%", "n": "~/]", "v": v}] for v in (1, 2))
    (change,) = changes([Hunk((), old, new)], {"": ("a=b", "n")})
    assert (change.pointer, change.address) == ("/0/v", "/[a%3Db=x%2Cy%25,n=~0~1%5D]/v")


def test_like_is_paired_with_like() -> None:
    """Where elements have no id, one that was edited is found beside one that was inserted."""
    old = [{"a": 1, "b": 2, "c": 3}, {"a": 7, "b": 8, "c": 9}]
    new = [{"a": 0, "b": 0, "c": 0}, {"a": 1, "b": 2, "c": 4}, {"a": 7, "b": 8, "c": 0}]
    assert [tuple(pair) for pair in pair_elements(old, new)] == [("+", 0, 0), ("=", 0, 1), ("=", 1, 2)]


@pytest.mark.parametrize("kind", ["text", "record"])
def test_an_insertion_at_the_front_of_a_long_array_is_one_add(kind: str) -> None:
    """100,000 elements that moved by one are not touched."""
    element = (lambda n: f"element {n}") if kind == "text" else (lambda n: {"id": n, "text": "x"})
    old = {"list": [element(n) for n in range(100_000)]}
    new = {"list": [element(-1), *old["list"]]}
    assert make_patch(old, new) == [{"op": "add", "path": "/list/0", "value": element(-1)}]
    assert make_patch(new, old) == [{"op": "remove", "path": "/list/0"}]


def test_long_arrays_without_anything_in_common_are_one_replacement() -> None:
    """Neither total change nor total repetition of 100,000 elements is costly to tell."""
    old, new = [f"a{n}" for n in range(100_000)], [f"b{n}" for n in range(100_000)]
    assert [op["op"] for op in make_patch(old, new)] == ["replace"]
    same = ["x" * 10] * 100_000
    assert make_patch(same, [*same, "x" * 10]) == [{"op": "add", "path": "/100000", "value": "x" * 10}]


def test_random_edits_of_a_long_list_of_records_stay_small() -> None:
    """Each edited, inserted or removed record costs about an operation."""
    source = random.Random(3)
    old = [{"id": n, "a": n % 7, "b": [n]} for n in range(20_000)]
    new = clone(old)
    for _ in range(50):
        at = source.randrange(len(new))
        new[at]["a"] = "edited"
        del new[source.randrange(len(new))]
        new.insert(source.randrange(len(new)), {"id": 10**6 + len(new) + at, "a": 0, "b": []})
    patch = make_patch(old, new)
    assert len(patch) <= 150
    assert exactly(apply_patch(old, patch)) == exactly(new)


def test_the_callers_stack_does_not_matter() -> None:
    """Deep documents are compared also where Python's stack is nearly used up; the patch is then coarser, and right."""
    old, new = {"a": [nested(150, 1)]}, {"a": [nested(150, 2)]}
    hunks = [Hunk((), old, new)]
    regions = [Splice(("a",), 0, old["a"], 0, new["a"])]

    def descend(frames: int) -> tuple[Any, Any, Any, Any]:
        if frames:
            return descend(frames - 1)
        return make_patch(old, new), patch_of(regions), changes(hunks), changes(regions)

    plain = descend(0)
    shallow = descend(sys.getrecursionlimit() - 200 - len(inspect.stack()))
    for patch in (*plain[:2], *shallow[:2]):
        assert dumps(apply_patch(old, patch)) == dumps(new)
    assert [change.pointer for change in plain[2] + plain[3]] == ["/a" + "/0" * 151] * 2
    assert [change.pointer for change in shallow[2] + shallow[3]] == ["", "/a/0", "/a/0"]
