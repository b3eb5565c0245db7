"""Commits: what becomes a version, what does not, and what stands in it."""

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonpatch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kbstore
from kbstore import (
    Change,
    InvalidJSON,
    KBStoreError,
    PatchError,
    ReadOnlyStore,
    RevisionError,
    Store,
    StoreExists,
    StoreNotFound,
    StoreUnavailable,
)
from tests.jsondoc.values import VALUES, exactly
from tests.store.support import START, Ticks, articles, replacing


def test_a_new_store_has_no_document_and_no_version(location: str) -> None:
    """A store without a document is at seq 0, its state is null, and nothing can be checked out."""
    with Store.create(location) as kb:
        head = kb.head()
        assert (head.seq, head.state, head.id, head.parents, head.name) == (0, None, "", (), "v0")
        assert list(kb.log()) == []
        with pytest.raises(RevisionError):
            kb.checkout()
        with pytest.raises(RevisionError):
            kb.restore("v0")
        assert kb.get("/a", default=7) == 7
        assert kb.verify().ok


def test_the_first_document_is_version_one(location: str) -> None:
    """Creating with a document makes v1, with the fields that callers rely on."""
    with Store.create(location, {"a": 1}, author="ann", message="begin", clock=Ticks()) as kb:
        v = kb.head()
        assert (v.seq, v.name, v.parents, v.author, v.message, v.tags) == (
            1,
            "v1_20250127_120000",
            (),
            "ann",
            "begin",
            (),
        )
        assert v.time == START
        assert v.state is not None
        assert len(v.state) == len(v.id) == 64
        assert kbstore.apply_patch(None, v.patch) == {"a": 1}
        assert kb.checkout() == {"a": 1}


def test_none_is_no_first_document(location: str) -> None:
    """A store that is created with None has no version; null as a document is committed."""
    with Store.create(location, None) as kb:
        assert (kb.head().seq, kb.head().state) == (0, None)
        assert kb.commit(None).seq == 1
        assert kb.checkout() is None


def test_creating_over_something_is_refused(location: str) -> None:
    """What stands at a location is never overwritten by a new store."""
    Store.create(location, {"a": 1}).close()
    with pytest.raises(StoreExists):
        Store.create(location, {"b": 1})
    with Store.open(location) as kb:
        assert kb.checkout() == {"a": 1}


def test_opening_what_is_not_there_is_refused(tmp_path: Path) -> None:
    """A store that does not exist is not made by opening it."""
    with pytest.raises(StoreNotFound):
        Store.open(tmp_path / "kb.db")
    with pytest.raises(StoreNotFound):
        Store.open("memory://nobody-made-this")
    assert list(tmp_path.iterdir()) == []


