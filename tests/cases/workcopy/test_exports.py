"""Cases of histories that move as JSON lines: beside writers, twice, overlapping, empty."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kbstore import KBStoreError, Store
from kbstore.sync.jsonl import export_all, import_lines
from kbstore.sync.remote import replicate
from tests.cases.support import Desk
from tests.store.support import Ticks


def test_an_export_beside_commits_and_tags_is_one_beginning(tmp_path: Path) -> None:
    """Case 07: whenever somebody commits, tags and starts a branch while it is read, it imports as it was or later."""
    for paused in range(6):
        with (
            Store.create(tmp_path / f"{paused}.db", {"n": 1}, author="a") as kb,
            Store.open(tmp_path / f"{paused}.db", author="b") as other,
            Store.create("memory:") as copy,
        ):
            kb.commit({"n": 2})
            kb.tag("before", "v2")
            kb.create_branch("side", "v1")
            with Store.open(tmp_path / f"{paused}.db", branch="side", author="c") as side:
                side.commit(patch=[{"op": "replace", "path": "/n", "value": -1}])
                export = export_all(kb)
                given = [line for _, line in zip(range(paused), export, strict=False)]
                other.commit(patch=[{"op": "replace", "path": "/n", "value": 3}])
                other.tag("meanwhile", "v3")
                other.create_branch("late", "v3")
                side.commit(patch=[{"op": "replace", "path": "/n", "value": -2}])
                side.tag("on-side", "HEAD")
                given.extend(export)
            import_lines(copy, given)
            assert len(given) >= max(paused, 5)
            assert copy.verify().ok
            assert copy.head().id in {version.id for version in kb.log()}
            assert copy.version("before").seq == 2
            assert Store(copy.backend, branch="side").version("v2").parents == (copy.version("v1").id,)


def _lines_of_eight(tmp_path: Path) -> tuple[list[bytes], list[bytes]]:
    """All lines of a store of eight versions with two branches and a tag, and those of a copy of its first half."""
    with Store.create(tmp_path / "whole.db", {"n": 0}, author="a") as kb, Store.create("memory:") as half:
        for n in (1, 2, 3):
            kb.commit({"n": n})
        kb.create_branch("side", "v2")
        kb.tag("stable", "v3")
        with Store.open(tmp_path / "whole.db", branch="side", author="b") as side:
            side.commit({"n": -1})
            import_lines(half, list(export_all(kb)))
            side.commit({"n": -2})
        for n in (4, 5):
            kb.commit({"n": n})
        kb.tag("stable", "v5", force=True)
        return list(export_all(kb)), list(export_all(half))


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_overlapping_exports_in_one_file_are_as_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """Case 23: an event that came in before, in this batch or another, is passed over."""
    monkeypatch.setattr("kbstore.sync.jsonl._BATCH_EVENTS", batch)
    whole, half = _lines_of_eight(tmp_path)
    for lines in (half + whole, whole + half, [line for line in whole for _ in (1, 2)], whole[:2] + whole[:3] + whole):
        with Store.create("memory:") as copy:
            done = import_lines(copy, lines)
            assert list(export_all(copy)) == whole
            assert done.versions == 8
            assert done.versions + done.known == sum(b'"event"' in line for line in lines)


def test_another_event_in_the_place_of_one_is_refused(tmp_path: Path) -> None:
    """In one file as in two: the line is named, and the histories have diverged."""
    with Store.create("memory:", {"n": 0}, author="a") as one, Store.create("memory:", {"n": 0}, author="b") as other:
        one.commit({"n": 1})
        lines = [*export_all(one), *export_all(other)]
    with Store.create("memory:") as copy, pytest.raises(KBStoreError, match=r"line 3 is v1 .*diverged") as caught:
        import_lines(copy, lines)
    assert getattr(caught.value, "line", 0) == 3


@pytest.mark.parametrize("text", ["", "\n\n  \n", '{"event": {}, "id": "", "patch": null}\n{"document": 1}\n'])
def test_an_import_of_nothing_starts_no_store(tmp_path: Path, text: str) -> None:
    """Case 21: it is refused if there is no store; into one that is there it adds nothing."""
    desk = Desk(tmp_path / "a")
    (desk.folder / "lines.jsonl").write_text(text)
    for place in ((), ("--store", "new.db")):
        for source in ("lines.jsonl", "-"):
            ended = desk.run("import", source, *place, stdin=text)
            assert ended.code == 3
            assert "so no store was started" in ended.err
    assert [path.name for path in desk.folder.iterdir()] == ["lines.jsonl"]
    desk.write({"n": 1})
    desk.ok("init", "kb.json")
    assert desk.ok("import", "lines.jsonl").lines[0].startswith("0 versions imported; the newest is v1_")


FUTURE = datetime(9998, 12, 31, 23, 59, 59, tzinfo=UTC)


def test_an_event_of_the_far_future_is_taken_only_if_it_is_accepted(tmp_path: Path) -> None:
    """Case 15: by import, clone, push and pull; a clock that is wrong by some hours is no reason to refuse."""
    with (
        Store.create(tmp_path / "far.db", {"n": 1}, author="a", clock=Ticks(FUTURE, timedelta(0))) as far,
        Store.create(
            tmp_path / "near.db", {"n": 1}, author="a", clock=Ticks(datetime.now(UTC) + timedelta(hours=23))
        ) as near,
    ):
        lines = list(export_all(far))
        with Store.create(tmp_path / "one.db", author="b") as copy:
            with pytest.raises(KBStoreError, match="line 1 is dated 9998-12-31T") as caught:
                import_lines(copy, lines)
            assert "--accept-future" in (caught.value.hint or "")
            with pytest.raises(KBStoreError, match="v1 is dated 9998"):
                replicate(far, copy)
            assert copy.head().seq == 0
            assert import_lines(copy, lines, accept_future=True).versions == 1
            copy.commit({"n": 2})
            report = copy.verify()
            assert report.ok
            (note,) = report.notes
            assert note.startswith("v1 is dated 9998-12-31T23:59:59.000000Z, more than a day ahead")
        with Store.create(tmp_path / "two.db", author="b") as copy:
            assert replicate(far, copy, accept_future=True).versions == 1
        with Store.create(tmp_path / "three.db", author="b") as copy:
            assert replicate(near, copy).versions == 1
            assert copy.verify().notes == []


def test_a_document_of_the_far_future_is_taken_only_if_it_is_accepted() -> None:
    """Its version then has the time of now, so that later ones do not get that of the document."""
    lines = [b'{"document": {"n": 1}, "time": "9998-12-31T23:59:59Z"}']
    near = (datetime.now(UTC) + timedelta(hours=23)).isoformat()
    with Store.create("memory:", author="a") as kb:
        with pytest.raises(KBStoreError, match="line 1 is dated 9998-12-31T") as caught:
            import_lines(kb, lines)
        assert "--accept-future" in (caught.value.hint or "")
        assert kb.head().seq == 0
        assert import_lines(kb, lines, accept_future=True).versions == 1
        assert kb.head().authored == datetime(9998, 12, 31, 23, 59, 59, tzinfo=UTC)
        assert kb.head().time < datetime.now(UTC) + timedelta(hours=1)
        assert import_lines(kb, [b'{"document": {"n": 2}, "time": "%s"}' % near.encode()]).versions == 1
        assert kb.verify().notes == []


def test_the_option_reaches_every_command_that_takes_versions(tmp_path: Path) -> None:
    """Refused without it and taken with it."""
    Store.create(tmp_path / "far.db", {"n": 1}, author="a", clock=Ticks(FUTURE, timedelta(0))).close()
    Store.create(tmp_path / "to.db", author="b").close()
    desk = Desk(tmp_path)
    desk.ok("export", "--store", "far.db", "-o", "lines.jsonl")
    for command in (
        ["import", "lines.jsonl", "--store", "in.db"],
        ["clone", "far.db", "c.db"],
        ["push", "to.db", "--store", "far.db"],
    ):
        ended = desk.run(*command)
        assert ended.code == 3
        assert "--accept-future" in ended.err
        desk.ok(*command, "--accept-future")
    Store.create(tmp_path / "here.db", author="b").close()
    assert desk.run("pull", "far.db", "--store", "here.db").code == 3
    desk.ok("pull", "far.db", "--store", "here.db", "--accept-future")
