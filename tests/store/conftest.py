"""Places to put stores: every promise is kept on each backend."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from kbstore.backends import memory

_numbers = itertools.count()


@pytest.fixture(params=["memory", "sqlite"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a store may be made, and opened again within this process."""
    if request.param == "sqlite":
        yield str(tmp_path / "kb.db")
        return
    place = f"memory://test-{next(_numbers)}"
    yield place
    memory.forget(place)
