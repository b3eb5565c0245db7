"""Runs one act on a hostile store under limits of time and memory, and says how it ended; run by path.

The limits are those of the system, so whatever the act does, it ends: a process of its own is the only way to be sure.
"""

import contextlib
import io
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from kbstore.cli.main import run

MEMORY_BYTES = 1 << 30
"""Of addresses, which are more than memory."""
TIME_S = 5
"""Of a processor, so that a busy machine changes nothing."""


class TooSlow(BaseException):
    """The time is over; nothing catches it."""


def _end(number: int, frame: object) -> None:
    raise TooSlow


def peak_mb() -> int:
    """Return the most memory that this process ever had. (What `resource` tells begins with its parent's.)"""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:", 1)[1].split(maxsplit=1)[0]) // 1024


def act(arguments: Sequence[str]) -> str:
    """Run a command line of kbstore; returns its exit code and what it said, or how it was stopped."""
    out, err = io.TextIOWrapper(io.BytesIO()), io.TextIOWrapper(io.BytesIO())
    signal.signal(signal.SIGPROF, _end)
    signal.setitimer(signal.ITIMER_PROF, TIME_S)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(list(arguments))
    except TooSlow:
        return "slow"
    except BaseException as fault:  # noqa: BLE001 - whatever comes is told
        return f"raised {fault!r}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    for stream in (out, err):
        stream.flush()
    said = err.buffer.getvalue().decode(errors="replace")  # type: ignore[attr-defined]
    if "Traceback" in said or "bug in kbstore" in said:
        return f"traceback {said}"
    return f"{code} {said.strip()}"


def main() -> None:
    """Run each line of stdin as a command line, its words parted by tabs; answer each with a line."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    for line in sys.stdin:
        found = act(line.rstrip("\n").split("\t"))
        sys.__stdout__.write(f"{peak_mb()} {found!r}\n")  # type: ignore[union-attr]
        sys.__stdout__.flush()  # type: ignore[union-attr]


if __name__ == "__main__":
    main()
