"""Commands that carry histories in and out, and that look after a store: import, export, verify, gc."""

import gzip
import json
import lzma
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from kbstore import OutcomeUnknown, Store, dumps
from tests.cli.support import DOCUMENT, Shell
from tests.conftest import LONG

LINES = b"".join(
    json.dumps(
        {"document": {"n": n // 2}, "author": f"a{n}", "time": f"2020-01-0{n + 1}T00:00:00Z", "message": f"m{n}"}
    ).encode()
    + b"\n"
    for n in range(4)
)


# ---- import -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
@pytest.mark.parametrize("way", ["file", "stdin"])
def test_import_of_documents(shell: Shell, pack: object, way: str) -> None:
    """One version a line, also where nothing changed, with the line's author, time and message; packed or not."""
    data = pack(LINES)  # type: ignore[operator]
    (shell.folder / "lines.bin").write_bytes(data)
    source = "-" if way == "stdin" else "lines.bin"
    result = shell.ok("import", source, "--store", "new.db", stdin=data if way == "stdin" else b"")
    assert result.out.startswith("4 versions imported; the newest is v4_20200104_000000")
    rows = shell.ok("log", "--json", "--reverse", "--store", "new.db").objects
    assert [(row["author"], row["message"], row["time"]) for row in rows] == [
        (f"a{n}", f"m{n}", f"2020-01-0{n + 1}T00:00:00.000000Z") for n in range(4)
    ]
    assert rows[0]["state"] == rows[1]["state"] != rows[2]["state"]


def test_import_starts_a_project_where_there_is_none(shell: Shell) -> None:
    """Its store is .kbstore/kb.db; a file can then be taken from it."""
    assert "started" in shell.ok("import", "-", stdin=LINES).err
    assert shell.versions() == 4
    shell.ok("init", "kb.json")
    assert shell.read() == {"n": 1}


def test_import_into_a_project_takes_a_clean_file_along(kb: Shell) -> None:
    """One with uncommitted changes is left as it is, which is said."""
    kb.ok("import", "-", stdin=LINES)
    assert kb.read() == {"n": 1}
    before = kb.write({"n": 1, "mine": True})
    assert "has uncommitted changes and was left as it is" in kb.ok("import", "-", stdin=LINES).err
    assert kb.file.read_bytes() == before


def test_exported_events_keep_their_ids(kb: Shell) -> None:
    """Into a new store; a second time they add nothing."""
    exported = kb.ok("export").raw
    assert exported.count(b"\n") == 3
    assert kb.ok("import", "-", "--store", "copy.db", stdin=exported).out.startswith("3 versions imported; ")
    assert [row["id"] for row in kb.ok("log", "--json", "--store", "copy.db").objects] == [
        row["id"] for row in kb.ok("log", "--json").objects
    ]
    again = kb.ok("import", "-", "--store", "copy.db", stdin=exported)
    assert again.out.startswith("0 versions imported (3 known already)")
    assert kb.ok("export", "--store", "copy.db").raw == exported


@pytest.fixture
def branched(kb: Shell) -> Shell:
    """Two branches, one started from the other, and tags that were moved and removed between their versions."""
    kb.ok("tag", "stable", "v1")
    kb.ok("branch", "draft", "v2")
    kb.ok("branch", "--switch", "draft")
    kb.edit("p1", votes=100)
    kb.ok("commit", "-m", "on the draft")
    kb.ok("tag", "drafted")
    kb.ok("branch", "deep", "draft")
    kb.ok("branch", "--switch", "deep")
    kb.ok("commit", "-m", "deeper", "--allow-empty")
    kb.ok("branch", "--switch", "main")
    kb.ok("tag", "stable", "v3", "--force")
    kb.ok("tag", "gone", "v1")
    kb.ok("tag", "-d", "gone")
    return kb


def test_an_export_has_tags_and_branches(branched: Shell) -> None:
    """A copy answers as the original does, byte for byte, and verifies; a second import adds nothing."""
    exported = branched.ok("export").raw
    told = branched.ok("import", "-", "--store", "copy.db", stdin=exported).out
    assert told.startswith("5 versions and 7 changes of tags and branches imported; the newest is v3_")
    for command in (["tag"], ["log"], ["log", "--branch", "draft"], ["log", "--branch", "deep"], ["export"]):
        assert branched.ok(*command, "--store", "copy.db").out == branched.ok(*command).out
    assert branched.ok("verify", "--store", "copy.db").out.startswith("whole: 5 versions")
    again = branched.ok("import", "-", "--store", "copy.db", "--json", stdin=exported).object
    assert (again["versions"], again["known"], again["refs"]) == (0, 5, 0)
    branched.ok("tag", "later", "deep")
    assert (
        branched.ok("import", "-", "--store", "copy.db", "--json", stdin=branched.ok("export").raw).object["refs"] == 1
    )


def test_other_tags_are_not_mixed(branched: Shell) -> None:
    """A store with tags of its own takes versions, by a range, and refuses the other's tags."""
    branched.ok("import", "-", "--store", "copy.db", stdin=branched.ok("export", "..HEAD").raw)
    branched.ok("tag", "mine", "v1", "--store", "copy.db")
    result = branched.fails(3, "import", "-", "--store", "copy.db", stdin=branched.ok("export").raw)
    assert "this store has other tags and branches" in result.err
    assert "kbstore export ..HEAD" in result.err
    branched.ok("import", "-", "--store", "copy.db", stdin=branched.ok("export", "..HEAD").raw)
    branched.ok("verify", "--store", "copy.db")


@pytest.mark.parametrize("at", range(7))
def test_a_changed_tag_or_branch_is_refused(branched: Shell, at: int) -> None:
    """Whatever is changed in one is found by the line's number, and so is one that was left out."""
    lines = branched.ok("export").raw.splitlines(keepends=True)
    number = [i for i, line in enumerate(lines, 1) if b'"ref":' in line][at]
    line = json.loads(lines[number - 1])
    line["ref"]["name"] = "other"
    changed = [*lines[: number - 1], json.dumps(line).encode() + b"\n", *lines[number:]]
    told = branched.fails(13, "import", "-", "--store", "copy.db", stdin=b"".join(changed)).err
    assert f"line {number}, a tag or branch: it was changed after it was exported" in told
    branched.ok("verify", "--store", "copy.db")
    if number < len(lines):
        missing = b"".join(lines[: number - 1] + lines[number:])
        assert f"line {number}" in branched.fails(13, "import", "-", "--store", "less.db", stdin=missing).err
        branched.ok("verify", "--store", "less.db")


@pytest.mark.parametrize("where", [[], ["--store", "new.db"]])
def test_an_import_that_fails_leaves_no_empty_store(shell: Shell, where: list[str]) -> None:
    """Neither a store nor a project; what did come in before the fault stays."""
    bad = b'{"document": 1, "time": "soon"}\n'
    shell.fails(3, "import", "-", *where, stdin=LINES + bad)
    assert list(shell.folder.iterdir()) == []
    shell.fails(13, "import", "-", *where, stdin=LINES * 25 + bad)
    assert len(shell.ok("log", "--json", *where).objects) == 100
    assert shell.run("import", "-", *where, stdin=bad).code == 3
    assert len(shell.ok("log", "--json", *where).objects) == 100


def test_an_import_whose_outcome_is_unknown_leaves_the_store(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command looks there for what may have landed; a store that was there before is left in any case."""

    def lost(*args: object, **kwargs: object) -> None:
        raise OutcomeUnknown("no answer", write_id="w1")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "commit_many", lost)
        shell.fails(12, "import", "-", stdin=LINES)
    assert "4 versions imported" in shell.ok("import", "-", stdin=LINES).out
    Store.create(shell.folder / "empty.db").close()
    shell.fails(3, "import", "-", "--store", "empty.db", stdin=b'{"document": 1, "time": "soon"}')
    assert shell.ok("log", "--store", "empty.db").out == ""
    (shell.folder / "sub" / ".kbstore").mkdir(parents=True)
    Store.create(shell.folder / "sub" / ".kbstore" / "kb.db").close()
    (shell.folder / ".kbstore" / "config.json").rename(shell.folder / "kept")
    shell.fails(3, "-C", "sub", "import", "-", stdin=b'{"document": 1, "time": "soon"}')
    assert (shell.folder / "sub" / ".kbstore" / "kb.db").exists()


def test_an_import_into_something_else_says_what_it_is(shell: Shell) -> None:
    """Another program's database is no store, and stays as it is."""
    mine = shell.folder / "mine.db"
    with closing(sqlite3.connect(mine)) as base:
        base.execute("create table t(x)")
    before = mine.read_bytes()
    shell.write(DOCUMENT)
    for command in (["import", "-"], ["init", "kb.json"]):
        told = shell.fails(10, *command, "--store", "mine.db", stdin=LINES).err
        assert "is not a store: it is an SQLite database of another program" in told
        assert "open it" not in told
    assert mine.read_bytes() == before
    assert sorted(path.name for path in shell.folder.iterdir()) == ["kb.json", "mine.db"]


def test_events_arrive_in_pieces(kb: Shell) -> None:
    """A..B follows what A ended with."""
    kb.ok("import", "-", "--store", "copy.db", stdin=kb.ok("export", "..v1").raw)
    kb.fails(3, "import", "-", "--store", "copy.db", stdin=kb.ok("export", "v2..").raw)
    kb.ok("import", "-", "--store", "copy.db", stdin=kb.ok("export", "v1..HEAD").raw)
    assert kb.ok("export", "--store", "copy.db").raw == kb.ok("export").raw
    assert kb.ok("export", "v2").raw == kb.ok("export", "v1..v2").raw


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (b'"message":"A better title"', b'"message":"A worse title"', "line 2: the event does not have the id"),
        (b'"value":"Login fails on Mondays"', b'"value":"x"', "line 2: the patch is not the one that v2 names"),
    ],
)
def test_changed_events_are_refused_by_line(kb: Shell, old: bytes, new: bytes, told: str) -> None:
    """And nothing of their batch is taken in."""
    exported = kb.ok("export").raw
    assert exported.count(old) == 1
    result = kb.fails(3, "import", "-", "--store", "copy.db", stdin=exported.replace(old, new))
    assert told in result.err
    assert not (kb.folder / "copy.db").exists()


def test_parted_histories_are_refused(kb: Shell) -> None:
    """Two stores that went different ways are not mixed."""
    kb.ok("import", "-", "--store", "copy.db", stdin=kb.ok("export").raw)
    kb.ok("import", "-", "--store", "copy.db", stdin=LINES)
    kb.ok("commit", "-m", "mine", "--allow-empty")
    assert (
        "the histories have diverged" in kb.fails(3, "import", "-", "--store", "copy.db", stdin=kb.ok("export").raw).err
    )


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"{\n", "line 1, column 2"),
        (b"\n\n[1]\n", "line 3 is not an object"),
        (b'{"x": 1}', "line 1 has neither a document nor an event"),
        (b'{"document": 1, "time": "soon"}', "line 1: time: it is not a time"),
        (b'{"document": 1}\n{"document": NaN}', "line 2, column 14"),
        (lzma.compress(LINES)[:-20], "cut short"),
        (gzip.compress(LINES)[:-12], "cut short"),
    ],
)
def test_lines_that_cannot_be_imported(shell: Shell, data: bytes, told: str) -> None:
    """They are refused by number."""
    assert told in shell.fails(3, "import", "-", "--store", "new.db", stdin=data).err


