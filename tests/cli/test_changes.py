"""Commands that move changes between the file and the store: init, status, commit, apply, checkout, restore."""

import json
import stat
from pathlib import Path

import pytest

from kbstore import Store
from tests.cli.support import DOCUMENT, Shell

CHOICE = "(another place: kbstore config collection POINTER)"
RAISE = [{"op": "replace", "path": "/problems/p2/votes", "value": 9}]


def patch_of(value: object) -> bytes:
    """A patch as it comes from a file or stdin."""
    return json.dumps(value).encode()


# ---- init ---------------------------------------------------------------------------------------------------------


def test_init_starts_a_history(shell: Shell) -> None:
    """Version 1 is what the file holds; the file itself stays as it is, byte for byte."""
    before = shell.write(DOCUMENT, indent="\t")
    result = shell.ok("init", "kb.json", "-m", "imported from the wiki")
    assert result.out.startswith("v1_")
    assert result.out.endswith("  imported from the wiki\n")
    assert "started" in result.err
    assert shell.file.read_bytes() == before
    assert sorted(path.name for path in (shell.folder / ".kbstore").iterdir()) == ["config.json", "files", "kb.db"]


def test_init_twice_is_refused(kb: Shell) -> None:
    """A file has one history, and a folder holds that of one file."""
    assert "has its history in" in kb.fails(3, "init", "kb.json").err
    (kb.folder / "other.json").write_text("{}")
    assert "belongs to kb.json" in kb.fails(3, "init", "other.json").err


@pytest.mark.parametrize("option", ["--store", "KBSTORE_STORE"])
def test_init_joins_a_store_that_is_there(kb: Shell, option: str) -> None:
    """A file that is not there is written; one that is there stays, its differences uncommitted."""
    store = str(kb.folder / ".kbstore" / "kb.db")
    for name, content in (("empty", None), ("full", b'{"problems": {"p1": {}}}\n')):
        folder = kb.folder / name
        folder.mkdir()
        if content is not None:
            (folder / "kb.json").write_bytes(content)
        if option == "--store":
            result = kb.ok("-C", name, "init", "kb.json", "--store", store)
        else:
            result = kb.ok("-C", name, "init", "kb.json", env={option: store})
        assert "joined" in result.err
        status = kb.ok("-C", name, "status", "--json").object
        assert status["clean"] is (content is None)
        if content is not None:
            assert (folder / "kb.json").read_bytes() == content
            assert status["removed"] == ["p2", "p4"]
            assert "kb.json equals no version, so it is compared with v3_" in result.err


@pytest.mark.parametrize("arguments", [["--store", "nowhere/kb.db"], ["--store", "memory:"], ["--collection", "x"]])
def test_an_init_that_fails_leaves_nothing(shell: Shell, arguments: list[str]) -> None:
    """Neither a folder nor a store."""
    shell.write(DOCUMENT)
    assert shell.run("init", "kb.json", *arguments).code in (2, 3, 10)
    assert [path.name for path in shell.folder.iterdir()] == ["kb.json"]


def test_a_collection_can_be_chosen(shell: Shell) -> None:
    """What counts as an entry is what was configured."""
    shell.write({"small": {"a": {"x": 1}}, "large": {str(n): {"x": n} for n in range(9)}})
    shell.ok("init", "kb.json", "--collection", "/small")
    shell.write({"small": {"a": {"x": 2}}, "large": {str(n): {"x": n} for n in range(9)}})
    assert shell.ok("status", "--json").object["modified"] == ["a"]


@pytest.mark.parametrize(
    ("document", "told", "pointer"),
    [
        (DOCUMENT, f"the entries are those of /problems {CHOICE}\n", "/problems"),
        (DOCUMENT["problems"], f"the entries are those of the whole document {CHOICE}\n", ""),
        ({"a": 1}, "", None),
    ],
)
def test_init_says_which_entries_it_found(shell: Shell, document: object, told: str, pointer: str | None) -> None:
    """Where one container is clearly that of the entries; a comparison will count its children."""
    shell.write(document)
    assert shell.ok("init", "kb.json").err == "started .kbstore/kb.db\n" + told
    (shell.folder / "again").mkdir()
    shell.file.rename(shell.folder / "again" / "kb.json")
    assert shell.ok("-C", "again", "init", "kb.json", "--json").object["collection"] == pointer


# ---- status and commit --------------------------------------------------------------------------------------------