def test_a_refused_first_document_makes_no_store(tmp_path: Path) -> None:
    """A document that is not JSON leaves nothing behind."""
    with pytest.raises(InvalidJSON):
        Store.create(tmp_path / "kb.db", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_document_commit_records_only_what_changed(location: str) -> None:
    """The patch of a document commit is the difference, and leads to exactly the document."""
    with Store.create(location, articles(50)) as kb:
        document = kb.checkout()
        document["problems"]["p7"]["votes"] = 3
        v = kb.commit(document, message="count", author="bob", tags=["votes", "small"])
        assert v.created
        assert v.patch == replacing("/problems/p7/votes", 3)
        assert (v.seq, v.author, v.message, v.tags) == (2, "bob", "count", ("votes", "small"))
        assert v.parents == (kb.version("v1").id,)
        assert kb.checkout() == document


@pytest.mark.parametrize("form", ["list", "text", "bytes", "JsonPatch", "tuple"])
def test_a_patch_may_come_in_every_usual_form(location: str, form: str) -> None:
    """A patch is accepted as dicts, as JSON text, and as a jsonpatch.JsonPatch."""
    patch: Any = replacing("/a", [1, {"b": None}])
    given_as = {
        "list": patch,
        "tuple": tuple(patch),
        "text": kbstore.dumps(patch).decode(),
        "bytes": kbstore.dumps(patch),
        "JsonPatch": jsonpatch.JsonPatch(patch),
    }[form]
    with Store.create(location, {"a": 0}) as kb:
        assert kb.commit(patch=given_as).patch == patch
        assert kb.checkout() == {"a": [1, {"b": None}]}


def test_a_callers_later_changes_do_not_reach_history(location: str) -> None:
    """What was committed and what is handed out is the store's own: changing it changes no version."""
    value: dict[str, Any] = {"list": [1]}
    patch = [{"op": "add", "path": "/x", "value": value}]
    document: dict[str, Any] = {"deep": {"list": [1]}}
    with Store.create(location, document) as kb:
        document["deep"]["list"].append(2)
        assert kb.checkout() == {"deep": {"list": [1]}}
        kb.commit(patch=patch)
        value["list"].append(2)
        patch.append({"op": "remove", "path": "/deep"})
        kb.checkout()["deep"]["list"].append(3)
        kb.get("/deep")["list"].append(4)
        kb.version("v2").patch.clear()
        assert kb.checkout() == {"deep": {"list": [1]}, "x": {"list": [1]}}
        assert kb.version("v2").patch == [{"op": "add", "path": "/x", "value": {"list": [1]}}]


def test_a_commit_that_changes_nothing_gives_the_head(location: str) -> None:
    """An unchanged document, an empty patch and a patch without effect add no event unless they are asked to."""
    with Store.create(location, {"a": 1, "b": [1, 2]}) as kb:
        head = kb.head()
        for again in (
            kb.commit({"b": [1, 2], "a": 1}),
            kb.commit(patch=[]),
            kb.commit(patch=replacing("/a", 1)),
            kb.commit(patch=[{"op": "test", "path": "/a", "value": 1}]),
        ):
            assert not again.created
            assert again == head
        assert kb.head().seq == 1
        empty = kb.commit({"a": 1, "b": [1, 2]}, allow_empty=True, message="nothing new")
        assert empty.created
        assert (empty.seq, empty.state, empty.patch) == (2, head.state, [])
        assert kb.checkout() == {"a": 1, "b": [1, 2]}
        assert kb.verify().ok


def test_types_are_kept_apart(location: str) -> None:
    """1, 1.0 and true are three values: going from one to another is a change, and each comes back as it was."""
    with Store.create(location, {"x": 1}) as kb:
        states = {kb.head().state}
        for value in (1.0, True, -0.0, 0.0, 0, False, None, "1"):
            v = kb.commit({"x": value})
            assert v.created
            assert exactly(kb.checkout()) == exactly({"x": value})
            states.add(v.state)
        assert len(states) == 9


def test_equal_content_has_an_equal_state(location: str) -> None:
    """The state hash depends on the content alone, not on the way that led to it."""
    with Store.create(location, articles(200, 5)) as kb:
        first = kb.head().state
        kb.commit(patch=[{"op": "remove", "path": "/problems/p3"}])
        assert kb.head().state != first
        document = kb.checkout()
        document["problems"]["p3"] = articles(200, 5)["problems"]["p3"]
        assert kb.commit(document).state == first


def test_a_refused_patch_leaves_the_store_as_it_was(location: str) -> None:
    """A patch applies as a whole or not at all, and the error names the operation and its pointer."""
    with Store.create(location, {"a": 1}) as kb:
        with pytest.raises(PatchError) as refused:
            kb.commit(patch=[{"op": "add", "path": "/b", "value": 1}, {"op": "remove", "path": "/nothing"}])
        assert refused.value.index == 1
        assert refused.value.pointer == "/nothing"
        with pytest.raises(PatchError):
            kb.commit(patch=[{"op": "test", "path": "/a", "value": 2}])
        assert kb.head().seq == 1
        assert kb.checkout() == {"a": 1}
        assert kb.commit(patch=replacing("/a", 2)).seq == 2
        assert kb.verify().ok


def test_a_patch_may_stand_on_nothing(location: str) -> None:
    """The first version may be a patch that adds the whole document."""
    with Store.create(location) as kb:
        with pytest.raises(PatchError):
            kb.commit(patch=[{"op": "add", "path": "/a", "value": 1}])
        assert kb.commit(patch=[{"op": "add", "path": "", "value": {"a": 1}}]).seq == 1
        assert kb.checkout() == {"a": 1}


def test_a_commit_takes_a_document_or_a_patch(location: str) -> None:
    """Neither and both are refused."""
    with Store.create(location, {"a": 1}) as kb:
        with pytest.raises(PatchError, match="give either a document or a patch"):
            kb.commit()
        with pytest.raises(PatchError, match="give either a document or a patch"):
            kb.commit({"a": 2}, patch=replacing("/a", 3))
        assert kb.head().seq == 1


def test_a_document_of_none_beside_a_patch_is_none(location: str) -> None:
    """A caller may pass None for the document that it does not have, alone and in a batch."""
    with Store.create(location, {"a": 1}) as kb:
        assert kb.commit(None, patch=replacing("/a", 2)).patch == replacing("/a", 2)
        kb.commit_many([Change(None, replacing("/a", 3)), {"document": None, "patch": replacing("/a", 4)}])
        assert (kb.head().seq, kb.checkout()) == (4, {"a": 4})


@pytest.mark.parametrize(
    "value", [float("nan"), (1, 2), {1: 2}, 2**64, "\ud800", datetime(2025, 1, 1), b"x", {"a": {1}}]
)
def test_what_is_not_json_is_refused(location: str, value: Any) -> None:
    """A value that JSON cannot hold is refused by its pointer, from Python too, in documents, patches and meta."""
    with Store.create(location, {"a": 1}) as kb:
        with pytest.raises(InvalidJSON) as refused:
            kb.commit({"a": [0, value]})
        assert str(refused.value.pointer).startswith("/a/1")
        with pytest.raises(PatchError):
            kb.commit(patch=replacing("/a", [value]))
        with pytest.raises(InvalidJSON):
            kb.commit({"a": 2}, meta={"x": value})
        assert kb.head().seq == 1


@pytest.mark.parametrize("document", [None, True, 0, "text", "x" * 5000, [], [1, [2]], {}, ["y" * 3000] * 5])
def test_any_json_value_may_be_a_document(location: str, document: Any) -> None:
    """The document need not be an object; it may become any other value and come back."""
    with Store.create(location) as kb:
        kb.commit(document)
        assert exactly(kb.checkout()) == exactly(document)
        kb.commit({"now": ["an", "object"]})
        kb.commit(document)
        assert kb.head().state == kb.version("v1").state
        assert exactly(kb.checkout()) == exactly(document)
        assert exactly(kb.get("")) == exactly(document)
        assert kb.verify().ok
    if not location.startswith("memory"):
        with Store.open(location) as kb:
            assert exactly(kb.checkout("v1")) == exactly(document)


@given(st.lists(VALUES, min_size=1, max_size=6))
def test_every_document_comes_back_exactly(documents: list[Any]) -> None:
    """Whatever is committed after whatever comes back at its version, also by patch, inverse and reopening."""
    with Store.create("memory:") as kb:
        for document in documents:
            kb.commit(document, allow_empty=True)
        for seq, document in enumerate(documents, 1):
            assert exactly(kb.checkout(seq)) == exactly(document)
            assert exactly(kb.get("", at=seq)) == exactly(document)
            if seq > 1:
                diff = kb.diff(seq - 1, seq)
                assert exactly(kbstore.apply_patch(documents[seq - 2], diff.patch)) == exactly(document)
                assert exactly(kbstore.apply_patch(document, diff.inverse)) == exactly(documents[seq - 2])
        assert exactly(Store(kb.backend).checkout()) == exactly(documents[-1])


def test_edit_commits_what_its_block_changed(location: str) -> None:
    """An edit is one version, with only what was changed in it."""
    with Store.create(location, articles(5)) as kb:
        with kb.edit(message="vote", author="carla", tags=["votes"]) as doc:
            doc["problems"]["p2"]["votes"] += 1
            del doc["problems"]["p4"]
        v = kb.head()
        assert (v.seq, v.message, v.author, v.tags) == (2, "vote", "carla", ("votes",))
        assert {op["path"] for op in v.patch} == {"/problems/p2/votes", "/problems/p4"}
        with kb.edit(message="nothing"):
            pass
        assert kb.head().seq == 2


def test_edit_that_raises_commits_nothing(location: str) -> None:
    """An error in the block passes on and adds no version."""
    with Store.create(location, {"a": 1}) as kb:
        with pytest.raises(ZeroDivisionError), kb.edit() as doc:
            doc["a"] = 1 // 0
        assert kb.head().seq == 1


def test_edit_begins_an_empty_store(location: str) -> None:
    """Where there is no document yet, an edit begins with an empty object."""
    with Store.create(location) as kb:
        with kb.edit() as doc:
            doc["a"] = 1
        assert (kb.head().seq, kb.checkout()) == (1, {"a": 1})


def test_commit_many_makes_a_version_for_each_change(location: str) -> None:
    """Documents and patches follow each other, each on the one before, in one write."""
    with Store.create(location, {"n": 0}) as kb:
        versions = kb.commit_many(
            [
                Change({"n": 1}, message="one", author="a"),
                Change(patch=replacing("/n", 2), message="two", author="b", tags=["t"]),
                {"document": {"n": 3, "m": 1}, "message": "three", "author": "c"},
                Change({"n": 3, "m": 1}, message="nothing new"),
                Change({"n": 3, "m": 1}, message="nothing, on purpose", allow_empty=True),
            ]
        )
        assert [v.seq for v in versions] == [2, 3, 4, 4, 5]
        assert [v.created for v in versions] == [True, True, True, False, True]
        assert [v.message for v in kb.log()] == ["nothing, on purpose", "three", "two", "one", "first version"]
        assert [kb.checkout(n)["n"] for n in range(1, 6)] == [0, 1, 2, 3, 3]
        assert [v.parents for v in versions][1:3] == [(versions[0].id,), (versions[1].id,)]
        assert kb.backend.tail("main").slot == 2
        assert kb.commit_many([]) == []
        assert kb.verify().ok


def test_commit_many_lands_whole_or_not_at_all(location: str) -> None:
    """Where one change is refused, none of them is there, and the next commit is as if they had not been tried."""
    with Store.create(location, {"n": 0}) as kb:
        with pytest.raises(PatchError):
            kb.commit_many([Change({"n": 1}), Change(patch=replacing("/missing", 1))])
        with pytest.raises(InvalidJSON):
            kb.commit_many([Change({"n": 1}), Change({"n": float("inf")})])
        assert kb.head().seq == 1
        assert kb.commit({"n": 5}).seq == 2
        assert kb.verify().ok


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ([Change({"n": 1}), Change({"n": float("nan")})], "change 1: "),
        ([Change({"n": 1}), Change({"n": 2}), Change(patch=replacing("/x", 1))], "change 2: operation 0"),
        ([Change(patch=replacing("/n", 1)), Change(patch=replacing("/x", 1))], "change 1: operation 0"),
        ([Change(patch=replacing("/x", 1)), Change(patch=replacing("/n", 1))], "change 0: operation 0"),
        ([Change({"n": 1}), Change()], "change 1: give either a document or a patch"),
        ([Change({"n": 1}), Change({"n": 2}, tags="t")], "change 1: tags is one text"),
        ([Change(patch=replacing("/x", 1))], "operation 0"),
    ],
)
@pytest.mark.parametrize("base", [None, "v1"])
def test_commit_many_names_the_change_that_is_refused(
    location: str, changes: list[Change], told: str, base: str | None
) -> None:
    """By its number, counted from 0, where there are several; all or nothing."""
    with Store.create(location, {"n": 0}) as kb:
        with pytest.raises(KBStoreError, match=f"^{told}"):
            kb.commit_many(changes, base=base)
        assert kb.head().seq == 1


