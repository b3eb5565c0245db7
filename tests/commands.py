"""Runs command lines in this process, each as if it were in one of its own."""

import io
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest


def run_here(
    run: Callable[[Sequence[str]], int],
    arguments: Sequence[str],
    folder: Path,
    *,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    terminal: bool = False,
) -> tuple[int, bytes, str]:
    """Run one command line; returns its exit code, what it printed, and what it said on stderr.

    Args:
        run: The program: takes a command line, returns an exit code.
        arguments: The command line, without the name of the program.
        folder: The current folder meanwhile.
        stdin: What it can read.
        env: Variables that are set besides those of this process.
        terminal: Whether output and errors pass for a terminal.
    """
    out, err = _stream(terminal), _stream(terminal)
    with pytest.MonkeyPatch.context() as patched, redirect_stdout(out), redirect_stderr(err):
        patched.chdir(folder)
        patched.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        for name, text in (env or {}).items():
            patched.setenv(name, text)
        code = run(arguments)
    for stream in (out, err):
        stream.flush()
    return code, out.buffer.getvalue(), err.buffer.getvalue().decode()  # type: ignore[attr-defined]


class _Stream(io.TextIOWrapper):
    """A stream that remembers; it can pass for a terminal."""

    terminal = False

    def isatty(self) -> bool:
        return self.terminal


def _stream(terminal: bool) -> _Stream:
    stream = _Stream(io.BytesIO(), encoding="utf-8")
    stream.terminal = terminal
    return stream
