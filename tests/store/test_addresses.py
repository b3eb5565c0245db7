"""Pointers that name elements of arrays by identity, resolved at each version that they are used on."""

from typing import Any

import pytest

from kbstore import PointerError, Store
from kbstore.history.settings import identity_setting
from kbstore.jsondoc.identity import element_token, parse_token

MAIL, LOGIN, NEW = {"id": "mail", "severity": "low"}, {"id": "login", "severity": "low"}, {"id": "new"}


def history(location: str, size: int) -> Store:
    """v1: mail, login. v2: mail is critical. v3: something new on top. v4: login is gone. v5: it is back."""
    pad = {"text": "x" * size}
    mail, login, new = ({**article, **pad} for article in (MAIL, LOGIN, NEW))
    critical = {**mail, "severity": "critical"}
    kb = Store.create(location, {"articles": [mail, login], "n": 0})
    kb.commit({"articles": [critical, login], "n": 0})
    kb.commit({"articles": [new, critical, login], "n": 0})
    kb.commit({"articles": [new, critical], "n": 1})
    kb.commit({"articles": [new, critical, login], "n": 1})
    return kb


@pytest.mark.parametrize("size", [0, 3000])
@pytest.mark.parametrize("token", ["mail", "[id=mail]"])
def test_an_address_leads_to_its_element_in_every_version(location: str, size: int, token: str) -> None:
    """Wherever it is in its array, inline or not."""
    with history(location, size) as kb:
        assert [kb.get(f"/articles/{token}/severity", at) for at in ("v1", "v2", "v5")] == [
            "low",
            "critical",
            "critical",
        ]
        assert kb.get("/articles/login", "v4", default=None) is None
        assert kb.get("/articles/[severity=critical]/id") == "mail"
        with pytest.raises(PointerError):
            kb.get("/articles/none")


@pytest.mark.parametrize("size", [0, 3000])
def test_the_log_of_an_element_is_its_own(location: str, size: int) -> None:
    """By index, which means a position in the newest version that is listed, and by identity."""
    with history(location, size) as kb:

        def versions(path: str, last: str | None = None) -> list[int]:
            return [version.seq for version in kb.log(last=last, path=path, newest_first=False)]

        assert versions("/articles/1") == versions("/articles/mail") == versions("/articles/[id=mail]") == [1, 2]
        assert versions("/articles/1/severity") == versions("/articles/mail/severity") == [1, 2]
        assert versions("/articles/2") == versions("/articles/login") == [1, 4, 5]
        assert versions("/articles/login", "v4") == [1, 4]
        assert versions("/articles/1", "v1") == [1]
        assert versions("/articles/new") == [3]
        assert versions("/articles/none") == []
        assert versions("/articles") == [1, 2, 3, 4, 5]
        assert versions("/n") == [1, 4]


def test_a_diff_at_an_address_compares_the_element(location: str) -> None:
    """Its place on each side is its own; what is printed names it, and the patch is for the older version."""
    with history(location, 0) as kb:
        diff = kb.diff("v1", "v3", "/articles/mail")
        assert (diff.added, diff.removed, diff.modified, diff.moved) == ([], [], ["mail"], [])
        assert [change.address for change in diff.changes()] == ["/articles/[id=mail]/severity"]
        assert diff.patch == [{"op": "replace", "path": "/articles/0/severity", "value": "critical"}]
        assert diff.names() == "/articles/[id=mail]\n"
        assert not kb.diff("v2", "v5", "/articles/mail")
        assert kb.diff("v2", "v3", "/articles/new").added == ["new"]
        assert kb.diff("v3", "v4", "/articles/login").removed == ["login"]


def test_a_diff_at_an_id_that_was_edited(location: str) -> None:
    """The pointer names nothing on one side, so there it is added, or removed; the array knows the element again."""
    rows = [{"slug": f"s{n}", "title": f"a title of its own, {n}"} for n in range(4)]
    with Store.create(location, {"articles": rows}) as kb:
        edited = [{**rows[0], "slug": "new"}, *rows[1:]]
        kb.commit({"articles": edited})
        assert kb.diff("v1", "v2", "/articles/new").added == ["new"]
        assert kb.diff("v1", "v2", "/articles/s0").removed == ["s0"]
        for pointer in ("", "/articles"):
            diff = kb.diff("v1", "v2", pointer)
            assert (diff.added, diff.removed) == ([], [])
            assert diff.patch == [{"op": "replace", "path": "/articles/0/slug", "value": "new"}]


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/list/2", "at two"),
        ("/list/[id=2]/v", "by number"),
        ("/list/[id=b]/v", "by text"),
        ("/list/b/v", "by text"),
        ("/list/[city=Bonn,hall=3]/v", "by both"),
        ("/list/[id=a%2Cb%5D%3D%25]/v", "encoded"),
        ("/list/a,b]=%/v", "encoded"),
        ("/list/~1~0/v", "escaped"),
        ("/list/[id=~1~0]/v", "escaped"),
        ("/object/[id=b]", "a name"),
        ("/places/[city=Bonn,hall=3]/v", "set"),
        ("/list/[none=b]", None),
        ("/list/[id]", None),
        ("/list/-", None),
        ("/list/99", None),
        ("/places/Bonn", None),
    ],
)
def test_the_grammar_of_a_token(pointer: str, value: Any) -> None:
    """It counts only where it meets an array; digits alone are an index."""
    document = {
        "list": [
            {"id": 2, "v": "by number"},
            {"id": "b", "v": "by text"},
            "at two",
            {"id": "h", "city": "Bonn", "hall": 3, "v": "by both"},
            {"id": "a,b]=%", "v": "encoded"},
            {"id": "/~", "v": "escaped"},
        ],
        "object": {"[id=b]": "a name"},
        "places": [{"city": "Bonn", "hall": 3, "v": "set"}, {"city": "Bonn", "hall": 4}],
    }
    kb = Store.create("memory:", document)
    kb.set(identity_setting("/places"), ["city", "hall"])
    assert kb.get(pointer, default=None) == value


def test_an_ambiguous_token_is_refused_with_its_candidates() -> None:
    """A text and a number that print alike, and an id that is there twice."""
    kb = Store.create("memory:", [{"id": 7}, {"id": "7"}, {"id": "x"}, {"id": "x"}, {"id": "y"}, {"id": "z"}])
    for token, places in (("[id=7]", "/0, /1"), ("x", "/2, /3")):
        with pytest.raises(PointerError, match=f"names 2 elements: {places}$") as refused:
            kb.get(f"/{token}")
        assert refused.value.hint is not None
    assert kb.get("/y") == {"id": "y"}


def test_an_id_that_is_doubled_where_nothing_changed() -> None:
    """A comparison does not see it; the address that it prints is refused, and its pointer leads to the element."""
    articles = [{"id": f"a{at}", "text": "x" * 50, "n": at} for at in range(600)]
    articles[10]["id"] = "a500"
    kb = Store.create("memory:", {"articles": articles})
    articles[500]["n"] = -1
    kb.commit({"articles": articles})
    (change,) = kb.diff("v1", "v2").changes()
    assert kb.get(change.pointer) == change.new == -1
    with pytest.raises(PointerError, match="/articles/10, /articles/500"):
        kb.get(change.address)


@pytest.mark.parametrize("key", [("mail",), (7, "a,b"), ("]=%", "[x=y]")])
def test_a_token_reads_back(key: tuple[str | int, ...]) -> None:
    """What is printed names the same members and values."""
    names = ("id", "a=b,c]%")[: len(key)]
    assert parse_token(element_token(names, key)) == (names, tuple(map(str, key)))