def test_restore_adds_a_version_with_the_old_content(location: str) -> None:
    """Restoring never removes history: it is one more version, whose state is the old one's."""
    with Store.create(location, articles(20), clock=Ticks()) as kb:
        kb.commit(patch=replacing("/problems/p3/votes", 9))
        kb.commit(patch=[{"op": "remove", "path": "/problems/p5"}])
        v = kb.restore("v1", author="dan")
        assert (v.seq, v.state, v.author) == (4, kb.version("v1").state, "dan")
        assert v.message == "Restore v1_20250127_120000"
        assert kb.checkout() == articles(20)
        assert [x.seq for x in kb.log()] == [4, 3, 2, 1]
        again = kb.restore("v1")
        assert not again.created
        assert again == v
        assert kb.restore("v2", message="back to two", tags=["undo"]).tags == ("undo",)
        assert kb.checkout()["problems"]["p3"]["votes"] == 9


def test_times_never_go_back(location: str) -> None:
    """A version's time is never before its parent's, whatever the clock does; an import's own time is kept beside."""
    clock = Ticks()
    with Store.create(location, {"n": 0}, clock=clock) as kb:
        clock.moment = START - timedelta(days=1)
        assert kb.commit({"n": 1}).time == START
        clock.moment = START + timedelta(days=1)
        early, late = START + timedelta(hours=1), START + timedelta(days=30)
        v = kb.commit({"n": 2}, authored=early)
        assert (v.time, v.authored) == (early, early)
        v = kb.commit({"n": 3}, authored=START - timedelta(days=500))
        assert (v.time, v.authored) == (early, START - timedelta(days=500))
        v = kb.commit({"n": 4}, authored=late)
        assert v.time is not None
        assert early < v.time < late
        assert v.authored == late
        times = [v.time for v in kb.log(newest_first=False)]
        assert times == sorted(times)