def test_status_tells_changes_by_entry(kb: Shell) -> None:
    """Added, modified and removed entries, and that the file is clean before."""
    assert kb.ok("status").lines[1] == "nothing changed"
    kb.edit("p5", title="New")
    kb.edit("p2", votes=6)
    document = kb.read()
    del document["problems"]["p1"]
    kb.write(document)
    lines = kb.ok("status").lines
    assert lines[0].startswith("kb.json: at v3_")
    assert lines[1:] == ["uncommitted: 1 added, 1 removed, 1 modified", "  + p5", "  ~ p2", "  - p1"]


def test_changes_outside_of_the_entries_are_named(kb: Shell) -> None:
    """Whether entries changed as well or not, before the commit and by it."""
    kb.write(kb.read() | {"name": "desk"})
    assert kb.ok("status").lines[1:] == ["uncommitted: changes outside of the entries"]
    kb.edit("p2", votes=6)
    assert kb.ok("status").lines[1:] == ["uncommitted: 1 modified, changes outside of the entries", "  ~ p2"]
    assert kb.ok("commit", "-m", "x").err == "1 modified: p2; changes outside of the entries\n"
    kb.write({"problems": kb.read()["problems"]})
    assert kb.ok("commit", "-m", "y").err == "changes outside of the entries\n"
    kb.write({})
    assert kb.ok("commit", "-m", "z").err == "3 removed: p1, p2, p4\n"
    kb.write({"name": "desk", "problems": {"p1": {}}})
    assert kb.ok("commit", "-m", "z").err == "1 added: p1; changes outside of the entries\n"


def test_status_of_a_long_list_is_cut(kb: Shell) -> None:
    """Twenty entries of a kind are named, the rest are counted."""
    document = kb.read()
    document["problems"].update({f"q{n}": {} for n in range(30)})
    kb.write(document)
    lines = kb.ok("status").lines
    assert len(lines) == 23
    assert lines[-1] == "    and 10 more; kbstore diff --name-only lists them all"


def test_status_of_a_file_that_is_gone(kb: Shell) -> None:
    """It says so, and what brings the file back does."""
    kb.file.unlink()
    assert "kbstore checkout HEAD writes it" in kb.ok("status").out
    assert "there is no file" in kb.fails(3, "commit", "-m", "x").err
    assert "there is no file" in kb.fails(3, "diff").err
    kb.ok("checkout")
    assert "p4" in kb.read()["problems"]


@pytest.mark.parametrize(
    "command", [["commit", "-m", "x"], ["apply", "-", "-m", "x"], ["restore", "v1"], ["init", "kb.json"], ["tag", "t"]]
)
def test_nobody_and_nothing_are_refused(kb: Shell, command: list[str]) -> None:
    """An empty author would be recorded as somebody else, and an empty label finds nothing."""
    for option in ("--author", "--tag"):
        if option == "--tag" and command[0] in ("init", "tag"):
            continue
        for empty in ("", "  "):
            assert "empty" in kb.fails(2, *command, option, empty, stdin=patch_of(RAISE)).err
    assert kb.versions() == 3
    assert kb.ok("tag").out == ""


def test_a_label_is_kept_once(kb: Shell) -> None:
    """However often it is given, in the order of the first times."""
    kb.edit("p2", votes=6)
    kb.ok("commit", "-m", "x", "--tag", "b", "--tag", "a", "--tag", "b")
    assert kb.ok("show", "--json").object["tags"] == ["b", "a"]


def test_commit_makes_a_version(kb: Shell) -> None:
    """Its name and the message's first line on stdout; author and labels as given."""
    kb.edit("p2", votes=6)
    result = kb.ok("commit", "-m", "One more vote\n\nFrom the forum.", "--author", "Ana", "--tag", "votes")
    assert result.out.startswith("v4_")
    assert result.out.endswith("  One more vote\n")
    version = kb.ok("show", "--json").object
    assert (version["author"], version["tags"], version["message"]) == (
        "Ana",
        ["votes"],
        "One more vote\n\nFrom the forum.",
    )
    assert version["patch"] == [{"op": "replace", "path": "/problems/p2/votes", "value": 6}]


def test_commit_of_nothing(kb: Shell) -> None:
    """The newest version's name, no version; one with --allow-empty."""
    result = kb.ok("commit", "-m", "again")
    assert result.out.startswith("v3_")
    assert result.err == "nothing changed; no version was made\n"
    assert kb.versions() == 3
    assert kb.ok("commit", "-m", "again", "--allow-empty").out.startswith("v4_")


def committed_elsewhere(kb: Shell, path: str, value: object) -> None:
    """Commit as another process would, past the file."""
    with Store.open(kb.folder / ".kbstore" / "kb.db", author="they") as store:
        store.commit(patch=[{"op": "replace", "path": path, "value": value}], message="theirs")


