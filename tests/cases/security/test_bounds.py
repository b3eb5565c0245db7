"""What a few kilobytes may make a reader do: every command refuses what would take too much, by name and at once."""

import gzip
import json
import sqlite3
import struct
from pathlib import Path

import pytest
import zstandard

from kbstore import Store
from kbstore.backends import packing
from kbstore.errors import TooLarge
from kbstore.jsondoc.canonical import encode
from kbstore.kit.errors import CorruptStore
from kbstore.sync.jsonl import import_lines
from kbstore.sync.jsonl_reader import ImportFailed, unpacked
from kbstore.tree.limits import VARIABLE
from tests.cases.security.forge import Forge, copied, event, long_value, rewritten, sha
from tests.cases.security.support import acts
from tests.conftest import LONG

READS = [["show"],
         ["show", "--stat"], ["get", "/a"], ["checkout", "-o", "out.json"], ["verify"], ["salvage", "out"],
         ["export", "-o", "out.jsonl"], ["diff", "v0", "v1"], ["log", "--path", "/a"], ["gc"]]  # fmt: skip


def _stored(name: str) -> list[list[str]]:
    return [["--store", name, *command] for command in READS] + [["clone", name, f"{name}.clone"]]


def _framed(path: Path, frame: bytes, promised: int) -> None:
    """A store whose only document is in this frame."""
    node = b"s" + b'"' + b"x" * 3000 + b'"'
    with Forge(path) as forge:
        forge.document([node])
        address = bytes.fromhex(sha(node))
        forge._connection.execute("DROP TRIGGER packs_delete")
        forge._connection.execute("DELETE FROM packs")
        forge.pack([b""], frame=frame, sizes=[promised], addresses=[address])
        forge._connection.execute(
            "CREATE TRIGGER packs_delete BEFORE DELETE ON packs WHEN OLD.tier=4 AND NOT EXISTS(SELECT 1 FROM notes "
            "WHERE name='=moved' AND number=OLD.id) BEGIN SELECT RAISE(ABORT,'kept for ever'); END"
        )


def test_a_frame_is_refused_before_it_expands(tmp_path: Path) -> None:
    """Case 05: a frame that holds more than is promised, or than any reader takes, is refused by every command."""
    size = 100 << 20
    packer = zstandard.ZstdCompressor(level=3).compressobj(size=size)
    bomb = b"".join([packer.compress(bytes(1 << 20)) for _ in range(100)]) + packer.flush()
    _framed(tmp_path / "bomb.db", bomb, size)
    _framed(tmp_path / "liar.db", b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 1 << 50) + b"\x01\x00\x00", 10)
    _framed(tmp_path / "more.db", zstandard.ZstdCompressor().compress(b"x" * 11), 10)
    stream = zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 10)
    _framed(tmp_path / "mute.db", stream, 10)
    names = ["bomb.db", "liar.db", "more.db", "mute.db"]
    found = acts(tmp_path, [command for name in names for command in _stored(name)])
    for act in found:
        assert act.bounded, act
        assert act.peak_mb < 200, act
        if "gc" not in act.arguments:
            assert act.code != 0 or "log" in act.arguments or "salvage" in act.arguments, act


def test_what_is_written_can_be_read() -> None:
    """A frame that would expand too much for a reader is made longer; a base changes nothing in that."""
    raw = bytes(packing.LARGEST_RAW_BYTES + 1)
    for base in (None, b"base" * 100):
        frame = packing.compress(raw, 1, base)
        assert len(raw) / packing.MOST_EXPANDED <= len(frame) < len(raw) / packing.MOST_EXPANDED * 1.1
        assert packing.decompress(frame, base, size=len(raw)) == raw
    small = packing.compress(bytes(100_000), 1)
    assert len(small) < 100
    for size in (99_999, 100_001):
        with pytest.raises(CorruptStore, match=str(size)):
            packing.decompress(small, size=size)


DOUBLING = (
    b'[{"op":"add","path":"","value":{"a":[1,1,1,1,1,1,1,1]}}' + b',{"from":"/a","op":"copy","path":"/a/-"}' * 40 + b"]"
)


