"""A backup that is moved over a store beside the write-ahead log of a killed process: its versions are never lost."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kbstore import KBStoreError, Store, StoreUnavailable
from kbstore.cli.main import run as kbstore_run
from kbstore.health.cli.main import run as health_run
from tests.cases.locks.support import HANGS_S, environment
from tests.commands import run_here

ENTRIES = 100
KILLED = (
    "import os, sys\nfrom kbstore import Store\nkb = Store.open(sys.argv[1], author='killed')\n"
    "for n in range(int(sys.argv[2])):\n"
    "    patch = [{'op': 'replace', 'path': f'/p/e{n % 100}/t', 'value': os.urandom(700).hex()}]\n"
    "    print(kb.commit(patch=patch, message='after').id)\n"
    "sys.stdout.flush()\nos._exit(9)\n"
)


def _commit(path: Path, count: int, message: str) -> list[str]:
    with Store.open(path, author=message) as kb:
        return [
            kb.commit(
                patch=[{"op": "replace", "path": f"/p/e{n % ENTRIES}/t", "value": os.urandom(700).hex()}],
                message=message,
            ).id
            for n in range(count)
        ]


def _killed(path: Path, count: int) -> list[str]:
    """Commit in a process that then dies without closing; returns the acknowledged ids."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path), str(count)],
        env=environment(), capture_output=True, text=True, timeout=HANGS_S,
    )  # fmt: skip
    assert done.returncode == 9, done.stderr
    return done.stdout.split()


def _bytes(folder: Path) -> dict[str, bytes]:
    """What each file of a folder holds; the memory that SQLite's processes share is nobody's data."""
    return {each.name: each.read_bytes() for each in folder.iterdir() if not each.name.endswith("-shm")}


def _ids(path: Path, **options: bool) -> list[str]:
    with Store.open(path, **options) as kb:
        return [version.id for version in kb.log(newest_first=False)]


class Scene:
    """A store, a backup of it, and the log of a killed process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.path = folder / "kb.db"
        self.backup = folder.with_name("backup.db")
        document = {"p": {f"e{n}": {"t": "x" * 300} for n in range(ENTRIES)}}
        Store.create(self.path, document, author="first").close()
        _commit(self.path, 10, "before")

    def lay(self, between: int, after: int) -> None:
        """Back up, commit, commit in a process that dies, and move the backup over the store."""
        shutil.copy(self.path, self.backup)
        self.kept = _ids(self.backup)
        if between:
            _commit(self.path, between, "between")
        self.killed = _killed(self.path, after)
        os.replace(self.backup, self.path)

    def assert_right(self, look: Callable[[], list[str]]) -> str:
        """Assert that a look gives the backup, or the backup and the log that continues it, or changes nothing."""
        before = _bytes(self.folder)
        try:
            found = look()
        except StoreUnavailable as error:
            told = error
        else:
            assert found in (self.kept, self.kept + self.killed)
            return "opened"
        assert str(self.path) in str(told)
        assert f"{self.path.name}-wal" in str(told)
        assert told.hint
        assert _bytes(self.folder) == before
        return "refused"


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A store with some versions."""
    return Scene(tmp_path / "store")


@pytest.mark.parametrize("round_", range(1, 6))
def test_a_log_that_does_not_belong_is_never_written_over_a_backup(scene: Scene, round_: int) -> None:
    """Case 07: refused with both files named and nothing changed, or opened with the versions of the backup."""
    scene.lay(7 * round_, 5 * round_ + 3)

    def look() -> list[str]:
        with Store.open(scene.path) as kb:
            assert kb.verify().ok
            return [version.id for version in kb.log(newest_first=False)]

    first = scene.assert_right(look)
    assert scene.assert_right(look) == first


def test_a_log_that_continues_the_backup_is_kept(scene: Scene) -> None:
    """No version was made between the backup and the log: opening gives both."""
    scene.lay(0, 3)
    assert scene.assert_right(lambda: _ids(scene.path)) == "opened"
    assert _ids(scene.path) == scene.kept + scene.killed


def test_the_one_right_step_gives_the_backup(scene: Scene) -> None:
    """With the log out of the way the backup opens, whole, and is written on."""
    scene.lay(7, 8)
    scene.assert_right(lambda: _ids(scene.path))
    for suffix in ("-wal", "-shm"):
        scene.path.with_name(scene.path.name + suffix).unlink(missing_ok=True)
    assert _ids(scene.path) == scene.kept
    more = _commit(scene.path, 2, "again")
    with Store.open(scene.path) as kb:
        assert kb.verify().ok
    assert _ids(scene.path) == scene.kept + more


def test_a_reader_is_not_shown_a_mixture(scene: Scene) -> None:
    """A read-only handle is refused as well, and recovers no copy of what does not belong together."""
    scene.lay(7, 8)
    scene.assert_right(lambda: _ids(scene.path, read_only=True))


