"""Damage is found: every flipped byte is reported, or changes nothing that is read back."""

import itertools
import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kbstore.backends import create_backend, open_backend
from kbstore.backends.base import Backend, Record
from kbstore.backends.sqlite import check_packs, pack_chunks
from kbstore.backends.sqlite import chunks as sqlite_chunks
from kbstore.backends.sqlite.check import Row, Table, in_steps
from kbstore.backends.sqlite.connection import Connection
from kbstore.kit.errors import BackendError, CorruptStore
from tests.backends.samples import chunk, chunks, everything, fill, furnish
from tests.conftest import LONG

SAMPLES = 150

Sound = tuple[bytes, dict[str, object], dict[str, object]]


def caches(backend: Backend) -> dict[str, object]:
    """What caches give back; each part of it may vanish, and nothing in it may be wrong."""
    kept = [*chunks(12, seed=99), *chunks(3, seed=98)]
    asked = {c.address for c in kept}
    return {
        **{f"snapshot {s.number}": s for s in backend.snapshots("main")},
        **{f"note {number}": data for number, data in backend.notes("touched/main")},
        **{f"chunk {f.address.hex()}": f.data for f in backend.get_chunks(asked) if f.address in asked},
    }


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Sound:
    """The bytes of a closed store of packed and fresh parts, and all that reads back from it."""
    path = tmp_path_factory.mktemp("sound") / "kb.db"
    backend = create_backend(path)
    furnish(backend)
    backend.collect({"main": [10, 20]})
    fill(backend, 4, first=32)
    backend.append("refs", 2, [Record(b'{"tag":"late"}', b"fresh")], write_id="late", chunks=chunks(1, seed=5))
    whole, kept = everything(backend), caches(backend)
    backend.close()
    return path.read_bytes(), whole, kept


def test_every_flipped_byte_is_found_or_harmless(sound: Sound, tmp_path: Path) -> None:
    """Whatever byte is flipped, opening or checking reports it, or everything reads back as it was."""
    data, whole, kept = sound
    path = tmp_path / "kb.db"
    dice = random.Random(7)
    offsets = range(len(data)) if LONG else sorted({*range(100), *dice.sample(range(len(data)), SAMPLES)})
    reported = 0
    for offset in offsets:
        spoilt = bytearray(data)
        spoilt[offset] ^= dice.choice((1, 128, 255, dice.randrange(1, 256)))
        path.write_bytes(spoilt)
        try:
            backend = open_backend(path)
        except BackendError:
            reported += 1
            continue
        try:
            found = list(backend.check())
            if found:
                reported += 1
                # Damage that is called a cache's must not touch the rest.
                if any(not damage.cache for damage in found):
                    continue
            assert everything(backend) == whole, f"byte {offset}: the logs changed and check reported {found}"
            try:
                now = caches(backend)
            except CorruptStore:
                assert found, f"byte {offset}: a cache is damaged and check reported nothing"
            else:
                assert now.items() <= kept.items(), f"byte {offset}: a cache gave back something else"
        finally:
            backend.close()
            for suffix in ("-wal", "-shm"):
                Path(f"{path}{suffix}").unlink(missing_ok=True)
    assert reported > len(offsets) // 3


class Endless(Table):
    """A table whose rows come again, as those of a damaged tree may."""

    name = "records"
    query = "SELECT id FROM records WHERE id>-2+0*?+0*? ORDER BY id LIMIT ?"
    rows = 3

    def look(self, connection: sqlite3.Connection, row: Row) -> Iterator[str]:
        yield "seen"


def test_rows_that_come_again_end_the_check(store: Path) -> None:
    """Where SQLite goes round in a damaged tree, checking says so and ends."""
    with closing(Connection(store, read_only=True)) as connection:
        found = list(itertools.islice(in_steps(connection, Endless()), 100))
    assert [damage.what for damage in found[:3]] == ["seen"] * 3
    assert len(found) == 4
    assert "cannot be read to the end" in found[3].what