def test_an_import_that_stops_says_what_landed(shell: Shell) -> None:
    """Of documents and of events, with the line that is bad and how to go on; the same command then adds the rest."""
    documents = [b'{"document": {"n": %d}}\n' % n for n in range(150)]
    stopped = shell.fails(13, "import", "-", "--store", "a.db", stdin=b"".join([*documents[:120], b"{bad\n"]))
    assert "error: 100 versions imported, but line 121, column 2: expected a member name" in stopped.err
    assert "hint: correct that line, then run the same command again: it goes on from there" in stopped.err
    assert shell.ok("import", "-", "--store", "a.db", stdin=b"".join(documents)).out.startswith("150 versions imported")
    events = shell.ok("export", "--store", "a.db").raw.splitlines(keepends=True)
    changed = events[120].replace(b'"value":120', b'"value":7')
    assert changed != events[120]
    for bad, told in ((b"{bad\n", "correct that line"), (changed, "export it from its store again")):
        store = f"{len(bad)}.db"
        stopped = shell.fails(13, "import", "-", "--store", store, stdin=b"".join([*events[:120], bad]))
        assert "error: 100 versions imported, but line 121" in stopped.err
        assert f"hint: {told}, then run the same command again: it goes on from there" in stopped.err
        again = shell.ok("import", "-", "--store", store, stdin=b"".join(events))
        assert again.out.startswith("50 versions imported (100 known already)")


