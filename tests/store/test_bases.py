"""What a commit is based on where it names no base: no document takes back what its author never saw."""

import copy
import json
import os
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from kbstore import Change, ConflictError, KBStoreError, OutcomeUnknown, RevisionError, Store, StoreUnavailable
from kbstore.backends import create_backend
from tests.store.support import Interrupted, replacing


def in_a_thread(work: Callable[[], Any]) -> Any:
    """What this gives in a thread of its own; what it raises is raised."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(work).result()


@pytest.fixture
def kb() -> Any:
    """A store with three places."""
    with Store.create("memory:", {"a": 0, "b": 0, "log": []}) as found:
        yield found


def test_a_shared_store_reverts_nobody(location: str) -> None:
    """Of two documents that were checked out at one version, the second keeps what the first one brought."""
    with Store.create(location, {"a": 0, "b": 0}) as kb:
        first, second = kb.checkout(), kb.checkout()
        first["a"] = 1
        kb.commit(first)
        assert kb.commit(second).created is False
        assert kb.checkout() == {"a": 1, "b": 0}
        second["b"] = 2
        assert kb.commit(second).seq == 3
        assert kb.checkout() == {"a": 1, "b": 2}
        second["a"] = 5  # it still has the 0 that it was checked out with
        with pytest.raises(ConflictError) as refused:
            kb.commit(second)
        assert refused.value.pointers == [("/a", 5, 1)]
        assert kb.checkout() == {"a": 1, "b": 2}


@pytest.mark.parametrize("document", [{"a": [1], "b": 0}, [[1], 0]], ids=["object", "array"])
def test_a_document_remembers_what_it_committed(document: Any) -> None:
    """Commit after commit of one document changes what was changed in it since, and nothing else."""
    with Store.create("memory:", document) as kb:
        mine = kb.checkout()
        place = "a" if isinstance(mine, dict) else 0
        for n in range(2, 5):
            mine[place].append(n)
            assert kb.commit(mine).patch == [{"op": "add", "path": f"/{place}/{n - 1}", "value": n}]
        assert kb.checkout() == mine
        assert kb.checkout()[place] == [1, 2, 3, 4]


def test_what_came_in_beside_a_commit_is_not_taken_back_by_the_next(kb: Store) -> None:
    """A document that was carried over others' changes does not have them; that is no change of its author's."""
    mine = kb.checkout()
    Store(kb.backend).commit(patch=replacing("/b", 7))
    for n in range(1, 4):
        mine["a"] = n
        kb.commit(mine)
        assert kb.checkout() == {"a": n, "b": 7, "log": []}
        assert mine == {"a": n, "b": 0, "log": []}
    with pytest.raises(ConflictError):
        kb.commit(mine | {"b": 1}, base="v2")
    mine["b"] = 1
    with pytest.raises(ConflictError) as refused:
        kb.commit(mine)
    assert refused.value.pointers == [("/b", 1, 7)]
    mine["b"], mine["a"] = 0, 9
    with pytest.raises(ConflictError):
        kb.commit(mine, rebase=False)
    kb.commit(mine)
    assert kb.checkout() == {"a": 9, "b": 7, "log": []}
    assert kb.verify().ok


@pytest.mark.parametrize("plain", [False, True], ids=["checked out", "plain"])
@pytest.mark.parametrize("shared", [False, True], ids=["handles", "one handle"])
@pytest.mark.parametrize("seed", range(3))
def test_a_commit_changes_what_its_author_changed(seed: int, shared: bool, plain: bool) -> None:
    """Writers in threads of their own, in any order: each commit is its author's change, or a conflict about it."""
    rng = random.Random(seed)
    names = [f"k{n}" for n in range(6)]
    kb = Store.create("memory:", dict.fromkeys(names, 0))
    handles = [kb if shared else Store(kb.backend) for _ in range(3)]
    threads = [ThreadPoolExecutor(1) for _ in handles]
    looked = [thread.submit(handle.checkout).result() for thread, handle in zip(threads, handles, strict=True)]
    documents = [json.loads(json.dumps(d)) if plain else d for d in looked]
    known = [dict(document) for document in documents]
    landed = conflicts = 0
    for value in range(1, 150):
        who = rng.randrange(3)
        document = documents[who]
        for name in rng.sample(names, rng.randint(0, 2)):
            document[name] = value
        changed = {name for name in names if document[name] != known[who][name]}
        before = dict(kb.checkout())
        meeting = {name for name in changed if before[name] != known[who][name]}
        fault = threads[who].submit(handles[who].commit, document).exception()
        if fault is not None:
            conflicts += 1
            assert isinstance(fault, ConflictError)
            told = {pointer.removeprefix("/") for pointer, _, _ in fault.pointers}
            assert told == meeting if shared else told and told <= meeting  # another handle may know an older head
            assert kb.checkout() == before
            looked[who] = threads[who].submit(handles[who].checkout).result()
            documents[who] = json.loads(json.dumps(looked[who])) if plain else looked[who]
        else:
            landed += 1
            assert not meeting
            assert kb.checkout() == before | {name: document[name] for name in changed}
        known[who] = dict(documents[who])
    for thread in threads:
        thread.shutdown()
    assert landed > 30
    assert conflicts > 10
    assert kb.verify().ok


