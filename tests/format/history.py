"""The small history that the golden files hold: every kind of node, operation and ref event, always the same.

``python -m tests.format.history`` writes the golden files anew, which only a new format gives reason to.
"""

import random
import shutil
from pathlib import Path
from typing import Any

from kbstore import Change, Store
from kbstore.sync.jsonl import export_all
from tests.store.support import Ticks

_WORDS = ["router", "printer", "password", "driver", "cable", "restart", "update", "server", "client", "email"]


def document() -> dict[str, Any]:
    """A knowledge base of some 60 KB: a large object, a large array, long strings, and small things."""
    rnd = random.Random(7)

    def text(words: int) -> str:
        return " ".join(rnd.choice(_WORDS) for _ in range(words))

    problems: dict[str, Any] = {
        f"p{n:03}": {"title": text(5), "votes": n, "steps": [text(4) for _ in range(n % 4)], "solved": n % 2 == 0}
        for n in range(120)
    }
    problems["p017"]["log"] = text(600)
    problems["p050"]["details"] = {f"k{n}": text(12) for n in range(60)}
    return {
        "meta": {"version": 1, "ratio": 1.5, "one": 1.0, "none": None, "título": "café ☕ \u2028"},
        "problems": problems,
        "order": [{"id": n, "note": text(6)} for n in range(300)],
        "~odd/key": [],
    }


def build(location: str | Path) -> Store:
    """Make the store; the caller closes it."""
    kb = Store.create(location, document(), clock=Ticks(), author="ana@example.com", message="begin")
    kb.commit(
        patch=[
            {"op": "replace", "path": "/problems/p001/title", "value": "Printer offline"},
            {"op": "add", "path": "/order/0", "value": {"id": 1000, "note": "first"}},
            {"op": "remove", "path": "/problems/p002"},
            {"op": "move", "from": "/problems/p003", "path": "/problems/p900"},
            {"op": "copy", "from": "/meta", "path": "/~0odd~1key/-"},
            {"op": "test", "path": "/meta/one", "value": 1.0},
        ],
        author="luis@example.com",
        message="six operations",
        tags=["api", "integration"],
    )
    kb.commit(patch=[{"op": "add", "path": "/problems/p003", "value": {"log": "long " * 900}}], meta={"ticket": 42})
    kb.commit_many([Change(patch=[{"op": "replace", "path": "/meta/version", "value": n}]) for n in (2, 3)])
    kb.tag("stable", "v3")
    kb.tag("gone", "v1")
    kb.untag("gone")
    kb.set("collection", ["/problems"])
    kb.set("identity:/order", ["id", "note"])
    kb.set("collection", None)
    kb.create_branch("dev", "v2")
    dev = Store(kb.backend, branch="dev", clock=Ticks(prefix=7), author="dev@example.com")
    dev.commit(patch=[{"op": "replace", "path": "/meta/version", "value": -0.5}], message="on a branch")
    kb.restore("v2", message="back")
    kb.create_branch("draft", "v1")
    kb.rename_branch("draft", "old")
    kb.delete_branch("old")
    return kb


def _write_golden(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name in ("kb.db", "packed.db"):
        (folder / name).unlink(missing_ok=True)
    with build(folder / "kb.db") as kb:
        (folder / "history.jsonl").write_bytes(b"".join(export_all(kb)))
    shutil.copy(folder / "kb.db", folder / "packed.db")
    with Store.open(folder / "packed.db") as kb:
        kb.gc()


if __name__ == "__main__":
    _write_golden(Path(__file__).parent / "golden")