def test_an_import_that_stops_counts_tags_that_landed(kb: Shell) -> None:
    """Each change of a tag or branch lands by itself; a line of them that is refused says how many did."""
    kb.ok("tag", "one")
    kb.ok("tag", "two", "v2")
    *lines, last = kb.ok("export").raw.splitlines(keepends=True)
    bad = last.replace(b'"two"', b'"too"')
    stopped = kb.fails(13, "import", "-", "--store", "copy.db", stdin=b"".join([*lines, bad]))
    assert (
        "error: 3 versions and 1 change of tags and branches imported, but line 5, a tag or branch: it" in stopped.err
    )
    again = kb.ok("import", "-", "--store", "copy.db", stdin=b"".join([*lines, last]))
    assert again.out.startswith("0 versions and 1 change of tags and branches imported (3 known already)")


@pytest.mark.parametrize("data", [b"{\n", json.dumps(DOCUMENT, indent=2).encode()])
def test_what_is_no_history_makes_no_store(shell: Shell, data: bytes) -> None:
    """A knowledge base itself is no history: the hint says how one is started."""
    assert "kbstore init FILE" in shell.fails(3, "import", "-", stdin=data).err
    assert list(shell.folder.iterdir()) == []
    shell.fails(3, "import", "nope.jsonl")
    shell.fails(3, "import", ".")
    assert list(shell.folder.iterdir()) == []


