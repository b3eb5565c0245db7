"""Cases of the order of members: what one person writes is what everybody sees, on every machine."""

import json
from pathlib import Path

import pytest

from tests.cases.support import Desk

TEXT = """{
  "version": 3,
  "problems": {
    "vpn": {"title": "VPN drops", "severity": "high", "steps": ["restart", "call"]},
    "mail": {"title": "No mail", "severity": "low", "steps": []}
  },
  "about": {"name": "desk", "mail": "desk@example.com"}
}
"""


@pytest.fixture
def ann(tmp_path: Path) -> Desk:
    """Ann's folder, with the first version of her file."""
    desk = Desk(tmp_path / "ann", "ann")
    desk.file.write_text(TEXT, encoding="utf-8")
    desk.ok("init", "kb.json")
    return desk


def in_order(text: str) -> str:
    """A JSON text without its layout."""
    return json.dumps(json.loads(text))


def test_a_checkout_into_a_new_folder_has_the_authors_order(ann: Desk, tmp_path: Path) -> None:
    """A file that is written where there was none has its members as the author wrote them, also on stdout."""
    there = tmp_path / "elsewhere"
    there.mkdir()
    store = str(ann.folder / ".kbstore" / "kb.db")
    ann.ok("--store", store, "checkout", "HEAD", "-o", str(there / "kb.json"))
    assert in_order((there / "kb.json").read_text()) == in_order(TEXT)
    assert in_order(Desk(there).ok("--store", store, "checkout", "v1", "-o", "-").out) == in_order(TEXT)
    assert in_order(ann.ok("get", "").out) == in_order(TEXT)
    assert list(json.loads(ann.ok("get", "/problems/vpn").out)) == ["title", "severity", "steps"]
    ann.file.unlink()
    ann.ok("checkout", "HEAD")
    assert in_order(ann.file.read_text()) == in_order(TEXT)


def test_clones_and_imports_have_it_too(ann: Desk, tmp_path: Path) -> None:
    """`clone`, `push`, `pull`, `export` and `import` carry the order, under the same ids."""
    added = json.loads(TEXT)
    added["problems"]["login"] = {"title": "Locked", "severity": "low", "owner": "ann", "steps": []}
    bob = Desk(tmp_path / "bob", "bob")
    bob.ok("clone", str(ann.folder / ".kbstore" / "kb.db"), "bob.db")
    ann.write(added)
    ann.ok("commit", "-m", "login")
    ann.ok("push", str(bob.folder / "bob.db"))
    assert in_order(bob.ok("--store", "bob.db", "checkout", "HEAD", "-o", "-").out) == json.dumps(added)
    lines = ann.ok("export").out
    bob.ok("--store", "new.db", "import", "-", stdin=lines)
    assert in_order(bob.ok("--store", "new.db", "checkout", "v1", "-o", "-").out) == in_order(TEXT)
    assert in_order(bob.ok("--store", "new.db", "checkout", "HEAD", "-o", "-").out) == json.dumps(added)
    assert bob.ok("--store", "new.db", "export").out == lines
    for store in ("bob.db", "new.db"):
        bob.ok("--store", store, "verify")


def test_a_reordered_file_is_a_version_only_if_asked(ann: Desk) -> None:
    """`commit` says that nothing changed; `commit --keep-order-changes` makes a version that others see."""
    turned = dict(reversed(json.loads(TEXT).items()))
    ann.write(turned)
    assert "nothing changed" in ann.ok("status").out
    assert "nothing changed" in ann.ok("commit", "-m", "turned").err
    assert in_order(ann.ok("get", "").out) == in_order(TEXT)
    assert "v2_" in ann.ok("commit", "-m", "turned", "--keep-order-changes").out
    assert in_order(ann.ok("get", "").out) == json.dumps(turned)
    assert in_order(ann.ok("checkout", "v1", "-o", "-").out) == in_order(TEXT)
    assert "nothing changed" in ann.ok("commit", "-m", "again", "--keep-order-changes").err


def test_a_checkout_brings_back_the_order_of_its_version(ann: Desk) -> None:
    """Also in a file that is there: an order that was committed since belongs to the versions since."""
    ann.write({"about": {"mail": "m", "name": "desk"}, "version": 3, "problems": {}})
    ann.ok("commit", "-m", "less")
    ann.ok("checkout", "v1")
    assert list(ann.read().items()) == list(json.loads(TEXT).items())
    assert list(ann.read()["problems"]["vpn"]) == list(json.loads(TEXT)["problems"]["vpn"])


def test_a_file_keeps_an_order_that_is_in_no_version(ann: Desk) -> None:
    """What was only turned in the file, and in no version that it goes through, stays at update and checkout."""
    turned = dict(reversed(json.loads(TEXT).items()))
    ann.write(turned)
    ann.ok("apply", "-", "-m", "four", stdin='[{"op": "replace", "path": "/version", "value": 4}]')
    assert list(ann.read()) == list(turned)
    ann.ok("checkout", "v1")
    assert list(ann.read()) == list(turned)


def test_a_new_order_reaches_the_files_of_others(ann: Desk, tmp_path: Path) -> None:
    """What one turned with `--keep-order-changes` others see at their next checkout, and their commits leave it so."""
    bob = Desk(tmp_path / "bob", "bob")
    bob.file.write_text(TEXT, encoding="utf-8")
    bob.ok("--store", str(ann.folder / ".kbstore" / "kb.db"), "init", "kb.json")
    turned = dict(reversed(json.loads(TEXT).items()))
    ann.write(turned)
    ann.ok("commit", "-m", "turned", "--keep-order-changes")
    bob.ok("checkout", "HEAD")
    assert list(bob.read()) == list(turned)
    bob.write({**bob.read(), "version": 4})
    bob.ok("commit", "-m", "four")
    assert in_order(ann.ok("get", "").out) == json.dumps({**turned, "version": 4})
