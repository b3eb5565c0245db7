"""Exit codes, and what is said where something is wrong: one `error:` line, a hint, never a traceback."""

import json
import os
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from kbstore import KnowledgeBaseVersioner
from kbstore.backends.sqlite import schema
from kbstore.cli import exit_codes
from kbstore.cli.main import COMMANDS
from kbstore.errors import OutcomeUnknown
from kbstore.store import Store
from tests.cli.support import DOCUMENT, Shell
from tests.conftest import ROOT

READING = [["status"], ["log"], ["show"], ["diff", "v1", "v2"], ["get"], ["tag"], ["branch"], ["export"], ["verify"]]
WRITING = [["commit", "-m", "x"], ["restore", "v1"], ["tag", "t"], ["branch", "b"], ["gc"], ["apply", "-", "-m", "x"]]
PATCH = b'[{"op": "add", "path": "/x", "value": 1}]'


# ---- the table ----------------------------------------------------------------------------------------------------


def test_the_documented_table_is_the_one_of_the_code() -> None:
    """Codes and their meaning stand in `docs/cli.md` as in `kbstore/cli/exit_codes.py`; and nowhere else."""
    assert exit_codes.__doc__
    here = dict(re.findall(r"^(\d+) {2,}(.*)$", exit_codes.__doc__, re.MULTILINE))
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    there = dict(re.findall(r"^\| (\d+) \| (.*) \|$", text, re.MULTILINE))
    assert {code: meaning.replace("``", "`") for code, meaning in here.items()} == there
    codes = [
        exit_codes.DONE,
        exit_codes.DIFFERENCES,
        exit_codes.USAGE,
        exit_codes.FAILED,
        exit_codes.NO_STORE,
        exit_codes.CONFLICT,
        exit_codes.UNKNOWN,
    ]
    codes += [exit_codes.LANDED, exit_codes.INTERRUPTED]
    assert [int(code) for code in here] == codes == [0, 1, 2, 3, 10, 11, 12, 13, 130]


# ---- 2: the command line --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["nope"],
        ["comit"],
        ["--nope"],
        ["commit"],
        ["commit", "-m"],
        ["commit", "-m", "x", "extra"],
        ["init"],
        ["restore"],
        ["apply", "-m", "x"],
        ["import"],
        ["log", "-n", "-1"],
        ["log", "-n", "x"],
        ["log", "--since", "yesterday"],
        ["log", "--until", ""],
        ["log", "v1", "v2"],
        ["diff", "v1", "v2", "v3"],
        ["diff", "v1..v2", "v3"],
        ["completion"],
        ["completion", "tcsh"],
        ["-C", "nowhere", "log"],
        ["log", "--store", "memory:"],
        ["log\x1b[2J"],
    ],
)
def test_a_command_line_that_is_not_understood(kb: Shell, arguments: list[str]) -> None:
    """Exit code 2, nothing on stdout, and a hint at the help."""
    result = kb.fails(2, *arguments)
    assert result.out == ""
    assert re.search(r"^hint: kbstore.* --help$", result.err, re.MULTILINE)
    assert "\x1b" not in result.err
    assert kb.versions() == 3


def test_the_nearest_command_is_named(kb: Shell) -> None:
    """A slip of the pen is answered with what was meant."""
    assert "did you mean 'commit'" in kb.fails(2, "comit", "-m", "x").err


def test_no_command_at_all(shell: Shell) -> None:
    """The help, on stderr, with exit code 2; asked for it is on stdout, with 0."""
    result = shell.run()
    assert result.code == 2
    assert result.err.startswith("Usage: kbstore")
    assert shell.ok("--help").out == result.err
    assert shell.ok("--version").out.startswith("kbstore ")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_examples(shell: Shell, command: str) -> None:
    """Each command's help fits 80 columns, and shows an example line by line."""
    told = shell.ok(command, "--help").out
    assert max(len(line) for line in told.splitlines()) <= 80
    assert "\n  Example:\n    kbstore " in told
    assert "\\b" not in told
    assert not any(line.endswith("...") for line in shell.ok("--help").lines[1:])


