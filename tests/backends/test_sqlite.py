"""The SQLite backend keeps the contract."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backends import create_backend, open_backend
from backends.contract import Backend
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
