"""The import contracts hold, and are seen to fail when broken."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


def run_contracts(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the packages in a folder."""
    command = [sys.executable, "-c", "import sys; from importlinter.cli import lint_imports_command as c; c()"]
    return subprocess.run([*command, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The four packages and their contracts, to be broken."""
    for package in ("backends", "health", "kbstore", "migrator"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("backends/errors.py", "import kbstore", "Packages look down only"),
        ("kbstore/tree/__init__.py", "import kbstore.store", "Inside the store"),
        ("kbstore/store.py", "import boto3", "boto3 is known"),
        ("migrator/__init__.py", "import kbstore", "are strangers"),
        ("migrator/plan.py", "import migrator.runner", "Inside the migrator"),
        ("health/model.py", "import health.engine", "Inside health"),
        ("backends/errors.py", "import click", "The terminal is not"),
    ],
)
def test_a_broken_contract_is_reported(copy: Path, module: str, line: str, contract: str) -> None:
    """Each contract fails, by its name, on a copy with one import too many."""
    with (copy / module).open("a") as file:
        file.write(f"\n{line}\n")
    result = run_contracts(copy)
    assert result.returncode == 1, result.stdout + result.stderr
    assert any(contract in row and "BROKEN" in row for row in result.stdout.splitlines()), result.stdout


def test_the_contracts_hold(copy: Path) -> None:
    """The packages as they are keep every contract."""
    result = run_contracts(copy)
    assert result.returncode == 0, result.stdout + result.stderr
