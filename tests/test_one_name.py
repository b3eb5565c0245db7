"""What is installed is one import name, and gets on with other packages called `backends`, `health` and `migrator`."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel installs, and nothing else of this checkout."""
    if os.environ.get("KBSTORE_WHEEL"):
        return Path(os.environ["KBSTORE_WHEEL"])
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder / "dist", ROOT], check=True)
    made = next((folder / "dist").glob("*.whl"))
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", made], check=True)
    return folder / "site"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with modules and folders of these names, each of which fails if it is imported."""
    for name in ("backends", "migrator"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('the project was imported')\n")
    (tmp_path / "health.py").write_text("raise RuntimeError('the project was imported')\n")
    return tmp_path


def run(wheel: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, with the wheel behind it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(wheel)])}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_wheel_holds_one_name(wheel: Path) -> None:
    """Beside `kbstore` there is what describes the distribution, and the commands."""
    names = {path.name for path in wheel.iterdir() if path.suffix != ".dist-info" and path.name not in ("bin", ".made")}
    assert names == {"kbstore"}
    assert not [path for path in (wheel / "kbstore").rglob("*") if path.is_symlink()]
    assert (wheel / "kbstore" / "migrator" / "samples").is_dir()


def test_the_source_distribution_holds_the_files_of_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """The folders behind links are packed too, and as folders."""
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path], cwd=ROOT, check=True)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as packed:
        members = packed.getmembers()
    assert not [member.name for member in members if member.issym() or member.islnk()]
    names = {member.name.partition("/")[2] for member in members}
    installed = (path.relative_to(wheel) for path in (wheel / "kbstore").rglob("*") if path.is_file())
    assert {path.as_posix() for path in installed if path.suffix != ".pyc"} == {
        name for name in names if name.startswith("kbstore/")
    }
    assert {"pyproject.toml", "Makefile", "tests/conftest.py", "tools/voice.py", "docs/guide.md"} <= names


@pytest.mark.parametrize(
    ("module", "arguments", "printed"),
    [
        ("kbstore", ["--version"], "kbstore "),
        ("kbstore", ["init", "--help"], "Usage: kbstore init"),
        ("kbstore.migrator", ["--version"], "migrator "),
        ("kbstore.health", ["--version"], "health "),
        ("kbstore.health", ["list"], "store.reachable"),
    ],
)
def test_commands_run_beside_foreign_packages(
    wheel: Path, project: Path, module: str, arguments: list[str], printed: str
) -> None:
    """No command imports a module of the project that it runs in."""
    done = run(wheel, project, "-m", module, *arguments)
    assert done.returncode == 0, done.stderr
    assert printed in done.stdout


def test_a_round_of_checks_runs_beside_foreign_packages(wheel: Path, project: Path) -> None:
    """The worker, a process of its own, imports none of them either."""
    made = run(wheel, project, "-c", "from kbstore import Store; Store.create('kb.db').commit({'a': 1})")
    assert made.returncode == 0, made.stderr
    done = run(wheel, project, "-m", "kbstore.health", "check", "store.head", "--store", "kb.db", "--format", "json")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not (ROOT / "migrator").is_dir(), reason="a source distribution has only the long names")
def test_a_checkout_imports_both_ways() -> None:
    """From the root of a checkout the short names give the same objects."""
    program = (
        "import health, migrator, kbstore.health, kbstore.migrator\n"
        "assert migrator.DatabaseMigrator is kbstore.migrator.DatabaseMigrator\n"
        "assert health.TroubleshootingHealthCheck is kbstore.health.TroubleshootingHealthCheck\n"
    )
    done = run(ROOT, ROOT, "-c", program)
    assert done.returncode == 0, done.stderr
