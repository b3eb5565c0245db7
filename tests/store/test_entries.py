"""Which container's children count as entries, and which of them a comparison tells of."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbstore import Store, apply_patch
from kbstore.diff.collection import find_collection
from kbstore.tree.builder import root_of
from tests.jsondoc.values import VALUES, exactly
from tests.store.support import articles


def article(number: int, size: int = 1) -> dict[str, Any]:
    """An article."""
    return {"title": f"Problem {number}", "votes": 0, "steps": ["look", "ask"], "text": f"{number} " * size}


def several(count: int, size: int = 1) -> dict[str, Any]:
    """An object of articles."""
    return {f"p{n}": article(n, size) for n in range(count)}


def listed(count: int, size: int = 1) -> list[dict[str, Any]]:
    """An array of articles."""
    return [{"id": f"p{n}", **article(n, size)} for n in range(count)]


def told(old: Any, new: Any) -> tuple[list[str], list[str], list[str]]:
    """What a comparison says was added, removed and modified; the other direction is to say the opposite."""
    with Store.create("memory:") as kb:
        kb.commit(old)
        kb.commit(new, allow_empty=True)
        there, back = kb.diff("v1", "v2"), kb.diff("v2", "v1")
        assert there.collection == back.collection
        assert (there.added, there.removed, there.modified) == (back.removed, back.added, back.modified)
        assert exactly(apply_patch(old, there.patch)) == exactly(new)
        return there.added, there.removed, there.modified


@pytest.mark.parametrize(
    ("document", "collection"),
    [
        ({"severities": ["low", "medium", "high", "critical"], "problems": several(2)}, "/problems"),
        ({"words": {f"w{n}": n for n in range(500)}, "problems": several(3)}, "/problems"),
        ({"tags": [str(n) for n in range(500)], "problems": listed(2)}, "/problems"),
        ({"title": "kb", "version": 3, "updated": "today", "problems": several(1)}, "/problems"),
        ({"title": "kb", "problems": several(1)}, "/problems"),
        ({"problems": several(1)}, "/problems"),
        ({"problems": {"p1": {"title": "x", "steps": listed(4)}}}, "/problems"),
        ({"meta": {"a": {}, "b": {}}, "problems": several(3)}, "/problems"),
        ({"problems": several(3), "products": several(5)}, "/products"),
        ({"problems": several(3), "products": listed(3)}, "/problems"),
        ({"data": {"version": 2, "problems": several(3)}}, "/data/problems"),
        ({"data": {"problems": several(9, 500), "products": several(2)}}, "/data/problems"),
        ({**several(3), "_comment": "by hand"}, ""),
        ({f"p{n}": {"title": "x", "steps": listed(9), "links": [[]], "notes": [{}]} for n in range(3)}, ""),
        (listed(3), ""),
        (listed(100), ""),
        (several(100, 100), ""),
        (articles(1000), "/problems"),
        ({"secret": "x", "k": [1, 2, 3]}, None),
        ({"a": 1}, None),
        ({}, None),
        ([1, 2, 3], None),
        ("text", None),
    ],
)
def test_entries_are_containers(document: Any, collection: str | None) -> None:
    """The collection is the largest container of objects or arrays that are alike; one of plain values is none."""
    with Store.create("memory:", document) as kb:
        assert kb.collection() == collection


def test_a_configured_collection_is_the_one(location: str) -> None:
    """Whatever else is larger, and also where it is not there."""
    with Store.create(location, articles(9), collection="/other") as kb:
        assert kb.collection() == "/other"
        kb.commit(patch=[{"op": "add", "path": "/other", "value": {"x": 1}}])
        assert kb.diff("v1", "v2").added == ["x"]


def test_no_value_beside_the_entries_hides_them() -> None:
    """An array of four texts is no collection of four entries, so changed articles are told."""
    severities = ["low", "medium", "high", "critical"]
    old = {"severities": severities, "problems": several(2)}
    new = {"severities": severities, "problems": {**several(1), "p9": article(9)}}
    new["problems"]["p0"]["votes"] = 7
    assert told(old, new) == (["p9"], ["p1"], ["p0"])


@pytest.mark.parametrize(
    ("left", "removed"),
    [({"meta": {"v": 1, "w": 2, "x": 3}, "problems": several(1)}, 4), ({}, 5), ({"problems": 0}, 5)],
)
def test_both_sides_decide_which_entries_are_compared(left: Any, removed: int) -> None:
    """Where nearly all articles were removed, or all with their container, they are told as removed."""
    old = {"meta": {"v": 1, "w": 2, "x": 3}, "problems": several(5)}
    assert told(old, left) == ([], [f"p{n}" for n in range(5 - removed, 5)], [])


@pytest.mark.parametrize("size", [1, 2000])
def test_entries_come_and_go_from_a_first_document(size: int) -> None:
    """From a document with nothing in it, short articles and long ones alike."""
    assert told({"problems": {}}, {"problems": several(3, size)}) == (["p0", "p1", "p2"], [], [])
    assert told({"problems": []}, {"problems": listed(3, size)}) == (["p0", "p1", "p2"], [], [])


def test_without_a_collection_the_members_of_the_document_are_told() -> None:
    """What was added at the top is an entry then, not the numbers that it holds."""
    assert told({"secret": "x"}, {"secret": "x", "k": [1, 2, 3]}) == (["k"], [], [])
    assert told({"a": 1, "b": 2}, {"a": 1, "b": 3}) == ([], [], ["b"])


@pytest.mark.parametrize("size", [1, 2000])
@pytest.mark.parametrize("count", [3, 200])
def test_an_id_that_is_given_twice_changes_no_other_entry(count: int, size: int) -> None:
    """Where an element of an array got the id of another, only what that touches is told."""
    old = {"problems": listed(count, size)}
    new = {"problems": [{**e, "id": "p0"} if e["id"] == "p2" else e for e in old["problems"]]}
    added, removed, modified = told(old, new)
    assert removed == ["p2"]
    assert [*added, *modified] in (["p0"], ["2"])


def test_long_elements_go_by_their_id_too() -> None:
    """An article of an array is told by its id however long it is, and where it moved to."""
    old = listed(5, 3000)
    new = [article | {"votes": 1} if article["id"] == "p3" else article for article in old[1:]]
    assert told(old, new) == ([], ["p0"], ["p3"])


def test_the_choice_costs_no_more_in_a_larger_document() -> None:
    """It looks at counts and at the beginning of containers, not at 20,000 articles."""

    class Counted:
        def __init__(self) -> None:
            self.loads = 0

        def load(self, ref: Any) -> Any:
            self.loads += 1
            ref.node = nodes[ref.address]
            return ref.node

        def prefetch(self, refs: list[Any]) -> None: ...

    looked_at = []
    for count in (2000, 20_000):
        nodes: dict[bytes, Any] = {}
        root = root_of({"meta": several(3, 900), "problems": several(count, 200)})
        pending = [root]
        while pending:
            ref = pending.pop()
            nodes[ref.address], ref.node = ref.node, None
            pending.extend(getattr(nodes[ref.address], "refs", list)())
        source = Counted()
        assert find_collection([root], source) == ("problems",)  # type: ignore[arg-type]
        looked_at.append(source.loads)
    levels = 2  # of index nodes, which the larger one may have more
    assert looked_at[0] <= looked_at[1] <= looked_at[0] + levels < 14


@given(VALUES, VALUES)
def test_no_pair_of_documents_upsets_a_comparison(old: Any, new: Any) -> None:
    """Whatever is compared with whatever, both directions choose the same collection and tell the opposite."""
    told(old, new)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2)), max_size=6).map(dict) | VALUES)
def test_a_document_compared_with_itself_tells_nothing(document: Any) -> None:
    """No entry is added, removed or modified."""
    with Store.create("memory:", {"document": document}) as kb:
        diff = kb.diff("v1", "v1")
        assert (diff.added, diff.removed, diff.modified) == ([], [], [])


def test_a_diff_renders_itself() -> None:
    """A comparison of two versions gives every form that the command line prints."""
    with Store.create("memory:", articles(3)) as kb:
        kb.commit(patch=[{"op": "replace", "path": "/problems/p1/votes", "value": 7}])
        diff = kb.diff("v1", "v2")
        assert "    /votes  0 -> 7\n" in diff.text()
        assert '+  "votes": 7\n' in diff.unified()
        assert diff.json()["changes"] == [{"pointer": "/problems/p1/votes", "kind": "modified", "old": 0, "new": 7}]
        assert "- `/votes`: `0` \u2192 `7`\n" in diff.markdown()
        assert diff.html("What changed").startswith("<!doctype html>\n")
        assert diff.stat().startswith(" /problems/p1 | 1 ~\n")
        assert diff.names() == "/problems/p1\n"


def test_names_are_pointers_in_objects_and_in_arrays() -> None:
    """What is printed leads to the entry, on the side that has it."""
    with Store.create("memory:", {"problems": listed(5)}) as kb:
        kb.commit({"problems": [*listed(4)[1:3], {**listed(4)[3], "votes": 9}, {"id": "p9", **article(9)}]})
        pointers = kb.diff("v1", "v2").names().splitlines()
        assert sorted(pointers) == [f"/problems/[id=p{n}]" for n in (0, 3, 4, 9)]
        assert kb.get("/problems/2/votes") == 9
