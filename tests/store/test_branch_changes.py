"""Branches that are renamed and removed: events like all others, which every writer and every clone follows."""

import json
from pathlib import Path

import pytest

from kbstore import CorruptStore, RevisionError, Store
from kbstore.history.branch import REFS_LOG
from kbstore.history.refs import decode_ref
from kbstore.sync.jsonl import export_all, import_lines
from kbstore.sync.remote import replicate
from kbstore.verify.salvage import salvage
from tests.store.support import Ticks, replacing


def on(kb: Store, branch: str) -> Store:
    """The same store with a branch of it."""
    return Store(kb.backend, branch=branch, author="x")


@pytest.fixture
def kb() -> Store:
    """Two versions on main; draft has two more, and sub one more than the first of these."""
    kb = Store.create("memory:", {"n": 1}, clock=Ticks(), author="x")
    kb.commit({"n": 2})
    kb.create_branch("draft")
    on(kb, "draft").commit({"n": "d3"})
    on(kb, "draft").create_branch("sub")
    on(kb, "draft").commit({"n": "d4"})
    on(kb, "sub").commit({"n": "s4"})
    on(kb, "draft").tag("of-draft", "v4")
    return kb


def test_a_renamed_branch_goes_on_under_its_new_name(location: str) -> None:
    """Its versions, what was started from it and the tags on it are there; the old name is free, and says where to."""
    with Store.create(location, {"n": 1}) as kb:
        kb.create_branch("draft")
        on(kb, "draft").commit({"n": 2})
        on(kb, "draft").tag("t")
        on(kb, "draft").create_branch("sub")
        kb.rename_branch("draft", "release/2")
        assert kb.branches() == ["main", "release/2", "sub"]
        assert [on(kb, name).commit({"n": name}).seq for name in ("release/2", "sub")] == [3, 3]
        assert (kb.version("t").seq, kb.version("release/2").seq) == (2, 3)
        with pytest.raises(RevisionError, match="'draft'; it is called 'release/2' now") as fault:
            on(kb, "draft")
        assert "--switch release/2" in (fault.value.hint or "")
        kb.create_branch("draft")
        assert (on(kb, "draft").head().seq, on(kb, "sub").head().seq) == (1, 3)
        assert kb.verify().problems == []
        event = decode_ref(*[(r.header, r.number) for r in kb.backend.read(REFS_LOG)][3])
        assert (event.kind, event.name, event.old, event.log, event.version) == (
            "branch",
            "release/2",
            "draft",
            None,
            1,
        )


def test_a_removed_branch_can_be_read_by_its_ids(kb: Store) -> None:
    """What was started from it and the tags on it stay; its name is free, and it can be started again."""
    head = on(kb, "draft").head()
    kb.delete_branch("draft", force=True)
    assert kb.branches() == ["main", "sub"]
    assert [on(kb, "sub").checkout(n)["n"] for n in (2, 3, 4)] == [2, "d3", "s4"]
    assert kb.checkout(head.id)["n"] == kb.checkout(head.id[:12])["n"] == "d4"
    assert (kb.version("of-draft").id, kb.tags()["of-draft"].id) == (head.id, head.id)
    kb.tag("late", head.id)
    with pytest.raises(RevisionError, match="'draft'; it was removed"):
        on(kb, "draft")
    with pytest.raises(RevisionError, match="no branch 'draft'"):
        kb.delete_branch("draft")
    assert kb.verify().problems == []
    kb.create_branch("draft", head.id)
    assert on(kb, "draft").commit({"n": "d5"}).parents == (head.id,)
    kb.delete_branch("draft", force=True)  # its line begins on a removed one
    assert kb.checkout("late") == {"n": "d4"}
    assert (kb.verify().problems, kb.verify().versions) == ([], 6)


