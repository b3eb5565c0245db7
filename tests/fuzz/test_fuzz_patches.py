"""Random patches on large documents: the tree, the plain fold and jsonpatch come to one result, or refuse together."""

# ruff: noqa: PT017 - either outcome may be the right one, and each is looked at

from typing import Any

import jsonpatch
from hypothesis import given
from hypothesis import strategies as st

from kbstore import Change, PatchError, Store, apply_patch, make_patch
from kbstore.history.event import decode_body, encode_body, plain_body, store_values
from kbstore.jsondoc.canonical import dumps
from kbstore.jsondoc.patch import parse_patch
from kbstore.tree.editor import Draft
from kbstore.tree.node_store import Nodes
from kbstore.tree.reader import materialise
from tests.conftest import fuzzed
from tests.jsondoc.test_patch import _strange_to_jsonpatch, places
from tests.jsondoc.values import NAMES, VALUES, exactly
from tests.tree.test_history_independence import nodes, root_of

LONG_TEXTS = st.builds(lambda letter, count: letter * count, st.sampled_from("xyä"), st.integers(1, 2100))
LISTS = st.builds(
    lambda n, size: [{"id": i, "t": "t" * size} for i in range(n)], st.integers(1, 90), st.integers(1, 90)
)
MAPS = st.builds(lambda n, size: {f"m{i}": ["v" * size, i] for i in range(n)}, st.integers(1, 90), st.integers(1, 90))
LARGE = st.one_of(VALUES, LONG_TEXTS, LISTS, MAPS)
DOCUMENTS = st.dictionaries(NAMES, LARGE, min_size=1, max_size=5) | st.lists(LARGE, min_size=1, max_size=5) | LARGE


@st.composite
def patches(draw: st.DrawFn) -> tuple[Any, list[dict[str, Any]]]:
    """A document, and operations on it, each with a fair chance to apply after those before."""
    document = draw(DOCUMENTS)
    now = document
    operations = []
    for _ in range(draw(st.integers(1, 6))):
        at = st.sampled_from(places(now)[:400])
        op = draw(st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]))
        operation: dict[str, Any] = {"op": op, "path": draw(at)}
        if draw(st.integers(0, 3)) == 0:
            operation["path"] += "/" + draw(st.sampled_from(["0", "-", "1", "new", "m3", "~0~1", "00", "é"]))
        if op in ("move", "copy"):
            operation["from"] = draw(at)
        elif op != "remove":
            operation["value"] = draw(LARGE)
        operations.append(operation)
        try:
            now = apply_patch(now, [operation])
        except PatchError:
            break
    return document, operations


def outcome(document: Any, patch: list[dict[str, Any]]) -> tuple[Any, Any]:
    """The plain fold's result, or the place of its refusal."""
    try:
        return exactly(apply_patch(document, patch)), None
    except PatchError as fault:
        return None, fault.index


@fuzzed
@given(patches())
def test_tree_and_plain_fold_agree(case: tuple[Any, list[dict[str, Any]]]) -> None:
    """A patch on the tree gives what it gives on the plain value, or is refused at the same operation."""
    document, patch = case
    wanted, refused_at = outcome(document, patch)
    source = nodes()
    draft = Draft(root_of(document), source)
    try:
        draft.apply(store_values(parse_patch(patch)))
        root = draft.seal()
    except PatchError as fault:
        assert refused_at is not None, fault
        assert fault.index == refused_at
        return
    assert refused_at is None
    assert exactly(materialise(root, source)) == wanted
    assert root.address == root_of(apply_patch(document, patch)).address


@fuzzed
@given(patches())
def test_a_patch_that_is_stored_is_the_patch(case: tuple[Any, list[dict[str, Any]]]) -> None:
    """Committed and read back, from another object too, a patch is what was given, and leads where it led."""
    document, patch = case
    wanted, refused_at = outcome(document, patch)
    with Store.create("memory:") as kb:
        kb.commit(document)
        if refused_at is not None:
            try:
                kb.commit(patch=patch)
            except PatchError as fault:
                assert fault.index == refused_at
            else:
                raise AssertionError("it was accepted")
            assert kb.head().seq == 1
            return
        v = kb.commit(patch=patch, allow_empty=True)
        again = Store(kb.backend)
        assert exactly(again.version(v).patch) == exactly(patch)
        assert exactly(again.checkout()) == wanted == exactly(kb.checkout())
        body = dict(kb.line.bodies([2]))[2]
        stored = decode_body(body, Nodes(kb.backend))
        assert encode_body(stored) == body
        assert exactly(plain_body(body, Nodes(kb.backend))) == exactly(patch)


@fuzzed
@given(patches())
def test_jsonpatch_agrees_where_it_keeps_to_the_standard(case: tuple[Any, list[dict[str, Any]]]) -> None:
    """What is accepted here gives what jsonpatch makes of it."""
    document, patch = case
    wanted, refused_at = outcome(document, patch)
    if refused_at is None and not _strange_to_jsonpatch(document, patch):
        assert jsonpatch.apply_patch(document, patch) == apply_patch(document, patch)
        assert wanted is not None


@fuzzed
@given(DOCUMENTS, DOCUMENTS, patches())
def test_documents_and_patches_in_one_write(old: Any, new: Any, case: tuple[Any, list[dict[str, Any]]]) -> None:
    """Several changes in one write are the fold of each, and made patches lead from any document to any other."""
    document, patch = case
    wanted, refused_at = outcome(document, patch)
    made = make_patch(old, new)
    assert exactly(apply_patch(old, made)) == exactly(new)
    with Store.create("memory:") as kb:
        kb.commit(old)
        changes = [Change(patch=made, allow_empty=True), Change(document, allow_empty=True)]
        changes += [Change(patch=patch, allow_empty=True)] if refused_at is None else []
        kb.commit_many(changes)
        folded = [old, new, document]
        for seq, kept in enumerate(folded, 1):
            assert exactly(kb.checkout(seq)) == exactly(kept)
        if refused_at is None:
            assert exactly(kb.checkout()) == wanted
        assert exactly(apply_patch(old, kb.diff("v1", "HEAD").patch)) == exactly(kb.checkout())


@fuzzed
@given(st.lists(st.dictionaries(st.sampled_from(["op", "path", "from", "value", "x"]), VALUES, max_size=5), max_size=4))
def test_nonsense_is_a_patch_error(patch: list[dict[str, Any]]) -> None:
    """Whatever stands where a patch should: it applies, or is a PatchError, as a value and as text."""
    for given_as in (patch, dumps(patch), dumps(patch).decode()):
        try:
            parse_patch(given_as)
            apply_patch({"a": [1]}, given_as)
        except PatchError as fault:
            assert str(fault)
            assert len(str(fault)) < 2000