# ---- export -------------------------------------------------------------------------------------------------------


def test_export_is_json_lines_of_events(kb: Shell) -> None:
    """Each with its header, id and plain RFC 6902 patches, oldest first; into a file where one is named."""
    rows = kb.ok("export").objects
    assert [list(row) for row in rows] == [["event", "id", "order", "patch"], *[["event", "id", "patch"]] * 2]
    assert [row["event"]["seq"] for row in rows] == [1, 2, 3]
    assert rows[1]["patch"] == [{"op": "replace", "path": "/problems/p1/title", "value": "Login fails on Mondays"}]
    result = kb.ok("export", "-o", "out.jsonl")
    assert (result.out, result.err) == ("", "wrote out.jsonl\n")
    assert (kb.folder / "out.jsonl").read_bytes() == kb.ok("export", "-o", "-").raw == kb.ok("export").raw


def test_export_as_tables(kb: Shell) -> None:
    """A table for each collection with full-text search, and the versions up to the one that is asked for."""
    kb.ok("export", "--sqlite", "kb.sqlite", "v2")
    with closing(sqlite3.connect(kb.folder / "kb.sqlite")) as base:
        assert base.execute("select _key, votes from problems order by 1").fetchall() == [
            ("p1", 3),
            ("p2", 5),
            ("p3", 0),
        ]
        found = base.execute("select title from problems_fts where problems_fts match 'mondays'").fetchall()
        assert found == [("Login fails on Mondays",)]
        assert base.execute("select seq, author from versions order by 1").fetchall()[1] == (2, "dev@example.com")
    kb.ok("export", "--sqlite", "kb.sqlite")
    with closing(sqlite3.connect(kb.folder / "kb.sqlite")) as base:
        assert base.execute("select count(*) from versions").fetchone() == (3,)


