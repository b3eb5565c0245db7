"""A document that was checked out: plain in every way, but that it remembers where it comes from."""

import copy
import json
import pickle
from typing import Any

import msgspec
import orjson
import pytest

from kbstore import InvalidJSON, apply_patch, dumps, make_patch
from kbstore.jsondoc.document import Base, DocumentDict, DocumentList, plain, with_base

BASE = Base(3, "ab" * 32)
VALUES: list[Any] = [{"b": [1, {"c": None}], "a": "x"}, ["x", {"c": 1.5}, []], {}, []]


@pytest.fixture(params=VALUES, ids=repr)
def value(request: pytest.FixtureRequest) -> Any:
    """A plain container."""
    return copy.deepcopy(request.param)


def test_a_document_is_what_it_was_made_of(value: Any) -> None:
    """It equals the plain value, is an instance of its type, looks like it, and is its JSON in every library."""
    document = with_base(value, BASE)
    assert document == value
    assert value == document
    assert isinstance(document, type(value))
    assert repr(document) == repr(value)
    assert json.dumps(document) == json.dumps(value)
    assert orjson.dumps(document, option=orjson.OPT_SORT_KEYS) == orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    assert msgspec.json.encode(document) == msgspec.json.encode(value)
    assert dumps(document) == dumps(value)
    assert dumps({"nested": [document]}) == dumps({"nested": [value]})


def test_copies_remember(value: Any) -> None:
    """`copy.copy`, `copy.deepcopy` and `.copy()` keep the base; the deep one shares nothing mutable."""
    document = with_base(value, BASE)
    for twin in (copy.copy(document), copy.deepcopy(document), document.copy()):
        assert type(twin) is type(document)
        assert (twin, twin.base) == (document, BASE)
        assert twin is not document
    deep = copy.deepcopy(document)
    mutable = [
        child for child in (deep.values() if isinstance(deep, dict) else deep) if isinstance(child, (dict, list))
    ]
    ours = [id(child) for child in (value.values() if isinstance(value, dict) else value)]
    assert not {id(child) for child in mutable} & set(ours)


def test_a_document_that_holds_itself_is_copied() -> None:
    """`copy.deepcopy` keeps the shape of a value, also where that is no JSON."""
    document = DocumentDict({"list": DocumentList([1], BASE)}, BASE)
    document["self"] = document
    twin = copy.deepcopy(document)
    assert twin["self"] is twin
    assert type(twin["list"]) is DocumentList


def test_what_is_made_of_it_otherwise_is_plain(value: Any) -> None:
    """A pickle, a plain copy and what operators give have the plain type, and need no kbstore to be read."""
    document = with_base(value, BASE)
    made = [plain(document), type(value)(document), pickle.loads(pickle.dumps(document))]
    made.append(document | {} if isinstance(document, dict) else document * 1)
    for one in made:
        assert type(one) is type(value)
        assert one == value
    assert b"kbstore" not in pickle.dumps(document)


@pytest.mark.parametrize("scalar", ["text", 1, 1.5, True, None])
def test_scalars_do_not_remember(scalar: Any) -> None:
    """What is no container stays what it is."""
    assert with_base(scalar, BASE) is scalar
    assert plain(scalar) is scalar


def test_patches_are_made_of_documents_and_for_them() -> None:
    """make_patch and apply_patch take a document for the value that it is, at the root and within."""
    old, new = with_base({"a": {"x": 1, "y": 2}}, BASE), with_base({"a": {"x": 1, "y": 3}}, BASE)
    assert make_patch(old, {"a": {"x": 1, "y": 2}}) == []
    assert make_patch(old, new) == [{"op": "replace", "path": "/a/y", "value": 3}]
    applied = apply_patch(old, [{"op": "add", "path": "/b", "value": new}])
    assert applied == {"a": {"x": 1, "y": 2}, "b": {"a": {"x": 1, "y": 3}}}
    assert (type(applied), type(applied["b"])) == (dict, dict)
    new["a"]["y"] = 4
    assert applied["b"]["a"]["y"] == 3
    (operation,) = make_patch({}, {"doc": new})
    assert type(operation["value"]) is dict
    assert operation["value"] is not new


def test_a_fault_within_a_document_has_its_pointer() -> None:
    """What is no JSON is found inside of it, and other subclasses are refused as before."""
    with pytest.raises(InvalidJSON) as refused:
        dumps(with_base({"a": [with_base([{1, 2}], BASE)]}, BASE))
    assert refused.value.pointer == "/a/0/0"

    class Mine(DocumentDict):
        pass

    with pytest.raises(InvalidJSON, match="Mine"):
        dumps(Mine({"a": 1}))
    with pytest.raises(InvalidJSON):
        dumps({"a": Mine()})


def test_depth_is_counted_through_documents() -> None:
    """A document counts as one container of the 200 that may be nested."""
    value: Any = with_base([], BASE)
    for _ in range(199):
        value = [value]
    dumps(value)
    with pytest.raises(InvalidJSON, match="200"):
        dumps([value])
