"""Checks of all that a store holds, and of all that comes into one: `verify`, a clone, an import."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import stores, timing
from benchmarks.row import Row
from benchmarks.scale import LABELS, Scale
from kbstore import Store
from kbstore.sync.jsonl import export_all, import_lines
from kbstore.sync.remote import clone_into


def rows(scale: Scale) -> Iterator[Row]:
    """Each of them on a store with a short history, whose document is most of the work, and its versions the rest."""
    what = f"{LABELS[scale.small]} of {scale.few:,} versions"
    with Store.open(stores.built(scale.small, scale.few), read_only=True) as store:
        lines = list(export_all(store))
        with timing.settled():
            yield _row(f"proof: verify, {what}", scale, store.verify)
            with tempfile.TemporaryDirectory(prefix="kbstore-bench-") as folder:
                yield _row(f"proof: clone, {what}", scale, lambda: clone_into(store, f"{folder}/clone.db"))
                with Store.create(Path(folder) / "import.db", author=stores.AUTHOR) as other:
                    yield _row(f"proof: import, {what}", scale, lambda: import_lines(other, lines))


def _row(what: str, scale: Scale, work: Callable[[], Any]) -> Row:
    seconds = timing.timed(work)
    return Row(what, seconds, "s", note=f"{seconds / scale.few * 1000:.2f} ms a version")