def test_commit_puts_both_changes_together(kb: Shell) -> None:
    """What others committed elsewhere in the document stays, and comes into the file."""
    kb.edit("p2", votes=6)
    committed_elsewhere(kb, "/problems/p1/votes", 40)
    assert "; kbstore update takes it in\n" in kb.ok("status").out
    kb.ok("commit", "-m", "mine")
    document = kb.read()["problems"]
    assert (document["p1"]["votes"], document["p2"]["votes"]) == (40, 6)


def test_a_conflict_shows_both_values_and_a_way_out(kb: Shell) -> None:
    """Exit code 11, nothing committed, the file as it was; what the hint says leads on."""
    kb.edit("p2", votes=6)
    committed_elsewhere(kb, "/problems/p2/votes", 40)
    before = kb.file.read_bytes()
    result = kb.fails(11, "commit", "-m", "mine")
    assert "  /problems/p2/votes\n    ours:   6\n    theirs: 40\n" in result.err
    assert kb.file.read_bytes() == before
    assert kb.versions() == 4
    assert "run kbstore update, which takes in the newest version and keeps the rest" in result.err
    (kb.folder / "mine.json").write_bytes(kb.ok("diff", "--json").raw)
    kb.ok("checkout", "HEAD", "--force")
    told = kb.fails(11, "apply", "mine.json", "-m", "mine after all").err
    assert "hint: make the patch again from the newest version, which kbstore get prints" in told
    assert kb.read()["problems"]["p2"]["votes"] == 40


def test_no_rebase_makes_the_base_a_condition(kb: Shell) -> None:
    """Others' commit anywhere is a conflict then."""
    kb.edit("p2", votes=6)
    committed_elsewhere(kb, "/problems/p1/votes", 40)
    kb.fails(11, "commit", "-m", "mine", "--no-rebase")
    kb.ok("commit", "-m", "mine")


def test_the_base_can_be_named(kb: Shell) -> None:
    """What is committed is what differs from it."""
    kb.ok("checkout", "v1")
    kb.edit("p2", votes=6)
    kb.ok("commit", "-m", "made from v1", "--base", "v1")
    assert kb.ok("show", "--json").object["modified"] == ["p2"]
    assert "p4" in kb.read()["problems"]


# ---- apply --------------------------------------------------------------------------------------------------------


def test_apply_commits_a_patch_and_updates_the_file(kb: Shell) -> None:
    """From a file and from stdin."""
    (kb.folder / "raise.json").write_bytes(patch_of(RAISE))
    assert kb.ok("apply", "raise.json", "-m", "Raise", "--tag", "votes").out.startswith("v4_")
    assert kb.read()["problems"]["p2"]["votes"] == 9
    kb.ok("apply", "-", "-m", "Lower", stdin=patch_of([{**RAISE[0], "value": 1}]))
    assert kb.read()["problems"]["p2"]["votes"] == 1
    assert kb.ok("status").lines[1] == "nothing changed"


@pytest.mark.parametrize(
    ("patch", "told"),
    [
        (b"{", "stdin: the patch cannot be read: line 1"),
        (b"{}", "stdin: this is a document"),
        (b'[{"op": "remove", "path": "/nope"}]', "stdin: operation 0 (remove '/nope')"),
        (b'[{"op": "test", "path": "/name", "value": "x"}]', 'not "x"'),
        (b'[{"op": "replace", "path": "/name", "value": 1e999}]', "1e999"),
    ],
)
def test_a_patch_that_does_not_apply_changes_nothing(kb: Shell, patch: bytes, told: str) -> None:
    """It is refused by operation and pointer, all or nothing."""
    before = kb.file.read_bytes()
    assert told in kb.fails(3, "apply", "-", "-m", "x", stdin=patch).err
    assert kb.file.read_bytes() == before
    assert kb.versions() == 3


def test_apply_names_the_file_that_is_not_there(kb: Shell) -> None:
    """The patch's own file."""
    assert "cannot read nope.json" in kb.fails(3, "apply", "nope.json", "-m", "x").err


def test_apply_needs_no_file(kb: Shell) -> None:
    """A store alone takes patches too."""
    (kb.folder / "bare").mkdir()
    store = str(kb.folder / ".kbstore" / "kb.db")
    kb.ok("-C", "bare", "--store", store, "apply", "-", "-m", "x", stdin=patch_of(RAISE))
    assert kb.ok("get", "/problems/p2/votes").out == "9\n"


def test_apply_to_what_others_changed_is_a_conflict(kb: Shell) -> None:
    """The patch was made for the file's version."""
    committed_elsewhere(kb, "/problems/p2/votes", 40)
    assert "make the patch again" in kb.fails(11, "apply", "-", "-m", "x", stdin=patch_of(RAISE)).err


