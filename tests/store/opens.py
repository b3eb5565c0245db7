"""Records which files processes open: by Python's own audit events, and with strace by the calls of the system.

A hook that Python runs at the start of each process (`sitecustomize`) notes every `open` event, with the place in the
code that it comes from. SQLite's opens are no such events; strace sees them as well, and tells them by O_NOFOLLOW,
which SQLite gives for every file of a database and Python never.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import kbstore

TIMEOUT_S = 120
_MAGIC = b"SQLite format 3\0"
_HOOK = """
import os, sys
_log = os.open(os.environ["OPENS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def _note(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        path, frame = os.path.abspath(os.fsdecode(arguments[0])), sys._getframe(1)
        while frame.f_back and not frame.f_code.co_filename.startswith(os.environ["OPENS_HOME"]):
            frame = frame.f_back
        os.write(_log, f"{path}\\t{frame.f_code.co_filename}:{frame.f_lineno}\\n".encode())
sys.addaudithook(_note)
"""
_OPENED = re.compile(r'(?:open|openat|creat)\((?:AT_FDCWD(?:<[^>]*>)?, )?"([^"]*)", ([A-Z_|]+).* = \d+')


@dataclass
class Recorder:
    """Runs programs in a folder, and keeps what they opened."""

    folder: Path
    notes: Path

    @property
    def strace(self) -> str | None:
        """The program that sees the calls of the system, if it is installed."""
        return shutil.which("strace")

    def run(self, program: str, *arguments: str) -> str:
        """Run Python code with these arguments to a good end; returns what it printed."""
        (self.notes / "sitecustomize.py").write_text(_HOOK)
        home = Path(kbstore.__file__).parent.parent
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(self.notes), str(home)]),
            "OPENS_LOG": str(self.notes / "events"),
            "OPENS_HOME": str(home),
            "XDG_STATE_HOME": str(self.folder / "state"),
        }
        command = [sys.executable, "-c", program, *arguments]
        if self.strace:
            options = ["-f", "--seccomp-bpf", "-qq", "-e", "trace=open,openat,creat", "-o", str(self.notes / "calls")]
            command = [self.strace, *options, *command]
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), (done.stdout, done.stderr)
        return done.stdout

    def by_python(self) -> list[str]:
        """Every file of a database that Python opened, with the place in the code."""
        found = [line.split("\t") for line in (self.notes / "events").read_text().splitlines()]
        return sorted({f"{path} by {place}" for path, place in found if is_database(path)})

    def by_the_system(self) -> tuple[list[str], int]:
        """Every open of a file of a database that is not SQLite's, and how many are SQLite's."""
        others, by_sqlite = [], 0
        for line in (self.notes / "calls").read_text().splitlines():
            if (call := _OPENED.search(line)) is None or not is_database(self.folder / call[1]):
                continue
            if "O_NOFOLLOW" in call[2]:
                by_sqlite += 1
            else:
                others.append(line)
        return others, by_sqlite


def is_database(path: str | Path) -> bool:
    """Whether a file is a database, or the memory beside one that carries the locks of its log.

    The write-ahead log itself carries no locks, so it may be opened.
    """
    place = Path(str(path).removesuffix("-shm"))
    try:
        with place.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False
