"""Things have identity, not positions: changes, differences and pointers follow an article wherever it is."""

import json
from pathlib import Path

from kbstore import Store
from tests.cases.support import Desk, two_desks


def test_an_edit_lands_at_its_article_whatever_was_put_above_it(tmp_path: Path) -> None:
    """Case 01: in a small array, Ann puts an article on top and Bob raises the severity of another one."""
    login, mail, outage = ({"id": name, "severity": "low"} for name in ("login", "mail", "outage"))
    ann, bob = two_desks(tmp_path, [login, mail])
    ann.write([outage, login, mail])
    ann.ok("commit", "-m", "ann")
    bob.write([login, {**mail, "severity": "critical"}])
    bob.ok("commit", "-m", "bob")
    assert ann.newest() == [outage, login, {**mail, "severity": "critical"}]
    ann.ok("checkout", "HEAD")
    ann.write([outage, login])
    ann.ok("commit", "-m", "mail is gone")
    bob.write([outage, login, {**mail, "severity": "none"}])
    refused = bob.run("commit", "-m", "bob")
    assert refused.code == 11
    assert refused.err.splitlines()[1:4] == [
        "  /[id=mail]",
        '    ours:   {"id":"mail","severity":"none"}',
        "    theirs: (removed)",
    ]


def test_an_id_that_is_there_twice_spoils_no_other_article(tmp_path: Path) -> None:
    """Case 15: one id stands twice; an article that is put on top is the only change."""
    articles = [{"id": f"a{n}", "title": f"T{n}"} for n in range(6)] + [{"id": "a2", "title": "again"}]
    new = {"id": "new", "title": "N"}
    with Store.create("memory:", {"articles": articles}) as kb:
        kb.commit({"articles": [new, *articles]})
        diff = kb.diff("v1", "v2")
        assert (diff.added, diff.removed, diff.modified, diff.moved) == (["new"], [], [], [])
        assert diff.patch == [{"op": "add", "path": "/articles/0", "value": new}]
        edited = [*articles[:-1], {"id": "a2", "title": "once more"}]
        kb.commit({"articles": [new, {**articles[0], "title": "T"}, *edited[1:]]})
        diff = kb.diff("v2", "v3")
        assert (diff.added, diff.removed, diff.modified) == ([], [], ["7", "a0"])
        assert [(change.pointer, change.address) for change in diff.changes()] == [
            ("/articles/1/title", "/articles/[id=a0]/title"),
            ("/articles/7/title", "/articles/7/title"),
        ]


def test_status_and_diff_agree_on_a_reorder(tmp_path: Path) -> None:
    """Case 23: articles only change places."""
    a, b, c = ({"id": name, "t": name.upper()} for name in "abc")
    desk = Desk(tmp_path / "work")
    desk.write({"articles": [a, b, c]})
    desk.ok("init", "kb.json")
    desk.write({"articles": [c, b, a]})
    told = "the order of 3 entries changed"
    status, diff, stat = (desk.ok(*arguments) for arguments in (("status",), ("diff",), ("diff", "--stat")))
    assert status.lines[1:] == [f"uncommitted: {told}", "  > a", "  > b"]
    assert diff.lines[:3] == ["> b  moved", "> a  moved", ""]
    assert f": {told}; 2 paths" in diff.lines[-1]
    assert stat.lines[-1] == f" {told}; paths: 2 moved(>)"
    unified, page = desk.ok("diff", "--unified"), desk.ok("diff", "--html", "-")
    assert unified.lines == ["# moved: /articles/[id=b]", "# moved: /articles/[id=a]"]
    assert (page.out.count('<span class="kind">moved</span>'), page.out.count("<del>")) == (2, 0)
    fields = json.loads(desk.ok("status", "--json").out)
    assert (fields["added"], fields["removed"], fields["modified"], fields["moved"]) == ([], [], [], ["a", "b"])
    desk.write({"articles": [a, c, {**b, "t": "B2"}]})
    assert desk.ok("status").lines[1] == "uncommitted: 1 modified, 1 moved"
    assert ": 1 modified, 1 moved; " in desk.ok("diff").lines[-1]
    assert desk.ok("diff", "--stat").lines[-1].startswith(" 1 modified, 1 moved; paths: ")
    assert desk.ok("commit", "-m", "b2").err.splitlines() == ["1 modified: b; 1 moved: b"]
    told = desk.ok("diff", "v1", "v2", "/articles/b/t", "--unified").lines
    assert [line.partition("/")[2] for line in told[:2]] == ["articles/[id=b]/t"] * 2


