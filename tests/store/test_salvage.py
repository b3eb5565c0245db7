"""What `salvage` writes of a damaged store is proved, is all that can be, and comes into a new store again."""

import errno
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import kbstore
from kbstore import Store
from kbstore.errors import KBStoreError
from kbstore.history.reader import root_of
from kbstore.sync.jsonl import export_all, import_lines
from kbstore.verify.salvage import Salvaged, salvage
from tests.store.test_damaged_versions import CLASSES, VERSIONS, flip_body, furnish, readable, spoil


def rescued(path: Path, folder: Path) -> tuple[Salvaged, list[dict[str, Any]]]:
    """Salvage a store; returns what was done and the lines."""
    with Store.open(path, read_only=True) as kb:
        done = salvage(kb, folder)
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    report = json.loads((folder / "report.json").read_text())
    assert report["problems"] == done.report.problems
    assert (report["events"], report["documents"]) == (done.events, done.documents)
    return done, lines


def proves_itself(folder: Path) -> set[str]:
    """Make sure that every line matches its id and every document its state; returns the documents' names."""
    states = {}
    for line in (folder / "events.jsonl").read_text().splitlines():
        value = json.loads(line)
        header = value.get("event") or value["ref"]
        assert sha256(kbstore.dumps(header)).hexdigest() == value["id"]
        if "event" in value:
            states[f"{value.get('branch', 'main')}/v{header['seq']}.json"] = header["state"]
    found = {str(file.relative_to(folder / "documents")) for file in (folder / "documents").rglob("*.json")}
    for name in found & states.keys():
        document = json.loads((folder / "documents" / name).read_text())
        assert root_of(document).address.hex() == states[name], name
    return found


def test_a_whole_store_is_salvaged_as_it_is_exported(tmp_path: Path) -> None:
    """Nothing is damaged: the lines are those of `export`, and every document is there."""
    path = tmp_path / "kb.db"
    furnish(path)
    done, _ = rescued(path, tmp_path / "out")
    with Store.open(path) as kb:
        assert (tmp_path / "out" / "events.jsonl").read_bytes() == b"".join(export_all(kb))
    assert (done.events, done.patches, done.documents, done.refs) == (8, 8, 8, 2)
    assert done.report.ok
    assert proves_itself(tmp_path / "out") == {*(f"main/v{n}.json" for n in range(1, 8)), "dev/v6.json"}


def test_a_lost_patch_is_null(tmp_path: Path) -> None:
    """The event is proved without it; documents behind it as far as a snapshot leads."""
    path = tmp_path / "kb.db"
    furnish(path, snapshot=5)
    spoil(path, flip_body(4))
    done, lines = rescued(path, tmp_path / "out")
    events = [line for line in lines if "event" in line]
    assert [line["event"]["seq"] for line in events if line["patch"] is None] == [4]
    assert not any("lost" in line for line in lines)
    assert (done.events, done.patches, done.documents) == (8, 7, 7)
    assert proves_itself(tmp_path / "out") >= {f"main/v{n}.json" for n in (1, 2, 3, 5, 6, 7)}


def test_a_lost_event_is_counted_at_the_next(tmp_path: Path) -> None:
    """A header that is not what its id was made of is left out, and the line behind it says so."""
    path = tmp_path / "kb.db"
    furnish(path)
    spoil(path, "UPDATE records SET header='{}' WHERE id IN (3, 4)")
    _, lines = rescued(path, tmp_path / "out")
    main = [line for line in lines if "event" in line and "branch" not in line]
    assert [line["event"]["seq"] for line in main] == [1, 2, 5, 6, 7]
    assert [line.get("lost") for line in main] == [None, None, 2, None, None]
    assert proves_itself(tmp_path / "out")


@pytest.mark.parametrize("statement", [flip_body(4), "UPDATE records SET header='{}' WHERE id=4"])
def test_import_takes_the_sound_prefix(tmp_path: Path, statement: str) -> None:
    """The versions before the first lost one, with their ids; it says where it stopped and what it left out."""
    path = tmp_path / "kb.db"
    furnish(path)
    spoil(path, statement)
    _, lines = rescued(path, tmp_path / "out")
    with Store.create(tmp_path / "new.db") as kb, (tmp_path / "out" / "events.jsonl").open("rb") as file:
        done = import_lines(kb, file)
        assert (done.versions, done.refs, done.stopped_at, done.left_out) == (3, 1, 4, len(lines) - 4)
        assert done.notes == ("the branch 'dev' was left out: v5 of main, which it names, is lost",)
        assert {name: version.seq for name, version in kb.tags().items()} == {"early": 2}
        assert kb.head().id == lines[2]["id"]
        assert kb.verify().ok
        document = json.loads((tmp_path / "out" / "documents" / "main" / "v3.json").read_text())
        assert kb.checkout() == document
        with (tmp_path / "out" / "events.jsonl").open("rb") as again:
            repeated = import_lines(kb, again)
            assert (repeated.known, repeated.refs) == (3, 0)


