"""A patch with tests makes exactly the new value of the old one, and changes no element that it was not made for."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbstore.errors import InvalidJSON, PatchError
from kbstore.jsondoc.guarded_patch import guarded_patch
from kbstore.jsondoc.make_patch import Hunk, patch_of
from kbstore.jsondoc.patch import apply_patch
from kbstore.store import Store
from kbstore.worktree.patch_file import read_patch
from tests.jsondoc.test_make_patch import IDS, SIDES
from tests.jsondoc.values import exactly

ROWS = st.lists(st.tuples(IDS, st.integers(0, 1)), max_size=5, unique_by=lambda row: repr(row[0]))


@given(SIDES)
def test_it_makes_exactly_the_new_value(sides: tuple[Any, Any]) -> None:
    """Every test holds for the version that it was made from; without tests it is the bare patch."""
    old, new = sides
    patch = guarded_patch([Hunk((), old, new)], {})
    assert exactly(apply_patch(old, patch)) == exactly(new)
    assert [op for op in patch if op["op"] != "test"] == patch_of([Hunk((), old, new)])


@given(ROWS, ROWS, st.data())
def test_it_changes_no_other_element(rows: list[Any], others: list[Any], data: st.DataObject) -> None:
    """On a list of other elements in another order it is refused, or has changed the element that was meant."""
    old = [{"id": key, "n": n} for key, n in rows]
    if not old:
        return
    at = data.draw(st.integers(0, len(old) - 1))
    new = [dict(row) for row in old]
    new[at]["n"] += 5
    there = [{"id": key, "n": n} for key, n in others]
    try:
        found = apply_patch({"list": there}, guarded_patch([Hunk(("list",), old, new)], {}))["list"]
    except PatchError:
        return
    assert [row["id"] for row in found] == [row["id"] for row in there]
    assert exactly([row["id"] for row in found if row["n"] >= 5]) == exactly([old[at]["id"]])


@pytest.mark.parametrize(
    ("old", "new", "tests"),
    [
        ({"a": 1}, {"a": 2}, {"/a": 1}),
        ({"a": 1, "b": 1}, {"b": 1}, {"/a": 1}),
        ({"b": 1}, {"a": 1, "b": 1}, {}),
        ([{"id": "x", "n": 1}, {"id": "y"}], [{"id": "x", "n": 2}, {"id": "y"}], {"/0/id": "x", "/0/n": 1}),
        ([{"n": 1, "m": 3}], [{"n": 2, "m": 3}], {"/0": {"n": 1, "m": 3}, "/0/n": 1}),
        (["a", "b"], ["a", "c"], {"/1": "b"}),
        ([[1, 2], [3, 4]], [[1, 2], [3, 5]], {"/1": [3, 4], "/1/1": 4}),
    ],
)
def test_what_is_tested(old: Any, new: Any, tests: dict[str, Any]) -> None:
    """What is removed and replaced, and the elements on the way: by their ids, else as a whole."""
    patch = guarded_patch([Hunk((), old, new)], {})
    assert {op["path"]: op["value"] for op in patch if op["op"] == "test"} == tests


def test_members_of_a_setting_are_tested() -> None:
    """A composite key is tested member by member."""
    old = {"places": [{"city": "Bonn", "hall": 3, "n": 1}]}
    new = {"places": [{"city": "Bonn", "hall": 3, "n": 2}]}
    patch = guarded_patch([Hunk((), old, new)], {"/places": ("city", "hall")})
    assert [op["path"] for op in patch] == ["/places/0/city", "/places/0/hall", "/places/0/n", "/places/0/n"]


@pytest.mark.parametrize("size", [1, 3000])
def test_a_pointer_through_an_array(size: int) -> None:
    """The elements above the pointer that was asked for are tested too, in small and in large documents."""
    document = [{"id": "a", "x": [{"t": "1" * size}]}, {"id": "b"}]
    with Store.create("memory:", document) as store:
        document[0]["x"][0]["t"] = "2"  # type: ignore[index]
        store.commit(document, base="v1")
        for pointer in ("", "/0", "/0/x", "/0/x/0/t"):
            patch = store.diff("v1", "v2", pointer).guarded_patch
            assert [(op["op"], op["path"]) for op in patch] == [
                ("test", "/0/id"),
                ("test", "/0/x/0"),
                ("test", "/0/x/0/t"),
                ("replace", "/0/x/0/t"),
            ]


@pytest.mark.parametrize("pointer", ["", "/50", "/50/reply"])
def test_what_is_an_id_in_a_part_alone_is_not_enough(pointer: str) -> None:
    """An entry of a long log, of which its author is in many others, is tested as a whole."""
    log: list[dict[str, Any]] = [{"name": who, "text": f"entry {n}"} for n, who in enumerate(["ann", "bob"] * 150)]
    with Store.create("memory:", log) as store:
        store.commit([{**entry, "reply": "yes"} if n == 50 else entry for n, entry in enumerate(log)], base="v1")
        patch = store.diff("v1", "v2", pointer).guarded_patch
    assert patch[0] == {"op": "test", "path": "/50", "value": log[50]}
    with pytest.raises(PatchError):
        apply_patch([*log[:2], *log], patch)


def test_both_forms_of_a_patch_are_read() -> None:
    """Operations alone are left to who applies them; an object has them beside the version that they were made from."""
    assert read_patch(b" [1]") == (b" [1]", None, "")
    text = b'{"schema_version": 1, "from": "v1_x", "base": "ab", "patch": [{"op": "remove", "path": "/a"}]}'
    assert read_patch(text) == (b'[{"op":"remove","path":"/a"}]', "ab", "v1_x")
    assert read_patch(b'{"patch": [], "base": null}').base is None
    for bad in (b"{}", b'{"patch": {}}', b'{"patch": [], "base": 3}'):
        with pytest.raises(PatchError, match="the object that kbstore diff --json prints"):
            read_patch(bad)
    with pytest.raises(PatchError, match="a single operation is not a patch"):
        read_patch(b'{"op": "remove", "path": "/a"}')
    with pytest.raises(PatchError, match="line 1") as refused:
        read_patch(b'{"patch": ')
    assert not isinstance(refused.value, InvalidJSON)