def test_what_is_only_on_a_branch_is_removed_by_force_alone(kb: Store) -> None:
    """The main branch and the open one are never removed."""
    with pytest.raises(RevisionError, match="'draft' has 1 version that is on no other branch") as fault:
        kb.delete_branch("draft")
    assert "--force" in (fault.value.hint or "")
    with pytest.raises(RevisionError, match="'sub' has 1 version that is"):
        kb.delete_branch("sub")
    on(kb, "draft").create_branch("later", "v4")
    kb.delete_branch("draft")
    with pytest.raises(RevisionError, match="main branch cannot be removed"):
        kb.delete_branch("main", force=True)
    with pytest.raises(RevisionError, match="'sub' is the one that is open"):
        on(kb, "sub").delete_branch("sub", force=True)
    with pytest.raises(RevisionError, match="main branch cannot be renamed"):
        kb.rename_branch("main", "trunk")
    for name in ("main", "later", "of-draft"):
        with pytest.raises(RevisionError, match="taken"):
            kb.rename_branch("sub", name)
    assert kb.branches() == ["later", "main", "sub"]


def test_a_store_that_has_the_branch_open_follows_the_new_name(kb: Store) -> None:
    """It commits, tags and starts branches, whoever renamed the branch."""
    draft = on(kb, "draft")
    kb.rename_branch("draft", "new")
    draft.commit({"n": 5})
    draft.tag("five")
    draft.create_branch("more")
    assert (kb.version("five").seq, on(kb, "more").head().seq) == (5, 5)
    draft.rename_branch("new", "newer")
    assert draft.branch == "newer"
    assert kb.verify().problems == []


def test_a_change_with_one_write_id_lands_once(kb: Store) -> None:
    """Repeated after an answer was lost, it is found."""
    for _ in range(2):
        kb.rename_branch("sub", "bus", write_id="r1")
    for _ in range(2):
        kb.delete_branch("bus", force=True, write_id="r2")
    assert kb.backend.tail(REFS_LOG).number == 5


def test_clones_follow(kb: Store) -> None:
    """A clone of all, and one from before that is brought up to date, in both ways of copying; and back."""
    plain, with_own = Store.create("memory:plain"), Store.create("memory:own")
    for copy in (plain, with_own):
        replicate(kb, copy)
    with_own.tag("own", "v1")  # so that events are made anew there
    head = on(kb, "draft").commit({"n": "d5"})
    kb.rename_branch("draft", "new")
    on(kb, "new").tag("five")
    kb.delete_branch("sub", force=True)
    kb.create_branch("draft", "v1")
    on(kb, "draft").commit({"n": "again"})
    for copy in (plain, with_own, Store.create("memory:new")):
        done = replicate(kb, copy)
        assert done.left_out == ()
        assert copy.branches() == ["draft", "main", "new"]
        assert (copy.version("five").id, on(copy, "draft").checkout(), copy.version("draft").seq) == (
            head.id,
            {"n": "again"},
            2,
        )
        assert {version.id for version in on(copy, "new").log()} == {version.id for version in on(kb, "new").log()}
        assert copy.verify().problems == []
        assert replicate(kb, copy) == (0, 0, ()) or replicate(kb, copy).versions == 0
    on(with_own, "new").tag("back")
    assert replicate(with_own, kb).left_out == ()
    assert kb.version("back").id == head.id


def test_versions_of_others_are_never_removed_with_a_branch(kb: Store) -> None:
    """A branch that was removed in one store and went on in the other stays there, and is named."""
    copy = Store.create("memory:copy")
    replicate(kb, copy)
    on(copy, "draft").commit({"n": "theirs"})
    kb.delete_branch("draft", force=True)
    kb.tag("more", "v1")
    assert replicate(kb, copy).left_out == ("draft",)
    assert (copy.branches(), copy.version("more").seq) == (["draft", "main", "sub"], 1)
    replicate(copy, kb)  # the versions come, and the branch stays removed
    assert kb.checkout(on(copy, "draft").head().id) == {"n": "theirs"}
    assert kb.branches() == ["main", "sub"]
    assert replicate(kb, copy).left_out == ()
    assert copy.branches() == ["main", "sub"]
    assert kb.verify().problems == copy.verify().problems == []


