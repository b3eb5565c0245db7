"""One value at versions from all over a long history."""

import random
from collections.abc import Iterator
from statistics import median

from benchmarks import inputs, stores, timing
from benchmarks.row import Row
from benchmarks.scale import LABELS, Scale
from kbstore import Store
from kbstore.backends import open_backend
from tests.doubles.counting import CountingBackend

_SAMPLE = 200


def rows(scale: Scale) -> Iterator[Row]:
    """Time and bytes of a pointer at a random version, the store being open."""
    path = stores.built(scale.large, scale.many)
    backend = CountingBackend(open_backend(str(path), read_only=True))
    times_ms, given, read = [], [], []
    with Store(backend) as store:
        store.get(*_SETTLE)
        for pointer, seq in sample(scale.large, scale.many):
            backend.reset()
            before = timing.read_bytes()
            times_ms.append(timing.timed(lambda p=pointer, s=seq: store.get(p, s, default=None)) * 1e3)  # type: ignore[misc]
            read.append(timing.read_bytes() - before)
            given.append(backend.reset().read_bytes)
    where = f"{LABELS[scale.large]}, {scale.many:,} versions"
    yield Row(f"get: {where}, median", median(times_ms), "ms", 5.0, note=f"of {_SAMPLE} pointers and versions")
    yield Row(f"get: {where}, worst", max(times_ms), "ms", 5.0)
    yield Row(
        f"get: {where}, read from the file, worst",
        max(read) / 1e3,
        "KB",
        300,
        note=f"median {median(read) / 1e3:.0f} KB; undone, the backend gave {max(given) / 1e3:.0f} KB at worst",
    )


_SETTLE = ("/meta/version", 1)
"""What is read first, so that opening is not counted."""


def sample(size: str, versions: int) -> Iterator[tuple[str, int]]:
    """Pointers into articles that were edited, and versions; the same at each call."""
    draw = random.Random(17)
    articles = min(inputs.articles(size), stores.EDITED_ARTICLES)
    for _ in range(_SAMPLE):
        member = draw.choice(("title", "solution", "steps", "votes"))
        yield f"/problems/kb-{draw.randrange(articles):06d}/{member}", draw.randint(1, versions)
