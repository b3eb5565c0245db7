"""Cases of a file that follows another branch than the one that a command works on, or that two folders share."""

import json
from pathlib import Path

import pytest

from kbstore import KnowledgeBaseVersioner, Store
from kbstore.jsondoc.canonical import encode
from kbstore.worktree.json_file import WorkFile
from kbstore.worktree.project import Config, Project
from kbstore.worktree.taken import BaseUnknown
from kbstore.worktree.working_copy import WorkingCopy
from tests.cases.support import Desk

FIRST = {"p": {"a": {"n": 1}, "b": {"n": 2}}}
PATCH = encode([{"op": "replace", "path": "/p/a/n", "value": 100}])


class Both:
    """One file, and the working copies of it on the branches main and draft, which share v1."""

    def __init__(self, folder: Path) -> None:
        self.file = WorkFile(folder / "kb.json")
        self.file.path.write_text(json.dumps(FIRST))
        project = Project.create(folder, Config(file="kb.json"))
        store = Store.create("memory:", FIRST, author="me")
        store.create_branch("draft")
        self.main = WorkingCopy(store, self.file, project)
        self.draft = WorkingCopy(Store(store.backend, branch="draft", author="me"), self.file, project)
        self.main.take("HEAD")

    def edit(self, document: object) -> None:
        """Save a document as an editor does."""
        self.file.path.write_text(json.dumps(document))


@pytest.fixture
def both(tmp_path: Path) -> Both:
    """A file that follows main."""
    return Both(tmp_path)


@pytest.mark.parametrize("further", [False, True])
def test_a_patch_for_another_branch_leaves_the_file_alone(both: Both, further: bool) -> None:
    """Case 03: whether main went on or not, and whether the file is clean or not."""
    if further:
        both.main.apply(encode([{"op": "replace", "path": "/p/b/n", "value": 22}]), message="2")
    before = both.file.path.read_bytes()
    assert both.draft.apply(PATCH, message="1").seq == 2
    assert both.draft.notes == ["this is branch draft; kb.json follows main and was left as it is"]
    assert both.file.path.read_bytes() == before
    assert (both.main.status().clean, both.main.follows) == (True, "main")
    both.edit({"p": {}})
    both.draft.apply(encode([{"op": "remove", "path": "/p/b"}]), message="2")
    assert both.draft.restore("v1").seq == 4
    assert both.file.read() == {"p": {}}
    assert both.main.commit(message="mine").seq == 2 + further


def test_an_import_into_another_branch_leaves_the_file_alone(tmp_path: Path) -> None:
    """Case 25: the next commit on main takes nothing back."""
    desk = Desk(tmp_path / "a")
    desk.write(FIRST)
    desk.ok("init", "kb.json")
    desk.ok("branch", "draft")
    line = json.dumps({"document": {"p": {"z": {"n": 1}}}, "message": "m"})
    desk.ok("--branch", "draft", "import", "-", stdin=line)
    assert desk.read() == FIRST
    assert desk.ok("status").lines[1:] == ["nothing changed"]
    desk.ok("commit", "-m", "as usual")
    assert desk.newest() == FIRST
    assert desk.ok("--branch", "draft", "get", "/p").out == '{\n  "z": {\n    "n": 1\n  }\n}\n'


def test_a_file_is_committed_only_where_its_base_is(both: Both) -> None:
    """If the open branch does not contain the base, the branch that the file follows is named, with both ways out."""
    both.main.store.commit({"p": {"a": {"n": 1}}}, author="others")
    both.edit({"p": {"a": {"n": 7}, "b": {"n": 2}}})
    assert both.draft.commit(message="both branches contain v1").seq == 2
    assert both.draft.follows == "draft"
    for document in ({"p": {"a": {"n": 8}, "b": {"n": 2}}}, {"p": {"a": {"n": 1}}}, FIRST):
        both.edit(document)  # also one that equals a version of main
        with pytest.raises(BaseUnknown, match=r"kb\.json follows draft") as refused:
            both.main.commit(message="slip")
        assert "--branch draft commit" in (refused.value.hint or "")
        assert "checkout --branch main" in (refused.value.hint or "")
    both.edit({"p": {"a": {"n": 7}, "b": {"n": 2}}})
    assert both.main.status().clean
    both.main.take("HEAD")
    assert (both.main.follows, both.file.read()) == ("main", {"p": {"a": {"n": 1}}})
    both.edit({"p": {"a": {"n": 5}}})
    assert both.main.commit(message="on main").patch == [{"op": "replace", "path": "/p/a/n", "value": 5}]


