"""Truth in an SQLite file is kept for ever, whoever asks with whatever tool; and it is written durably."""

import sqlite3
import sys
from pathlib import Path

import pytest

from kbstore.backends import create_backend, open_backend
from tests.backends.samples import everything, fill, furnish


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A closed store with fresh and packed parts."""
    path = tmp_path / "kb.db"
    backend = create_backend(path)
    furnish(backend)
    backend.collect({"main": [10, 20]})
    fill(backend, 4, first=32)
    backend.close()
    return path


ATTACKS = [
    "UPDATE records SET header='{}' WHERE id=3",
    "UPDATE OR REPLACE records SET id=4 WHERE id=3",
    "DELETE FROM records WHERE id=3",
    "DELETE FROM records",
    "INSERT OR REPLACE INTO records(id, log, slot, size, digest, header) VALUES(3, 'main', 3, 0, x'00', '{}')",
    "REPLACE INTO records(id, log, slot, size, digest, header) VALUES(1, 'main', 1, 0, x'00', '{}')",
    "INSERT INTO records(id, log, slot, size, digest, header) VALUES(90, 'main', 60, 0, x'00', '{}')",
    "INSERT INTO records(id, log, slot, size, digest, header) SELECT id, log, slot, size, digest, header FROM records",
    "UPDATE writes SET id=9 WHERE id=3",
    "DELETE FROM writes WHERE id=3",
    "UPDATE bodies SET body=x'00'",
    "DELETE FROM bodies",
    "INSERT OR REPLACE INTO bodies SELECT id, digest, x'00' FROM bodies",
    "UPDATE body_packs SET frame=x'00'",
    "DELETE FROM body_packs",
    "INSERT OR REPLACE INTO body_packs SELECT id, first, base, digest, x'00' FROM body_packs",
    "UPDATE packs SET frame=x'00' WHERE tier=4",
    "UPDATE packs SET tier=1 WHERE tier=4",
    "DELETE FROM packs WHERE tier=4",
    "INSERT OR REPLACE INTO packs SELECT id, tier, owner, base, digest, directory, x'00' FROM packs WHERE tier=4",
]


@pytest.mark.parametrize("recursive", [0, 1])
@pytest.mark.parametrize("attack", ATTACKS)
def test_no_statement_changes_truth(store: Path, attack: str, recursive: int) -> None:
    """Updates, deletions and replacements by any SQLite tool are refused, and all reads back as it was."""
    backend = open_backend(store)
    before = everything(backend)
    backend.close()
    connection = sqlite3.connect(store, isolation_level=None)
    connection.execute(f"PRAGMA recursive_triggers={recursive}")
    with pytest.raises(sqlite3.IntegrityError, match=r"kept for ever|UNIQUE|NOT NULL|PRIMARY"):
        connection.execute(attack)
    connection.close()
    backend = open_backend(store)
    assert everything(backend) == before
    assert list(backend.check()) == []
    backend.close()


def test_the_last_pack_of_bodies_stays_even_if_it_holds_one_body(store: Path) -> None:
    """A pack leaves only while a longer one spans its bodies; no pack is longer than the last one."""
    connection = sqlite3.connect(store, isolation_level=None)
    connection.execute("INSERT INTO body_packs SELECT max(id)+1, max(id)+1, NULL, x'00', x'00' FROM body_packs")
    with pytest.raises(sqlite3.IntegrityError, match="kept for ever"):
        connection.execute("DELETE FROM body_packs WHERE id=(SELECT max(id) FROM body_packs)")
    connection.close()


def test_writes_are_durable_and_take_turns(store: Path) -> None:
    """A store is open in WAL mode with full syncs, also after a reopening, and every write takes the lock at once."""
    for _ in range(2):
        backend = open_backend(store)
        connection = backend._connection.get()  # type: ignore[attr-defined]
        found = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "busy_timeout", "fullfsync", "recursive_triggers")
        }
        assert found == {
            "journal_mode": b"wal",
            "synchronous": 2,
            "busy_timeout": 30_000,
            "fullfsync": int(sys.platform == "darwin"),
            "recursive_triggers": 1,
        }
        said: list[str] = []
        connection.set_trace_callback(said.append)
        fill(backend, 1, first=backend.tail("main").slot + 1)
        assert [s for s in said if s.startswith(("BEGIN", "COMMIT"))] == ["BEGIN IMMEDIATE", "COMMIT"]
        backend.close()


def test_headers_are_read_by_any_tool(store: Path) -> None:
    """Plain SQL tells who wrote what, from text, without this program."""
    connection = sqlite3.connect(store)
    rows = connection.execute(
        "SELECT number, json_extract(header, '$.author'), json_extract(header, '$.message') FROM records "
        "WHERE log='main' AND number BETWEEN 30 AND 32 ORDER BY id"
    ).fetchall()
    connection.close()
    assert rows == [(n, f"dev{n % 3}@example.com", f"change {n}") for n in (30, 31, 32)]