def open_raw(path: Path) -> sqlite3.Connection:
    """The file as any SQLite tool sees it, with our triggers out of the way."""
    connection = sqlite3.connect(path, isolation_level=None)
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    return connection


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with fresh and packed parts, closed."""
    path = tmp_path / "kb.db"
    backend = create_backend(path)
    furnish(backend)
    backend.collect({"main": [10, 20]})
    fill(backend, 4, first=32)
    backend.close()
    return path


SPOILS: dict[str, tuple[str, str, bool]] = {
    "a header": ("UPDATE records SET header=replace(header,'dev','DEV') WHERE id=3", "record 3 of log main", False),
    "a slot": ("UPDATE records SET slot=slot+1 WHERE id>=20 AND id<100", "slot", False),
    "a record": ("DELETE FROM records WHERE id=12", "does not follow", False),
    "the end of a log": ("DELETE FROM records WHERE id IN (38,39)", "the body of record 38", False),
    "a whole log": ("DELETE FROM records WHERE log='refs'", "write ids name row", False),
    "a swap": ("UPDATE records SET header=(SELECT header FROM records WHERE id=5) WHERE id=6", "record 6", False),
    "a write id": ("UPDATE writes SET write_id=x'00' WHERE id=5", "record 5 of log main", False),
    "no write id": ("DELETE FROM writes WHERE id=5", "has no write id", False),
    "a second write id": ("INSERT INTO writes VALUES(x'00', 5)", "write ids name record 5", False),
    "a fresh body": ("UPDATE bodies SET body=x'00' WHERE id=37", "body of record 37", False),
    "no fresh body": ("DELETE FROM bodies WHERE id=37", "body of record 37 of log main is missing", False),
    "a pack of bodies": ("UPDATE body_packs SET frame=zeroblob(length(frame))", "pack of bodies", False),
    "no pack of bodies": ("DELETE FROM body_packs", "body of record 1 of log main is missing", False),
    "truth": ("UPDATE packs SET frame=zeroblob(length(frame)) WHERE tier=4", "pack", False),
    "no truth": ("DELETE FROM packs WHERE tier=4", "which does not exist", True),
    "an address": (
        "UPDATE packs SET directory=zeroblob(32) || substr(directory, 33) WHERE tier=4",
        "is not as it was written",
        False,
    ),
    "the index of truth": (
        "DELETE FROM chunks WHERE pack IN (SELECT id FROM packs WHERE tier=4)",
        "is not in the index",
        False,
    ),
    "a tier": ("UPDATE packs SET tier=3 WHERE tier=4", "is not as it was written", True),
    "a cached pack": ("UPDATE packs SET frame=x'00' WHERE tier<4", "is not as it was written", True),
    "a snapshot": ("UPDATE snapshots SET note=x'00'", "snapshot of record", True),
    "a snapshot's packs": ("DELETE FROM packs WHERE tier<4", "hold 0 bytes", True),
    "a note": ("UPDATE notes SET data=x'00'", "note 1 of touched/main", True),
    "a trigger": ("SELECT 1", "definition of bodies_delete", False),
    "a foreign table": ("CREATE TABLE extra(x)", "same file: extra", True),
}


@pytest.mark.parametrize("kind", SPOILS)
def test_rows_changed_behind_our_back_are_named(store: Path, kind: str) -> None:
    """Each kind of row that is changed, swapped or removed by another tool is reported by name."""
    statement, words, cache = SPOILS[kind]
    with open_raw(store) as connection:
        connection.execute(statement)
    connection.close()
    backend = open_backend(store)
    found = [damage for damage in backend.check() if not damage.what.startswith("the definition of") or "def" in words]
    backend.close()
    assert any(words in damage.what for damage in found), found
    assert any(damage.cache == cache for damage in found if words in damage.what), found


@pytest.mark.parametrize("column", ["first", "base", "digest", "frame"])
@pytest.mark.parametrize("value", ["NULL", "'x'", "x'00'", "-1", "1e300"])
def test_a_pack_of_bodies_of_nonsense_is_damage(store: Path, column: str, value: str) -> None:
    """Whatever a flipped bit makes of a column, reading the bodies raises our own error, and checking tells of it."""
    with open_raw(store) as connection:
        connection.execute(f"UPDATE body_packs SET {column}={value}")
    connection.close()
    with closing(open_backend(store)) as backend:
        with pytest.raises(CorruptStore):
            list(backend.bodies("main", range(1, 30)))
        assert list(backend.check())


def test_a_damaged_body_is_never_given(store: Path) -> None:
    """Reading a damaged body raises and names the record; the others are read."""
    with open_raw(store) as connection:
        connection.execute("UPDATE bodies SET body=x'00' WHERE id=37")
    connection.close()
    backend = open_backend(store)
    with pytest.raises(CorruptStore, match="record 37 of log main"):
        list(backend.bodies("main", [37]))
    assert [n for n, _ in backend.bodies("main", [36, 38])] == [36, 38]
    with pytest.raises(CorruptStore):
        backend.collect({})
    backend.close()


def test_another_copy_stands_in_for_a_damaged_one(tmp_path: Path) -> None:
    """A chunk whose best copy is damaged is read from another; without another it is an error, never wrong bytes."""
    backend = create_backend(tmp_path / "kb.db")
    fill(backend, 3)
    kept = chunks(3)
    backend.put_snapshot("main", 1, tier=3, note=b"", chunks=kept)
    backend.put_snapshot("main", 2, tier=1, note=b"", chunks=kept[:1])
    backend.close()
    with open_raw(tmp_path / "kb.db") as connection:
        connection.execute("UPDATE packs SET frame=zeroblob(20) WHERE tier=3")
    connection.close()
    backend = open_backend(tmp_path / "kb.db")
    (found,) = backend.get_chunks([kept[0].address])
    assert (found.data, found.owner) == (kept[0].data, ("main", 2))
    with pytest.raises(CorruptStore, match=kept[1].address.hex()):
        list(backend.get_chunks([kept[1].address]))
    assert {damage.cache for damage in backend.check() if "definition" not in damage.what} == {True}
    backend.drop_snapshots("main", [1])
    assert [d for d in backend.check() if "definition" not in d.what] == []
    backend.close()


def test_two_chunks_may_share_what_the_index_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks whose addresses begin alike are told apart: each is found, neither stands in for the other as truth."""
    for place in (check_packs, pack_chunks, sqlite_chunks):
        monkeypatch.setattr(place, "prefix_of", lambda address: address[0] % 2)
    backend = create_backend(tmp_path / "kb.db")
    written = chunks(40)
    for slot, one in enumerate(written, 1):
        backend.append("main", slot, [Record(b"x")], write_id=str(slot), chunks=[one])
    for _ in range(2):
        for one in written:
            assert one in [(f.address, f.data) for f in backend.get_chunks([one.address])]
        assert list(backend.get_chunks([chunk(b"absent").address])) == []
        assert list(backend.check()) == []
        backend.collect({})
    backend.close()


