"""Replaying what was accepted: the same as applying it, told twice as fast."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kbstore import KBStoreError, apply_patch
from kbstore.jsondoc.canonical import decode, dumps
from kbstore.jsondoc.replay import Grown, ascend, replay

_TOKENS = st.sampled_from(["a", "b", "~0", "~1", "", "0", "1", "-"])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "~", "/", "", "0"]), inner),
    max_leaves=8,
)
_PATHS = st.lists(_TOKENS, max_size=3).map(lambda tokens: "".join("/" + token for token in tokens))


@st.composite
def _operations(draw: st.DrawFn) -> dict[str, Any]:
    op = draw(st.sampled_from(["add", "replace", "add", "replace", "remove", "test", "move", "copy"]))
    operation: dict[str, Any] = {"op": op, "path": draw(_PATHS)}
    if op in ("move", "copy"):
        operation["from"] = draw(_PATHS)
    elif op != "remove":
        operation["value"] = draw(_VALUES)
    return operation


@given(_VALUES, st.lists(_operations(), max_size=12))
def test_a_replay_is_the_patch_applied(document: Any, candidates: list[dict[str, Any]]) -> None:
    """Random operations that apply make a patch; its replay gives what applying it gives, in canonical order."""
    patch: list[dict[str, Any]] = []
    applied = document
    for operation in candidates:
        try:
            applied = apply_patch(applied, [operation])
        except KBStoreError:
            continue
        patch.append(operation)
    grown: Grown = []
    replayed = replay(decode(dumps(document)), decode(dumps(patch)), grown)
    ascend(grown)
    assert json.dumps(replayed) == json.dumps(decode(dumps(applied)))


def test_only_objects_that_gained_members_are_put_in_order() -> None:
    """One that had all its members before is not looked at, however many operations write to it."""
    grown: Grown = []
    document = {"a": {"x": 1}, "b": [{"x": 1}], "c": {"x": 1}}
    patch = [
        {"op": "add", "path": "/a/x", "value": 2},
        {"op": "replace", "path": "/b/0/x", "value": 2},
        {"op": "add", "path": "/c/b", "value": 2},
        {"op": "add", "path": "/c/a", "value": 2},
    ]
    document = replay(document, patch, grown)
    assert {id(one) for one in grown} == {id(document["c"])}
    ascend(grown)
    assert (list(document["c"]), grown) == (["a", "b", "x"], [])
