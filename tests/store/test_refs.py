"""Tags and branches: names that are given, moved and taken away in a chain of their own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kbstore import KBStoreError, RevisionError, Store
from kbstore.history.branch import REFS_LOG
from kbstore.history.refs import decode_ref
from tests.store.support import Beside, Ticks, articles, replacing


def test_a_tag_names_a_version(location: str) -> None:
    """A tag resolves wherever a revision is taken, from other processes too."""
    with Store.create(location, {"n": 1}) as kb:
        kb.commit({"n": 2})
        assert kb.tag("stable", "v1").seq == 1
        assert kb.tag("release/1.0").seq == 2
        kb.commit({"n": 3})
        assert kb.checkout("stable") == {"n": 1}
        assert kb.version("release/1.0").seq == 2
        assert {name: v.seq for name, v in kb.tags().items()} == {"release/1.0": 2, "stable": 1}
        assert kb.version("release/1.0~1").seq == 1
        assert Store(kb.backend).version("stable").seq == 1
        assert [v.seq for v in kb.log("stable", "release/1.0")] == [2]
        assert kb.restore("stable").seq == 4


def test_moving_a_tag_needs_force(location: str) -> None:
    """A tag that exists is moved only on purpose; setting it where it stands changes nothing."""
    with Store.create(location, {"n": 1}) as kb:
        kb.commit({"n": 2})
        kb.tag("stable", "v1")
        with pytest.raises(RevisionError):
            kb.tag("stable", "v2")
        assert kb.version("stable").seq == 1
        kb.tag("stable", "v1")
        assert kb.backend.tail(REFS_LOG).number == 1
        kb.tag("stable", "v2", force=True)
        assert kb.version("stable").seq == 2
        assert kb.backend.tail(REFS_LOG).number == 2


def test_a_removed_tag_may_be_given_again(location: str) -> None:
    """Removing a tag frees its name; that it was there stays in the chain."""
    with Store.create(location, {"n": 1}) as kb:
        kb.commit({"n": 2})
        kb.tag("stable", "v1")
        kb.untag("stable")
        assert kb.tags() == {}
        with pytest.raises(RevisionError):
            kb.version("stable")
        with pytest.raises(RevisionError):
            kb.untag("stable")
        kb.tag("stable", "v2")
        assert kb.version("stable").seq == 2
        assert kb.backend.tail(REFS_LOG).number == 3
        assert kb.verify().ok


def test_tags_are_chained_and_signed_with_who_and_when(location: str) -> None:
    """Each change of a tag names the one before it by id, and says who made it and when."""
    with Store.create(location, {"n": 1}, clock=Ticks()) as kb:
        kb.tag("a", author="ann")
        kb.tag("b", author="bob")
        kb.untag("a", author="carla")
        events = [decode_ref(r.header, r.number) for r in kb.backend.read(REFS_LOG)]
        assert [(e.kind, e.name, e.author, e.seq) for e in events] == [
            ("tag", "a", "ann", 1),
            ("tag", "b", "bob", 2),
            ("tag", "a", "carla", 3),
        ]
        assert [e.parent is None for e in events] == [True, False, False]
        assert events[2].target is None
        assert events[0].target == kb.head().id
        assert [e.time for e in events] == sorted(e.time for e in events)


def test_nothing_cannot_be_tagged(location: str) -> None:
    """The empty beginning has no event, so no tag and no branch stands on it."""
    with Store.create(location) as kb:
        with pytest.raises(RevisionError):
            kb.tag("start")
        with pytest.raises(RevisionError):
            kb.create_branch("dev")
        with pytest.raises(RevisionError):
            kb.tag("start", "v5")


def test_several_writers_of_tags_all_get_in(location: str) -> None:
    """Tags that are given through several objects form one chain, and a name is given once."""
    with Store.create(location, {"n": 1}) as kb:
        others = [Store(kb.backend) for _ in range(4)]
        for other in others:
            other.tags()
        for n, other in enumerate(others):
            other.tag(f"t{n}")
        others[0].commit({"n": 2})
        with pytest.raises(RevisionError):
            others[0].tag("t3")
        assert sorted(kb.tags()) == ["t0", "t1", "t2", "t3"]
        assert kb.verify().ok


def test_a_branch_goes_on_from_its_fork(location: str) -> None:
    """A branch continues the numbers of the version that it starts at; main and branch do not see each other."""
    with Store.create(location, articles(5), clock=Ticks()) as kb:
        kb.commit(patch=replacing("/title", "two"))
        kb.commit(patch=replacing("/title", "three"))
        kb.create_branch("dev", "v2")
        assert kb.branches() == ["dev", "main"]
        dev = Store(kb.backend, branch="dev", clock=Ticks(prefix=1))
        assert (dev.head().seq, dev.checkout()["title"]) == (2, "two")
        v = dev.commit(patch=replacing("/title", "dev three"))
        assert (v.seq, v.parents) == (3, (kb.version("v2").id,))
        assert kb.head().seq == 3
        assert kb.checkout()["title"] == "three"
        assert dev.checkout("v3")["title"] == "dev three"
        assert dev.checkout("v1")["title"] == "Support"
        assert kb.checkout("dev")["title"] == "dev three"
        assert dev.checkout("main")["title"] == "three"
        assert dev.get("/title", at="main~1") == "two"
        assert [v.seq for v in dev.log()] == [3, 2, 1]
        assert kb.diff("main", "dev").patch == replacing("/title", "dev three")
        assert [op["value"] for op in kb.version("dev").patch] == ["dev three"]
        report = kb.verify()
        assert (report.ok, report.versions) == (True, 4)
        assert dev.verify().head == v.id


def test_a_branch_may_start_from_a_branch(location: str) -> None:
    """Branches of branches keep their whole line, through several forks, also before the last of them."""
    with Store.create(location, {"n": 1}) as kb:
        kb.commit({"n": 2})
        kb.create_branch("a")
        a = Store(kb.backend, branch="a")
        a.commit({"n": "a3"})
        a.commit({"n": "a4"})
        a.create_branch("b", "v3")
        a.create_branch("early", "v1")
        b = Store(kb.backend, branch="b")
        assert b.commit({"n": "b4"}).seq == 4
        assert [b.checkout(n)["n"] for n in (1, 2, 3, 4)] == [1, 2, "a3", "b4"]
        early = Store(kb.backend, branch="early")
        assert early.commit({"n": "e2"}).seq == 2
        assert [early.checkout(n)["n"] for n in (1, 2)] == [1, "e2"]
        assert kb.branches() == ["a", "b", "early", "main"]
        assert [kb.checkout(x)["n"] for x in ("main", "a", "b", "early")] == [2, "a4", "b4", "e2"]
        assert kb.verify().ok


def test_tags_know_their_branch(location: str) -> None:
    """A tag names its version from whichever branch it was given, and is read from whichever branch."""
    with Store.create(location, {"n": 1}) as kb:
        kb.commit({"n": "main2"})
        kb.create_branch("dev", "v1")
        dev = Store(kb.backend, branch="dev")
        dev.commit({"n": "dev2"})
        dev.tag("from-dev")
        kb.tag("from-main", "dev")
        dev.tag("main-from-dev", "main")
        kb.tag("by-version", dev.head())
        for store in (kb, dev):
            assert store.checkout("from-dev") == {"n": "dev2"}
            assert store.checkout("from-main") == {"n": "dev2"}
            assert store.checkout("by-version") == {"n": "dev2"}
            assert store.checkout("main-from-dev") == {"n": "main2"}
            assert {name: v.id for name, v in store.tags().items()} == {
                "by-version": dev.head().id,
                "from-dev": dev.head().id,
                "from-main": dev.head().id,
                "main-from-dev": kb.head().id,
            }
        kb.create_branch("dev-too", "dev")
        assert Store(kb.backend, branch="dev-too").checkout() == {"n": "dev2"}
        kb.create_branch("at-tag", "from-dev")
        assert Store(kb.backend, branch="at-tag").checkout() == {"n": "dev2"}
        assert kb.verify().ok


def test_branch_names_are_taken_once(location: str) -> None:
    """A branch is not started twice, nor under the name of a tag, nor a tag given the name of a branch."""
    with Store.create(location, {"n": 1}) as kb:
        kb.tag("taken")
        kb.create_branch("dev")
        for name in ("taken", "dev", "main"):
            with pytest.raises(RevisionError):
                kb.create_branch(name)
        for name in ("dev", "main"):
            with pytest.raises(RevisionError):
                kb.tag(name, force=True)
        with pytest.raises(RevisionError):
            Store(kb.backend, branch="nobody")


def test_opening_a_branch_that_is_not_there_leaves_no_connection(tmp_path: Path) -> None:
    """A refused open closes what it opened, so the file is free again."""
    Store.create(tmp_path / "kb.db", {"n": 1}).close()
    with pytest.raises(RevisionError):
        Store.open(tmp_path / "kb.db", branch="nobody")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kb.db"]


def test_a_stale_document_rebases_on_a_branch(location: str) -> None:
    """Base and rebase work on a branch as on main, also with a base before the fork."""
    with Store.create(location, {"a": 0, "b": 0, "c": 0}) as kb:
        kb.commit(patch=replacing("/a", 1))
        kb.create_branch("dev")
        dev = Store(kb.backend, branch="dev")
        Store(kb.backend, branch="dev").commit(patch=replacing("/b", 1))
        v = dev.commit({"a": 0, "b": 0, "c": 1}, base="v1")
        assert (v.seq, dev.checkout()) == (4, {"a": 1, "b": 1, "c": 1})
        assert kb.checkout() == {"a": 1, "b": 0, "c": 0}


def test_a_write_id_of_another_change_of_names_is_refused(location: str) -> None:
    """Of the same name too: at another version, taken away or renamed; the same change is found, also of a head."""
    with Store.create(location, {"n": 1}, author="ann") as kb:
        kb.commit({"n": 2})
        kb.tag("here", write_id="t")
        kb.create_branch("one", write_id="b")
        kb.create_branch("two", "v1")
        kb.rename_branch("two", "three", write_id="r")
        kb.commit({"n": 3})
        before = kb.backend.tail(REFS_LOG).number
        assert kb.tag("here", write_id="t").seq == kb.tag("here", "v2", write_id="t").seq == 2
        kb.create_branch("one", write_id="b")
        kb.rename_branch("two", "three", write_id="r")
        for change in (
            lambda: kb.tag("here", "v1", force=True, write_id="t"),
            lambda: kb.tag("here", "v0", force=True, write_id="t"),
            lambda: kb.tag("here", "v3", force=True, write_id="t"),
            lambda: kb.tag("here", kb.head(), force=True, write_id="t"),
            lambda: kb.untag("here", write_id="t"),
            lambda: kb.create_branch("one", "v1", write_id="b"),
            lambda: kb.delete_branch("one", force=True, write_id="b"),
            lambda: kb.rename_branch("one", "three", write_id="r"),
            lambda: kb.create_branch("three", "v1", write_id="r"),
        ):
            with pytest.raises(KBStoreError, match="belongs to another change"):
                change()
        assert kb.backend.tail(REFS_LOG).number == before


NAMES: dict[str, tuple[Callable[[Store], Any], Callable[[Store], Any]]] = {
    "tag": (lambda kb: kb.tag("t", "v1", write_id="w"), lambda kb: kb.tag("t", "v2", force=True, write_id="w")),
    "untag": (lambda kb: kb.untag("old", write_id="w"), lambda kb: kb.tag("u", write_id="w")),
    "branch": (
        lambda kb: kb.create_branch("b", "v1", write_id="w"),
        lambda kb: kb.create_branch("b", "v2", write_id="w"),
    ),
    "rename": (
        lambda kb: kb.rename_branch("one", "new", write_id="w"),
        lambda kb: kb.rename_branch("two", "new", write_id="w"),
    ),
    "setting": (
        lambda kb: kb.set("identity:/l", ["a"], write_id="w"),
        lambda kb: kb.set("identity:/l", ["b"], write_id="w"),
    ),
}


@pytest.mark.parametrize("kind", NAMES)
def test_a_twin_with_another_change_of_names_is_refused(location: str, kind: str) -> None:
    """Of two calls at the same moment with one id, the second is told, and writes nothing."""
    first, second = NAMES[kind]
    with Store.create(location, {"n": 1}, author="ann") as kb:
        kb.commit({"n": 2})
        kb.tag("old")
        kb.create_branch("one")
        kb.create_branch("two")
        before = kb.backend.tail(REFS_LOG).number
        twin = Store(Beside(kb.backend, lambda: first(Store(kb.backend))))
        with pytest.raises(KBStoreError, match="belongs to another change"):
            second(twin)
        assert kb.backend.tail(REFS_LOG).number == before + 1


@pytest.mark.parametrize("kind", ["tag", "branch"])
def test_a_twin_with_the_same_change_of_names_is_the_landed_one(location: str, kind: str) -> None:
    """Of two calls at the same moment with one id and one change, both are told that it landed."""
    first, _ = NAMES[kind]
    with Store.create(location, {"n": 1}, author="ann") as kb:
        kb.commit({"n": 2})
        assert first(Store(Beside(kb.backend, lambda: first(Store(kb.backend))))) in (None, kb.version("v1"))
        assert kb.backend.tail(REFS_LOG).number == 1