def test_another_store_under_the_name_is_not_overwritten(scene: Scene, tmp_path: Path) -> None:
    """The log of a store is never written into another store that was moved to its name."""
    Store.create(tmp_path / "other.db", {"other": 1}).close()
    _commit_other = _ids(tmp_path / "other.db")
    scene.killed, scene.kept = _killed(scene.path, 8), _commit_other
    os.replace(tmp_path / "other.db", scene.path)
    before = _bytes(scene.folder)
    with pytest.raises(KBStoreError, match="-wal"):
        Store.open(scene.path)
    assert _bytes(scene.folder) == before


@pytest.mark.parametrize(
    "command",
    [
        ["kbstore", "--store", "{}", "log"],
        ["kbstore", "--store", "{}", "verify"],
        ["kbstore", "--store", "{}", "gc"],
        ["kbstore", "--store", "{}", "get", "/p/e1/t"],
        ["kbstore", "--store", "{}", "export", "-o", "out.jsonl"],
        ["kbstore", "clone", "{}", "copy.db"],
        ["health", "--store", "{}", "check"],
    ],
    ids=lambda command: " ".join(word for word in command if not word.startswith(("-", "{", "/"))),
)
def test_no_command_writes_the_log_over_the_backup(scene: Scene, tmp_path: Path, command: list[str]) -> None:
    """Whatever is run before a person has looked, the backup and the log are there afterwards, byte for byte."""
    scene.lay(14, 13)
    before = _bytes(scene.folder)
    program, *rest = [word.format(scene.path) for word in command]
    # How long a check may take on a busy machine is not what is tested here.
    (tmp_path / "health.toml").write_text('[checks."store.reachable"]\ntimeout = 60\n')
    code, out, err = run_here({"kbstore": kbstore_run, "health": health_run}[program], rest, tmp_path)
    assert code != 0
    assert "Traceback" not in err
    assert "kb.db-wal" in out.decode() + err
    assert _bytes(scene.folder) == before


@pytest.mark.parametrize("commits", [1, 30, 400])
@pytest.mark.parametrize("checkpoint", ["", "PASSIVE", "FULL", "TRUNCATE"])
def test_a_log_that_belongs_is_never_refused(scene: Scene, commits: int, checkpoint: str) -> None:
    """A process dies, with or without a checkpoint by another tool on the way: everything opens as always."""
    code = KILLED.replace(
        "sys.stdout.flush()",
        f"import sqlite3; sqlite3.connect(sys.argv[1]).execute('PRAGMA wal_checkpoint({checkpoint})').fetchall()\n"
        "print(kb.commit(patch=[{'op': 'replace', 'path': '/p/e1/t', 'value': 'last'}]).id, flush=True)"
        if checkpoint
        else "sys.stdout.flush()",
    )
    before = _ids(scene.path)
    done = subprocess.run(
        [sys.executable, "-c", code, str(scene.path), str(commits)],
        env=environment(), capture_output=True, text=True, timeout=HANGS_S,
    )  # fmt: skip
    assert done.returncode == 9, done.stderr
    assert _ids(scene.path, read_only=True) == before + done.stdout.split()
    assert _ids(scene.path) == before + done.stdout.split()
    with Store.open(scene.path) as kb:
        assert kb.verify().ok


def test_a_store_and_its_log_that_are_moved_together_open(scene: Scene, tmp_path: Path) -> None:
    """A store is moved, or copied, with its log while no process has it open: nothing is refused."""
    before = _ids(scene.path)
    killed = _killed(scene.path, 20)
    shutil.copytree(scene.folder, tmp_path / "copy")
    scene.folder.rename(tmp_path / "moved")
    for folder in ("copy", "moved"):
        (tmp_path / folder / "kb.db").rename(tmp_path / folder / "other.db")
        (tmp_path / folder / "kb.db-wal").rename(tmp_path / folder / "other.db-wal")
        (tmp_path / folder / "kb.db-shm").unlink(missing_ok=True)
        assert _ids(tmp_path / folder / "other.db") == before + killed


def test_the_refusal_is_an_error_with_its_hint_on_the_command_line(scene: Scene) -> None:
    """`--json` or not, the command line says what is there and what to do, in one line each."""
    scene.lay(7, 8)
    done = subprocess.run(
        [sys.executable, "-c", "from kbstore.cli import main; main()", "--store", str(scene.path), "log", "--json"],
        env=environment(), capture_output=True, text=True, timeout=HANGS_S,
    )  # fmt: skip
    if done.returncode:
        lines = done.stderr.splitlines()
        assert [line.split(":")[0] for line in lines] == ["error", "hint"]
    else:
        assert len([json.loads(line) for line in done.stdout.splitlines()]) == len(scene.kept)
