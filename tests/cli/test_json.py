"""What programs read: every object has its version and exactly the members that `docs/cli.md` lists."""

import json
import re

import pytest

from tests.cli.support import Shell
from tests.conftest import ROOT

VERSION = ["seq", "version", "id", "parents", "time", "author", "message", "tags", "state"]
TAG = ["tag", "seq", "version", "id"]
DIFF = ["from", "to", "collection", "added", "removed", "modified", "moved", "changes", "base", "patch"]
VERIFY = ["ok", "versions", "readable", "head", "problems", "caches", "pinned", "pinned_id", "behind", "merged"]
VERIFY += ["notes", "missing", "elsewhere", "refs_head", "refs_pinned"]
GC = ["dry_run", "dropped_snapshots", "dropped_bytes", "packed_bodies", "packed_chunks", "size_before_bytes"]

SHAPES = {
    "init": [*VERSION, "store", "joined", "collection"],
    "status": [
        "file",
        "exists",
        "store",
        "branch",
        "base",
        "head",
        "behind",
        "clean",
        "added",
        "modified",
        "removed",
        "moved",
    ],
    "commit": [*VERSION, "created"],
    "apply": [*VERSION, "created"],
    "restore": [*VERSION, "meta", "created"],
    "checkout": [*VERSION, "file"],
    "log": VERSION,
    "show": [*VERSION, "added", "removed", "modified", "moved", "patch"],
    "diff": DIFF,
    "get": ["pointer", "version", "value"],
    "tag": TAG,
    "tag NAME": TAG,
    "tag -d NAME": ["tag", "removed"],
    "branch": ["branch", "current"],
    "branch NAME": ["branch", "current"],
    "branch -m OLD NEW": ["branch", "old"],
    "branch -d NAME": ["branch", "removed"],
    "import": ["versions", "known", "refs", "left_out", "head", "id"],
    "export --sqlite": ["file", "tables"],
    "config": ["setting", "pointer", "value"],
    "trust": ["folders", "urls"],
    "verify": VERIFY,
    "salvage": ["folder", "versions", "readable", "events", "patches", "documents", "refs", "problems"],
    "gc": [*GC, "size_after_bytes", "removed", "kept", "kept_because", "lost"],
    "lost": ["number", "time", "file", "bytes", "base"],
    "lost --restore": ["file", "base", "restored"],
    "update": [*VERSION, "file", "clean"],
    "mv": ["file"],
    "backup": ["path", "version"],
    "restore-backup": ["version", "replaced", "only_in_replaced"],
}
COMMANDS = {
    "init": ["-C", "new", "init", "kb.json"],
    "status": ["status"],
    "commit": ["commit", "-m", "x", "--allow-empty"],
    "apply": ["apply", "-", "-m", "x"],
    "restore": ["restore", "v1"],
    "checkout": ["checkout", "v1"],
    "log": ["log"],
    "show": ["show", "v2"],
    "diff": ["diff", "v1", "v3"],
    "get": ["get", "/problems/p1"],
    "tag": ["tag"],
    "tag NAME": ["tag", "newest"],
    "tag -d NAME": ["tag", "-d", "stable"],
    "branch": ["branch"],
    "branch NAME": ["branch", "side"],
    "branch -m OLD NEW": ["branch", "-m", "other", "new"],
    "branch -d NAME": ["branch", "-d", "other"],
    "import": ["import", "-"],
    "export --sqlite": ["export", "--sqlite", "kb.sqlite"],
    "verify": ["verify"],
    "config": ["config", "identity", "/problems", "id"],
    "trust": ["trust"],
    "salvage": ["salvage", "rescued"],
    "gc": ["gc"],
    "lost": ["lost"],
    "lost --restore": ["lost", "--restore"],
    "update": ["update"],
    "mv": ["mv", "kb.json", "renamed.json"],
    "backup": ["backup", "b.db"],
    "restore-backup": ["restore-backup", "b.db"],
}

THEIRS = json.dumps(
    [
        {"op": "replace", "path": "/problems/p2/votes", "value": 40},
        {"op": "remove", "path": "/problems/p2/title"},
    ]
).encode()


