"""Several processes on one store: every acknowledged commit is there, in one line, and readers see only whole ones."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from kbstore import Store
from kbstore.backends import create_backend, memory, open_backend
from kbstore.backends.base import Backend, Chunk, Record
from kbstore.backends.sqlite import cache
from kbstore.backends.sqlite.files import store_file
from kbstore.history import snapshots
from kbstore.history.snapshots import usable
from kbstore.kit.errors import StoreUnavailable
from tests.backends.samples import chunks, fill
from tests.conftest import LONG
from tests.store.support import articles, eager_snapshots, exact, replacing

WORKERS = Path(__file__).with_name("workers.py")
COMMITS = 100
PROCESSES = 8


class Worker:
    """A child at work; see `tests/store/workers.py`."""

    def __init__(self, role: str, **order: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(WORKERS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._tell(json.dumps({"role": role, **order}))
        assert self.hear() == ["ready"]

    def _tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def go(self) -> None:
        """Let it begin."""
        self._tell("go")

    def hear(self) -> list[str]:
        """The next line that it says; empty where it has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().split()

    def finish(self) -> list[list[str]]:
        """Tell it to stop; returns all that it still said. It must have ended well."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        said = [line.decode().split() for line in self.process.stdout]
        assert self.process.wait() == 0
        self.process.stdout.close()
        return said


@contextmanager
def working(location: Path, *orders: dict[str, Any]) -> Iterator[list[Worker]]:
    """Children that begin together; whatever fails, none is left."""
    workers: list[Worker] = []
    try:
        workers.extend(Worker(location=str(location), **order) for order in orders)
        for worker in workers:
            worker.go()
        yield workers
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.wait()
            for stream in (worker.process.stdin, worker.process.stdout):
                if stream is not None:
                    stream.close()


def acknowledged(said: Sequence[Sequence[str]]) -> list[str]:
    """The ids in what a child said."""
    return [line[1] for line in said if line[0] == "ack"]


def test_disjoint_changes_of_many_processes_all_land(tmp_path: Path) -> None:
    """8 processes commit 100 times each to pointers of their own, beside readers and a collector: 801 versions."""
    names = [f"w{n}" for n in range(PROCESSES)]
    path = tmp_path / "kb.db"
    Store.create(path, {name: {"n": 0} for name in names}).close()
    watching = [{"role": "reader"}, {"role": "collector"}]
    writing = [{"role": "disjoint", "name": name, "commits": COMMITS} for name in names]
    with working(path, *writing, *watching) as workers:
        acks = [acknowledged(worker.finish()) for worker in workers[:PROCESSES]]
        watched = [worker.finish() for worker in workers[PROCESSES:]]
    assert [int(said[-1][1]) > 0 for said in watched] == [True, True]
    with Store.open(path) as kb:
        log = list(kb.log(newest_first=False))
        assert [v.seq for v in log] == list(range(1, PROCESSES * COMMITS + 2))
        assert [v.parents for v in log[1:]] == [(v.id,) for v in log[:-1]]
        place = {v.id: v.seq for v in log}
        for name, ids in zip(names, acks, strict=True):
            assert len(ids) == COMMITS
            assert [place[i] for i in ids] == [v.seq for v in log if v.author == name]
        assert kb.checkout() == {name: {"n": COMMITS} for name in names}
        report = kb.verify()
        assert (report.problems, report.caches) == ([], [])
    assert os.listdir(tmp_path) == ["kb.db"]


def test_a_shared_counter_equals_its_acknowledged_commits(tmp_path: Path) -> None:
    """Many processes count one number up: each conflict is told, and versions, acknowledgements and number agree."""
    commits = COMMITS if LONG else 25
    path = tmp_path / "kb.db"
    Store.create(path, {"count": 0, "text": "x"}).close()
    orders = [{"role": "counter", "name": f"w{n}", "commits": commits} for n in range(PROCESSES)]
    with working(path, *orders, {"role": "collector"}) as workers:
        said = [worker.finish() for worker in workers[:PROCESSES]]
        workers[-1].finish()
    acks = [i for one in said for i in acknowledged(one)]
    with Store.open(path) as kb:
        log = list(kb.log(newest_first=False))
        assert len(set(acks)) == len(acks) == PROCESSES * commits
        assert {v.id for v in log[1:]} == set(acks)
        assert kb.get("/count") == len(acks) == kb.head().seq - 1
        assert [kb.get("/count", at=seq) for seq in range(1, len(log) + 1, 17)] == list(range(0, len(log), 17))
        assert kb.verify().ok


def test_a_writer_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer is stopped at any moment, others commit and collect meanwhile, it goes on: nothing is lost."""
    monkeypatch.setattr(store_file, "BUSY_TIMEOUT_S", 0.1)
    eager_snapshots(monkeypatch)
    path = tmp_path / "kb.db"
    Store.create(path, {"w": {"n": 0}, "mine": 0, **articles(40, 20)}).close()
    mine, locked = 0, 0
    with working(path, {"role": "disjoint", "name": "w", "commits": 400}) as (worker,), Store.open(path) as kb:
        acks = [worker.hear()]
        for pause in range(60 if LONG else 15):
            acks.extend(worker.hear() for _ in range(pause % 5))
            worker.process.send_signal(signal.SIGSTOP)
            try:
                kb.commit(patch=replacing("/mine", mine + 1), message="mine")
                mine += 1
                kb.gc()
            except StoreUnavailable:
                locked += 1  # it was stopped while it held the lock: nothing was written, and it holds it for long
            finally:
                worker.process.send_signal(signal.SIGCONT)
        acks.extend(worker.finish())
        assert mine > 0
        ids = {v.id for v in kb.log()}
        assert set(acknowledged([a for a in acks if a])) <= ids
        assert len(ids) == 401 + mine
        assert (kb.get("/w/n"), kb.get("/mine")) == (400, mine)
        report = kb.verify()
        assert (report.problems, report.caches, kb.damage) == ([], [], [])


