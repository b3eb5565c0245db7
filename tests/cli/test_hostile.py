"""Whatever hostile users write, nothing but drawn characters reaches a terminal, from no command."""

import json
import re
import unicodedata
from pathlib import Path

import pytest

from kbstore import Store
from tests.cli.support import Result, Shell

NASTY = (
    "\x1b[2J\x1b]0;owned\x07\x1b]8;;https://evil.example\x1b\\x\x9b31m\x00\r\t\x7f\x85"
    "\u202e\u2066\u200b\u2028\u2029\ufeff\u061c\U000e0041\u3164end"
)
LINES = f"first {NASTY}\nsecond\nerror: forged {NASTY}"
SGR = re.compile(r"\x1b\[[\d;]*m")
UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
DUMB = {"TERM": "dumb"}


def unseen(result: Result, *, color: bool = False) -> list[str]:
    """Characters of all output, line ends apart, that a terminal would obey rather than draw."""
    told = result.out + result.err
    return [c for c in (SGR.sub("", told) if color else told) if unicodedata.category(c) in UNSEEN and c != "\n"]


@pytest.fixture
def hostile(shell: Shell) -> Shell:
    """A store in which every text is hostile: values, keys, authors, messages, labels, meta."""
    name = NASTY.replace("\x00", "")
    entry = {"title": NASTY, NASTY: LINES, "steps": [{"id": NASTY, "text": LINES}]}
    shell.write({"name": NASTY, "problems": {NASTY: entry, "p2": {"title": "x"}, f"{NASTY}/~": {}}})
    shell.ok("init", "kb.json", "-m", LINES.replace("\x00", ""), "--author", name)
    shell.write({"name": f"{NASTY}!", "problems": {NASTY: {**entry, NASTY: f"{LINES}\n{NASTY}"}, NASTY * 2: entry}})
    with Store.open(shell.folder / ".kbstore" / "kb.db", author=NASTY) as store:
        store.commit(shell.read(), message=LINES, tags=[NASTY, LINES], meta={NASTY: NASTY})
    shell.ok("checkout", "v2", "--force")
    shell.write({"name": NASTY, "problems": {NASTY: entry, "p2": {"title": NASTY}}})
    shell.ok("tag", "stable", "v2")
    return shell


TOKEN = NASTY.replace("~", "~0").replace("/", "~1")
READING = [
    ["status"],
    ["log"],
    ["log", "--oneline"],
    ["show"],
    ["show", "v1"],
    ["show", "--stat"],
    ["diff"],
    ["diff", "v1", "v2"],
    ["diff", "v1", "v2", "--stat"],
    ["diff", "v1", "v2", "--name-only"],
    ["diff", "v1", "v2", "--unified"],
    ["diff", "v1", "v2", "--markdown"],
    ["diff", "v1", "v2", "--patch"],
    ["diff", "v1", "v2", "--html", "-"],
    ["get"],
    ["get", f"/problems/{TOKEN}"],
    ["get", f"/problems/{TOKEN}/{TOKEN}", "--raw"],
    ["get", f"/nope/{TOKEN}"],
    ["tag"],
    ["checkout", "v1", "-o", "-"],
    ["export"],
    ["verify"],
]


@pytest.mark.parametrize(
    "command", READING, ids=lambda command: " ".join(command)[:30].encode("unicode_escape").decode()
)
@pytest.mark.parametrize("color", [False, True])
def test_reading_commands(hostile: Shell, command: list[str], color: bool) -> None:
    """At a terminal, with and without colour."""
    env = DUMB | ({"FORCE_COLOR": "1"} if color else {})
    result = hostile.run(*command, env=env, terminal=True)
    assert re.search(r"\\(x|u00)1b", result.out + result.err) or command[0] in ("verify", "tag")
    assert unseen(result, color=color) == []


@pytest.mark.parametrize("command", ["status", "log", "show", "diff", "get", "tag", "branch", "verify"])
def test_json(hostile: Shell, command: str) -> None:
    """Also where it goes to a pipe that ends at a terminal; it means the same all the while."""
    assert unseen(hostile.ok(command, "--json")) == []


def test_writing_commands(hostile: Shell) -> None:
    """What they repeat of messages, authors, labels and patches."""
    name = NASTY.replace("\x00", "")
    patch = json.dumps([{"op": "add", "path": f"/problems/{TOKEN}", "value": NASTY}]).encode()
    bad = json.dumps([{"op": "test", "path": f"/problems/{TOKEN}", "value": NASTY * 2}]).encode()
    calls = [
        (["commit", "-m", name, "--author", name, "--tag", name], b"", 0),
        (["apply", "-", "-m", name], patch, 0),
        (["apply", "-", "-m", name], bad, 3),
        (["apply", "-", "-m", name], f"[{NASTY}".encode(), 3),
        (["restore", "v1", "-m", name], b"", 0),
        (["import", "-"], json.dumps({"document": {NASTY: NASTY}, "message": LINES}).encode(), 0),
        (["import", "-"], json.dumps({NASTY: NASTY}).encode(), 3),
        (["import", "-"], json.dumps({"document": 1, "time": NASTY}).encode(), 3),
        (["import", "-"], json.dumps({"event": {NASTY: 1}, "id": NASTY, "patch": []}).encode(), 3),
        (["export", "--sqlite", "kb.sqlite", "v1"], b"", 0),
        (["tag", name], b"", 3),
        (["branch", name], b"", 3),
        (["branch", "--switch", name], b"", 3),
        (["log", "--branch", name], b"", 3),
        (["show", name], b"", 3),
        (["log", "--since", name], b"", 2),
        (["log", name], b"", 3),
        (["verify", "--head", name], b"", 2),
        ([name], b"", 2),
        (["log", f"--{name}"], b"", 2),
    ]
    for arguments, stdin, code in calls:
        result = hostile.run(*arguments, stdin=stdin, terminal=True, env=DUMB)
        assert result.code == code, (arguments, result)
        assert unseen(result) == []
        assert sum(line.startswith("error:") for line in result.err.splitlines()) == (code != 0)


def test_names_of_files(shell: Shell, tmp_path: Path) -> None:
    """A folder, a file, a store and an output with hostile names."""
    name = NASTY.replace("\x00", "").replace("/", "")[:60]
    (shell.folder / name).mkdir()
    (shell.folder / name / name).write_text('{"problems": {}}')
    for arguments in (
        ["-C", name, "init", name],
        ["-C", name, "status"],
        ["-C", name, "checkout", "v1"],
        ["-C", name, "checkout", "v1", "-o", f"{name}2"],
        ["-C", name, "export", "-o", f"{name}3"],
        ["-C", name, "diff", "v1", "v1", "--html", f"{name}4"],
        ["-C", name, "export", "--sqlite", f"{name}5"],
        ["-C", name, "log", "--store", f"{name}6"],
        ["-C", f"{name}7", "log"],
        ["-C", name, "import", f"{name}8"],
        ["-C", name, "apply", f"{name}9", "-m", "x"],
        ["init", f"{name}/{name}"],
    ):
        assert unseen(shell.run(*arguments, terminal=True, env=DUMB)) == []


def test_a_conflict(hostile: Shell) -> None:
    """Both values and the pointer."""
    hostile.write({**hostile.read(), "name": f"{NASTY} mine"})
    with Store.open(hostile.folder / ".kbstore" / "kb.db") as store:
        store.commit(patch=[{"op": "replace", "path": "/name", "value": f"{NASTY} theirs"}], message="x")
    result = hostile.run("commit", "-m", "x", terminal=True, env=DUMB)
    assert result.code == 11
    assert "theirs" in result.err
    assert unseen(result) == []
