"""Commands that read the history: log, show, diff, get."""

import json
import re

import pytest

from kbstore import apply_patch
from tests.cli.support import DOCUMENT, Shell

NAME = re.compile(r"v\d+_\d{8}_\d{6}")


def messages(shell: Shell, *arguments: str) -> list[str]:
    """The messages that `log` lists."""
    return [row["message"].partition("\n")[0] for row in shell.ok("log", "--json", *arguments).objects]


def test_log_lists_the_newest_first(kb: Shell) -> None:
    """Each version with its name, id, author, time, labels and whole message."""
    told = kb.ok("log").out
    assert next(line for line in told.splitlines() if NAME.fullmatch(line)).startswith("v3_")
    assert "author:  dev@example.com" in told
    assert "labels:  api, title" in told
    assert "    p4 replaces p3\n\n    Nobody asked for p3.\n" in told
    assert not told.endswith("\n\n")


def test_log_oneline(kb: Shell) -> None:
    """One line a version: name, short id, tags, first line of the message."""
    kb.ok("tag", "stable", "v2")
    rows = kb.ok("log", "--oneline").lines
    assert [re.sub(r"\d{8}_\d{6} [0-9a-f]{8}", "T I", row) for row in rows] == [
        "v3_T I p4 replaces p3",
        "v2_T I (tag: stable) A better title",
        "v1_T I first version",
    ]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["-n", "1"], ["p4 replaces p3"]),
        (["-n", "0"], []),
        (["--author", "DEV@"], ["A better title"]),
        (["--tag", "api"], ["A better title"]),
        (["--tag", "ap"], []),
        (["--path", "/problems/p1"], ["A better title", "first version"]),
        (["--path", "/problems/p1/votes"], ["first version"]),
        (["--path", "/problems/p4"], ["p4 replaces p3"]),
        (["--path", "/nowhere"], ["first version"][:0]),
        (["--since", "2001-01-01"], ["p4 replaces p3", "A better title", "first version"]),
        (["--since", "2999-01-01"], []),
        (["--until", "2001-01-01T12:00+02:00"], []),
        (["--reverse", "-n", "2"], ["first version", "A better title"]),
        (["v1..v2"], ["A better title"]),
        (["v1.."], ["p4 replaces p3", "A better title"]),
        (["..v1"], ["first version"]),
        (["v2"], ["A better title", "first version"]),
        (["HEAD~1", "--author", "jana"], ["first version"]),
    ],
)
def test_log_selects(kb: Shell, arguments: list[str], found: list[str]) -> None:
    """By number, author, label, time, pointer and range, alone or together."""
    assert messages(kb, *arguments) == found


def test_an_empty_log_says_so_beside_its_output(kb: Shell, shell: Shell) -> None:
    """Nothing on stdout, a note on stderr."""
    result = kb.ok("log", "--author", "nobody")
    assert (result.out, result.err) == ("", "no versions match\n")


def test_show_tells_who_when_why_and_what(kb: Shell) -> None:
    """The paragraph of the log, and the version's own diff."""
    told = kb.ok("show", "v2").out
    assert "author:  dev@example.com" in told
    assert '/title  "Login fails" -> "Login fails on Mondays"' in told
    assert "1 modified; 1 path" in told
    assert "p4" in kb.ok("show").out
    assert "/problems/p1 | 1 ~" in kb.ok("show", "v2", "--stat").out


def test_show_of_a_version_that_changed_nothing(kb: Shell) -> None:
    """An empty version says that nothing changed."""
    kb.ok("commit", "-m", "still the same", "--allow-empty")
    assert kb.ok("show").out.endswith("    still the same\n\nnothing changed\n")


@pytest.mark.parametrize("revision", ["v1", "HEAD~2", "@", "tagged", "id", "full", "short"])
def test_every_form_of_revision_is_understood(kb: Shell, revision: str) -> None:
    """seq, full and shortened name, id prefix, tag, HEAD~n and a time name the same version."""
    first = kb.ok("log", "--json", "v1").object
    kb.ok("tag", "first", "v1")
    names = {
        "@": f"@{first['time']}",
        "tagged": "first",
        "id": first["id"][:12],
        "full": first["version"],
        "short": first["version"][:8],
    }
    assert kb.ok("show", names.get(revision, revision), "--json").object["id"] == first["id"]


