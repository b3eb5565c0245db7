"""On PostgreSQL's own regression files our splitter sends what psql sends (tests/fixtures/postgres-regress)."""

import hashlib
import json
import re
import tarfile
from pathlib import Path

import pytest

from kbstore.migrator.sql.splitter import pieces

FOLDER = Path(__file__).resolve().parent.parent / "fixtures" / "postgres-regress"
SENT: dict[str, list[object]] = json.loads((FOLDER / "sent.json").read_text())


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    """The regression files' texts by name."""
    with tarfile.open(FOLDER / "files.tar.xz") as archive:
        return {entry.name: archive.extractfile(entry).read().decode() for entry in archive}


def test_every_file_is_split_as_psql_splits_it(files: dict[str, str]) -> None:
    """The same number of statements, and the same texts and rows, for 38,000 statements in 211 files."""
    assert files.keys() == SENT.keys()
    assert len(files) == 211
    differing = {}
    for name, sql in files.items():
        state = hashlib.sha256()
        count = 0
        for piece in pieces(sql, "postgresql", name=name):
            text = re.sub(r"\n+", "\n", sql[piece.start : piece.end])
            state.update(text.encode() + b"\0" + (piece.data or "").encode() + b"\0")
            count += 1
        if SENT[name] != [count, state.hexdigest()[:16]]:
            differing[name] = (count, SENT[name])
    assert not differing
