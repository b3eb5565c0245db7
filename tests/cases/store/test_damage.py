"""One flipped byte in the patch of v4 is one problem, named once; what does not need it works on."""

from pathlib import Path

import pytest

from kbstore import Store
from tests.cases.support import Desk
from tests.store.support import Ticks, replacing
from tests.store.test_damaged_versions import flip_body, spoil


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A folder whose store has seven versions and a snapshot of the sixth; a byte of the patch of v4 is another one."""
    found = Desk(tmp_path / "desk")
    found.write({"n": 1})
    found.ok("init", "kb.json")
    path = found.folder / ".kbstore" / "kb.db"
    with Store.open(path, clock=Ticks(prefix=1), author="ann") as kb:
        for n in range(2, 8):
            kb.commit(patch=[*replacing("/n", n), {"op": "add", "path": f"/only{n}", "value": n}])
            if n == 6:
                kb.snapshot()
    spoil(path, flip_body(4))
    found.ok("checkout", "v7", "--force")
    return found


def test_one_flipped_byte_is_one_problem(desk: Desk) -> None:
    """`verify` names v4 and it alone; HEAD is read and committed on; `export` stops, and says where and what helps."""
    ended = desk.run("verify", "--json")
    assert ended.code == 3
    assert ended.out.count("damaged") == 1
    assert '"version v4 is damaged: its patch cannot be read;' in ended.out
    assert desk.newest()["n"] == 7
    desk.write({"n": 8})
    assert "v8" in desk.ok("commit", "-m", "goes on").out
    export = desk.run("export")
    assert export.code == 3
    assert export.out.count('"event":') == 3
    assert export.err.startswith("error: version v4 is damaged: its patch cannot be read\nhint: ")
    assert "kbstore salvage DIR" in export.err


def test_a_damaged_store_says_which_version_it_was(desk: Desk) -> None:
    """What needs the damaged version is refused by its name; everything else is shown."""
    assert "only3" in desk.ok("get", "--at", "v3").out
    refused = desk.run("get", "--at", "v5")
    assert refused.code == 3
    assert refused.err.startswith("error: v5 cannot be read: version v4 is damaged: its patch cannot be read\n")
    assert len(desk.ok("log", "--oneline").lines) == 7
    assert "only6" in desk.ok("diff", "v3", "v6").out
