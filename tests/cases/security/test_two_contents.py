"""Nodes that no builder makes: one address would have two contents, one for each way to read it."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from kbstore import CorruptStore, KBStoreError, Store
from kbstore.sync.remote import clone_into
from kbstore.tree.builder import root_of
from kbstore.tree.check import Prover, Unsound
from kbstore.tree.node import Index, Leaf, Ref, make_index, make_leaf
from kbstore.tree.node_store import Nodes
from tests.cases.security.forge import Forge, copied

Made = list[bytes]


def _leaf(low: int, high: int, start: bytes = b"", end: bytes = b"") -> bytes:
    items = [b'"k%04d":%d' % (n, n) for n in range(low, high)]
    return b"o\n{" + b",".join([*([start] if start else []), *items, *([end] if end else [])]) + b"}"


def _index(*leaves: bytes, first: bytes = b"", more: int = 0, longer: int = 0, level: int = 1) -> Made:
    """An index node over leaves of an object, and the leaves."""
    entries = []
    for leaf in leaves:
        key = leaf[3:].split(b":", 1)[0].strip(b'"')
        count, size = leaf.count(b":"), len(leaf) - 3
        entries.append(b'["%s","%s",%d,%d]' % (first or key, sha256(leaf).hexdigest().encode(), count + more,
                                               size + longer))  # fmt: skip
        first = b""
    return [*leaves, b"O%d\n[%s]" % (level, b",".join(entries))]


FORGED: dict[str, Callable[[], Made]] = {
    "a key in two leaves": lambda: _index(_leaf(0, 300, end=b'"price":100'), _leaf(0, 0, b'"price":999', b'"q":1')),
    "keys of a later leaf come first": lambda: _index(_leaf(300, 600), _leaf(0, 300)),
    "a key twice in a leaf": lambda: [_leaf(0, 300, end=b'"k0299":1')],
    "keys of a leaf in another order": lambda: [_leaf(0, 300, start=b'"z":1')],
    "a lying first key": lambda: _index(_leaf(0, 300), _leaf(300, 600), first=b"j"),
    "a lying count": lambda: _index(_leaf(0, 300), _leaf(300, 600), more=1),
    "a lying size": lambda: _index(_leaf(0, 300), _leaf(300, 600), longer=1),
    "another cut": lambda: _index(_leaf(0, 300), _leaf(300, 600)),
    "an index node over one leaf": lambda: _index(_leaf(0, 600)),
    "a leaf on a wrong level": lambda: _index(_leaf(0, 300), _leaf(300, 600), level=2),
    "blanks": lambda: [_leaf(0, 300).replace(b",", b", ")],
    "a number in another form": lambda: [_leaf(0, 300, end=b'"z":1.50')],
    "an escape that is not needed": lambda: [_leaf(0, 300, end=b'"z":"\\u0061"')],
    "a document that is too short for a leaf": lambda: [_leaf(0, 5)],
    "a text that is too short for a node": lambda: [b's"abc"'],
    "a long item inside": lambda: [_leaf(0, 300, end=b'"z":"%s"' % (b"x" * 3000))],
    "an empty leaf": lambda: [b"o\n{}"],
    "a text that is none": lambda: [b"s" + b"1" * 3000],
    "nothing": lambda: [b"o\n"],
    "another kind": lambda: [*_index(_leaf(0, 300))[:-1], _index(_leaf(0, 300))[-1].replace(b"O1", b"A1")],
    "a reference to another kind": lambda: [_leaf(0, 300), b'o[["a","a","%s",300,%d]]\n{}' % (
        sha256(_leaf(0, 300)).hexdigest().encode(), len(_leaf(0, 300)) - 3)],
    "a reference that lies about its size": lambda: [_leaf(0, 300), b'o[["a","o","%s",300,9999]]\n{}' %
                                                     sha256(_leaf(0, 300)).hexdigest().encode()],
}  # fmt: skip


FOUND = "its patch is not the one that was committed|is not what it should be|is not the state node that it should be"


@pytest.mark.parametrize("name", FORGED)
def test_forged_nodes_are_found(tmp_path: Path, name: str) -> None:
    """`verify` names the version, a clone refuses it; a reader finds one content or an error, never a second one."""
    with Forge(tmp_path / "kb.db") as forge:
        forge.document(FORGED[name]())
    with Store.open(tmp_path / "kb.db", read_only=True) as kb:
        report = kb.verify()
        assert len(report.problems) == 1, report
        assert report.problems[0].startswith("version v1 is damaged")
        with pytest.raises(CorruptStore, match=FOUND):
            clone_into(kb, str(tmp_path / "clone.db"))
        try:
            whole = kb.checkout()
        except KBStoreError:
            return
        for key in whole if isinstance(whole, dict) else ():
            try:
                assert kb.get(f"/{key}") == whole[key]
            except KBStoreError:
                continue


DOCUMENTS = [
    {"a": list(range(3000)), "b": {f"k{n}": n for n in range(3000)}, "c": "x" * 5000, "d": 1},
    {f"k{n}": {"t": "word " * (n % 50), "s": [n] * (n % 7)} for n in range(20_000)},
    [f"element {n}" * (n % 9) for n in range(20_000)],
    "x" * 5000,
    {"o": [[{"x" * 50: "y" * 3000}] * 30] * 30},
    17,
]


@pytest.mark.parametrize("number", range(len(DOCUMENTS)))
def test_what_a_builder_makes_is_proved(tmp_path: Path, number: int) -> None:
    """Whatever the document, and after edits too."""
    with Store.create(tmp_path / "kb.db", DOCUMENTS[number]) as kb:
        if isinstance(DOCUMENTS[number], list):
            kb.commit(patch=[{"op": "add", "path": f"/{n}", "value": "z" * n} for n in range(0, 2500, 25)])
        kb.snapshot()
        nodes = Nodes(kb.backend)
        Prover(nodes).prove(nodes.root(bytes.fromhex(kb.head().state)))
        assert kb.verify().ok


def test_nodes_cut_elsewhere_are_not_proved() -> None:
    """The nodes of a document, one border moved, have the same items and are refused."""

    class Held:
        def load(self, ref: Ref) -> Index | Leaf:
            assert ref.node is not None
            return ref.node  # type: ignore[return-value]

    root = root_of({f"k{n:05}": "text" * 10 for n in range(200)})
    Prover(Held()).prove(root)
    index = root.node
    assert isinstance(index, Index)
    left, right = index.children[0].node, index.children[1].node
    assert isinstance(left, Leaf)
    assert isinstance(right, Leaf)
    moved = make_leaf(True, left.keys[:-1], left.names[:-1], left.values[:-1])
    grown = make_leaf(True, [left.keys[-1], *right.keys], [left.names[-1], *right.names],
                      [left.values[-1], *right.values])  # fmt: skip
    again = make_index(True, 1, [moved, grown, *index.children[2:]])
    assert (again.count, again.size) == (root.count, root.size)
    with pytest.raises(Unsound):
        Prover(Held()).prove(again)


def test_the_chunks_of_a_store_are_its_truth(tmp_path: Path) -> None:
    """The builder of hostile stores reads what a store holds, so that it can be spoiled."""
    with Store.create(tmp_path / "kb.db", DOCUMENTS[0]) as kb:
        state = kb.head().state
    logs, chunks = copied(tmp_path / "kb.db")
    assert len(logs["main"]) == 1
    assert state in {sha256(chunk).hexdigest() for chunk in chunks}
