"""The demo of the README and of `make demo` keeps what it promises."""

import os
import subprocess
import sys
from pathlib import Path

import kbstore
from tests.conftest import takes_long

ROOT = Path(__file__).resolve().parent.parent


@takes_long
def test_demo_ends_well(tmp_path: Path) -> None:
    """Every command of the demo ends as it should, and every document is what it should be."""
    program = tmp_path / "kbstore"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from kbstore.cli import main; main()" "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(kbstore.__file__).parent.parent),
    }
    done = subprocess.run(
        [sys.executable, "-m", "examples.troubleshooting"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("# Everything was as promised.\n\n")
    assert "error: edits/06-refused.json: operation 1" in done.stdout
