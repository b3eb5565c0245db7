"""Saves the file of a working copy as an editor does, at any call that a command makes to the system."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import kbstore
from kbstore import Store
from kbstore.worktree import swap

WORK = "AN HOUR OF WORK"
CALLS = ("open", "write", "fsync", "close", "stat", "replace", "rename", "link", "unlink", "access", "fchmod")
TRACED = ("openat", "write", "fsync", "rename", "renameat2", "link", "unlink", "flock")


def save(file: Path, document: Any, *, in_place: bool) -> None:
    """Save a document over a file: into it, or by a rename as most editors do."""
    text = json.dumps(document)
    if in_place:
        file.write_text(text)
    else:
        beside = file.with_name("editor.swp")
        beside.write_text(text)
        beside.rename(file)


def found(file: Path, store: Store) -> list[str]:
    """Return where the work is: in the file, in versions, among what was kept."""
    places = [path.name for path in file.parent.glob("*.json") if WORK in path.read_text()]
    places += [
        version.name
        for branch in store.branches()
        for version in Store(store.backend, branch=branch).log()
        if WORK in json.dumps(store.checkout(version.id))
    ]
    kept = file.parent / ".kbstore" / "lost"
    places += [path.name for path in kept.glob("*") if WORK in path.read_text()] if kept.is_dir() else []
    return places


@contextmanager
def at_call(number: int, act: Callable[[], None]) -> Iterator[list[str]]:
    """Act right before the call of this number that Python code makes to the system; gives the names of the calls."""
    calls: list[str] = []

    def watched(name: str, function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if len(calls) == number:
                calls.append(f"{name}, where the save was")
                act()
            calls.append(name)
            return function(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patched:
        for name in CALLS:
            patched.setattr(os, name, watched(name, getattr(os, name)))
        patched.setattr(Path, "read_bytes", watched("read", Path.read_bytes))
        patched.setattr(swap, "rename", watched("swap", swap.rename))
        yield calls


# ---- with strace ---------------------------------------------------------------------------------------------------


def _started(folder: Path, options: list[str], arguments: list[str]) -> subprocess.Popen[str]:
    strace = shutil.which("strace")
    assert strace, "this test needs strace"
    program = [sys.executable, "-c", "from kbstore.cli import main; main()", *arguments]
    return subprocess.Popen(
        [strace, "-f", "-qq", "-o", "../calls", *options, *program],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ
        | {
            "PYTHONPATH": str(Path(kbstore.__file__).parent.parent),
            "KBSTORE_AUTHOR": "me",
            "XDG_STATE_HOME": str(folder.parent / "state"),
        },
    )


def calls_of(folder: Path, arguments: list[str]) -> Iterator[tuple[str, int]]:
    """Each call of a command since it first looked at the file, as its name and which of that name it is."""
    process = _started(folder, ["-y", "-e", f"trace={','.join(TRACED)}"], arguments)
    process.communicate(timeout=60)
    seen: Counter[str] = Counter()
    looked = False
    for line in (folder.parent / "calls").read_text().splitlines():
        if match := re.match(r"^\d+ +(\w+)\(", line):
            seen[match[1]] += 1
            looked = looked or "/kb.json" in line
            if looked:
                yield match[1], seen[match[1]]


def run_stopped(folder: Path, arguments: list[str], name: str, number: int, act: Callable[[], None]) -> int:
    """Run a command that stands still at one of its calls while something is done; returns its exit code."""
    options = ["-e", f"trace={name}", "-e", f"inject={name}:signal=STOP:when={number}"]
    calls = folder.parent / "calls"
    calls.write_text("")
    process = _started(folder, options, arguments)
    while process.poll() is None:
        if stopped := re.search(r"^(\d+) +--- stopped by SIGSTOP", calls.read_text(), re.MULTILINE):
            act()
            os.kill(int(stopped[1]), signal.SIGCONT)
            break
        time.sleep(0.002)
    process.communicate(timeout=60)
    return process.returncode