def test_what_a_sound_version_carries_comes_in(tmp_path: Path) -> None:
    """Of a store whose v6 is lost: a setting, and a branch of v5 with its own version."""
    path = tmp_path / "kb.db"
    furnish(path)
    with Store.open(path) as kb:
        kb.set("collection", ["/n"])
    spoil(path, flip_body(6))
    rescued(path, tmp_path / "out")
    with Store.create(tmp_path / "new.db") as kb, (tmp_path / "out" / "events.jsonl").open("rb") as file:
        done = import_lines(kb, file)
        assert (done.versions, done.refs, done.left_out, done.notes) == (6, 3, 2, ())
        assert kb.verify().ok
    with Store.open(tmp_path / "new.db", branch="dev") as kb:
        assert kb.checkout()["pad"] == "dev"


def test_a_lost_change_of_tags_is_left_out(tmp_path: Path) -> None:
    """A damaged tag costs its name alone; the branch that follows it is there."""
    path = tmp_path / "kb.db"
    furnish(path)
    spoil(path, "UPDATE records SET header=replace(header,'early','earlY') WHERE log='refs'")
    done, lines = rescued(path, tmp_path / "out")
    assert [line["ref"]["name"] for line in lines if "ref" in line] == ["dev"]
    assert done.refs == 1
    assert len([line for line in lines if line.get("branch") == "dev"]) == 1
    assert "change 1 of tags and branches is not as it was written" in done.report.problems
    assert proves_itself(tmp_path / "out")


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("seq", [1, 4, VERSIONS])
def test_every_class_of_damage_leaves_what_is_proved(tmp_path: Path, kind: str, seq: int) -> None:
    """Whatever is changed of a record: each line and document proves itself, and what can be read is there."""
    path = tmp_path / "kb.db"
    furnish(path, snapshot=5)
    spoil(path, CLASSES[kind].format(seq))
    done, lines = rescued(path, tmp_path / "out")
    written = proves_itself(tmp_path / "out")
    assert {f"main/v{n}.json" for n in readable(path)} <= written
    assert {line["event"]["seq"] for line in lines if "event" in line} >= set(range(1, VERSIONS + 1)) - {seq}
    assert done.events >= VERSIONS


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    """Nothing is written over."""
    path = tmp_path / "kb.db"
    furnish(path)
    with Store.open(path) as kb, pytest.raises(KBStoreError, match="there is something in"):
        salvage(kb, tmp_path)


def test_a_disk_that_fills_up_is_named_with_a_way_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written stays, so the same folder is not taken again."""
    path = tmp_path / "kb.db"
    furnish(path)

    def write(*_: object, **__: object) -> None:
        (tmp_path / "out" / "documents").mkdir()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("kbstore.verify.salvage.verify_store", write)
    with Store.open(path) as kb, pytest.raises(KBStoreError, match="No space left on device") as refused:
        salvage(kb, tmp_path / "out")
    told = f"salvage takes a new folder, and what it has written stays in {tmp_path / 'out'}"
    assert refused.value.hint == f"free disk space, then try again; {told}"


def test_documents_may_be_left_out(tmp_path: Path) -> None:
    """Of a large store the events alone take little room."""
    path = tmp_path / "kb.db"
    furnish(path)
    with Store.open(path) as kb:
        assert salvage(kb, tmp_path / "out", documents=False).documents == 0
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["events.jsonl", "report.json"]


def test_the_order_of_members_is_salvaged(tmp_path: Path) -> None:
    """Documents have their members as their author wrote them, and the lines carry the order to a new store."""
    path = tmp_path / "kb.db"
    with Store.create(path, {"title": 1, "a": {"z": 1, "b": 2}}, author="ann") as kb:
        kb.commit({"title": 2, "a": {"z": 1, "b": 2}, "Z": 3})
        kb.commit(patch=[{"op": "replace", "path": "/title", "value": 3}])
    spoil(path, "UPDATE bodies SET body=x'00' WHERE id=3")
    rescued(path, tmp_path / "out")
    document = json.loads((tmp_path / "out" / "documents" / "main" / "v2.json").read_text())
    assert json.dumps(document) == json.dumps({"title": 2, "a": {"z": 1, "b": 2}, "Z": 3})
    with Store.create(tmp_path / "new.db") as kb, (tmp_path / "out" / "events.jsonl").open("rb") as file:
        assert import_lines(kb, file).versions == 2
        assert json.dumps(kb.checkout()) == json.dumps(document)


def test_a_lost_order_costs_the_order_alone(tmp_path: Path) -> None:
    """The version that set it is named, its document is read in canonical order; import stops before it."""
    path = tmp_path / "kb.db"
    with Store.create(path, {"b": 1}, author="ann") as kb:
        kb.commit({"z": 1, "b": 2, "a": 3})
    spoil(path, "UPDATE packs SET frame=zeroblob(length(frame)) WHERE tier=4")
    done, lines = rescued(path, tmp_path / "out")
    named = [text for text in done.report.problems if text.startswith("version")]
    assert named == ["version v2 is damaged: the order of its members cannot be read; its document can be read"]
    assert (lines[1]["order"], lines[1]["patch"] is None) == (None, False)
    assert json.loads((tmp_path / "out" / "documents" / "main" / "v2.json").read_text()) == {"z": 1, "b": 2, "a": 3}
    with Store.create(tmp_path / "new.db") as kb, (tmp_path / "out" / "events.jsonl").open("rb") as file:
        assert import_lines(kb, file).versions == 1