def test_two_new_names_for_one_branch_block_only_it(kb: Store) -> None:
    """Each store keeps its own, the versions of both go to and fro, and the rest goes through."""
    copy = Store.create("memory:two")
    replicate(kb, copy)
    kb.rename_branch("draft", "here")
    copy.rename_branch("draft", "there")
    on(kb, "here").commit({"n": "d5"})
    kb.tag("more", "v1")
    assert replicate(kb, copy).left_out == ("here",)
    assert (copy.branches(), copy.version("more").seq) == (["main", "sub", "there"], 1)
    assert replicate(copy, kb).left_out == ("there",)
    assert kb.branches() == ["here", "main", "sub"]
    for store in (kb, copy):
        assert store.verify().problems == []


def test_an_export_of_changed_branches_comes_in(kb: Store, tmp_path: Path) -> None:
    """Into a new store, and twice; a salvaged history as well."""
    kb.rename_branch("draft", "new")
    kb.delete_branch("sub", force=True)
    kb.create_branch("draft", "v1")
    on(kb, "draft").commit({"n": "again"})
    salvage(kb, tmp_path / "saved")
    exported = list(export_all(kb))
    assert sorted((tmp_path / "saved" / "events.jsonl").read_bytes().splitlines(keepends=True)) == sorted(exported)
    for lines in (exported, (tmp_path / "saved" / "events.jsonl").read_bytes().splitlines()):
        copy = Store.create("memory:")
        import_lines(copy, lines)
        again = import_lines(copy, lines)
        assert (again.versions, again.refs, again.known) == (0, 0, 6)
        assert list(export_all(copy)) == exported
        assert copy.verify().problems == []


def test_a_lost_start_of_a_branch_leaves_out_its_changes(kb: Store) -> None:
    """A salvaged history whose branch starts at a lost version says so of the new name, too."""
    kb.rename_branch("draft", "new")
    lines = list(export_all(kb))
    lost = json.loads(lines[1])
    lines[1] = json.dumps(lost | {"patch": None}).encode()
    copy = Store.create("memory:")
    done = import_lines(copy, lines)
    assert copy.branches() == ["main"]
    assert any("'new' was left out: the start of 'draft' is lost" in note for note in done.notes)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("draft", {"target": None, "version": 3}),
        ("nobody", {"target": None, "version": 0}),
        ("draft", {"target": None, "version": 0, "log": "b000000000000001"}),
        ("main", {"old": "draft"}),
        ("sub", {"old": "draft"}),
        ("new", {"old": "nobody"}),
        ("new", {"old": "draft", "version": 1}),
        ("new", {"old": "draft", "log": "b000000000000001"}),
        ("new", {"old": "draft", "branch": "sub"}),
    ],
)
def test_a_change_that_no_kbstore_makes_is_refused(kb: Store, name: str, changes: dict[str, object]) -> None:
    """Wherever it comes from; and `verify` names one that is there."""
    import msgspec

    from kbstore.backends.base import Record

    start = decode_ref(next(iter(kb.backend.read(REFS_LOG, 1, 1))).header, 1)
    before = kb.backend.tail(REFS_LOG).number
    (last,) = kb.backend.read(REFS_LOG, before, before)
    from kbstore.history.event import event_id

    fields = {"name": name, "log": None, "seq": before + 1, "parent": event_id(last.header)} | changes
    event = msgspec.structs.replace(start, **fields)
    with pytest.raises((CorruptStore, RevisionError)):
        kb.graft_ref(event.encode())
    kb.backend.append(REFS_LOG, before + 1, [Record(event.encode())], write_id="forged")
    assert Store(kb.backend).branches() == ["draft", "main", "sub"]
    assert len(kb.verify().problems) == 1


def test_main_can_be_told_from_its_shadow() -> None:
    """A version is found by id on whatever branch it is, also from a branch."""
    kb = Store.create("memory:", {"n": 1}, clock=Ticks(), author="x")
    kb.create_branch("dev")
    later = kb.commit(patch=replacing("/n", 2))
    assert on(kb, "dev").version(later.id).id == later.id
    with pytest.raises(RevisionError):
        on(kb, "dev").version("0" * 64)