def test_a_change_is_undone_and_picked_whatever_happened_since(kb: Shell) -> None:
    """What diff --json prints carries its base: others' changes stay, and a positional patch finds its place."""
    kb.edit("p2", votes=6)
    kb.ok("commit", "-m", "six")
    kb.edit("p2", title="Export stops at noon")
    kb.ok("commit", "-m", "noon")
    kb.ok("apply", "-", "-m", "undo six", stdin=kb.ok("diff", "v4", "v3", "--json").raw)
    assert kb.read()["problems"]["p2"] == {
        "title": "Export stops at noon",
        "votes": 5,
        "steps": DOCUMENT["problems"]["p2"]["steps"],
    }  # type: ignore[index]
    kb.ok("branch", "side", "v3")
    told = kb.fails(
        3,
        "--branch",
        "side",
        "apply",
        "-",
        "-m",
        "x",
        "--file",
        "none.json",
        stdin=kb.ok("diff", "v4", "v5", "--json").raw,
    )
    assert "the change was made from v4_" in told.err
    assert "which branch side does not contain" in told.err
    picked = kb.ok("diff", "v4", "v5", "--patch").raw
    kb.ok("--branch", "side", "apply", "-", "-m", "noon", "--file", "none.json", stdin=picked)
    with Store.open(kb.folder / ".kbstore" / "kb.db", branch="side") as side:
        assert side.get("/problems/p2/title") == "Export stops at noon"
        side.commit(patch=[{"op": "replace", "path": "/name", "value": "x"}], base="HEAD")
    told = kb.fails(3, "apply", "-", "-m", "x", "--base", "side", stdin=picked)
    assert "which branch main does not contain" in told.err


def test_a_patch_for_another_version_says_how_to_name_it(kb: Shell) -> None:
    """A test that fails is no conflict, since nobody knows what the patch was made from."""
    picked = kb.ok("diff", "v1", "v2", "--patch").raw
    assert "name that one: --base REV" in kb.fails(3, "apply", "-", "-m", "x", stdin=picked).err
    assert "name that one" not in kb.fails(11, "apply", "-", "-m", "x", "--base", "v1", stdin=picked).err


# ---- checkout and restore -----------------------------------------------------------------------------------------


def test_checkout_writes_a_version_and_adds_none(kb: Shell) -> None:
    """The file is as it was then; the next status is told against that version."""
    result = kb.ok("checkout", "v1")
    assert (result.out, result.err.split("_")[0]) == ("", "kb.json is at v1")
    assert kb.read() == DOCUMENT
    assert kb.versions() == 3
    lines = kb.ok("status").lines
    assert lines[1].startswith("2 newer versions")
    assert lines[2] == "nothing changed"


def test_checkout_to_another_place(kb: Shell) -> None:
    """A new file, or stdout, in the layout of the knowledge base's file, which stays as it is, and in its own order."""
    kb.write(dict(reversed(list(kb.read().items()))), indent="\t")
    before = kb.file.read_bytes()
    kb.ok("checkout", "v1", "-o", "old.json")
    old = (kb.folder / "old.json").read_bytes()
    assert json.loads(old) == DOCUMENT
    assert old.startswith(b'{\n\t"name": ')
    assert json.dumps(json.loads(old)) == json.dumps(DOCUMENT)
    assert kb.ok("checkout", "v1", "-o", "-").raw == old
    assert kb.file.read_bytes() == before


@pytest.mark.parametrize("cache", ["replayed", "snapshot", "collected"])
def test_a_new_file_has_the_order_of_its_authors(shell: Shell, cache: str) -> None:
    """Its bytes are the same for every cache; a file keeps its order, and new members come as in the version."""
    store = str(shell.folder / "kb.db")
    with Store.create(store, {"b": 1, "z": {"y": 1}}) as kb:
        kb.commit(patch=[{"op": "add", "path": "/a", "value": {"d": 1, "c": 2}}])
        kb.commit(patch=[{"op": "add", "path": "/z/x", "value": 2}])
        if cache != "replayed":
            kb.snapshot()
        if cache == "collected":
            kb.gc()
    wanted = b'{\n  "a": {\n    "d": 1,\n    "c": 2\n  },\n  "b": 1,\n  "z": {\n    "x": 2,\n    "y": 1\n  }\n}\n'
    assert shell.ok("--store", store, "checkout", "-o", "-").raw == wanted
    shell.ok("--store", store, "checkout", "-o", "new.json")
    assert (shell.folder / "new.json").read_bytes() == wanted
    assert shell.ok("--store", store, "get").raw == wanted
    there = shell.folder / "there.json"
    there.write_text('{"z": {"y": 1}, "b": 1}')
    shell.ok("--store", store, "--file", "there.json", "checkout", "--force")
    assert there.read_bytes() == b'{"z": {"x": 2, "y": 1}, "b": 1, "a": {"d": 1, "c": 2}}'


