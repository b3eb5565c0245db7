"""Snapshots and packs that were made to deceive: with right digests, of another document than their version names."""

import sqlite3
from pathlib import Path

import pytest

from kbstore import Store
from kbstore.backends import open_backend
from kbstore.backends.sqlite.cache import snapshot_digest
from kbstore.backends.sqlite.digests import pack_digest
from kbstore.history.snapshots import COMPLETE, Note
from kbstore.sync.remote import clone_into
from kbstore.tree.builder import root_of
from kbstore.tree.node_store import Nodes, unsaved
from tests.s3.fakes import Bucket, backend_on

VERSIONS = 6
TRUE = {"p": {f"k{n}": {"price": n} for n in range(9)}}
FALSE = {"p": {f"k{n}": {"price": 999} for n in range(9)}}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with six versions, of which each has k1 at price 1."""
    path = tmp_path / "kb.db"
    with Store.create(path, TRUE) as kb:
        for n in range(2, VERSIONS + 1):
            kb.commit(patch=[{"op": "replace", "path": f"/p/k{n}/price", "value": 10 * n}])
    return path


def _snapshot(path: Path, number: int, document: object) -> None:
    backend = open_backend(str(path))
    root = root_of(document)
    nodes = unsaved(root, Nodes(backend), below=COMPLETE, mark=COMPLETE)
    note = Note(root.address, root.size).encode()
    assert backend.put_snapshot("main", number, tier=COMPLETE, note=note, chunks=nodes, requires={})
    backend.close()


@pytest.mark.parametrize("number", [1, 3, VERSIONS])
def test_a_forged_snapshot_deceives_nobody(tmp_path: Path, store: Path, number: int) -> None:
    """Reads of a file and clones pass over it, `verify` calls it a problem, and what it says helps."""
    _snapshot(store, number, FALSE)
    with Store.open(store, read_only=True) as kb:
        for version in (f"v{number}", "HEAD"):
            assert kb.get("/p/k1/price", version) == 1
            assert kb.checkout(version)["p"]["k1"]["price"] == 1
        (problem,) = kb.verify().problems
        assert f"snapshot of v{number} " in problem
        assert "kbstore gc" in problem
        clone_into(kb, str(tmp_path / "clone.db"))
    with Store.open(tmp_path / "clone.db") as clone:
        assert clone.checkout()["p"]["k1"]["price"] == 1
    with Store.open(store) as kb:
        kb.gc()
        assert kb.verify().problems == []


def test_a_snapshot_of_a_version_to_come_is_a_problem(store: Path) -> None:
    """It would be what is read of that version once it is there."""
    _snapshot(store, VERSIONS, FALSE)
    connection = sqlite3.connect(store, isolation_level=None)
    ((ident, tier, *packs, note),) = connection.execute(
        "SELECT id, tier, first_pack, last_pack, bytes, note FROM snapshots"
    )
    owner = ident + 1
    connection.execute("UPDATE snapshots SET id=?, digest=?", (owner, snapshot_digest((owner, tier, *packs), note)))
    for pack, *rest in connection.execute("SELECT id, base, directory, frame FROM packs WHERE tier<4").fetchall():
        connection.execute("DELETE FROM packs WHERE id=?", (pack,))
        row = (pack, tier, owner, rest[0], pack_digest(tier, owner, *rest), *rest[1:])
        connection.execute("INSERT INTO packs VALUES(?,?,?,?,?,?,?)", row)
    connection.close()
    with Store.open(store) as kb:
        (problem,) = kb.verify().problems
        assert f"v{VERSIONS + 1} is of a version that is not there" in problem
        kb.gc()
        assert kb.verify().ok


def _bucket(price: int, versions: int) -> Bucket:
    bucket = Bucket()
    with Store(backend_on(bucket, new=True)) as kb:
        for n in range(versions):
            kb.commit({"price": price, "n": n})
    return bucket


def test_a_pack_that_tells_another_history_is_a_problem() -> None:
    """A pack of the bucket is read in place of slots: versions would have two contents under one id."""
    bucket, other = _bucket(1, 32), _bucket(999, 32)
    (pack,) = (key for key in bucket.objects if key.startswith("pack/"))
    assert Store(backend_on(bucket)).verify().ok
    bucket.objects[pack] = other.objects[pack]
    with Store(backend_on(bucket)) as kb:
        (problem,) = kb.verify().problems
        assert pack in problem
    bucket.remove(pack)
    with Store(backend_on(bucket)) as kb:
        assert kb.verify().ok
        assert kb.get("/price", "v3") == 1