def test_looking_at_another_branch_changes_nothing(both: Both) -> None:
    """Status and a pull on another branch leave what is remembered; the file follows its own branch."""
    both.edit({"p": {"a": {"n": 1}, "b": {"n": 2}}, "q": 1})
    both.edit(FIRST)
    for _ in range(2):
        assert both.draft.status().clean
        assert both.main.follows == "main"
    both.main.store.commit({"p": {}}, author="others")
    assert both.draft.catch_up() == ""
    assert both.file.read() == {"p": {}}
    both.edit({"p": 1})
    both.main.store.commit({"p": 2}, author="others")
    assert both.draft.catch_up() == "kb.json has uncommitted changes and was left as it is"
    both.file.path.write_text("{broken")
    assert both.draft.catch_up() == "kb.json is not JSON just now, and was left as it is"


def test_status_says_which_branch_the_file_follows(tmp_path: Path) -> None:
    """And how far it is behind there, also if commands work on another one."""
    desk = Desk(tmp_path / "a")
    desk.write(FIRST)
    desk.ok("init", "kb.json")
    desk.ok("branch", "draft")
    desk.write({"p": {}})
    desk.ok("--branch", "draft", "commit", "-m", "draft")
    desk.ok("--branch", "draft", "--file", "none.json", "apply", "-", "-m", "2", stdin='[{"op":"remove","path":"/p"}]')
    lines = desk.ok("status").lines
    assert lines[0].startswith("kb.json: at v2_")
    assert lines[0].endswith(", branch draft")
    assert lines[1] == "the file follows draft; commands work on main"
    assert lines[2].startswith("1 newer version; the newest is v3_")
    assert lines[3] == "nothing changed"


def test_a_file_is_renamed_with_its_history(tmp_path: Path) -> None:
    """What was uncommitted still is, and its base is remembered."""
    desk = Desk(tmp_path / "a")
    desk.write(FIRST)
    desk.ok("init", "kb.json")
    patch = json.dumps([{"op": "remove", "path": "/p/b"}])
    desk.ok("--file", "none.json", "apply", "-", "-m", "2", stdin=patch)
    desk.write({"p": {"a": {"n": 7}, "b": {"n": 2}}})
    (desk.folder / "taken.json").write_text("{}")
    assert desk.run("mv", "kb.json", "taken.json").code == 3
    assert desk.run("mv", "taken.json", "other.json").code == 3
    assert desk.run("mv", "kb.json", "../kb.json").code == 3
    desk.ok("mv", "kb.json", "new.json")
    assert not desk.file.exists()
    desk.ok("commit", "-m", "under the new name")
    assert json.loads((desk.folder / "new.json").read_bytes()) == desk.newest() == {"p": {"a": {"n": 7}}}


def test_a_file_that_another_program_renamed_is_followed(tmp_path: Path) -> None:
    """With what is uncommitted in it; no file is written."""
    desk = Desk(tmp_path / "a")
    desk.write(FIRST)
    desk.ok("init", "kb.json")
    new = desk.folder / "new.json"
    desk.file.rename(new)
    text = '{"p": {"a": {"n": 7}, "b": {"n": 2}}}'
    new.write_text(text)
    assert "if it was renamed: kbstore mv kb.json NEW" in desk.ok("status").out
    desk.ok("mv", "kb.json", "new.json")
    assert (new.read_text(), desk.file.exists()) == (text, False)
    assert "uncommitted: 1 modified" in desk.ok("status").out
    desk.ok("commit", "-m", "under the new name")
    assert desk.newest() == json.loads(text)


@pytest.mark.parametrize("text", ['{"other": {"x": {"n": 1}}}', "{", ""])
def test_another_file_is_not_taken_for_the_renamed_one(tmp_path: Path, text: str) -> None:
    """It stays as it is, and so does the project; the hint writes the missing file."""
    desk = Desk(tmp_path / "a")
    desk.write(FIRST)
    desk.ok("init", "kb.json")
    desk.file.unlink()
    other = desk.folder / "other.json"
    other.write_text(text)
    told = desk.run("mv", "kb.json", "other.json")
    assert told.code == 3
    assert (other.read_text(), desk.file.exists()) == (text, False)
    told = desk.run("mv", "kb.json", "none.json")
    assert (told.code, "checkout -o" in told.err) == (3, False)
    assert told.err.endswith("hint: write the newest version into it: kbstore checkout HEAD\n")
    desk.ok("checkout", "HEAD")
    assert json.loads(desk.file.read_bytes()) == FIRST


def test_a_file_with_a_history_of_its_own_is_not_taken_for_the_renamed_one(tmp_path: Path) -> None:
    """Else `--file two.json` would mean two histories."""
    desk = Desk(tmp_path / "a")
    desk.write(FIRST)
    desk.ok("init", "kb.json")
    (desk.folder / "two.json").write_text(json.dumps(FIRST))
    versioner = KnowledgeBaseVersioner(desk.folder / "two.json")
    versioner.create_version("two")
    versioner.close()
    desk.file.unlink()
    told = desk.run("mv", "kb.json", "two.json")
    assert (told.code, "two.json has a history of its own" in told.err) == (3, True)


