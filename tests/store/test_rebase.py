"""Base and rebase: a change is carried over to what others wrote, or refused by pointer, and lands once."""

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbstore import (
    Change,
    ConflictError,
    KBStoreError,
    OutcomeUnknown,
    PatchError,
    PointerError,
    Store,
    StoreUnavailable,
    apply_patch,
)
from kbstore.backends import create_backend
from kbstore.jsondoc.canonical import MISSING
from tests.doubles.faults import FaultyBackend, Rates
from tests.store.support import Beside, Interrupted, Ticks, articles, exact, replacing

SAME = [{"op": "test", "path": "/s", "value": "s"}]


def beside(kb: Store) -> Store:
    """A second look at the same store, as another process would have."""
    return Store(kb.backend)


def putting(pointer: str, value: Any) -> list[dict[str, Any]]:
    """A patch of one addition."""
    return [{"op": "add", "path": pointer, "value": value}]


@pytest.mark.parametrize("rounds", [2, 150])
@pytest.mark.parametrize("name", ["name", "id"])
def test_what_identifies_elements_is_told_by_the_whole_array(name: str, rounds: int) -> None:
    """In what both changed of a long log its authors differ, but they identify nothing: two entries are two."""
    log = [{name: who, "text": "began"} for who in ("ann", "bob")] * rounds
    ours, theirs = ({name: "ann", "text": text} for text in ("ours", "theirs"))
    with Store.create("memory:", log) as kb:
        kb.commit([*log, theirs])
        beside(kb).commit([*log, ours], base="v1")
        assert kb.checkout() == [*log, theirs, ours]
        with pytest.raises(ConflictError) as refused:
            beside(kb).commit([*log, theirs], base="v1")  # it may be meant once or twice
        assert refused.value.conflicts[0].pointer == f"/{len(log)}"


def test_a_stale_document_keeps_what_others_wrote(location: str) -> None:
    """A document taken at v1 and committed at v4 changes only what its author changed."""
    with Store.create(location, articles(20)) as kb:
        taken = kb.head()
        mine = kb.checkout(taken)
        other = beside(kb)
        other.commit(patch=replacing("/problems/p3/votes", 7))
        other.commit(patch=[{"op": "remove", "path": "/problems/p5"}])
        other.commit(patch=[{"op": "add", "path": "/problems/new", "value": {"title": "new"}}])
        mine["problems"]["p4"]["title"] = "mine"
        v = kb.commit(mine, base=taken, message="stale")
        assert (v.seq, v.patch) == (5, replacing("/problems/p4/title", "mine"))
        now = kb.checkout()
        assert now["problems"]["p4"]["title"] == "mine"
        assert now["problems"]["p3"]["votes"] == 7
        assert "p5" not in now["problems"]
        assert now["problems"]["new"] == {"title": "new"}
        assert kb.verify().ok


def test_the_default_base_is_what_this_store_object_has_seen(location: str) -> None:
    """What others wrote since is kept; what this object was shown may be overwritten."""
    with Store.create(location, {"a": 0, "b": 0}) as kb:
        other = beside(kb)
        document = kb.checkout()
        other.commit(patch=replacing("/b", 1))
        kb.commit({**document, "a": 1})
        assert kb.checkout() == {"a": 1, "b": 1}
        other.commit(patch=replacing("/b", 2), base="HEAD")
        assert kb.checkout() == {"a": 1, "b": 2}
        kb.commit({"a": 1, "b": 0})
        assert kb.checkout() == {"a": 1, "b": 0}


@pytest.mark.parametrize("base", ["v1", 1, "HEAD~2", "start"])
def test_a_base_may_be_any_revision(location: str, base: str | int) -> None:
    """The base of a commit is named as every revision is."""
    with Store.create(location, {"a": 0, "b": 0}) as kb:
        kb.tag("start")
        kb.commit(patch=replacing("/b", 1))
        kb.commit(patch=replacing("/b", 2))
        kb.commit({"a": 1, "b": 0}, base=base)
        assert kb.checkout() == {"a": 1, "b": 2}


