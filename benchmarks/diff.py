"""Differences between two versions, adjacent ones and distant ones."""

from collections.abc import Callable, Iterator
from statistics import median

from benchmarks import stores, timing
from benchmarks.row import Row
from benchmarks.scale import LABELS, Scale
from kbstore import Store

_PAIRS = 6
_REPEATS = 5


def rows(scale: Scale) -> Iterator[Row]:
    """Warm, that is in a process that looked at these versions before; and the first look."""
    far = scale.few // 2
    for apart, limit, aim in ((1, 1.0, 0.1), (far, 30.0, 5.0)):
        what = "two adjacent versions" if apart == 1 else f"two versions {apart} apart"
        for size in (scale.small, scale.large):
            first, warm = _times_ms(size, scale.few, apart)
            yield Row(
                f"diff: {what}, {LABELS[size]}, warm",
                median(warm),
                "ms",
                limit,
                aim,
                note=f"median of {_PAIRS} pairs; worst {max(warm):.2f} ms; at first look {median(first):.1f} ms",
            )


def _times_ms(size: str, versions: int, apart: int) -> tuple[list[float], list[float]]:
    """Milliseconds for each pair: of the first look, and the median of those that follow."""
    first, warm = [], []
    with Store.open(stores.built(size, versions), read_only=True) as store:
        for at in range(_PAIRS):
            old = 1 + (versions - apart - 1) * at // (_PAIRS - 1)
            look = looking(store, old, old + apart)
            first.append(timing.timed(look) * 1e3)
            with timing.settled():
                warm.append(timing.timed_all([look] * _REPEATS) * 1e3)
    return first, warm


def looking(store: Store, old: int, new: int) -> Callable[[], object]:
    """The patch between two versions, as a call."""
    return lambda: store.diff(old, new).patch