@pytest.mark.parametrize("moment", [datetime(2025, 1, 27, 12), "2025-01-27", 1737979200, START.date()])
def test_a_time_without_a_zone_is_refused(location: str, moment: Any) -> None:
    """It would mean another moment on every machine; the error names the argument and what to give."""
    with Store.create(location, {"n": 0}) as kb:
        for name, call in (
            ("since", lambda: kb.log(since=moment)),
            ("until", lambda: kb.log(until=moment)),
            ("authored", lambda: kb.commit({"n": 1}, authored=moment)),
        ):
            with pytest.raises(KBStoreError, match=f"^{name} ") as refused:
                call()
            assert "time zone" in str(refused.value.hint)
        assert kb.head().seq == 1
        assert len(list(kb.log(since=START, until=datetime(2999, 1, 1, tzinfo=UTC)))) == 1


def test_an_injected_clock_makes_history_repeatable(tmp_path: Path) -> None:
    """With the same clock the same commits give the same ids on every backend."""
    ids = []
    for place in ("memory:", str(tmp_path / "kb.db")):
        with Store.create(place, {"n": 0}, clock=Ticks(), author="ann") as kb:
            kb.commit({"n": 1}, message="x", tags=["t"], meta={"ticket": 7})
            kb.commit_many([Change({"n": 2}), Change({"n": 3})])
            assert kb.version("v2").meta == {"ticket": 7}
            ids.append([v.id for v in kb.log()])
    assert ids[0] == ids[1]