def test_a_collision_names_the_place_and_both_values(location: str) -> None:
    """Two writers of one place: the second is refused, told where, and what each of them would have there."""
    with Store.create(location, articles(3)) as kb:
        other = beside(kb)
        mine = kb.checkout()
        other.commit(patch=replacing("/problems/p1/title", "theirs"))
        mine["problems"]["p1"]["title"] = "mine"
        mine["problems"]["p2"]["title"] = "unharmed"
        with pytest.raises(ConflictError) as refused:
            kb.commit(mine)
        assert refused.value.pointers == [("/problems/p1/title", "mine", "theirs")]
        assert "/problems/p1/title" in str(refused.value)
        assert refused.value.hint
        assert kb.version().seq == 2
        assert kb.checkout()["problems"]["p2"]["title"] == "Problem 2"


@pytest.mark.parametrize(
    ("mine", "theirs", "pointer", "my_value", "their_value"),
    [
        (replacing("/o/a", 5), [{"op": "remove", "path": "/o"}], "/o", {"a": 5, "b": 2}, MISSING),
        ([{"op": "remove", "path": "/o"}], replacing("/o/a", 5), "/o", MISSING, {"a": 5, "b": 2}),
        (replacing("/o", {"a": 9}), replacing("/o/a", 5), "/o/a", 9, 5),
        (replacing("/o", {"b": 9}), replacing("/o/a", 5), "/o/a", MISSING, 5),
        ([*replacing("/s", "t"), *replacing("/s", "u")], replacing("/s", "v"), "/s", "u", "v"),
        ([{"op": "add", "path": "/new", "value": 1}], [{"op": "add", "path": "/new", "value": 2}], "/new", 1, 2),
        ([{"op": "test", "path": "/s", "value": "s"}, *replacing("/z", 1)], replacing("/s", "t"), "/s", "s", "t"),
        ([{"op": "copy", "from": "/s", "path": "/copy"}], replacing("/s", "t"), "/s", "s", "t"),
        (replacing("/o", {"a": 1, "b": 2}), replacing("/o/a", 5), "/o", {"a": 1, "b": 2}, {"a": 5, "b": 2}),
        (replacing("/z", 1), replacing("/z", 1), "/z", 1, 1),
        ([{"op": "move", "from": "/s", "path": "/t"}], replacing("/s", "t"), "/s", MISSING, "t"),
        (replacing("", 1), replacing("/s", "t"), "/s", MISSING, "t"),
        (replacing("/s", "t"), replacing("", {"s": 0}), "/s", "t", 0),
        (replacing("/l/2", 9), [{"op": "remove", "path": "/l/0"}], "/l/2", 9, 2),
        ([{"op": "add", "path": "/l/-", "value": 9}], [{"op": "add", "path": "/l/-", "value": 9}], "/l/3", 9, 9),
        ([{"op": "add", "path": "/l/0", "value": 9}], replacing("/l/1", 7), None, None, None),
    ],
)
def test_changes_that_meet_collide(
    location: str, mine: Any, theirs: Any, pointer: str | None, my_value: Any, their_value: Any
) -> None:
    """Both changed one place, or one reads what the other changed, or elements without an id: nothing is committed."""
    with Store.create(location, {"o": {"a": 1, "b": 2}, "s": "s", "l": [0, 1, 2], "z": 0}) as kb:
        beside(kb).commit(patch=theirs)
        with pytest.raises(ConflictError) as refused:
            kb.commit(patch=mine, base="v1")
        if pointer is not None:
            found = {p: (ours, their) for p, ours, their in refused.value.pointers}
            assert found[pointer] == (my_value, their_value)
        assert kb.head().seq == 2


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (replacing("/o/a", 5), replacing("/o/b", 5)),
        ([{"op": "add", "path": "/o/c", "value": 1}], [{"op": "remove", "path": "/o/a"}]),
        (replacing("/l/0", 5), replacing("/l/1", 5)),
        ([{"op": "add", "path": "/l/-", "value": 9}], replacing("/o/a", 5)),
        ([*SAME, *replacing("/z", 1)], [*SAME, *replacing("/o/a", 5)]),
        ([{"op": "copy", "from": "/s", "path": "/x"}], [{"op": "copy", "from": "/s", "path": "/y"}]),
        ([{"op": "add", "path": "/o/10", "value": 1}], [{"op": "add", "path": "/o/11", "value": 1}]),
        (replacing("/ab", 1), replacing("/a", 1)),
    ],
)
def test_changes_that_do_not_meet_are_both_kept(location: str, mine: Any, theirs: Any) -> None:
    """Disjoint changes rebase by themselves: the result is that of both, in whichever order."""
    document = {"o": {"a": 1, "b": 2}, "s": "s", "l": [0, 1, 2], "z": 0, "a": 0, "ab": 0}
    with Store.create(location, document) as kb:
        beside(kb).commit(patch=theirs)
        kb.commit(patch=mine, base="v1")
        assert kb.head().seq == 3
        assert kb.checkout() == apply_patch(apply_patch(document, theirs), mine)
        assert kb.checkout() == apply_patch(apply_patch(document, mine), theirs)


