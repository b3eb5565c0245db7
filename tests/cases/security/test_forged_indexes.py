"""Indexes that were made to deceive: they have the right digests, and hide a version from those who ask."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
import zstandard

from kbstore import Store
from kbstore.backends.sqlite.cache import note_digest
from kbstore.history.index.paths import BLOCK_EVENTS
from kbstore.sync.remote import clone_into

SECRET = 40
EVENTS = 2 * BLOCK_EVENTS + 10


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with an index of touched entries, one of members' order, and a branch."""
    path = tmp_path / "kb.db"
    with Store.create(path, {"p": {f"k{n}": {"b": 0, "a": 0} for n in range(9)}}) as kb:
        changes = [
            {"patch": [{"op": "add", "path": "/p/k0/b" if n == SECRET else f"/p/k{1 + n % 8}/b", "value": n}],
             "message": "SECRET" if n == SECRET else "m"}
            for n in range(2, EVENTS)
        ]  # fmt: skip
        kb.commit_many(changes)
        kb.create_branch("dev", "v50")
        kb._touched.build(1, kb.head().seq)
        kb._orders.index.build(kb.head().seq)
    return path


def _forge(path: Path, name: str, change: Callable[[bytes], bytes], *, number: int | None = None) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    rows = connection.execute("SELECT number, data FROM notes WHERE name=?", (name,)).fetchall()
    assert rows
    for at, data in rows:
        new, place = change(data), at if number is None else number
        row = (name, place, note_digest(name, place, new), new)
        connection.execute("INSERT OR REPLACE INTO notes VALUES(?,?,?,?)", row)
    connection.close()


def _without(data: bytes) -> bytes:
    block = orjson.loads(zstandard.ZstdDecompressor().decompress(data))
    block.pop("/p/k0", None)
    return zstandard.ZstdCompressor(write_checksum=True).compress(orjson.dumps(block))


def _secrets(path: Path) -> int:
    with Store.open(path, read_only=True) as kb:
        return sum(version.message == "SECRET" for version in kb.log(path="/p/k0"))


def test_a_forged_index_is_a_problem_and_a_clone_builds_its_own(tmp_path: Path, store: Path) -> None:
    """Case 13: `verify` says which index deceives and what helps; what is cloned is right; what helps does."""
    assert _secrets(store) == 1
    _forge(store, "touched/main", _without)
    assert _secrets(store) == 0
    with Store.open(store) as kb:
        (problem,) = kb.verify().problems
        assert "touched/main" in problem
        assert "log --path" in problem
        clone_into(kb, str(tmp_path / "clone.db"))
        assert _secrets(tmp_path / "clone.db") == 1
        kb.gc(indexes=True)
        assert kb.verify().ok
    assert _secrets(store) == 1


def test_a_block_of_what_is_not_whole_yet_is_a_problem(store: Path) -> None:
    """A block that hides versions before they are made."""
    _forge(store, "touched/main", _without, number=2)
    with Store.open(store, read_only=True) as kb:
        assert len(kb.verify().problems) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields | {"before": "0" * 64},
        lambda fields: fields | {"events": [[5, "0" * 64]]},
        lambda fields: fields | {"upto": 10**6},
        lambda fields: fields | {"upto": "x"},
        lambda fields: {},
    ],
)
def test_a_forged_index_of_order_is_a_problem(store: Path, change: Callable[[dict[str, object]], object]) -> None:
    """As for entries; a block that cannot be read is a problem too, since it has the right digest."""
    with Store.open(store, read_only=True) as kb:
        assert kb.verify().ok
    _forge(store, "order/main", lambda data: orjson.dumps(change(orjson.loads(data))))
    with Store.open(store, read_only=True) as kb:
        assert len(kb.verify().problems) == 1


def test_indexes_of_authors_are_computed_anew() -> None:
    """On the memory backend, which takes them as S3 does."""
    with Store.create("memory:", {"n": 0}, author="ann") as kb:
        kb.commit_many(
            [{"patch": [{"op": "add", "path": "/n", "value": n}], "author": f"a{n % 3}"} for n in range(1100)]
        )
        from kbstore.history.index.authors import Who

        Who(kb.backend, kb.line).build(1, kb.head().seq)
        assert kb.verify().ok
        ((number, data),) = kb.backend.notes("who/main")
        fields = orjson.loads(data)
        kb.backend.put_note("who/main", number, orjson.dumps(fields | {"authors": fields["authors"][1:]}))
        (problem,) = kb.verify().problems
        assert "log --author" in problem


@pytest.mark.parametrize(
    ("name", "odd"),
    [
        ("order/main", {"before": None, "events": [], "upto": "x"}),
        ("order/main", {"before": 5, "events": [], "upto": 100}),
        ("order/main", {"before": None, "events": [["a", "b"]], "upto": 100}),
        ("order/main", {"before": [], "events": [], "upto": 10**18}),
        ("touched/main", {"/p/k0": 5}),
        ("touched/main", {"/p/k0": ["x"]}),
        ("touched/main", {"/p/k0": None}),
    ],
)
def test_an_index_of_another_kind_is_a_problem_and_read_anew(store: Path, name: str, odd: object) -> None:
    """It has the right digest, and is not what an index holds: answers are right all the same."""
    with Store.open(store, read_only=True) as kb:
        right = _answers(kb)
    data = orjson.dumps(odd)
    _forge(store, name, lambda _: data if name == "order/main" else zstandard.ZstdCompressor().compress(data))
    with Store.open(store, read_only=True) as kb:
        assert _answers(kb) == right
        assert len(kb.verify().problems) == 1


def _answers(kb: Store) -> list[object]:
    return [orjson.dumps(kb.checkout("v60")), kb.get("/p/k0", "v60"), [version.seq for version in kb.log(path="/p/k0")]]
