"""The most that is resident while a document is checked out, beside `orjson.loads` of its file."""

from collections.abc import Iterator

from benchmarks import stores, timing
from benchmarks.row import Row
from benchmarks.scale import LABELS, Scale


def rows(scale: Scale) -> Iterator[Row]:
    """Each in a process of its own, less what an idle interpreter takes."""
    idle = timing.in_child("nothing")["peak_bytes"]
    loads = timing.in_child("loads", stores.document_file(scale.large))["peak_bytes"] - idle
    path = stores.built(scale.large, scale.few)
    for revision in ("HEAD", "v1"):
        checkout = timing.in_child("checkout", path, revision)["peak_bytes"] - idle
        yield Row(
            f"memory: checkout of {revision}, {LABELS[scale.large]}",
            checkout / loads,
            "x",
            1.3,
            note=f"{checkout / 1e6:,.0f} MB beside {loads / 1e6:,.0f} MB for orjson.loads of the file",
        )
