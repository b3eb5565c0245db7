"""Eight writers on one branch, on a server behind a lock: no update lost, nobody starved, two requests an attempt."""

import threading
import time
from collections.abc import Callable

from backends.s3.client import Request
from kbstore import Store
from tests.s3.fakes import Bucket, backend_on

WRITERS = 8
COMMITS = 50


def work(bucket: Bucket, name: int, took: dict[int, float], requests: dict[int, list[Request]], begin: object) -> None:
    """So many commits, each of which counts one number up."""
    backend = backend_on(bucket)
    with Store(backend, author=f"w{name}") as kb:
        kb.commit(patch=[{"op": "add", "path": f"/w{name}", "value": 0}], message="here")
        begin.wait()  # type: ignore[attr-defined]
        backend.client.meter.reset()
        started = time.monotonic()
        for n in range(COMMITS):
            kb.commit(patch=[{"op": "replace", "path": f"/w{name}", "value": n + 1}], message=f"{name}/{n}")
        took[name] = time.monotonic() - started
        requests[name] = backend.client.meter.reset()


def test_eight_writers_on_one_branch(record_property: Callable[[str, object], None]) -> None:
    """Attempts are PUTs of slots; all other requests but those for caches are what losing one costs."""
    bucket = Bucket()
    Store(backend_on(bucket, new=True), author="x").commit({"n": 0})
    bucket.latency_s = 0.002
    took: dict[int, float] = {}
    requests: dict[int, list[Request]] = {}
    begin = threading.Barrier(WRITERS)
    threads = [threading.Thread(target=work, args=(bucket, n, took, requests, begin)) for n in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bucket.latency_s = 0.0
    kb = Store(backend_on(bucket))
    assert kb.checkout() == {"n": 0} | {f"w{n}": COMMITS for n in range(WRITERS)}
    assert kb.head().seq == 1 + WRITERS * (COMMITS + 1)
    every = [r for each in requests.values() for r in each]
    attempts = sum(r.operation == "PUT" and r.key.startswith("log/") for r in every)
    counted = sum(r.key.startswith("log/") for r in every)
    assert attempts >= WRITERS * COMMITS
    assert counted <= 2 * attempts, (counted, attempts)
    # With packs, hints and snapshots, which are made by somebody, whoever asks.
    record_property("attempts", attempts)
    record_property("requests_an_attempt", round(len(every) / attempts, 3))
    assert len(every) <= 2 * attempts, (len(every), attempts)
    assert max(took.values()) < 5 * sorted(took.values())[WRITERS // 2]
