"""An older backup and the rest of a damaged store together give every version that one of both has."""

import json
from pathlib import Path

import pytest

from kbstore import Store
from kbstore.errors import ConflictError, CorruptStore, DamagedVersion
from kbstore.sync.backup import backup_store, restore_backup
from kbstore.sync.jsonl import export_events, import_lines
from kbstore.sync.remote import replicate
from kbstore.verify.salvage import salvage
from tests.store.test_damaged_versions import VERSIONS, flip_body, furnish, spoil

AT = 4
HEADERS = {
    "changed": "UPDATE records SET header=replace(header,'change 4','chanGe 4') WHERE id=4",
    "parent changed": 'UPDATE records SET header=replace(header,\'"parents":["\',\'"parents":["0\') WHERE id=4',
    "no JSON": "UPDATE records SET header='{}' WHERE id=4",
    "missing": "DELETE FROM records WHERE id=4",
}


def grow(path: Path, backup: Path, *, at: int = AT) -> list[str]:
    """Make a store, and an older backup with its first versions alone; return the ids of all versions."""
    furnish(path)
    with Store.open(path) as kb, Store.create(backup) as older:
        lines = [version.id for version in kb.log(newest_first=False)]
        import_lines(older, list(export_events(kb))[:at])
    return lines


def _salvaged(path: Path, folder: Path) -> list[bytes]:
    with Store.open(path, read_only=True) as kb:
        salvage(kb, folder)
    return (folder / "events.jsonl").read_bytes().splitlines(keepends=True)


def _ids(kb: Store) -> list[str]:
    return [version.id for version in kb.log(newest_first=False)]


@pytest.mark.parametrize("kind", [*HEADERS, "patch"])
def test_what_is_salvaged_continues_an_older_backup(tmp_path: Path, kind: str) -> None:
    """The damaged version is in the backup, so nothing behind it is left out, on no branch."""
    path, backup = tmp_path / "kb.db", tmp_path / "backup.db"
    ids = grow(path, backup)
    spoil(path, HEADERS.get(kind, flip_body(AT)))
    lines = _salvaged(path, tmp_path / "out")
    with Store.open(backup) as kb:
        done = import_lines(kb, lines)
        known = AT if kind == "patch" else AT - 1
        assert (done.versions, done.known, done.refs) == (VERSIONS + 1 - AT, known, 2)
        assert (done.left_out, done.stopped_at, done.notes) == (0, 0, ())
        assert _ids(kb) == ids
        assert kb.verify().ok
        assert kb.tags()["early"].seq == 2
    with Store.open(backup, branch="dev") as kb:
        assert kb.checkout()["pad"] == "dev"


def test_the_next_lost_event_ends_the_import(tmp_path: Path) -> None:
    """v4 is in the backup and v6 is in neither: v5 comes in, and v6 is the line that is named."""
    path, backup = tmp_path / "kb.db", tmp_path / "backup.db"
    ids = grow(path, backup)
    spoil(path, flip_body(4), flip_body(6).replace('"value":9', '"value":8'))
    with Store.open(backup) as kb:
        done = import_lines(kb, _salvaged(path, tmp_path / "out"))
        assert (done.versions, done.known, done.stopped_at) == (2, 4, 6)  # v5, and v6 of dev
        assert _ids(kb) == ids[:5]


def test_a_branch_that_the_target_has_goes_on_behind_a_lost_event(tmp_path: Path) -> None:
    """Lines of a branch behind a stop of the main line are known by their ids too."""
    path, backup = tmp_path / "kb.db", tmp_path / "backup.db"
    furnish(path)
    with Store.open(path, branch="dev") as kb:
        backup_store(path, backup)
        kb.commit(patch=[{"op": "replace", "path": "/pad", "value": "later"}], author="bob")
    with Store.open(path) as kb:
        kb.commit(patch=[{"op": "replace", "path": "/n", "value": 8}], author="ann")
        kb.commit(patch=[{"op": "replace", "path": "/n", "value": 9}], author="ann")
    lines = _salvaged(path, tmp_path / "out")
    values = [json.loads(line) for line in lines]
    for value in values:
        if (value.get("branch") == "dev" and value["event"]["seq"] == 6) or value.get("event", {}).get("seq") == 8:
            value["patch"] = None
    with Store.open(backup) as kb:
        done = import_lines(kb, [json.dumps(value).encode() for value in values])
        assert (done.versions, done.known, done.stopped_at, done.left_out) == (1, VERSIONS + 1, 8, 2)
    with Store.open(backup, branch="dev") as kb:
        assert kb.checkout()["pad"] == "later"