def test_texts_that_json_cannot_hold_are_refused(location: str) -> None:
    """Author, message and labels are texts, without lone surrogates."""
    with Store.create(location, {"n": 0}) as kb:
        for fields, told in (
            ({"author": "\udc80"}, "the author holds a lone surrogate"),
            ({"message": "\ud800"}, "the message holds a lone surrogate"),
            ({"tags": ["\udfff"]}, "the tag holds a lone surrogate"),
            ({"tags": "t"}, "tags is one text"),
            ({"message": 5}, "the message is not text but int"),
        ):
            with pytest.raises(KBStoreError, match=told):
                kb.commit({"n": 1}, **fields)
        assert kb.head().seq == 1


def test_a_store_opened_for_reading_writes_nothing(location: str) -> None:
    """Every writing call is refused, every reading one works."""
    Store.create(location, articles(3)).close()
    with Store.open(location, read_only=True) as kb:
        assert kb.checkout() == articles(3)
        assert kb.get("/problems/p1/votes") == 0
        assert kb.verify().ok
        for write in (
            lambda: kb.commit({"n": 1}),
            lambda: kb.restore("v1"),
            lambda: kb.tag("stable"),
            lambda: kb.create_branch("dev"),
            kb.gc,
            kb.snapshot,
        ):
            with pytest.raises(ReadOnlyStore):
                write()
        kb.gc(dry_run=True)


