"""The import contracts hold, and are seen to fail when broken."""

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import ROOT


def run_contracts(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the package in a folder."""
    command = [sys.executable, "-c", "import sys; from importlinter.cli import lint_imports_command as c; c()"]
    return subprocess.run([*command, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package, with what its links lead to, and its contracts, to be broken."""
    shutil.copytree(ROOT / "kbstore", tmp_path / "kbstore", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("tree/__init__.py", "import kbstore.store", "Rooms look down only"),
        ("history/branch.py", "import kbstore.history.reader", "No circle"),
        ("backends/s3/format/keys.py", "import kbstore.backends.s3.log.head", "No circle"),
        ("migrator/__init__.py", "import kbstore.jsondoc.pointer", "are strangers"),
        ("kit/escape.py", "import kbstore.errors", "The kit imports"),
        ("backends/base.py", "import click", "The terminal is not"),
        ("store.py", "import boto3", "boto3 is known"),
    ],
)
def test_a_broken_contract_is_reported(copy: Path, module: str, line: str, contract: str) -> None:
    """Each contract fails, by its name, on a copy with one import too many."""
    with (copy / "kbstore" / module).open("a") as file:
        file.write(f"\n{line}\n")
    result = run_contracts(copy)
    assert result.returncode == 1, result.stdout + result.stderr
    assert any(contract in row and "BROKEN" in row for row in result.stdout.splitlines()), result.stdout


def test_the_contracts_hold(copy: Path) -> None:
    """The package as it is keeps every contract."""
    result = run_contracts(copy)
    assert result.returncode == 0, result.stdout + result.stderr


def test_no_room_has_more_than_twenty_modules() -> None:
    """A reader takes in a room at a glance."""
    rooms = Counter(
        path.parent
        for package in ("backends", "health", "kbstore", "migrator")
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py"
    )
    assert not {str(room.relative_to(ROOT)): count for room, count in rooms.items() if count > 20}
