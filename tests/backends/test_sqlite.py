"""The SQLite backend keeps the contract."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kbstore.backends import create_backend, open_backend
from kbstore.backends.base import Backend, Record
from tests.backends.suite import ContractSuite


class TestSQLite(ContractSuite):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Iterator[Backend]:
        backend = create_backend(tmp_path / "kb.db")
        yield backend
        backend.close()

    @pytest.fixture
    def reopen(self, backend: Backend, tmp_path: Path) -> Iterator[Callable[..., Backend]]:
        opened = []

        def reopen(read_only: bool = False) -> Backend:
            opened.append(open_backend(tmp_path, read_only=read_only))
            return opened[-1]

        yield reopen
        for handle in opened:
            handle.close()


class Costs:
    """What handles ask of SQLite and of the system, from here on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.statements: list[str] = []
        self.looks: list[str] = []
        connect, stat = sqlite3.connect, os.stat

        def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
            connection = connect(*arguments, **options)
            connection.set_trace_callback(self.statements.append)
            return connection

        def looked(path: Any, **options: Any) -> os.stat_result:
            self.looks.append(os.path.basename(os.fspath(path)))
            return stat(path, **options)

        monkeypatch.setattr(sqlite3, "connect", traced)
        monkeypatch.setattr(os, "stat", looked)

    def clear(self) -> None:
        """Count from here on."""
        self.statements.clear()
        self.looks.clear()


def test_an_opening_takes_one_lock_and_a_commit_looks_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked of a store that is opened is read in one transaction; a handle that wrote nothing just closes."""
    create_backend(tmp_path / "kb.db").close()
    costs = Costs(monkeypatch)
    backend = open_backend(tmp_path / "kb.db")
    begin, end = costs.statements.index("BEGIN"), costs.statements.index("COMMIT")
    setting = [statement for statement in costs.statements[:begin] + costs.statements[end + 1 :] if "=" in statement]
    assert len(costs.statements) == 14
    assert len(setting) == 14 - (end + 1 - begin)
    assert costs.looks.count("kb.db-wal") == 2
    costs.clear()
    for slot in (1, 2):
        costs.clear()
        backend.append("main", slot, [Record(b"{}", b"[]")], write_id=f"w{slot}")
    assert sorted(costs.looks) == ["kb.db", "kb.db-shm", "kb.db-wal", "kb.db-wal"]
    assert not [statement for statement in costs.statements if "sqlite_master" in statement]
    assert costs.statements.count("PRAGMA schema_version") == 1
    backend.close()
    idle = open_backend(tmp_path / "kb.db")
    costs.clear()
    idle.close()
    assert costs.statements == []
