"""JSON Patch: against another library, every refusal by index and pointer, nothing shared, and hostile patches."""

import json
import tracemalloc
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbstore.errors import InvalidJSON, KBStoreError, PatchError
from kbstore.jsondoc.canonical import clone, dumps
from kbstore.jsondoc.edits import MAX_OPERATIONS
from kbstore.jsondoc.patch import (
    Budget,
    Operation,
    add,
    apply_operations,
    apply_patch,
    parse_patch,
    patch_json,
    remove,
    replace,
    resolve,
)
from kbstore.jsondoc.pointer import MAX_DEPTH, format_pointer, parse_pointer
from tests.conftest import LETTERS
from tests.jsondoc.values import CONTAINERS, NAMES, VALUES, exactly, nested


def places(value: Any, path: tuple[str, ...] = ()) -> list[str]:
    """Every pointer into a value, and some that lead nowhere."""
    found = [format_pointer(path)]
    if isinstance(value, dict):
        for key, item in value.items():
            found += places(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += places(item, (*path, str(index)))
        found += [format_pointer((*path, "-")), format_pointer((*path, str(len(value))))]
    return found


@st.composite
def documents_and_patches(draw: st.DrawFn) -> tuple[Any, list[dict[str, Any]]]:
    """A document, and operations that mostly apply to it."""
    document = draw(CONTAINERS)
    now = clone(document)
    operations = []
    for _ in range(draw(st.integers(1, 5))):
        somewhere = st.sampled_from(places(now))
        pointer = somewhere | st.builds(lambda p, n: p + format_pointer([n]), somewhere, NAMES)
        op = draw(st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]))
        operation = {"op": op, "path": draw(pointer)}
        if op in ("move", "copy"):
            operation["from"] = draw(somewhere)
        elif op == "test":
            try:
                operation["value"] = clone(resolve(now, parse_pointer(operation["path"])))
            except KBStoreError:
                operation["value"] = draw(VALUES)
        elif op != "remove":
            operation["value"] = draw(VALUES)
        operations.append(operation)
        try:
            now = apply_patch(now, [operation])
        except PatchError:
            break
    return document, operations


def _strange_to_jsonpatch(document: Any, operations: list[dict[str, Any]]) -> bool:
    """Where jsonpatch is known to stray from the RFC: root edits, true as 1, strings and "-" taken as arrays."""
    return any(
        operation["path"] == "" or operation.get("from") == "" or operation.get("from", "").endswith("-")
        or (operation["path"].endswith("-") and operation["op"] != "add")
        for operation in operations
    )  # fmt: skip


def _attempt(document: Any, patch: Any) -> tuple[Any, PatchError | None]:
    try:
        return apply_patch(document, patch), None
    except PatchError as fault:
        return None, fault


@given(documents_and_patches())
def test_a_patch_does_what_jsonpatch_does(case: tuple[Any, list[dict[str, Any]]]) -> None:
    """Where both accept a patch, the documents are equal; ours accepts no more than jsonpatch does."""
    document, operations = case
    before = exactly([document, operations])
    ours, fault = _attempt(document, operations)
    assert exactly([document, operations]) == before
    if fault is not None:
        assert fault.index is not None
        assert fault.pointer is not None
        return
    dumps(ours)
    if not _strange_to_jsonpatch(document, operations):
        assert ours == jsonpatch.apply_patch(document, operations)


@given(CONTAINERS, CONTAINERS)
def test_patches_that_jsonpatch_makes_apply(old: Any, new: Any) -> None:
    """A patch object of jsonpatch is taken as it is, and does what jsonpatch does with it."""
    made = jsonpatch.make_patch(old, new)
    assert apply_patch(old, made) == jsonpatch.apply_patch(old, made)
    assert apply_patch(old, made.to_string()) == jsonpatch.apply_patch(old, made)


@given(documents_and_patches())
def test_reading_a_patch_and_writing_it_changes_nothing(case: tuple[Any, list[dict[str, Any]]]) -> None:
    """A parsed patch is the patch, whatever it came as."""
    _, operations = case
    parsed = parse_patch(operations)
    assert exactly(patch_json(parsed)) == exactly(operations)
    assert exactly(patch_json(parse_patch(json.dumps(operations)))) == exactly(operations)
    assert patch_json(parse_patch(json.dumps(operations).encode())) == patch_json(parse_patch(tuple(operations)))
    assert [op.pointer for op in parsed] == [op["path"] for op in operations]
    assert [op.source_pointer for op in parsed] == [op.get("from") for op in operations]


