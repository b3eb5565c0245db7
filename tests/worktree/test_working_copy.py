"""A file, its base and its store: only what was changed is committed, and nothing uncommitted is lost."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kbstore.errors import ConflictError, KBStoreError
from kbstore.kit.errors import OutcomeUnknown
from kbstore.store import Store
from kbstore.worktree.json_file import EmptyFile, WorkFile, WorkFileError
from kbstore.worktree.project import Config, FileState, Project, ProjectError, open_for_file
from kbstore.worktree.status import UncommittedChanges
from kbstore.worktree.taken import BaseUnknown
from kbstore.worktree.tracked_file import TrackedFile
from kbstore.worktree.working_copy import WorkingCopy

DOCUMENT = {"title": "kb", "problems": {f"p{n}": {"title": f"t{n}", "votes": n} for n in range(5)}}


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[WorkingCopy]:
    """A file at v1 of its store."""
    file = WorkFile(tmp_path / "kb.json")
    file.path.write_text(json.dumps(DOCUMENT, indent=2))
    project, store = open_for_file(file.path, author="me")
    with store:
        copy = WorkingCopy(store, file, project)
        copy.commit(message="first")
        yield copy


def change(copy: WorkingCopy, entry: str, votes: int) -> None:
    """Edit one entry of the file, as an editor would."""
    document = copy.file.read()
    document["problems"][entry]["votes"] = votes
    copy.file.write(document)


def others(copy: WorkingCopy, entry: str, votes: int) -> None:
    """Commit as somebody else would, from another process."""
    patch = [{"op": "replace", "path": f"/problems/{entry}/votes", "value": votes}]
    with Store.open(copy.store.location) as store:
        store.commit(patch=patch, message="theirs", author="they")


def test_a_stale_file_changes_only_what_its_author_changed(copy: WorkingCopy) -> None:
    """A file taken at v1 and committed after v2 keeps v2's change, and then holds both."""
    change(copy, "p1", 100)
    others(copy, "p2", 200)
    version = copy.commit(message="mine")
    assert version.seq == 3
    assert version.patch == [{"op": "replace", "path": "/problems/p1/votes", "value": 100}]
    document = copy.file.read()
    assert (document["problems"]["p1"]["votes"], document["problems"]["p2"]["votes"]) == (100, 200)
    assert list(document) == ["title", "problems"]
    assert copy.status().clean


def test_a_base_is_remembered_by_the_project(copy: WorkingCopy) -> None:
    """Another process, which never saw v1, commits the file on the base that was remembered."""
    change(copy, "p1", 100)
    others(copy, "p2", 200)
    project, store = open_for_file(copy.file.path)
    with store:
        WorkingCopy(store, copy.file, project).commit(message="mine")
        assert store.get("/problems/p2/votes") == 200


def test_a_patch_that_changes_nothing_brings_the_file_up(copy: WorkingCopy) -> None:
    """A clean file that is behind, or gone, holds the newest version then, as after a patch that makes a version."""
    same = b'[{"op": "replace", "path": "/title", "value": "help"}]'
    with Store.open(copy.store.location) as store:
        store.commit(patch=same, message="theirs")
    assert copy.apply(same, message="the same").created is False
    assert copy.file.read()["title"] == "help"
    status = copy.status()
    assert (status.clean, status.base.seq, status.behind) == (True, 2, 0)
    others(copy, "p3", 300)
    copy.file.path.unlink()
    assert copy.apply(b"[]", message="nothing").created is False
    assert copy.file.read()["problems"]["p3"]["votes"] == 300
    assert copy.store.head().seq == 3


