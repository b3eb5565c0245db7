"""Promises of the format and of the tree that no other file holds: values in stored form, refs in the proof, arrays."""

from pathlib import Path
from typing import Any

import pytest

import kbstore
from kbstore import Change, PatchError, Store
from kbstore.backends import open_backend
from kbstore.history.event import decode_body
from kbstore.history.refs import Refs, decode_ref
from kbstore.history.snapshots import COMPLETE, worth_keeping
from kbstore.tree.node_store import Nodes
from tests.backends.test_damage import open_raw
from tests.doubles.counting import CountingBackend
from tests.store.support import Ticks, articles, eager_snapshots, exact, replacing
from tests.store.test_corruption import kbstore_triggers, row_digest


def test_a_patch_cannot_name_a_node(location: str) -> None:
    """What stands for a long value in a stored patch means nothing in one that is given: no user writes a reference."""
    secret = "s" * 5000
    with Store.create(location, {"secret": secret, "x": 0}) as kb:
        address = kbstore.loads(dict(kb.line.bodies([1]))[1])
        kb.commit(patch=replacing("/secret", secret + "!"))
        (stored,) = kbstore.loads(dict(kb.line.bodies([2]))[2])
        assert "value" not in stored
        node = stored["value_node"]
        with pytest.raises(PatchError, match="value"):
            kb.commit(patch=[{"op": "replace", "path": "/x", "value_node": node}])
        forged: Any = {"op": "add", "path": "/y", "value": {"value_node": node}, "value_node": node}
        v = kb.commit(patch=[forged])
        assert v.patch == [{"op": "add", "path": "/y", "value": {"value_node": node}}]
        assert kb.get("/y") == {"value_node": node}
        assert kb.checkout() == {"secret": secret + "!", "x": 0, "y": {"value_node": node}}
        assert address
        assert kb.verify().ok


def test_events_are_small_whatever_they_carry(location: str) -> None:
    """A long value stands beside its event as nodes, once for the same content; the patch reads back whole."""
    document = articles(400, 60)
    with Store.create(location, document) as kb:
        kb.commit(patch=[{"op": "add", "path": "/copy", "value": document["problems"]}])
        for _, body in kb.line.bodies([1, 2]):
            assert len(body) < 200
            assert decode_body(body, Nodes(kb.backend))
        assert exact(kb.version("v2").patch[0]["value"]) == exact(document["problems"])
        assert kb.checkout() == {**document, "copy": document["problems"]}


def test_an_insertion_at_the_front_of_a_long_array_is_one_operation(tmp_path: Path) -> None:
    """100,000 elements that moved by one cost one `add`, a few nodes to commit, and a few to find by diff."""
    elements = [{"id": n, "t": f"element {n}"} for n in range(100_000)]
    with Store.create(tmp_path / "kb.db", {"list": elements}) as kb:
        v = kb.commit({"list": [{"id": "new", "t": "first"}, *elements]})
        assert v.patch == [{"op": "add", "path": "/list/0", "value": {"id": "new", "t": "first"}}]
        kb.snapshot()
    backend = CountingBackend(open_backend(tmp_path / "kb.db"))
    with Store(backend) as kb:
        kb.get("/list/0", at="v1")
        kb.get("/list/0", at="v2")
        backend.reset()
        diff = kb.diff("v1", "v2")
        assert diff.patch == v.patch
        assert diff.inverse == [{"op": "remove", "path": "/list/0"}]
        assert backend.reset().read_bytes < 1_500_000
        backend.reset()
        kb.commit(patch=[{"op": "add", "path": "/list/0", "value": 1}])
        assert backend.reset().written_bytes < 2_000


def test_elements_with_an_id_are_told_apart_by_it(location: str) -> None:
    """Where elements have an id, an edit beside an insertion is told as both, by their ids."""
    entries = [{"id": f"e{n}", "t": "text " * 20} for n in range(500)]
    with Store.create(location, {"entries": entries}) as kb:
        changed = [dict(e) for e in entries]
        changed[7]["t"] = "edited"
        del changed[300]
        kb.commit({"entries": [{"id": "new", "t": "first"}, *changed]})
        diff = kb.diff()
        assert (diff.added, diff.removed, diff.modified) == (["new"], ["e300"], ["e7"])
        assert sum(len(str(op)) for op in diff.patch) < 500