@given(documents_and_patches())
def test_replaying_what_was_accepted_gives_the_same(case: tuple[Any, list[dict[str, Any]]]) -> None:
    """In place and giving the values away, the result is that of the pure function."""
    document, operations = case
    try:
        expected = apply_patch(document, operations)
    except PatchError:
        return
    parsed = parse_patch(dumps(operations), limit=None)
    assert exactly(apply_operations(clone(document), parsed)) == exactly(expected)
    assert exactly(apply_operations(clone(document), parsed)) == exactly(expected), "operations were changed"
    assert exactly(apply_operations(clone(document), parsed, consume=True)) == exactly(expected)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(LETTERS, max_size=3) | st.just("/a") | st.just("move"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["op", "path", "from", "value"]) | st.text(LETTERS, max_size=2), inner, max_size=4
        )
    ),
    max_leaves=10,
)


@given(JUNK | st.lists(st.fixed_dictionaries({"op": st.sampled_from(["add", "move", "test"]), "path": JUNK})))
def test_junk_is_refused_as_a_patch(junk: Any) -> None:
    """Whatever comes instead of a patch, either it applies or it is a PatchError."""
    result, fault = _attempt({"a": [1]}, junk)
    dumps(result if fault is None else str(fault))


# Patch, index, pointer, a word of the message. The document is {"a": [1, 2], "b": {"c": "x"}, "": 0}.
REFUSED: list[tuple[Any, int | None, str | None, str]] = [
    (None, None, None, "list of operations"),
    ({}, None, None, "list of operations"),
    (7, None, None, "list of operations"),
    ("{}", None, None, "array of operations"),
    ("", None, None, "cannot be read"),
    ('[{"op":"add","path":"/x","value":NaN}]', 0, None, "NaN"),
    ('[{"op":"remove","path":"/a"},{"op":"add","path":"/x","value":1e999}]', 1, None, "too large"),
    ([1], 0, None, "not an object"),
    (["add"], 0, None, "not an object"),
    ([{}], 0, None, "no member 'op'"),
    ([{"path": "/a"}], 0, "/a", "no member 'op'"),
    ([{"op": "spam", "path": "/a"}], 0, "/a", "not an operation"),
    ([{"op": ["add"], "path": "/a"}], 0, "/a", "not an operation"),
    ([{"op": "add", "value": 1}], 0, None, "no member 'path'"),
    ([{"op": "add", "path": None, "value": 1}], 0, None, "NoneType"),
    ([{"op": "add", "path": 1, "value": 1}], 0, None, "int"),
    ([{"op": "add", "path": "a", "value": 1}], 0, "a", "slash"),
    ([{"op": "add", "path": "/~2", "value": 1}], 0, "/~2", "not followed"),
    ([{"op": "add", "path": "/\ud800", "value": 1}], 0, "/\ud800", "surrogate"),
    ([{"op": "add", "path": "/x"}], 0, "/x", "no member 'value'"),
    ([{"op": "replace", "path": "/a"}], 0, "/a", "no member 'value'"),
    ([{"op": "test", "path": "/a"}], 0, "/a", "no member 'value'"),
    ([{"op": "move", "path": "/x"}], 0, "/x", "no member 'from'"),
    ([{"op": "copy", "path": "/x", "from": None}], 0, None, "NoneType"),
    ([{"op": "copy", "path": "/x", "from": "a"}], 0, "a", "slash"),
    ([{"op": "add", "path": "/x", "value": float("nan")}], 0, "/x", "nan"),
    ([{"op": "add", "path": "/x", "value": [2**64]}], 0, "/x", "'/0' is an integer outside"),
    ([{"op": "add", "path": "/x", "value": (1,)}], 0, "/x", "tuple"),
    ([{"op": "add", "path": "/x", "value": "\udc00"}], 0, "/x", "surrogate"),
    ([{"op": "remove", "path": ""}], 0, "", "whole document"),
    ([{"op": "remove", "path": "/x"}], 0, "/x", "nothing at"),
    ([{"op": "remove", "path": "/x/y"}], 0, "/x", "nothing at"),
    ([{"op": "remove", "path": "/a/2"}], 0, "/a/2", "outside"),
    ([{"op": "remove", "path": "/a/-"}], 0, "/a/-", "after the last"),
    ([{"op": "replace", "path": "/a/-", "value": 1}], 0, "/a/-", "after the last"),
    ([{"op": "replace", "path": "/x", "value": 1}], 0, "/x", "nothing at"),
    ([{"op": "add", "path": "/a/3", "value": 1}], 0, "/a/3", "outside"),
    ([{"op": "add", "path": "/a/x", "value": 1}], 0, "/a/x", "not an array index"),
    ([{"op": "add", "path": "/a/0/x", "value": 1}], 0, "/a/0/x", "1 has no members"),
    ([{"op": "add", "path": "/b/c/0", "value": 1}], 0, "/b/c/0", '"x" has no members'),
    ([{"op": "add", "path": "/b/c/-", "value": 1}], 0, "/b/c/-", "has no members"),
    ([{"op": "test", "path": "/a/-", "value": 1}], 0, "/a/-", "after the last"),
    ([{"op": "test", "path": "/", "value": False}], 0, "/", "0, not false"),
    ([{"op": "test", "path": "/b", "value": {}}], 0, "/b", "an object of 1 members"),
    ([{"op": "move", "path": "/b/c", "from": "/b"}], 0, "/b/c", "own child"),
    ([{"op": "move", "path": "/a", "from": ""}], 0, "/a", "own child"),
    ([{"op": "move", "path": "/x", "from": "/x"}], 0, "/x", "nothing at"),
    ([{"op": "move", "path": "/x", "from": "/y"}], 0, "/y", "nothing at"),
    ([{"op": "copy", "path": "/x", "from": "/a/5"}], 0, "/a/5", "outside"),
    ([{"op": "remove", "path": "/a/1"}, {"op": "remove", "path": "/a/1"}], 1, "/a/1", "outside"),
    ([{"op": "add", "path": "/b/d", "value": nested(MAX_DEPTH)}], 0, "/b/d", "deeper"),
]