@pytest.mark.parametrize("plain", [False, True], ids=["checked out", "plain"])
def test_threads_with_whole_documents_lose_nothing(location: str, plain: bool) -> None:
    """Six threads add one each to a document that all looked at before: as many are added as were not refused."""
    with Store.create(location, {"n": 0, "by": {}}) as kb:
        start = threading.Barrier(6)
        refused: list[ConflictError] = []

        def add(name: int) -> None:
            document = kb.checkout()
            if plain:
                document = json.loads(json.dumps(document))
            start.wait()
            document["n"] += 1
            document["by"][f"t{name}"] = True
            try:
                kb.commit(document)
            except ConflictError as fault:
                refused.append(fault)

        with ThreadPoolExecutor(6) as threads:
            list(threads.map(add, range(6)))
        found = kb.checkout()
        assert found["n"] == len(found["by"]) == 6 - len(refused)
        assert found["n"] >= 1


def test_copies_are_based_on_what_they_were_copied_from(kb: Store) -> None:
    """A copy remembers the version, also after its original has gone on."""
    mine = kb.checkout()
    twins = [copy.copy(mine), copy.deepcopy(mine), mine.copy()]
    mine["a"] = 1
    kb.commit(mine)
    for twin in twins:
        assert kb.commit(twin).created is False
        twin["a"] = 2
        with pytest.raises(ConflictError):
            kb.commit(twin)
    assert kb.checkout()["a"] == 1


def test_an_old_version_that_was_checked_out_is_no_change(kb: Store) -> None:
    """It is compared with itself; what goes back is `restore`, or the document with another base."""
    kb.commit(patch=replacing("/a", 1))
    old = kb.checkout("v1")
    assert kb.commit(old).created is False
    assert kb.checkout()["a"] == 1
    assert kb.commit(old, base="HEAD").created
    assert kb.checkout()["a"] == 0
    old["a"] = 5
    assert kb.commit(old).seq == 4


def test_the_whole_document_by_get_remembers_too(kb: Store) -> None:
    """get("") is a checkout; a value within is plain."""
    mine = kb.get("")
    kb.commit(patch=replacing("/a", 1))
    assert kb.commit(mine).created is False
    assert type(kb.get("/log")) is list


def test_a_commit_that_changes_nothing_looks_at_nothing(kb: Store) -> None:
    """Afterwards a document is as old as it was, and so is what its thread has seen."""
    for plain in (False, True):
        mine: Any = kb.checkout()
        if plain:
            mine = dict(mine)
        other = Store(kb.backend)
        other.commit(patch=replacing("/a", int(plain) + 1), base="HEAD")
        assert kb.commit(mine).created is False
        mine["a"] = 9
        with pytest.raises(ConflictError):
            kb.commit(mine)