def test_a_renamed_checkout_keeps_its_own_base(tmp_path: Path) -> None:
    """The old name is gone, and the new one was checked out of v1: it is v1, with nothing uncommitted."""
    desk = Desk(tmp_path / "a")
    desk.write(FIRST)
    desk.ok("init", "kb.json")
    desk.write({"p": {"a": {"n": 7}, "b": {"n": 2}}})
    desk.ok("commit", "-m", "2")
    desk.ok("checkout", "v1", "-o", "one.json")
    desk.file.unlink()
    desk.ok("mv", "kb.json", "one.json")
    told = desk.ok("status").out.splitlines()
    assert told[0].startswith("one.json: at v1_")
    assert told[-1] == "nothing changed"


def test_a_broken_file_does_not_block_a_pull(tmp_path: Path) -> None:
    """The history comes in; the file stays as its author left it."""
    desk = Desk(tmp_path / "a")
    desk.write(FIRST)
    desk.ok("init", "kb.json")
    desk.ok("clone", ".kbstore/kb.db", "../other.db")
    other = Desk(tmp_path / "b")
    other.ok("--store", "../other.db", "apply", "-", "-m", "2", stdin='[{"op":"remove","path":"/p/a"}]')
    desk.file.write_text('{"p": {')
    ended = desk.ok("pull", "../other.db")
    assert "kb.json is not JSON just now, and was left as it is" in ended.err
    assert desk.file.read_text() == '{"p": {'
    assert desk.newest() == {"p": {"b": {"n": 2}}}


@pytest.mark.parametrize(
    "words", [["--branch", "fix", "checkout"], ["checkout", "fix"], ["checkout", "fix", "-o", "kb.json"]]
)
def test_a_checkout_of_a_branch_switches_to_it(tmp_path: Path, words: list[str]) -> None:
    """Commits then land where the file was taken from, and nowhere else."""
    desk = Desk(tmp_path / "a")
    desk.write(FIRST)
    desk.ok("init", "kb.json")
    desk.ok("branch", "fix")
    desk.write({"p": {"a": {"n": 2}, "b": {"n": 2}}})
    desk.ok("commit", "-m", "on main")
    assert "kb.json follows fix now" in desk.ok(*words).err
    assert desk.ok("branch").lines == ["* fix", "  main"]
    desk.write({"p": {"b": {"n": 2}}})
    desk.ok("commit", "-m", "on fix")
    assert [line.split()[-1] for line in desk.ok("log", "--oneline", "fix").lines] == ["fix", "version"]
    assert [line.split()[-1] for line in desk.ok("log", "--oneline", "main").lines] == ["main", "version"]
    assert "follows main now" in desk.ok("checkout", "main").err
    assert "follows" not in desk.ok("checkout", "v1").err
    assert desk.ok("status").lines[0].endswith(", branch main")


def test_a_commit_never_lands_on_a_branch_that_the_file_does_not_follow(both: Both) -> None:
    """Also if the project's branch contains the file's base; a base or a branch that is named is an answer."""
    both.draft.take("HEAD")
    both.edit({"p": {"a": {"n": 7}, "b": {"n": 2}}})
    with pytest.raises(BaseUnknown, match=r"kb\.json follows draft, and this would commit to main"):
        both.main.commit(message="slip")
    assert both.main.store.head().seq == both.draft.store.head().seq == 1
    assert both.main.commit(message="meant", base="v1").seq == 2
    assert both.main.follows == "main"


def test_a_patch_never_lands_on_a_branch_that_the_file_does_not_follow(both: Both) -> None:
    """Nor does a restore, unless --branch asks for another branch than the project's; each is told both ways out."""
    both.draft.take("HEAD")
    for name, act in (
        ("apply", lambda: both.main.apply(PATCH, message="slip")),
        ("restore", lambda: both.main.restore("v1")),
    ):
        with pytest.raises(BaseUnknown, match=r"kb\.json follows draft, and this would work on main") as refused:
            act()
        assert f"--branch draft {name} works there" in (refused.value.hint or "")
        assert "kbstore checkout --branch main" in (refused.value.hint or "")
    assert both.main.store.head().seq == both.draft.store.head().seq == 1
    both.main.take("HEAD")
    assert both.main.apply(PATCH, message="meant").seq == 2


def test_an_import_never_lands_on_a_branch_that_the_file_does_not_follow(tmp_path: Path) -> None:
    """Unless --branch names it."""
    desk = Desk(tmp_path / "a")
    desk.write(FIRST)
    desk.ok("init", "kb.json")
    desk.ok("branch", "draft")
    desk.write({"p": {}})
    desk.ok("--branch", "draft", "commit", "-m", "draft")
    line = json.dumps({"document": {"p": {"z": {"n": 1}}}, "message": "m"})
    ended = desk.run("import", "-", stdin=line)
    assert (ended.code, "kb.json follows draft, and this would import into main" in ended.err) == (3, True)
    desk.ok("--branch", "main", "import", "-", stdin=line)
    assert desk.read() == {"p": {}}
