"""The order of members is what the author wrote: at every version, in every copy, and no part of a state."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kbstore import Change, CorruptStore, PatchError, Store, apply_patch
from kbstore.backends import open_backend
from kbstore.history.index.orders import BLOCK_EVENTS
from kbstore.jsondoc.canonical import encode
from kbstore.jsondoc.patch import resolve
from kbstore.jsondoc.pointer import parse_pointer
from kbstore.order.make_rules import settled
from kbstore.order.rules import NO_RULES, Rules
from kbstore.sync.jsonl import export_all, import_lines
from kbstore.sync.remote import clone_into
from tests.doubles.counting import CountingBackend
from tests.store.support import Ticks, replacing

_names = itertools.count()
_keys = st.sampled_from([*"abcdefg", "0", "~/"])
_values: Any = st.recursive(
    st.none() | st.integers(-3, 3) | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*"abcdefg", "0", "~/"]), inner, max_size=6)
    ),
    max_leaves=25,
)
_documents: Any = st.dictionaries(st.sampled_from("abcdefg"), _values, max_size=5)


def new(document: Any = None) -> Store:
    """A store in memory."""
    return Store.create(f"memory:order{next(_names)}", document, clock=Ticks(), author="ann")


def text(value: Any) -> str:
    """JSON text, members as the value has them."""
    return json.dumps(value)


def pointers(value: Any, pointer: str = "") -> list[str]:
    """Pointers to a value and to all in it."""
    found = [pointer]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for token, item in items:
        found += pointers(item, f"{pointer}/{str(token).replace('~', '~0').replace('/', '~1')}")
    return found


@given(st.lists(_values, min_size=1, max_size=4))
def test_rules_give_back_every_order(documents: list[Any]) -> None:
    """Whatever rules there were: those made for a document bring its canonical form into its order, also as JSON."""
    rules = NO_RULES
    for document in documents:
        rules = settled(rules, document)
        again = Rules.of(json.loads(encode(rules.as_json())))
        for canonical in (False, True):
            assert text(again.arranged(json.loads(encode(document)), canonical=canonical)) == text(document)
        assert again.fits(document)
        assert not list(again.misfits(document))


def test_only_places_are_visited_if_there_are_no_other_rules() -> None:
    """Of a canonical value nothing else can be in another order, so nothing else is looked at."""
    elsewhere = {"z": {"z": 1, "a": 2}}  # would be put in order if it were visited
    places = {"/list/1": ("z", "b"), "/list/7": ("z", "b"), "/map": ("y", "x"), "/none/0": ("a",), "/s/a": ("b",)}
    value = {"list": [elsewhere, {"b": 1, "z": 2}], "map": {"x": elsewhere, "y": 1}, "other": elsewhere, "s": "text"}
    rules = Rules(places=places)
    arranged = rules.arranged(dict(value), canonical=True)
    assert text(arranged) == text(
        {"list": [elsewhere, {"z": 2, "b": 1}], "map": {"y": 1, "x": elsewhere}, "other": elsewhere, "s": "text"}
    )
    assert text(NO_RULES.arranged(dict(elsewhere), canonical=True)) == text(elsewhere)
    assert text(NO_RULES.arranged({"z": 1, "a": elsewhere})) == text({"a": {"z": {"a": 2, "z": 1}}, "z": 1})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_documents, min_size=1, max_size=5), st.data())
def test_the_order_given_back_is_the_order_written(documents: list[Any], data: Any) -> None:
    """At every version, whole and by pointer, in a store, its clone and an import; states are those without order."""
    kb = new()
    for document in documents:
        kb.commit(document, allow_empty=True)
    canonical = new()
    for document in documents:
        canonical.commit(json.loads(encode(document)), allow_empty=True)
    copy, imported = new(), new()
    clone_into(kb, copy.location)
    import_lines(imported, list(export_all(kb)))
    for store in (kb, Store(kb.backend), copy, imported):
        assert store.head().id == kb.head().id
        assert store.verify().ok
        for seq, document in enumerate(documents, 1):
            assert text(store.checkout(seq)) == text(document)
            pointer = data.draw(st.sampled_from(pointers(document)))
            assert text(store.get(pointer, at=seq)) == text(resolve(document, parse_pointer(pointer)))
            assert store.version(seq).state == canonical.version(seq).state


def operation(data: Any, document: Any) -> dict[str, Any]:
    """An operation that may apply to a document."""
    places = pointers(document)
    op = data.draw(st.sampled_from(["add", "add", "replace", "remove", "move", "copy"]))
    path = data.draw(st.sampled_from(places))
    if op in ("add", "move", "copy"):
        path += "/" + data.draw(st.sampled_from([*"abcdefg", "0", "1", "-"]))
    told: dict[str, Any] = {"op": op, "path": path}
    if op in ("add", "replace"):
        told["value"] = data.draw(_values)
    if op in ("move", "copy"):
        told["from"] = data.draw(st.sampled_from(places))
    return told


def without(value: Any, added: set[str]) -> str:
    """Text of a value without members of these names, whose place a patch does not say."""
    if isinstance(value, dict):
        return text({key: without(item, added) for key, item in value.items() if key not in added})
    return text([without(item, added) for item in value] if isinstance(value, list) else value)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_documents, st.data())
def test_a_patch_changes_no_order_that_it_does_not_write(document: Any, data: Any) -> None:
    """Objects in a patch keep their order, and all others theirs, whatever is inserted, moved or taken away."""
    kb = new(document)
    for _ in range(4):
        patch = [operation(data, document)]
        try:
            expected = apply_patch(json.loads(text(document)), patch)
        except PatchError:
            continue
        kb.commit(patch=patch, allow_empty=True)
        found = kb.checkout()
        added = {patch[0]["path"].rpartition("/")[2]} if patch[0]["op"] != "replace" else set()
        assert without(found, added) == without(expected, added)
        pointer = patch[0]["path"]
        if "value" in patch[0] and not pointer.endswith("/-"):
            assert text(kb.get(pointer)) == text(patch[0]["value"])
        document = found
    assert kb.verify().ok


def article(n: int, **more: Any) -> dict[str, Any]:
    """An article with its members in the order of people."""
    return {"title": f"Problem {n}", "severity": "low", "id": n, "steps": [{"text": "restart", "ok": True}], **more}


def rules(kb: Store, seq: int | None = None) -> dict[str, Any]:
    """The rules of a version as JSON."""
    return kb.orders.rules(seq if seq is not None else kb.head().seq).as_json()


def test_thousands_of_equal_objects_share_one_rule() -> None:
    """What is kept follows the kinds of objects, not their number; more of the same changes nothing."""
    kb = new({"problems": {f"p{n}": article(n) for n in range(2000)}})
    assert rules(kb)["names"] == ["text", "ok", "title", "severity", "id", "steps"]
    assert len(encode(rules(kb)["names"])) < 100
    first = kb.head().event.order
    kb.commit(patch=[{"op": "add", "path": "/problems/q", "value": article(1)}])
    kb.commit(patch=[{"op": "add", "path": "/problems/q/votes", "value": 1}])
    kb.commit(patch=[{"op": "remove", "path": "/problems/q/severity"}])
    assert [version.event.order for version in kb.log()] == [None, None, None, first]
    assert list(kb.get("/problems/q")) == ["title", "id", "steps", "votes"]


def test_a_document_in_canonical_order_has_no_rules() -> None:
    """Nothing is kept for it, and its header has no `order`."""
    kb = new(json.loads(encode({"problems": [article(1), article(2)]})))
    assert kb.head().event.order is None
    assert rules(kb) == {}


def test_objects_that_contradict_each_other_each_keep_their_order() -> None:
    """Of two kinds one is a shape; of two objects of one kind the rarer order is a place."""
    document = {
        "articles": [{"title": "a", "text": "b", "id": n} for n in range(5)],
        "steps": [{"text": "a", "title": "b"}] * 3,
        "odd": {"id": 1, "title": "a", "text": "b"},
    }
    kb = new(document)
    assert text(kb.checkout()) == text(document)
    assert rules(kb)["shapes"] == [["text", "title"]]
    assert list(rules(kb)["places"]) == ["/odd"]


def test_a_change_to_one_of_ten_thousand_members_writes_a_few_nodes() -> None:
    """A large map in an order of its own is kept once; moving one member writes one path of nodes."""
    keys = [f"p{n * 7919 % 10_007:05}" for n in range(10_007)]
    document = {"problems": {key: {"title": "x"} for key in keys}}
    kb = new(document)
    assert text(kb.checkout()) == text(document)
    keys.insert(5000, keys.pop(100))
    size = kb.backend.size_bytes()
    version = kb.commit({"problems": {key: {"title": "x"} for key in keys}}, keep_order_changes=True)
    assert version.created
    assert list(kb.checkout()["problems"]) == keys
    assert kb.backend.size_bytes() - size < 60_000


def test_new_entries_of_a_large_map_follow_the_others() -> None:
    """They need no rule of their own, and the map's rule is written once."""
    document = {"problems": {f"p{n * 7919 % 1009}": {"title": "x"} for n in range(1009)}}
    kb = new(document)
    kb.commit(patch=[{"op": "add", "path": "/problems/a", "value": {"title": "new"}}])
    assert list(kb.get("/problems")) == [*document["problems"], "a"]
    assert kb.head().event.order is None


