"""The example under examples/s3 runs as it stands."""

import subprocess
import sys

from tests.cli.support import environment
from tests.conftest import ROOT


def test_two_writers_and_the_merged_log() -> None:
    """Eleven versions of one line, both articles counted up, and a conflict that names the place."""
    env = environment({"PYTHONPATH": f"{environment()['PYTHONPATH']}:{ROOT}"})
    done = subprocess.run(
        [sys.executable, "-m", "examples.s3"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    versions = [line for line in lines if line.startswith("  v")]
    assert len(versions) == 11
    assert sum("anna@example.com" in line for line in versions) == 5
    assert sum("ben@example.com" in line for line in versions) == 5
    assert "Both are there: {'p1': 5, 'p2': 5}" in lines
    assert "  /problems/p1/severity: ben has 'medium', anna committed 'high'" in lines
    assert lines[-1] == "Proved from the bytes: 12 versions, whole"
