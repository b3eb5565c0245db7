"""Members keep the order that a person gave them."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kbstore.jsondoc.canonical import same
from kbstore.order.carry_over import in_order_of

values: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-1, 1) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcid", max_size=2), inner, max_size=4),
    max_leaves=20,
)


def text(value: Any) -> str:
    """JSON text in the order that the value has."""
    return json.dumps(value)


@given(values, values)
def test_the_value_never_changes(value: Any, model: Any) -> None:
    """Only the order of members differs from what was given, also where true stands for 1 or 1.0."""
    assert same(in_order_of(value, model), value)


@given(values)
def test_a_value_takes_the_order_of_itself(model: Any) -> None:
    """A value that lost its order gets exactly the order of its model."""
    shuffled = json.loads(json.dumps(model, sort_keys=True))
    assert text(in_order_of(shuffled, model)) == text(model)


def test_new_members_follow_and_removed_ones_leave_no_trace() -> None:
    """Members of the model come first, in its order; new ones follow in the order that they have."""
    assert text(in_order_of({"w": {"z": 1, "y": 2}, "b": 2, "x": 3, "a": 1}, {"x": 0, "gone": 0, "b": 0})) == text(
        {"x": 3, "b": 2, "w": {"z": 1, "y": 2}, "a": 1}
    )


def test_new_members_come_where_the_version_has_them() -> None:
    """As long as the file has the others in the order of the version."""
    assert text(in_order_of({"w": 0, "b": {"x": 1, "y": 2}, "a": 1}, {"b": {"y": 2}, "gone": 0, "a": 1})) == text(
        {"w": 0, "b": {"x": 1, "y": 2}, "a": 1}
    )


@given(values, values)
def test_what_is_ordered_stays_ordered(value: Any, model: Any) -> None:
    """A value that has the order of a model already keeps all of its order."""
    ordered = in_order_of(value, model)
    assert text(in_order_of(ordered, model)) == text(ordered)


def test_elements_are_matched_by_id() -> None:
    """An element that moved keeps the order of its own members, not that of its neighbour; a new one has its own."""
    model = [{"id": 1, "z": 0, "a": 0}, {"a": 0, "z": 0, "id": 2}]
    value = [{"a": 0, "id": 3, "z": 0}, {"id": 2, "a": 0, "z": 1}, {"a": 5, "id": 1, "z": 0}]
    assert [list(element) for element in in_order_of(value, model)] == [
        ["a", "id", "z"],
        ["a", "z", "id"],
        ["id", "z", "a"],
    ]


def test_what_was_turned_since_keeps_its_own_order() -> None:
    """An object that others wrote in another order than the file's base comes in theirs; all else is as in the file."""
    base = {"b": 1, "a": {"y": 1, "x": 1}, "l": [{"id": 1, "t": 0}]}
    model = {"l": [{"id": 1, "t": 0}], "a": {"y": 1, "x": 1}, "b": 1}
    value = {"b": 1, "a": {"x": 1, "y": 2}, "l": [{"id": 2, "t": 0}, {"t": 0, "id": 1}]}
    assert text(in_order_of(value, model, base=base)) == text(
        {"l": [{"id": 2, "t": 0}, {"t": 0, "id": 1}], "a": {"x": 1, "y": 2}, "b": 1}
    )


@given(values, values)
def test_a_model_for_the_layout_alone_changes_no_order(value: Any, model: Any) -> None:
    """With `own_order` the value keeps all of its order."""
    assert text(in_order_of(value, model, own_order=True)) == text(value)