def test_diff_of_two_versions(kb: Shell) -> None:
    """A B, A..B, and A with B left to the file, when that is at B, say the same."""
    told = kb.ok("diff", "v1", "v3").out
    assert told == kb.ok("diff", "v1..v3").out
    assert told.replace(kb.ok("show", "v3", "--json").object["version"], "kb.json") == kb.ok("diff", "v1").out
    assert told.splitlines()[-1].endswith("1 added, 1 removed, 1 modified; 3 paths")


def test_diff_at_a_pointer(kb: Shell) -> None:
    """Only what stands at or below it; one at which there never was anything is refused."""
    assert kb.ok("diff", "v1", "v3", "/problems/p4", "--name-only").lines == ["/problems/p4"]
    assert kb.ok("diff", "v1", "v3", "/problems/p2").out == ""
    assert "there is nothing at '/problem'" in kb.fails(3, "diff", "v1", "v3", "/problem").err
    assert "there is nothing at '/problem'" in kb.fails(3, "diff", "/problem").err


def test_diff_shows_what_is_uncommitted(kb: Shell) -> None:
    """Without a version: from the file's last version to the file."""
    assert kb.ok("diff").out == ""
    kb.edit("p2", votes=6)
    assert "/votes  5 -> 6" in kb.ok("diff").out
    assert kb.ok("diff", "/problems/p2/votes", "--patch").out == kb.ok("diff", "--patch").out
    assert "-> kb.json: 1 modified" in kb.ok("diff").out


def test_diff_exit_code(kb: Shell) -> None:
    """1 where there are differences and only where that was asked for."""
    assert kb.run("diff", "v1", "v2", "--exit-code").code == 1
    assert kb.run("diff", "v1", "v1", "--exit-code").code == 0
    assert kb.run("diff", "v1", "v2").code == 0
    kb.write(dict(reversed(kb.read().items())))
    kb.ok("commit", "-m", "Another order", "--keep-order-changes")
    for form in ("--name-only", "--json", "--patch", "--stat"):
        assert kb.run("diff", "v3", "v4", "--exit-code", form).code == 1


def test_diff_patch_leads_from_one_to_the_other(kb: Shell) -> None:
    """What --patch prints, applied to A, gives exactly B."""
    patch = json.loads(kb.ok("diff", "v1", "v3", "--patch").out)
    wanted = json.loads(kb.ok("checkout", "v3", "-o", "-").raw)
    assert apply_patch(DOCUMENT, patch) == wanted


def test_diff_patch_without_tests(kb: Shell) -> None:
    """--bare leaves them out, and is an option of --patch alone."""
    tested = json.loads(kb.ok("diff", "v1", "v2", "--patch").out)
    bare = json.loads(kb.ok("diff", "v1", "v2", "--patch", "--bare").out)
    assert [operation["op"] for operation in tested] == ["test", "replace"]
    assert bare == tested[1:] == kb.ok("diff", "v1", "v2", "--json").object["patch"]
    assert "--bare needs --patch" in kb.fails(2, "diff", "--bare").err


def test_diff_of_two_files(shell: Shell) -> None:
    """Without a store, by any form, at a pointer; there is no version that its patch was made from."""
    (shell.folder / "a.json").write_text(json.dumps(DOCUMENT))
    changed = json.loads(json.dumps(DOCUMENT))
    changed["problems"]["p1"]["votes"] = 4
    (shell.folder / "b.json").write_text(json.dumps(changed))
    both = ["a.json", str(shell.folder / "b.json")]
    assert "/votes  3 -> 4" in shell.ok("diff", *both).out
    assert f"a.json -> {shell.folder / 'b.json'}: 1 modified" in shell.ok("diff", *both).out
    assert shell.ok("diff", *both, "/problems/p2").out == ""
    assert shell.ok("diff", *both, "--json").object["base"] is None
    tests = [op["path"] for op in shell.ok("diff", *both, "--json").object["patch"] if op["op"] == "test"]
    assert tests == ["/problems/p1/votes"]  # it has to refuse another document by itself
    assert shell.run("diff", *both, "--exit-code").code == 1
    assert shell.ok("diff", "a.json", "a.json", "--patch").out == "[]\n"
    told = shell.fails(3, "diff", *both, "/nope").err
    assert told == f"error: there is nothing at '/nope' in a.json and {shell.folder / 'b.json'}\n"
    shell.fails(10, "diff", "a.json", "c.json")
    (shell.folder / "c.json").write_text("null")
    assert shell.ok("diff", "c.json", "a.json", "--patch", "--bare").out.startswith('[\n  {\n    "op": "replace"')
    (shell.folder / "c.json").write_text("{")
    assert "c.json: line 1" in shell.fails(3, "diff", "a.json", "c.json").err
    assert sorted(path.name for path in shell.folder.iterdir()) == ["a.json", "b.json", "c.json"]


