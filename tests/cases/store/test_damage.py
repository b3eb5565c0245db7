"""One flipped byte in the patch of v4, and what `docs/damage.md` says to do then: its commands print what it shows."""

import re
import shlex
from pathlib import Path

import pytest

from kbstore import Store
from tests.cases.support import Desk
from tests.conftest import ROOT
from tests.store.support import Ticks, replacing
from tests.store.test_damaged_versions import flip_body, spoil

PAGE = (ROOT / "docs" / "damage.md").read_text(encoding="utf-8")
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"v(\d+)_\d{8}_\d{6}")
SHOWN = 4
"""Commands on the page."""


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


def _undated(text: str) -> str:
    """A line without the times in names of versions and of files that were set aside."""
    return re.sub(r"\.replaced-\d{8}_\d{6}", ".replaced", NAME.sub(r"v\1", text))


def test_the_page_shows_what_the_commands_print(desk: Desk) -> None:
    """Each command of the page, in order, in one folder; names of versions apart, every line is as shown."""
    commands = 0
    for block in CONSOLE.findall(PAGE):
        for shown in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, *expected = shown.splitlines()
            commands += 1
            program, *arguments = shlex.split(line)
            assert program == "kbstore"
            ended = desk.run(*arguments)
            printed = map(_undated, (ended.out + ended.err).splitlines())
            if expected:
                assert sorted(printed) == sorted(map(_undated, expected)), line
            assert ended.code == (3 if arguments == ["verify"] else 0), (line, ended)
    assert commands == SHOWN


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