# ---- documents without memory ----------------------------------------------------------------------------------------


def test_a_loop_of_plain_documents_goes_on(kb: Store) -> None:
    """What a thread committed itself is what its next document is compared with."""
    document: dict[str, Any] = {"a": 0, "b": 0, "log": []}
    for n in range(4):
        document["log"].append(n)
        assert len(kb.commit(document).patch) == 1
    assert kb.checkout()["log"] == [0, 1, 2, 3]


def test_a_thread_starts_from_where_the_store_was_opened(location: str) -> None:
    """A thread that has seen nothing does not take back what others committed since; nor does its second commit."""
    with Store.create(location, {"a": 0, "b": 0, "c": 0}) as kb:
        kb.commit({"a": 1, "b": 0, "c": 0})

        def work() -> None:
            kb.commit({"a": 0, "b": 2, "c": 0})
            assert kb.get("") == {"a": 1, "b": 2, "c": 0}

        in_a_thread(work)

        def again() -> None:
            kb.commit({"a": 0, "b": 0, "c": 3})
            kb.commit({"a": 0, "b": 0, "c": 4})
            with pytest.raises(ConflictError):
                kb.commit({"a": 9, "b": 0, "c": 4})

        in_a_thread(again)
        assert kb.checkout() == {"a": 1, "b": 2, "c": 4}


def test_a_store_that_was_just_made_is_open_with_its_first_version() -> None:
    """Threads of whoever made it are based on the document that it was made with."""
    kb = Store.create("memory:", {"a": 0})
    in_a_thread(lambda: kb.commit({"a": 1}))
    assert kb.checkout() == {"a": 1}
    kb = Store.create("memory:")
    in_a_thread(lambda: kb.commit({"a": 1}))
    with pytest.raises(ConflictError):
        kb.commit({"b": 1})
    assert kb.checkout() == {"a": 1}


def test_what_a_thread_has_seen_ends_with_it(kb: Store) -> None:
    """A later thread, whose number the system may have used before, begins from where the store was opened."""
    kb.commit(patch=replacing("/a", 1))
    for _ in range(20):
        in_a_thread(kb.head)
        in_a_thread(lambda: kb.commit({"a": 0, "b": 0, "log": []}))
    assert kb.checkout()["a"] == 1


def test_a_patch_is_no_look_at_what_others_wrote(kb: Store) -> None:
    """It may land on others' changes; a plain document of the same thread still keeps them."""
    kb.commit({"a": 0, "b": 1, "log": []})
    kb.commit(patch=replacing("/b", 2))
    kb.commit({"a": 0, "b": 3, "log": []})  # nobody came between
    Store(kb.backend).commit(patch=replacing("/a", 7))
    kb.commit(patch=[{"op": "add", "path": "/log/-", "value": 1}])
    with pytest.raises(ConflictError):
        kb.commit({"a": 0, "b": 4, "log": [1]})
    kb.commit({"a": 0, "b": 4, "log": []})
    assert kb.checkout() == {"a": 7, "b": 4, "log": [1]}


def test_a_patch_does_not_wait_for_the_opening() -> None:
    """Where it is not known at which version a store was opened, a patch lands; a plain document says why not."""

    class Unlooked(Interrupted):
        def look(self, log: str) -> Callable[[], Any]:
            def fail() -> Any:
                raise StoreUnavailable("the network is down")

            return fail

    backend = create_backend("memory:")
    Store(backend).commit({"n": 0})
    kb = Store(Unlooked(backend, []))
    assert kb.commit(patch=replacing("/n", 1)).seq == 2
    with pytest.raises(StoreUnavailable):
        kb.commit({"n": 2})
    kb.head()
    assert kb.commit({"n": 2}).seq == 3


