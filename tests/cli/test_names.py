"""Commands for names of versions: tag, branch."""

import pytest

from kbstore import Store
from kbstore.worktree.json_file import WorkFileError
from kbstore.worktree.project import Project
from tests.cli.support import Shell


def test_tags_are_set_listed_moved_and_removed(kb: Shell) -> None:
    """A tag names the newest version, or the given one; it moves only with --force."""
    assert kb.ok("tag").out == ""
    assert kb.ok("tag", "stable", "v2").err.startswith("stable is v2_")
    kb.ok("tag", "latest")
    assert [row.split()[0] for row in kb.ok("tag").lines] == ["latest", "stable"]
    assert kb.ok("tag").lines[1].split("  ")[1].startswith("v2_")
    assert "--force" in kb.fails(3, "tag", "stable", "v3").err
    assert kb.ok("show", "stable", "--json").object["seq"] == 2
    kb.ok("tag", "stable", "v3", "--force")
    assert kb.ok("show", "stable", "--json").object["seq"] == 3
    assert kb.ok("tag", "-d", "stable").err == "removed the tag stable\n"
    kb.fails(3, "show", "stable")
    kb.fails(3, "tag", "-d", "stable")


@pytest.mark.parametrize("name", ["HEAD", "v3", "v3_2025", "abcd", "0123456789", "a b", "../x", "-x", "a\x1b[2J", ""])
def test_a_tag_cannot_be_taken_for_another_revision(kb: Shell, name: str) -> None:
    """Names that have another form of revision, or none of a name, are refused."""
    kb.fails(3, "tag", "--", name, "v1")
    assert kb.ok("tag").out == ""


@pytest.mark.parametrize("arguments", [["tag", "--force"], ["tag", "-d", "a", "b"], ["tag", "-d", "a", "--force"]])
def test_half_a_tag_command_is_refused(kb: Shell, arguments: list[str]) -> None:
    """What was meant is not guessed."""
    kb.fails(2, *arguments)


def test_a_tag_belongs_to_who_set_it(kb: Shell) -> None:
    """--author stands in the chain of tags too, which `verify` covers."""
    kb.ok("tag", "stable", "v2", "--author", "Ana")
    kb.ok("verify")


def test_branches_are_started_listed_and_followed(kb: Shell) -> None:
    """A branch starts at a version; the file follows where it is told to."""
    kb.ok("branch", "draft", "v1")
    assert kb.ok("branch").lines == ["  draft", "* main"]
    kb.ok("branch", "--switch", "draft")
    assert kb.ok("branch").lines == ["* draft", "  main"]
    assert "p3" in kb.read()["problems"]
    kb.edit("p3", votes=1)
    kb.ok("commit", "-m", "on the draft")
    assert [row["message"] for row in kb.ok("log", "--json").objects] == ["on the draft", "first version"]
    assert len(kb.ok("log", "--branch", "main", "--json").objects) == 3
    assert sorted(kb.ok("diff", "draft", "main", "--name-only").lines) == [
        "/problems/p1",
        "/problems/p3",
        "/problems/p4",
    ]
    kb.ok("branch", "--switch", "main")
    assert "p4" in kb.read()["problems"]
    kb.ok("verify")


def test_a_branch_that_is_not_there(kb: Shell) -> None:
    """It is refused by name; a name that is taken is too."""
    assert "there is no branch 'nope'" in kb.fails(3, "branch", "--switch", "nope").err
    assert "there is no branch 'nope'" in kb.fails(3, "log", "--branch", "nope").err
    kb.ok("branch", "draft")
    assert kb.fails(3, "branch", "draft").err == "error: the name 'draft' is taken\n"
    kb.fails(3, "tag", "draft")
    kb.fails(2, "branch", "--switch")
    kb.fails(2, "branch", "--switch", "draft", "v1")


def test_a_switch_to_a_branch_that_is_not_there_names_the_steps_that_start_it(kb: Shell) -> None:
    """The steps of the hint work; the file was not touched before."""
    told = kb.fails(3, "branch", "nope", "--switch").err
    assert "to start it: kbstore branch nope, then kbstore branch --switch nope\n" in told
    kb.ok("branch", "nope")
    kb.ok("branch", "--switch", "nope")
    assert kb.ok("branch").lines == ["  main", "* nope"]


def test_the_main_branch_is_refused_as_such_whichever_branch_is_current(kb: Shell) -> None:
    """No other branch helps, so no hint says so; the open branch is removed from another one, as the hint says."""
    kb.ok("branch", "draft")
    kb.ok("branch", "plan")
    for options in ([], ["--branch", "draft"]):
        assert kb.fails(3, *options, "branch", "-d", "main").err == "error: the main branch cannot be removed\n"
    told = kb.fails(3, "--branch", "plan", "branch", "-d", "plan").err
    assert told.endswith("hint: open another one: kbstore --branch main branch -d plan\n")
    kb.ok("--branch", "main", "branch", "-d", "plan")
    kb.ok("branch", "--switch", "draft")
    assert kb.fails(3, "branch", "-d", "main").err == "error: the main branch cannot be removed\n"
    told = kb.fails(3, "branch", "-d", "draft").err
    assert told.endswith("hint: work on another one first: kbstore branch --switch main\n")
    kb.ok("branch", "--switch", "main")
    kb.ok("branch", "-d", "draft")


def test_a_switch_that_was_cut_short_goes_on(kb: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is on the other branch by then: exit 13, status says so, and the same command again ends well."""
    kb.ok("branch", "draft", "v1")
    with Store.open(kb.folder / ".kbstore" / "kb.db", branch="draft", author="they") as draft:
        draft.commit(patch=[{"op": "replace", "path": "/name", "value": "draft"}], base="v1")

    def full(*_: object, **__: object) -> None:
        raise WorkFileError("cannot write config.json: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Project, "change", full)
        told = kb.fails(13, "branch", "--switch", "draft").err
    assert "the file is at v2_" in told
    assert "run the same command again" in told
    assert "the file follows draft; commands work on main" in kb.ok("status").out
    kb.ok("branch", "--switch", "draft")
    assert kb.ok("status").lines[1:] == ["nothing changed"]
    assert kb.read()["name"] == "draft"
