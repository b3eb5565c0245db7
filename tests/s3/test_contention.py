"""Writers on one branch, on a server behind a lock: no update lost, nobody starved, few requests."""

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from kbstore import Store
from kbstore.backends.base import Tail
from kbstore.backends.s3.transport.client import Request
from kbstore.backends.s3.transport.errors import Refused
from tests.s3.fakes import Bucket, backend_on
from tests.store.support import replacing

WRITERS = 8
COMMITS = 50
ALONE = 1829
"""Attempts of writers that take one slot at a time; looking ahead saves some."""


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
    assert attempts >= WRITERS * COMMITS
    # With packs, hints and snapshots, which are made by somebody, whoever asks.
    record_property("attempts", attempts)
    record_property("requests", len(every))
    assert attempts <= ALONE, (len(every), attempts)
    # Each version is written once and read once by each other writer, and a lost attempt costs one request more.
    assert len(every) <= WRITERS * WRITERS * COMMITS + (attempts - WRITERS * COMMITS), (len(every), attempts)
    assert max(took.values()) < 5 * sorted(took.values())[WRITERS // 2]


@pytest.fixture
def rivals() -> tuple[Store, Store, list[Request]]:
    """Two writers of one store with latency for neither, and the requests of the second."""
    bucket = Bucket()
    quick = Store(backend_on(bucket, new=True), author="quick")
    quick.commit({"quick": 0, "slow": 0})
    backend = backend_on(bucket)
    slow = Store(backend, author="slow")
    slow.head()
    backend.client.meter.reset()
    return quick, slow, backend.client.meter.requests


def test_a_writer_that_others_overtake_stays_at_the_head(rivals: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two slots are won by another in the time of each try: the first moment without is enough."""
    quick, slow, requests = rivals
    client, written = slow.backend.client, itertools.count(1)
    original = client._put

    def put(key: str, data: bytes, *, absent: bool) -> Refused | None:
        for _ in range(2):
            if key.startswith("log/") and (n := next(written)) <= 80:
                quick.commit(patch=replacing("/quick", n))
        return original(key, data, absent=absent)

    monkeypatch.setattr(client, "_put", put)
    assert slow.commit(patch=replacing("/slow", 1)).seq == 82
    made = [r for r in requests if r.key.startswith("log/")]
    assert sum(r.operation == "PUT" for r in made) == 41
    first = [r.operation for r in made].index("PUT")
    assert [r.operation for r in made[first : first + 6]] == ["PUT", "GET"] * 3
    assert len(made) <= first + 41 + 80 + 3 * 9  # tries, slots of the other, and looks for one that is not there yet


def test_what_changes_nothing_does_not_wait_for_a_pause(rivals: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While others commit all the time: it is compared with the head as it was found in this call."""
    quick, slow, _ = rivals
    looks = itertools.count(1)
    original = slow.backend.tail

    def tail(log: str, *, fresh: bool = True) -> Tail:
        found = original(log, fresh=fresh)
        if fresh and (n := next(looks)) <= 50:
            quick.commit(patch=replacing("/quick", n))
        return found

    monkeypatch.setattr(slow.backend, "tail", tail)
    before = slow.head().seq
    assert slow.commit(patch=replacing("/slow", 0)).seq >= before
    assert next(looks) <= 5
