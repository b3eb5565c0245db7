"""What commit, diff, get and log cost as the history grows: times, and what the backend was asked for."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median

from benchmarks import get, stores, timing
from benchmarks.diff import looking
from benchmarks.row import Row, amount
from benchmarks.scale import LABELS, Scale
from kbstore import Store
from kbstore.backends import open_backend
from tests.doubles.counting import CountingBackend

_MOST_COMMITS = 100
_PAIRS = 8
_LOOKS = 20
_LIMIT = 2.0
"""Times of so short calls move by 30 % from run to run; growth with the history would show as 10 or 1,000."""

_Figures = tuple[float, float, float]
"""Medians: milliseconds, requests to the backend, kilobytes that it gave."""


def rows(scale: Scale) -> Iterator[Row]:
    """The longest history beside the shortest, and all in the note."""
    figures: dict[str, list[_Figures]] = {}
    for versions in scale.marks:
        with tempfile.TemporaryDirectory(prefix="kbstore-bench-") as folder:
            path = stores.copy(stores.built(scale.small, versions), Path(folder))
            for what, figure in _measured(path, scale.small, versions, min(_MOST_COMMITS, scale.repeats)).items():
                figures.setdefault(what, []).append(figure)
    marks = " / ".join(f"{mark:,}" for mark in scale.marks)
    for what, found in figures.items():
        for name, unit, at in (("time", "ms", 0), ("requests", "", 1), ("KB read", "KB", 2)):
            all_of = [figure[at] for figure in found]
            note = " / ".join(amount(value, unit).strip() for value in all_of)
            growth = all_of[-1] / all_of[0] if all_of[0] else float(all_of[-1] > 0) + 1
            limit = None if what.endswith("first look") else _LIMIT
            yield Row(f"flat: {what}, {LABELS[scale.small]}, {name}", growth, "x", limit, note=f"{note} at {marks}")


def _measured(path: Path, size: str, versions: int, commits: int) -> dict[str, _Figures]:
    """The figures of each call."""
    backend = CountingBackend(open_backend(str(path)))
    with Store(backend, author=stores.AUTHOR) as store:
        edits = list(stores.further_edits(store, 2 * commits))
        for patch in edits[:commits]:
            store.commit(patch=patch)
        places = [1 + (versions - 2) * at // (_PAIRS - 1) for at in range(_PAIRS)]
        calls: dict[str, list[Callable[[], object]]] = {
            "commit": [lambda patch=patch: store.commit(patch=patch) for patch in edits[commits:]],  # type: ignore[misc]
            "diff of adjacent versions, first look": [looking(store, seq, seq + 1) for seq in places],
            "diff of adjacent versions, warm": [looking(store, seq, seq + 1) for seq in places],
            "get": [
                lambda p=p, s=s: store.get(p, s, default=None)  # type: ignore[misc]
                for p, s in get.sample(size, versions)
            ],
            "log, 50 newest": [lambda: list(store.log(limit=50))] * _LOOKS,
        }
        with timing.settled():
            figures = {what: _medians(_one(backend, work) for work in works) for what, works in calls.items()}
    figures["get, by a handle just opened"] = _medians(_gets(path, size, versions))
    return figures


def _gets(path: Path, size: str, versions: int) -> Iterator[_Figures]:
    """Each value read by a handle of its own: what one remembers of a short history is soon all of it."""
    for pointer, seq in get.sample(size, versions):
        backend = CountingBackend(open_backend(str(path), read_only=True))
        with Store(backend) as store:
            store.head()
            yield _one(backend, lambda store=store, pointer=pointer, seq=seq: store.get(pointer, seq, default=None))  # type: ignore[misc]


def _one(backend: CountingBackend, work: Callable[[], object]) -> _Figures:
    backend.reset()
    took_ms = timing.timed(work) * 1e3
    counts = backend.reset()
    return took_ms, counts.requests, counts.read_bytes / 1e3


def _medians(figures: Iterable[_Figures]) -> _Figures:
    times, requests, read = zip(*figures, strict=True)
    return median(times), median(requests), median(read)
