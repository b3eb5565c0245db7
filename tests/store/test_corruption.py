"""Damaged files and rewritten histories: what `verify` finds, what it cannot find, and that reading stays safe."""

import contextlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import kbstore
from kbstore import CorruptStore, KBStoreError, Store
from kbstore.backends import memory
from kbstore.errors import DamagedVersion
from kbstore.sync.jsonl import ImportFailed, export_events, import_lines
from tests.backends.test_damage import open_raw
from tests.conftest import LONG, takes_long
from tests.store.support import START, Ticks, articles, eager_snapshots, exact, replacing

SCRIPT = Path(__file__).with_name("spoiling.py")


@takes_long
@pytest.mark.parametrize("seed", [3] if LONG else [1])
def test_a_spoilt_file_is_found_or_tells_the_same(tmp_path: Path, seed: int) -> None:
    """Bytes flipped, removed, swapped, zeroed, or the end cut off: verify finds it, or all that is told stays equal.

    Never another error than ours, never without end, and in bounded memory: see `spoiling.py`.
    """
    samples = 0 if LONG else 150
    done = subprocess.run(
        [sys.executable, "-P", str(SCRIPT), str(tmp_path / "kb.db"), str(samples), str(seed)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert told["wrong"] == []
    counts = told["counts"]
    assert counts["refused"] + counts["found"] > sum(counts.values()) // 4
    assert counts["cache"] > 0
    assert (sum(counts.values()) > told["bytes"]) == LONG


def history(location: str, message: str = "three", versions: int = 5) -> list[str]:
    """A short history whose third version has this message; returns the ids of its versions."""
    with Store.create(location, {"n": 1}, clock=Ticks(), author="ann") as kb:
        for n in range(2, versions + 1):
            kb.commit({"n": n}, message=message if n == 3 else f"{n}")
        kb.tag("stable", "v2")
        return [v.id for v in kb.log(newest_first=False)]


def test_a_pinned_head_finds_a_rewritten_history(location: str) -> None:
    """A history made anew with another message is sound in itself; against the noted id it is found out."""
    noted = history("memory://noted")[-1]
    memory.forget("memory://noted")
    history(location, message="something else")
    with Store.open(location) as kb:
        assert [v.author for v in kb.log()] == ["ann"] * 5
        unpinned = kb.verify()
        assert (unpinned.ok, unpinned.pinned) == (True, False)
        pinned = kb.verify(head=noted)
        assert (pinned.ok, pinned.pinned) == (False, False)
        assert noted in pinned.missing


def test_a_pinned_head_finds_a_truncated_history(tmp_path: Path) -> None:
    """Newest versions cut off without a trace are not missed by the chain; against the noted id they are."""
    path = tmp_path / "kb.db"
    ids = history(str(path))
    with open_raw(path) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE type='trigger'").fetchall()
        assert rows == []
        for table in ("records", "bodies", "writes"):
            connection.execute(f"DELETE FROM {table} WHERE id IN (4, 5)")
        for sql in kbstore_triggers():
            connection.execute(sql)
    connection.close()
    with Store.open(path) as kb:
        assert kb.head().id == ids[2]
        unpinned = kb.verify()
        assert (unpinned.problems, unpinned.caches, unpinned.pinned, unpinned.head) == ([], [], False, ids[2])
        assert not kb.verify(head=ids[4]).ok
        assert kb.verify(head=ids[2]).pinned
        kb.commit({"n": "another"})
        assert not kb.verify(head=ids[4]).ok


def kbstore_triggers() -> list[str]:
    """The definitions that guard a store, to put them back after an attack."""
    from kbstore.backends.sqlite import schema

    return [s for s in schema.statements() if s.startswith("CREATE TRIGGER")]


def test_a_pin_may_be_any_version_but_no_short_prefix(location: str) -> None:
    """A head that was noted long ago is found in a history that went on; a few digits prove nothing."""
    ids = history(location)
    with Store.open(location) as kb:
        assert all(kb.verify(head=i).ok for i in ids)
        assert kb.verify(head=ids[0].upper()).ok
        assert kb.verify(head=ids[4][:16]).pinned
        for short in (ids[4][:15], ids[4][:4], "", "v5", "HEAD"):
            assert not kb.verify(head=short).ok
        assert kb.verify(head=ids[4][:-1] + ("0" if ids[4][-1] != "0" else "1")).pinned is False


def test_a_truncated_history_below_an_open_store_is_told(tmp_path: Path) -> None:
    """A log that became shorter than what was read from it is not built upon."""
    path = tmp_path / "kb.db"
    history(str(path))
    with Store.open(path) as kb:
        kb.commit({"n": 6})
        with open_raw(path) as connection:
            for table in ("records", "bodies", "writes"):
                connection.execute(f"DELETE FROM {table} WHERE id IN (5, 6)")
        connection.close()
        with pytest.raises(DamagedVersion, match="version v6 is damaged: its header is missing"):
            kb.commit({"n": 7})


@pytest.mark.parametrize(
    "field",
    [
        *[{"message": "forged"}, {"author": "eve"}, {"seq": 9}, {"tags": ["x"]}, {"parents": []}, {"format": 7}],
        *[{"state": "0" * 64}, {"state": "no"}, {"patch": "0" * 64}],
        *[{"time": "2025-01-27T11:00:00.000000Z"}, {"time": "yesterday"}],
    ],
)
def test_every_changed_header_is_found(location: str, tmp_path: Path, field: dict[str, Any]) -> None:
    """Whatever is changed in one event, with its row made to look right, breaks the chain behind it."""
    path = tmp_path / "forged.db"
    history(str(path))
    with open_raw(path) as connection:
        connection.text_factory = bytes
        header, log, slot, size, write_id, kind = connection.execute(
            "SELECT header, log, slot, size, write_id, typeof(write_id) FROM records JOIN writes USING(id) WHERE id=3"
        ).fetchone()
        forged = kbstore.dumps({**kbstore.loads(header), **field})
        digest = row_digest(3, log, slot, size, kind[:1] + write_id, forged)
        connection.execute("UPDATE records SET header=?, digest=? WHERE id=3", (forged.decode(), digest))
        for sql in kbstore_triggers():
            connection.execute(sql)
    connection.close()
    with Store.open(path) as kb:
        assert list(kb.backend.check()) == []
        report = kb.verify()
        assert not report.ok
        assert any("v3" in problem or "v4" in problem for problem in report.problems)
        for look in (lambda: list(kb.log()), lambda: kb.checkout("v5"), lambda: kb.version("@2025-01-28")):
            with contextlib.suppress(KBStoreError):
                look()


def row_digest(ident: int, log: bytes, slot: int, size: int, write_id: bytes, header: bytes) -> bytes:
    """What makes a forged row look right to the backend."""
    from kbstore.backends.sqlite.digests import record_digest

    return record_digest(ident, log, slot, size, write_id, header)


def test_a_damaged_snapshot_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading goes on from older places, tells of the damage, drops what is damaged, and rebuilds it with time."""
    eager_snapshots(monkeypatch)
    path = tmp_path / "kb.db"
    document = articles(80, 20)
    with Store.create(path, document, clock=Ticks()) as kb:
        for n in range(20):
            document["problems"][f"p{n}"]["votes"] = n + 1
            kb.commit(document)
        assert kb.backend.snapshots("main")
    with open_raw(path) as connection:
        connection.execute("UPDATE packs SET frame=zeroblob(length(frame)) WHERE tier<4")
        for sql in kbstore_triggers():
            connection.execute(sql)
    connection.close()
    with Store.open(path, read_only=True) as kb:
        assert kb.verify().ok
        assert kb.verify().caches
        assert exact(kb.checkout()) == exact(document)
        assert kb.get("/problems/p19/votes") == 20
        assert kb.damage
    with Store.open(path) as kb:
        assert exact(kb.checkout()) == exact(document)
        assert kb.damage
        kb.gc()
        for n in range(12):
            kb.commit(patch=replacing("/problems/p1/votes", n))
        report = kb.verify()
        assert (report.problems, report.caches) == ([], [])


CHANGED = (
    "it was changed after it was exported|does not follow v2 of this store|the patch is not the one that v3 names|"
    "does not lead to the state that it names|version v3 is damaged: its time"
)


def test_an_import_takes_nothing_that_is_not_what_it_claims(location: str) -> None:
    """Each event is computed anew: a changed header, patch, id, order or time is refused by line, and none is added."""
    history("memory://source")
    with Store.open("memory://source") as source:
        good = list(export_events(source))
    memory.forget("memory://source")
    parsed = [kbstore.loads(line.rstrip(b"\n")) for line in good]
    bad: list[tuple[int, Any]] = []
    for field, value in (("message", "x"), ("seq", 4), ("state", "0" * 64), ("time", "2024-01-01T00:00:00.000000Z")):
        bad.append((3, {**parsed[2], "event": {**parsed[2]["event"], field: value}}))
    bad.append((3, {**parsed[2], "patch": [*parsed[2]["patch"], {"op": "test", "path": "", "value": 1}]}))
    bad.append((3, {**parsed[2], "id": "0" * 64}))
    bad.append((3, parsed[3]))
    for field, value in (
        ("time", "tomorrow"),
        ("time", "2025-01-27T12:00:02Z"),
        ("authored", "2025"),
        ("state", "0" * 64),
    ):
        event = {**parsed[2]["event"], field: value}
        bad.append((3, {"event": event, "id": kbstore_id(event), "patch": parsed[2]["patch"]}))
    with Store.create(location) as kb:
        for line, value in bad:
            lines = [*good[: line - 1], kbstore.dumps(value) + b"\n", *good[line:]]
            with pytest.raises(ImportFailed, match=CHANGED) as refused:
                import_lines(kb, lines)
            assert f"line {line}" in str(refused.value) or getattr(refused.value, "line", 0) == line
            assert kb.head().seq == 0
        assert import_lines(kb, good).versions == 5
        assert kb.verify(head=parsed[4]["id"]).ok


def kbstore_id(event: dict[str, Any]) -> str:
    """The id that a forger would compute."""
    from hashlib import sha256

    return sha256(kbstore.dumps(event)).hexdigest()


def test_truth_that_is_gone_is_never_made_up(tmp_path: Path) -> None:
    """A missing node of truth is an error that names it, on every way to the value, also with caches around."""
    path = tmp_path / "kb.db"
    with Store.create(path, articles(60, 40), clock=Ticks(START)) as kb:
        kb.commit(patch=replacing("/title", "new"))
        kb.gc()
    with open_raw(path) as connection:
        connection.execute("DELETE FROM packs WHERE tier=4")
        for sql in kbstore_triggers():
            connection.execute(sql)
    connection.close()
    with Store.open(path) as kb:
        assert not kb.verify().ok
        for look in (lambda: kb.checkout(), lambda: kb.get("/problems/p7"), lambda: kb.diff("v1", "v2").patch):
            with pytest.raises(CorruptStore):
                look()
        with pytest.raises(CorruptStore):
            kb.commit(articles(60, 40))
        assert kb.head().seq == 2


def test_a_store_of_a_newer_format_is_left_alone(tmp_path: Path) -> None:
    """A newer file names the version that reads it; a newer event too, and nothing is written to either."""
    path = tmp_path / "kb.db"
    history(str(path))
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA application_id={0x6B627302}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(kbstore.UnsupportedFormat, match="in format 2"):
        Store.open(path)
    assert path.read_bytes() == before
