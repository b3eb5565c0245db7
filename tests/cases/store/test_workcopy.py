"""Cases of the file that people edit: what is committed of it, what lands once, what a recipe does elsewhere."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.cases.support import Desk, two_desks


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A folder with nothing in it."""
    return Desk(tmp_path / "a")


def begun(desk: Desk, document: Any) -> Desk:
    """Begin a history of this document."""
    desk.write(document)
    desk.ok("init", "kb.json")
    return desk


def test_five_agents_at_once_land_once_each(desk: Desk) -> None:
    """Case 03: each adds a note, and runs its command again until it ends well; none is lost, none lands twice."""
    begun(desk, {"notes": {f"n{i}": [] for i in range(5)}})

    def agent(number: int) -> list[int]:
        patch = [{"op": "add", "path": f"/notes/n{number}/-", "value": f"note of {number}"}]
        (desk.folder / f"p{number}.json").write_text(json.dumps(patch))
        codes: list[int] = []
        while 0 not in codes and len(codes) < 20:
            codes.append(desk.run("apply", f"p{number}.json", "-m", f"agent {number}").code)
        return codes

    with ThreadPoolExecutor() as pool:
        ended = list(pool.map(agent, range(5)))
    assert all(codes[-1] == 0 for codes in ended), ended
    assert desk.newest() == desk.read() == {"notes": {f"n{i}": [f"note of {i}"] for i in range(5)}}
    assert desk.ok("status").lines[1:] == ["nothing changed"]


def test_a_conflict_is_an_object_for_programs(tmp_path: Path) -> None:
    """Case 47: with --json a conflict is one JSON object on stdout, with all three values."""
    ann, bob = two_desks(tmp_path, {"p": {"x": {"t": "X"}}})
    ann.write({"p": {"x": {"t": "XA"}}})
    bob.write({"p": {"x": {"t": "XB"}}})
    ann.ok("commit", "-m", "ann")
    ended = bob.run("commit", "-m", "again", "--json")
    assert ended.code == 11
    assert json.loads(ended.out) == {
        "schema_version": 1,
        "pointer": "/p/x/t",
        "kind": "both-modified",
        "base": "X",
        "ours": "XB",
        "theirs": "XA",
    }
    assert ended.err.startswith("error: ")


LOW = {"articles": [{"id": "login", "severity": "low"}, {"id": "mail", "severity": "low"}]}
ON_TOP = {"articles": [{"id": "outage", "severity": "low"}, *LOW["articles"]]}


def test_the_hint_of_a_conflict_changes_no_other_article(tmp_path: Path) -> None:
    """Case 05: whatever the two did, the way that the hint names never edits an article that nobody meant."""
    ann, bob = two_desks(tmp_path, LOW)
    ann.write(ON_TOP)
    bob.write({"articles": [{"id": "login", "severity": "critical"}, {"id": "mail", "severity": "low"}]})
    ann.ok("commit", "-m", "ann")
    ended = bob.run("commit", "-m", "bob")
    for form in ("--json", "--patch"):
        (bob.folder / "mine.json").write_text(bob.ok("diff", form).out)
        bob.ok("checkout", "HEAD", "--force")
        bob.run("apply", "mine.json", "-m", "bob: login is critical")
    found = {article["id"]: article["severity"] for article in bob.read()["articles"]}
    assert found == {"outage": "low", "login": "low" if ended.code else "critical", "mail": "low"}
    assert ended.code == 0 or "apply" not in ended.err


def test_a_change_is_picked_from_a_branch(desk: Desk) -> None:
    """Case 07: the example of apply's help; the patch alone is refused, since another article is at its place."""
    begun(desk, LOW)
    desk.ok("branch", "draft", "v1")
    patch = '[{"op": "replace", "path": "/articles/1/severity", "value": "critical"}]'
    desk.ok("--branch", "draft", "apply", "-", "-m", "mail is critical", "--file", "none.json", stdin=patch)
    desk.write(ON_TOP)
    desk.ok("commit", "-m", "new on top")
    alone = desk.ok("--branch", "draft", "diff", "v1", "v2", "--patch").out
    ended = desk.run("apply", "-", "-m", "picked from draft", stdin=alone)
    assert ended.code == 3
    assert """the value there is "login", not "mail\"""" in ended.err
    assert desk.read() == desk.newest() == ON_TOP
    ended = desk.run("apply", "-", "-m", "picked", stdin=desk.ok("--branch", "draft", "diff", "v1", "v2", "--json").out)
    assert ended.code in (0, 11), ended
    found = {article["id"]: article["severity"] for article in desk.read()["articles"]}
    assert found == {"outage": "low", "login": "low", "mail": "low" if ended.code else "critical"}


def test_one_article_is_committed_alone(desk: Desk) -> None:
    """Case 39: of two edited articles only that one is committed, and the other stays uncommitted in the file."""
    begun(desk, {"p": {"x": {"t": "X"}, "y": {"t": "Y"}}})
    desk.write({"p": {"x": {"t": "X2"}, "y": {"t": "Y2"}}})
    ended = desk.ok("commit", "-m", "only y", "/p/y")
    assert ended.err == "1 modified: y\n"
    assert desk.newest() == {"p": {"x": {"t": "X"}, "y": {"t": "Y2"}}}
    assert desk.read() == {"p": {"x": {"t": "X2"}, "y": {"t": "Y2"}}}
    assert desk.ok("status").lines[1:] == ["uncommitted: 1 modified", "  ~ x"]
    assert desk.ok("diff", "/p/y", "--patch").out == "[]\n"
    desk.ok("commit", "-m", "x too")
    assert desk.newest() == desk.read()


def test_an_article_that_moved_is_committed_by_its_identity(desk: Desk) -> None:
    """As case 39, in an array whose elements a setting of the store identifies: a pointer means the file."""
    halls = [{"city": "Bonn", "hall": 3, "open": 9}, {"city": "Bonn", "hall": 4, "open": 9}]
    begun(desk, {"places": halls})
    desk.ok("config", "identity", "/places", "city,hall")
    third = {"city": "Ulm", "hall": 1, "open": 8}
    desk.write({"places": [third, {**halls[0], "open": 10}, {**halls[1], "open": 10}]})
    desk.ok("commit", "-m", "hall 4 alone", "/places/2/open")
    assert desk.newest() == {"places": [halls[0], {**halls[1], "open": 10}]}
    desk.ok("commit", "-m", "the new one alone", "/places/[city=Ulm,hall=1]")
    assert desk.newest() == {"places": [third, halls[0], {**halls[1], "open": 10}]}
    assert desk.ok("status").lines[1] == "uncommitted: 1 modified"
    desk.ok("commit", "-m", "the rest")
    assert desk.newest() == desk.read()
