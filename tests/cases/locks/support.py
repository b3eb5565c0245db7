"""Runs programs on a store in processes of their own, and reads which processes hold locks on a file."""

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import kbstore
from kbstore import Store

HERE = Path(__file__).parent
HANGS_S = 180
"""A program that takes longer hangs; none takes more than a few seconds on a machine that has nothing else to do."""
DOCUMENT: dict[str, Any] = {"parent": {}, "child": {}, "other": [], "text": {f"t{n}": "x" * 300 for n in range(40)}}


def environment() -> dict[str, str]:
    """Return the environment in which a program finds the packages under test."""
    return {**os.environ, "PYTHONPATH": str(Path(kbstore.__file__).parent.parent)}


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a program of this folder."""
    return subprocess.Popen(
        [sys.executable, str(HERE / f"{program}.py"), *map(str, arguments)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> list[list[str]]:
    """Wait for a program to end well; returns the words of each line that it said."""
    try:
        out, err = process.communicate(timeout=HANGS_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"it hangs; it said {process.communicate()}") from None
    assert process.returncode == 0, (process.returncode, out, err)
    assert "Traceback" not in err, (out, err)
    return [line.split() for line in out.splitlines()]


def run(program: str, *arguments: object) -> list[list[str]]:
    """Run a program of this folder to its end; returns the words of each line that it said."""
    return finish(start(program, *arguments))


def acknowledged(said: Iterable[Sequence[str]]) -> list[str]:
    """Return the ids of the commits that a program was promised."""
    return [words[1] for words in said if words[0] == "ack"]


def words_of(said: Iterable[Sequence[str]], kind: str) -> list[str]:
    """Return the rest of each line that begins with this word."""
    return [" ".join(words[1:]) for words in said if words[0] == kind]


def made(path: Path) -> Path:
    """Make a store with one version, and return its path."""
    Store.create(path, DOCUMENT, author="first").close()
    return path


def assert_kept(path: Path, ids: Sequence[str], *, only: bool = True) -> None:
    """Assert that each of these versions is in the log once, that the store is sound, and that nothing lies beside it.

    Args:
        path: The store.
        ids: Of acknowledged versions.
        only: The first version and these are all that there is.
    """
    assert len(set(ids)) == len(ids), "an id was given twice"
    with Store.open(path) as kb:
        log = [version.id for version in kb.log(newest_first=False)]
        assert set(ids) <= set(log), f"{len(set(ids) - set(log))} of {len(ids)} acknowledged versions are lost"
        assert len(log) == kb.head().seq
        if only:
            assert len(log) == len(ids) + 1
        report = kb.verify()
        assert (report.problems, report.caches) == ([], [])
    assert sorted(os.listdir(path.parent)) == [path.name]


def holders(path: Path) -> set[int]:
    """Return the ids of the processes that hold a POSIX lock on a file."""
    inode = str(os.stat(path).st_ino)
    found = set()
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if fields[1] == "POSIX" and fields[5].split(":")[-1] == inode:
            found.add(int(fields[4]))
    return found
