"""A head that was noted elsewhere: `verify --head` says that it is in the history only if what is read builds on it."""

from pathlib import Path

import pytest

from kbstore import KBStoreError, Store
from kbstore.jsondoc.canonical import encode
from kbstore.sync.jsonl import export_all, import_lines
from kbstore.sync.remote import replicate
from kbstore.verify.verify import Report
from tests.cases.security.forge import TIME, copied, event, ref, rewritten

FORGED = b'[{"op":"replace","path":"/p/a/price","value":1000000}]'


def _verified(path: Path, head: str, branch: str = "main") -> Report:
    with Store.open(path, read_only=True, branch=branch) as kb:
        return kb.verify(head)


@pytest.fixture
def true(tmp_path: Path) -> tuple[Path, str, str]:
    """A store in which the price became 2, and the ids of its two versions."""
    path = tmp_path / "true.db"
    with Store.create(path, {"p": {"a": {"price": 1}}}, author="ana") as kb:
        first = kb.head().id
        second = kb.commit(patch=[{"op": "replace", "path": "/p/a/price", "value": 2}], message="true").id
    return path, first, second


def _forged(tmp_path: Path, true: tuple[Path, str, str], *more: str) -> Path:
    """The main branch says 1000000 in v2; the true v2 is on a branch."""
    path, first, _ = true
    with Store.create("memory:", {"p": {"a": {"price": 1000000}}}) as kb:
        state = kb.head().state
    logs, _ = copied(path)
    (one, two) = logs["main"]
    header = event(FORGED, state, seq=2, parents=[first, *more], time=TIME.replace("2025", "2036"))
    branch = ref(kind="branch", name="wip", target=first, version=1, log="b0123456789abcde")
    return rewritten(
        tmp_path / "forged.db", {"main": [one, (header, FORGED)], "refs": [(branch, b"")], "b0123456789abcde": [two]}
    )


def test_a_pinned_head_on_another_branch_is_not_in_the_history(tmp_path: Path, true: tuple[Path, str, str]) -> None:
    """Case 01: main was rewritten, so the id is not in its history, and the report says on which branch it is."""
    path = _forged(tmp_path, true)
    pinned = true[2]
    report = _verified(path, pinned)
    assert not report.ok
    assert not report.pinned
    assert report.pinned_id == ""
    assert (report.problems, report.elsewhere) == ([], "wip")
    assert f"{pinned} is v2 of branch wip" in report.missing
    found = _verified(path, pinned, "wip")
    assert (found.ok, found.pinned, found.pinned_id, found.behind) == (True, True, pinned, 0)


def test_a_pinned_head_is_expanded_and_its_distance_is_counted(true: tuple[Path, str, str]) -> None:
    """A prefix of 16 digits is shown whole, whatever its case, with how many versions came after it."""
    path, first, second = true
    report = _verified(path, first[:16].upper())
    assert (report.ok, report.pinned_id, report.behind) == (True, first, 1)
    assert _verified(path, second).behind == 0
    assert not _verified(path, first[:15]).ok
    assert not _verified(path, first[:63] + ("0" if first[63] != "0" else "1")).ok


def test_a_pinned_head_is_found_through_a_second_parent(tmp_path: Path, true: tuple[Path, str, str]) -> None:
    """What a version merged is in its history, and said to be merged; what is named and not there is not."""
    path = _forged(tmp_path, true, true[2])
    report = _verified(path, true[2])
    assert (report.pinned, report.pinned_id, report.behind, report.merged) == (True, true[2], 1, True)
    assert not _verified(path, true[1]).merged
    missing = "e" * 64
    (tmp_path / "other").mkdir()
    report = _verified(_forged(tmp_path / "other", true, missing), missing)
    assert not report.pinned
    assert f"v2 merges the version {missing[:12]}, which is not in this store" in report.problems


def test_a_merge_of_what_is_nowhere_is_not_taken_in(tmp_path: Path, true: tuple[Path, str, str]) -> None:
    """By import, with the line, and by clone; one of a version that is here is taken."""
    with Store.open(_forged(tmp_path, true, "e" * 64)) as kb:
        lines = list(export_all(kb))
        with Store.create("memory:", author="b") as copy:
            with pytest.raises(KBStoreError, match="line 2 merges the version eeeeeeeeeeee, which is not here"):
                import_lines(copy, lines)
            with pytest.raises(KBStoreError, match="v2 merges the version eeeeeeeeeeee"):
                replicate(kb, copy)
            assert copy.head().seq == 0
    (tmp_path / "other").mkdir()
    with Store.open(_forged(tmp_path / "other", true, true[1])) as kb, Store.create("memory:", author="b") as copy:
        assert replicate(kb, copy, accept_future=True).versions == 3


def test_verify_survives_every_event(tmp_path: Path, true: tuple[Path, str, str]) -> None:
    """Whatever one event holds is a finding about it; the versions around it and the rest of the store are checked."""
    path, first, second = true
    logs, _ = copied(path)
    bodies = [
        b'[{"op":"foo","path":""}]', b'[{"op":"move","path":"/p"}]', b'[{"op":"copy","path":"/p"}]', b"[null]", b"7",
        b'[{"op":"add","path":"","value_node":"00"}]', b'[{"op":"add","path":"p","value":1}]', b"[]", b"\xff",
        b'[{"op":"add","path":"/p/a/x","value":' + b"[" * 3000 + b"]" * 3000 + b"}]", b'[{"op":"test","path":""}]',
        b'[{"op":"add","path":"/p/-","value":1e999}]', b'[{"op":"add","path":"/x"}]', b'[{"op":"remove","path":""}]',
    ]  # fmt: skip
    headers = [encode({"order": "zz"}), b"\xff", b"null", b"{}"]
    for n, (header, body) in enumerate([*((None, body) for body in bodies), *((header, b"[]") for header in headers)]):
        bad = header or event(body, "0" * 64, seq=3, parents=[second], time="2036-01-01T00:00:00.000000Z")
        forged = rewritten(tmp_path / f"{n}.db", {"main": [*logs["main"], (bad, body)]})
        report = _verified(forged, first)
        assert (report.versions, report.readable) == (3, 2), (header, body)
        assert any("v3" in problem for problem in report.problems), (header, body, report)
