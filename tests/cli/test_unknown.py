"""Exit code 12 keeps its promise for every command that writes: the same command again does not land it twice."""

import errno
import io
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from kbstore.backends.sqlite import SQLiteBackend
from kbstore.cli.main import run
from kbstore.errors import KBStoreError, OutcomeUnknown, StoreUnavailable
from kbstore.store import Store
from tests.cli.support import Shell

APPEND = b'[{"op": "add", "path": "/list/-", "value": 1}]'
LINES = b"".join(b'{"document": {"list": [%d]}}\n' % n for n in range(3))
append = SQLiteBackend.append


@pytest.fixture
def outside(shell: Shell) -> Shell:
    """A folder without a project, and a store in it: two versions and a tag."""
    with Store.create(shell.folder / "kb.db", {"list": []}, author="a") as kb:
        kb.commit({"list": [0]})
        kb.tag("old", "v1")
    return shell


@pytest.fixture
def losing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Lets the nth append of a command go through, and its answer get lost."""

    def lose(at: int = 1) -> pytest.MonkeyPatch:
        count = 0

        def without_answer(self: SQLiteBackend, *arguments: Any, **options: Any) -> None:
            nonlocal count
            count += 1
            append(self, *arguments, **options)
            if count == at:
                raise OutcomeUnknown("no answer came", write_id=options["write_id"])

        monkeypatch.setattr(SQLiteBackend, "append", without_answer)
        return monkeypatch

    yield lose
    monkeypatch.setattr(SQLiteBackend, "append", append)


def everything(shell: Shell) -> bytes:
    """All events, tags and branches."""
    return shell.ok("export", "--store", "kb.db").raw


@pytest.mark.parametrize(
    ("command", "stdin"),
    [
        (["apply", "-", "-m", "mine"], APPEND),
        (["commit", "--file", "kb.json", "-m", "mine", "--allow-empty"], b""),
        (["restore", "v1"], b""),
        (["import", "-"], LINES),
        (["tag", "new"], b""),
        (["tag", "old", "--force"], b""),
        (["tag", "-d", "old"], b""),
        (["branch", "side"], b""),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_the_same_command_settles_it(
    outside: Shell, losing: Callable[..., Any], command: list[str], stdin: bytes
) -> None:
    """Outside a project too, and where others went on meanwhile; after that, the command is a new one."""
    outside.file.write_text('{"list": [0, 5]}')
    command = [*command, "--store", "kb.db"]
    losing()
    assert "run the same command again" in outside.fails(12, *command, stdin=stdin).err
    losing(0)
    with Store.open(outside.folder / "kb.db", author="other") as kb:
        kb.commit(patch=[{"op": "add", "path": "/more", "value": 1}])
    before = everything(outside)
    result = outside.ok(*command, stdin=stdin)
    assert "this settles it" in result.err
    assert everything(outside) == before
    again = outside.run(*command, stdin=stdin)
    assert "this settles it" not in again.err
    landed = everything(outside) != before
    assert landed or again.code == 3 or command[0] == "restore"


class _Full(io.StringIO):
    """A file on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("fails", ["output", "close"])
@pytest.mark.parametrize(
    "command",
    [
        ["apply", "patch.json", "-m", "mine"],
        ["commit", "--file", "kb.json", "-m", "mine"],
        ["restore", "v1"],
        ["import", "lines.jsonl"],
        ["tag", "new"],
        ["tag", "old", "v2", "--force"],
        ["tag", "-d", "old"],
        ["branch", "side"],
        ["config", "collection", "/list"],
    ],
    ids=lambda value: value[0],
)
def test_a_failure_after_the_write_is_settled_too(
    outside: Shell, monkeypatch: pytest.MonkeyPatch, command: list[str], fails: str
) -> None:
    """What a command prints and its close of the store come before it forgets the id."""
    outside.file.write_text('{"list": [0, 5]}')
    (outside.folder / "patch.json").write_bytes(APPEND)
    (outside.folder / "lines.jsonl").write_bytes(LINES)
    command = [*command, "--json", "--store", "kb.db"]
    before = everything(outside)
    close = SQLiteBackend.close

    def closed(self: SQLiteBackend) -> None:
        close(self)
        raise StoreUnavailable("it cannot be closed", hint="check the disk")

    if fails == "close":
        with monkeypatch.context() as patched:
            patched.setattr(SQLiteBackend, "close", closed)
            outside.fails(13, *command)
    else:
        with redirect_stdout(_Full()):
            assert run(command) == 13
    landed = everything(outside)
    assert landed != before
    assert "this settles it" in outside.ok(*command).err
    assert everything(outside) == landed


