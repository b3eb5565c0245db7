"""A writer that is killed, or whose disk fails: what was acknowledged stays, what was refused is not there."""

import collections
import itertools
import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.conftest import LONG
from tests.store import crashing, disk

SCRIPT = Path(__file__).with_name("crashing.py")
WRITING = ("pwrite64", "ftruncate", "fallocate", "fdatasync", "fsync", "unlink", "link", "rename")
COUNT = 12
"""Versions of a run in which every call fails once; it has seen all ways of writing, a collection and a reopening."""


@pytest.mark.parametrize("seed", range(10 if LONG else 1))
def test_a_kill_at_any_moment_loses_nothing_acknowledged(tmp_path: Path, seed: int) -> None:
    """After SIGKILL at random moments each acknowledged version and tag is there, all is sound, and writing goes on."""
    crashing.Store.create(tmp_path / "kb.db").close()
    kills = 30 if LONG else 15
    done = _run(["killed", str(tmp_path / "kb.db"), str(kills), str(seed)])
    told = json.loads(done)
    assert told["wrong"] == []
    assert told["died"] == kills
    assert told["acks"] > kills


def _run(order: Sequence[str]) -> str:
    done = subprocess.run([sys.executable, "-P", str(SCRIPT), *order], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- with strace: at every call ------------------------------------------------------------------------------------


def _traced(place: Path, *options: str, role: str = "started", count: int = COUNT) -> tuple[list[list[str]], int]:
    """What a writer says that runs under strace with these options, and how it ended."""
    strace = shutil.which("strace")
    assert strace, "this test needs strace"
    # With the filter a call is not stopped at its beginning, where a signal is to meet it.
    quicker = [] if any("signal=" in option for option in options) else ["--seccomp-bpf"]
    command = [sys.executable, "-P", str(SCRIPT), role, str(place / "kb" / "kb.db"), str(count)]
    done = subprocess.run(
        [strace, "-f", *quicker, "-qq", "-o", str(place / "calls"), *options, *command],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return [line.split() for line in done.stdout.splitlines()], done.returncode


def _calls(place: Path) -> Iterator[tuple[str, int]]:
    """Each writing call of a run, as its name and which of that name it is."""
    (place / "kb").mkdir()
    _traced(place, "-e", f"trace={','.join(WRITING)}")
    names = [
        found[1]
        for line in (place / "calls").read_text().splitlines()
        if (found := re.match(r"^\d+ +(\w+)\(", line)) and found[1] in WRITING
    ]
    for name, count in collections.Counter(names).items():
        for number in range(1, count + 1):
            yield name, number


def _looked_at(place: Path, said: list[list[str]]) -> list[str]:
    """What is wrong with what a writer left; a store that was never made may be missing."""
    path = place / "kb" / "kb.db"
    if not path.exists():
        return ["the store is gone"] if any(line[0] == "ack" for line in said) else []
    return list(crashing.look(str(path), said)["wrong"])


def _fresh(place: Path) -> None:
    shutil.rmtree(place / "kb", ignore_errors=True)
    (place / "kb").mkdir()


@pytest.mark.long
def test_a_kill_at_every_writing_call_loses_nothing(tmp_path: Path) -> None:
    """Killed right before each write, sync, truncation, link and removal of a run, from the store's creation on."""
    seen = 0
    for name, number in list(_calls(tmp_path)):
        _fresh(tmp_path)
        said, ended = _traced(tmp_path, "-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={number}")
        assert said[-1:] != [["end"]], f"not killed at {name} {number}, but {ended}"
        assert _looked_at(tmp_path, said) == [], f"killed before {name} {number}"
        seen += 1
    assert seen > 200


@pytest.mark.long
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_an_error_of_every_writing_call_is_told_and_loses_nothing(tmp_path: Path, error: str) -> None:
    """Whichever call fails: nothing false is acknowledged, what was refused is not there, and writing goes on."""
    seen = doubts = 0
    for name, number in list(_calls(tmp_path)):
        _fresh(tmp_path)
        said, ended = _traced(tmp_path, "-e", f"trace={name}", "-e", f"inject={name}:error={error}:when={number}")
        where = f"{error} from {name} {number}: {said[:30]}"
        assert ended == 0, where
        assert said[-1] == ["end"], where
        assert [line for line in said if line[0] == "strange"] == [], where
        assert _looked_at(tmp_path, said) == [], where
        _check_refused(said, where)
        doubts += sum(line[0] == "unknown" for line in said)
        seen += 1
    assert seen > 200
    assert doubts > 0


def _check_refused(said: list[list[str]], where: str) -> None:
    """A number that was refused was not taken: the next one acknowledged is the same."""
    for line, after in itertools.pairwise(said):
        if line[0] == "refused" and line[1] != "0" and after[0] == "ack":  # 0: it could not even be opened
            assert int(after[1]) <= int(line[1]) + 1, where


# ---- power cuts ----------------------------------------------------------------------------------------------------


def _recorded(place: Path, *options: str, count: int = COUNT) -> list[disk.Call]:
    """All that a writer asked of the disk, in order, and what it said."""
    _fresh(place)
    said, ended = _traced(place, "-y", "-xx", "-s", "1000000", "-e", f"trace={disk.SYSCALLS}", *options, count=count)
    assert ended == 0
    calls = list(disk.recorded((place / "calls").read_text(), (place / "kb").resolve()))
    assert disk.words(calls) == said
    return calls


def _states(
    calls: Sequence[disk.Call], folder: Path, dice: random.Random, each: int, begin: int = 0
) -> Iterator[tuple[int, dict[str, bytes]]]:
    """Distinct states that the disk may be in after each call, with the number of calls before."""
    whole = disk.Disk(folder)
    seen: set[int] = set()
    for number, call in enumerate(calls, 1):
        whole.make(call)
        if call.name == "said" or number < begin:
            continue
        for files in (whole.sure(), *(whole.possible(dice) for _ in range(each))):
            if (mark := hash(tuple(sorted(files.items())))) not in seen:
                seen.add(mark)
                yield number, files


def _after_the_cut(files: dict[str, bytes], said: list[list[str]], folder: Path) -> list[str]:
    disk.lay_out(files, folder)
    if not (folder / "kb.db").exists():
        return ["the store is gone"] if any(line[0] == "ack" for line in said) else []
    return list(crashing.look(str(folder / "kb.db"), said)["wrong"])


@pytest.mark.long
def test_no_power_cut_loses_what_was_acknowledged(tmp_path: Path) -> None:
    """After each call, with what was not synced dropped, torn or reordered, all that was acknowledged is there."""
    calls = _recorded(tmp_path, count=26)
    left = tmp_path / "left"
    left.mkdir()
    looked = 0
    for number, files in _states(calls, (tmp_path / "kb").resolve(), random.Random(5), each=2):
        wrong = _after_the_cut(files, disk.words(calls[:number]), left)
        assert wrong == [], f"after call {number}, {calls[number - 1][:2]}"
        looked += 1
    assert looked > 500


@pytest.mark.long
@pytest.mark.parametrize("times", [1, 2])
def test_a_failed_sync_is_never_taken_for_a_good_one(tmp_path: Path, times: int) -> None:
    """What a failed sync was to write is gone for good, and nothing acknowledged later leans on it."""
    left = tmp_path / "left"
    left.mkdir()
    dice = random.Random(3)
    syncs = [number for name, number in _calls(tmp_path) if name == "fdatasync"]
    unknown = 0
    for number in syncs:
        when = f"{number}..{number + times - 1}"
        calls = _recorded(tmp_path, "-e", f"inject=fdatasync:error=EIO:when={when}")
        failed = next(n for n, call in enumerate(calls) if call.failed)
        said = disk.words(calls)
        unknown += any(line[0] == "unknown" for line in said)
        assert [line for line in said if line[0] == "strange"] == []
        states = list(_states(calls, (tmp_path / "kb").resolve(), dice, 1, begin=failed))
        chosen = [states[-1], *dice.sample(states, min(12, len(states)))]
        for at, files in chosen:
            wrong = _after_the_cut(files, disk.words(calls[:at]), left)
            assert wrong == [], f"sync {when} failed, cut after call {at}: {said}"
    assert unknown > len(syncs) // 4
