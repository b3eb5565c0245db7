"""The formats stay as docs/format.md says, and what an earlier kbstore wrote stays readable."""

import base64
import re
import shutil
import sqlite3
import zlib
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbstore import Store, UnsupportedFormat
from kbstore.backends import create_backend
from kbstore.backends.s3.format.keys import SnapshotName, snapshot_key
from kbstore.backends.sqlite import schema
from kbstore.jsondoc.canonical import encode
from kbstore.jsondoc.pointer import MAX_DEPTH
from kbstore.sync.jsonl import export_all
from kbstore.tree import node
from kbstore.tree.builder import build_value
from kbstore.tree.node import VALUE, Blob, Ref
from tests.conftest import LETTERS, ROOT
from tests.format.history import build, document
from tests.format.reference import canonical, nodes_of

GOLDEN = Path(__file__).parent / "golden"
FORMATS = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")

_TEXTS = st.text(LETTERS, max_size=20) | st.integers(1, 3000).map(lambda n: "é" * n)
_SMALL = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_TEXTS, inner, max_size=5),
    max_leaves=8,
)
_NUMBERS = st.integers(1, 200)
_LONG = st.builds(lambda item, n: [item, n] * n, st.text(LETTERS, max_size=60), _NUMBERS) | st.builds(
    lambda item, n: {f"k{i}": [item, i] for i in range(n)}, st.text(LETTERS, max_size=60), _NUMBERS
)
_VALUES = _SMALL | _LONG | st.lists(_SMALL | _LONG, max_size=4) | st.dictionaries(_TEXTS, _SMALL | _LONG, max_size=4)


def state_of(value: Any) -> str:
    """The state hash that kbstore gives a document."""
    stored = build_value(encode(value))
    root = stored if isinstance(stored, Ref) else Ref(VALUE, None, 0, len(stored), None, Blob(VALUE, stored))
    return root.address.hex()


@given(_VALUES)
def test_the_words_of_the_document_make_the_same_tree(value: Any) -> None:
    """A tree that is built from docs/format.md alone has the root that kbstore gives."""
    assert canonical(value) == encode(value)
    assert nodes_of(value)[0] == state_of(value)


def test_every_node_of_a_store_is_as_described() -> None:
    """The nodes of a whole state, read from a store, are those of the description, byte for byte."""
    kb = Store.create("memory:", document())
    state, nodes = nodes_of(document())
    assert kb.head().state == state
    found = {f.address.hex(): f.data for f in kb.backend.get_chunks(bytes.fromhex(address) for address in nodes)}
    assert {address: found[address] for address in nodes} == nodes
    assert {data[:1] for data in nodes.values()} == {b"o", b"a", b"s", b"O", b"A"}


def test_the_same_history_is_the_same_bytes() -> None:
    """Events, patches, states, tags, branches and settings of a fixed history never change: pinned ids stay good."""
    exported = b"".join(export_all(build("memory:")))
    assert exported == (GOLDEN / "history.jsonl").read_bytes()


def test_ids_are_hashes_as_described() -> None:
    """Id, patch and parents of each exported event can be computed by anybody, from the words of the document."""
    known: set[str] = set()
    for line in (GOLDEN / "history.jsonl").read_bytes().splitlines():
        fields = orjson.loads(line)
        header = fields.get("event") or fields["ref"]
        assert sha256(canonical(header)).hexdigest() == fields["id"]
        if "event" in fields:
            assert known.issuperset(header["parents"])
            known.add(fields["id"])


@pytest.mark.parametrize("name", ["kb.db", "packed.db"])
def test_a_store_of_this_format_opens_for_ever(tmp_path: Path, name: str) -> None:
    """A file written when the format was fixed is whole, gives the history that it gave then, and takes commits."""
    path = Path(shutil.copy(GOLDEN / name, tmp_path / name))
    with Store.open(path) as kb:
        report = kb.verify()
        assert (report.ok, report.caches) == (True, [])
        assert b"".join(export_all(kb)) == (GOLDEN / "history.jsonl").read_bytes()
        assert kb.checkout("v1") == document()
        for version in kb.log():
            assert nodes_of(kb.checkout(version))[0] == version.state
        assert kb.checkout("dev")["meta"]["version"] == -0.5
        assert kb.get("/problems/p001/title", at="stable") == "Printer offline"
        assert kb.settings() == {"identity:/order": ("id", "note")}
        assert kb.commit(patch=[{"op": "remove", "path": "/order"}]).seq == 7
        assert kb.verify().ok