def tables_of(shell: Shell, document: object, *options: str) -> dict[str, list[tuple[object, ...]]]:
    """The rows of all tables that are made of a document, by the name of the table."""
    shell.write(document)
    shell.ok("init", "kb.json", *options)
    counts = shell.ok("export", "--sqlite", "out.db", "--json").object["tables"]
    found = {}
    with closing(sqlite3.connect(shell.folder / "out.db")) as base:
        for name, count in counts.items():
            if name in ("versions", "document"):
                continue
            rows = base.execute(f'select * from "{name}" order by 1')
            columns = [column[0] for column in rows.description]
            found[name] = [tuple(dict(zip(columns, row, strict=True)).values()) for row in rows.fetchall()]
            assert len(found[name]) == count
    return found


ARTICLES = {"p1": {"title": "One"}, "p2": {"title": "Two"}, "p3": {"title": "Three"}}


@pytest.mark.parametrize(
    ("document", "options", "tables"),
    [
        (
            {"problems": {**ARTICLES, "_comment": "by hand"}},
            [],
            {
                "problems": [
                    ("_comment", None, '"by hand"'),
                    ("p1", "One", None),
                    ("p2", "Two", None),
                    ("p3", "Three", None),
                ]
            },
        ),
        (ARTICLES, [], {"entries": [("p1", "One"), ("p2", "Two"), ("p3", "Three")]}),
        (list(ARTICLES.values()), [], {"entries": [(0, "One"), (1, "Two"), (2, "Three")]}),
        (
            {"problems": [*ARTICLES.values(), 7]},
            [],
            {"problems": [(0, "One", None), (1, "Two", None), (2, "Three", None), (3, None, "7")]},
        ),
        (
            {"words": {"a": "x", "b": ["y"]}, "more": ARTICLES},
            ["--collection", "/words"],
            {
                "words": [("a", '"x"'), ("b", '["y"]')],
                "more": [("p1", "One"), ("p2", "Two"), ("p3", "Three")],
            },
        ),
        ({"problems": {}, "more": ARTICLES}, ["--collection", "/problems"], {"problems": [], "more": 3}),
        (
            {"kb": {"problems": {"p1": {"title": "One"}}}},
            ["--collection", "/kb/problems"],
            {"kb_problems": [("p1", "One")]},
        ),
        ({"problems": {"p1": {"_value": 1, "_key": 2}, "p2": 3}}, ["--collection", "/problems"], {"problems": 2}),
        ({"kb": ARTICLES, "list": {"x": [1, {"a": 1}, {"b": 2}]}}, ["--collection", "/kb"], {"kb": 3, "list_x": 3}),
    ],
)
def test_tables_of_collections(shell: Shell, document: object, options: list[str], tables: dict[str, object]) -> None:
    """The configured or found collection has a table of its own name, whatever it holds; no row is left out."""
    found = tables_of(shell, document, *options)
    counts = {name: len(rows) if isinstance(tables.get(name), int) else rows for name, rows in found.items()}
    assert counts == tables


