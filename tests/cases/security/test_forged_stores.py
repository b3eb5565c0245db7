"""Stores forged at random: no command hangs, takes much, shows a traceback, writes elsewhere or is deceived."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cases.locks.support import environment
from tests.cases.security.support import HERE
from tests.conftest import LONG

BATCH = 100
BATCHES = 20 if LONG else 1


@pytest.mark.parametrize("batch", range(BATCHES))
def test_forged_stores_do_no_harm(tmp_path: Path, batch: int) -> None:
    """Each of a hundred ends within 5 seconds and 500 MB; one that is called whole is whole; most are refused."""
    (tmp_path / "home").mkdir()
    done = subprocess.run(
        [sys.executable, "-P", str(HERE / "forging.py"), str(batch * BATCH), str((batch + 1) * BATCH)],
        env=environment() | {"HOME": str(tmp_path / "home"), "KBSTORE_AUTHOR": "tester@example.com"},
        cwd=tmp_path, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *wrong, counts = done.stdout.splitlines()
    assert wrong == []
    counted = json.loads(counts.removeprefix("counts "))
    assert counted.get("whole", 0) + counted["refused"] == BATCH
    assert counted["refused"] > BATCH // 2
