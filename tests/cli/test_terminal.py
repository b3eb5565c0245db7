"""At a real terminal (a pty): colours, pager, progress; and where the terminal or the reader goes away."""

import errno
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from kbstore import KBStoreError, Store
from kbstore.cli import exit_codes
from kbstore.cli.session import Session
from tests.cli.support import PROGRAM, Shell, environment

SGR = re.compile(r"\x1b\[[\d;]*m")
PAGER = """#!{python}
import os, sys
text = sys.stdin.read()
print(f"<paged LESS={{os.environ['LESS']}}>")
print(text, end="")
print("<end>")
"""


def at_terminal(shell: Shell, *arguments: str, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run a command with a terminal as its stdout and stderr; its exit code and all that it wrote there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=shell.folder,
        env=environment({"TERM": "xterm", "COLUMNS": "80", "PAGER": "cat", "LESS": "FRX"} | dict(env or {})),
    )
    os.close(theirs)
    told = bytearray()
    try:
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError as fault:  # Linux says so where the last writer closed
                if fault.errno != errno.EIO:
                    raise
                break
            if not piece:
                break
            told += piece
    finally:
        os.close(ours)
    return process.wait(60), told.decode().replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("env", "colored"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True),
    ],
)
def test_colours_at_a_terminal(kb: Shell, env: dict[str, str], colored: bool) -> None:
    """By default, unless NO_COLOR says no or the terminal can show none; and then there is no escape at all."""
    code, told = at_terminal(kb, "log", "--oneline", env=env)
    assert code == 0
    assert ("\x1b[33mv3_" in told) is colored
    assert ("\x1b" in told) is colored
    assert "p4 replaces p3" in told