def test_documented_commands_are_the_commands() -> None:
    """`docs/cli.md` has a row for each command, and for no other."""
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([\w-]+)[^`]*` \|", text.partition("## Shared")[0], re.MULTILINE) == list(COMMANDS)


def test_documented_options_are_the_options(shell: Shell) -> None:
    """Each option that a command has of its own is named in its row."""
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    shared = {"-C", "--store", "--file", "--branch", "--insecure", "--help", "-h"}
    for command in COMMANDS:
        (row,) = re.findall(rf"^\| `{command}(?![\w-]).*$", text.partition("## Shared")[0], re.MULTILINE)
        told = shell.ok(command, "--help").out.partition("Options:")[2]
        options = {
            name
            for line in re.findall(r"^  (-.*)$", told, re.MULTILINE)
            for name in re.findall(r"--?[\w-]+", line.split("  ")[0])
        }
        assert set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", row)) - shared == options - shared, command


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["export", "--sqlite", "-o", "t.sqlite"], "-o is an option, not a path; write --sqlite FILE"),
        (["export", "-o", "--force"], "--force is an option, not a path; write --output FILE"),
        (["checkout", "--output", "--force"], "--force is an option, not a path; write --output FILE"),
        (["diff", "--html", "--stat"], "--stat is an option, not a path; write --html FILE"),
        (["status", "--store", "--json"], "--json is an option, not a path; write --store LOCATION"),
        (["status", "--file", "--json"], "--json is an option, not a path; write --file FILE"),
        (["status", "-C", "--json"], "--json is an option, not a path; write -C DIR"),
    ],
)
def test_an_option_is_not_taken_as_the_path_of_another(kb: Shell, arguments: list[str], told: str) -> None:
    """A usage error, and no file of that name."""
    before = sorted(path.name for path in kb.folder.iterdir())
    assert told in kb.fails(2, *arguments).err
    assert sorted(path.name for path in kb.folder.iterdir()) == before
    kb.ok("checkout", "-o", "./--force")
    assert (kb.folder / "--force").exists()
    assert kb.ok("checkout", "-o", "-").out


# ---- 3: something cannot be used ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "revision", ["v9", "nope", "HEAD~9", "@1999-01-01", "@soon", "v1_1999", "", "..", "a b", "\x1b[2J"]
)
def test_a_revision_that_is_none(kb: Shell, revision: str) -> None:
    """Exit code 3 from every command that takes one."""
    for command in (["show"], ["checkout"], ["restore"], ["get", "--at"], ["tag", "t"], ["branch", "b"]):
        result = kb.fails(3, *command, revision)
        assert "\x1b" not in result.err
    assert kb.versions() == 3