def test_a_file_of_another_kind_is_not_written_over(kb: Shell) -> None:
    """Neither notes nor another document, unless forced."""
    notes = kb.folder / "notes.txt"
    for content in (b"not JSON", b'{"mine": 1}'):
        notes.write_bytes(content)
        kb.fails(3, "checkout", "v1", "-o", "notes.txt")
        assert notes.read_bytes() == content
    kb.ok("checkout", "v1", "-o", "notes.txt", "--force")
    assert json.loads(notes.read_bytes()) == DOCUMENT


def test_a_hint_for_another_place_leads_to_another_place(kb: Shell) -> None:
    """What cannot be written over there is no reason to lose what the knowledge base's own file holds."""
    kb.edit("p1", votes=9)
    (kb.folder / "somedir").mkdir()
    (kb.folder / "notes.txt").write_text("not JSON")
    (kb.folder / "other.json").write_text('{"mine": 1}')
    told = {
        name: kb.fails(3, "checkout", "v1", "-o", name).err.splitlines()[-1]
        for name in ("somedir", "notes.txt", "other.json")
    }
    lose = "hint: choose another name, or use --force, which keeps a copy (kbstore lost)"
    assert told == {"somedir": "hint: choose another name", "notes.txt": lose, "other.json": lose}
    assert "commit them" in kb.fails(3, "checkout", "v1").err


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o400])
def test_nothing_is_more_readable_than_a_private_file(shell: Shell, mode: int) -> None:
    """Neither its store nor what is exported, checked out or rendered of it; its owner may write all of them."""
    shell.write(DOCUMENT)
    shell.file.chmod(mode)
    shell.ok("init", "kb.json")
    shell.edit("p1", votes=9) if mode & 0o200 else None
    shell.ok("checkout", "v1", "-o", "old.json")
    shell.ok("export", "-o", "all.jsonl")
    shell.ok("export", "--sqlite", "tables.db")
    shell.ok("diff", "v0", "v1", "--html", "page.html")
    shell.ok("import", "all.jsonl", "--store", "copy.db")
    shell.ok("clone", ".kbstore/kb.db", "clone.db")
    made = ["old.json", "all.jsonl", "tables.db", "page.html", "copy.db", "clone.db", ".kbstore/kb.db", ".kbstore"]
    for name in made:
        found = stat.S_IMODE((shell.folder / name).stat().st_mode)
        assert found & 0o066 & ~mode == 0, (name, oct(found))
        assert found & 0o600 == 0o600
    shell.file.unlink()
    shell.ok("checkout", "v1")
    assert stat.S_IMODE(shell.file.stat().st_mode) & 0o066 & ~mode == 0


def test_restore_makes_a_version_equal_to_an_old_one(kb: Shell) -> None:
    """The history stays, the state is the old one's, the file follows."""
    result = kb.ok("restore", "v1", "-m", "Back to the start", "--tag", "undo")
    assert result.out.startswith("v4_")
    assert kb.read() == DOCUMENT
    first, *_, last = reversed(kb.ok("log", "--json").objects)
    assert last["state"] == first["state"]
    assert (last["message"], last["tags"]) == ("Back to the start", ["undo"])
    assert "nothing changed" in kb.ok("restore", "v1").err
    assert kb.ok("restore", "v2").out.rpartition("Restore ")[2].startswith("v2_")


@pytest.mark.parametrize(
    "command",
    [
        ["checkout", "v1"],
        ["checkout", "HEAD"],
        ["checkout", "v1", "-o", "kb.json"],
        ["restore", "v1"],
        ["apply", "-", "-m", "x"],
        ["branch", "--switch", "side"],
    ],
)
@pytest.mark.parametrize("content", [b'{"mine": 1}', b'{"unfinished": ', b""])
def test_uncommitted_changes_are_never_lost(kb: Shell, command: list[str], content: bytes) -> None:
    """Whatever would overwrite them is refused before anything is done, also where the file is no JSON just now."""
    kb.ok("branch", "side", "v1")
    kb.file.write_bytes(content)
    result = kb.fails(3, *command, stdin=patch_of(RAISE))
    assert "hint: " in result.err
    assert kb.file.read_bytes() == content
    assert kb.versions() == 3
    kb.ok("checkout", "v1", "--force")
    assert kb.read() == DOCUMENT