TORN: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda wal: wal[: len(wal) * 2 // 3],
    "cut in a frame": lambda wal: wal[: len(wal) - 100],
    "torn": lambda wal: wal[:-3000] + bytes(3000),
    "garbage": lambda wal: wal[:-4200] + random.Random(1).randbytes(4200),
    "header only": lambda wal: wal[:32],
    "half a header": lambda wal: wal[:20],
    "empty": lambda wal: b"",
    "nonsense": lambda wal: b"\xff" * 500,
}


@pytest.mark.parametrize("kind", TORN)
def test_a_torn_wal_gives_whole_slots(tmp_path: Path, kind: str) -> None:
    """After a WAL was cut or torn the store opens with a beginning of its slots, each whole, and goes on."""
    source, target = tmp_path / "a.db", tmp_path / "b.db"
    backend = create_backend(source)
    fill(backend, 5)
    backend.close()
    backend = open_backend(source)
    fill(backend, 20, first=6)
    target.write_bytes(source.read_bytes())
    Path(f"{target}-wal").write_bytes(TORN[kind](Path(f"{source}-wal").read_bytes()))
    backend.close()

    for read_only in (True, False):
        backend = open_backend(target, read_only=read_only)
        slot, number = backend.tail("main")
        assert 5 <= slot == number <= 25
        assert len(list(backend.bodies("main", range(1, number + 1)))) == number
        assert list(backend.check()) == []
        if not read_only:
            fill(backend, 3, first=slot + 1)
            assert list(backend.check()) == []
        backend.close()
    assert sorted(os.listdir(tmp_path)) == ["a.db", "b.db"]
