"""Many versions in one durable write."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks import inputs, stores, timing
from benchmarks.row import Row
from benchmarks.scale import LABELS, Scale
from kbstore import Store
from kbstore.history.state_cache import State

_BATCH = 100


def rows(scale: Scale) -> Iterator[Row]:
    """Events a second in batches of 100, state hash of each included."""
    batches = max(scale.repeats // 10, 4)
    for size, limit, aim in ((scale.small, 6_000, 9_000), (scale.large, None, None)):
        apart, together = _rates(size, batches)
        label = LABELS[size]
        yield Row(f"batch: of {_BATCH}, {label}, snapshots apart", apart, "/s", limit, aim, at_least=True)
        yield Row(f"batch: of {_BATCH}, {label}, with snapshots", together, "/s")


def _rates(size: str, batches: int) -> tuple[float, float]:
    """Events a second without and with the time that snapshots take."""
    with tempfile.TemporaryDirectory(prefix="kbstore-bench-") as folder:
        base = inputs.document(size)
        changes = [{"patch": patch, "message": "an edit"} for patch in inputs.patches(base, batches * _BATCH)]
        with Store.create(Path(folder) / "kb.db", base, author=stores.AUTHOR) as store:
            del base
            snapshots = _time_snapshots(store)
            apart, together = [], []
            with timing.settled():
                for first in range(0, len(changes), _BATCH):
                    snapshots.clear()
                    taken = timing.timed(lambda first=first: store.commit_many(changes[first : first + _BATCH]))  # type: ignore[misc]
                    together.append(taken)
                    apart.append(taken - sum(snapshots))
    return _BATCH / median(apart), _BATCH / median(together)


def _time_snapshots(store: Store) -> list[float]:
    """Have every snapshot that the store takes add its seconds to a list."""
    snapshotter, seconds = store._snapshotter, list[float]()
    take = snapshotter.take

    def timed_take(state: State, tier: int) -> None:
        seconds.append(timing.timed(lambda: take(state, tier)))

    snapshotter.take = timed_take  # type: ignore[method-assign]
    return seconds