def test_a_patched_file_has_the_order_of_its_version(copy: WorkingCopy) -> None:
    """A member that comes back, or that others of its kind have, is in the file where a checkout elsewhere has it."""
    patches = (
        [{"op": "add", "path": "/problems/p9", "value": {"votes": 1}}, {"op": "remove", "path": "/problems/p1/title"}],
        [{"op": "add", "path": "/problems/p9/title", "value": "t9"}, {"op": "add", "path": "/a", "value": 1}],
        [{"op": "add", "path": "/problems/p1/title", "value": "t1"}, {"op": "remove", "path": "/title"}],
        [{"op": "add", "path": "/title", "value": "back"}],
    )
    for patch in patches:
        copy.apply(json.dumps(patch).encode(), message="patch")
        assert json.dumps(copy.file.read()) == json.dumps(copy.store.checkout())
    assert copy.file.read()["problems"]["p9"] == {"title": "t9", "votes": 1}
    assert list(copy.file.read()["problems"]["p9"]) == ["title", "votes"]


def test_the_same_place_is_a_conflict_and_leaves_the_file(copy: WorkingCopy) -> None:
    """Where both changed one value nothing is committed, and the file keeps its author's change."""
    change(copy, "p1", 100)
    others(copy, "p1", 200)
    with pytest.raises(ConflictError):
        copy.commit(message="mine")
    assert copy.file.read()["problems"]["p1"]["votes"] == 100
    assert copy.store.head().seq == 2


def test_status_is_told_against_the_base(copy: WorkingCopy) -> None:
    """What others committed is not shown as one's own change."""
    change(copy, "p1", 100)
    others(copy, "p2", 200)
    status = copy.status()
    assert status.diff is not None
    assert (status.diff.modified, status.behind, status.base.seq) == (["p1"], 1, 1)


def test_uncommitted_changes_are_never_written_over(copy: WorkingCopy) -> None:
    """Taking a version refuses a changed file, byte for byte, unless it is forced."""
    change(copy, "p1", 100)
    copy.commit(message="second")
    change(copy, "p1", 300)
    before = copy.file.path.read_bytes()
    with pytest.raises(UncommittedChanges):
        copy.take("v1")
    assert copy.file.path.read_bytes() == before
    copy.take("v1", force=True)
    assert copy.file.read() == DOCUMENT
    assert copy.store.head().seq == 2


def test_a_taken_version_is_the_new_base(copy: WorkingCopy) -> None:
    """After a checkout of v1 nothing is uncommitted, and a commit of it makes no version."""
    change(copy, "p1", 100)
    copy.commit(message="second")
    copy.take("v1")
    assert copy.status().clean
    assert copy.commit(message="nothing").created is False


def test_a_reformatted_file_is_clean(copy: WorkingCopy) -> None:
    """Blanks and member order are no change."""
    text = copy.file.path.read_text().replace("\n", "\n\n")
    copy.file.path.write_text(text)
    assert copy.status().clean


def test_a_commit_that_was_not_remembered_is_found(copy: WorkingCopy) -> None:
    """A process killed between its commit and its note leaves a file that is clean, at the head."""
    change(copy, "p1", 100)
    copy.store.commit(copy.file.read(), message="killed right after this", base="v1")
    status = copy.status()
    assert status.clean
    assert status.base.seq == 2
    change(copy, "p1", 101)
    assert copy.commit(message="on").patch == [{"op": "replace", "path": "/problems/p1/votes", "value": 101}]


