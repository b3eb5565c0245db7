"""Cases of tags, branches and settings that two stores change: compared by events, never settled silently."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from kbstore import ConflictError, Store
from kbstore.history.branch import REFS_LOG
from kbstore.history.refs import RefEvent, decode_ref
from kbstore.sync.remote import replicate


class Pair(NamedTuple):
    """Two stores with the same four versions."""

    a: Store
    b: Store

    def both(self) -> None:
        """Bring each up to date with the other."""
        replicate(self.a, self.b)
        replicate(self.b, self.a)

    def tagged(self, name: str) -> tuple[int, int]:
        """What a tag names in each."""
        return self.a.version(name).seq, self.b.version(name).seq


def refs(kb: Store) -> list[RefEvent]:
    """The changes of tags and branches."""
    return [decode_ref(record.header, record.number) for record in kb.backend.read(REFS_LOG)]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Two stores whose logs of tags parted long ago: each tagged something of its own."""
    with (
        Store.create(tmp_path / "a.db", {"n": 1}, author="a") as a,
        Store.create(tmp_path / "b.db", author="b") as b,
    ):
        for n in (2, 3, 4):
            a.commit({"n": n})
        replicate(a, b)
        a.tag("of-a", "v1")
        b.tag("of-b", "v1")
        pair = Pair(a, b)
        pair.both()
        yield pair


def test_a_tag_moved_on_both_sides_is_a_conflict(pair: Pair) -> None:
    """One side moves it there and back, the other away: both changed it since the event that both have."""
    pair.a.tag("stable", "v1")
    pair.both()
    pair.a.tag("stable", "v2", force=True)
    pair.b.tag("stable", "v3", force=True)
    pair.b.tag("stable", "v1", force=True)
    for one, other in (pair, (pair.b, pair.a)):
        with pytest.raises(ConflictError, match="stable"):
            replicate(one, other)
    assert pair.tagged("stable") == (2, 1)


def test_a_tag_that_one_side_set_to_what_the_other_once_had_is_a_conflict(pair: Pair) -> None:
    """That both once named the same version by accident does not make one of them the older."""
    pair.a.tag("best", "v2")
    pair.b.tag("best", "v1")
    pair.b.tag("best", "v2", force=True)
    pair.b.tag("best", "v3", force=True)
    for one, other in (pair, (pair.b, pair.a)):
        with pytest.raises(ConflictError, match="best"):
            replicate(one, other)
    assert pair.tagged("best") == (2, 3)


def test_a_tag_moved_on_one_side_follows_there_and_back(pair: Pair) -> None:
    """What only one side changed since is taken, also if it was set again to what it was before."""
    pair.a.tag("stable", "v1")
    pair.both()
    for n in (2, 1, 3):
        pair.a.tag("stable", f"v{n}", force=True)
        pair.both()
        assert pair.tagged("stable") == (n, n)
    pair.b.tag("stable", "v4", force=True)
    pair.b.tag("stable", "v3", force=True)
    pair.both()
    pair.a.tag("stable", "v2", force=True)
    pair.both()
    assert pair.tagged("stable") == (2, 2)
    pair.b.untag("stable")
    pair.both()
    assert "stable" not in pair.a.tags()
    assert (pair.a.verify().problems, pair.b.verify().problems) == ([], [])


def test_an_event_made_anew_keeps_the_id_of_the_original(pair: Pair, tmp_path: Path) -> None:
    """From store to store it is one event: a third one that has it from either side takes it from the other once."""
    pair.a.tag("stable", "v2")
    replicate(pair.a, pair.b)
    (first,) = [record for record in pair.a.backend.read(REFS_LOG) if decode_ref(record.header, 0).name == "stable"]
    (again,) = [event for event in refs(pair.b) if event.name == "stable"]
    with Store.create(tmp_path / "c.db", author="c") as c:
        replicate(pair.b, c)
        assert replicate(pair.a, c).refs == 0
        pair.a.tag("stable", "v3", force=True)
        assert replicate(pair.a, c).refs == 1
        replicate(c, pair.b)
        assert pair.tagged("stable") == (3, 3)
        origins = {event.origin for event in refs(c) if event.name == "stable" and event.version == 2}
    assert first.header != again.encode()
    assert origins == {again.origin}


def test_what_both_forced_is_still_seen(pair: Pair) -> None:
    """Each took the other's by force at the same time: they differ, and each has the other's newest event."""
    pair.a.tag("best", "v1")
    pair.b.tag("best", "v2")
    with Store.create("memory:", author="m") as middle:
        replicate(pair.a, middle)
        replicate(pair.b, pair.a, force=True)
        replicate(middle, pair.b, force=True)
    assert pair.tagged("best") == (2, 1)
    with pytest.raises(ConflictError, match="best"):
        replicate(pair.a, pair.b)
    replicate(pair.a, pair.b, force=True)
    assert pair.tagged("best") == (2, 2)
    assert replicate(pair.b, pair.a).refs == 0


def test_settings_are_compared_alike(pair: Pair) -> None:
    """A setting that both changed is a conflict, and one that a tag or branch shares its name with is another thing."""
    pair.a.set("collection", ("/n",))
    pair.both()
    pair.a.set("collection", ("/a",))
    pair.b.set("collection", ("/b",))
    pair.b.set("collection", ("/n",))
    with pytest.raises(ConflictError, match="collection"):
        replicate(pair.a, pair.b)
    pair.a.set("collection", ("/n",))
    pair.both()
    pair.a.create_branch("collection", "v2")
    pair.both()
    assert pair.b.settings() == {"collection": ("/n",)}
    assert pair.b.branches() == ["collection", "main"]
    with Store.create("memory:") as copy:
        replicate(pair.b, copy)
        assert copy.settings() == {"collection": ("/n",)}


def test_a_branch_name_started_twice_blocks_only_itself(pair: Pair) -> None:
    """Case 27: at two versions, at one with other versions on it, or beside a tag: the rest goes through."""
    for kb, at in ((pair.a, "v1"), (pair.b, "v2")):
        kb.create_branch("x", at)
        kb.create_branch("y", "v3")
        with Store.open(kb.location, branch="y", author=at) as branch:
            branch.commit(patch=[{"op": "replace", "path": "/n", "value": at}])
    pair.a.create_branch("z", "v1")
    pair.b.tag("z", "v2")
    pair.a.create_branch("below", "x")
    pair.a.tag("good", "v2")
    pair.a.commit({"n": 5})
    done = replicate(pair.a, pair.b)
    assert (done.versions, done.refs, done.left_out) == (1, 1, ("below", "x", "y", "z"))
    assert replicate(pair.b, pair.a).left_out == ("x", "y", "z")
    assert pair.tagged("good") == (2, 2)
    assert pair.b.head().id == pair.a.head().id
    for kb, at in ((pair.a, "v1"), (pair.b, "v2")):
        assert Store(kb.backend, branch="x").head().name.startswith(at)
        assert Store(kb.backend, branch="y").checkout() == {"n": at}
        assert kb.verify().problems == []


def test_a_branch_that_both_have_and_that_diverged_is_a_conflict(pair: Pair) -> None:
    """Both went on with the same branch: nothing is copied, as on the main one."""
    pair.a.create_branch("x", "v1")
    pair.both()
    for kb in pair:
        with Store.open(kb.location, branch="x", author="x") as branch:
            branch.commit(patch=[{"op": "replace", "path": "/n", "value": kb.location}])
    with pytest.raises(ConflictError, match="diverged on branch x"):
        replicate(pair.a, pair.b)