@pytest.mark.parametrize(("patch", "index", "pointer", "word"), REFUSED, ids=range(len(REFUSED)))
def test_a_refusal_names_the_operation_and_the_pointer(
    patch: Any, index: int | None, pointer: str | None, word: str
) -> None:
    """Malformed or not applicable: always a PatchError with index and pointer, and nothing has changed."""
    document = {"a": [1, 2], "b": {"c": "x"}, "": 0}
    before = exactly(document)
    with pytest.raises(PatchError) as caught:
        apply_patch(document, patch)
    assert (caught.value.index, caught.value.pointer) == (index, pointer)
    assert word in str(caught.value)
    assert exactly(document) == before
    if isinstance(patch, list) and index is not None:
        assert f"operation {index}" in str(caught.value)


def test_a_patch_is_all_or_nothing() -> None:
    """What stood before a refused operation has no effect either."""
    document = {"a": 1}
    with pytest.raises(PatchError) as caught:
        apply_patch(document, [{"op": "replace", "path": "/a", "value": 2}, {"op": "remove", "path": "/x"}])
    assert caught.value.index == 1
    assert document == {"a": 1}


def test_a_document_that_is_no_json_is_named_as_such() -> None:
    """A bad document is not blamed on the patch."""
    with pytest.raises(InvalidJSON):
        apply_patch({"a": (1,)}, [])


def test_nothing_is_shared_with_the_callers_objects() -> None:
    """Mutating what was passed in changes neither the operations nor a result, and the other way round."""
    value, document = {"x": [1]}, {"keep": {"y": [2]}}
    patch = [{"op": "add", "path": "/a", "value": value}, {"op": "add", "path": "/a/x/-", "value": 3}]
    operations = parse_patch(patch)
    result = apply_patch(document, patch)
    assert patch[0]["value"] == {"x": [1]} == operations[0].value
    value["x"].append(99)
    result["keep"]["y"].append(99)
    result["a"]["x"].append(99)
    assert operations[0].value == {"x": [1]}
    assert document == {"keep": {"y": [2]}}
    assert apply_operations({}, operations) == {"a": {"x": [1, 3]}}
    assert operations[0].value == {"x": [1]}, "a later operation of the patch changed an earlier one's value"


