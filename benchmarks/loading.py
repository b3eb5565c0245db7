"""Strict loading, beside `orjson.loads`, which lets duplicates and rounded numbers pass."""

from collections.abc import Iterator

import orjson

import kbstore
from benchmarks import stores, timing
from benchmarks.row import Row
from benchmarks.scale import LABELS, Scale

_REPEATS = 4


def rows(scale: Scale) -> Iterator[Row]:
    """A document as orjson writes it, and one that a person can read."""
    text = stores.document_file(scale.large).read_bytes()
    label = LABELS[scale.large]
    yield Row(f"loading: strict, {label}", _ratio(text), "x", 3.0, note="to orjson.loads")
    text = orjson.dumps(orjson.loads(text), option=orjson.OPT_INDENT_2)
    yield Row(f"loading: strict, {label}, indented", _ratio(text), "x", 3.0, note="to orjson.loads")


def _ratio(text: bytes) -> float:
    with timing.collector_paused():
        strict, loads = timing.fastest(_REPEATS, lambda: kbstore.loads(text), lambda: orjson.loads(text))
    return strict / loads
