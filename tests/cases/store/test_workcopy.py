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
            codes.append(desk.apart("apply", f"p{number}.json", "-m", f"agent {number}").code)
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


PAIR = {"a": [{"id": "x", "v": 1}, {"id": "y", "v": 1}]}


def changed(x: int, y: int) -> Any:
    """The pair with these values."""
    return {"a": [{"id": "x", "v": x}, {"id": "y", "v": y}]}


@pytest.mark.parametrize("killed", [False, True], ids=["remembered", "killed before it was"])
def test_a_write_id_is_for_one_edit(desk: Desk, killed: bool) -> None:
    """Given again after the file was edited on, it is refused, and the edit stays; without the id it is committed."""
    begun(desk, PAIR)
    remembered = {path: path.read_bytes() for path in (desk.folder / ".kbstore" / "files").glob("*.json")}
    desk.write(changed(2, 1))
    desk.ok("commit", "-m", "one", "--write-id", "W1")
    for path, data in remembered.items() if killed else ():
        path.write_bytes(data)
    assert desk.ok("commit", "-m", "one", "--write-id", "W1").out.startswith("v2_")
    for path, data in remembered.items() if killed else ():
        path.write_bytes(data)
    desk.write(changed(2, 7))
    ended = desk.run("commit", "-m", "two", "--write-id", "W1")
    assert ended.code == 3
    assert "write id 'W1' landed already as v2_" in ended.err
    assert desk.read() == changed(2, 7)
    assert desk.newest() == changed(2, 1)
    if killed:
        return
    desk.ok("commit", "-m", "two")
    assert desk.newest() == desk.read() == changed(2, 7)
    assert desk.ok("commit", "-m", "one", "--write-id", "W1").out.startswith("v2_")  # nothing is uncommitted
    assert desk.newest() == desk.read() == changed(2, 7)


def test_a_repeated_commit_is_known_though_others_came_between(tmp_path: Path) -> None:
    """What landed was carried over, so it holds more than the file did; the repetition finds it all the same."""
    ann, bob = two_desks(tmp_path, PAIR)
    ann.write(changed(1, 5))
    ann.ok("commit", "-m", "ann")
    remembered = {path: path.read_bytes() for path in (bob.folder / ".kbstore" / "files").glob("*.json")}
    for edited, told in ((changed(2, 1), "v3_"), (changed(3, 1), "")):
        bob.write(changed(2, 1) if told else edited)
        if told:
            bob.ok("commit", "-m", "bob", "--write-id", "B")
        for path, data in remembered.items():
            path.write_bytes(data)
        bob.write(edited)
        ended = bob.run("commit", "-m", "bob", "--write-id", "B")
        assert (ended.code, ended.out[:3]) == ((0, told) if told else (3, ""))
        assert bob.read() == (changed(2, 5) if told else edited)
        assert bob.newest() == changed(2, 5)


def test_a_write_id_is_for_one_place(desk: Desk) -> None:
    """As above, of places: the same one again is done already, another one is refused."""
    begun(desk, PAIR)
    desk.write(changed(2, 7))
    for _ in range(2):
        assert desk.ok("commit", "-m", "x", "/a/x", "--write-id", "W1").out.startswith("v2_")
    assert desk.run("commit", "-m", "y", "/a/y", "--write-id", "W1").code == 3
    assert desk.newest() == changed(2, 1)
    assert desk.read() == changed(2, 7)


@pytest.mark.parametrize("filed", [True, False], ids=["file", "no file"])
def test_a_write_id_is_for_one_patch_or_restoration(desk: Desk, filed: bool) -> None:
    """The same apply or restore again is done already; any other command with its id is refused."""
    begun(desk, changed(1, 1))
    folder = desk if filed else Desk(desk.folder.parent / "b")
    where = [] if filed else ["--store", str(desk.folder / ".kbstore" / "kb.db")]
    mine, other = (f'[{{"op": "replace", "path": "/a/{at}/v", "value": 3}}]' for at in (0, 1))
    for _ in range(2):
        assert folder.ok(*where, "apply", "-", "-m", "x", "--write-id", "P", stdin=mine).out.startswith("v2_")
    assert folder.run(*where, "apply", "-", "-m", "y", "--write-id", "P", stdin=other).code == 3
    assert folder.run(*where, "restore", "v1", "--write-id", "P").code == 3
    assert desk.newest() == changed(3, 1)
    for _ in range(2):
        assert folder.ok(*where, "restore", "HEAD~1", "--write-id", "R").out.startswith("v3_")
    assert folder.run(*where, "restore", "v2", "--write-id", "R").code == 3
    assert folder.run(*where, "apply", "-", "-m", "y", "--write-id", "R", stdin=other).code == 3
    assert desk.newest() == changed(1, 1)