def test_a_copy_is_independent_of_its_source() -> None:
    """After a copy, a change of one side leaves the other alone."""
    patch = [{"op": "copy", "from": "/a", "path": "/b"}, {"op": "add", "path": "/b/-", "value": 2}]
    assert apply_patch({"a": [1]}, patch) == {"a": [1], "b": [1, 2]}


@pytest.mark.parametrize(
    ("document", "patch", "expected"),
    [
        (1, [{"op": "add", "path": "", "value": None}], None),
        ({"a": 1}, [{"op": "move", "from": "/a", "path": ""}], 1),
        ({"a": [1]}, [{"op": "copy", "from": "/a", "path": ""}], [1]),
        ({"a": 1}, [{"op": "move", "from": "", "path": ""}], {"a": 1}),
        ({"a": 1}, [{"op": "copy", "from": "", "path": "/b"}], {"a": 1, "b": {"a": 1}}),
        ({"a": 1}, [{"op": "test", "path": "", "value": {"a": 1.0}}], {"a": 1}),
        ([1, 2, 3], [{"op": "move", "from": "/0", "path": "/-"}], [2, 3, 1]),
        ([1, 2, 3], [{"op": "move", "from": "/0", "path": "/2"}], [2, 3, 1]),
        ([[1], [2]], [{"op": "move", "from": "/0", "path": "/0/0"}], "own child"),
        ({"-": 1}, [{"op": "replace", "path": "/-", "value": 2}], {"-": 2}),
        ({"a": 1}, [{"op": "add", "path": "/00", "value": 2}], {"a": 1, "00": 2}),
        ({"a": 1}, [{"op": "add", "path": "/b", "value": 2, "from": "nonsense", "x": 1}], {"a": 1, "b": 2}),
    ],
)
def test_places_at_the_edges(document: Any, patch: Any, expected: Any) -> None:
    """The whole document, the end of an array and unknown members of an operation."""
    if expected == "own child":
        with pytest.raises(PatchError, match="own child"):
            apply_patch(document, patch)
    else:
        assert exactly(apply_patch(document, patch)) == exactly(expected)


def test_types_stay_exact() -> None:
    """A replacement that Python's == takes for the same is made all the same."""
    assert exactly(apply_patch({"a": 1}, [{"op": "replace", "path": "/a", "value": True}])) == exactly({"a": True})
    assert exactly(apply_patch([0.0], [{"op": "replace", "path": "/0", "value": -0.0}])) == exactly([-0.0])


def test_primitives_work_on_owned_values() -> None:
    """Each edit changes the value in place and gives its root back."""
    value: Any = {"a": [1, 2]}
    assert add(value, ("a", "-"), 3) is value
    assert replace(value, ("a", "0"), 9) is value
    assert remove(value, ("a", "1")) == (value, 2)
    assert value == {"a": [9, 3]}
    assert resolve(value, ("a", "1")) == 3
    assert resolve(value, ()) is value
    assert add(value, (), 5) == 5 == replace(value, (), 5)


# --- Hostile patches: counted in memory and in what is refused, never in time --------------------------------------


def _peak_mib(work: Any) -> float:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("seed", [[0] * 10, {"a": {}, "b": []}, "x" * 1000, [[]] * 20])
def test_a_copy_bomb_is_refused_before_it_explodes(seed: Any) -> None:
    """Copying what was copied, 60 times over, ends in a clear refusal, in bounded memory."""
    bomb = [{"op": "copy", "from": "", "path": "/x"}, {"op": "copy", "from": "/x", "path": "/y"}] * 60

    def work() -> None:
        with pytest.raises(PatchError, match="too large") as caught:
            apply_patch({"seed": seed}, bomb)
        assert caught.value.index is not None
        assert caught.value.hint is not None

    assert _peak_mib(work) < 200


