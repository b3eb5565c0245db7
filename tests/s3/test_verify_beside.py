"""Verifying a store on S3 that others write to: what they add or take away meanwhile is not held against it."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from kbstore import Store
from kbstore.backends.s3 import S3Backend
from tests.conftest import LONG
from tests.s3.fakes import Bucket, backend_on
from tests.s3.test_care import noise, store_on
from tests.store.support import eager_snapshots, replacing

ROUNDS = 6 if LONG else 3


@pytest.fixture
def bucket() -> Bucket:
    """A store with a pack of headers and bodies, a tag, a branch and a snapshot that has data of its own."""
    found = Bucket()
    with Store(backend_on(found, new=True), author="ann") as kb:
        kb.commit({"title": "kb", "problems": {f"p{n}": {"text": noise(n, 6000)} for n in range(120)}})
        for n in range(34):
            kb.commit(patch=replacing("/title", f"{n}"))
        kb.tag("stable", "v3")
        kb.create_branch("dev", "v5")
        kb.snapshot()
    return found


def writing(bucket: Bucket) -> None:
    """Commit until there is another pack, and name what was committed."""
    with store_on(bucket) as kb:
        for n in range(40):
            kb.commit(patch=replacing("/title", f"more {n}"))
        kb.tag("more")
        kb.create_branch("side")
    with Store(backend_on(bucket), branch="side", author="x") as kb:
        kb.commit(patch=replacing("/title", "there"))


def collecting(bucket: Bucket) -> None:
    """Take a snapshot, and drop all others with their data."""
    with store_on(bucket) as kb:
        kb.commit(patch=replacing("/title", "new"))
        kb.snapshot()
        kb.backend.collect({})
        bucket.now += 7200
        kb.backend.collect({})


def before_request(backend: S3Backend, at: int, act: Callable[[], None]) -> list[int]:
    """Let something happen before a request, counted from 1; returns the count as it goes on."""
    count = [0]
    lock = threading.Lock()
    for name in ("_get", "_list"):
        original = getattr(backend.client, name)

        def asked(*args: Any, original: Any = original, **kwargs: Any) -> Any:
            with lock:
                count[0] += 1
                if count[0] == at:
                    act()
            return original(*args, **kwargs)

        setattr(backend.client, name, asked)
    return count


@pytest.mark.parametrize("act", [writing, collecting])
def test_what_happens_between_two_requests_is_no_damage(bucket: Bucket, act: Callable[[Bucket], None]) -> None:
    """Before whichever request of verify somebody writes: 0 problems, 0 complaints about caches."""
    before = dict(bucket.objects)
    at = calls = 1
    while at <= calls:
        bucket.objects, bucket.ordered = dict(before), None
        kb = store_on(bucket)
        count = before_request(kb.backend, at, lambda: act(bucket))  # type: ignore[arg-type]
        report = kb.verify()
        assert (report.problems, report.caches) == ([], []), at
        assert report.versions >= 35
        calls = count[0]
        at += 1 if LONG else 3 if at < 20 else 8
    assert calls > 40


def test_verify_beside_writers(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Again and again beside one who commits, tags, branches, snapshots and collects: not one false word."""
    eager_snapshots(monkeypatch)
    stop = threading.Event()
    failed: list[Exception] = []

    def busy(name: str) -> None:
        try:
            with store_on(bucket) as kb:
                n = 0
                while not stop.is_set():
                    n += 1
                    kb.commit(patch=[{"op": "add", "path": f"/{name}", "value": n}])
                    if n % 20 == 0:
                        kb.tag(f"{name}-{n}")
                        kb.create_branch(f"{name}/{n}")
                    if n % 30 == 0:
                        kb.gc()
        except Exception as fault:  # noqa: BLE001 - told by the test
            failed.append(fault)

    threads = [threading.Thread(target=busy, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    try:
        for _ in range(ROUNDS):
            report = store_on(bucket).verify()
            assert (report.problems, report.caches) == ([], [])
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failed == []