def test_order_alone_makes_no_version_unless_asked() -> None:
    """A reordered document is nothing changed; with `keep_order_changes` it is a version with an empty patch."""
    kb = new({"b": 1, "a": {"y": 1, "x": 2}})
    turned = {"a": {"x": 2, "y": 1}, "b": 1}
    assert not kb.commit(turned).created
    assert text(kb.checkout()) == text({"b": 1, "a": {"y": 1, "x": 2}})
    version = kb.commit(turned, keep_order_changes=True)
    assert (version.created, version.patch, version.state) == (True, [], kb.version("v1").state)
    assert text(kb.checkout()) == text(turned)
    assert text(kb.checkout("v1")) == text({"b": 1, "a": {"y": 1, "x": 2}})
    assert not kb.commit(turned, keep_order_changes=True).created
    assert not kb.diff("v1", "v2")


def test_a_restore_gives_the_order_back() -> None:
    """The restored version has the order of the old one, also if only the order differs."""
    kb = new({"b": 1, "a": 2})
    kb.commit({"a": 2, "b": 1, "c": 3})
    kb.restore("v1")
    assert text(kb.checkout()) == text({"b": 1, "a": 2})
    kb.commit({"a": 2, "b": 1}, keep_order_changes=True)
    assert kb.restore("v1").created
    assert text(kb.checkout()) == text({"b": 1, "a": 2})