class Frozen:
    """A backend that stands still before each append, and lets others act meanwhile."""

    def __init__(self, inner: Backend, meanwhile: Any) -> None:
        self._inner = inner
        self._meanwhile = meanwhile
        self._seen: set[str] = set()
        self.disturbed = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def append(
        self, log: str, slot: int, records: Sequence[Record], *, write_id: str, chunks: Sequence[Chunk] = ()
    ) -> None:
        """After the others, who act once for each write."""
        if self.disturbed and write_id not in self._seen:
            self._seen.add(write_id)
            self._meanwhile()
        self._inner.append(log, slot, records, write_id=write_id, chunks=chunks)


@pytest.mark.parametrize("act", ["collect", "drop everything", "commit and collect"])
def test_a_collection_between_reading_and_committing_takes_nothing(
    location: str, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that read the head, lay still while others collected for long, and goes on, loses nothing."""
    eager_snapshots(monkeypatch)
    document: dict[str, Any] = {**articles(60, 30), "other": 0, "long": "x" * 5000}
    Store.create(location, document).close()
    with Store.open(location) as other:

        def meanwhile() -> None:
            if act == "commit and collect":
                other.commit(patch=replacing("/other", other.get("/other") + 1))
            if act == "drop everything":
                other.backend.collect({})
                for name in other.backend.note_names():
                    other.backend.drop_notes(name)
            other.gc()

        frozen = Frozen(open_backend(location), meanwhile)
        kb = Store(frozen)
        versions = 1
        for n in range(12):
            text = f"{n}" * 4000
            document["problems"][f"p{n}"] = {"title": f"new {n}", "text": text}
            document["long"] = text + "again"
            kb.commit(document, message=f"{n}")
            document["other"] = kb.get("/other")
            versions += 2 if act == "commit and collect" else 1
            assert exact(kb.checkout()) == exact(document)
        assert kb.head().seq == versions
        frozen.disturbed = False
        kb.restore("v1")
        kb.close()
        assert exact(other.checkout("HEAD~1")) == exact(document)
        report = other.verify()
        assert (report.problems, report.caches, kb.damage, other.damage) == ([], [], [], [])
    memory.forget(location)


def test_a_collection_within_a_snapshot_leaves_none_or_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pieces of a snapshot that is being written are nobody's yet: if they are collected, it is not published."""
    monkeypatch.setattr(cache, "_PIECE_BYTES", 1000)
    with closing(create_backend(tmp_path / "kb.db")) as one, closing(open_backend(tmp_path / "kb.db")) as other:
        fill(one, 1)

        def disturbed() -> Iterator[Chunk]:
            for n, each in enumerate(chunks(80)):
                if n == 60:
                    other.collect({})
                yield each

        assert not one.put_snapshot("main", 1, tier=3, note=b"", chunks=disturbed())
        assert one.snapshots("main") == []
        assert one.put_snapshot("main", 1, tier=3, note=b"", chunks=chunks(80))
        wanted = {c.address for c in chunks(80)}
        assert {f.address for f in other.get_chunks(wanted)} == wanted
        assert list(one.check()) == []


def test_two_writers_of_one_snapshot_do_not_take_each_others_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where two processes write the snapshot of one version piece by piece in turns, the one published is whole."""
    monkeypatch.setattr(cache, "_PIECE_BYTES", 1000)
    with closing(create_backend(tmp_path / "kb.db")) as one, closing(open_backend(tmp_path / "kb.db")) as other:
        fill(one, 1)
        together = threading.Barrier(2, timeout=60)

        def in_turns() -> Iterator[Chunk]:
            for n, each in enumerate(chunks(80)):
                if n % 25 == 0:
                    together.wait()
                yield each

        with ThreadPoolExecutor(2) as pool:
            done = [
                pool.submit(each.put_snapshot, "main", 1, tier=3, note=b"", chunks=in_turns()) for each in (one, other)
            ]
            results = [each.result() for each in done]
            assert any(results)
        wanted = {c.address for c in chunks(80)}
        assert {f.address for f in one.get_chunks(wanted)} == wanted
        assert list(one.check()) == []


def test_a_lock_that_is_held_too_long_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another process holds the file, a commit says so, wrote nothing, and succeeds afterwards."""
    monkeypatch.setattr(store_file, "BUSY_TIMEOUT_S", 0.05)
    with Store.create(tmp_path / "kb.db", {"n": 0}) as kb, Store.open(tmp_path / "kb.db") as other:

        def hold(_: sqlite3.Connection) -> None:
            with pytest.raises(StoreUnavailable) as told:
                kb.commit({"n": 1})
            assert told.value.hint
            assert kb.checkout() == {"n": 0}

        other.backend._connection.write(hold)  # type: ignore[attr-defined]
        assert kb.commit({"n": 1}).seq == 2


def test_a_snapshot_goes_with_those_it_builds_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer drops its small snapshots; one that another writer built on them would be half a state."""
    eager_snapshots(monkeypatch, 1)
    monkeypatch.setattr(snapshots, "_DENSE_PER_MIDDLE", 4)
    monkeypatch.setattr(snapshots, "_COMPLETE_AT_LEAST_S", 1)
    path = tmp_path / "kb.db"
    with Store.create(path, articles(400, 20)) as first:
        for number in range(1, 4):
            first.commit(patch=replacing(f"/problems/p{90 * number}/votes", 7))
        with Store.open(path) as second:
            leaning = second.commit(patch=replacing("/problems/p1/votes", 8)).seq
        there = {u.snapshot.number: u.note.on for u in usable(first.backend.snapshots("main"))}
        below = there[leaning]
        assert below is not None
        for number in range(20):
            first.commit(patch=replacing("/problems/p3/votes", 10 + number))
            kept = [s.number for s in first.backend.snapshots("main")]
            if below.number not in kept:
                break
        assert below.number not in kept
        assert leaning not in kept
        assert first.verify().caches == []
