"""Clones that are working copies, the store that they remember, and stores that are named by their project's folder."""

import json
from pathlib import Path

import pytest

from kbstore import Store
from kbstore.errors import KBStoreError
from tests.cli.support import Shell


@pytest.fixture
def cloned(kb: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A working copy beside a project with three versions, cloned from it."""
    kb.file.rename(kb.folder / "support.json")
    config = kb.folder / ".kbstore" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "file": "support.json", "collection": "/problems"}))
    kb.ok("clone", ".", "../desks/mine")
    shell = Shell(kb.folder.parent / "desks" / "mine", monkeypatch)
    shell.file = shell.folder / "support.json"
    return shell


def config(folder: Path) -> dict[str, object]:
    """What a project's configuration says."""
    found: dict[str, object] = json.loads((folder / ".kbstore" / "config.json").read_text())
    return found


def test_a_clone_is_a_working_copy(kb: Shell, cloned: Shell) -> None:
    """It has the file under its name, its collection, the whole history, and the source's folder remembered."""
    assert {path.name for path in cloned.folder.iterdir()} == {".kbstore", "support.json"}
    assert cloned.read() == json.loads((kb.folder / "support.json").read_bytes())
    assert config(cloned.folder)["collection"] == "/problems"
    assert config(cloned.folder)["remote"] == str(kb.folder)
    assert cloned.ok("status").lines[-1] == "nothing changed"
    assert cloned.ok("export").raw == kb.ok("export").raw


def test_push_and_pull_use_the_remembered_store(kb: Shell, cloned: Shell) -> None:
    """Wherever in the folder they run; both files follow."""
    cloned.edit("p1", votes=11)
    cloned.ok("commit", "-m", "eleven")
    assert cloned.ok("push", "--json").object["versions"] == 1
    assert kb.ok("status").lines[1].startswith("1 newer version")
    kb.ok("checkout")
    kb.ok("apply", "-", "-m", "6", stdin=b'[{"op": "replace", "path": "/problems/p2/votes", "value": 6}]')
    (cloned.folder / "below").mkdir()
    cloned.folder /= "below"
    assert cloned.ok("pull", "--json").object["versions"] == 1
    assert cloned.read()["problems"]["p2"]["votes"] == 6


def test_without_a_remembered_store_one_has_to_be_named(kb: Shell) -> None:
    """It is then remembered if that is asked for, and by that alone."""
    kb.ok("clone", ".", "copy.db")
    for command in ("push", "pull"):
        assert "--remember" in kb.fails(10, command).err
    kb.ok("push", "copy.db")
    kb.fails(10, "push")
    kb.ok("push", "copy.db", "--remember")
    kb.ok("pull")
    assert config(kb.folder)["remote"] == str(kb.folder / "copy.db")


@pytest.mark.parametrize("target", ["kb.db", "sqlite:plain", "store --bare"])
def test_a_store_alone_is_made_where_it_is_asked_for(kb: Shell, target: str) -> None:
    """A URL, a name that ends in .db, or --bare; nothing else is written."""
    before = {path.name for path in kb.folder.iterdir()}
    kb.ok("clone", ".", *target.split())
    made = {path.name for path in kb.folder.iterdir()} - before
    assert made == {target.split()[0].removeprefix("sqlite:")}
    with Store.open(kb.folder / made.pop()) as store:
        assert store.head().seq == 3


def test_a_folder_that_holds_something_is_left_alone(kb: Shell) -> None:
    """An empty one is filled, another one is refused and named."""
    (kb.folder / "desk").mkdir()
    (kb.folder / "desk" / "mine.txt").write_text("mine")
    assert "not empty" in kb.fails(3, "clone", ".", "desk").err
    assert [path.name for path in (kb.folder / "desk").iterdir()] == ["mine.txt"]
    (kb.folder / "desk" / "mine.txt").unlink()
    kb.ok("clone", ".", "desk")
    assert (kb.folder / "desk" / "kb.json").read_bytes() == kb.file.read_bytes()
    assert kb.ok("clone", ".", "desk", "--json").object["versions"] == 0


@pytest.mark.parametrize(
    ("failing", "code"), [("kbstore.store.Store.graft", 3), ("kbstore.worktree.working_copy.WorkingCopy.take", 13)]
)
def test_a_working_copy_that_was_cut_short_goes_on(
    kb: Shell, monkeypatch: pytest.MonkeyPatch, failing: str, code: int
) -> None:
    """The same command then fills the folder, whether or not it was a project by then."""

    def fail(*_: object, **__: object) -> None:
        raise KBStoreError("the line went dead")

    with monkeypatch.context() as patched:
        patched.setattr(failing, fail)
        kb.fails(code, "clone", ".", "desk")
    kb.ok("clone", ".", "desk")
    assert (kb.folder / "desk" / "kb.json").read_bytes() == kb.file.read_bytes()
    assert config(kb.folder / "desk")["remote"] == str(kb.folder)


def test_a_branch_can_be_chosen(kb: Shell) -> None:
    """The file follows it; by default the branch that the source's file follows."""
    kb.ok("branch", "draft", "v2")
    kb.ok("branch", "--switch", "draft")
    kb.ok("clone", ".", "one")
    kb.ok("--branch", "main", "clone", ".", "two")
    assert config(kb.folder / "one")["branch"] == "draft"
    assert (kb.folder / "one" / "kb.json").read_bytes() == kb.file.read_bytes()
    assert json.loads((kb.folder / "two" / "kb.json").read_bytes()) == json.loads(kb.ok("--branch", "main", "get").raw)


def test_a_project_s_folder_means_its_store(kb: Shell, tmp_path: Path) -> None:
    """For init too, which started a second history inside of it."""
    kb.ok("clone", ".", "copy.db")
    other = tmp_path / "elsewhere"
    other.mkdir()
    for name, stores in (("one.json", str(kb.folder)), ("two.json", str(kb.folder / ".kbstore"))):
        folder = other / name.removesuffix(".json")
        folder.mkdir()
        assert kb.ok("--store", stores, "init", str(folder / name), "--json").object["joined"]
        assert (folder / name).read_bytes() == kb.file.read_bytes()
    kb.ok("import", "-", "--store", str(kb.folder), stdin=b'{"document": {"problems": {}}}\n')
    kb.folder = other / "one"
    assert kb.ok("log", "--json").objects[0]["seq"] == 4
    copy = str(kb.file.parent / "copy.db")
    assert kb.ok("push", str(other / "two"), "--store", copy).lines[0].startswith("nothing to copy")
    assert kb.ok("pull", str(other / "two"), "--store", copy, "--json").object["versions"] == 1


def test_a_remembered_store_is_obeyed_as_a_configuration_is(kb: Shell) -> None:
    """A URL that says where credentials go, and a project that anybody may write, are the user's to trust."""
    config_file = kb.folder / ".kbstore" / "config.json"
    url = "s3://bucket/kb?endpoint=https://elsewhere.example"
    config_file.write_text(json.dumps({**config(kb.folder), "remote": url}))
    kb.ok("status")
    for command in ("push", "pull"):
        assert "you have not trusted it" in kb.fails(3, command).err
    kb.ok("clone", ".", "theirs")
    (kb.folder / "theirs" / ".kbstore" / "config.json").chmod(0o666)
    config_file.write_text(json.dumps({**config(kb.folder), "remote": str(kb.folder / "theirs")}))
    for command in ("push", "pull"):
        assert "everybody may write" in kb.fails(3, command).err
    kb.ok("trust", "theirs")
    kb.ok("push")


@pytest.mark.parametrize("store", ["kb.db", "./other.db", "deeper/kb.db"])
def test_a_clone_in_the_folder_of_the_file_is_joined(kb: Shell, store: str) -> None:
    """The store lies in the folder that gets its file, which has no .kbstore yet."""
    desk = kb.folder.parent / "desk"
    (desk / store).parent.mkdir(parents=True)
    kb.ok("clone", "--bare", ".", str(desk / store))
    made = kb.ok("-C", str(desk), "init", "kb.json", "--store", store, "--json").object
    assert (made["joined"], made["seq"]) == (True, 3)
    assert json.loads((desk / "kb.json").read_bytes()) == kb.read()
    assert kb.ok("-C", str(desk), "status").lines[-1] == "nothing changed"


@pytest.mark.parametrize("mine", [{}, {"notes": {"n1": {"title": "mine"}}}])
def test_a_file_with_nothing_of_the_store_removes_nothing(kb: Shell, mine: dict[str, object]) -> None:
    """It is kept as it is, and so is what the store has."""
    desk = kb.folder.parent / "desk"
    desk.mkdir()
    kb.ok("clone", ".", str(desk / "kb.db"))
    (desk / "kb.json").write_text(json.dumps(mine))
    told = kb.ok("-C", str(desk), "init", "kb.json", "--store", "kb.db").err
    assert "joined kb.db" in told.replace("../desk/", "")
    assert "has nothing of v3_" in told
    assert json.loads((desk / "kb.json").read_bytes()) == mine
    kb.fails(11, "-C", str(desk), "commit", "-m", "removes everything")
    kb.ok("-C", str(desk), "update")
    kb.ok("-C", str(desk), "commit", "-m", "what is added")
    assert not kb.ok("-C", str(desk), "diff", "v3", "HEAD", "--json").object["removed"]
    assert json.loads((desk / "kb.json").read_bytes()) == {**kb.read(), **mine}