def test_a_rebase_keeps_both_orders() -> None:
    """Of two writers each one's objects are in the order of their author, whoever lands first."""
    kb = new({"z": {"b": 1, "a": 1}, "m": {}})
    kb.commit({"z": {"b": 1, "a": 1}, "m": {"one": {"y": 1, "x": 1}}}, base="v1")
    version = kb.commit({"z": {"b": 1, "a": 1, "0": {"q": 1, "p": 1}}, "m": {}}, base="v1")
    assert version.seq == 3
    assert text(kb.checkout()) == text({"z": {"b": 1, "a": 1, "0": {"q": 1, "p": 1}}, "m": {"one": {"y": 1, "x": 1}}})


def test_several_versions_of_one_write_build_on_one_another() -> None:
    """Each version of a batch has the order of its own document."""
    kb = new()
    documents = [{"b": 1, "a": n, f"{n}": {"y": 1, "x": n}} for n in range(4)]
    kb.commit_many([Change(document) for document in documents])
    assert [text(kb.checkout(n)) for n in range(1, 5)] == [text(document) for document in documents]
    assert kb.verify().ok


def test_a_history_of_patches_ends_with_few_rules() -> None:
    """Once places are many the rules are made anew from the document; from then on articles of the kind need none."""
    kb = new({"problems": {}})
    for n in range(80):
        kb.commit(patch=[{"op": "add", "path": f"/problems/p{n}", "value": article(n)}])
    assert rules(kb) == {"names": ["text", "ok", "title", "severity", "id", "steps"]}
    assert sum(version.event.order is not None for version in kb.log()) == 16
    for seq in (5, 40, 81):
        assert all(list(found) == list(article(0)) for found in kb.get("/problems", at=seq).values())


def test_a_branch_has_the_order_of_its_line() -> None:
    """A branch begins with the order of the version that it starts from, and goes its own way."""
    kb = new({"b": 1, "a": 2})
    kb.create_branch("dev")
    kb.commit({"a": 2, "b": 1, "c": 3})
    dev = Store(kb.backend, branch="dev", clock=Ticks(prefix=3))
    assert text(dev.checkout()) == text({"b": 1, "a": 2})
    dev.commit({"d": 1, "b": 1, "a": 2})
    assert text(dev.checkout()) == text({"d": 1, "b": 1, "a": 2})
    assert text(kb.checkout("dev")) == text({"d": 1, "b": 1, "a": 2})
    assert text(kb.checkout()) == text({"a": 2, "b": 1, "c": 3})
    assert kb.verify().ok


def test_the_order_is_found_at_any_version(tmp_path: Path) -> None:
    """Among many versions, on both sides of the end of a block: with the index, after a collection, without caches."""
    path = tmp_path / "kb.db"
    documents = {1: {"b": 0, "a": 0}, BLOCK_EVENTS - 2: {"a": 0, "b": 0, "c": 0}, BLOCK_EVENTS + 90: {"c": 0, "a": 0}}
    with Store.create(path, documents[1], clock=Ticks(), author="ann") as kb:
        while (seq := kb.head().seq + 1) < BLOCK_EVENTS + 300:
            if seq in documents:
                kb.commit(documents[seq], keep_order_changes=True)
                continue
            last = min([n for n in documents if n > seq] + [BLOCK_EVENTS + 300, seq + 500])
            kb.commit_many([Change(patch=replacing("/a", n)) for n in range(seq, last)])
        assert "order/main" in kb.backend.note_names()
    wanted = {
        seq: list(documents[max(n for n in documents if n <= seq)])
        for seq in (1, 2, 500, BLOCK_EVENTS - 3, BLOCK_EVENTS - 2, BLOCK_EVENTS, BLOCK_EVENTS + 89, BLOCK_EVENTS + 299)
    }
    for turn in range(3):
        for seq, keys in wanted.items():
            with Store.open(path) as kb:
                assert list(kb.checkout(seq)) == keys, (turn, seq)
        with Store.open(path) as kb:
            if turn == 0:
                kb.gc()
            else:
                kb.backend.drop_notes("order/main")
            assert kb.verify().ok