# ---- the file -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '{"z": 1, "a": {"y": 2, "b": [1, 2]}}',
        '{"z":1,"a":{"y":2,"b":[1,2]}}\n',
        '{\n    "z": 1,\n    "a": {\n        "y": 2,\n        "b": [1, 2]\n    }\n}\n',
        '{\n\t"z": 1,\n\t"a": {\n\t\t"y": 2,\n\t\t"b": [\n\t\t\t1,\n\t\t\t2\n\t\t]\n\t}\n}',
        '{\r\n  "z": 1,\r\n  "a": {\r\n    "y": 2,\r\n    "b": [\r\n      1,\r\n      2\r\n    ]\r\n  }\r\n}\r\n',
    ],
)
@pytest.mark.parametrize("command", ["checkout", "restore", "apply"])
def test_a_file_keeps_its_layout(shell: Shell, text: str, command: str) -> None:
    """Indentation, separators, line ends, final newline and member order, whichever command writes it."""
    shell.file.write_bytes(text.encode())
    shell.ok("init", "kb.json")
    shell.file.write_bytes(text.replace('"y": 2', '"y": 3').replace('"y":2', '"y":3').encode())
    shell.ok("commit", "-m", "x")
    match command:
        case "checkout" | "restore":
            shell.ok(command, "v1")
        case _:
            shell.ok("apply", "-", "-m", "x", stdin=b'[{"op": "replace", "path": "/a/y", "value": 2}]')
    assert shell.file.read_bytes() == text.encode()


def test_a_file_keeps_its_mode_and_its_link(kb: Shell, tmp_path: Path) -> None:
    """What a symbolic link points to is replaced, with the mode that it had; no other file is left."""
    real = tmp_path / "real.json"
    kb.file.rename(real)
    real.chmod(0o640)
    kb.file.symlink_to(real)
    assert "kbstore trust" in kb.fails(3, "checkout", "v1", "--force").err  # a received folder could write anywhere
    kb.ok("trust", str(kb.folder))
    kb.ok("checkout", "v1", "--force")
    assert kb.file.is_symlink()
    assert json.loads(real.read_bytes()) == DOCUMENT
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["real.json"]


