"""The benchmark beside other tools runs, on whatever of them is installed."""

import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.long
def test_the_benchmark_runs() -> None:
    """Both databases, migrator itself, and the CPU of `status`."""
    command = [sys.executable, "-m", "benchmarks.migrations", "--count", "3", "--turns", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^(sqlite|postgresql) +migrator [\d.]+ +[\d.]+", done.stdout, re.MULTILINE)) == 2
    assert "migrator status, all applied, SQLite:" in done.stdout
