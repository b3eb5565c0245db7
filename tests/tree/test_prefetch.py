"""Loading ahead loads just what pointers lead through, in few reads, and changes nothing."""

from typing import Any

from kbstore import Store
from kbstore.backends import create_backend
from kbstore.tree.node_store import Nodes
from kbstore.tree.prefetch import load_ahead
from kbstore.tree.reader import find, materialise
from tests.doubles.counting import CountingBackend


def test_the_way_to_each_pointer_is_loaded_level_by_level() -> None:
    """After loading ahead nothing is read for these pointers, and there were fewer reads than pointers."""
    document: dict[str, Any] = {
        "problems": {f"kb-{n:05}": {"title": "t" * (n % 90), "steps": list(range(n % 7))} for n in range(3000)},
        "order": [{"id": n, "text": "x" * 40} for n in range(3000)],
        "note": "short",
    }
    inner = create_backend("memory:")
    Store(inner).commit(document, author="a")
    kb = Store(inner)
    kb.snapshot()
    state = kb.version().state
    assert state is not None
    backend = CountingBackend(inner)
    nodes = Nodes(backend)
    root = nodes.root(bytes.fromhex(state))
    paths = [("problems", f"kb-{n:05}", "title") for n in range(0, 3000, 30)]
    paths += [("order", str(n)) for n in range(0, 3000, 30)]
    paths += [
        ("note",),
        ("missing", "x"),
        ("order", "-"),
        ("order", "99999999999999999999999"),
        ("problems", "zzz"),
        (),
    ]
    load_ahead(root, paths, nodes)
    reads = backend.counts.calls["get_chunks"]
    assert reads < 20
    for path in paths[:200]:
        stored = find(root, path, nodes)
        assert stored is not None
        expected: Any = document
        for token in path:
            expected = expected[int(token)] if isinstance(expected, list) else expected[token]
        assert materialise(stored, nodes) == expected
    assert backend.counts.calls["get_chunks"] == reads