def test_an_unknown_outcome_is_settled_by_the_same_command(copy: WorkingCopy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that landed without an answer is found again, and never lands twice."""
    change(copy, "p1", 100)
    commit = copy.store.commit

    def lost(*args: object, **kwargs: object) -> None:
        kwargs["write_id"] = "w1"
        commit(*args, **kwargs)
        raise OutcomeUnknown("no answer", write_id="w1")

    with monkeypatch.context() as patched:
        patched.setattr(copy.store, "commit", lost)
        with pytest.raises(OutcomeUnknown):
            copy.commit(message="mine")
    assert copy.commit(message="mine").seq == 2
    assert copy.store.head().seq == 2
    assert copy.status().clean


def elsewhere(copy: WorkingCopy, state: str = "", branch: str = "main") -> None:
    """Let the file be remembered as taken from a version that the store does not contain."""
    project = Project(copy.file.path.parent, Config())
    known = FileState(7, "0" * 64, branch, "x", name="v7_20250127_120000", state=state)
    project.remember(copy.file.path, known)


def test_a_base_that_the_store_does_not_contain_is_refused(copy: WorkingCopy) -> None:
    """What is in the file cannot be told from what others committed, so nothing is guessed and nothing is lost."""
    elsewhere(copy)
    change(copy, "p1", 100)
    others(copy, "p2", 200)
    before = copy.file.path.read_bytes()
    for call in (
        copy.status,
        lambda: copy.commit(message="mine"),
        lambda: copy.apply(b"[]", message="mine"),
        lambda: copy.restore("v1"),
        lambda: copy.take("HEAD"),
    ):
        with pytest.raises(BaseUnknown, match=r"kb.json was taken from v7_20250127_120000 \(000000000000\)") as refused:
            call()
        assert "--base REV" in (refused.value.hint or "")
    assert copy.file.path.read_bytes() == before
    assert copy.store.head().seq == 2
    version = copy.commit(message="mine", base="v1")
    assert version.patch == [{"op": "replace", "path": "/problems/p1/votes", "value": 100}]
    assert copy.file.read()["problems"]["p2"]["votes"] == 200
    assert copy.status().clean


def test_a_file_that_equals_a_version_was_taken_from_it(copy: WorkingCopy) -> None:
    """Whatever was remembered of it, or if nothing was: it holds nothing that is in no version."""
    others(copy, "p2", 200)
    elsewhere(copy)
    for _ in range(2):
        status = copy.status()
        assert (status.clean, status.base.seq, status.behind) == (True, 1, 1)
        alone = WorkingCopy(copy.store, copy.file)
        assert (alone.status().clean, alone.status().base.seq) == (True, 1)
    change(copy, "p1", 100)
    assert copy.commit(message="mine").patch == [{"op": "replace", "path": "/problems/p1/votes", "value": 100}]


def test_a_version_with_the_content_of_the_base_serves_as_base(copy: WorkingCopy) -> None:
    """A store that was made anew of the same documents has other ids, and what differs is the same."""
    elsewhere(copy, state=copy.store.head().state or "")
    change(copy, "p1", 100)
    others(copy, "p2", 200)
    status = copy.status()
    assert status.diff is not None
    assert (status.base.seq, status.diff.modified) == (1, ["p1"])


def test_a_base_on_another_branch_is_named(copy: WorkingCopy) -> None:
    """A file of one branch is not compared with the head of another, unless that contains its base."""
    copy.store.create_branch("side")
    others(copy, "p2", 200)
    copy.take("HEAD")
    with Store.open(copy.store.location, branch="side") as side:
        there = WorkingCopy(side, copy.file, Project(copy.file.path.parent, Config()))
        change(copy, "p1", 100)
        with pytest.raises(BaseUnknown, match="of branch main, which branch side does not contain") as refused:
            there.commit(message="mine")
        assert "--branch main" in (refused.value.hint or "")
        copy.take("v1", force=True)
        change(copy, "p1", 100)
        assert there.status().base.seq == 1
        assert there.commit(message="mine").seq == 2


def test_a_version_between_base_and_head_is_found(copy: WorkingCopy) -> None:
    """A process was killed between its commit and its note, and others went on before anybody looked."""
    change(copy, "p1", 100)
    copy.store.commit(copy.file.read(), message="killed right after this", base="v1")
    others(copy, "p2", 200)
    status = copy.status()
    assert (status.clean, status.base.seq, status.behind) == (True, 2, 1)


@pytest.mark.parametrize("content", [b"", b" \n"])
def test_an_empty_file_with_a_history_is_not_begun_anew(copy: WorkingCopy, content: bytes) -> None:
    """The hint leads to the newest version; {} would remove every article."""
    copy.file.path.write_bytes(content)
    for call in (copy.status, lambda: copy.commit(message="mine")):
        with pytest.raises(EmptyFile) as refused:
            call()
        assert refused.value.hint == "write the newest version into it: kbstore checkout HEAD --force"


def test_two_files_in_one_folder_have_two_histories(copy: WorkingCopy, tmp_path: Path) -> None:
    """A second file beside the first gets a store of its own in the same .kbstore."""
    other = tmp_path / "other.json"
    WorkFile(other).write({"x": 1})
    project, store = open_for_file(other)
    with store:
        WorkingCopy(store, WorkFile(other), project).commit(message="other")
        assert store.checkout() == {"x": 1}
    assert copy.store.head().seq == 1
    assert sorted(path.name for path in (tmp_path / ".kbstore").glob("*.db")) == ["kb.db", "other.json.db"]


def test_no_history_is_started_for_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A slip of the pen makes nothing; a file that is gone, and whose history is there, is found."""
    with pytest.raises(WorkFileError, match="there is no file"):
        open_for_file(tmp_path / "typo.json")
    assert list(tmp_path.iterdir()) == []
    WorkFile(tmp_path / "kb.json").write(DOCUMENT)
    open_for_file(tmp_path / "kb.json")[1].close()
    (tmp_path / "kb.json").unlink()
    open_for_file(tmp_path / "kb.json")[1].close()
    with pytest.raises(WorkFileError):
        open_for_file(tmp_path / "typo.json")
    assert sorted(path.name for path in (tmp_path / ".kbstore").iterdir()) == ["config.json", "kb.db"]


def test_an_imported_history_becomes_that_of_the_first_file(tmp_path: Path) -> None:
    """A project without a file is the one of the file beside it, for every command from then on."""
    Project.create(tmp_path, Config())
    Store.create(tmp_path / ".kbstore" / "kb.db", DOCUMENT).close()
    WorkFile(tmp_path / "kb.json").write(DOCUMENT)
    project, store = open_for_file(tmp_path / "kb.json")
    with store:
        assert store.head().seq == 1
    assert Project.load(tmp_path).file == tmp_path / "kb.json" == project.file


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": 1, "fil": "kb.json"}', "the member 'fil', which kbstore does not know"),
        ('{"format": 99, "fil": "kb.json"}', "has format 99"),
        ('{"store": 3}', r"\$\.store"),
        ("{", "malformed"),
        ("\xff", "malformed"),
        ('{"format": 99}', "newer kbstore|reads up to"),
    ],
)
def test_a_bad_configuration_is_named(tmp_path: Path, text: str, message: str) -> None:
    """A configuration that cannot be used is refused with its path and what is wrong."""
    (tmp_path / ".kbstore").mkdir()
    (tmp_path / ".kbstore" / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(Exception, match=message) as caught:
        Project.load(tmp_path)
    assert "config.json" in str(caught.value)
    assert isinstance(caught.value, ProjectError) or "format" in text


def test_a_part_is_committed_and_others_changes_come_in(copy: WorkingCopy) -> None:
    """The file then holds the version and what is still uncommitted, whatever others committed meanwhile."""
    change(copy, "p1", 100)
    change(copy, "p2", 100)
    others(copy, "p3", 300)
    version = copy.commit(message="a part", places=["/problems/p1"])
    assert version.patch == [{"op": "replace", "path": "/problems/p1/votes", "value": 100}]
    problems = copy.file.read()["problems"]
    assert [problems[name]["votes"] for name in ("p1", "p2", "p3")] == [100, 100, 300]
    status = copy.status()
    assert status.diff is not None
    assert (status.base, status.diff.modified) == (version, ["p2"])
    assert copy.commit(message="a part again", places=["/problems/p1"]).created is False
    assert copy.commit(message="the rest").patch == [{"op": "replace", "path": "/problems/p2/votes", "value": 100}]
    assert copy.status().clean


def test_a_part_is_committed_where_others_changed_the_rest(copy: WorkingCopy) -> None:
    """What cannot be merged into the file stays as it was typed; the part has landed, and nothing is lost."""
    change(copy, "p1", 100)
    change(copy, "p2", 100)
    others(copy, "p2", 200)
    copy.commit(message="a part", places=["/problems/p1"])
    (told,) = copy.notes
    assert told.startswith("others changed what is uncommitted in kb.json too, so it was left as it is, without ")
    assert told.endswith("their changes; kbstore update takes them in")
    problems = copy.file.read()["problems"]
    assert [problems[name]["votes"] for name in ("p1", "p2")] == [100, 100]
    assert copy.store.get("/problems/p1/votes") == 100
    with pytest.raises(ConflictError) as caught:
        copy.commit(message="the rest")
    assert [conflict.pointer for conflict in caught.value.conflicts] == ["/problems/p2/votes"]
    with pytest.raises(ConflictError):
        copy.update()
    assert copy.store.get("/problems/p2/votes") == 200
    change(copy, "p2", 2)
    change(copy, "p3", 300)
    copy.update()
    assert copy.commit(message="the rest").patch == [{"op": "replace", "path": "/problems/p3/votes", "value": 300}]
    assert copy.file.read() == copy.store.get("")


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("updates", [False, True])
def test_a_file_that_is_edited_after_a_kill_does_not_conflict_with_its_own_version(
    copy: WorkingCopy, monkeypatch: pytest.MonkeyPatch, *, beside: bool, updates: bool
) -> None:
    """The version landed, and the process was killed before it could remember that; others' changes came in or not."""
    change(copy, "p1", 100)
    if beside:
        others(copy, "p3", 300)
    with monkeypatch.context() as patched:
        for step in ("stay", "write"):
            patched.setattr(TrackedFile, step, _killed)
        with pytest.raises(KeyboardInterrupt):
            copy.commit(message="mine")
    landed = copy.store.head()
    change(copy, "p2", 200)
    if updates:
        copy.update()
    if updates or not beside:
        status = copy.status()
        assert status.diff is not None
        assert (status.base, status.diff.modified) == (landed, ["p2"])
    version = copy.commit(message="the edit")
    assert version.patch == [{"op": "replace", "path": "/problems/p2/votes", "value": 200}]
    assert copy.file.read() == copy.store.get("")
    assert copy.status().clean


def _killed(*_arguments: object, **_options: object) -> None:
    raise KeyboardInterrupt


def test_a_commit_that_was_refused_is_not_taken_for_one_that_landed(copy: WorkingCopy) -> None:
    """Nothing is left behind that a later commit would look for."""
    change(copy, "p1", 100)
    others(copy, "p1", 200)
    with pytest.raises(ConflictError):
        copy.commit(message="mine")
    state = copy._project.state_of(copy.file.path) if copy._project is not None else None
    assert state is not None
    assert state.pending == ""


def test_a_refused_commit_leaves_the_id_of_one_whose_outcome_is_unknown(
    copy: WorkingCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same content again still settles it."""
    content = copy.file.path.read_bytes()
    change(copy, "p1", 100)
    unsure = copy.file.path.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(copy.store, "commit", _unsure)
        with pytest.raises(OutcomeUnknown):
            copy.commit(message="mine")
    with Store.open(copy.store.location) as store:
        store.commit(json.loads(unsure), message="mine", base="v1", write_id="unsure")
    copy.file.path.write_bytes(content.replace(b'"t1"', b'"other"'))
    others(copy, "p2", 200)
    with monkeypatch.context() as patched:
        patched.setattr(copy.store, "commit", _refused)
        with pytest.raises(ConflictError):
            copy.commit(message="another")
    copy.file.path.write_bytes(unsure)
    assert copy.commit(message="mine").seq == 2
    assert copy.store.head().seq == 3


def _unsure(*_arguments: object, **_options: object) -> None:
    raise OutcomeUnknown("no answer", write_id="unsure")


def _refused(*_arguments: object, **_options: object) -> None:
    raise ConflictError("refused")


def test_the_same_change_that_others_made_is_named(copy: WorkingCopy) -> None:
    """No version is made of it, and the author is told whose it is; the file follows the newest version."""
    change(copy, "p1", 100)
    others(copy, "p1", 100)
    version = copy.commit(message="mine")
    assert not version.created
    assert copy.notes == [
        f"the changes in kb.json are in {version.name} by they already; if they count something, it was counted once"
    ]
    document = copy.file.read()
    document["title"] = "new"
    copy.file.write(document)
    patch: list[dict[str, object]] = [{"op": "replace", "path": "/title", "value": "new"}]
    with Store.open(copy.store.location, author="they") as store:
        others(copy, "p3", 300)
        store.commit(patch=patch)
    copy.notes.clear()
    assert not copy.commit(message="mine").created
    known = f"the versions after {version.name}"
    assert copy.notes == [
        f"the changes in kb.json are in {known} already; if they count something, it was counted once"
    ]
    assert copy.file.read()["problems"]["p3"]["votes"] == 300
    assert copy.status().clean


def test_a_place_is_brought_in_by_the_identity_that_a_setting_names(tmp_path: Path) -> None:
    """Others inserted an element on top; the file gets it, and what is uncommitted stays with its own element."""
    halls = [{"city": city, "hall": hall, "v": 1} for city, hall in (("Bonn", 1), ("Bonn", 2), ("Ulm", 1))]
    file = WorkFile(tmp_path / "kb.json")
    file.path.write_text(json.dumps({"places": halls}))
    project, store = open_for_file(file.path, author="me")
    with store:
        store.set("identity:/places", ("city", "hall"))
        copy = WorkingCopy(store, file, project)
        copy.commit(message="first")
        new = {"city": "Aue", "hall": 1, "v": 1}
        store.commit({"places": [new, *halls]}, message="theirs", base="v1")
        file.path.write_text(json.dumps({"places": [{**halls[0], "v": 7}, halls[1], {**halls[2], "v": 8}]}))
        copy.commit(message="one", places=["/places/[city=Bonn,hall=1]"])
        assert copy.notes == []
        assert file.read() == {"places": [new, {**halls[0], "v": 7}, halls[1], {**halls[2], "v": 8}]}
        assert copy.commit(message="rest").patch == [{"op": "replace", "path": "/places/3/v", "value": 8}]


TWINS: dict[str, tuple[Callable[[WorkingCopy], object], Callable[[Store], object]]] = {
    "apply": (
        lambda copy: copy.apply(b'[{"op": "replace", "path": "/title", "value": "mine"}]', message="m", write_id="w"),
        lambda store: store.commit({"title": "theirs"}, write_id="w"),
    ),
    "restore": (
        lambda copy: copy.restore("v1", write_id="w"),
        lambda store: store.restore("v2", write_id="w"),
    ),
    "commit": (
        lambda copy: copy.commit(message="m", write_id="w"),
        lambda store: store.commit({"title": "theirs"}, write_id="w"),
    ),
}


@pytest.mark.parametrize("call", TWINS)
def test_a_twin_with_another_change_is_refused(copy: WorkingCopy, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """A write with the same id that lands right behind the first search is not taken for this change."""
    mine, theirs = TWINS[call]
    for votes in (1, 2):
        change(copy, "p1", 100 + votes)
        copy.commit(message="more")
    if call == "commit":
        change(copy, "p1", 104)
    seen = copy.file.path.read_bytes()
    landed, searches = copy.store.landed, []

    def first_nothing(write_id: str) -> object:
        found = landed(write_id)
        searches.append(found)
        if len(searches) == 1:
            with Store.open(copy.store.location) as store:
                theirs(store)
        return found

    monkeypatch.setattr(copy.store, "landed", first_nothing)
    with pytest.raises(KBStoreError, match="'w' landed already as v4"):
        mine(copy)
    assert (searches[0], copy.store.head().seq, copy.file.path.read_bytes()) == (None, 4, seen)