def test_a_full_disk_is_named_by_the_export(kb: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do about it, and no half file."""

    def fill(*_: object) -> None:
        with closing(sqlite3.connect(":memory:")) as base:
            base.execute("PRAGMA max_page_count = 1")
            base.execute("CREATE TABLE x (y)")

    monkeypatch.setattr("kbstore.sync.sqlite_export._fill", fill)
    told = kb.fails(3, "export", "--sqlite", "kb.sqlite").err.splitlines()
    assert told == ["error: cannot write kb.sqlite: No space left on device", "hint: free disk space, then try again"]
    assert [path.name for path in kb.folder.iterdir() if "sqlite" in path.name] == []


@pytest.mark.parametrize(
    "command",
    [["export", "--sqlite"], ["export", "-o"], ["diff", "v1", "--html"], ["checkout", "v1", "--force", "-o"]],
)
@pytest.mark.parametrize("target", [".kbstore/kb.db", ".kbstore/config.json", ".kbstore/new", "link", "kb.json"])
def test_no_output_goes_over_the_store_or_the_knowledge_base(kb: Shell, command: list[str], target: str) -> None:
    """Whatever way it is named; a checkout may write the knowledge base itself."""
    (kb.folder / "link").symlink_to(".kbstore/kb.db")
    if target == "kb.json" and command[0] == "checkout":
        kb.ok(*command, target)
        return
    before = kb.file.read_bytes()
    assert "so it is not overwritten" in kb.fails(3, *command, target).err
    assert kb.file.read_bytes() == before
    kb.ok("verify")


def test_tables_replace_only_earlier_tables(kb: Shell) -> None:
    """Somebody else's database, or any other file, is left alone."""
    mine = kb.folder / "mine.db"
    with closing(sqlite3.connect(mine)) as base:
        base.execute("create table t(x)")
    (kb.folder / "notes.txt").write_text("notes")
    for name in ("mine.db", "notes.txt"):
        before = (kb.folder / name).read_bytes()
        assert "is not an earlier export" in kb.fails(3, "export", "--sqlite", name).err
        assert (kb.folder / name).read_bytes() == before
    kb.fails(2, "export", "--sqlite", "x.db", "v1..v2")
    kb.fails(2, "export", "--sqlite", "x.db", "-o", "y")
    kb.fails(3, "export", "--sqlite", "nowhere/x.db")
    kb.fails(3, "export", "-o", "nowhere/x.jsonl")


_RETITLED = b'[{"op": "replace", "path": "/problems/p1/title", "value": "In draft"}]'


# ---- verify and gc ------------------------------------------------------------------------------------------------


def test_verify_against_a_head_that_was_noted(kb: Shell) -> None:
    """In full or by its first 16 digits; one that is not there means a rewritten or shortened history."""
    head = kb.ok("log", "--json", "-n", "1").object["id"]
    assert kb.ok("verify").lines[0] == f"whole: 3 versions, head {head}"
    assert f"the history contains {head[:16]}" in kb.ok("verify", "--head", head[:16]).out
    kb.ok("verify", "--head", head.upper())
    result = kb.fails(3, "verify", "--head", "0" * 64)
    assert "was rewritten or cut short" in result.out
    for text in ("", "v3", head[:8], "g" * 64, "0" * 65):
        assert "16" in kb.fails(2, "verify", "--head", text).err


def test_verify_against_a_head_of_another_branch(kb: Shell) -> None:
    """Nothing is damaged: the branch and version are named, with the command that looks there."""
    kb.ok("branch", "draft", "v2")
    kb.ok("--branch", "draft", "apply", "-", "-m", "On draft", stdin=_RETITLED)
    head = kb.ok("--branch", "draft", "log", "--json", "-n", "1").object["id"]
    result = kb.fails(3, "verify", "--head", head)
    assert result.out.startswith("whole: 4 versions")
    assert f"missing: the event {head} is v3 of branch draft, not in the history of main" in result.out
    assert "damaged" not in result.out
    assert "salvage" not in result.err
    assert f"hint: if you noted it of draft: kbstore --branch draft verify --head {head};" in result.err
    assert f"the history contains {head}" in kb.ok("--branch", "draft", "verify", "--head", head).out
    kb.ok("branch", "-d", "draft", "--force")
    gone = kb.fails(3, "verify", "--head", head)
    assert "is v3 of branch draft (removed)" in gone.out
    assert "--branch" not in gone.err


def test_verify_of_damage_says_whether_the_noted_head_is_there(kb: Shell) -> None:
    """Damage is named first, and the id is looked for all the same: here, on another branch, or in nothing readable."""
    kb.ok("branch", "draft", "v1")
    kb.ok("--branch", "draft", "apply", "-", "-m", "On draft", stdin=_RETITLED)
    head = kb.ok("log", "--json", "-n", "1").object["id"]
    other = kb.ok("--branch", "draft", "log", "--json", "-n", "1").object["id"]
    store = kb.folder / ".kbstore" / "kb.db"
    data = bytearray(store.read_bytes())
    at = data.find(b"Login fails on Mondays")
    data[at : at + 1] = b"M"
    store.write_bytes(bytes(data))
    there = kb.fails(3, "verify", "--head", head)
    assert there.lines[0].startswith("damaged: version v2 is damaged")
    assert f"the history contains {head}, which is the newest version" in there.out
    elsewhere = kb.fails(3, "verify", "--head", other)
    assert f"missing: the event {other} is v2 of branch draft" in elsewhere.out
    assert "the history is not whole: 1 problem" in elsewhere.err
    assert "is not in what can be read" in kb.fails(3, "verify", "--head", "0" * 64).out


def test_verify_finds_a_changed_byte(kb: Shell) -> None:
    """The history is named damaged, by place, and the exit code is 3."""
    store = kb.folder / ".kbstore" / "kb.db"
    data = bytearray(store.read_bytes())
    at = data.find(b"A better title")
    data[at : at + 1] = b"B"
    store.write_bytes(bytes(data))
    result = kb.fails(3, "verify")
    assert result.out.startswith("damaged: ")
    assert "not whole" in result.err


def test_gc_says_first_what_it_would_do(kb: Shell) -> None:
    """A dry run changes no byte; afterwards everything reads as before."""
    store = kb.folder / ".kbstore" / "kb.db"
    before, log = store.read_bytes(), kb.ok("log", "--json").raw
    told = kb.ok("gc", "--dry-run").out
    assert "would pack" in told
    assert "would drop" in told
    assert store.read_bytes() == before
    assert "packed" in kb.ok("gc").out
    assert kb.ok("log", "--json").raw == log
    assert json.loads(kb.ok("checkout", "v1", "-o", "-").raw) == DOCUMENT
    kb.ok("verify")


@pytest.mark.parametrize("name", [pytest.param("mime-db", marks=pytest.mark.long), "kev"])
def test_real_histories_come_in_whole(shell: Shell, shared: Path, name: str) -> None:
    """Every line of a real history is a version that equals its document exactly: 1, 1.0 and true apart."""
    source = shared / "data" / f"{name}.jsonl.xz"
    with lzma.open(source) as file:
        lines = [json.loads(line) for line in file]
    shell.ok("import", str(source), "--store", "real.db")
    rows = shell.ok("log", "--json", "--reverse", "--store", "real.db").objects
    assert len(rows) == len(lines) == {"mime-db": 234, "kev": 77}[name]
    assert [row["message"] for row in rows] == [line["message"] for line in lines]
    with Store.open(shell.folder / "real.db", read_only=True) as kb:
        # Reading each of them takes as long as all the rest: `make test` reads every tenth, and the newest.
        for seq, line in enumerate(lines, 1):
            if not LONG and seq % 10 and seq < len(lines):
                continue
            assert dumps(kb.checkout(seq)) == dumps(line["document"])
    told = shell.ok("checkout", f"v{len(lines) // 2}", "-o", "-", "--store", "real.db").raw
    assert dumps(json.loads(told)) == dumps(lines[len(lines) // 2 - 1]["document"])
