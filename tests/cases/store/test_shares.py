"""A network share that keeps no processes apart is recognised and named, and never taken for a failed disk."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import kbstore
from kbstore import Store
from tests.cli.support import PROGRAM

SOURCE = Path(__file__).with_name("share.c")


@pytest.fixture(scope="session")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that makes a process see a share."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if sys.platform != "linux" or (compiler is None and os.environ.get("CI") != "true"):
        pytest.skip("needs Linux and a C compiler, to simulate a share; CI fails without them")
    assert compiler is not None, "CI has a C compiler"
    built = tmp_path_factory.mktemp("share") / "share.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", built, SOURCE, "-ldl"], check=True)
    return built


def on_share(share: Path, lack: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """How a command ends on a share that lacks something."""
    paths = os.pathsep.join([str(Path(kbstore.__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "LD_PRELOAD": str(share), lack: "1", "KBSTORE_AUTHOR": "a"}
    return subprocess.run(
        [*PROGRAM, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(("lack", "word"), [("NOLOCK", "locks"), ("NOSHM", "shared memory")])
def test_a_share_is_named(share: Path, tmp_path: Path, lack: str, word: str) -> None:
    """Case 21: init and every later command say what is missing and what to do, soon, and leave nothing half made."""
    (tmp_path / "kb.json").write_text('{"p": {"x": {"t": "X"}}}')
    done = on_share(share, lack, tmp_path, "init", "kb.json")
    assert done.returncode == 3
    assert f"on a file system without {word} (a network share?)" in done.stderr
    assert "hint: keep the store on a local disk" in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["kb.json"]

    Store.create(tmp_path / "kb.db", {"p": 1}, author="a").close()
    for command in (["log"], ["verify"], ["--file", "kb.json", "status"], ["tag", "x"]):
        done = on_share(share, lack, tmp_path, "--store", "kb.db", *command)
        assert done.returncode == 3, command
        assert f"without {word}" in done.stderr, command
    with Store.open(tmp_path / "kb.db") as store:
        assert store.verify().ok
    assert sorted(os.listdir(tmp_path)) == ["kb.db", "kb.json"]