def test_patches_in_events_have_the_limits_of_apply(tmp_path: Path) -> None:
    """Case 11: a patch that doubles a value by forty copies is refused by every command that would apply it."""
    header = event(DOUBLING, "0" * 64)
    with Forge(tmp_path / "kb.db") as forge:
        forge.record("main", header, DOUBLING)
    line = {"event": json.loads(header), "id": sha(header), "patch": json.loads(DOUBLING)}
    (tmp_path / "ev.jsonl").write_text(json.dumps(line) + "\n")
    with Store.create(tmp_path / "second.db", {"a": [1] * 8}) as kb:
        first = kb.head()
    logs, _ = copied(tmp_path / "second.db")
    body = b"[" + b",".join([b'{"from":"/a","op":"copy","path":"/a/-"}'] * 40) + b"]"
    doubled = event(body, "0" * 64, seq=2, parents=[first.id], time="2036-01-01T00:00:00.000000Z")
    rewritten(tmp_path / "later.db", {"main": [*logs["main"], (doubled, body)]})
    commands = (
        [*_stored("kb.db"), *_stored("later.db")]
        if LONG
        else [
            ["clone", "kb.db", "c.db"],
            *(
                ["--store", "later.db", *command]
                for command in (["verify"], ["checkout", "-o", "out.json"], ["get", "/a"])
            ),
        ]
    )
    found = acts(tmp_path, [*commands, ["--store", "new.db", "import", "ev.jsonl"]])
    for act in found:
        assert act.bounded, act
    refused = [act for act in found if act.arguments[2] in ("verify", "import") or act.arguments[0] == "clone"]
    assert [act.code for act in refused if act.code == 0] == []
    assert "copies of this patch" in next(act.told for act in refused if act.arguments[2] == "import")


def test_lines_of_packed_imports_are_bounded(tmp_path: Path) -> None:
    """Case 11: a line that a few packed bytes expand to, and blank lines without end, are refused."""
    with gzip.open(tmp_path / "bomb.gz", "wb", 1) as file:
        file.write(b'{"document":{"a":"')
        for _ in range(150):
            file.write(b"a" * (1 << 20))
        file.write(b'"}}\n')
    (tmp_path / "blank.gz").write_bytes(gzip.compress(b"\n" * 2_000_000))
    for name in ("bomb.gz", "blank.gz"):
        with (tmp_path / name).open("rb") as file, pytest.raises(ImportFailed):
            list(unpacked(file))
    found = acts(tmp_path, [["--store", "i.db", "import", name] for name in ("bomb.gz", "blank.gz")])
    assert [act.bounded and act.peak_mb < 300 and act.code != 0 for act in found] == [True, True], found
    long = [b'{"document":"' + b"word " * 1_500_000 + b'"}\n', b'{"document":1}\n']
    (tmp_path / "long.gz").write_bytes(gzip.compress(b"".join(long)))
    with (tmp_path / "long.gz").open("rb") as file:
        assert list(unpacked(file)) == long


def _laughs(levels: int = 40) -> list[bytes]:
    """Nodes of which each holds the one before twice; the last is the root."""
    leaf = b'a\n["%s","%s"]' % (b"x" * 2000, b"y" * 2000)
    nodes, size = [leaf], len(leaf) - 3
    count = 2
    for _ in range(levels):
        address = sha(nodes[-1]).encode()
        entry = b'"a","%s",%d,%d' % (address, count, size)
        nodes.append(b"a[[0,%s],[1,%s]]\n[]" % (entry, entry))
        count, size = 2, 2 * (size + 2)
    return nodes


def test_nodes_that_are_shared_over_and_over_are_refused(tmp_path: Path) -> None:
    """Case 03: a small store whose document would be terabytes; each command says so, with what allows more."""
    with Forge(tmp_path / "kb.db") as forge:
        forge.document(_laughs())
    for act in acts(tmp_path, _stored("kb.db")):
        assert act.bounded, act
        assert act.peak_mb < 150, act
        if act.arguments[2] in ("show", "checkout", "verify", "export") or act.arguments[0] == "clone":
            assert act.code == 3, act
    with Store.open(tmp_path / "kb.db", read_only=True) as kb, pytest.raises(TooLarge, match="bytes") as caught:
        kb.checkout()
    assert VARIABLE in (caught.value.hint or "")