def test_diff_as_html(kb: Shell) -> None:
    """A whole page into a file, or to stdout."""
    result = kb.ok("diff", "v1", "v3", "--html", "out.html")
    assert (result.out, result.err) == ("", "wrote out.html\n")
    page = (kb.folder / "out.html").read_bytes()
    assert page.startswith(b"<!doctype html>")
    assert kb.ok("diff", "v1", "v3", "--html", "-").raw == page


def test_each_form_of_diff_says_what_changed(kb: Shell) -> None:
    """--stat, --name-only, --unified, --markdown."""
    assert "/problems/p4 | 1 +" in kb.ok("diff", "v2", "v3", "--stat").out
    assert kb.ok("diff", "v2", "v3", "--name-only").lines == ["/problems/p3", "/problems/p4"]
    assert '+  "title": "Slow search",' in kb.ok("diff", "v2", "v3", "--unified").out
    assert kb.ok("diff", "v2", "v3", "--markdown").out.startswith("## ")
    assert "one form only" in kb.fails(2, "diff", "--stat", "--json").err


def test_elements_of_a_list_go_by_their_id(shell: Shell) -> None:
    """Their place says little once something was inserted; they are named by what leads to them on either side."""
    entries = [{"id": f"e{n}", "votes": n} for n in range(5)]
    shell.write({"entries": entries})
    shell.ok("init", "kb.json")
    shell.write({"entries": [{"id": "new", "votes": 0}, entries[0], {"id": "e1", "votes": 9}, *entries[3:]]})
    status = shell.ok("status", "--json").object
    assert (status["added"], status["modified"], status["removed"]) == (["new"], ["e1"], ["e2"])
    names = [f"/entries/[id={name}]" for name in ("new", "e1", "e2")]
    assert shell.ok("diff", "--name-only").lines == names
    *rows, sums = shell.ok("diff", "--stat").lines
    assert [line.split()[0] for line in rows] == names
    assert sums.startswith(" 1 added, 1 removed, 1 modified; ")
    files = [line for line in shell.ok("diff", "--unified").lines if line[:4] in ("--- ", "+++ ")]
    assert [name.partition("/")[2] for name in files] == [
        *("dev/null", "entries/[id=new]"),
        *("entries/[id=e1]", "entries/[id=e1]"),
        *("entries/[id=e2]", "dev/null"),
    ]


def test_get_reads_a_value_at_any_version(kb: Shell) -> None:
    """JSON as it is, or the bare text of a string."""
    assert kb.ok("get", "/problems/p1/title").out == '"Login fails on Mondays"\n'
    assert kb.ok("get", "/problems/p1/title", "--at", "v1").out == '"Login fails"\n'
    assert kb.ok("get", "/problems/p1/title", "--raw").raw == b"Login fails on Mondays\n"
    assert json.loads(kb.ok("get", "/problems/p2").out) == DOCUMENT["problems"]["p2"]  # type: ignore[index]
    assert json.loads(kb.ok("get", "--at", "v1").out) == DOCUMENT
    assert kb.fails(3, "get", "/problems/p3").err == (
        "error: there is nothing at '/problems/p3' in v3\nhint: /problems has p1, p2, p4\n"
    )


def test_reading_needs_no_file(kb: Shell) -> None:
    """With only the store named, everything can be read; a diff is then between the two newest versions."""
    kb.file.unlink()
    (kb.folder / "store.db").write_bytes((kb.folder / ".kbstore" / "kb.db").read_bytes())
    (kb.folder / "elsewhere").mkdir()
    store = ["-C", "elsewhere", "--store", "../store.db"]
    assert "p4" in kb.ok(*store, "diff").out
    assert kb.ok(*store, "diff", "v2").out == kb.ok(*store, "diff").out
    assert len(kb.ok(*store, "log", "--oneline").lines) == 3
    assert "no file was chosen" in kb.fails(3, *store, "status").err