@pytest.mark.parametrize(
    "field",
    [{"target": "0" * 64}, {"version": 1}, {"name": "other"}, {"parent": "1" * 64}, {"seq": 7}, {"author": "eve"}],
)
def test_a_forged_tag_is_found(tmp_path: Path, field: dict[str, Any]) -> None:
    """Tags are events in a chain of their own, and the proof covers them: what was changed or moved is found."""
    path = tmp_path / "kb.db"
    with Store.create(path, {"n": 1}, clock=Ticks(), author="ann") as kb:
        kb.commit({"n": 2})
        kb.tag("stable", "v2")
        kb.tag("late", "v2")
        ident = 2**32 + 1
    with open_raw(path) as connection:
        connection.text_factory = bytes
        header, log, slot, size, write_id, kind = connection.execute(
            "SELECT header, log, slot, size, write_id, typeof(write_id) FROM records JOIN writes USING(id) WHERE id=?",
            (ident,),
        ).fetchone()
        forged = kbstore.dumps({**kbstore.loads(header), **field})
        digest = row_digest(ident, log, slot, size, kind[:1] + write_id, forged)
        connection.execute("UPDATE records SET header=?, digest=? WHERE id=?", (forged.decode(), digest, ident))
        for sql in kbstore_triggers():
            connection.execute(sql)
    connection.close()
    with Store.open(path) as kb:
        assert list(kb.backend.check()) == []
        assert not kb.verify().ok


def test_each_change_of_a_tag_is_a_chained_slot(location: str) -> None:
    """Setting, moving and removing a tag are three events, each naming the one before; none is ever gone."""
    with Store.create(location, {"n": 1}, clock=Ticks()) as kb:
        kb.commit({"n": 2})
        kb.tag("a", "v1")
        kb.tag("a", "v2", force=True)
        kb.untag("a")
        events = [decode_ref(r.header, r.number) for r in kb.backend.read("refs")]
        assert [(e.name, e.version, e.target is None) for e in events] == [
            ("a", 1, False),
            ("a", 2, False),
            ("a", 0, True),
        ]
        assert [e.seq for e in events] == [1, 2, 3]
        assert events[0].parent is None
        assert None not in (events[1].parent, events[2].parent)
        assert Refs(kb.backend).read().tags == {}
        kb.gc()
        assert kb.backend.tail("refs").number == 3


def test_snapshots_are_dense_at_the_head_and_thin_behind_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While committing a few small ones stand at the head; what stays behind is complete, or goes."""
    eager_snapshots(monkeypatch, 4)
    with Store.create(tmp_path / "kb.db", articles(200, 40), clock=Ticks()) as kb:
        sizes = []
        for n in range(120):
            kb.commit(patch=replacing(f"/problems/p{n}/votes", n + 1))
            found = kb.backend.snapshots("main")
            assert sum(s.tier < COMPLETE for s in found) <= 4
            sizes.append((n, [(s.tier, s.size_bytes) for s in found]))
        found = kb.backend.snapshots("main")
        small = [s.size_bytes for s in found if s.tier < COMPLETE]
        whole = [s.size_bytes for s in found if s.tier == COMPLETE]
        assert len(whole) > 2
        assert not small or max(small) < max(whole)
        assert {s.number for s in found} >= set(worth_keeping(found))
        kb.gc()
        again = kb.backend.snapshots("main")
        assert len(again) <= len(found)
        assert kb.verify().ok
    with Store.open(tmp_path / "kb.db") as kb:
        assert [kb.get(f"/problems/p{n}/votes") for n in range(120)] == list(range(1, 121))


def test_content_that_comes_back_costs_nothing(tmp_path: Path) -> None:
    """Chunks are kept once by address: writing the same long value in many versions stores it once."""
    value = {f"k{n}": f"{n} text " * 50 for n in range(400)}
    with Store.create(tmp_path / "kb.db", {"a": value}) as kb:
        once = kb.backend.size_bytes()
        for n in range(10):
            kb.commit_many([Change({"a": 0}), Change({"a": value}), Change({"a": value, "b": value, "n": n})])
        kb.close()
        assert (tmp_path / "kb.db").stat().st_size < once + 60_000


def test_the_root_is_no_member_of_itself(location: str) -> None:
    """A patch that edits members and then replaces the whole document is folded as it was accepted."""
    with Store.create(location, {"a": None}) as kb:
        kb.commit(patch=[*[{"op": "add", "path": "/0", "value": 1}] * 2, {"op": "add", "path": "", "value": {"b": 1}}])
        kb.commit(patch=[{"op": "add", "path": "/c", "value": 1}, {"op": "add", "path": "/", "value": 2}])
        with Store.open(location) as fresh:
            assert fresh.checkout("v2") == {"b": 1}
            assert fresh.checkout("v3") == {"b": 1, "c": 1, "": 2}