def test_an_addition_and_an_edit_of_another_article_go_together(tmp_path: Path) -> None:
    """Case 09: Ann adds an article, Bob edits another one."""
    one, two, three = ({"id": f"a{n}", "title": title} for n, title in enumerate(("One", "Two", "Three"), 1))
    ann, bob = two_desks(tmp_path, {"articles": [one, two]})
    ann.write({"articles": [one, two, three]})
    ann.ok("commit", "-m", "ann")
    bob.write({"articles": [{**one, "title": "ONE"}, two]})
    bob.ok("commit", "-m", "bob")
    assert ann.newest() == {"articles": [{**one, "title": "ONE"}, two, three]}
    assert bob.read() == ann.newest()


def test_the_same_edit_on_both_sides_is_no_conflict(tmp_path: Path) -> None:
    """Case 11: both make the same correction; Bob makes another one as well."""
    ann, bob = two_desks(tmp_path, {"p": {"x": {"t": "old", "s": 1}}})
    ann.write({"p": {"x": {"t": "new", "s": 1}}})
    ann.ok("commit", "-m", "ann")
    bob.write({"p": {"x": {"t": "new", "s": 2}}})
    bob.ok("commit", "-m", "bob")
    assert ann.newest() == {"p": {"x": {"t": "new", "s": 2}}}
    assert json.loads(ann.ok("show", "HEAD", "--json").out)["patch"] == [
        {"op": "replace", "path": "/p/x/s", "value": 2}
    ]


def test_two_appends_are_both_kept(tmp_path: Path) -> None:
    """Case 25: two appends by patch; of the same value, which may be meant once or twice, the conflict shows both."""
    desk = Desk(tmp_path / "work")
    desk.write({"notes": []})
    desk.ok("init", "kb.json")
    add = '[{{"op":"add","path":"/notes/-","value":"{}"}}]'
    desk.ok("apply", "-", "-m", "one", stdin=add.format("one"))
    desk.ok("apply", "-", "--base", "v1", "-m", "two", stdin=add.format("two"))
    assert desk.newest() == {"notes": ["one", "two"]}
    refused = desk.run("apply", "-", "--base", "v1", "-m", "again", stdin=add.format("one"))
    assert refused.code == 11
    assert refused.err.splitlines()[1:4] == ["  /notes/0", '    ours:   "one"', '    theirs: "one"']
    assert desk.newest() == {"notes": ["one", "two"]}


def test_two_members_together_identify(tmp_path: Path) -> None:
    """Case 45: city and hall together are the key; one hall has other seats, and they changed places."""
    a, b = ({"city": city, "hall": "x", "seats": 1} for city in "AB")
    desk = Desk(tmp_path / "work")
    desk.write({"halls": [a, b]})
    desk.ok("init", "kb.json")
    desk.write({"halls": [{**b, "seats": 2}, a]})
    for configured in (False, True):
        if configured:
            desk.ok("config", "identity", "/halls", "city,hall")
            desk.ok("config", "collection", "/halls")
            assert desk.ok("config").lines == ["collection /halls", "identity /halls city,hall"]
        status, diff = desk.ok("status"), desk.ok("diff")
        assert status.lines[1:] == ["uncommitted: 1 modified, 1 moved", "  ~ [city=B,hall=x]", "  > [city=A,hall=x]"]
        assert diff.lines[:4] == ["~ [city=B,hall=x]", "    /seats  1 -> 2", "", "> [city=A,hall=x]  moved"]
        assert ": 1 modified, 1 moved; 2 paths" in diff.lines[-1]
        assert desk.ok("get", "/halls/[city=B,hall=x]/seats").out == "1\n"
    desk.ok("config", "identity", "/halls", "--unset")
    assert desk.ok("config", "identity").lines == []
    refused = desk.run("config", "identity", "/halls", "city,,hall")
    assert (refused.code, refused.err.splitlines()[0]) == (3, "error: 'city, , hall' cannot identify elements")


def test_the_log_of_an_article_follows_it(tmp_path: Path) -> None:
    """Case 17: who changed article b, which is at index 2 now?"""
    a, b, c = ({"id": name, "title": name.upper()} for name in "abc")
    desk = Desk(tmp_path / "work")
    desk.write({"articles": [a, b, c]})
    desk.ok("init", "kb.json")
    b["title"] = "B2"
    desk.write({"articles": [a, b, c]})
    desk.ok("commit", "-m", "edit b")
    desk.write({"articles": [{"id": "new", "title": "N"}, a, b, c]})
    desk.ok("commit", "-m", "new on top")
    assert json.loads(desk.ok("get", "/articles/2").out) == b == json.loads(desk.ok("get", "/articles/b").out)
    for pointer in ("/articles/2", "/articles/b", "/articles/[id=b]"):
        told = desk.ok("log", "--oneline", "--path", pointer).lines
        assert [line.partition(" ")[2].partition(" ")[2] for line in told] == ["edit b", "first version"]
    assert desk.ok("show", "v2", "/articles/b", "--stat").lines[-2] == " /articles/[id=b] | 1 ~"
    assert desk.ok("diff", "v1", "v3", "/articles/b/title").lines[:2] == ["~ b  B2", '    /title  "B" -> "B2"']
