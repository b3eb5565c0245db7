"""The tree's first law: equal content has an equal root, whatever edits led to it, and keeps its value exactly."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbstore.backends.base import Record
from kbstore.backends.memory import create
from kbstore.errors import PatchError
from kbstore.history.event import decode_body, encode_body, store_values
from kbstore.jsondoc.canonical import encode
from kbstore.jsondoc.patch import Budget, apply_patch, parse_patch
from kbstore.tree.builder import build_value
from kbstore.tree.editor import Draft
from kbstore.tree.node import VALUE, Blob, Ref
from kbstore.tree.node_store import Nodes, unsaved
from kbstore.tree.reader import canonical, find, materialise
from tests.conftest import LETTERS, LONG

_LONG = st.integers(1, 6000).map(lambda n: "x" * n)
_NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
_SCALARS = st.none() | st.booleans() | _NUMBERS | st.text(LETTERS, max_size=20) | _LONG
_KEYS = st.text(LETTERS, max_size=8) | st.integers(0, 500).map(lambda n: f"kb-{n}")
_DOCUMENTS = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=60) | st.dictionaries(_KEYS, inner, max_size=60), max_leaves=120
)


def nodes() -> Nodes:
    """Nodes on an empty store."""
    return Nodes(create("memory:"))


def root_of(value: Any) -> Ref:
    """The tree of a value, from the ground."""
    data = encode(value)
    stored = build_value(data)
    return stored if isinstance(stored, Ref) else Ref(VALUE, None, 0, len(data), None, Blob(VALUE, data))


def stored_and_reloaded(root: Ref, backend_nodes: Nodes) -> Ref:
    """The tree as another process would read it: every node from the backend."""
    backend = backend_nodes._backend
    slot = backend.tail("main").slot + 1
    chunks = list(unsaved(root, backend_nodes, below=4, mark=4))
    backend.append("main", slot, [Record(b"{}")], write_id=str(slot), chunks=chunks)
    return backend_nodes.root(root.address)


@given(_DOCUMENTS)
def test_a_value_comes_back_exactly(value: Any) -> None:
    """What is built, stored and read again has the same canonical form, types included."""
    source = nodes()
    root = root_of(value)
    assert encode(materialise(root, source)) == encode(value)
    again = stored_and_reloaded(root, source)
    assert canonical(again, source) == encode(value)
    assert encode(materialise(again, source)) == encode(value)
    assert again.canonical_bytes == len(encode(value)) == root.canonical_bytes
    assert again.count == root.count


@given(_DOCUMENTS, _DOCUMENTS)
def test_roots_are_equal_exactly_where_values_are(one: Any, other: Any) -> None:
    """Two states have one root hash if and only if they are the same JSON."""
    assert (root_of(one).address == root_of(other).address) == (encode(one) == encode(other))


def _random_operation(rnd: random.Random, document: dict[str, Any]) -> dict[str, Any]:
    def value() -> Any:
        return rnd.choice(
            [1, 1.0, True, "s" * rnd.choice([1, 90, 900, 3000]), {"t": "v" * rnd.choice([5, 3000]), "n": [1, 2]}, [[]]]
        )

    kind = rnd.random()
    members, elements = document["members"], document["elements"]
    if kind < 0.25:
        return {"op": "add", "path": f"/members/k{rnd.randrange(3000)}", "value": value()}
    if kind < 0.4 and members:
        return {"op": "remove", "path": f"/members/{rnd.choice(sorted(members))}"}
    if kind < 0.5 and members:
        return {"op": "replace", "path": f"/members/{rnd.choice(sorted(members))}", "value": value()}
    if kind < 0.7:
        return {"op": "add", "path": f"/elements/{rnd.randint(0, len(elements))}", "value": value()}
    if kind < 0.85 and elements:
        return {"op": "remove", "path": f"/elements/{rnd.randrange(len(elements))}"}
    if elements:
        at = rnd.randrange(len(elements))
        if rnd.random() < 0.5:
            return {"op": "copy", "from": f"/elements/{at}", "path": f"/members/c{at}"}
        return {"op": "move", "from": f"/elements/{at}", "path": "/elements/-" if rnd.random() < 0.5 else "/elements/0"}
    return {"op": "add", "path": "/elements/-", "value": value()}


SEEDS = range(12) if LONG else (0, 1, 2, 5)
"""The four that begin with documents of each size."""


@pytest.mark.parametrize("seed", SEEDS)
def test_edits_lead_to_the_root_of_the_content(seed: int) -> None:
    """After any edits, in one draft or in many, in memory or on reloaded nodes, the root is the document's."""
    rnd = random.Random(seed)
    size = rnd.choice([0, 3, 40, 700])
    document: dict[str, Any] = {
        "members": {f"k{i}": "m" * rnd.randrange(200) for i in range(size)},
        "elements": [{"id": i, "text": "e" * rnd.randrange(300)} for i in range(size)],
    }
    source = nodes()
    root = root_of(document)
    for step in range(25):
        patch = []
        for _ in range(rnd.choice([1, 2, 5, 120])):
            operation = _random_operation(rnd, document)
            document = apply_patch(document, [operation])
            patch.append(operation)
        draft = Draft(root, source)
        body = encode_body(store_values(parse_patch(patch)))
        if b"value_node" in body:
            draft.apply(store_values(parse_patch(patch)))
        else:
            draft.apply(decode_body(body, source))
        root = draft.seal()
        assert root.address == root_of(document).address, (seed, step)
        assert root.canonical_bytes == len(encode(document))
        if step % 8 == 7:
            root = stored_and_reloaded(root, source)
    assert encode(materialise(root, source)) == encode(document)


