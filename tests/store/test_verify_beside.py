"""Verifying a store that others write to: what they add meanwhile is not held against it."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kbstore import Store
from kbstore.backends import memory
from kbstore.backends.base import Backend
from kbstore.backends.sqlite import check
from kbstore.backends.sqlite.check import damage_of_rows
from kbstore.backends.sqlite.check_packs import damage_of_packs
from kbstore.backends.sqlite.connection import Connection
from kbstore.backends.sqlite.log import Logs
from tests.conftest import LONG
from tests.store.support import Ticks, articles, eager_snapshots, replacing
from tests.store.test_processes import acknowledged, working

ROUNDS = 60 if LONG else 12
VERSIONS = 9


class Meddled:
    """A backend that lets something happen before one of its calls, counted from 1; 0 for before none."""

    def __init__(self, inner: Backend, at: int, act: Callable[[], None]) -> None:
        self._inner = inner
        self._at = at
        self._act = act
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def called(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.calls == self._at:
                self._act()
            return found(*args, **kwargs)

        return called


def furnish(location: str) -> None:
    """A store with a branch, tags, snapshots, and fresh and packed bodies."""
    with Store.create(location, articles(20, 5), clock=Ticks(), author="ann") as kb:
        for n in range(8):
            kb.commit(patch=replacing(f"/problems/p{n}/votes", n))
        kb.tag("stable", "v3")
        kb.create_branch("dev", "v5")
        kb.snapshot()
        kb.gc()
    with Store.open(location, branch="dev", clock=Ticks(), author="bob") as kb:
        kb.commit(patch=replacing("/title", "dev"))


def tagging(location: str) -> None:
    """Commit, and name the new version."""
    with Store.open(location, author="x") as kb:
        kb.commit(patch=replacing("/title", f"{kb.head().seq}"))
        kb.tag(f"t{kb.head().seq}")


def branching(location: str) -> None:
    """Commit, and start a branch from the new version, with a version of its own."""
    with Store.open(location, author="x") as kb:
        seq = kb.commit(patch=replacing("/title", f"{kb.head().seq}")).seq
        kb.create_branch(f"branch-{seq}")
    with Store.open(location, author="x", branch=f"branch-{seq}") as kb:
        kb.commit(patch=replacing("/title", "there"))


def snapping(location: str) -> None:
    """Commit, and take a snapshot of the new version."""
    with Store.open(location, author="x") as kb:
        kb.commit(patch=replacing("/title", f"{kb.head().seq}"))
        kb.snapshot()


def collecting(location: str) -> None:
    """Commit, drop every snapshot, pack what is there, and take a snapshot again."""
    with Store.open(location, author="x") as kb:
        kb.commit(patch=replacing("/title", f"{kb.head().seq}"))
        kb.backend.collect({})
        kb.snapshot()
        kb.gc()


ACTS = [tagging, branching, snapping, collecting]


@pytest.mark.parametrize("act", ACTS)
def test_what_happens_between_two_reads_is_no_damage(location: str, act: Callable[[str], None]) -> None:
    """Before whichever read of verify somebody writes: 0 problems, 0 complaints about caches, the same versions."""
    at = calls = 1
    while at <= calls:
        furnish(location)
        with Store.open(location) as kb:
            meddled = Meddled(kb.backend, at, lambda: act(location))
            report = Store(meddled).verify()  # type: ignore[arg-type]
        assert (report.problems, report.caches) == ([], []), at
        assert report.versions >= VERSIONS
        at, calls = at + 1, meddled.calls
        if location.startswith("memory:"):
            memory.forget(location)
        else:
            Path(location).unlink()
    assert calls > 12


class Between:
    """A connection that lets something happen before each of its transactions."""

    def __init__(self, inner: Connection, act: Callable[[], None]) -> None:
        self._inner = inner
        self._act = act

    def __getattr__(self, name: str) -> Any:
        if name == "read":
            self._act()
        return getattr(self._inner, name)


@pytest.fixture
def one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step of a check looks at one row."""
    monkeypatch.setattr(check.Table, "rows", 1)
    for table in ("_BodyPacks", "_Packs"):
        monkeypatch.setattr(f"kbstore.backends.sqlite.check_packs.{table}.rows", 1)


@pytest.mark.parametrize("act", ACTS)
def test_each_step_of_a_check_is_a_transaction_of_its_own(
    tmp_path: Path, one_row: None, act: Callable[[str], None]
) -> None:
    """Somebody writes between any two steps of SQLite's check: nothing is damaged, and it ends nevertheless."""
    path = tmp_path / "kb.db"
    furnish(str(path))
    steps = 0

    def between() -> None:
        nonlocal steps
        steps += 1
        if steps % 7 == 0:
            act(str(path))

    with closing(Connection(path, read_only=False)) as connection:
        owner, logs = Between(connection, between), Logs(connection)
        assert list(damage_of_rows(owner, logs)) == []  # type: ignore[arg-type]
        assert list(damage_of_packs(owner, logs)) == []  # type: ignore[arg-type]
    assert steps > 30


def test_packs_of_bodies_that_a_collection_joins_do_not_overlap(tmp_path: Path, one_row: None) -> None:
    """A pack that a longer one replaced since the last step looked at it is not held against the longer one."""
    path = tmp_path / "kb.db"
    furnish(str(path))
    looked = 0

    def joining() -> None:
        nonlocal looked
        looked += 1
        with Store.open(path, author="x") as kb:
            kb.commit(patch=replacing("/title", f"{looked}"))
            kb.gc()

    with closing(Connection(path, read_only=False)) as connection:
        owner = Between(connection, joining)
        assert list(damage_of_packs(owner, Logs(connection))) == []  # type: ignore[arg-type]
    assert looked > 3


def test_statistics_of_sqlite_are_no_damage(tmp_path: Path) -> None:
    """Any tool may run ANALYZE on the file: verify says whole as before."""
    path = tmp_path / "kb.db"
    furnish(str(path))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ANALYZE")
        connection.execute("PRAGMA optimize")
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name LIKE 'sqlite_stat%'").fetchone()[0]
    with Store.open(path) as kb:
        report = kb.verify()
    assert (report.problems, report.caches) == ([], [])


def test_verify_beside_writers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Again and again beside processes that commit, tag, branch, snapshot and collect: not one false word."""
    eager_snapshots(monkeypatch)
    path = tmp_path / "kb.db"
    names = ["w0", "w1"]
    Store.create(path, {**{name: {"n": 0} for name in names}, "text": "long " * 4000}).close()
    orders: list[dict[str, Any]] = [{"role": "busy", "name": name} for name in names]
    versions = [0]
    with working(path, *orders, {"role": "collector"}) as workers:
        for _ in range(ROUNDS):
            with Store.open(path) as kb:
                report = kb.verify()
            assert (report.problems, report.caches) == ([], [])
            assert report.versions >= versions[-1]
            versions.append(report.versions)
        landed = [acknowledged(worker.finish()) for worker in workers[:2]]
        workers[2].finish()
    assert versions[-1] > versions[1]
    with Store.open(path) as kb:
        assert {v.id for v in kb.log()} >= {ident for ids in landed for ident in ids}
        assert kb.verify().ok
