"""Things have identity, not positions: changes, differences and pointers follow an article wherever it is."""

from pathlib import Path

from tests.cases.support import two_desks


def test_an_edit_lands_at_its_article_whatever_was_put_above_it(tmp_path: Path) -> None:
    """Case 01: in a small array, Ann puts an article on top and Bob raises the severity of another one."""
    login, mail, outage = ({"id": name, "severity": "low"} for name in ("login", "mail", "outage"))
    ann, bob = two_desks(tmp_path, [login, mail])
    ann.write([outage, login, mail])
    ann.ok("commit", "-m", "ann")
    bob.write([login, {**mail, "severity": "critical"}])
    ended = bob.run("commit", "-m", "bob")
    assert ended.code in (0, 11), ended
    assert {article["id"]: article["severity"] for article in ann.newest()} == {
        "outage": "low",
        "login": "low",
        "mail": "critical" if ended.code == 0 else "low",
    }