def test_what_is_too_large_may_be_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment says how large a document may be; counts are checked on the way whatever it says."""
    with Forge(tmp_path / "kb.db") as forge:
        forge.document(_laughs(6))
    with Store.open(tmp_path / "kb.db", read_only=True) as kb:
        assert len(kb.checkout()) == 2
        assert len(kb.get("/0/1/0")) == 2
        monkeypatch.setattr("kbstore.tree.limits.LARGEST_BYTES", 1000)
        monkeypatch.setattr("kbstore.tree.limits.MOST_EXPANDED", 0)
        with pytest.raises(TooLarge):
            _ = kb.version("v1").patch
        monkeypatch.setenv(VARIABLE, "10000000")
        assert kb.version("v1").patch


@pytest.mark.parametrize("first", [True, False])
def test_what_could_not_be_read_again_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    """A document that repeats itself so much that its store takes nearly nothing is refused by the commit itself."""
    monkeypatch.setattr("kbstore.tree.limits.LARGEST_BYTES", 10_000)
    monkeypatch.setattr("kbstore.tree.limits.MOST_EXPANDED_AT_FIRST", 1)
    with Store.create(tmp_path / "kb.db") as kb:
        if not first:
            kb.commit({"a": "z"})
        with pytest.raises(TooLarge, match="would be read of this store") as caught:
            kb.commit({"a": "z" * 10_000_000})
        assert kb.head().seq == (0 if first else 1)
        assert kb.verify().ok
        name, _, size = str(caught.value.hint).rpartition(" ")[2].partition("=")
        monkeypatch.setenv(name, size)
        landed = kb.commit({"a": "z" * 10_000_000})
        assert kb.verify().ok
        assert len(kb.checkout(landed)["a"]) == 10_000_000


def test_a_value_nested_too_deep_is_refused(tmp_path: Path) -> None:
    """Six hundred containers, each in a node of its own, are an error with one sentence, for every command."""
    nodes = [b's"%s"' % (b"x" * 3000)]
    kind, count, size = b"s", 0, 3002
    for _ in range(600):
        nodes.append(b'a[[0,"%s","%s",%d,%d]]\n[]' % (kind, sha(nodes[-1]).encode(), count, size))
        kind, count, size = b"a", 1, size + (1 if kind == b"s" else 2)
    with Forge(tmp_path / "kb.db") as forge:
        forge.document(nodes)
    for act in acts(tmp_path, _stored("kb.db")):
        assert act.bounded, act


def test_a_value_that_stands_in_many_operations_is_counted_each_time(tmp_path: Path) -> None:
    """Thousands of tests against one long value of a megabyte end soon."""
    with Store.create(tmp_path / "kb.db", {"a": [f"text {n}" for n in range(100_000)]}) as kb:
        root = bytes.fromhex(kb.head().state)
    _, chunks = copied(tmp_path / "kb.db")
    test = b',{"op":"test","path":"","value_node":"%s"}' % root.hex().encode()
    body = long_value(root)[:-1] + test * 20_000 + b"]"
    with Forge(tmp_path / "tests.db") as forge:
        forge.pack(chunks)
        forge.record("main", event(body, root.hex()), body)
    for act in acts(tmp_path, _stored("tests.db")):
        assert act.bounded, act


@pytest.mark.parametrize("branch", [[], {}, 5, None])
@pytest.mark.parametrize("patch", [None, []])
def test_a_line_on_what_is_no_branch_is_refused(branch: object, patch: object) -> None:
    """By its number, wherever it stands: first, or behind a version that is lost."""
    lost = {"event": {}, "id": "x", "patch": None}
    line = {"event": {}, "id": "x", "patch": patch, "branch": branch}
    for lines in ([line], [lost, line]):
        with Store.create("memory:") as kb, pytest.raises(ImportFailed, match="it is not a name") as caught:
            import_lines(kb, [encode(each) for each in lines])
        assert caught.value.line == len(lines)
    with Store.create("memory:") as kb:
        assert import_lines(kb, [encode({"document": 1, "branch": branch})]).versions == 1


def test_a_row_that_is_about_billions_of_records_is_one_problem(tmp_path: Path) -> None:
    """`verify` looks at the records that there are."""
    with Store.create(tmp_path / "kb.db", {"a": 1}):
        pass
    connection = sqlite3.connect(tmp_path / "kb.db", isolation_level=None)
    connection.execute("INSERT INTO body_packs VALUES(?, 1, NULL, x'00', x'00')", (1 << 31,))
    connection.close()
    (found,) = acts(tmp_path, [["--store", "kb.db", "verify"]])
    assert (found.code, found.bounded) == (3, True), found