@pytest.mark.parametrize("came_between", [False, True])
def test_patches_that_follow_each_other_are_seen(kb: Store, came_between: bool) -> None:
    """A thread that began with patches of its own has seen what they led to, up to where somebody else came in."""
    mine = Store(kb.backend)
    mine.commit(patch=replacing("/a", 1))
    mine.commit(patch=replacing("/a", 2))
    if came_between:
        kb.commit(patch=replacing("/b", 5))
        mine.commit(patch=replacing("/log", [1]))
        mine.commit({"a": 3, "b": 0, "log": []})
        assert kb.checkout() == {"a": 3, "b": 5, "log": [1]}
    else:
        mine.commit({"a": 3, "b": 0, "log": []})
        assert kb.checkout() == {"a": 3, "b": 0, "log": []}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_has_seen_what_its_parents_thread_had(location: str) -> None:
    """In a child a document remembers, and a plain one is based on what was seen before, or on the opening."""
    with Store.create(location, {"a": 0, "b": 0, "c": 0}) as made:
        mine = made.checkout()
        with Store.open(location) as kb:
            made.commit(patch=replacing("/b", 1))
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                told = "nothing"
                try:
                    kb.commit({"a": 0, "b": 0, "c": 3})  # by a thread that has seen nothing since the store was opened
                    mine["a"] = 2
                    kb.commit(mine)
                    told = json.dumps(kb.checkout(), sort_keys=True)
                except BaseException as fault:  # noqa: BLE001 - told to the parent
                    told = repr(fault)
                finally:
                    os.write(writing, told.encode())
                    os._exit(0)
            os.close(writing)
            with os.fdopen(reading) as answers:
                assert json.loads(answers.read()) == {"a": 2, "b": 1, "c": 3}
            os.waitpid(child, 0)


# ---- other bases -----------------------------------------------------------------------------------------------------


def test_a_named_base_goes_before_what_a_document_remembers(kb: Store) -> None:
    """`base=` says otherwise, and the document remembers the new version afterwards."""
    mine = kb.checkout()
    kb.commit(patch=replacing("/b", 1))
    mine["a"] = 1
    assert kb.commit(mine, base="HEAD").seq == 3
    assert kb.checkout() == {"a": 1, "b": 0, "log": []}
    mine["a"] = 2
    assert kb.commit(mine).patch == replacing("/a", 2)


def test_a_base_that_is_not_in_this_store_is_refused(kb: Store) -> None:
    """A document or a version of another store is nothing to compare with here; the error says how to go on."""
    other = Store.create("memory:", {"a": 0, "b": 5, "log": []}, author="somebody else")
    mine = other.checkout()
    for commit in (lambda: kb.commit(mine), lambda: kb.commit({"a": 1}, base=other.head())):
        with pytest.raises(RevisionError, match=r"v1 .* is not a version of 'main'") as refused:
            commit()
        assert "base='HEAD'" in str(refused.value.hint)
    assert kb.commit(mine, base="HEAD").seq == 2
    assert kb.checkout() == mine
    empty = Store.create("memory:")
    with pytest.raises(RevisionError):
        empty.commit(other.checkout())
    assert empty.commit(dict(other.checkout())).seq == 1


def test_branches_share_the_versions_before_they_parted(kb: Store) -> None:
    """A document of the other branch is based on the version that both have; a later one has none here."""
    kb.create_branch("draft")
    early = kb.checkout()
    kb.commit(patch=replacing("/a", 1))
    late = kb.checkout()
    draft = Store(kb.backend, branch="draft")
    draft.commit(patch=replacing("/a", 2))
    early["b"] = late["b"] = 1
    draft.commit(early)
    assert draft.checkout() == {"a": 2, "b": 1, "log": []}
    with pytest.raises(RevisionError, match="'draft'"):
        draft.commit(late)
    with pytest.raises(RevisionError, match="'draft'"):
        draft.commit({"a": 9}, base="main")


