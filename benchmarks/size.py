"""Bytes on the disk after ``gc``."""

import lzma
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import zstandard

from benchmarks import inputs, stores
from benchmarks.row import Row
from benchmarks.scale import LABELS, Scale
from kbstore import Store
from kbstore.sync.jsonl import import_lines

_FOR_EACH_VERSION = 400


def rows(scale: Scale) -> Iterator[Row]:
    """The generated history, and the two real ones beside what git makes of them."""
    with tempfile.TemporaryDirectory(prefix="kbstore-bench-") as name:
        folder = Path(name)
        yield _generated(scale.small, scale.few, folder)
        for history, git_bytes in inputs.HISTORIES.items():
            yield _real(history, git_bytes, scale.lines, folder)


def _generated(size: str, versions: int, folder: Path) -> Row:
    first = zstandard.ZstdCompressor(level=19).compress(stores.document_file(size).read_bytes())
    with Store.open(stores.copy(stores.built(size, versions), folder)) as store:
        before = store.backend.size_bytes()
        store.gc()
        after = store.backend.size_bytes()
    return Row(
        f"size: {LABELS[size]}, {versions:,} versions, after gc",
        after / 1e3,
        "KB",
        (2 * len(first) + _FOR_EACH_VERSION * versions) / 1e3,
        note=f"{before / 1e3:,.0f} KB before; zstd -19 makes {len(first) / 1e3:,.0f} KB of the first document",
    )


def _real(history: str, git_bytes: int, count: int | None, folder: Path) -> Row:
    with Store.create(folder / f"{history}.db") as store, lzma.open(inputs.history(history)) as lines:
        import_lines(store, islice(lines, count))
        versions = store.head().seq
        store.gc()
        after = store.backend.size_bytes()
    return Row(
        f"size: {history}, after gc",
        after / 1e3,
        "KB",
        git_bytes / 1e3,
        git_bytes / 2e3,
        note=f"{versions} versions; the limit is what git gc --aggressive leaves",
    )
