"""Commits of whole documents, beside `orjson.loads` of them."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import orjson

from benchmarks import inputs, stores, timing
from benchmarks.row import Row
from benchmarks.scale import LABELS, Scale
from kbstore import Store

_EDITS = 20
_REPEATS = {"M": 5, "L": 2}
_LIMIT, _AIM = 4.0, 2.5


def rows(scale: Scale) -> Iterator[Row]:
    """A document that is all new, and one that differs a little from the version before."""
    for size in (scale.small, scale.large):
        text = stores.document_file(size).read_bytes()
        first, changed = _ratios(text, _REPEATS.get(size, 5))
        yield Row(f"document: the first one, {LABELS[size]}", first, "x", _LIMIT, _AIM, note="to orjson.loads of it")
        yield Row(
            f"document: after {_EDITS} edits of the last one, {LABELS[size]}",
            changed,
            "x",
            _LIMIT,
            _AIM,
            note="to orjson.loads of it",
        )


def _ratios(text: bytes, repeats: int) -> tuple[float, float]:
    """Fastest commits of a first document and of the same with some edits, to the fastest loads between them."""
    firsts, seconds, loads = [], [], []
    after = inputs.edited(orjson.loads(text), _EDITS)
    for _ in range(repeats):
        document = orjson.loads(text)
        with tempfile.TemporaryDirectory(prefix="kbstore-bench-") as folder, timing.collector_paused():
            loads.append(timing.timed(lambda: orjson.loads(text)))
            with Store.create(Path(folder) / "kb.db", author=stores.AUTHOR) as store:
                firsts.append(timing.timed(lambda store=store, document=document: store.commit(document)))  # type: ignore[misc]
                seconds.append(timing.timed(lambda store=store: store.commit(after)))  # type: ignore[misc]
    return min(firsts) / min(loads), min(seconds) / min(loads)