def test_several_documents_have_one_base(kb: Store) -> None:
    """Those of one commit_many stand on each other; each then remembers its own version."""
    first, second = kb.checkout(), kb.checkout()
    Store(kb.backend).commit(patch=replacing("/b", 7))
    first["a"] = 1
    second["a"], second["log"] = 1, ["x"]
    kb.commit_many([Change(first), Change(second), {"patch": replacing("/log/0", "y")}])
    assert kb.checkout() == {"a": 1, "b": 7, "log": ["y"]}
    second["a"] = 2
    kb.commit(second)
    assert kb.checkout() == {"a": 2, "b": 7, "log": ["y"]}
    first["a"] = 9
    with pytest.raises(ConflictError):
        kb.commit(first)
    third = kb.checkout()
    with pytest.raises(ConflictError, match="several versions") as refused:
        kb.commit_many([Change(kb.checkout("v2")), Change(third)])
    assert refused.value.hint
    third["a"] = 3
    kb.commit_many([Change(kb.checkout("v2")), Change(third)], base="HEAD")
    assert kb.checkout() == third


@pytest.mark.parametrize("outcome", ["lost", "unanswered"])
def test_a_document_remembers_a_write_whose_outcome_was_unknown(outcome: str) -> None:
    """Repeated with the write id, it remembers the version that landed."""
    backend = create_backend("memory:")
    Store(backend).commit({"n": [0]})
    kb = Store(Interrupted(backend, [outcome]))
    mine = kb.checkout()
    mine["n"].append(1)
    with pytest.raises(OutcomeUnknown) as unknown:
        kb.commit(mine)
    assert kb.commit(mine, write_id=unknown.value.write_id).seq == 2
    mine["n"].append(2)
    assert kb.commit(mine).patch == [{"op": "add", "path": "/n/2", "value": 2}]
    assert kb.checkout() == {"n": [0, 1, 2]}


# ---- patches ---------------------------------------------------------------------------------------------------------


def test_a_patch_lands_on_what_is_newest(location: str) -> None:
    """An old look is no base: a patch that names none is applied to the head, and never conflicts."""
    append = [{"op": "add", "path": "/log/-", "value": 1}]
    with Store.create(location, {"log": []}) as kb, Store.open(location) as other:
        kb.head()
        other.commit(patch=append)
        assert kb.commit(patch=append).seq == 3
        with pytest.raises(ConflictError):
            kb.commit(patch=append, base="v1")
        other.commit(patch=append)
        assert kb.commit(patch=append, rebase=False).seq == 5
        assert kb.checkout() == {"log": [1, 1, 1, 1]}


# ---- edit and retry --------------------------------------------------------------------------------------------------


def test_a_commit_within_an_edit_is_not_made_twice(kb: Store) -> None:
    """What was committed in the block is the base of what is committed at its end."""
    with kb.edit() as doc:
        doc["log"].append(1)
        kb.commit(doc)
        doc["log"].append(2)
    assert kb.checkout()["log"] == [1, 2]
    assert kb.head().seq == 3


def test_retry_begins_anew_after_a_conflict(kb: Store) -> None:
    """The function sees the newest document each time, and what it did to an older one is gone."""
    other = Store(kb.backend)
    seen: list[int] = []

    def add(document: Any) -> None:
        seen.append(document["a"])
        document["a"] += 1
        document["log"].append(len(seen))
        if len(seen) < 3:
            other.commit(patch=replacing("/a", 10 * len(seen)), base="HEAD")

    version = kb.retry(add, message="one more", author="ann", tags=["counted"])
    assert seen == [0, 10, 20]
    assert (version.seq, version.message, version.author, version.tags) == (4, "one more", "ann", ("counted",))
    assert kb.checkout() == {"a": 21, "b": 0, "log": [3]}


