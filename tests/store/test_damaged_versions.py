"""A damaged version is named once, by its version, and all that does not need it goes on being read."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import kbstore
from kbstore import Store
from kbstore.backends.base import Backend, Found
from kbstore.errors import CorruptStore, DamagedVersion, KBStoreError
from kbstore.sync.jsonl import export_all
from kbstore.sync.remote import replicate
from kbstore.tree.node_store import Nodes
from kbstore.verify.verify import Report
from tests.backends.test_damage import open_raw
from tests.cases.support import Desk
from tests.store.support import START, Ticks, replacing
from tests.store.test_corruption import kbstore_triggers

VERSIONS = 7
DEV = [
    "v6 of branch dev cannot be read: neither can the version that the branch was started from",
]
LONG = "word " * 1000


def furnish(path: Path, *, snapshot: int = 0, pack: bool = False) -> None:
    """Seven versions; /n is the version, /long is set by v3 and again by v6, v7 equals nothing before it."""
    with Store.create(path, {"n": 1, "pad": "x" * 50}, clock=Ticks(), author="ann") as kb:
        for n in range(2, VERSIONS + 1):
            patch = replacing("/n", n)
            if n in (3, 6):
                patch.append({"op": "add", "path": "/long", "value": f"{n} {LONG}"})
            patch.append({"op": "add", "path": f"/only{n}", "value": n})
            kb.commit(patch=patch, message=f"change {n}")
            if n == snapshot:
                kb.snapshot()
        kb.tag("early", "v2")
        kb.create_branch("dev", "v5")
        if pack:
            kb.gc()
    with Store.open(path, branch="dev", clock=Ticks(), author="bob") as kb:
        kb.commit(patch=replacing("/pad", "dev"))


def spoil(path: Path, *statements: str) -> None:
    """Change rows as a bad disk would."""
    with closing(open_raw(path)) as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount > 0, statement
        for sql in kbstore_triggers():
            connection.execute(sql)


def flip_body(seq: int) -> str:
    """A statement that changes one byte of a patch."""
    flipped = f"replace(CAST(body AS TEXT),'\"value\":{seq}','\"value\":9')"
    return f"UPDATE bodies SET body=CAST({flipped} AS BLOB) WHERE id={seq}"


def readable(path: Path, branch: str = "main") -> list[int]:
    """The versions that can be checked out, each of which is then right."""
    found = []
    with Store.open(path, branch=branch) as kb:
        for seq in range(1, VERSIONS + 1):
            try:
                document = kb.checkout(seq)
            except KBStoreError:
                continue
            if branch == "main":
                assert document["n"] == seq == kb.get("/n", at=seq)
                assert document.get("long", "")[:1] == ("" if seq < 3 else "3" if seq < 6 else "6")
            found.append(seq)
    return found


def problems(path: Path, *, readable: int) -> list[str]:
    """What verify says; no version is in two sentences, and nothing is said of caches."""
    with Store.open(path) as kb:
        report = kb.verify()
        assert report.caches == []
        assert report.readable == readable
    named = [name for text in report.problems for name in re.findall(r"^versions? (v\d+)[^;:]*", text)]
    assert len(set(named)) == len(named)
    return report.problems


def test_a_damaged_patch_is_named_once(tmp_path: Path) -> None:
    """One changed byte in v4 is one sentence, which says what cannot be read because of it; the rest can."""
    path = tmp_path / "kb.db"
    furnish(path)
    spoil(path, flip_body(4))
    assert problems(path, readable=3) == [
        "version v4 is damaged: its patch cannot be read; the documents of v4 to v7 cannot be read, v7 is the newest",
        *DEV,
    ]
    assert readable(path) == [1, 2, 3]
    with Store.open(path) as kb:
        assert [v.seq for v in kb.log()] == [7, 6, 5, 4, 3, 2, 1]
        with pytest.raises(DamagedVersion, match=r"^version v4 is damaged: its patch cannot be read$") as own:
            kb.checkout("v4")
        with pytest.raises(DamagedVersion, match=r"^v7 cannot be read: version v4 is damaged: its patch"):
            kb.checkout()
        assert (own.value.seq, "kbstore salvage" in (own.value.hint or "")) == (4, True)
        assert kb.version("v5").patch[0] == replacing("/n", 5)[0]
        lines: list[bytes] = []
        with pytest.raises(DamagedVersion, match="version v4 is damaged"):
            lines.extend(export_all(kb))
        with pytest.raises(DamagedVersion, match="version v4 is damaged"):
            kb.commit({"n": 8})


@pytest.mark.parametrize("pack", [False, True])
def test_versions_behind_a_snapshot_are_readable(tmp_path: Path, pack: bool) -> None:
    """A snapshot of v5 carries v5 and all that follows, commits too; it is not blamed for what is before it."""
    path = tmp_path / "kb.db"
    furnish(path, snapshot=5)
    spoil(path, flip_body(4))
    sentence = "version v4 is damaged: its patch cannot be read; the document of v4 cannot be read, v5 can"
    assert problems(path, readable=7) == [sentence]
    assert readable(path) == [1, 2, 3, 5, 6, 7]
    with Store.open(path) as kb:
        assert kb.diff("v3", "v6").patch[0] == {"op": "replace", "path": "/long", "value": f"6 {LONG}"}
        kb.commit(patch=replacing("/n", 8))
        if pack:
            with pytest.raises(CorruptStore):
                kb.gc()
        assert [s.number for s in kb.backend.snapshots("main")] == [5]
        assert kb.damage == []
    assert readable(path) == [1, 2, 3, 5, 6, 7]
    with Store.open(path, branch="dev") as kb:
        assert kb.checkout()["pad"] == "dev"


def test_no_sound_snapshot_is_dropped_for_a_damaged_patch(tmp_path: Path) -> None:
    """Snapshots before and behind the damage are there after everything was tried."""
    path = tmp_path / "kb.db"
    furnish(path, snapshot=3)
    with Store.open(path) as kb:
        kb.snapshot()
    spoil(path, flip_body(4))
    for _ in range(2):
        assert readable(path) == [1, 2, 3, 7]
    with Store.open(path) as kb:
        assert [s.number for s in kb.backend.snapshots("main")] == [3, 7]


def test_a_version_that_equals_an_older_one_is_readable(tmp_path: Path) -> None:
    """What was restored is read from where it was first; a patch that brings all needs nothing before it."""
    path = tmp_path / "kb.db"
    with Store.create(path, {"n": 1}, clock=Ticks(), author="ann") as kb:
        kb.commit(patch=replacing("/n", 2))
        kb.commit(patch=[{"op": "add", "path": "/only", "value": 3}])
        kb.commit(patch=replacing("/n", 4))
        kb.restore("v2")
        kb.commit(patch=replacing("/n", 6))
        kb.commit(patch=replacing("", ["anew"]))
        kb.commit(patch=[{"op": "add", "path": "/-", "value": 8}])
    spoil(path, "UPDATE bodies SET body=x'00' WHERE id=3")
    sentence = "version v3 is damaged: its patch cannot be read; the documents of v3 to v4 cannot be read, v5 can"
    assert problems(path, readable=6) == [sentence]
    with Store.open(path) as kb:
        for seq, document in ((5, {"n": 2}), (6, {"n": 6}), (7, ["anew"]), (8, ["anew", 8])):
            assert kb.checkout(seq) == document
        with pytest.raises(DamagedVersion):
            kb.checkout(4)


@pytest.mark.parametrize(
    ("statement", "what", "lost"),
    [
        (
            "UPDATE records SET header=replace(header,'change 4','change X') WHERE id=4",
            "its header is not as it was",
            [],
        ),
        ("UPDATE records SET header='{}' WHERE id=4", "its header cannot be read", [4]),
        ("UPDATE records SET header=replace(header,'\"seq\":4','\"seq\":5') WHERE id=4", "its header is not as", [4]),
        ("DELETE FROM records WHERE id=4", "its header is missing", [4]),
    ],
)
def test_a_damaged_header_costs_its_own_version_alone(
    tmp_path: Path, statement: str, what: str, lost: list[int]
) -> None:
    """The patch behind it is sound, and the version after it proves so: only v4 itself is lost."""
    path = tmp_path / "kb.db"
    furnish(path)
    spoil(path, statement)
    (found,) = problems(path, readable=8 - len(lost))
    assert found.startswith(f"version v4 is damaged: {what}")
    assert found.endswith("; the document of v4 cannot be read, v5 can" if lost else "; its document can be read")
    assert readable(path) == [seq for seq in range(1, 8) if seq not in lost]


HEADERS = {
    "damaged": "UPDATE records SET header='{' WHERE id={n}",
    "binary": "UPDATE records SET header=7 WHERE id={n}",
    "missing": "DELETE FROM records WHERE id={n}",
}


@pytest.mark.parametrize(  # one that was cut off at the end leaves no trace
    ("kind", "seq"), [(kind, seq) for kind in HEADERS for seq in (1, 4, 7) if (kind, seq) != ("missing", 7)]
)
def test_log_names_a_damaged_header_in_its_place(tmp_path: Path, kind: str, seq: int) -> None:
    """All other versions are listed if somebody is told; else it raises."""
    path = tmp_path / "kb.db"
    furnish(path)
    spoil(path, HEADERS[kind].replace("{n}", str(seq)))
    with Store.open(path, read_only=True) as kb:
        with pytest.raises(DamagedVersion) as refused:
            list(kb.log())
        assert refused.value.seq == seq
        found: list[DamagedVersion] = []
        seqs = [version.seq for version in kb.log(since=START, until=START + timedelta(days=1), damaged=found.append)]
        assert seqs == [n for n in range(7, 0, -1) if n != seq]
        assert [fault.seq for fault in found] == [seq]


@pytest.mark.parametrize("seq", [1, 4, 7])
def test_a_changed_header_is_found_when_it_is_read(tmp_path: Path, seq: int) -> None:
    """No id, author or message is given out that was not committed, whichever way it is read."""
    path = tmp_path / "kb.db"
    furnish(path)
    message = "" if seq == 1 else f"change {seq}"
    spoil(path, f'UPDATE records SET header=replace(header,\'"message":"{message}\',\'"message":"X\') WHERE id={seq}')
    with Store.open(path) as kb, Store.create("memory:") as other:
        ways: list[Callable[[], object]] = [lambda: list(export_all(kb)), lambda: replicate(kb, other)]
        if seq < 7:
            ways += [lambda: kb.version(seq), lambda: list(kb.log()), lambda: list(kb.log(newest_first=False))]
        for way in ways:
            with pytest.raises(DamagedVersion, match=f"version v{seq} is damaged: its header is not as it was") as own:
                way()
            assert "kbstore salvage" in (own.value.hint or "")
        found: list[DamagedVersion] = []
        assert len(list(kb.log(damaged=found.append))) + len(found) == 7
        assert [fault.seq for fault in found] == ([seq] if seq < 7 else [])
        assert len(list(kb.log(limit=2))) == 2


def test_a_version_is_not_blamed_for_the_next_one(tmp_path: Path) -> None:
    """If a header names another version before it, that header is damaged."""
    path = tmp_path / "kb.db"
    furnish(path)
    with Store.open(path) as kb:
        ident = kb.version("v6").id
    spoil(path, f"UPDATE records SET header=replace(header,'{ident}','{'0' * 64}') WHERE id=7")
    with Store.open(path) as kb:
        assert kb.version("v6").id == ident
        with pytest.raises(DamagedVersion, match="version v7 is damaged"):
            list(kb.log())


def test_commands_compare_the_newest_header_with_what_the_project_remembers(tmp_path: Path) -> None:
    """No later version names it; commands that read end with 3, those that write do nothing."""
    desk = Desk(tmp_path / "desk")
    desk.write({"a": {"x": 1}})
    desk.ok("init", "kb.json", "-m", "first words")
    desk.ok("log")
    spoil(desk.folder / ".kbstore" / "kb.db", "UPDATE records SET header=replace(header,'words','wards') WHERE id=1")
    desk.write({"a": {"x": 2}})
    for command in (("log",), ("show", "HEAD"), ("export",), ("commit", "-m", "second"), ("clone", ".", "c.db")):
        told = desk.run(*command)
        assert (told.code, command) == (3, command)
        assert "version v1 is damaged: its header is not as it was written" in told.err
    told = desk.run("verify")
    assert (told.code, "older copy" in told.err) == (3, False)


def test_the_command_log_lists_what_can_be_read(tmp_path: Path) -> None:
    """It names what is damaged between the others, as text and as JSON, and ends with 3."""
    path = tmp_path / "kb.db"
    furnish(path)
    spoil(path, HEADERS["damaged"].replace("{n}", "4"))
    desk = Desk(tmp_path / "desk")
    told = desk.run("log", "--oneline", "--reverse", "--store", str(path))
    assert told.code == 3
    assert [line[:2] for line in told.lines] == [f"v{n}" for n in range(1, 8)]
    assert told.lines[3] == "v4 (damaged: its header cannot be read)"
    assert told.err.startswith("error: version v4 is damaged: its header cannot be read\n")
    lines = desk.run("log", "--json", "--store", str(path)).lines
    assert '"seq":4,"version":"v4","damaged":"its header cannot be read"}' in lines[3]


def test_gc_names_the_version_whose_patch_is_damaged(tmp_path: Path) -> None:
    """It says so after it packed what is before it and on other branches; nothing that can be read is lost."""
    path = tmp_path / "kb.db"
    furnish(path)
    spoil(path, flip_body(4))
    with Store.open(path) as kb:
        with pytest.raises(DamagedVersion) as refused:
            kb.gc()
        assert refused.value.seq == 4
    with closing(open_raw(path)) as connection:
        assert connection.execute("SELECT count(*) FROM body_packs").fetchone() == (2,)
        assert connection.execute("SELECT min(id) FROM bodies").fetchone() == (4,)
    assert readable(path) == [1, 2, 3]


def test_what_was_written_over_is_not_missed(tmp_path: Path) -> None:
    """Where a later patch replaced all that the lost one brought, the documents from there on prove themselves."""
    path = tmp_path / "kb.db"
    with Store.create(path, {"n": 1, "a": [1, 2, 3]}, clock=Ticks(), author="ann") as kb:
        kb.commit(patch=replacing("/n", 2))
        kb.commit(patch=replacing("/a/0", 3))
        kb.commit(patch=replacing("/n", 4))
        kb.commit(patch=replacing("/a/0", 5))
        kb.commit(patch=replacing("/n", 6))
    spoil(path, "UPDATE bodies SET body=x'00' WHERE id=3")
    sentence = "version v3 is damaged: its patch cannot be read; the documents of v3 to v4 cannot be read, v5 can"
    assert problems(path, readable=4) == [sentence]
    with Store.open(path) as kb:
        assert kb.checkout() == {"n": 6, "a": [5, 2, 3]}
        assert kb.commit({"n": 7, "a": []}).seq == 7


def test_a_damaged_long_value_is_named_by_its_version(tmp_path: Path) -> None:
    """What holds the value cannot be read; from the version on that replaces it, all can."""
    path = tmp_path / "kb.db"
    furnish(path)
    spoil(path, "UPDATE packs SET frame=zeroblob(length(frame)) WHERE id=(SELECT min(id) FROM packs WHERE tier=4)")
    with Store.open(path) as kb:
        report = kb.verify()
    named = [text for text in report.problems if text.startswith("version")]
    value = "a long value in its patch cannot be read"
    assert named == [f"version v3 is damaged: {value}; the documents of v3 to v5 cannot be read, v6 can"]
    assert readable(path) == [1, 2, 6, 7]


def test_damage_on_a_branch_names_the_branch(tmp_path: Path) -> None:
    """A version of a branch is told from that of the main one; one that starts behind damage can be read or not."""
    path = tmp_path / "kb.db"
    furnish(path)
    ident = (1 << 32) + 1
    with closing(open_raw(path)) as connection:
        (log,) = connection.execute("SELECT min(log) FROM records WHERE id>? AND log LIKE 'b%'", (1 << 31,)).fetchone()
        (ident,) = connection.execute("SELECT id FROM records WHERE log=?", (log,)).fetchone()
        connection.execute("UPDATE bodies SET body=x'00' WHERE id=?", (ident,))
        for sql in kbstore_triggers():
            connection.execute(sql)
    (sentence,) = problems(path, readable=7)
    assert sentence == (
        "version v6 of branch dev is damaged: its patch cannot be read; "
        "the document of v6 cannot be read, v6 is the newest"
    )


def test_a_damaged_pack_is_one_sentence(tmp_path: Path) -> None:
    """Versions in a row that are damaged alike are named together."""
    path = tmp_path / "kb.db"
    furnish(path, pack=True)
    spoil(path, "UPDATE body_packs SET frame=zeroblob(length(frame)) WHERE id<100")
    sentence, *branch = problems(path, readable=0)
    assert branch == DEV
    assert sentence == (
        "versions v1 to v7 are damaged, each alike: its patch cannot be read; "
        "the documents of v1 to v7 cannot be read, v7 is the newest"
    )


CLASSES = {
    "header": "UPDATE records SET header=replace(header,'ann','anX') WHERE id={}",
    "slot": "UPDATE records SET slot=slot+9 WHERE id={}",
    "size": "UPDATE records SET size=size+1 WHERE id={}",
    "digest": "UPDATE records SET digest=x'0011223344556677' WHERE id={}",
    "record": "DELETE FROM records WHERE id={}",
    "body": "UPDATE bodies SET body=x'5b5d' WHERE id={}",
    "body digest": "UPDATE bodies SET digest=x'0011223344556677' WHERE id={}",
    "no body": "DELETE FROM bodies WHERE id={}",
    "write id": "UPDATE writes SET write_id=x'00' WHERE id={}",
    "no write id": "DELETE FROM writes WHERE id={}",
}


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("seq", [1, 4, 7])
def test_every_class_of_damage_names_its_version(tmp_path: Path, kind: str, seq: int) -> None:
    """Whatever is changed of a record, verify names its version and no other, once, and reads what it says it reads."""
    path = tmp_path / "kb.db"
    furnish(path, snapshot=5)
    spoil(path, CLASSES[kind].format(seq))
    with Store.open(path) as kb:
        report = kb.verify()
    assert not report.ok
    assert no_numbers_of_rows(report)
    named = [text for text in report.problems if text.startswith("version")]
    if (kind, seq) != ("record", VERSIONS):  # what was cut off without a trace leaves only its body
        assert len(named) == 1
        assert named[0].startswith(f"version v{seq} is damaged: ")
    can = set(readable(path))
    lost = re.search(r"the documents? of v(\d+)(?: to v(\d+))? cannot", " ".join(named))
    said = range(int(lost[1]), int(lost[2] or lost[1]) + 1) if lost else range(0)
    if kind not in ("header", "record"):
        assert can == set(range(1, VERSIONS + 1)) - set(said)


def no_numbers_of_rows(report: Report) -> bool:
    """Whether a report speaks of versions and of changes of tags, not of how a store keeps them."""
    return not re.search(r"\brecord\b|\blog\b|ref event", "\n".join(report.problems + report.caches))


OF_TAGS = {
    "header": "UPDATE records SET header='{}' WHERE log='refs' AND number=1",
    "kind": "UPDATE records SET header=replace(header,'tag','tug') WHERE log='refs' AND number=1",
    "record": "DELETE FROM records WHERE log='refs' AND number=1",
    "chain": "UPDATE records SET header=replace(header,'\"parent\":\"','\"parent\":\"0') WHERE log='refs' AND number=2",
    "slot": "UPDATE records SET slot=slot+9 WHERE log='refs' AND number=1",
    "no write id": "DELETE FROM writes WHERE id=(SELECT id FROM records WHERE log='refs' AND number=1)",
}


@pytest.mark.parametrize("kind", OF_TAGS)
def test_a_damaged_change_of_tags_is_named_by_its_number(tmp_path: Path, kind: str) -> None:
    """Verify, and whoever reads tags, say which change it is; of a branch whose start is lost they speak as such."""
    path = tmp_path / "kb.db"
    furnish(path)
    spoil(path, OF_TAGS[kind])
    with Store.open(path) as kb:
        report = kb.verify()
        assert no_numbers_of_rows(report)
        assert any(re.search(r"^change [12] of tags and branches ", text) for text in report.problems)
        if kind not in ("slot", "no write id"):
            with pytest.raises(CorruptStore, match=r"^change [12] of tags and branches "):
                kb.tags()


def test_a_branch_whose_start_is_lost(tmp_path: Path) -> None:
    """Its versions have no name any more, and are counted."""
    path = tmp_path / "kb.db"
    furnish(path)
    spoil(
        path,
        "DELETE FROM records WHERE log='refs' AND number=2",
        "UPDATE bodies SET body=x'00' WHERE id IN (SELECT id FROM records WHERE log LIKE 'b%')",
    )
    with Store.open(path) as kb:
        report = kb.verify()
    assert no_numbers_of_rows(report)
    assert "the patch of version 1 of a branch whose start is lost is not as it was written" in report.problems


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE snapshots SET note=x'00'", "as it was written"),
        ("UPDATE packs SET frame=zeroblob(length(frame)) WHERE tier<4", "complete"),
    ],
)
def test_a_damaged_snapshot_is_named_by_its_version(tmp_path: Path, statement: str, fault: str) -> None:
    """A snapshot on a branch is named by the version there, not by a number in its log."""
    path = tmp_path / "kb.db"
    furnish(path, snapshot=5)
    with Store.open(path, branch="dev") as kb:
        kb.snapshot()
    spoil(path, statement)
    with Store.open(path) as kb:
        report = kb.verify()
    assert (report.ok, no_numbers_of_rows(report)) == (True, True)
    for name in ("v5", "v6 of branch dev"):
        assert any(text.startswith(f"the snapshot of {name} is not {fault}") for text in report.caches)


@pytest.mark.parametrize("change", [("2025", "2O25"), ('"format":1', '"format":7')])
def test_a_time_or_a_format_is_a_clause_of_its_version(tmp_path: Path, change: tuple[str, str]) -> None:
    """The sentence names the version once."""
    path = tmp_path / "kb.db"
    furnish(path)
    spoil(path, f"UPDATE records SET header=replace(header,'{change[0]}','{change[1]}') WHERE id=7")
    with Store.open(path) as kb:
        (sentence,) = [text for text in kb.verify().problems if "v7 is damaged" in text]
    assert sentence.startswith("version v7 is damaged: it")
    assert sentence.count("v7 is damaged") == 1


class WithoutChunk:
    """A backend that lost one chunk."""

    def __init__(self, backend: Backend, address: bytes) -> None:
        self._backend = backend
        self._address = address

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def get_chunks(self, addresses: Iterable[bytes], *, in_order: bool = False) -> Iterator[Found]:
        """All that are asked for but that one."""
        found = self._backend.get_chunks(addresses, in_order=in_order)
        return (one for one in found if one.address != self._address)


def test_a_long_value_that_lacks_a_part(location: str) -> None:
    """One lost leaf costs the documents that hold it and no other; every read of them ends, and says so."""
    with Store.create(location, {"n": 1}, clock=Ticks(), author="ann") as kb:
        kb.commit(patch=[{"op": "add", "path": "/big", "value": {f"k{n}": f"{n} " * 40 for n in range(900)}}])
        kb.commit(patch=replacing("/n", 3))
        kb.commit(patch=replacing("/big", 4))
        ((_, body),) = kb.backend.bodies("main", [2])
        root = Nodes(kb.backend).root(bytes.fromhex(kbstore.loads(body)[0]["value_node"]))
        assert root.node is not None
        leaf = next(iter(root.node.refs()))
        damaged = Store(WithoutChunk(kb.backend, leaf.address))  # type: ignore[arg-type]
        report = damaged.verify()
        value = "a long value in its patch cannot be read"
        assert report.problems == [
            f"version v2 is damaged: {value}; the documents of v2 to v3 cannot be read, v4 can",
        ]
        assert damaged.checkout(1) == {"n": 1}
        assert damaged.checkout() == {"n": 3, "big": 4}
        assert damaged.get("/n", at=3) == 3
        for seq in (2, 3):
            with pytest.raises(CorruptStore):
                damaged.checkout(seq)
