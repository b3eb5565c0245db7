"""Patches that are made to cost: each ends soon, in bounded memory, refused by place or right."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import LONG, takes_long
from tests.store import bombs

SCRIPT = Path(__file__).with_name("bombs.py")
RIGHT = {
    "a member name of 10 MB", "a tiny exponent", "a wide value many times", "an index for a member",
    "changes and copies by turns", "changes and tests by turns", "copies of little", "moves that deepen",
    "replacing all and inside", "replacing the whole", "ten thousand unknown members", "tests of one long text",
}  # fmt: skip
"""Those that are no more than long, and apply."""


@takes_long
@pytest.mark.parametrize("part", range(8 if LONG else 1))
def test_a_hostile_patch_is_refused_or_right(part: int) -> None:
    """Each of them ends within seconds of processor time and 200 MB, with a short error that names the operation."""
    names = sorted({**bombs.BOMBS, **bombs.SMALL_BOMBS})[part::8]
    done = subprocess.run([sys.executable, "-P", str(SCRIPT), *names], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert sorted(told) == sorted(names)
    for name, said in told.items():
        kind, _, memory_mb, length, *_ = said.split()
        assert kind == ("right" if name in RIGHT else "refused"), f"{name}: {said}"
        assert int(memory_mb) < 200, f"{name}: {said}"
        assert int(length) < 1000, f"{name}: {said}"