def test_a_closed_store_says_so(location: str) -> None:
    """A closed store refuses calls clearly; closing it twice is allowed."""
    kb = Store.create(location, {"a": 1})
    kb.close()
    kb.close()
    with pytest.raises(StoreUnavailable):
        kb.head()
    with pytest.raises(StoreUnavailable):
        kb.commit({"a": 2})


def test_threads_share_one_store(location: str) -> None:
    """Commits from several threads through one object all land, in one line, and nothing is lost."""
    with Store.create(location, {f"t{n}": 0 for n in range(4)}) as kb:

        def work(name: str) -> None:
            for n in range(1, 26):
                kb.commit(patch=replacing(f"/{name}", n), author=name)
                assert kb.get(f"/{name}") == n

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, ["t0", "t1", "t2", "t3"]))
        assert kb.head().seq == 101
        assert kb.checkout() == {f"t{n}": 25 for n in range(4)}
        assert kb.verify().ok


def test_a_store_may_be_carried_over_a_fork(tmp_path: Path) -> None:
    """A child process goes on with the parent's object without harm to either."""
    with Store.create(tmp_path / "kb.db", {"parent": 0, "child": 0}) as kb:
        kb.commit(patch=replacing("/parent", 1))

        def child() -> None:
            for n in range(1, 11):
                kb.commit(patch=replacing("/child", n))
            os._exit(0)

        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        for n in range(2, 12):
            kb.commit(patch=replacing("/parent", n))
        process.join()
        assert process.exitcode == 0
        assert kb.head().seq == 22
        assert kb.checkout() == {"parent": 11, "child": 10}
        assert kb.verify().ok


@pytest.mark.long
def test_a_document_may_change_in_very_many_places() -> None:
    """The limit on a patch from outside does not bind the difference that the store itself finds."""
    size = 260_000
    with Store.create("memory:", {"kept": 1, **{f"k{n}": 0 for n in range(size)}}) as kb:
        v = kb.commit({"kept": 1, **{f"k{n}": 1 for n in range(size)}})
        assert v.created
        assert sum(kb.checkout().values()) == size + 1


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.timedeltas(timedelta(0), timedelta(days=400)))
def test_names_tell_seq_and_time(step: int, ahead: timedelta) -> None:
    """A full name is the seq and the commit time in UTC to the second, and names its version."""
    clock = Ticks(datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC), timedelta(seconds=step % 10_000_000))
    with Store.create("memory:", {"n": 0}, clock=clock) as kb:
        clock.moment += ahead
        v = kb.commit({"n": 1})
        assert v.time is not None
        assert v.name == f"v2_{v.time:%Y%m%d_%H%M%S}"
        assert kb.version(v.name) == v


@pytest.mark.parametrize(
    "more", [{"from": None}, {"from": "/a"}, {"value_node": None}, {"value_node": "0" * 64}, {"x": 1}]
)
@pytest.mark.parametrize("op", [{"op": "replace", "value": 2}, {"op": "remove"}, {"op": "copy", "from": "/b"}])
def test_what_an_operation_does_not_know_is_not_kept(op: dict[str, Any], more: dict[str, Any]) -> None:
    """Superfluous members of an operation are passed over, and the body is the one that the plain patch has."""
    bodies = []
    for patch in ({**op, "path": "/a"}, {**more, **op, "path": "/a"}):
        with Store.create("memory:", {"a": 1, "b": 3}) as kb:
            kb.commit(patch=[patch])
            bodies.append(dict(kb.line.bodies([2]))[2])
            assert kb.verify().ok
    assert bodies[0] == bodies[1]