def test_retry_ends(kb: Store) -> None:
    """After so many attempts with the conflict of the last; at once with whatever else is raised."""
    other = Store(kb.backend)
    calls = 0

    def meet(document: Any) -> None:
        nonlocal calls
        calls += 1
        document["a"] = -calls
        other.commit(patch=replacing("/a", calls), base="HEAD")

    with pytest.raises(ConflictError) as refused:
        kb.retry(meet, attempts=3)
    assert refused.value.pointers == [("/a", -3, 3)]
    assert calls == 3

    def fail(document: Any) -> None:
        nonlocal calls
        calls += 1
        document["a"] = "half done"
        raise LookupError("no such article")

    with pytest.raises(LookupError, match="no such article"):
        kb.retry(fail)
    assert calls == 4
    assert kb.checkout()["a"] == 3
    with pytest.raises(KBStoreError, match="at least 1"):
        kb.retry(fail, attempts=0)
    assert calls == 4


def test_retry_takes_changes_in_place_only(kb: Store) -> None:
    """What a function returns is never taken for the document: one that returns something else is refused."""
    assert kb.retry(lambda document: document["log"].append(1)).created
    kb.commit({"a": 0, "b": 0, "log": [1], "gone": {"x": 1}})
    for change in (lambda document: document.pop("gone"), lambda document: {**document, "a": 1}):
        with pytest.raises(KBStoreError, match="returned a value of type dict") as refused:
            kb.retry(change)
        assert "in place" in str(refused.value.hint)
    assert kb.checkout() == {"a": 0, "b": 0, "log": [1], "gone": {"x": 1}}

    def changed(document: Any) -> Any:
        document["a"] = 5
        return document

    assert kb.retry(changed).created
    assert kb.retry(lambda document: None).created is False


def test_retry_begins_an_empty_store() -> None:
    """Where there is no document yet, the function gets an empty object; of two that begin, the second goes on."""
    kb = Store.create("memory:")
    begun = False

    def begin(document: Any) -> None:
        nonlocal begun
        if not begun:
            begun = True
            assert document == {}
            Store(kb.backend).commit({"theirs": 1})
        document["mine"] = 1

    kb.retry(begin)
    assert kb.checkout() == {"theirs": 1, "mine": 1}


def test_retries_of_many_threads_all_land(location: str) -> None:
    """Increments of one counter by threads on two handles: none is lost, none is refused."""
    with Store.create(location, {"n": 0}) as kb, Store.open(location) as other:

        def add(document: Any) -> None:
            document["n"] += 1

        def work(handle: Store) -> None:
            for _ in range(5):
                handle.retry(add, attempts=100)

        with ThreadPoolExecutor(6) as threads:
            list(threads.map(work, [kb, other] * 3))
        assert kb.checkout() == {"n": 30}
        assert kb.head().seq == 31


@pytest.mark.parametrize("document", [{"days": {}}, {"days": []}], ids=["object", "array"])
def test_a_counter_that_two_begin_counts_both(document: Any) -> None:
    """Both find no counter and begin one at 1: the second one begins anew, and finds it."""
    with Store.create("memory:", document) as kb:
        other = Store(kb.backend)

        def count(found: Any) -> None:
            days = found["days"]
            entries = days.values() if isinstance(days, dict) else days
            entry = next((entry for entry in entries if entry["id"] == "today"), None)
            if entry is not None:
                entry["n"] += 1
            elif isinstance(days, dict):
                days["today"] = {"id": "today", "n": 1}
            else:
                days.append({"id": "today", "n": 1})

        raced = []

        def meet(found: Any) -> None:
            if not raced:
                raced.append(other.retry(count))
            count(found)

        kb.retry(meet)
        days = kb.checkout()["days"]
        assert [entry["n"] for entry in (days.values() if isinstance(days, dict) else days)] == [2]


def test_a_write_id_makes_retry_safe_to_repeat(kb: Store) -> None:
    """The same call with the same id lands once."""

    def add(document: Any) -> None:
        document["a"] += 1

    first = kb.retry(add, write_id="vote 17")
    kb.commit(patch=replacing("/b", 1))
    assert kb.retry(add, write_id="vote 17") == first
    assert kb.checkout()["a"] == 1
