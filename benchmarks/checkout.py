"""Checkouts of versions from all over a history, each beside `orjson.loads` of the very same document."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import orjson

from benchmarks import stores, timing
from benchmarks.row import Row
from benchmarks.scale import LABELS, Scale
from kbstore import Store
from kbstore.history.snapshots import choose_for_document, starts

_SPREAD = 7
_WORST = 3
_REPEATS = 3


def rows(scale: Scale) -> Iterator[Row]:
    """Median and worst of a sample of versions, the garbage collector paused on both sides."""
    for size, versions, limit, aim in (
        (scale.small, scale.few, 1.8, None),
        (scale.small, scale.many, 3.0, None),
        (scale.large, scale.few, 1.5, 1.2),
        (scale.large, scale.many, 1.5, 1.2),
    ):
        path = stores.built(size, versions)
        where = f"{LABELS[size]} of {versions:,} versions"
        yield from _sample(f"checkout: {where}", path, limit, aim)
        if (size, versions) == (scale.small, scale.few):
            with tempfile.TemporaryDirectory(prefix="kbstore-bench-") as folder:
                packed = stores.copy(path, Path(folder))
                with Store.open(packed) as store:
                    store.gc()
                yield from _sample(f"checkout: {where}, after gc", packed, limit, aim)


def _sample(what: str, path: Path, limit: float, aim: float | None) -> Iterator[Row]:
    ratios: dict[int, float] = {}
    for seq in _versions(path):
        ratios[seq] = _ratio(path, seq)
    worst = max(ratios, key=lambda seq: ratios[seq])
    yield Row(f"{what}, median", median(ratios.values()), "x", limit, aim, note=f"of {len(ratios)} versions")
    yield Row(f"{what}, worst", ratios[worst], "x", limit, aim, note=f"v{worst}")


def _ratio(path: Path, seq: int) -> float:
    """The fastest of a few checkouts, each in a store just opened, to the fastest `orjson.loads` between them."""
    with Store.open(path, read_only=True) as store:
        text = orjson.dumps(store.checkout(seq))
    checkouts, loads = [], []
    with timing.collector_paused():
        for _ in range(_REPEATS):
            with Store.open(path, read_only=True) as store:
                checkouts.append(timing.timed(lambda store=store: store.checkout(seq)))  # type: ignore[misc]
            loads.append(timing.timed(lambda: orjson.loads(text)))
    return min(checkouts) / min(loads)


def _versions(path: Path) -> list[int]:
    """The first, the newest, some in between, and those with the most events to fold."""
    with Store.open(path, read_only=True) as store:
        head = store.head().seq
        places = starts(store.backend, store.line, head)
        ends = {place.seq - 1 for place in places if place.seq > 1} | {head}
        fold = {seq: seq - choose_for_document(places, seq).seq for seq in ends}
    farthest = sorted(fold, key=lambda seq: fold[seq], reverse=True)[:_WORST]
    spread = [1 + (head - 1) * at // (_SPREAD - 1) for at in range(_SPREAD)]
    return sorted({*spread, *farthest})
