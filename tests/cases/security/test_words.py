"""Messages repeat no secret, and name what a person must keep."""

from pathlib import Path

import pytest

from kbstore import Store
from kbstore.errors import StoreNotFound


@pytest.mark.parametrize(
    "location", ["postgres://u:s3cret@host/db", "redis://host/s3cret", "https://host/?token=s3cret"]
)
def test_an_unknown_scheme_shows_the_scheme_alone(location: str) -> None:
    """Whatever stands behind it may be a secret."""
    with pytest.raises(StoreNotFound) as caught:
        Store.open(location)
    assert f"{location.partition(':')[0]}:" in str(caught.value)
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"


def test_a_log_without_its_store_is_named(tmp_path: Path) -> None:
    """A log that was left behind may hold the newest versions, so nobody is told that nothing is there."""
    (tmp_path / "kb.db-wal").write_bytes(b"x" * 100)
    with pytest.raises(StoreNotFound, match=r"kb\.db-wal"):
        Store.open(tmp_path / "kb.db")
