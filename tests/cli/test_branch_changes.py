"""Branches that are renamed or removed while files follow them: from the command line, in two folders."""

import pytest

from tests.cli.support import Shell


@pytest.fixture
def ann(shell: Shell) -> Shell:
    """The folder with the store, and a first version."""
    shell.write({"n": 1})
    shell.ok("init", "kb.json")
    return shell


@pytest.fixture
def bob(ann: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Another folder with the same store."""
    other = at(ann, monkeypatch, "b")
    other.write({"n": 1})
    other.ok("init", "kb.json", "--store", str(ann.folder))
    return other


def at(shell: Shell, monkeypatch: pytest.MonkeyPatch, name: str) -> Shell:
    """A folder beside that of a shell."""
    folder = shell.folder.parent / name
    folder.mkdir(exist_ok=True)
    return Shell(folder, monkeypatch)


def test_a_file_follows_a_renamed_branch_wherever_it_is(ann: Shell, bob: Shell) -> None:
    """In the folder where it was renamed, and in one of the same store; with what is uncommitted in the file."""
    ann.ok("branch", "draft")
    for desk in (ann, bob):
        desk.ok("branch", "--switch", "draft")
    ann.write({"n": 2})
    ann.ok("commit", "-m", "2")
    bob.ok("checkout")
    bob.write({"n": 3})
    assert ann.ok("branch", "-m", "draft", "release", "--json").object == {
        "schema_version": 1,
        "branch": "release",
        "old": "draft",
    }
    assert "branch release" in ann.ok("status").out
    told = bob.ok("status")
    assert "the branch draft is called release now" in told.err
    assert "branch release" in told.out
    assert "uncommitted" in told.out
    bob.ok("commit", "-m", "3")
    ann.ok("branch", "draft", "v1")
    ann.ok("checkout")
    assert (ann.read(), ann.ok("branch").lines) == ({"n": 3}, ["  draft", "  main", "* release"])


def test_a_branch_that_others_removed_is_left_or_started_again(ann: Shell, bob: Shell) -> None:
    """Nothing in the file or the history is lost, and each hint leads on."""
    ann.ok("branch", "draft")
    bob.ok("branch", "--switch", "draft")
    bob.write({"n": 2})
    bob.ok("commit", "-m", "2")
    refused = ann.run("branch", "-d", "draft")
    assert (refused.code, "1 version that is on no other branch" in refused.err) == (3, True)
    followed = bob.run("branch", "-d", "draft", "--force")
    assert (followed.code, "is the one that the file follows" in followed.err) == (3, True)
    assert bob.run("--branch", "main", "branch", "-d", "draft", "--force").code == 3
    assert "its versions can be read by their ids" in ann.ok("branch", "-d", "draft", "--force").err
    bob.write({"n": 3})
    told = bob.run("commit", "-m", "3")
    assert told.code == 3
    assert "there is no branch 'draft'; it was removed" in told.err
    assert "start it again where it ended: kbstore branch draft" in told.err
    bob.ok("branch", "draft")
    bob.ok("commit", "-m", "3")
    assert (bob.ok("get", "", "--json").object["value"], bob.ok("status").out.splitlines()[0][-6:]) == (
        {"n": 3},
        " draft",
    )
    ann.ok("branch", "-d", "draft", "--force")
    assert bob.ok("branch").lines == ["  main"]
    bob.ok("branch", "--switch", "main")
    assert (bob.read(), bob.ok("verify").code) == ({"n": 1}, 0)


def test_clones_take_the_new_names_of_branches(ann: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """By pull, with the file that follows the branch, by push, and by export and import."""
    ann.ok("branch", "draft")
    ann.ok("branch", "--switch", "draft")
    ann.ok("clone", ".", "../c")
    carl = at(ann, monkeypatch, "c")
    carl.ok("branch", "--switch", "draft")
    ann.write({"n": 2})
    ann.ok("commit", "-m", "2")
    ann.ok("branch", "-m", "draft", "release")
    carl.ok("pull")
    assert (carl.read(), carl.ok("branch").lines) == ({"n": 2}, ["  main", "* release"])
    carl.ok("branch", "--switch", "main")
    carl.ok("branch", "-d", "release", "--force")
    carl.ok("push")
    assert ann.ok("--branch", "main", "export").raw == carl.ok("export").raw
    assert "it was removed" in ann.run("status").err
    carl.ok("import", "-", "--store", "new.db", stdin=carl.ok("export").raw)
    assert carl.ok("branch", "--store", "new.db").lines == ["* main"]


def test_a_conflict_with_another_branch_than_the_files_leads_on(ann: Shell) -> None:
    """The file follows main; the update that the hint names takes the version of the other branch."""
    ann.write({"n": 1, "m": 1})
    ann.ok("commit", "-m", "m")
    ann.ok("branch", "plan")
    ann.ok("--branch", "plan", "apply", "-", "-m", "9", stdin=b'[{"op": "replace", "path": "/n", "value": 9}]')
    ann.write({"n": 5, "m": 5})
    told = ann.run("commit", "--branch", "plan", "-m", "5")
    assert (told.code, "and run kbstore update --branch plan, which" in told.err) == (11, True)
    assert "and run kbstore update --branch plan, which" in ann.run("update", "--branch", "plan").err
    ann.write({"n": 1, "m": 5})
    ann.ok("update", "--branch", "plan")
    assert ann.read() == {"n": 9, "m": 5}
    ann.ok("commit", "--branch", "plan", "-m", "5")
    assert ann.ok("get", "", "--at", "plan", "--json").object["value"] == {"n": 9, "m": 5}


def test_push_names_the_newest_version_of_the_branch(ann: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The version that was pushed or pulled, with its branch; of main without its name."""
    ann.ok("clone", ".", "../c")
    carl = at(ann, monkeypatch, "c")
    carl.ok("branch", "draft")
    carl.ok("branch", "--switch", "draft")
    carl.write({"n": 2})
    made = carl.ok("commit", "-m", "2").out.split()[0]
    told = carl.ok("push").out
    assert told.startswith("1 version and 1 change of tags and branches pushed to ")
    assert told.endswith(f"; the newest is {made} of branch draft\n")
    assert carl.ok("pull").out == f"nothing to copy; the newest is {made} of branch draft\n"
    assert carl.ok("--branch", "main", "push").out.startswith("nothing to copy; the newest is v1_")


def test_options_of_branch_that_exclude_one_another(ann: Shell) -> None:
    """Each is refused as a usage error, and nothing is done."""
    ann.ok("branch", "x")
    for options in (["-d", "x", "y"], ["-d", "x", "-m", "x", "y"], ["-m", "x", "y", "--force"], ["y", "--force"]):
        assert ann.run("branch", *options).code == 2, options
    assert ann.run("branch", "-d", "main").code == 3
    assert ann.ok("branch").lines == ["* main", "  x"]
