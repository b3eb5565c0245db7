"""Changes of tags, branches and settings that no kbstore makes: passed over with a note, and a problem for `verify`."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from kbstore import CorruptStore, KBStoreError, RevisionError, Store
from kbstore.backends.memory import MemoryBackend, MemoryStore
from kbstore.history import lineage
from kbstore.history import refs as module
from kbstore.history.refs import RefEvent, Refs, RefState
from kbstore.sync.jsonl import export_all, import_lines
from kbstore.sync.remote import clone_into
from tests.cases.security.forge import TIME, copied, ref, rewritten, sha
from tests.cases.security.support import acts

LOG = "b0123456789abcde"


@pytest.fixture
def plain(tmp_path: Path) -> tuple[Path, str]:
    """A store with two versions, and the id of the second."""
    with Store.create(tmp_path / "kb.db", {"n": 1}) as kb:
        kb.commit({"n": 2})
        return tmp_path / "kb.db", kb.head().id


def _forged(plain: tuple[Path, str], *records: bytes, **more: Any) -> Path:
    logs, _ = copied(plain[0])
    path = plain[0].with_name("forged.db")
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    return rewritten(path, logs | {"refs": [(record, b"") for record in records]} | more)


def _odd(ident: str) -> dict[str, bytes]:
    tag = {"kind": "tag", "name": "t", "target": ident, "version": 2}
    branch = {"kind": "branch", "name": "dev", "target": ident, "version": 2, "log": LOG}
    return {
        **{
            f"a tag named {name!r}": ref(**(tag | {"name": name}))
            for name in (
                "HEAD",
                "v1",
                "abcd",
                "..",
                "a b",
                "\x1b[2J",
                "",
                "x" * 200,
                "main",
                "a.lock",
                "@2025",
                "../../etc",
            )
        },
        **{f"a branch named {name!r}": ref(**(branch | {"name": name})) for name in ("HEAD", "v1", "a\nb", "main", "")},
        "a tag of no version": ref(**(tag | {"version": 7})),
        "a tag of version 0": ref(**(tag | {"version": 0})),
        "a tag of a version below": ref(**(tag | {"version": -1})),
        "a tag of another version": ref(**(tag | {"version": 1})),
        "a tag whose target is no id": ref(**(tag | {"target": "zz"})),
        "a tag on a branch that is not there": ref(**(tag | {"branch": "nope"})),
        "a tag with a log": ref(**(tag | {"log": LOG})),
        "a tag with a value": ref(**(tag | {"value": ["x"]})),
        "a tag of another time": ref(**(tag | {"time": "yesterday"})),
        "a tag of another form of time": ref(**(tag | {"time": "2026-01-01T00:00:00Z"})),
        "a branch that starts from itself": ref(**(branch | {"branch": "dev"})),
        "a branch without a log": ref(kind="branch", name="dev", target=ident, version=2),
        "a branch on the main log": ref(**(branch | {"log": "main"})),
        "a branch on the log of refs": ref(**(branch | {"log": "refs"})),
        "a branch of nothing": ref(kind="branch", name="dev", log=LOG),
        "another kind": ref(kind="note", name="t"),
        "an unknown setting": ref(kind="setting", name="x", value=["y"]),
        "a setting with a version": ref(kind="setting", name="collection", value=["/a"], target=ident, version=2),
        "a setting of two pointers": ref(kind="setting", name="collection", value=["/a", "/b"]),
        "an identity of nothing": ref(kind="setting", name="identity:/a", value=[]),
        "a pointer that is none": ref(kind="setting", name="identity:a", value=["id"]),
        "an origin that is no id": ref(**(tag | {"origin": "main"})),
        "another format": ref(**(tag | {"format": 2})),
        "blanks": ref(**tag).replace(b":", b": "),
        "a member more": ref(**(tag | {"more": 1})),
        "a member twice": ref(**tag)[:-1] + b',"version":2}',
        "no change at all": b"[]",
        "bytes": b"\xff",
    }


ODD = (
    "change [01] of tags and branches is (damaged|of an unknown kind)|'nothing' cannot identify elements|"
    "there is no setting 'x'|a collection is one pointer|the pointer 'a' does not start with a slash"
)
NOWHERE = "names no version|the branch 'dev' is not there"


def test_an_odd_change_is_passed_over_everywhere(tmp_path: Path, plain: tuple[Path, str]) -> None:
    """Versions are read, tags and branches listed without it; `verify` names it; no entrance of a store takes it."""
    good = {"kind": "tag", "name": "good", "target": plain[1], "version": 2}
    for name, record in _odd(plain[1]).items():
        path = _forged(plain, record, ref(2, sha(record), **good))
        with Store.open(path, read_only=True) as kb:
            assert [v.seq for v in kb.log()] == [2, 1], name
            assert kb.checkout() == {"n": 2}, name
            assert (list(kb.tags()), kb.branches()) == (["good"], ["main"]), name
            report = kb.verify()
            assert len(report.problems) == 1, (name, report.problems)
            with pytest.raises(KBStoreError, match=f"cannot take the history of|others kept committing to|{ODD}"):
                clone_into(kb, str(tmp_path / "clone.db"))
            with Store.create("memory:") as other:
                try:
                    import_lines(other, export_all(kb))
                except (KBStoreError, ValueError):
                    pass
                assert other.verify().ok, name
                assert set(other.tags()) <= {"good"}, name
        refused = pytest.raises(KBStoreError, match=f"names the version .*, which is not here|{NOWHERE}|{ODD}")
        with Store.create("memory:", {"n": 1}) as other, refused:
            other.graft_ref(record)
        (tmp_path / "clone.db").unlink(missing_ok=True)


def test_commands_list_the_rest_with_a_note(tmp_path: Path, plain: tuple[Path, str]) -> None:
    """A tag with an impossible name does not make a command fail for ever; each list says what it passed over."""
    record = ref(kind="tag", name="v1", target=plain[1], version=2)
    _forged(plain, record, ref(2, sha(record), kind="tag", name="good", target="0" * 64, version=2))
    commands = [
        ["--store", "forged.db", *command] for command in (["log"], ["tag"], ["branch"], ["tag", "new"], ["log"])
    ]
    found = acts(tmp_path, commands)
    assert [act.code for act in found] == [0] * 5, found
    for act in found[:3]:
        assert "warning: change 1" in act.told, act
    assert "'good'" in found[0].told


def test_the_log_of_refs_can_be_pinned(plain: tuple[Path, str]) -> None:
    """The id of the newest change is in the report; a rewritten or shortened log does not contain it."""
    with Store.open(plain[0]) as kb:
        kb.tag("one", "v1")
        noted = kb.verify().refs_head
        kb.tag("two", "v2")
        report = kb.verify(refs_head=noted[:16])
        assert (report.ok, report.refs_pinned, len(report.refs_head)) == (True, True, 64)
        assert report.refs_head != noted
    path = _forged(plain, ref(kind="tag", name="one", target=plain[1], version=2, time=TIME))
    with Store.open(path, read_only=True) as kb:
        report = kb.verify(refs_head=noted)
        assert (report.ok, report.refs_pinned) == (False, False)
        assert (report.problems, noted in report.missing) == ([], True)


def test_branches_of_branches_cost_their_number(plain: tuple[Path, str]) -> None:
    """A line through a thousand branches, each started from the one before, is found without recursion."""
    records: list[bytes] = []
    for n in range(1500):
        made = {"kind": "branch", "name": f"n{n}", "target": plain[1], "version": 2, "log": f"b{n:015}"}
        more = {"branch": f"n{n - 1}"} if n else {}
        records.append(ref(n + 1, sha(records[-1]) if records else None, **(made | more)))
    with Store.open(_forged(plain, *records), read_only=True, branch="n1499") as kb:
        assert kb.checkout() == {"n": 2}
        assert len(Refs(kb.backend).segments("n1499")) == 2
        assert len(kb.branches()) == 1501


COUNT = 1500
SHAPES: dict[str, Callable[[int], tuple[int, int]]] = {
    "in a row": lambda n: (n - 1, n + 1),
    "from the tip": lambda n: (n - 1, n + 1) if n < COUNT // 2 else (COUNT // 2 - 1, n * 7919 % (COUNT // 2) + 1),
    "all over": lambda n: (n - 1, n * 7919 % COUNT + 1),
}
"""For the n-th branch the number of the one that it was started from (-1: main), and the version."""


@pytest.mark.parametrize("shape", SHAPES)
def test_the_place_of_a_version_costs_few_steps(shape: str) -> None:
    """However branches were started from one another, none is walked back to the first version."""
    branches = {}
    for n in range(COUNT):
        origin, version = SHAPES[shape](n)
        before = f"n{origin}" if origin >= 0 else "main"
        branches[f"n{n}"] = RefEvent("branch", f"n{n}", n + 1, TIME, "eve", version=version, branch=before, log=f"b{n}")

    def steps(frame: FrameType, event: str, _: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return steps if frame.f_code.co_filename == lineage.__file__ else None

    lines, before_it = 0, sys.gettrace()
    sys.settrace(steps)
    try:
        known = lineage.Lineage(branches)
        found = {name: (known.start(name), known.place(name, 1)) for name in known}
    finally:
        sys.settrace(before_it)
    assert lines < 150 * COUNT, lines
    refs = Refs(MemoryBackend(MemoryStore()), RefState(branches=branches))
    assert list(known) == ["main", *branches]
    for name in [f"n{n}" for n in range(0, COUNT, 37)]:
        *_, before_own, own = refs.segments(name)
        assert found[name] == ((before_own.log, own.offset - before_own.offset), ("main", 1))


def test_verify_of_branches_in_a_row_walks_no_line(plain: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A line is put together for the open branch alone, however many there are."""
    records: list[bytes] = []
    for n in range(300):
        made = {"kind": "branch", "name": f"n{n}", "target": plain[1], "version": 2, "log": f"b{n:015}"}
        more = {"branch": f"n{n - 1}"} if n else {}
        records.append(ref(n + 1, sha(records[-1]) if records else None, **(made | more)))
    walked = []
    walk = Refs.segments
    with Store.open(_forged(plain, *records), read_only=True, branch="n299") as kb:
        monkeypatch.setattr(Refs, "segments", lambda refs, branch: walked.append(branch) or walk(refs, branch))
        report = kb.verify(head=plain[1])
    assert (report.ok, report.pinned) == (True, True)
    assert len(walked) < 3


