"""Cases of two people who edit one article: patches by member, and an edited file that takes the newest version."""

import json
from pathlib import Path

import pytest

from tests.cases.support import Desk, two_desks

FIRST = {"p": {"a": {"title": "A", "n": 1}, "b": {"title": "B", "n": 2}}}


@pytest.fixture
def desks(tmp_path: Path) -> tuple[Desk, Desk]:
    """Ann has committed to an article, which Bob edits as it was before."""
    ann, bob = two_desks(tmp_path, FIRST)
    ann.write({"p": {"a": {"title": "A", "n": 5, "sev": "critical"}, "b": {"title": "B", "n": 2}}})
    ann.ok("commit", "-m", "ann")
    return ann, bob


def test_a_patch_of_a_document_keeps_what_others_added(desks: tuple[Desk, Desk]) -> None:
    """Case 13: every member of the article was changed, and it is still not replaced as a whole."""
    _, bob = desks
    bob.write({"p": {"a": {"title": "AA", "n": 7}, "b": {"title": "B", "n": 2}}})
    ended = bob.run("commit", "-m", "bob")
    assert ended.code == 11
    assert "(removed)" not in ended.err
    patch = json.loads(bob.ok("diff", "--patch").out)
    assert [op["path"] for op in patch] == ["/p/a/n", "/p/a/n", "/p/a/title", "/p/a/title"]
    bare = bob.ok("diff", "--patch", "--bare").out
    bob.ok("checkout", "HEAD", "--force")
    bob.ok("apply", "-", "-m", "bob", stdin=bare)
    assert bob.newest()["p"]["a"] == {"title": "AA", "n": 7, "sev": "critical"}


def test_an_edited_file_takes_the_newest_version(desks: tuple[Desk, Desk]) -> None:
    """The edits stay uncommitted, and their commit takes nothing back."""
    _, bob = desks
    bob.write({"p": {"a": {"title": "AA", "n": 1}, "b": {"title": "B", "n": 2}, "c": {}}})
    assert bob.ok("update").err.startswith("kb.json is at v2_")
    both = {"p": {"a": {"title": "AA", "n": 5, "sev": "critical"}, "b": {"title": "B", "n": 2}, "c": {}}}
    assert bob.read() == both
    status = json.loads(bob.ok("status", "--json").out)
    assert (status["behind"], status["clean"], status["added"], status["modified"]) == (0, False, ["c"], ["a"])
    before = bob.file.read_bytes()
    bob.ok("update")
    assert bob.file.read_bytes() == before
    bob.ok("commit", "-m", "bob")
    assert bob.newest() == both


def test_a_clean_file_takes_the_newest_version_too(desks: tuple[Desk, Desk]) -> None:
    """It is clean afterwards."""
    ann, bob = desks
    bob.ok("update")
    assert bob.read() == ann.read()
    assert bob.ok("status").lines[1:] == ["nothing changed"]


def test_the_way_out_of_a_conflict_leads_out(desks: tuple[Desk, Desk]) -> None:
    """The file is left as it is; the steps that the hint names end in a commit that keeps both."""
    _, bob = desks
    bob.write({"p": {"a": {"title": "AA", "n": 7}, "b": {"title": "B", "n": 2}}})
    before = bob.file.read_bytes()
    for command in (["commit", "-m", "bob"], ["update"]):
        ended = bob.run(*command)
        assert ended.code == 11
        assert "/p/a/n" in ended.err
        assert "kbstore update" in ended.err
        assert bob.file.read_bytes() == before
    bob.write({"p": {"a": {"title": "AA", "n": 1}, "b": {"title": "B", "n": 2}}})
    bob.ok("update")
    document = bob.read()
    document["p"]["a"]["n"] = 7
    bob.write(document)
    bob.ok("commit", "-m", "bob")
    assert bob.newest()["p"]["a"] == {"title": "AA", "n": 7, "sev": "critical"}