def queries() -> list[str]:
    """The SQL of docs/format.md."""
    return re.findall(r"```sql\n(.*?)```", FORMATS, re.DOTALL)


def test_the_queries_of_the_document_work() -> None:
    """Each query that docs/format.md gives answers on a store, in plain SQLite."""
    connection = sqlite3.connect(f"file:{GOLDEN / 'kb.db'}?mode=ro&immutable=1", uri=True)
    history, authors, labelled, patches, tags = [connection.execute(query).fetchall() for query in queries()]
    connection.close()
    assert [(row[0], row[2], row[3]) for row in history[-2:]] == [
        (2, "luis@example.com", "six operations"),
        (1, "ana@example.com", "begin"),
    ]
    assert sum(row[1] for row in authors) == len(history) == 6
    assert labelled == [(2, "six operations")]
    assert orjson.loads(patches[1][1])[2] == {"op": "remove", "path": "/problems/p002"}
    assert tags == [("stable", 3)]


def test_the_document_names_the_constants_that_are_used() -> None:
    """Sizes, limits and numbers in docs/format.md are those of the code."""
    assert (node.INLINE_BYTES, node.LEAF_BYTES, node.INDEX_FANOUT, node.REF_BYTES) == (2048, 4096, 32, 100)
    for text in ("2,048 bytes", "times 4,096", "2^32 / 32", f"{MAX_DEPTH} levels", f"0x{schema.APPLICATION_ID:08X}"):
        assert text in FORMATS
    columns = {
        name: cells.replace(" ", "").split(",") for name, cells in re.findall(r"\| `(\w+)\(([^)]*)\)` \|", FORMATS)
    }
    connection = sqlite3.connect(f"file:{GOLDEN / 'kb.db'}?mode=ro&immutable=1", uri=True)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")]
    there = {name: [row[1] for row in connection.execute(f"PRAGMA table_xinfo({name})")] for name in tables}
    connection.close()
    assert columns == there


@pytest.mark.parametrize(
    ("lead", "requires", "note"),
    [(b"\x01" * 8, (), b'{"on":null,"operations":7,"root":"00ff","size":12}'), (b"", (32, 48), None)],
)
def test_names_of_snapshots_are_as_described(lead: bytes, requires: tuple[int, ...], note: bytes | None) -> None:
    """The name of a snapshot on S3 can be read with the dictionary that docs/format.md prints."""
    (dictionary,) = re.findall(r"```text\n(.*)\n```", FORMATS.partition("### Names of snapshots")[2])
    assert f"these {len(dictionary)} bytes" in FORMATS
    key = snapshot_key("main", SnapshotName(65, 2, "0123456789abcdef", 9, 8, 7, 6, lead, requires, note))
    text = key.removeprefix("snap/4main000000000000/").replace("/", "")
    assert text.startswith("00000000006520123456789abcdef")
    letters = text[29:].upper()
    packed = base64.b32decode(letters + "=" * (-len(letters) % 8))
    detail = zlib.decompressobj(wbits=-15, zdict=dictionary.encode()).decompress(packed)
    numbers = ",".join(map(str, (9, 8, 7, 6, *requires))).encode()
    rest = b"n" if note is None else b"y" + note
    assert detail == bytes([len(lead)]) + lead + bytes([len(numbers)]) + numbers + rest


def test_a_newer_event_format_is_refused() -> None:
    """An event of a format that is not known yet is refused by its number, not taken for damage."""
    backend = create_backend("memory:")
    Store(backend).commit({"n": 1})
    header = next(iter(backend.read("main", 1))).header.replace(b'"format":1', b'"format":2,"more":true')
    newer = create_backend("memory:newer")
    from kbstore.backends.base import Record

    newer.append("main", 1, [Record(header, b"[]")], write_id="w")
    with pytest.raises(UnsupportedFormat, match="event format 2"):
        Store(newer).head()