def test_own_changes_pass_the_same_check(plain: tuple[Path, str]) -> None:
    """What a store would not read it does not write."""
    with Store.open(plain[0]) as kb:
        with pytest.raises(CorruptStore, match="not here"):
            kb.graft_ref(ref(kind="tag", name="t", target="0" * 64, version=1))
        kb.create_branch("dev")
        with pytest.raises(RevisionError):
            kb.create_branch("dev")
        kb.tag("t", "v1")
        kb.untag("t")
        kb.set("collection", ["/n"])
        kb.set("collection", None)
        assert kb.verify().ok
        assert kb.tags() == {}
        assert kb.odd_refs == ()


def test_many_branches_are_read_once(plain: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each change of tags and branches is decoded a few times by an export, an import and a clone."""
    count = 60
    with Store.open(plain[0]) as kb:
        for n in range(count):
            kb.create_branch(f"n{n}", "v1")
    decoded, decode = 0, module.decode_ref

    def counted(header: bytes, number: int) -> RefEvent:
        nonlocal decoded
        decoded += 1
        return decode(header, number)

    monkeypatch.setattr(module, "decode_ref", counted)
    with Store.open(plain[0], read_only=True) as kb:
        lines = list(export_all(kb))
        assert decoded <= 2 * count
        clone_into(kb, "memory:")
        assert decoded <= 8 * count
    with Store.create("memory:") as kb:
        decoded = 0
        assert import_lines(kb, lines).refs == count
        assert decoded <= 4 * count