@pytest.mark.parametrize(("env", "colored"), [({}, False), ({"FORCE_COLOR": "1"}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_in_a_pipe(kb: Shell, env: dict[str, str], colored: bool) -> None:
    """None, unless FORCE_COLOR asks for them; the text is the same."""
    for command in (["log"], ["show", "v2"], ["diff", "v1", "v3"], ["status"]):
        kb.edit("p2", votes=6)
        told = kb.ok(*command, env=env).out
        assert ("\x1b" in told) is ((colored and command[0] != "log") or (colored and "\x1b[33m" in told))
        if command[0] == "log":
            assert SGR.sub("", told) == kb.ok(*command).out


def test_long_output_goes_through_the_pager(kb: Shell, tmp_path: Path) -> None:
    """PAGER gets log, show and diff, no line more or less than a pipe gets, and is told to pass colours."""
    pager = tmp_path / "pager"
    pager.write_text(PAGER.format(python=sys.executable))
    pager.chmod(0o755)
    for command in (["log"], ["log", "--oneline"], ["show", "v2"], ["diff", "v1", "v3"]):
        code, told = at_terminal(kb, *command, env={"PAGER": str(pager), "NO_COLOR": "1"})
        assert code == 0
        assert told == f"<paged LESS=FRX>\n{kb.ok(*command, env={'COLUMNS': '80'}).out}<end>\n"
    _, told = at_terminal(kb, "log", env={"PAGER": str(pager), "LESS": "X"})
    assert "<paged LESS=X -R>" in told
    for command in (["get"], ["log", "--json"], ["status"]):
        assert "<paged" not in at_terminal(kb, *command, env={"PAGER": str(pager)})[1]
    assert "<paged" not in at_terminal(kb, "log", env={"PAGER": str(pager), "TERM": "dumb"})[1]


def test_a_pager_that_is_closed_early(kb: Shell) -> None:
    """Is no fault of anybody's."""
    for _ in range(3):
        kb.ok("commit", "-m", "x " * 20_000, "--allow-empty")
    assert at_terminal(kb, "log", env={"PAGER": "true"}) == (0, "")


def test_a_hostile_text_at_a_terminal(kb: Shell) -> None:
    """What goes to a terminal by way of bytes is harmless too, and still JSON."""
    kb.edit("p2", title="\x1b]0;owned\x07")
    kb.ok("commit", "-m", "x")
    for command in (["checkout", "HEAD", "-o", "-"], ["export"], ["get", "/problems/p2/title", "--raw"]):
        _, told = at_terminal(kb, *command)
        assert "\x1b" not in told
        assert "\\u001b]0;owned\\u0007" in told
        assert b"owned" in kb.ok(*command).raw


def test_progress_is_drawn_on_a_terminal_only(kb: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """On stderr, after a while, and wiped when the work is done; no escape reaches a pipe."""
    lines = b'{"document": {}}\n' * 20
    monkeypatch.setattr("kbstore.cli.output._PROGRESS_AFTER_S", 0)
    monkeypatch.setattr("kbstore.cli.output._PROGRESS_EVERY_S", 0)
    told = kb.ok("import", "-", stdin=lines, terminal=True)
    assert "import 20 lines" in told.err
    assert told.err.endswith("\r\x1b[K")
    told = kb.ok("verify", terminal=True)
    assert re.search(r"verify \[#+\] 100%", told.err)
    assert "\x1b" not in told.out
    assert kb.ok("import", "-", stdin=lines).err == ""


@pytest.mark.parametrize("command", [["log", "--json"], ["export"], ["checkout", "-o", "-"], ["get"]])
def test_a_reader_that_had_enough(kb: Shell, command: list[str]) -> None:
    """`kbstore log | head` ends well and quietly, with exit code 0."""
    document = kb.read()
    document["long"] = "x" * 300_000
    kb.write(document)
    kb.ok("commit", "-m", "x" * 300_000)
    process = subprocess.Popen(
        [*PROGRAM, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=kb.folder, env=environment()
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 0


def test_streams_that_are_closed_from_the_start(kb: Shell) -> None:
    """Nothing to write to is no fault; the exit code still tells."""
    command = "exec " + " ".join(f"'{part}'" for part in PROGRAM)
    for line, code in ((f"{command} log >&-", 0), (f"{command} log >&- 2>&-", 0), (f"{command} nope 2>&-", 2)):
        done = subprocess.run(["sh", "-c", line], cwd=kb.folder, env=environment(), capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (code, b"", b"")


@pytest.mark.parametrize("command", [["log"], ["get"], ["export"], ["checkout", "-o", "-"], ["--help"], ["diff", "v1"]])
def test_a_full_disk_behind_stdout(kb: Shell, command: list[str]) -> None:
    """Output that was lost is an error, in one line, with one hint."""
    with Path("/dev/full").open("w") as full:
        done = kb.process(*command, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 3
    told, hint = done.stderr.splitlines()
    assert told == b"error: No space left on device"
    assert hint.startswith(b"hint: ")


def test_an_interrupt(kb: Shell) -> None:
    """Ctrl-C ends with 130 and one line; the store is whole, and has all or nothing of a batch."""
    process = subprocess.Popen(
        [*PROGRAM, "import", "-", "--store", "new.db"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=kb.folder,
        env=environment(),
        # A shell starts what runs in its background with interrupts ignored, and that would be inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(b'{"document": {}}\n' * 250)
    process.stdin.flush()
    deadline = time.monotonic() + 60
    while kb.run("log", "--store", "new.db", "--json").out.count("\n") < 200:
        assert time.monotonic() < deadline
        select.select([], [], [], 0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"error: interrupted, but 200 versions imported\n")
    assert kb.ok("verify", "--store", "new.db").out.startswith("whole: 200 versions")
    assert sorted(path.name for path in kb.folder.iterdir()) == [".kbstore", "kb.json", "new.db"]


def test_a_message_of_megabytes_does_not_fill_the_terminal(kb: Shell) -> None:
    """It is cut at lines, and the last one says how to see it all; a program gets it whole."""
    lines = [f"line {number}" for number in range(50_000)]
    with Store.open(kb.folder / ".kbstore" / "kb.db") as store:
        store.commit(patch=[{"op": "add", "path": "/n", "value": 1}], message="\n".join(lines))
        store.commit(patch=[{"op": "add", "path": "/n", "value": 2}], message="long " * 400_000)
    for arguments in (["log"], ["log", "--oneline"], ["show", "HEAD~1"], ["show"]):
        shown = kb.run(*arguments, env={"TERM": "dumb", "COLUMNS": "80"}, terminal=True)
        assert shown.code == 0
        assert len(shown.out) < 12_000
    shown = kb.run("show", "HEAD~1", env={"TERM": "dumb"}, terminal=True)
    assert "line 99\n    … 49,900 more lines; kbstore show v" in shown.out
    assert "… (2,000,000 characters)" in kb.run("log", env={"TERM": "dumb"}, terminal=True).out
    assert "    line 49999\n" in kb.run("log").out


def test_a_conflict_of_megabytes_shows_the_place(kb: Shell) -> None:
    """Each value takes one line, on which the stretch that differs is marked."""
    text = "The printer is on the second floor. " * 60_000
    half = len(text) // 2
    document = kb.read()
    document["problems"]["p1"]["title"] = text
    kb.write(document)
    kb.ok("commit", "-m", "long")
    for name, word in (("other.json", "Ann"), ("kb.json", "Bob")):
        document["problems"]["p1"]["title"] = f"{text[:half]}Call {word}. {text[half:]}"
        (kb.folder / name).write_text(json.dumps(document))
        if word == "Ann":
            patch = [{"op": "replace", "path": "/problems/p1/title", "value": document["problems"]["p1"]["title"]}]
            with Store.open(kb.folder / ".kbstore" / "kb.db") as store:
                store.commit(patch=patch, message="theirs")
    refused = kb.run("commit", "-m", "mine")
    assert refused.code == 11
    assert "floor. Call >>Bob<<. The printer" in refused.err
    assert "floor. Call >>Ann<<. The printer" in refused.err
    assert max(map(len, refused.err.splitlines())) < 200


def test_an_error_of_megabytes_is_cut() -> None:
    """A message carries what somebody else wrote; its lines are few, and short."""
    shown = "\n".join(exit_codes._lines(KBStoreError("x" * 3_000_000 + "\n" * 5_000), Session(), exit_codes.FAILED))
    assert len(shown) < 3_000
    assert "… (3,000,000 characters)" in shown
