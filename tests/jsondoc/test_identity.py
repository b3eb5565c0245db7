"""Which members of array elements identify them, if no setting says so."""

from typing import Any

import pytest

from kbstore import Store
from kbstore.jsondoc.canonical import MISSING
from kbstore.jsondoc.identity import MOST_PAIRED, find_pair


def hall(city: str, name: str, seats: int = 1) -> dict[str, Any]:
    """An element that two members identify together."""
    return {"city": city, "hall": name, "seats": seats}


AX, AY, BX = hall("A", "x"), hall("A", "y"), hall("B", "x")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ([AX, BX], [hall("B", "x", 2), AX]),
        ([AX, AY, BX], [hall("B", "x", 2), AX]),
        ([AX, AY], [AY, hall("B", "y"), hall("A", "x", 7)]),
        ([AX, AY, BX], [AX, hall("A", "y", 3), BX]),
    ],
    ids=["moved", "removed", "added", "edited"],
)
def test_two_members_are_found(old: list[Any], new: list[Any]) -> None:
    """They are unique on each side, and stay what they were."""
    assert find_pair(old, new) == find_pair(new, old) == ("city", "hall")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ([], [AX, AY]),
        ([AX], [AX]),
        ([AX, AX, BX], [BX, AX, AX]),
        ([AX, AY], [hall("A", "z", 2), AY]),
        ([{**AX, "hall": None}, AY], [AY, {**AX, "hall": None}]),
        ([AX, "text"], ["text", AX]),
        ([{"a": 1, "b": 2, "c": 3, "d": 4}, {"a": 2, "b": 1, "c": 4, "d": 3}],
         [{"a": 1, "b": 2, "c": 4, "d": 3}, {"a": 2, "b": 1, "c": 3, "d": 4}]),
        ([hall(str(n), "x") for n in range(MOST_PAIRED + 1)], [hall(str(n), "x", 2) for n in range(MOST_PAIRED + 1)]),
    ],
    ids=["nothing", "one", "doubled", "edited", "missing", "mixed", "in doubt", "many"],
)  # fmt: skip
def test_no_members_are_taken_in_doubt(old: list[Any], new: list[Any]) -> None:
    """An element of which one member was edited may be another one."""
    assert find_pair(old, new) is None
    assert find_pair(new, old) is None


@pytest.mark.parametrize("text", ["", "x" * 3000])
def test_entries_of_an_array_are_known_whole(text: str) -> None:
    """`Diff.sides` gives what an entry was and is, wherever it is in its array, whatever was asked for."""
    a, b, c = ({"id": name, "n": 1, "text": text} for name in "abc")
    b2, new = {**b, "n": 2}, {"id": "new"}
    with Store.create("memory:", {"articles": [a, b, c]}) as kb:
        kb.commit({"articles": [new, c, a, b2]})
        diff = kb.diff("v1", "v2")
        assert (diff.added, diff.modified, diff.removed) == (["new"], ["b"], [])
        assert [diff.sides(name) for name in ("a", "b", "c", "new")] == [(a, a), (b, b2), (c, c), (MISSING, new)]
        assert kb.diff("v1", "v2", "/articles/b/n").sides("b") == (b, b2)
        kb.commit({"articles": [{"n": 1}, {"n": 2, "m": 2}, {"n": 3}]})
        kb.commit({"articles": [{"n": 2, "m": 3}, {"n": 3}]})
        diff = kb.diff("v3", "v4")
        assert (diff.removed, diff.modified) == (["0"], ["0"])
        assert diff.sides("0") == ({"n": 2, "m": 2}, {"n": 2, "m": 3})
        assert diff.stat().splitlines() == [
            " /articles/0 | 1 -",
            " /articles/0 | 1 ~",
            " 1 removed, 1 modified; paths: 1 removed(-), 1 modified(~)",
        ]
        assert kb.diff("v3", "v4", "/articles/1").sides("1") == ({"n": 2, "m": 2}, {"n": 3})
