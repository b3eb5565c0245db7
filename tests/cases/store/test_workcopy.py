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