def test_a_patch_to_members_that_exist_reads_no_rules(tmp_path: Path) -> None:
    """The usual commit is one append, with an order and without."""
    with Store.create(tmp_path / "kb.db", {"b": [{"y": 1, "x": 1}], "a": 1}, author="ann"):
        pass
    backend = CountingBackend(open_backend(tmp_path / "kb.db"))
    with Store(backend, author="ann") as kb:
        kb.commit(patch=replacing("/a", 2))
        backend.reset()
        for n in range(5):
            kb.commit(patch=replacing("/b/0/x", n + 2))
        assert backend.reset().requests == 5


def test_damaged_order_is_named_and_costs_no_content() -> None:
    """`verify` names the version; the document is readable in canonical order, and later commits are in order again."""
    kb = new({"b": 1, "a": 2})
    root = kb.head().event.order
    assert root is not None
    damaged = Store(_WithoutChunk(kb.backend, bytes.fromhex(root)), clock=Ticks(prefix=9), author="ann")
    assert text(damaged.checkout()) == text({"a": 2, "b": 1})
    assert damaged.damage
    report = damaged.verify()
    assert len(report.problems) == 1
    assert "v1 is damaged: the order of its members cannot be read" in report.problems[0]
    damaged.commit({"c": 1, "b": 1, "a": 2})
    assert text(damaged.checkout()) == text({"c": 1, "b": 1, "a": 2})


class _WithoutChunk:
    """A backend that lost one chunk."""

    def __init__(self, backend: Any, address: bytes) -> None:
        self._backend = backend
        self._address = address

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def get_chunks(self, addresses: Any, *, in_order: bool = False) -> Any:
        """All that are asked for but that one."""
        found = self._backend.get_chunks(addresses, in_order=in_order)
        return (one for one in found if one.address != self._address)


@pytest.mark.parametrize("value", [[], {"other": []}, {"names": [1]}, {"names": ["a", "a"]}, {"places": {"a": []}}])
def test_what_is_not_made_of_rules_is_refused(value: Any) -> None:
    """Rules are checked when they are read."""
    with pytest.raises(CorruptStore, match="order"):
        Rules.of(value)


def test_an_event_without_its_order_is_not_taken_in() -> None:
    """An import of a line whose order is missing or another one is refused; nothing is added."""
    (line,) = export_all(new({"b": 1, "a": 2}))
    fields = json.loads(line)
    target = new()
    for order in (None, [{"op": "add", "path": "/names", "value": ["a", "b"]}]):
        changed = {key: value for key, value in fields.items() if key != "order"}
        if order is not None:
            changed["order"] = order
        with pytest.raises(Exception, match="order of members"):
            import_lines(target, [json.dumps(changed).encode()])
    assert target.head().seq == 0


def test_a_patch_may_append_to_what_it_takes_away() -> None:
    """The end of an array that is an array no longer after the patch is nobody's place."""
    kb = new({"z": 1, "l": [1], "a": {"y": 1, "x": 1}})
    kb.commit(patch=[{"op": "add", "path": "/l/-", "value": {"q": 1, "p": 1}}, *replacing("/l", 0)])
    assert text(kb.checkout()) == text({"z": 1, "l": 0, "a": {"y": 1, "x": 1}})


def test_who_changes_no_order_takes_none_back() -> None:
    """A document of an older version, in the order that it had there, leaves a newer order as it is."""
    kb = new({"b": 1, "a": {"y": 1, "x": 1}})
    older = kb.checkout()
    kb.commit({"a": {"x": 1, "y": 1}, "b": 1}, keep_order_changes=True)
    older["a"]["y"] = 2
    kb.commit(older, base="v1")
    assert text(kb.checkout()) == text({"a": {"x": 1, "y": 2}, "b": 1})


def test_two_versions_have_the_same_order_or_not() -> None:
    """Told by the rules alone, also of versions without any."""
    kb = new({"a": 1})
    kb.commit({"a": 1, "b": 2})
    kb.commit({"b": 2, "a": 1, "c": 1})
    assert kb.same_order("v1", "v2")
    assert not kb.same_order("v2", "v3")
