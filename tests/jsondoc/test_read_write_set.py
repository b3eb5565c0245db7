"""Footprints: where two patches touch the same, by the rule and by what really happens."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbstore.errors import PatchError, PointerError
from kbstore.jsondoc.canonical import clone
from kbstore.jsondoc.patch import apply_patch, parse_patch, resolve
from kbstore.jsondoc.read_write_set import MAX_COLLISIONS, Footprint, collisions
from tests.jsondoc.values import exactly

DOCUMENT: Any = {"a": {"b": 1, "c": {"d": 2}}, "list": [[1], {"x": 1}, 3], "0": {"1": 5}}


def footprint(patch: Any, document: Any = DOCUMENT) -> Footprint:
    """The footprint of a patch that was written for the document."""

    def is_array(tokens: tuple[str, ...]) -> bool:
        try:
            return isinstance(resolve(document, tokens), list)
        except PointerError:
            return False

    return Footprint.of(parse_patch(patch), is_array)


def op(name: str, path: str, source: str | None = None) -> dict[str, Any]:
    """One operation; its value does not matter."""
    extra = {"value": 0} if name in ("add", "replace", "test") else {}
    return {"op": name, "path": path, **extra, **({"from": source} if source is not None else {})}


@pytest.mark.parametrize(
    ("ours", "theirs", "told"),
    [
        # Equal pointers, prefixes, and neither.
        ([op("replace", "/a/b")], [op("replace", "/a/b")], [("/a/b", "/a/b")]),
        ([op("replace", "/a/b")], [op("replace", "/a/c")], []),
        ([op("replace", "/a")], [op("replace", "/a/c/d")], [("/a", "/a/c/d")]),
        ([op("replace", "/a/c/d")], [op("remove", "/a")], [("/a/c/d", "/a")]),
        ([op("replace", "")], [op("replace", "/a/b")], [("", "/a/b")]),
        ([op("replace", "/a/b")], [op("add", "")], [("/a/b", "")]),
        ([op("replace", "/a/b")], [op("add", "/a/bb")], []),
        # Reads: two of them never collide.
        ([op("test", "/a")], [op("test", "/a")], []),
        ([op("test", "/a")], [op("replace", "/a/b")], [("/a", "/a/b")]),
        ([op("replace", "/a/b")], [op("test", "/a/b")], [("/a/b", "/a/b")]),
        ([op("copy", "/x", "/a")], [op("copy", "/y", "/a")], []),
        ([op("copy", "/x", "/a")], [op("replace", "/a/b")], [("/a", "/a/b")]),
        ([op("move", "/x", "/a")], [op("test", "/a/b")], [("/a", "/a/b")]),
        ([op("move", "/x", "/a")], [op("move", "/y", "/a")], [("/a", "/a")]),
        # Arrays: a changed length against any index.
        ([op("add", "/list/0")], [op("replace", "/list/2")], [("/list/0", "/list/2")]),
        ([op("remove", "/list/2")], [op("replace", "/list/0/0")], [("/list/2", "/list/0/0")]),
        ([op("test", "/list/1/x")], [op("add", "/list/-")], [("/list/1/x", "/list/-")]),
        ([op("add", "/list/-")], [op("add", "/list/-")], [("/list/-", "/list/-")]),
        ([op("move", "/x", "/list/0")], [op("replace", "/list/2")], [("/list/0", "/list/2")]),
        ([op("copy", "/list/0", "/a/b")], [op("replace", "/list/2")], [("/list/0", "/list/2")]),
        ([op("copy", "/x", "/list/0")], [op("replace", "/list/2")], []),
        ([op("replace", "/list/0")], [op("replace", "/list/2")], []),
        ([op("add", "/list/0/0")], [op("replace", "/list/2")], []),
        ([op("add", "/list/0/0")], [op("replace", "/list/0/0")], [("/list/0/0", "/list/0/0")]),
        # Numbers that are names of members.
        ([op("add", "/0/2")], [op("replace", "/0/1")], []),
        ([op("remove", "/0/1")], [op("add", "/0/-")], []),
        ([], [op("replace", "")], []),
    ],
)  # fmt: skip
def test_where_patches_collide(ours: Any, theirs: Any, told: list[tuple[str, str]]) -> None:
    """Pointers are told as they stand in each patch, and the rule is symmetric."""
    assert collisions(footprint(ours), footprint(theirs)) == told
    assert collisions(footprint(theirs), footprint(ours)) == [(b, a) for a, b in told]


PLACES = ["", "/a", "/a/b", "/a/c", "/a/c/d", "/list", "/list/0", "/list/0/0", "/list/1", "/list/1/x", "/list/2",
          "/list/-", "/list/3", "/0", "/0/1", "/new", "/a/new"]  # fmt: skip
OPERATIONS = st.builds(op, st.sampled_from(["add", "remove", "replace", "test"]), st.sampled_from(PLACES)) | st.builds(
    op, st.sampled_from(["move", "copy"]), st.sampled_from(PLACES), st.sampled_from(PLACES)
)


@given(st.lists(OPERATIONS, min_size=1, max_size=3), st.lists(OPERATIONS, min_size=1, max_size=3))
def test_patches_that_do_not_collide_commute(ours: Any, theirs: Any) -> None:
    """Where no collision is told, both orders apply and give one document: a rebase changes nothing that was meant."""
    for number, operation in enumerate(ours):
        if "value" in operation and operation["op"] != "test":
            operation["value"] = f"ours {number}"
    try:
        after_ours, after_theirs = apply_patch(DOCUMENT, ours), apply_patch(DOCUMENT, theirs)
    except PatchError:
        return
    if not collisions(footprint(ours), footprint(theirs)):
        assert exactly(apply_patch(after_ours, theirs)) == exactly(apply_patch(after_theirs, ours))


def _slow_rule(ours: Any, theirs: Any) -> bool:
    """The rule, pair by pair, as the design states it."""

    def touched(patch: Any) -> list[tuple[tuple[str, ...], bool, bool]]:
        found = []
        for item in parse_patch(patch):
            resizes = item.op in ("add", "remove", "move", "copy")
            found.append((item.path, item.op != "test", resizes))
            if item.source is not None:
                found.append((item.source, item.op == "move", item.op == "move"))
        return found

    def array_at(tokens: tuple[str, ...]) -> bool:
        try:
            return isinstance(resolve(DOCUMENT, tokens), list)
        except PointerError:
            return False

    for a, a_writes, a_resizes in touched(ours):
        for b, b_writes, b_resizes in touched(theirs):
            short, long = sorted((a, b), key=len)
            if (a_writes or b_writes) and long[: len(short)] == short:
                return True
            for resizing, resizes, other in ((a, a_resizes, b), (b, b_resizes, a)):
                parent = resizing[:-1]
                index = other[len(parent)] if other[: len(parent)] == parent and len(other) > len(parent) else ""
                if resizes and resizing and index.isdigit() and array_at(parent):
                    return True
    return False


@given(st.lists(OPERATIONS, max_size=4), st.lists(OPERATIONS, max_size=4))
def test_the_fast_rule_is_the_slow_rule(ours: Any, theirs: Any) -> None:
    """Sets of prefixes find a collision exactly where comparing all pairs does."""
    assert bool(collisions(footprint(ours), footprint(theirs))) is _slow_rule(ours, theirs)


def test_large_patches_are_compared_without_comparing_all_pairs() -> None:
    """100,000 operations a side; arrays are asked about once a place."""
    document = {"list": [{"n": 0} for _ in range(100_000)], "o": {}}
    asked: list[tuple[str, ...]] = []

    def is_array(tokens: tuple[str, ...]) -> bool:
        asked.append(tokens)
        return isinstance(resolve(document, tokens), list)

    ours = Footprint.of(parse_patch([op("replace", f"/list/{n}/n") for n in range(0, 100_000, 2)]), is_array)
    theirs = Footprint.of(parse_patch([op("replace", f"/list/{n}/n") for n in range(1, 100_000, 2)]), is_array)
    assert collisions(ours, theirs) == []
    assert asked == [("list",), ("list",)]
    whole = Footprint.of(parse_patch([op("replace", "/list")]), is_array)
    assert len(collisions(whole, ours)) == MAX_COLLISIONS


def test_a_footprint_does_not_look_at_values() -> None:
    """Values may be in whatever form the caller stores them."""
    operations = [operation._replace(value=object()) for operation in parse_patch([op("replace", "/a/b")])]
    assert Footprint.of(operations, lambda _: False).writes == {("a", "b")}
    assert clone(DOCUMENT) == DOCUMENT