def test_an_ambiguous_revision_lists_what_it_could_mean(kb: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The candidates by name, id and message."""
    rows = kb.ok("log", "--json").objects
    kb.ok("branch", "b", "v1")
    monkeypatch.setattr("kbstore.history.resolver.Resolver._by_id", lambda self, prefix: list(self._line.entries()))
    told = kb.fails(3, "show", "abcd").err
    for row in rows:
        assert f"v{row['seq']} {row['id'][:12]}" in told


@pytest.mark.parametrize(
    "pointer", ["problems", "/problems/~", "/problems/p1/steps/-", "/problems/p1/steps/01", "/nope"]
)
def test_a_pointer_to_nothing(kb: Shell, pointer: str) -> None:
    """Exit code 3, and the pointer is named."""
    assert repr(pointer)[1:-1] in kb.fails(3, "get", pointer).err


@pytest.mark.parametrize(
    ("pointer", "hint"),
    [
        ("/problms", "did you mean '/problems'?"),
        ("/problems/p11/title", "did you mean '/problems/p1'?"),
        ("/nope", "the document has name, problems"),
        ("/problems/p1/steps/7", "/problems/p1/steps is an array of 1 element, /problems/p1/steps/0 is the first"),
        ("/problems/p1/votes/0", "/problems/p1/votes is neither an object nor an array: nothing is below it"),
    ],
)
def test_what_is_near_a_pointer_to_nothing(kb: Shell, pointer: str, hint: str) -> None:
    """The hint names what the user may have meant."""
    assert f"hint: {hint}" in kb.fails(3, "get", pointer).err.splitlines()


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('{"problems": {}}', "kbstore commit"),
        ('[{"id": "p1"}]', "a document is committed, not applied"),
        ("[1, 2]", "a document is committed, not applied"),
        ('{"op": "remove", "path": "/name"}', "put [ before it"),
    ],
)
def test_a_document_in_place_of_a_patch(kb: Shell, text: str, hint: str) -> None:
    """It is told from a patch, and the command for documents is named."""
    assert hint in kb.fails(3, "apply", "-", "-m", "x", stdin=text.encode()).err
    assert kb.versions() == 3


@pytest.mark.parametrize("text", ['{"format": 99}', "{", '{"store": 3}', "\xff"])
def test_a_configuration_that_cannot_be_used(kb: Shell, text: str) -> None:
    """It is named, by every command."""
    (kb.folder / ".kbstore" / "config.json").write_text(text, encoding="latin-1")
    for command in READING + WRITING:
        assert "config.json" in kb.fails(3, *command, stdin=PATCH).err


def test_a_store_of_a_newer_format(kb: Shell) -> None:
    """It is refused, with what can read it."""
    with closing(sqlite3.connect(kb.folder / ".kbstore" / "kb.db")) as base:
        base.execute(f"PRAGMA application_id={schema.APPLICATION_ID + 1}")
    for command in READING + WRITING:
        result = kb.fails(3, *command, stdin=PATCH)
        assert "format" in result.err
        assert "hint: " in result.err


def test_a_damaged_store(kb: Shell) -> None:
    """Whatever is left of the file: an error, or the right answer; never a traceback, never a wrong document."""
    store = kb.folder / ".kbstore" / "kb.db"
    whole = store.read_bytes()
    for damage in (
        whole[: len(whole) // 2],
        whole[:100],
        b"\0" * len(whole),
        whole[:4096] + b"\xff" * (len(whole) - 4096),
    ):
        store.write_bytes(damage)
        for command in READING + WRITING:
            result = kb.run(*command, stdin=PATCH)
            assert result.code in (3, 10), (command, result)
            assert result.err.startswith("error: ") or "\nerror: " in result.err
            assert "Traceback" not in result.err


# ---- 10: no store ---------------------------------------------------------------------------------------------------


def test_no_store_here(shell: Shell) -> None:
    """Neither a project, nor a file, nor a folder with one, nor a scheme that is known."""
    shell.write(DOCUMENT)
    for place in ([], ["--store", "nope.db"], ["--store", "."], ["--store", "kb.json"], ["--store", "nope://x"]):
        for command in READING + WRITING:
            result = shell.fails(10, *command, *place, stdin=PATCH)
            assert "hint: " in result.err
    assert sorted(path.name for path in shell.folder.iterdir()) == ["kb.json"]


def test_a_store_that_was_deleted(kb: Shell) -> None:
    """The project is there, its store is not: exit code 10, and the file stays."""
    before = kb.file.read_bytes()
    (kb.folder / ".kbstore" / "kb.db").unlink()
    for command in READING + WRITING:
        kb.fails(10, *command, stdin=PATCH)
    assert kb.file.read_bytes() == before


def test_an_empty_store(shell: Shell) -> None:
    """A store without versions answers every command."""
    Store.create(shell.folder / "empty.db").close()
    for command in (["log"], ["tag"], ["branch"], ["export"], ["verify"], ["gc"], ["diff"]):
        shell.ok("--store", "empty.db", *command)
    for command in (
        ["show"],
        ["get"],
        ["restore", "v1"],
        ["tag", "t"],
        ["checkout", "-o", "-"],
        ["export", "--sqlite", "x"],
    ):
        shell.fails(3, "--store", "empty.db", *command)


# ---- where a store is found -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [".kbstore/kb.db", ".kbstore", "."])
def test_a_store_can_be_named(kb: Shell, place: str) -> None:
    """By its file, its folder, or the project's; by --store, and by KBSTORE_STORE, which --store overrides."""
    (kb.folder / "elsewhere").mkdir()
    named = f"../{place}"
    rows = kb.ok("log", "--json").raw
    assert kb.ok("-C", "elsewhere", "log", "--json", "--store", named).raw == rows
    assert kb.ok("-C", "elsewhere", "log", "--json", env={"KBSTORE_STORE": named}).raw == rows
    assert kb.ok("-C", "elsewhere", "log", "--json", "--store", named, env={"KBSTORE_STORE": "nope"}).raw == rows
    kb.fails(10, "log", env={"KBSTORE_STORE": "nope"})


def test_a_project_is_found_upward(kb: Shell) -> None:
    """From any folder below it."""
    (kb.folder / "a" / "b").mkdir(parents=True)
    kb.edit("p2", votes=6)
    assert kb.ok("-C", "a/b", "status").lines[0].startswith(f"{kb.file}: at v3_")
    kb.ok("-C", "a", "-C", "b", "commit", "-m", "from below")
    assert kb.ok("-C", "a", "log", "-n", "1", "--json", "-C", "b").object["message"] == "from below"


def test_a_file_can_be_named(kb: Shell) -> None:
    """--file works on another file of the same store, which is compared with the newest version."""
    shutil.copy(kb.file, kb.folder / "other.json")
    assert "nothing changed" in kb.ok("status", "--file", "other.json").out
    (kb.folder / "other.json").write_text("{}")
    assert kb.ok("status", "--file", "other.json", "--json").object["clean"] is False
    assert "nothing changed" in kb.ok("status").out


def test_a_file_beside_another_has_its_own_history(shell: Shell) -> None:
    """--file finds the store that the versioner made for that file, and mixes it with no other's."""
    for name in ("one", "two"):
        shell.file = shell.folder / f"{name}.json"
        shell.write({"name": name})
        versioner = KnowledgeBaseVersioner(shell.file)
        versioner.create_version(f"begin {name}")
        versioner.close()
    assert sorted(path.name for path in (shell.folder / ".kbstore").glob("*.db")) == ["kb.db", "two.json.db"]
    for name in ("one", "two"):
        named = ["--file", f"{name}.json"]
        assert [row["message"] for row in shell.ok("log", "--json", *named).objects] == [f"begin {name}"]
        (shell.folder / f"{name}.json").write_text(json.dumps({"name": name, "n": 1}))
        assert shell.ok("commit", "-m", f"go on with {name}", *named).out.startswith("v2_")
        assert shell.ok("get", "/name", *named).out == f'"{name}"\n'
        assert "nothing changed" in shell.ok("-C", "..", "status", "--file", f"work/{name}.json").out
    assert [row["message"] for row in shell.ok("log", "--json").objects] == ["go on with one", "begin one"]


def test_a_file_is_not_committed_into_the_history_of_another(kb: Shell) -> None:
    """Nothing is written; a file that was checked out of the history may be, and so may one that `mv` renamed."""
    other = kb.folder / "other.json"
    other.write_text('{"mine": 1}')
    store = str(kb.folder / ".kbstore" / "kb.db")
    for way in ([], ["--store", store]):
        told = kb.fails(3, "commit", "--file", "other.json", "-m", "oops", *way).err
        assert "was never taken from this history, which is that of kb.json" in told
    assert (kb.versions(), other.read_text()) == (3, '{"mine": 1}')
    other.unlink()
    kb.ok("checkout", "v3", "-o", "other.json")
    other.write_text(other.read_text().replace('"votes": 5', '"votes": 6'))
    kb.ok("commit", "--file", "other.json", "-m", "from a copy")
    assert kb.ok("get", "/problems/p2/votes").out == "6\n"
    kb.file.rename(kb.folder / "renamed.json")
    told = kb.fails(3, "commit", "--file", "renamed.json", "-m", "renamed", "--allow-empty").err
    assert told.endswith("hint: if it is kb.json under another name: kbstore mv kb.json renamed.json\n")
    kb.ok("mv", "kb.json", "renamed.json")
    kb.ok("commit", "-m", "renamed", "--allow-empty")


# ---- who commits ----------------------------------------------------------------------------------------------------


def test_the_author_is_the_first_that_is_known(kb: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """--author, KBSTORE_AUTHOR, the configuration, git's user, user@host."""

    def author(*arguments: str) -> str:
        kb.ok("commit", "-m", "x", "--allow-empty", *arguments)
        return str(kb.ok("log", "-n", "1", "--json").object["author"])

    config = kb.folder / ".kbstore" / "config.json"
    plain = config.read_text()
    git = tmp_path / "gitconfig"
    git.write_text("[user]\nname = Git Name\nemail = git@example.com\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(git))
    config.write_text(plain.replace("{", '{"author": "Configured",', 1))
    assert author("--author", "Option") == "Option"
    assert author() == "Jana <jana@example.com>"
    monkeypatch.delenv("KBSTORE_AUTHOR")
    assert author() == "Configured"
    config.write_text(plain)
    assert author() == "Git Name <git@example.com>"
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    assert re.fullmatch(r"[^@]+@[^@]+", author())
    monkeypatch.setenv("PATH", "")
    assert re.fullmatch(r"[^@]+@[^@]+", author())


# ---- 12 and faults --------------------------------------------------------------------------------------------------


APPEND = b'[{"op": "add", "path": "/problems/p2/steps/-", "value": "once"}]'
commit = Store.commit


def without_answer(self: Store, *arguments: object, **options: object) -> None:
    """A commit that lands, but whose answer gets lost."""
    options["write_id"] = "w1"
    commit(self, *arguments, **options)  # type: ignore[arg-type]
    raise OutcomeUnknown("no answer came", write_id="w1")


@pytest.mark.parametrize("command", [["commit", "-m", "mine"], ["apply", "-", "-m", "mine"]])
def test_an_unknown_outcome_is_settled_by_the_same_command(
    kb: Shell, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """Exit code 12; the same command again gives the version, and nothing lands twice."""
    if command[0] == "commit":
        kb.edit("p2", votes=6)
    with monkeypatch.context() as patched:
        patched.setattr(Store, "commit", without_answer)
        assert "kbstore log shows" in kb.fails(12, *command, stdin=APPEND).err
    assert kb.versions() == 4
    assert kb.ok(*command, stdin=APPEND).out.startswith("v4_")
    assert kb.versions() == 4
    assert kb.ok("status").lines[1] == "nothing changed"
    if command[0] == "apply":
        assert kb.read()["problems"]["p2"]["steps"][1:] == ["once"]
        kb.ok(*command, stdin=APPEND)
        assert kb.read()["problems"]["p2"]["steps"][1:] == ["once", "once"]


def test_a_fault_of_our_own_is_told_in_a_line(kb: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback even then, unless KBSTORE_TRACEBACK asks for it."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("\x1b[2Jboom")

    monkeypatch.setattr(Store, "log", broken)
    assert kb.fails(3, "log").err.startswith("error: ZeroDivisionError: \\x1b[2Jboom\n")
    with pytest.raises(ZeroDivisionError):
        kb.run("log", env={"KBSTORE_TRACEBACK": "1"})


def test_a_folder_without_its_configuration_is_named_with_the_way_back(kb: Shell) -> None:
    """`init` writes it anew: the history, the file's base and what is uncommitted are all there then."""
    kb.ok("checkout", "v2")
    kb.edit("p1", votes=9)
    before = kb.ok("status").lines
    log = kb.ok("log").raw
    (kb.folder / ".kbstore" / "config.json").unlink()
    told = kb.fails(10, "status").err
    assert "has no config.json, which names the file and the store\nhint: write it anew: kbstore init kb.json\n" in told
    assert "equals no version" not in kb.ok("init", "kb.json").err
    assert kb.ok("status").lines == before
    assert kb.ok("log").raw == log


def test_a_store_elsewhere_is_asked_for_if_the_configuration_is_lost(kb: Shell) -> None:
    """The hint says that the place of the store is needed; without a file that is known, that one as well."""
    (kb.folder / ".kbstore" / "kb.db").rename(kb.folder / "kb.db")
    (kb.folder / ".kbstore" / "config.json").unlink()
    assert "kbstore init kb.json --store LOCATION, with the place of its store" in kb.fails(10, "log").err
    kb.ok("init", "kb.json", "--store", "kb.db")
    assert kb.versions() == 3
    (kb.folder / ".kbstore" / "config.json").unlink()
    kb.file.rename(kb.folder / "other.json")
    assert "kbstore init FILE, with the file of this knowledge base" in kb.fails(10, "log").err


def test_a_usage_error_of_a_command_leads_to_its_own_help(shell: Shell) -> None:
    """Also those that click finds before the command is known to it: an option without its value."""
    for command in (["diff", "--html"], ["log", "-n"], ["commit", "-m"], ["diff", "--nope"]):
        assert f"hint: kbstore {command[0]} --help\n" in shell.fails(2, *command).err


def test_empty_lists_say_so(kb: Shell) -> None:
    """A newcomer sees that the command worked; programs get nothing but objects."""
    for command, said in (("tag", "no tags yet"), ("lost", "nothing was overwritten"), ("config", "nothing is set")):
        told = kb.ok(command)
        assert (told.out, told.err[: len(said)]) == ("", said)
        assert kb.ok(command, "--json").err == ""