def test_copies_of_one_long_string_count_too() -> None:
    """A shared string takes no memory until the document is printed, and is refused before that."""
    bomb = [{"op": "copy", "from": "/0", "path": "/-"}] * 1000
    with pytest.raises(PatchError, match="too large"):
        apply_patch(["x" * 2**20], bomb)


def test_the_first_copy_is_free() -> None:
    """A document may be doubled whatever its size."""
    document = {"a": ["x" * 100] * 100}
    assert apply_patch(document, [{"op": "copy", "from": "/a", "path": "/b"}], limit_bytes=0)["b"] == document["a"]
    with pytest.raises(PatchError, match="too large"):
        apply_patch(document, [{"op": "copy", "from": "/a", "path": f"/{n}"} for n in range(2)], limit_bytes=0)


def test_shifting_a_long_array_for_ever_is_refused() -> None:
    """Insertions at the front of a long array are bounded by the elements that they shift."""
    operations = parse_patch([{"op": "add", "path": "/0", "value": 1}] * 30_000)
    with pytest.raises(PatchError, match="moves or copies more than 500,000,000 array elements") as caught:
        apply_operations([0] * 100_000, operations)
    assert caught.value.index is not None
    assert 3_000 < caught.value.index < 10_000
    assert len(apply_operations([0] * 100_000, operations[:2000])) == 102_000


def test_moving_a_large_value_to_and_fro_is_bounded() -> None:
    """Each move that takes a value deeper costs a look at it, which is counted."""
    budget = Budget(work=1000)
    budget.worked(500)
    budget.worked(500)
    with pytest.raises(PatchError, match="moves or copies more than 1,000"):
        budget.worked(1)


def test_too_many_operations_are_refused() -> None:
    """A patch of a million operations is refused before they are kept; replay has no such limit."""
    one = {"op": "test", "path": "", "value": 1}
    with pytest.raises(PatchError, match="100,000") as caught:
        parse_patch([one] * 1_000_000)
    assert caught.value.index == MAX_OPERATIONS
    text = dumps([one] * 1_000_000)

    def refuse() -> None:
        with pytest.raises(PatchError, match="100,000"):
            parse_patch(text)

    assert _peak_mib(refuse) < 200
    deep = {"op": "remove", "path": "/a" * 150}
    with pytest.raises(PatchError, match="tokens"):
        parse_patch([deep] * 20_000)
    assert len(parse_patch([one] * (MAX_OPERATIONS + 1), owned=True, limit=None)) == MAX_OPERATIONS + 1


def test_pointers_of_ten_megabytes_are_refused_or_right() -> None:
    """A long member name is a name; a pointer of millions of tokens is refused in a short message."""
    name = "n" * 10_000_000
    assert apply_patch({}, [{"op": "add", "path": "/" + name, "value": 1}]) == {name: 1}
    for pointer in ("/a" * 5_000_000, "/x/" + name, "/" + "9" * 10_000_000):
        with pytest.raises(PatchError) as caught:
            apply_patch([[]], [{"op": "remove", "path": pointer}])
        assert len(str(caught.value)) < 2000


def test_the_depth_limit_holds_through_every_operation() -> None:
    """Neither add, copy nor move nests a document deeper than it may be."""
    deep = nested(MAX_DEPTH - 1)
    at_the_edge = {"d": deep}
    dumps(at_the_edge)
    for operation in (
        {"op": "add", "path": "/x/y", "value": deep},
        {"op": "replace", "path": "/x/y", "value": deep},
        {"op": "copy", "from": "/d", "path": "/x/y"},
        {"op": "move", "from": "/d", "path": "/x/y"},
    ):
        with pytest.raises(PatchError, match="deeper") as caught:
            apply_patch({**at_the_edge, "x": {"y": 0}}, [operation])
        assert (caught.value.index, caught.value.pointer) == (0, "/x/y")
    assert apply_patch(at_the_edge, [{"op": "move", "from": "/d", "path": "/e"}]) == {"e": deep}


def test_an_operation_shows_its_pointers() -> None:
    """Tokens and text are both at hand."""
    operation = Operation("move", ("a/b",), ("m~n",))
    assert (operation.pointer, operation.source_pointer) == ("/a~1b", "/m~0n")
    assert patch_json([operation]) == [{"op": "move", "path": "/a~1b", "from": "/m~0n"}]
