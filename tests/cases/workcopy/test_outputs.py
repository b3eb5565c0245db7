"""Cases of the files that commands write: what they replace, and what they never do."""

import json
import os
import shutil
import sqlite3
import stat
from contextlib import closing, suppress
from pathlib import Path

import pytest

from kbstore import KnowledgeBaseVersioner, Store
from kbstore.worktree.json_file import WorkFileError
from kbstore.worktree.lost import LostFiles
from kbstore.worktree.output_file import Replaceable, new_file
from tests.cli.support import Shell

COMMANDS = {
    "export": ["export", "-o"],
    "tables": ["export", "--sqlite"],
    "page": ["diff", "v0", "v1", "--html"],
    "checkout": ["checkout", "v1", "-o"],
}
DOCUMENT = {"problems": {"a": {"title": "A", "n": 1}, "b": {"title": "B", "n": 2}}}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A knowledge base with one version."""
    monkeypatch.setenv("KBSTORE_AUTHOR", "me")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "work").mkdir()
    shell = Shell(tmp_path / "work", monkeypatch)
    shell.write(DOCUMENT)
    shell.ok("init", "kb.json")
    return shell


@pytest.mark.parametrize("form", COMMANDS)
@pytest.mark.parametrize("force", [(), ("--force",)])
def test_no_output_replaces_what_is_no_output(desk: Shell, form: str, force: tuple[str, ...]) -> None:
    """Case 17: a pipe, a device, links, a folder, stores, knowledge bases: refused in a sentence, forced or not."""
    folder = desk.folder
    os.mkfifo(folder / "pipe")
    (folder / "target").write_text("x")
    (folder / "link").symlink_to("target")
    (folder / "nowhere").symlink_to("missing")
    (folder / "folder").mkdir()
    with Store.create(folder / "store.db", {"n": 1}):
        pass
    (folder / "other").mkdir()
    (folder / "other" / "kb.json").write_text('{"n": 1}')
    KnowledgeBaseVersioner(folder / "other" / "kb.json").create_version()
    names = ["pipe", "link", "nowhere", "folder", ".", "store.db", "other/kb.json", "/dev/null", "/dev/stdout"]
    for name in names:
        said = desk.fails(3, *COMMANDS[form], name, *force).err
        assert "bug in kbstore" not in said
        assert "so it is not overwritten" in said or "is a folder" in said, said
    assert stat.S_ISFIFO((folder / "pipe").lstat().st_mode)
    assert (folder / "link").is_symlink()
    assert (folder / "target").read_text() == "x"
    assert not (folder / "missing").exists()
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    with Store.open(folder / "store.db") as kb:
        assert kb.checkout() == {"n": 1}
    assert json.loads((folder / "other" / "kb.json").read_bytes()) == {"n": 1}


@pytest.mark.parametrize("form", COMMANDS)
def test_another_file_is_replaced_by_force_alone(desk: Shell, form: str) -> None:
    """Notes, another form's output, somebody's database: kept, unless it is forced; the same form is replaced."""
    command = COMMANDS[form]
    for other, made in COMMANDS.items():
        desk.ok(*made, f"{other}.out")
    (desk.folder / "notes.out").write_text("my notes")
    with closing(sqlite3.connect(desk.folder / "mine.out")) as base:
        base.execute("create table t(x)")
    for name in (*COMMANDS, "notes", "mine"):
        path = desk.folder / f"{name}.out"
        before = path.read_bytes()
        if name == form:
            desk.ok(*command, path.name)
            continue
        assert "--force" in desk.fails(3, *command, path.name).err
        assert path.read_bytes() == before
    for name in ("notes", "mine"):
        desk.ok(*command, f"{name}.out", "--force")
        assert desk.ok(*command, f"{name}.out").code == 0


def test_a_second_checkout_keeps_what_was_written_since(desk: Shell) -> None:
    """A file that was checked out is replaced as long as it is as it was."""
    desk.ok("checkout", "v1", "-o", "old.json")
    desk.write({**DOCUMENT, "more": 1})
    desk.ok("commit", "-m", "more")
    desk.ok("checkout", "v2", "-o", "old.json")
    (desk.folder / "old.json").write_text('{"mine": 1}')
    desk.fails(3, "checkout", "v1", "-o", "old.json")
    assert (desk.folder / "old.json").read_text() == '{"mine": 1}'


def test_exports_of_a_branch_and_of_nothing_are_exports(desk: Shell) -> None:
    """Whatever an export begins with, the next one replaces it."""
    desk.ok("config", "collection", "/problems")
    desk.ok("branch", "side", "v1")
    desk.ok("--branch", "side", "apply", "-", "-m", "x", stdin=b'[{"op":"add","path":"/x","value":1}]')
    for revisions in (["v0..v1"], ["HEAD..HEAD"], ["v1..HEAD"], []):
        desk.ok("export", *revisions, "-o", "out.jsonl")
    shutil.copy(desk.folder / "out.jsonl", desk.folder / "copy.jsonl")
    desk.ok("export", "-o", "copy.jsonl")


@pytest.mark.parametrize("form", COMMANDS)
def test_what_force_replaces_is_kept(desk: Shell, form: str) -> None:
    """Somebody's notes are listed and printed by `kbstore lost`; an earlier output of the same form is not kept."""
    for _ in range(2):
        desk.ok(*COMMANDS[form], "out", "--force")
    assert desk.ok("lost").out == ""
    (desk.folder / "out").write_bytes(b"my notes")
    desk.ok(*COMMANDS[form], "out", "--force")
    assert desk.ok("lost", "1").raw == b"my notes"
    desk.ok("lost", "--restore")
    assert (desk.folder / "out").read_bytes() == b"my notes"
    assert [path.name for path in desk.folder.iterdir() if path.suffix == ".tmp"] == []


def test_the_log_of_a_replaced_database_is_kept(desk: Shell) -> None:
    """What somebody's database had written last may stand in the log beside it."""
    (desk.folder / "out-wal").write_bytes(b"their pages")
    desk.fails(3, "export", "--sqlite", "out")
    desk.ok("export", "--sqlite", "out", "--force")
    assert desk.ok("lost", "1").raw == b"their pages"
    assert not (desk.folder / "out-wal").exists()


@pytest.mark.parametrize("swaps", [True, False])
@pytest.mark.parametrize("force", [True, False])
def test_a_file_that_is_saved_while_an_output_is_made_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swaps: bool, force: bool
) -> None:
    """At its name, or among the copies: whatever was there when the command looked first."""
    if not swaps:
        monkeypatch.setattr("kbstore.worktree.swap._call", lambda: None)
    lost = LostFiles(tmp_path)
    path = tmp_path / "out"
    for before in (None, b"", b"OURS old"):
        if before is not None:
            path.write_bytes(before)
        replaceable = Replaceable(lambda found: found.read_bytes().startswith(b"OURS"), lost if force else None)
        with suppress(WorkFileError), new_file(path, 0o666, replaceable) as (part, _):
            part.write_bytes(b"OURS new")
            path.write_bytes(b"their save")
        if force:
            assert path.read_bytes() == b"OURS new"
            assert lost.copies()[0].path.read_bytes() == b"their save"
        else:
            assert path.read_bytes() == b"their save"
        path.unlink()
        assert [one.name for one in tmp_path.iterdir() if one.name != ".kbstore"] == []
