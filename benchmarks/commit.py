"""Commits of small patches: warm, beside the cheapest durable writes of the same bytes; and in a fresh process."""

import json
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Any

import orjson

from benchmarks import inputs, stores, timing
from benchmarks.row import Row
from benchmarks.scale import LABELS, Scale
from kbstore import Store, Version

_MOST_WARM_UP = 50
_BETWEEN = 7
"""Commits between two fresh processes: so all lengths of tail behind the newest snapshot are met."""


def rows(scale: Scale) -> Iterator[Row]:
    """All rows about commits of small patches."""
    yield from _warm(scale)
    yield from _after_opening(scale)
    yield from _fresh_process(scale)


def _warm(scale: Scale) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="kbstore-bench-") as name, timing.settled():
        folder = Path(name)
        warm_up = min(_MOST_WARM_UP, scale.repeats)
        small, small_edits = _created(folder, scale.small, warm_up + scale.repeats)
        large, large_edits = _created(folder, scale.large, warm_up + scale.repeats)
        insert, append = _bare_insert(folder), _bare_append(folder)
        taken: dict[str, list[float]] = {"small": [], "large": [], "insert": [], "append": []}
        for at, (patch, other) in enumerate(zip(small_edits, large_edits, strict=True)):
            made: list[Version] = []
            times = {"small": timing.timed(lambda patch=patch, made=made: made.append(_commit(small, patch)))}  # type: ignore[misc]
            data = _bytes_of(made[0])
            times["insert"] = timing.timed(partial(insert, data))
            times["append"] = timing.timed(partial(append, data))
            times["large"] = timing.timed(partial(_commit, large, other))
            if at >= warm_up:
                for what, time in times.items():
                    taken[what].append(time)
        small.close()
        large.close()
    typical = {what: median(times) * 1e3 for what, times in taken.items()}
    above = median(commit - insert for commit, insert in zip(taken["small"], taken["insert"], strict=True)) * 1e3
    label, large_label = LABELS[scale.small], LABELS[scale.large]
    yield Row(
        f"commit: small patch, warm, {label}, above a bare insert",
        above,
        "ms",
        0.35,
        note=f"{typical['small']:.3f} ms beside {typical['insert']:.3f} ms for the insert, one after the other",
    )
    yield Row(
        f"commit: the same at {large_label}, to that at {label}",
        typical["large"] / typical["small"],
        "x",
        1.6,
        note=f"{typical['large']:.3f} ms",
    )
    yield Row(
        f"commit: {label}, to a raw append and fdatasync",
        typical["small"] / typical["append"],
        "x",
        note=f"{typical['append']:.3f} ms for the append",
    )
    for where, all_of in ((label, taken["small"]), (large_label, taken["large"])):
        note = f"slowest of {len(all_of)}: {max(all_of) * 1e3:.1f} ms"
        yield Row(f"commit: {where}, mean with snapshots", fmean(all_of) * 1e3, "ms", note=note)


def _created(folder: Path, size: str, count: int) -> tuple[Store, list[inputs.Patch]]:
    """A store made in this process, and so many edits of it."""
    base = inputs.document(size)
    edits = list(inputs.patches(base, count))
    return Store.create(folder / f"{size}.db", base, author=stores.AUTHOR), edits


def _commit(store: Store, patch: inputs.Patch) -> Version:
    return store.commit(patch=patch, message="an edit")


def _bytes_of(version: Version) -> bytes:
    """What a commit must keep: the event's header and its patch."""
    assert version.entry is not None
    return version.entry.header + orjson.dumps(version.patch)


def _bare_insert(folder: Path) -> Callable[[bytes], Any]:
    """One durable insert into a table of one column, in SQLite's fastest durable mode."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE bare(id INTEGER PRIMARY KEY, data BLOB)")
    return lambda data: connection.execute("INSERT INTO bare(data) VALUES(?)", (data,))


def _bare_append(folder: Path) -> Callable[[bytes], Any]:
    """The cheapest durable write that there is."""
    file = os.open(folder / "bare.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def append(data: bytes) -> None:
        os.write(file, data)
        os.fdatasync(file)

    return append


def _after_opening(scale: Scale) -> Iterator[Row]:
    """What commits cost a process that opened the store, while it meets articles that it has not read yet."""
    for size in (scale.small, scale.large):
        with stores.changed(size, scale.few) as store:
            edits = stores.further_edits(store, scale.repeats)
            with timing.settled():
                first = timing.timed(lambda: _commit(store, next(edits)))  # noqa: B023 - called at once
                times = [timing.timed(lambda patch=patch: _commit(store, patch)) for patch in edits]  # type: ignore[misc]
        yield Row(
            f"commit: {LABELS[size]}, reopened, articles not read before",
            median(times) * 1e3,
            "ms",
            note=f"the first one {first * 1e3:.1f} ms",
        )


def _fresh_process(scale: Scale) -> Iterator[Row]:
    cpu_ms: list[float] = []
    peaks_mb: list[float] = []
    with tempfile.TemporaryDirectory(prefix="kbstore-bench-") as folder:
        path = stores.copy(stores.built(scale.large, scale.many), Path(folder))
        with Store.open(path, author=stores.AUTHOR) as store:
            edits = stores.further_edits(store, scale.runs * (_BETWEEN + 1))
        for _ in range(scale.runs):
            answer = timing.in_child("commit", path, json.dumps(next(edits)))
            cpu_ms.append(answer["cpu_s"] * 1e3)
            peaks_mb.append(answer["peak_bytes"] / 1e6)
            with Store.open(path, author=stores.AUTHOR) as store:
                for _ in range(_BETWEEN):
                    _commit(store, next(edits))
    where = f"{LABELS[scale.large]}, {scale.many:,} versions"
    yield Row(
        f"commit: fresh process, {where}, CPU",
        median(cpu_ms),
        "ms",
        200,
        120,
        note=f"median of {scale.runs}; worst {max(cpu_ms):.0f} ms; an idle interpreter {_idle_ms():.0f} ms",
    )
    yield Row(f"commit: fresh process, {where}, most resident", max(peaks_mb), "MB", 90)


def _idle_ms() -> float:
    return 1e3 * min(float(timing.in_child("nothing")["cpu_s"]) for _ in range(3))