@pytest.mark.parametrize("name", COMMANDS)
def test_objects_have_these_members(kb: Shell, name: str) -> None:
    """Each line is an object with `schema_version` 1 and these members, in this order; nothing else is on stdout."""
    kb.ok("tag", "stable", "v2")
    kb.ok("branch", "other", "v2")
    (kb.folder / "new").mkdir()
    (kb.folder / "new" / "kb.json").write_text("{}")
    if name == "restore-backup":
        kb.ok("backup", "b.db")
    if name.startswith("lost"):
        kb.edit("p2", votes=6)
        kb.ok("checkout", "v1", "--force")
    stdin = b'{"document": {}, "time": null}\n' if name == "import" else b"[]"
    objects = kb.ok(*COMMANDS[name], "--json", stdin=stdin).objects
    assert objects
    for found in objects:
        assert list(found) == ["schema_version", *SHAPES[name]]
        assert found["schema_version"] == 1


def test_members_that_only_some_versions_have(kb: Shell) -> None:
    """`authored` where a version was written earlier than it was committed, `meta` where there is some."""
    line = b'{"document": {}, "time": "2020-02-02T10:00:00Z"}\n'
    kb.ok("import", "-", stdin=line)
    newest = kb.ok("log", "--json", "-n", "1").object
    assert list(newest) == ["schema_version", *VERSION, "authored"]
    assert newest["authored"] == "2020-02-02T10:00:00.000000Z"


def test_values_of_a_version(kb: Shell) -> None:
    """Types and forms that a program may rely on."""
    rows = kb.ok("log", "--json").objects
    assert [row["seq"] for row in rows] == [3, 2, 1]
    assert [row["parents"] for row in rows] == [[rows[1]["id"]], [rows[2]["id"]], []]
    for row in rows:
        assert re.fullmatch(r"[0-9a-f]{64}", row["id"])
        assert re.fullmatch(r"[0-9a-f]{64}", row["state"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", row["time"])
        assert row["version"].startswith(f"v{row['seq']}_")
    assert rows[1]["tags"] == ["api", "title"]


def test_a_dry_run_has_no_size_after(kb: Shell) -> None:
    """What is not known is null, not left out."""
    assert kb.ok("gc", "--dry-run", "--json").object["size_after_bytes"] is None


def test_a_problem_is_an_object_too(kb: Shell) -> None:
    """`verify --json` tells its findings on stdout, also where it ends with 3."""
    result = kb.fails(3, "verify", "--head", "0" * 64, "--json")
    assert result.object["ok"] is False
    assert (result.object["problems"], result.object["missing"] != "") == ([], True)


def test_json_and_other_forms_are_not_mixed(kb: Shell) -> None:
    """With --json stdout holds JSON only, stderr nothing on success."""
    for arguments in COMMANDS.values():
        if arguments[0] in ("log", "show", "diff", "get", "status", "verify", "branch", "tag"):
            kb.run("tag", "stable", "v2", "--force")
            kb.run("branch", "other", "v2")
            assert kb.ok(*arguments, "--json").err == ""


def test_the_documentation_lists_the_same_members() -> None:
    """The table of `docs/cli.md` and this file say the same."""
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    told = {}
    for row in re.findall(r"^\| `([^`|]+) --json` \| (.*) \|$", text, re.MULTILINE):
        told[row[0]] = re.findall(r"`(\w+)`", row[1].partition("(")[0])
    assert told == SHAPES


def test_hostile_values_stay_exactly_what_they_are(kb: Shell) -> None:
    """JSON escapes what a terminal would obey, and still means the same value."""
    value = "\x1b]0;owned\x07 \u202egnp.exe \u2028 \U000e0041"
    kb.edit("p2", title=value)
    kb.ok("commit", "-m", value)
    result = kb.ok("get", "/problems/p2/title", "--json")
    assert result.object["value"] == value
    assert json.loads(kb.ok("show", "--json").out)["message"] == value
    assert result.out.isascii()


def test_a_conflict_is_told_to_programs(kb: Shell) -> None:
    """A line for each place, a value that is missing left out; one line if a newer version alone is the reason."""
    kb.edit("p2", votes=6, title="Mine")
    kb.ok("apply", "-", "-m", "theirs", "--file", "none.json", stdin=THEIRS)
    places = kb.run("commit", "-m", "x", "--json")
    found = {place["pointer"]: place for place in places.objects}
    kinds = {pointer: place["kind"] for pointer, place in found.items()}
    assert kinds == {"/problems/p2/title": "removed-by-them", "/problems/p2/votes": "both-modified"}
    assert list(found["/problems/p2/title"]) == ["schema_version", "pointer", "kind", "base", "ours"]
    (history,) = kb.run("commit", "-m", "x", "--no-rebase", "--json").objects
    assert list(history) == ["schema_version", "pointer", "kind", "message"]
    assert (history["pointer"], history["kind"]) == (None, "history")
    assert kb.run("commit", "-m", "x").out == ""
