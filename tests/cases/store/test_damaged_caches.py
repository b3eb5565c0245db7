"""A damaged page of a table of caches costs nothing: all is read, a commit lands, and `verify` names the table."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from kbstore import Change, CorruptStore, Store
from tests.cases.support import Desk
from tests.store.support import Ticks, replacing

EVENTS = 420
"""So many that snapshots were taken, and blocks of indexes written."""


def spoil_root(path: Path, table: str) -> None:
    """Overwrite the first bytes of the page on which a table begins."""
    with closing(sqlite3.connect(path)) as raw:
        (size,) = raw.execute("PRAGMA page_size").fetchone()
        (page,) = raw.execute("SELECT rootpage FROM sqlite_master WHERE name=?", (table,)).fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * 8)


@pytest.mark.parametrize("table", ["snapshots", "notes"])
def test_a_table_of_caches_that_cannot_be_read_is_empty(tmp_path: Path, table: str) -> None:
    """Values, paths and commits work on; `verify` and `gc` name the table and what helps, and a clone is whole."""
    path = tmp_path / "kb.db"
    with Store.create(path, clock=Ticks(prefix=1), author="ann") as kb:
        kb.commit({"n": 0, "m": 0})
        for first in range(1, EVENTS, 60):
            kb.commit_many([Change(patch=replacing("/n", n)) for n in range(first, min(first + 60, EVENTS))])
    spoil_root(path, table)
    for read_only in (True, False):
        with Store.open(path, read_only=read_only) as kb:
            assert kb.get("/n") == EVENTS - 1
            assert kb.checkout("v200") == {"n": 199, "m": 0}
            assert len(list(kb.log(path="/n", limit=3))) == 3
            report = kb.verify()
            assert report.ok
            assert report.caches == [
                f"the table {table} cannot be read; kbstore clone {path} NEW.db writes a whole copy without it"
            ]
    with Store.open(path, clock=Ticks(prefix=2), author="ann") as kb:
        for first in range(EVENTS, 2 * EVENTS, 60):
            kb.commit_many([Change(patch=replacing("/n", n)) for n in range(first, first + 60)])
        for indexes in (True, False):
            with pytest.raises(CorruptStore, match=f"damaged cache, the table {table},") as refused:
                kb.gc(indexes=indexes)
            assert f"kbstore clone {path} NEW.db" in (refused.value.hint or "")
    desk = Desk(tmp_path)
    desk.ok("clone", str(path), "whole.db")
    with Store.open(tmp_path / "whole.db") as kb:
        assert kb.head().seq == 2 * EVENTS
        assert kb.verify().caches == []
        kb.gc()
