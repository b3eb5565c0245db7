"""What a value weighs, told from its stored form, is what it weighs when it is decoded."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbstore.jsondoc.canonical import dumps
from kbstore.jsondoc.edits import Budget, memory_of
from kbstore.jsondoc.operation import Operation
from kbstore.tree import weight
from kbstore.tree.builder import build_value
from kbstore.tree.editor import Draft
from kbstore.tree.node import Node, Ref
from kbstore.tree.weight import Weights, depth_of
from tests.conftest import LETTERS
from tests.jsondoc.values import VALUES

_TRICKY = st.text(alphabet='[]{}"\\,:a', max_size=12)
_NESTED = st.recursive(
    _TRICKY | st.integers(-9, 9) | st.text(LETTERS, min_size=600, max_size=700),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_TRICKY, inner, max_size=5),
    max_leaves=40,
)


class NoSource:
    """All nodes of a value that was just built are there."""

    def load(self, ref: Ref) -> Node:
        raise AssertionError("nothing is to be loaded")

    def prefetch(self, refs: list[Ref]) -> None:
        raise AssertionError("nothing is to be loaded")

    def walk(self, refs: list[Ref]) -> Any:
        raise AssertionError("nothing is to be loaded")


def depth(value: Any) -> int:
    """How deep a Python value nests."""
    if type(value) not in (dict, list):
        return 0
    return 1 + max(map(depth, value.values() if type(value) is dict else value), default=0)


@given(VALUES | _NESTED)
def test_depth_is_told_from_bytes(value: Any) -> None:
    """Brackets inside strings, escaped quotation marks and empty containers do not mislead it."""
    assert depth_of(dumps(value)) == depth(value)


@given(_NESTED)
def test_a_tree_weighs_what_its_canonical_form_weighs(value: Any) -> None:
    """However a value is cut into nodes, its depth is exact and its memory about that of its canonical form."""
    data = dumps(value)
    found = Weights(NoSource(), Budget()).of(build_value(data))
    assert found.depth == depth(value)
    assert abs(found.memory_bytes - memory_of(data)) <= 0.35 * memory_of(data) + 300


def test_copies_of_one_value_weigh_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A patch may copy one value a hundred thousand times; to look at it each time took most of the time."""
    looked: list[bytes] = []
    monkeypatch.setattr(weight, "memory_of", lambda data: looked.append(data) or memory_of(data))
    root = build_value(dumps({f"k{n}": {"t": f"word {n} " * 20, "l": [n]} for n in range(100)}))
    assert isinstance(root, Ref)
    draft = Draft(root, NoSource(), Budget())
    draft.apply([Operation("copy", (f"c{n}",), ("k7",)) for n in range(500)])
    assert len(looked) <= 2