def test_an_insertion_at_the_front_of_a_long_array_touches_few_nodes() -> None:
    """One element put before 100,000 others makes fewer than 12 new nodes."""
    source = nodes()
    root = stored_and_reloaded(root_of({"list": [f"element {i}" for i in range(100_000)]}), source)
    draft = Draft(root, source)
    draft.apply(store_values(parse_patch([{"op": "add", "path": "/list/0", "value": "new"}])))
    assert len(list(unsaved(draft.seal(), source, below=1, mark=1))) < 12


def test_a_user_string_cannot_pass_for_a_node() -> None:
    """A value that spells out a reference is kept as the value that it is."""
    for text in ('s"x"', "o\n{}", 'o[["k","s","' + "0" * 64 + '",0,9]]\n{}', "O1\n[]", "v1"):
        value = {"value_node": "0" * 64, text: text, "list": [text, {"value_node": text}]}
        assert materialise(root_of(value), nodes()) == value
        assert root_of(text).address != root_of({"k": text}).address


def test_numbers_of_different_types_are_different_values() -> None:
    """1, 1.0 and true, 0.0 and -0.0 have different roots, also deep inside."""
    roots = {root_of({"k": [v]}).address for v in (1, 1.0, True, 0, 0.0, -0.0, False, None, "1", "")}
    assert len(roots) == 10


def test_a_patch_cannot_nest_a_document_too_deep() -> None:
    """Each value is shallow enough, but what they make together is refused with the operation's place."""
    deep: Any = 1
    for _ in range(150):
        deep = [deep]
    document = root_of({"a": deep})
    draft = Draft(document, nodes(), Budget())
    pointer = "/a" + "/0" * 100
    with pytest.raises(PatchError, match="nested deeper") as caught:
        draft.apply(store_values(parse_patch([{"op": "replace", "path": pointer, "value": deep}])))
    assert caught.value.index == 0


def test_find_reads_what_materialise_reads() -> None:
    """Every pointer into a document gives the value that stands there, or nothing."""
    document = {f"k{i}": {"title": f"t{i}", "steps": [f"s{j}" * 40 for j in range(i % 70)]} for i in range(300)}
    source = nodes()
    root = stored_and_reloaded(root_of(document), source)
    for i in range(0, 300, 7):
        found = find(root, (f"k{i}",), source)
        assert found is not None
        assert materialise(found, source) == document[f"k{i}"]
        assert find(root, (f"k{i}", "steps", str(i % 70)), source) is None
        if i % 70:
            last = find(root, (f"k{i}", "steps", str(i % 70 - 1)), source)
            assert last is not None
            assert materialise(last, source) == document[f"k{i}"]["steps"][-1]
    assert find(root, ("none",), source) is None
    assert find(root, ("k1", "title", "deeper"), source) is None
