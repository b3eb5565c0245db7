"""The log: its newest part, all of it, what touched a pointer, and as a command."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from statistics import median

from benchmarks import stores, timing
from benchmarks.row import Row
from benchmarks.scale import LABELS, Scale
from kbstore import Store

_REPEATS = 7


def rows(scale: Scale) -> Iterator[Row]:
    """Times with the store open, then the CPU of the command in a fresh process."""
    path = stores.built(scale.small, scale.all_of)
    where = f"{LABELS[scale.small]}, {scale.all_of:,} versions"
    with Store.open(path, read_only=True) as store:
        rarely, often = _articles(store)
        questions = {
            "50 newest": (1.0, partial(_log, store, limit=50)),
            f"all of {scale.all_of:,}": (50.0, partial(_log, store)),
            "by path, an article": (50.0, partial(_log, store, path=rarely)),
            "by path, the article with most edits": (50.0, partial(_log, store, path=often)),
            "by path, a member of it": (50.0, partial(_log, store, path=often + "/solution")),
        }
        for what, (limit, ask) in questions.items():
            found = ask()
            with timing.settled():
                took = timing.timed_all([ask] * _REPEATS) * 1e3
            yield Row(f"log: {what}, {where}", took, "ms", limit, note=f"{found:,} versions found")
    path = stores.built(scale.large, scale.many)
    cpu = [timing.in_child("log", path)["cpu_s"] * 1e3 for _ in range(scale.runs)]
    yield Row(
        f"log: the command, {LABELS[scale.large]}, {scale.many:,} versions, CPU",
        median(cpu),
        "ms",
        200,
        note=f"kbstore log -n 20 in a fresh process; of {scale.runs}, worst {max(cpu):.0f} ms",
    )


def _log(store: Store, **options: object) -> int:
    return len(list(store.log(**options)))  # type: ignore[arg-type]


def _articles(store: Store) -> tuple[str, str]:
    """Pointers to an article with the median number of edits among the newest versions, and to the one with most."""
    edits = Counter(
        "/problems/" + operation["path"].split("/")[2]
        for version in store.log(limit=500)
        for operation in version.patch
        if operation["path"].startswith("/problems/")
    )
    ranked = [pointer for pointer, _ in edits.most_common()]
    return ranked[len(ranked) // 2], ranked[0]