@pytest.mark.parametrize(
    ("mine", "theirs", "together"),
    [
        # The same edit is one; what others read of the old state stays as they wrote it.
        (replacing("/s", "t"), replacing("/s", "t"), {"s": "t"}),
        (replacing("/o", {"a": 1, "b": 5}), replacing("/o/a", 7), {"o": {"a": 7, "b": 5}}),
        (replacing("/s", "t"), [{"op": "copy", "from": "/s", "path": "/copy"}], {"s": "t", "copy": "s"}),
        # Elements without an id: appended by both, or appended by one and edited by the other.
        (putting("/l/-", 9), putting("/l/3", 8), {"l": [0, 1, 2, 8, 9]}),
        (replacing("/l/1", 7), putting("/l/-", 8), {"l": [0, 7, 2, 8]}),
        (putting("/l/3", 8), replacing("/l/1", 7), {"l": [0, 7, 2, 8]}),
        # Elements with one: each wherever it is by now; what both put in stays, theirs next to its neighbour.
        (replacing("/k/1/v", 7), putting("/k/0", {"id": "new"}),
         {"k": [{"id": "new"}, {"id": "a", "v": 1}, {"id": "b", "v": 7}]}),
        ([{"op": "remove", "path": "/k/1"}], [{"op": "move", "from": "/k/1", "path": "/k/0"}],
         {"k": [{"id": "a", "v": 1}]}),
        ([{"op": "test", "path": "/k/1/v", "value": 1}, {"op": "remove", "path": "/k/1"}],
         putting("/k/0", {"id": "new"}), {"k": [{"id": "new"}, {"id": "a", "v": 1}]}),
        (replacing("/k/0/v", 5), replacing("/k", [{"id": "b", "v": 1}, {"id": "a", "v": 1}, {"id": "c", "v": 1}]),
         {"k": [{"id": "b", "v": 1}, {"id": "a", "v": 5}, {"id": "c", "v": 1}]}),
        (putting("/k/-", {"id": "mine"}), putting("/k/-", {"id": "other"}),
         {"k": [{"id": "a", "v": 1}, {"id": "b", "v": 1}, {"id": "other"}, {"id": "mine"}]}),
        (putting("/k/0", {"id": "same"}), putting("/k/0", {"id": "same"}),
         {"k": [{"id": "same"}, {"id": "a", "v": 1}, {"id": "b", "v": 1}]}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [1, 3000])
def test_changes_that_meet_without_a_contradiction_are_both_kept(
    location: str, mine: Any, theirs: Any, together: Any, size: int
) -> None:
    """They are merged by value, in a document that is inline as a whole and in one that is not."""
    elements = [{"id": "a", "v": 1}, {"id": "b", "v": 1}]
    document = {"o": {"a": 1, "b": 2}, "s": "s", "l": [0, 1, 2], "z": 0, "k": elements, "long": "x" * size}
    with Store.create(location, document) as kb:
        beside(kb).commit(patch=theirs)
        version = kb.commit(patch=mine, base="v1")
        assert kb.checkout() == {**document, **together}
        assert version.created is (mine != theirs)
        assert kb.verify().ok


def test_a_conflict_shows_the_element_that_it_speaks_of(location: str) -> None:
    """Both edited one article, which is elsewhere by now: all three values are its own, by its address."""
    a, b = {"id": "a", "v": "1"}, {"id": "b", "v": "1"}
    with Store.create(location, [a, b]) as kb:
        beside(kb).commit([{"id": "new", "v": "0"}, a, {**b, "v": "theirs"}])
        with pytest.raises(ConflictError) as refused:
            kb.commit(patch=replacing("/1/v", "mine"), base="v1")
        (conflict,) = refused.value.conflicts
        assert conflict == ("/[id=b]/v", "both-modified", "1", "mine", "theirs")


@pytest.mark.parametrize(
    ("mine", "theirs", "pointers"),
    [
        # A read of the element, of which the patch itself puts in a second one.
        ([{"op": "test", "path": "/0/v", "value": 1}, *putting("/-", {"id": "a", "v": 7})], replacing("/0/v", 2),
         ["", "/[id=a]/v"]),
        ([{"op": "copy", "from": "/0", "path": "/-"}, *replacing("/2/v", 77)], replacing("/0/v", 2), ["", "/[id=a]"]),
        # They put in a second one: which of the two was read cannot be told.
        ([{"op": "test", "path": "/0/v", "value": 1}, *replacing("/1/v", 5)], putting("/0", {"id": "a", "v": 1}),
         ["/[id=a]/v"]),
        # The whole document is replaced, by one that has the id twice.
        (replacing("", [{"id": "a", "v": 3}, {"id": "a", "v": 4}]), replacing("/0/v", 2), ["/[id=a]/v"]),
    ],
)  # fmt: skip
def test_an_id_that_a_change_doubles_is_a_conflict(
    location: str, mine: list[dict[str, Any]], theirs: list[dict[str, Any]], pointers: list[str]
) -> None:
    """Nothing is committed, the conflict is told as every other one, and `retry` goes on after it."""
    with Store.create(location, [{"id": "a", "v": 1}, {"id": "b", "v": 1}]) as kb:
        other = beside(kb)
        other.commit(patch=theirs)
        with pytest.raises(ConflictError) as refused:
            kb.commit(patch=mine, base="v1")
        assert [pointer for pointer, _, _ in refused.value.pointers] == pointers
        assert kb.head().seq == 2


def test_retry_goes_on_after_an_id_was_doubled(location: str) -> None:
    """The whole document, as an editor would write it: the second attempt lands."""
    with Store.create(location, [{"id": "a", "v": 1}]) as kb:
        other = beside(kb)

        def double(document: Any) -> None:
            if kb.head().seq == 1:
                other.commit(patch=replacing("/0/v", "x"), base="HEAD")
            document[:] = [{"id": "a", "v": "new"}, {"id": "a", "w": document[0]["v"]}]

        kb.retry(double)
        assert kb.checkout() == [{"id": "a", "v": "new"}, {"id": "a", "w": "x"}]


def test_without_rebase_the_base_is_compared_and_set(location: str) -> None:
    """rebase=False refuses any newer head, however far apart the changes are, and lands on the base itself."""
    with Store.create(location, {"a": 0, "b": 0}) as kb:
        beside(kb).commit(patch=replacing("/b", 1))
        with pytest.raises(ConflictError):
            kb.commit(patch=replacing("/a", 1), base="v1", rebase=False)
        assert kb.head().seq == 2
        assert kb.commit(patch=replacing("/a", 1), base="v2", rebase=False).seq == 3
        beside(kb).commit(patch=replacing("/b", 2))
        with pytest.raises(ConflictError):
            kb.commit({"a": 5, "b": 1}, rebase=False)
        assert kb.checkout() == {"a": 1, "b": 2}


def test_edit_is_based_on_what_it_read(location: str) -> None:
    """What others write within an edit's block is kept, or collides."""
    with Store.create(location, {"a": 0, "b": 0}) as kb:
        other = beside(kb)
        with kb.edit() as doc:
            other.commit(patch=replacing("/b", 1))
            doc["a"] = 1
        assert kb.checkout() == {"a": 1, "b": 1}
        edit = kb.edit()
        doc = edit.__enter__()
        other.commit(patch=replacing("/a", 5), base="HEAD")
        doc["a"] += 1
        with pytest.raises(ConflictError):
            edit.__exit__(None, None, None)
        assert kb.checkout() == {"a": 5, "b": 1}


def test_restores_do_not_rebase(location: str) -> None:
    """A restore beside another writer is a conflict, since it speaks of the whole document."""
    with Store.create(location, {"a": 0}) as kb:
        kb.commit({"a": 1})
        other = beside(kb)
        other.commit({"a": 2})
        with pytest.raises(ConflictError):
            kb.restore("v1")
        assert kb.checkout() == {"a": 2}
        assert kb.restore("v1").seq == 4


def test_a_rebased_patch_that_no_longer_applies_is_refused(location: str) -> None:
    """A patch is applied to the head that it lands on, and to nothing else."""
    with Store.create(location, {"a": 0}) as kb:
        beside(kb).commit(patch=[{"op": "remove", "path": "/a"}])
        with pytest.raises((ConflictError, PatchError, PointerError)):
            kb.commit(patch=replacing("/a", 1), base="v1")
        assert kb.head().seq == 2


def test_several_changes_rebase_together(location: str) -> None:
    """The changes of one commit_many are carried over as one, or refused as one."""
    with Store.create(location, {"a": 0, "b": 0, "c": 0}) as kb:
        other = beside(kb)
        other.commit(patch=replacing("/c", 9))
        versions = kb.commit_many([Change({"a": 1, "b": 0, "c": 0}), Change({"a": 1, "b": 2, "c": 0})], base="v1")
        assert [v.seq for v in versions] == [3, 4]
        assert kb.checkout() == {"a": 1, "b": 2, "c": 9}
        other.commit(patch=replacing("/b", 9), base="HEAD")
        with pytest.raises(ConflictError):
            kb.commit_many([Change(patch=replacing("/a", 5)), Change(patch=replacing("/b", 5))], base="v4")
        assert kb.head().seq == 5


def test_a_lost_race_is_tried_again(location: str) -> None:
    """A writer that finds its slot taken reads what was written there and goes on behind it."""
    with Store.create(location, {"a": 0, "b": 0}) as kb:
        other = beside(kb)
        assert kb.commit(patch=replacing("/a", 1)).seq == 2
        for n in range(1, 6):
            other.commit(patch=replacing("/b", n))
        assert kb.commit(patch=replacing("/a", 2)).seq == 8
        assert kb.checkout() == {"a": 2, "b": 5}
        assert [v.seq for v in kb.log()] == list(range(8, 0, -1))


@pytest.mark.parametrize("outcome", ["lost", "unanswered"])
def test_an_unknown_outcome_is_settled_by_repeating(outcome: str) -> None:
    """Whether or not the write landed, repeating it with the error's write id gives one version, and only one."""
    backend = create_backend("memory:")
    Store(backend).commit({"n": 0})
    meddling = Interrupted(backend, [outcome])
    kb = Store(meddling)
    with pytest.raises(OutcomeUnknown) as unknown:
        kb.commit({"n": 1}, message="once")
    assert meddling.appends == 1
    v = kb.commit({"n": 1}, message="once", write_id=unknown.value.write_id)
    assert (v.seq, v.message) == (2, "once")
    again = Store(backend).commit({"n": 1}, message="once", write_id=unknown.value.write_id)
    assert again == v
    assert kb.checkout() == {"n": 1}
    assert Store(backend).head().seq == 2
    assert kb.commit({"n": 2}).seq == 3
    assert kb.verify().ok


def test_a_write_id_lands_once(location: str) -> None:
    """Repeating a commit with its write id returns the version that it made, however much was written since."""
    with Store.create(location, {"n": 0}) as kb:
        first = kb.commit({"n": 1}, write_id="order-66")
        kb.commit({"n": 2})
        assert kb.commit({"n": 1}, write_id="order-66") == first
        many = kb.commit_many([Change({"n": 3}), Change({"n": 4})], write_id="two")
        assert kb.commit_many([Change({"n": 3}), Change({"n": 4})], write_id="two") == many
        assert kb.head().seq == 5
        assert kb.checkout() == {"n": 4}


def test_a_write_id_that_landed_with_another_change_is_refused(location: str) -> None:
    """It names the version that has it; nothing is written, whatever form the change has."""
    add = [{"op": "add", "path": "/m", "value": 1}]
    with Store.create(location, {"n": 0, "m": 0}, author="ann") as kb:
        made = kb.commit({"n": 1, "m": 0}, message="One\n\nMore", write_id="w")
        mine = kb.checkout()
        mine["n"] = 7
        told = f"write id 'w' landed already as {made.name} ('One' by ann), with other content; nothing was changed"
        for change in (
            {"document": {"n": 2, "m": 0}}, {"document": mine}, {"document": {"n": 2, "m": 0}, "base": "v1"},
            {"patch": add}, {"patch": add, "base": "v1"},
        ):  # fmt: skip
            with pytest.raises(KBStoreError) as refused:
                kb.commit(**change, write_id="w")
            assert (str(refused.value), refused.value.hint[:23]) == (told, "leave the write id out,")
        with pytest.raises(KBStoreError, match="landed already"):
            kb.commit_many([Change(patch=add), Change(patch=add)], write_id="w")
        with pytest.raises(KBStoreError, match="landed already"):
            kb.restore("v1", write_id="w")
        assert kb.head() == made
        assert kb.commit(mine).patch == [{"op": "replace", "path": "/n", "value": 7}]


ROWS = [{"id": "a"}, {"id": "b"}, {"id": "c"}]


def test_a_change_that_was_carried_over_is_known_again(location: str) -> None:
    """Its version holds others' changes too; repeated with its write id, in any form, it is that version."""
    with Store.create(location, {"a": 0, "b": 0, "l": ROWS}) as kb, Store.open(location) as other:
        old, plain, patch = (
            kb.checkout(),
            {"a": 1, "b": 0, "l": ROWS},
            [{"op": "add", "path": "/l/2", "value": {"id": "z"}}],
        )
        old["a"] = 1
        other.commit(patch=[{"op": "replace", "path": "/b", "value": 5}])
        other.commit(patch=[{"op": "add", "path": "/l/0", "value": {"id": "first"}}])
        made = kb.commit(plain, write_id="plain")
        assert (made.seq, kb.checkout(made)) == (4, {"a": 1, "b": 5, "l": [{"id": "first"}, *ROWS]})
        placed = kb.commit(patch=patch, base="v1", write_id="patch")
        assert kb.checkout(placed)["l"][2:4] == [{"id": "b"}, {"id": "z"}]
        other.commit(patch=[{"op": "remove", "path": "/b"}])
        kb.head()
        again = [
            kb.commit(plain, write_id="plain"), kb.commit(plain, base="v1", write_id="plain"),
            kb.commit(plain, base="HEAD", write_id="plain"), kb.commit(old, write_id="plain"),
        ]  # fmt: skip
        assert again == [made] * 4
        assert kb.commit({**kb.checkout(), "a": 1}, write_id="plain") == made  # made anew of what has it already
        assert kb.commit(patch=patch, base="v1", write_id="patch") == placed
        restored = kb.restore("HEAD~1", write_id="back")
        other.commit(patch=[{"op": "replace", "path": "/a", "value": 8}])
        assert kb.restore("HEAD~1", write_id="back") == restored
        with pytest.raises(KBStoreError, match="landed already"):
            kb.restore("v1", write_id="back")
        assert kb.verify().ok


@pytest.mark.parametrize("known", [True, False])
def test_a_write_that_finds_itself_in_its_slot_is_done(known: bool) -> None:
    """Where this very write (a repeated request, a twin with the same id) has taken the slot, it is not made twice."""
    backend = create_backend("memory:")
    Store(backend).commit({"n": 0})
    kb = Store(Interrupted(backend, ["late"]))
    v = kb.commit(patch=[{"op": "add", "path": "/m", "value": 1}], **({"write_id": "mine"} if known else {}))
    assert v.seq == 2
    assert Store(backend).head().seq == 2
    assert kb.commit({"n": 5}).seq == 3


TWINS: dict[str, Any] = {
    "document": lambda kb, n: kb.commit({"n": n, "s": "s"}, write_id="w"),
    "patch": lambda kb, n: kb.commit(patch=replacing("/n", n), write_id="w"),
    "patch with a base": lambda kb, n: kb.commit(patch=replacing("/n", n), base="v3", write_id="w"),
    "restore": lambda kb, n: kb.restore(f"v{n}", write_id="w"),
}


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("form", TWINS)
@pytest.mark.parametrize("place", ["memory", "sqlite", "shared slots"])
def test_a_twin_with_another_change_is_refused(place: str, form: str, n: int, tmp_path: Path) -> None:
    """Of two calls at the same moment with one id, the second is told; the same change is the first one's version."""
    inner = create_backend(str(tmp_path / "kb.db") if place == "sqlite" else "memory:")
    for value in (1, 2, 3):
        Store(inner).commit({"n": value, "s": "s"})
    beside = Beside(inner, lambda: TWINS[form](Store(inner), 1), shares_slots=place == "shared slots")
    if n == 1:
        assert TWINS[form](Store(beside), n).seq == 4
    else:  # to the newest version, n=3 changes nothing
        with pytest.raises(KBStoreError, match="'w' landed already as"):
            TWINS[form](Store(beside), n)
    assert (Store(inner).head().seq, Store(inner).checkout()["n"]) == (4, 1)
    assert Store(inner).commit({"n": 9, "s": "s"}).seq == 5


@pytest.mark.parametrize("write_id", ["x" * 65, "", "\ud800"])
def test_a_write_id_that_cannot_be_kept_is_refused(location: str, write_id: str) -> None:
    """A write id is 1 to 64 characters of text; another is refused before anything is written."""
    with Store.create(location, {"n": 0}) as kb:
        with pytest.raises(KBStoreError, match="a write id is 1 to 64 characters of text"):
            kb.commit({"n": 1}, write_id=write_id)
        assert kb.head().seq == 1


_PLACES = ["/a/x", "/a/y", "/b", "/l/0", "/l/1", "/l/2", "/a", "/l"]
_OPERATIONS = st.one_of(
    st.builds(lambda p, v: {"op": "replace", "path": p, "value": v}, st.sampled_from(_PLACES), st.integers(0, 3)),
    st.builds(
        lambda p, v: {"op": "add", "path": p, "value": v}, st.sampled_from([*_PLACES, "/l/-", "/n"]), st.just([1])
    ),
    st.builds(lambda p: {"op": "remove", "path": p}, st.sampled_from(_PLACES)),
    st.builds(
        lambda op, a, b: {"op": op, "from": a, "path": b},
        st.sampled_from(["copy", "move"]),
        st.sampled_from(_PLACES),
        st.sampled_from([*_PLACES, "/n"]),
    ),
)


@given(st.lists(_OPERATIONS, min_size=1, max_size=3), st.lists(_OPERATIONS, min_size=1, max_size=3))
def test_what_rebases_has_both_changes(mine: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """Each place is as the one who changed it left it; what both changed differently commits nothing."""
    document = {"a": {"x": 0, "y": 0}, "b": 0, "l": [0, 0, 0]}
    try:
        ours, others = apply_patch(document, mine), apply_patch(document, theirs)
    except PatchError:
        return
    kb = Store.create("memory:", document)
    other = Store(kb.backend)
    other.commit(patch=theirs, allow_empty=True)
    try:
        kb.commit(patch=mine, base="v1", allow_empty=True)
    except ConflictError:
        assert kb.version().seq == 2
        return
    _check_both(document, ours, others, kb.checkout())


def _check_both(base: Any, ours: Any, theirs: Any, found: Any) -> None:
    if exact(ours) == exact(base):
        assert exact(found) == exact(theirs)
    elif exact(theirs) == exact(base):
        assert exact(found) == exact(ours)
    elif isinstance(ours, dict) and isinstance(theirs, dict) and isinstance(base, dict):
        for name in {**base, **ours, **theirs}:
            _check_both(*(side.get(name) for side in (base, ours, theirs, found)))
    elif isinstance(ours, list) and isinstance(theirs, list) and isinstance(base, list) and ours != theirs:
        assert exact(found[: len(theirs)]) == exact(theirs) or len(ours) == len(theirs) == len(found)
    else:
        assert exact(ours) == exact(theirs) == exact(found)


def test_what_changes_nothing_on_an_old_head_is_looked_at_on_the_new_one(location: str) -> None:
    """A patch that would change nothing where its author looked collides with what was written there since."""
    with Store.create(location, {"a": 1, "b": 1}) as kb, Store.open(location) as other:
        kb.commit({"a": 1, "b": 2})
        other.commit(patch=replacing("/a", 2))
        with pytest.raises(ConflictError):
            kb.commit(patch=replacing("/a", 1), base="v2")
        with pytest.raises(ConflictError):
            kb.commit({"a": 1, "b": 2}, base="v2", rebase=False)
        again = kb.commit({"a": 1, "b": 2}, base="v2")
        assert (again.created, again.seq) == (False, 3)
        assert kb.checkout() == {"a": 2, "b": 2}


@pytest.mark.parametrize("seed", range(5))
def test_a_caller_that_repeats_what_it_doubts_lands_each_change_once(seed: int) -> None:
    """Answers and requests are lost at random: repeated with the same write id, each commit is there once."""
    backend = FaultyBackend(create_backend("memory:"), random.Random(seed), Rates())
    kb = Store(backend, author="ann", clock=Ticks())
    kb.commit({"n": 0})
    backend.rates = Rates(lost=0.3, vanished=0.3, unavailable=0.05)
    acknowledged = []
    for n in range(1, 41):
        write_id = f"write {n}"
        for _ in range(1000):
            try:
                acknowledged.append(kb.commit(patch=replacing("/n", n), write_id=write_id).id)
                break
            except (OutcomeUnknown, StoreUnavailable):
                continue
    backend.rates = Rates()
    assert [v.id for v in kb.log(newest_first=False)][1:] == acknowledged
    assert [kb.get("/n", at=seq) for seq in range(1, 42)] == list(range(41))
    assert backend.injected["lost"] > 3
    assert backend.injected["vanished"] > 3
    assert kb.verify().ok