def test_another_event_in_the_place_of_a_lost_one_is_not_taken_for_it(tmp_path: Path) -> None:
    """The target has a v4 of its own: the lost one stays lost, and nothing behind it is added."""
    path, backup = tmp_path / "kb.db", tmp_path / "backup.db"
    grow(path, backup, at=3)
    spoil(path, flip_body(4))
    with Store.open(backup) as kb:
        kb.commit(patch=[{"op": "replace", "path": "/n", "value": 40}], author="ann")
        done = import_lines(kb, _salvaged(path, tmp_path / "out"))
        assert (done.versions, done.known, done.stopped_at) == (0, 3, 4)
        assert kb.head().seq == 4


@pytest.mark.parametrize("kind", [*HEADERS, "patch"])
def test_a_pull_passes_damage_that_the_target_does_not_have(tmp_path: Path, kind: str) -> None:
    """The next header names the id of the damaged version, so the versions behind it are copied."""
    path, backup = tmp_path / "kb.db", tmp_path / "backup.db"
    ids = grow(path, backup)
    spoil(path, HEADERS.get(kind, flip_body(AT)))
    done = restore_backup(path, backup)
    assert (done.only_in_replaced, done.continues, done.damaged) == (VERSIONS + 1 - AT, True, False)
    assert done.replaced is not None
    with Store.open(done.replaced, read_only=True) as source, Store.open(path) as target:
        assert replicate(source, target).versions == VERSIONS + 1 - AT
        assert _ids(target) == ids
        assert target.verify().ok


@pytest.mark.parametrize(
    ("damaged", "kind"),
    [*(("source", kind) for kind in HEADERS), *(("target", kind) for kind in HEADERS if kind != "missing")],
)
def test_damage_is_not_a_divergence(tmp_path: Path, damaged: str, kind: str) -> None:
    """A header that nothing proves is named with its store, whichever store has it, and nothing is copied."""
    path, backup = tmp_path / "kb.db", tmp_path / "backup.db"
    grow(path, backup)
    bad = path if damaged == "source" else backup
    spoil(bad, HEADERS[kind])
    if damaged == "source":
        spoil(path, "UPDATE records SET header=replace(header,'change 5','chanGe 5') WHERE id=5")
    with (
        Store.open(path, read_only=True) as source,
        Store.open(backup) as target,
        pytest.raises(CorruptStore, match="is damaged") as refused,
    ):
        replicate(source, target)
    assert str(refused.value).startswith(str(bad))
    assert f"kbstore salvage DIR --store {bad}" in (refused.value.hint or "")


def test_a_damaged_end_is_not_a_divergence(tmp_path: Path) -> None:
    """The newest header is proved by the store's own checksum alone."""
    path, other = tmp_path / "kb.db", tmp_path / "other.db"
    grow(path, other, at=VERSIONS)
    spoil(path, f"UPDATE records SET header=replace(header,'change 7','chanGe 7') WHERE id={VERSIONS}")
    with Store.open(path, read_only=True) as source, Store.open(other) as target:
        with pytest.raises(DamagedVersion, match="v7 is damaged") as refused:
            replicate(source, target)
        assert str(path) in str(refused.value)


def test_a_divergence_beside_damage_is_still_one(tmp_path: Path) -> None:
    """Both have a v5, and v4 of the source is damaged: the last common version is v4."""
    path, backup = tmp_path / "kb.db", tmp_path / "backup.db"
    grow(path, backup)
    spoil(path, HEADERS["changed"])
    with Store.open(path, read_only=True) as source, Store.open(backup) as target:
        target.commit(patch=[{"op": "replace", "path": "/n", "value": 50}], author="ann")
        with pytest.raises(ConflictError, match="both have new versions after v4"):
            replicate(source, target)