def test_an_import_that_starts_a_store_is_settled_too(shell: Shell) -> None:
    """The store that it made for itself stays, since something is in it."""
    (shell.folder / "lines.jsonl").write_bytes(LINES)
    with redirect_stdout(_Full()):
        assert run(["import", "lines.jsonl"]) == 13
    assert "this settles it" in shell.ok("import", "lines.jsonl").err
    assert shell.versions() == 3


def test_an_import_goes_on_behind_a_line_that_is_mended(outside: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batches before the bad line have landed, and do not land again."""
    monkeypatch.setattr("kbstore.sync.jsonl._BATCH_EVENTS", 1)
    source = outside.folder / "lines.jsonl"
    source.write_bytes(LINES + b'{"document": }\n')
    told = outside.fails(13, "import", "lines.jsonl", "--store", "kb.db").err
    assert "2 versions imported, but line 4" in told
    assert "hint: correct that line, then run the same command again" in told
    source.write_bytes(LINES + b'{"document": {"list": [3]}}\n')
    outside.ok("import", "lines.jsonl", "--store", "kb.db")
    assert len(outside.ok("log", "--json", "--store", "kb.db").objects) == 2 + 4


def test_an_import_goes_on_behind_the_batch_in_doubt(
    outside: Shell, losing: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches that landed before do not land again; the others follow."""
    monkeypatch.setattr("kbstore.sync.jsonl._BATCH_EVENTS", 1)
    losing(2)
    outside.fails(12, "import", "-", "--store", "kb.db", stdin=LINES)
    losing(0)
    outside.ok("import", "-", "--store", "kb.db", stdin=LINES)
    documents = [line["patch"] for line in outside.ok("export", "--store", "kb.db", "v2..HEAD").objects]
    assert len(documents) == 3
    outside.ok("import", "-", "--store", "kb.db", stdin=LINES)
    assert len(outside.ok("log", "--json", "--store", "kb.db").objects) == 2 + 3 + 3


def test_without_a_folder_of_state_the_id_is_told(
    outside: Shell, losing: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The hint has the option that settles it."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    losing()
    command = ["apply", "-", "-m", "mine", "--store", "kb.db"]
    told = outside.fails(12, *command, stdin=APPEND).err
    losing(0)
    (ident,) = re.findall(r"--write-id (\w+)", told)
    for _ in range(2):
        assert outside.ok(*command, "--write-id", ident, stdin=APPEND).out.startswith("v3_")
    assert len(outside.ok("log", "--json", "--store", "kb.db").objects) == 3


def test_an_id_that_was_given_is_enough(outside: Shell) -> None:
    """The same command with the same id lands once, without anything that is left behind."""
    for command, stdin in ((["apply", "-", "-m", "x"], APPEND), (["import", "-"], LINES), (["branch", "b"], b"")):
        outside.ok(*command, "--store", "kb.db", "--write-id", "job-7", stdin=stdin)
        before = everything(outside)
        outside.ok(*command, "--store", "kb.db", "--write-id", "job-7", stdin=stdin)
        assert everything(outside) == before


def test_an_id_names_one_change_of_a_tag_or_branch(outside: Shell) -> None:
    """Given for another one it is refused, not taken for done."""
    with Store.open(outside.folder / "kb.db", author="a") as kb:
        version = kb.tag("stable", "v1", write_id="w")
        kb.commit({"list": [9]})
        assert kb.tag("stable", write_id="w") == version
        with pytest.raises(KBStoreError, match="another change: the tag 'stable'"):
            kb.create_branch("side", write_id="w")
        kb.untag("stable", write_id="x")
        kb.untag("stable", write_id="x")
        assert kb.restore("v1", write_id="r").id == kb.restore("v1", write_id="r").id