def test_a_write_protected_file_is_left_alone(kb: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Atomic replacement needs no right to write the file itself; it is asked for all the same."""
    before = kb.file.read_bytes()
    monkeypatch.setattr(
        "kbstore.worktree.json_file.os.access", lambda path, mode: Path(path) != kb.file
    )  # root may write all
    assert "write-protected" in kb.fails(3, "checkout", "v1").err
    assert f"hint: chmod u+w {kb.file}" in kb.fails(3, "checkout", "v1").err
    monkeypatch.setattr("kbstore.worktree.json_file.os.geteuid", lambda: kb.file.stat().st_uid + 1)
    assert f"belongs to another user (uid {kb.file.stat().st_uid})" in kb.fails(3, "checkout", "v1").err
    assert kb.file.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "kb.json is empty"),
        (b" \n", "kb.json is empty"),
        (b'{"a": 1,\n "b": }', "kb.json: line 2, column 7"),
        (b'\xef\xbb\xbf{"a": 1}', "byte order mark"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": 18446744073709551616}', "18446744073709551616"),
        (b'{"a": "\\ud800"}', "lone surrogate"),
        (b"[" * 300 + b"]" * 300, "nested deeper"),
        (b'{"a": "\xff"}', "line 1"),
    ],
)
def test_a_file_that_is_no_knowledge_base_is_refused(kb: Shell, content: bytes, told: str) -> None:
    """By path, line and reason, at init and ever after; the file stays as it is."""
    kb.file.write_bytes(content)
    for command in (["status"], ["diff"], ["commit", "-m", "x"]):
        assert told in kb.fails(3, *command).err
    (kb.folder / "fresh").mkdir()
    kb.file.rename(kb.folder / "fresh" / "kb.json")
    assert told in kb.fails(3, "-C", "fresh", "init", "kb.json").err
    assert (kb.folder / "fresh" / "kb.json").read_bytes() == content
    assert [path.name for path in (kb.folder / "fresh").iterdir()] == ["kb.json"]


@pytest.mark.parametrize("content", [b"", b"\n"])
def test_an_empty_file_leads_to_its_history(kb: Shell, content: bytes) -> None:
    """An editor or a full disk emptied it: what the hint says brings the newest version back, and removes nothing."""
    before = kb.file.read_bytes()
    kb.file.write_bytes(content)
    for command in (["status"], ["commit", "-m", "x"], ["diff"]):
        told = kb.fails(3, *command).err
        assert "hint: write the newest version into it: kbstore checkout HEAD --force\n" in told
    kb.ok("checkout", "HEAD", "--force")
    assert json.loads(before) == kb.read()
    store = str(kb.folder / ".kbstore" / "kb.db")
    (kb.folder / "joined").mkdir()
    joined = kb.folder / "joined" / "kb.json"
    joined.write_bytes(content)
    told = kb.fails(3, "-C", "joined", "init", "kb.json", "--store", store).err
    assert "hint: remove it, and kbstore init writes the newest version: rm kb.json\n" in told
    joined.unlink()
    kb.ok("-C", "joined", "init", "kb.json", "--store", store)
    assert json.loads(joined.read_bytes()) == kb.read()


def _order_only(shell: Shell) -> None:
    """v1, and v2 that is only in another order: at the top, and in one entry."""
    shell.file.write_text('{"zeta": {"title": "a", "b": 1}, "alpha": {"title": "b", "b": 2}}')
    shell.ok("init", "kb.json")
    shell.file.write_text('{"alpha": {"b": 2, "title": "b"}, "zeta": {"title": "a", "b": 1}}')
    told = shell.ok("commit", "-m", "order").err
    assert "nothing changed; no version was made\nthe order of members is another one than in v1_" in told
    assert "--keep-order-changes commits that" in told
    told = shell.ok("commit", "-m", "order", "--keep-order-changes").err
    assert told == "the order of members changed\n"


def test_a_version_of_order_alone_says_so(shell: Shell) -> None:
    """`log`, `show` and `diff` name the objects whose members are in another order, for people and in JSON."""
    _order_only(shell)
    lines = ["the order of members changed at the top", "the order of members changed at /alpha"]
    assert "changed: the order of members" in shell.ok("log", "-n", "1").lines
    assert "changed: the order of members" not in shell.ok("show", "v1").lines
    assert shell.ok("show").lines[-2:] == lines
    assert [line.strip() for line in shell.ok("show", "--stat").lines[-2:]] == lines
    for revisions in (["v1", "v2"], ["v2..v1"]):
        assert shell.ok("diff", *revisions).lines == lines
        assert shell.ok("diff", *revisions, "--json").object["order_changed"] == ["", "/alpha"]
    assert "; ".join(lines) in shell.ok("diff", "v1", "v2", "--markdown").out
    assert shell.ok("diff", "v1", "v2", "/alpha").lines == lines[1:]
    assert shell.ok("diff", "v1", "v2", "/zeta").lines == []
    assert "order_changed" not in shell.ok("diff", "v1", "v1", "--json").object


def test_a_checkout_gives_back_the_order_of_its_version(shell: Shell) -> None:
    """Also of an older version, into the file in place; objects that have one order in both keep the file's."""
    _order_only(shell)
    shell.file.write_text('{"alpha": {"b": 2, "title": "b"}, "zeta": {"b": 1, "title": "a"}}')
    shell.ok("checkout", "v1")
    assert shell.file.read_text() == '{"zeta": {"b": 1, "title": "a"}, "alpha": {"title": "b", "b": 2}}'
    shell.ok("checkout", "v2")
    assert shell.file.read_text() == '{"alpha": {"b": 2, "title": "b"}, "zeta": {"b": 1, "title": "a"}}'
    shell.ok("checkout", "v1", "--force")
    assert shell.file.read_text() == '{"zeta": {"title": "a", "b": 1}, "alpha": {"title": "b", "b": 2}}'


def test_an_update_brings_the_order_of_others(shell: Shell) -> None:
    """An object that others ordered anew comes in their order, beside what is uncommitted; so no commit undoes it."""
    _order_only(shell)
    shell.ok("checkout", "v1")
    shell.file.write_text(shell.file.read_text().replace('"b": 1', '"b": 9'))
    shell.ok("update")
    assert shell.file.read_text() == '{"alpha": {"b": 2, "title": "b"}, "zeta": {"title": "a", "b": 9}}'
    shell.ok("commit", "-m", "nine")
    assert list(shell.ok("get", "", "--json").object["value"]) == ["alpha", "zeta"]


def test_a_forced_checkout_names_the_numbers_that_stay_more_exact(shell: Shell) -> None:
    """A literal that was never accepted and that the version has rounded: it is named once, and a copy is kept."""
    shell.file.write_text('{"a": {"price": 0.1234567890123456789012345, "q": 1}}')
    shell.ok("init", "kb.json", "--lossy")
    shell.file.write_text('{"a": {"price": 0.1234567890123456789012347, "q": 2}}')
    held = shell.file.read_bytes()
    assert "would be rounded" in shell.fails(3, "checkout", "v1").err
    told = shell.ok("checkout", "v1", "--force").err
    assert (
        "kb.json keeps the number 0.1234567890123456789012347 at /a/price; versions have it rounded to "
        "0.12345678901234568\n" in told
    )
    assert shell.ok("lost", "1").raw == held
    assert shell.file.read_text() == '{"a": {"price": 0.1234567890123456789012347, "q": 1}}'
    assert "keeps the number" not in shell.ok("checkout", "v1", "--force").err


def test_an_integer_beyond_64_bits_is_refused_in_any_case(shell: Shell) -> None:
    """`--lossy` rounds decimals alone; the hint does not name it then."""
    shell.file.write_text('{"a": 123456789012345678901234567890}')
    for options in ([], ["--lossy"]):
        told = shell.fails(3, "init", "kb.json", *options).err
        assert "the integer 123456789012345678901234567890 is outside" in told
        assert "lossy" not in told


def test_a_version_is_not_taken_for_the_file_of_a_page(kb: Shell) -> None:
    """`diff --html v2 v3` would compare v3 with the file, and write a file called v2."""
    for name in ("v2", "HEAD", "v1..v2"):
        told = kb.fails(2, "diff", "--html", name, "v3").err
        assert f"--html takes the file to write, as in --html changes.html; {name} is a version" in told
        assert not (kb.folder / name).exists()
    assert kb.ok("diff", "--html", "v2.html", "v2", "v3").err == "wrote v2.html\n"


def test_a_conflict_on_a_named_base_leads_on(kb: Shell) -> None:
    """The hint of the conflict works as it says: the place is set back, and the rest lands."""
    kb.edit("p1", title="mine", votes=9)
    told = kb.fails(11, "commit", "-m", "x", "--base", "v1").err
    assert "set each of these places back to its value in v1 (kbstore get POINTER --at v1)" in told
    kb.edit("p1", title=kb.ok("get", "/problems/p1/title", "--at", "v1", "-r").lines[0])
    kb.write({**kb.read(), "problems": {**DOCUMENT["problems"], "p1": kb.read()["problems"]["p1"]}})  # type: ignore[dict-item]
    kb.ok("commit", "-m", "x", "--base", "v1")
    entry = kb.read()["problems"]["p1"]
    assert (entry["title"], entry["votes"]) == ("Login fails on Mondays", 9)


def test_a_version_that_is_not_there_is_said_before_the_file_is_looked_at(kb: Shell) -> None:
    """Committing the edit would not help."""
    kb.write({"problems": {}})
    assert "there is no version 'v99'" in kb.fails(3, "restore", "v99").err


def test_a_conflict_of_equal_values_says_why_and_leads_on(kb: Shell) -> None:
    """Two people counted: the message says so, and the steps of the hint end with both counts."""
    theirs = json.dumps([{"op": "replace", "path": "/problems/p1/votes", "value": 4}]).encode()
    kb.ok("--file", "none.json", "apply", "-", "-m", "a vote", stdin=theirs)
    kb.edit("p1", votes=4)
    kb.edit("p2", votes=50)
    told = kb.fails(11, "commit", "-m", "a vote").err
    why = "both made the same change, which may be a count: if it is, make the change again; if not, keep theirs"
    assert f"    ours:   4\n    theirs: 4\n    {why}\n" in told
    kb.edit("p1", votes=3)
    kb.ok("update")
    assert kb.read()["problems"]["p1"]["votes"] == 4
    kb.edit("p1", votes=5)
    kb.ok("commit", "-m", "a vote")
    assert kb.ok("get", "/problems/p1/votes").out == "5\n"
    other = json.dumps([{"op": "replace", "path": "/problems/p1/votes", "value": 6}]).encode()
    kb.ok("--file", "no.json", "apply", "-", "-m", "a vote", stdin=other)
    kb.edit("p1", votes=7)
    assert why not in kb.fails(11, "commit", "-m", "two votes").err


def test_a_setting_that_is_not_set_is_not_removed(kb: Shell) -> None:
    """The message says so; the exit code is 0, and the history has no change of it."""
    assert kb.ok("config", "identity", "/problems", "--unset").err == "identity /problems is not set\n"
    assert kb.ok("config", "collection", "--unset").err == "collection is not set\n"
    kb.ok("config", "collection", "/problems")
    assert kb.ok("config", "collection", "--unset").err == "collection was removed\n"
    assert kb.ok("config", "collection", "--unset").err == "collection is not set\n"
