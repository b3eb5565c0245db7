"""Runs command lines on hostile stores in one process under limits, and says how each ended."""

import ast
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import kbstore

HERE = Path(__file__).parent
MOST_MB = 500


class Act(NamedTuple):
    """How a command line ended.

    Attributes:
        arguments: The command line.
        peak_mb: The most memory that the process had by then.
        told: The exit code and stderr, or ``slow``, ``raised ...``, ``traceback ...``, ``killed``.
    """

    arguments: tuple[str, ...]
    peak_mb: int
    told: str

    @property
    def code(self) -> int:
        """The exit code; -1 if it did not come to one."""
        first = self.told.split(" ", 1)[0]
        return int(first) if first.isdecimal() else -1

    @property
    def bounded(self) -> bool:
        """Whether it ended by itself, soon, with little memory, and said what was wrong."""
        return self.code >= 0 and self.peak_mb < MOST_MB


def acts(folder: Path, commands: Sequence[Sequence[str]]) -> list[Act]:
    """Run these command lines one after another in this folder."""
    (folder / "home").mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(kbstore.__file__).parent.parent),
        "HOME": str(folder / "home"),
        "KBSTORE_AUTHOR": "tester@example.com",
    }
    done = subprocess.run(
        [sys.executable, str(HERE / "bombs.py")],
        input="".join("\t".join(command) + "\n" for command in commands),
        capture_output=True, text=True, cwd=folder, env=environment, timeout=600,
    )  # fmt: skip
    found = []
    for command, line in zip(commands, done.stdout.splitlines(), strict=False):
        peak, told = line.split(" ", 1)
        found.append(Act(tuple(command), int(peak), ast.literal_eval(told)))
    found += [Act(tuple(command), 0, f"killed {done.stderr[-400:]}") for command in commands[len(found) :]]
    return found
