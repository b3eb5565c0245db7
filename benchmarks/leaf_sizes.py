"""How large leaves, inline values and index nodes should be: the figures behind docs/adr/0001.

``python -m benchmarks.leaf_sizes`` measures every setting in processes of its own, in which the three constants of
`kbstore.tree.node` were replaced. The stores that they make can be read under that setting only, and are thrown away.
Each setting has its turn twice, and the lesser figure counts: what else the machine does can only make one larger.
"""

import gc
import json
import lzma
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from benchmarks import inputs

SETTINGS = [
    *product((4096, 8192, 16384), (1024, 2048, 4096), (32,)),  # leaf, inline, fan-out
    *product((4096,), (2048,), (16, 64)),
]

_COMMITS = 400
_APART = 300
_REPEATS = 5
_TURNS = 2

COLUMNS = {
    "first": "first document, stored KB",
    "grown": "after 400 commits, KB",
    "packed": "after gc, KB",
    "mime-db": "mime-db after gc, KB",
    "kev": "KEV after gc, KB",
    "commit": "warm commit, CPU ms",
    "batch": "batch of 100, CPU us an event",
    "adjacent": "adjacent diff, ms",
    "apart": "diff 300 apart, ms",
    "checkout": "checkout, x loads",
}


def _set_constants(leaf_bytes: int, inline_bytes: int, index_fanout: int) -> None:
    """Replace the constants wherever they were imported to."""
    import kbstore.store
    import kbstore.sync.jsonl  # noqa: F401 - loads all that holds one of the constants

    values = {
        "LEAF_BYTES": leaf_bytes,
        "INLINE_BYTES": inline_bytes,
        "INDEX_FANOUT": index_fanout,
        "_INDEX_LIMIT": (1 << 32) // index_fanout,
    }
    for name, module in list(sys.modules.items()):
        if name.startswith("kbstore."):
            for constant, value in values.items():
                if hasattr(module, constant):
                    setattr(module, constant, value)


def _median_ms(work: Callable[[], Any], repeats: int = _REPEATS) -> float:
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        kept = work()
        taken.append(time.process_time() - start)
        del kept
    return median(taken) * 1e3


def measure(folder: Path) -> dict[str, float]:
    """The row of figures of one setting."""
    from kbstore import Store
    from kbstore.sync.jsonl import import_lines

    base = inputs.document("M")
    edits = list(inputs.patches(base, _COMMITS + 1000))
    figures: dict[str, float] = {}
    path = folder / "kb.db"
    store = Store.create(path, base, author="bench")
    figures["first"] = store.backend.size_bytes() / 1e3
    del base

    taken = []
    for patch in edits[:_COMMITS]:
        start = time.process_time()
        store.commit(patch=patch, message="edit")
        taken.append(time.process_time() - start)
    figures["commit"] = median(taken) * 1e3
    store.close()

    store = Store.open(path, author="bench")
    figures["grown"] = store.backend.size_bytes() / 1e3
    text = orjson.dumps(store.checkout())
    for older, name in ((store.version(_COMMITS), "adjacent"), (store.version(_COMMITS + 1 - _APART), "apart")):
        newer = store.version(_COMMITS + 1)
        store.diff(older, newer)
        figures[name] = _median_ms(lambda older=older, newer=newer: store.diff(older, newer).patch)  # type: ignore[misc]
    store.close()
    gc.disable()
    ratios = []
    for _ in range(_REPEATS):
        with Store.open(path) as fresh:
            loads = _median_ms(lambda: orjson.loads(text), 1)
            ratios.append(_median_ms(fresh.checkout, 1) / loads)
    gc.enable()
    figures["checkout"] = median(ratios)

    store = Store.open(path, author="bench")
    store.gc()
    figures["packed"] = store.backend.size_bytes() / 1e3
    taken = []
    for first in range(_COMMITS, len(edits), 100):
        changes = [{"patch": patch, "message": "edit"} for patch in edits[first : first + 100]]
        start = time.process_time()
        store.commit_many(changes)
        taken.append(time.process_time() - start)
    figures["batch"] = median(taken) / 100 * 1e6
    store.close()

    for name in inputs.HISTORIES:
        with Store.create(folder / f"{name}.db") as store, lzma.open(inputs.history(name)) as lines:
            import_lines(store, lines)
            store.gc()
            figures[name] = store.backend.size_bytes() / 1e3
    return figures


def main() -> None:
    """Print the table as Markdown; with three numbers as arguments, the figures of that setting as JSON."""
    if len(sys.argv) == 4:
        _set_constants(*map(int, sys.argv[1:]))
        with tempfile.TemporaryDirectory(prefix="kbstore-bench-") as folder:
            print(json.dumps(measure(Path(folder))))
        return
    inputs.document("M")
    figures: dict[tuple[int, ...], dict[str, float]] = {}
    for _ in range(_TURNS):
        for setting in SETTINGS:
            found = _in_child(setting)
            known = figures.get(setting, found)
            figures[setting] = {name: min(known[name], found[name]) for name in COLUMNS}
    print("| leaf KiB / inline KiB / fan-out | " + " | ".join(COLUMNS.values()) + " |")
    print("|---|" + "---:|" * len(COLUMNS))
    for (leaf, inline, fanout), found in figures.items():
        cells = (f"{found[name]:,.{0 if found[name] >= 100 else 2}f}" for name in COLUMNS)
        print(f"| {leaf // 1024} / {inline // 1024} / {fanout} | " + " | ".join(cells) + " |", flush=True)


def _in_child(setting: tuple[int, ...]) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.leaf_sizes", *map(str, setting)]
    print(f"measuring {setting}", file=sys.stderr)
    return dict(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))


if __name__ == "__main__":
    main()
