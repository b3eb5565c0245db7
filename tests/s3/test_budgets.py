"""What a store costs in requests and in round trips, counted: the table of docs/s3.md.

Requests are counted where botocore would send them. They run beside one another for as long as the bucket's latency,
so the longest chain of requests that followed one another is the number of round trips.
"""

import random
from collections.abc import Callable
from typing import Any

import pytest

from kbstore import Store
from kbstore.backends.s3.transport.client import Request, round_trips
from tests.conftest import LONG
from tests.s3.fakes import Bucket, backend_on

VERSIONS = 100_000 if LONG else 3_000
ARTICLES = 10_000 if LONG else 2_000
LATENCY_S = 0.1


@pytest.fixture(scope="module")
def bucket() -> Bucket:
    """A long history, each version in a slot of its own: of 10 MB and 100,000 versions in `make test-long`."""
    dice = random.Random(1)
    words = [f"word{n}" for n in range(3000)]
    found = Bucket()
    backend = backend_on(found, new=True)
    backend.client.meter.on = False
    with Store(backend, author="dev@example.com") as kb:
        body = [" ".join(dice.choices(words, k=110)) for _ in range(200)]
        problems = {f"p{n:05d}": {"title": f"Title {n}", "body": body[n % 200], "votes": 0} for n in range(ARTICLES)}
        kb.commit({"problems": problems}, message="first")
        for n in range(2, VERSIONS + 1):
            place = f"/problems/p{dice.randrange(ARTICLES):05d}"
            patch: list[dict[str, Any]] = [{"op": "replace", "path": f"{place}/votes", "value": n}]
            if n % 50 == 0:
                patch.append({"op": "replace", "path": f"{place}/body", "value": " ".join(dice.choices(words, k=110))})
            if n % 500 == 0:
                patch.append({"op": "replace", "path": f"{place}/body", "value": " ".join(dice.choices(words, k=600))})
            kb.commit(patch=patch, message=f"change {n}")
    return found


@pytest.fixture
def cold(bucket: Bucket) -> Callable[[Callable[[Store], Any]], tuple[int, list[Request]]]:
    """Opens the store in a new handle without caches and does one thing; gives round trips and requests."""

    def run(act: Callable[[Store], Any], enough: int = 99) -> tuple[int, list[Request]]:
        counted = []
        for _ in range(5):  # a busy machine may start what should run together too late: the best of five
            bucket.latency_s = LATENCY_S
            try:
                backend = backend_on(bucket, read_only=True)
                act(Store(backend))
            finally:
                bucket.latency_s = 0.0
            requests = list(backend.client.meter.requests)
            counted.append((round_trips(requests), requests))
            backend.close()
            if round_trips(requests) <= enough:
                break
        return min(counted, key=lambda one: one[0])

    return run


def came(requests: list[Request]) -> int:
    """Bytes of content."""
    return sum(request.came_bytes for request in requests)


def test_open_and_read_the_head(bucket: Bucket, cold: Any) -> None:
    """2 round trips where the hint is fresh."""
    trips, requests = cold(lambda kb: kb.head(), 2)
    assert trips <= 2
    assert came(requests) < 300_000


@pytest.mark.parametrize("behind", [1, 8, 9, 40])
def test_open_with_a_hint_that_is_behind(bucket: Bucket, behind: int) -> None:
    """2 round trips up to 8 slots behind, 4 beyond, and the head is right."""
    found = Bucket()
    with Store(backend_on(found, new=True), author="a") as kb:
        kb.commit({"n": 0})
        for n in range(1, 64):
            kb.commit(patch=[{"op": "replace", "path": "/n", "value": n}])
    hinted = dict(found.objects)
    kb = Store(backend_on(found), author="a")
    for n in range(behind):
        kb.commit(patch=[{"op": "replace", "path": "/n", "value": 1000 + n}])
    kb.backend.settle()  # type: ignore[attr-defined]
    for key in [key for key in found.objects if key.startswith(("hint/", "pack/")) and key in hinted]:
        found.objects[key] = hinted[key]
    found.latency_s = LATENCY_S
    best = 99
    for _ in range(5):
        backend = backend_on(found, read_only=True)
        assert Store(backend).head().seq == 64 + behind
        best = min(best, round_trips(backend.client.meter.requests))
    assert best <= (2 if behind <= 8 else 4)


def test_checkout_of_any_version(cold: Any) -> None:
    """6 round trips, 80 requests."""
    for revision in ("HEAD", f"v{VERSIONS // 2 + 100}", f"v{VERSIONS // 3}", f"v{VERSIONS - 20}"):
        trips, requests = cold(lambda kb: kb.checkout(revision), 6)  # noqa: B023
        assert trips <= 6, revision
        assert len(requests) <= 80, revision


def test_get_of_one_pointer(cold: Any) -> None:
    """5 round trips, 300 KB."""
    for revision in ("HEAD", f"v{VERSIONS // 2 + 100}"):
        trips, requests = cold(lambda kb: kb.get("/problems/p00077/votes", at=revision), 5)  # noqa: B023
        assert trips <= 5, revision
        assert came(requests) <= 300_000, revision


def test_the_newest_fifty_and_all_events(cold: Any) -> None:
    """4 round trips; 200 requests for 100,000 events."""
    trips, _ = cold(lambda kb: list(kb.log(limit=50)), 4)
    assert trips <= 4
    _, requests = cold(lambda kb: list(kb.log()))
    assert len(requests) <= 200


def test_a_log_of_some_time(cold: Any, bucket: Bucket) -> None:
    """Where it begins is found by halving, from either end; what lies beyond is not read."""
    middle = VERSIONS // 2
    time = Store(backend_on(bucket)).version(f"v{middle}").time
    found: list[int] = []
    for newest_first, bound in ((True, "until"), (False, "since")):

        def act(kb: Store, order: bool = newest_first, bound: str = bound) -> None:
            found[:] = [v.seq for v in kb.log(limit=5, newest_first=order, **{bound: time})]

        _, requests = cold(act)
        assert found == [middle - n if newest_first else middle + n for n in range(5)]
        assert len(requests) <= 30
        assert came(requests) < 300_000


def test_a_log_of_one_author_or_label(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that hold none of it are not read; what is found is what a look at all of them finds, from either end."""
    found = Bucket()
    with Store(backend_on(found, new=True), author="Ann") as kb:
        kb.commit({"n": 0})
        for n in range(4160):
            rare = {"author": "Zoe <zoe@example.com>", "tags": ["rare"]} if n in (50, 1500, 4150) else {}
            kb.commit(patch=[{"op": "replace", "path": "/n", "value": n + 1}], **rare)
        kb.create_branch("side", "v3500")
    every = list(Store(backend_on(found)).log())
    backend = backend_on(found, read_only=True)
    assert [v.seq for v in Store(backend).log(author="ZOE")] == [4152, 1502, 52]
    keys = [request.key for request in backend.client.meter.requests]
    assert [int(key[-12:]) for key in keys if "/h/" in key] == [3, 1, 0]
    assert sum(key.startswith("note/") for key in keys) <= 7
    monkeypatch.setattr("kbstore.history.index.authors._AT_ONCE", 2)
    kb = Store(backend_on(found, read_only=True))
    for options in ({"author": "ann"}, {"tag": "rare"}, {"author": "zoe", "tag": "rare", "limit": 2}):
        for newest_first in (True, False):
            chosen = [v for v in every if options.get("author", "") in v.author.casefold()]
            chosen = [v for v in chosen if options.get("tag") in (None, *v.tags)]
            chosen = chosen[:: 1 if newest_first else -1][: options.get("limit")]
            assert list(kb.log(newest_first=newest_first, **options)) == chosen
    side = Store(backend_on(found), branch="side", author="Zoe")
    side.commit(patch=[{"op": "replace", "path": "/n", "value": -1}])
    assert [v.seq for v in side.log(author="zoe")] == [3501, 1502, 52]


def test_warm_commits() -> None:
    """1 request each; packs, hints and snapshots together are 0.1 a commit."""
    backend = backend_on(Bucket(), new=True)
    with Store(backend, author="a") as kb:
        kb.commit({"entries": {f"e{n}": {"n": 0} for n in range(500)}})
        kb.commit(patch=[{"op": "replace", "path": "/entries/e0/n", "value": 1}])
        backend.client.meter.reset()
        for n in range(2000):
            kb.commit(patch=[{"op": "replace", "path": f"/entries/e{n % 500}/n", "value": n + 2}])
        backend.settle()
        requests = backend.client.meter.reset()
        slots = [r for r in requests if r.key.startswith("log/") and r.operation != "LIST"]
        assert [r.operation for r in slots] == ["PUT"] * 2000
        assert len([r for r in requests if r.key.startswith("log/") and r.operation == "LIST"]) <= 2000 / 256
        assert len(requests) - len(slots) <= 0.1 * 2000
        notes = [r.operation for r in requests if r.key.startswith("note/")]
        assert notes.count("GET") <= 10  # where this writer continues an index, it does not ask for what it wrote


def test_nothing_depends_on_hints_and_packs(bucket: Bucket) -> None:
    """With every cache removed the store answers the same."""
    found = Bucket()
    with Store(backend_on(found, new=True), author="a") as kb:
        kb.commit({"n": 0})
        for n in range(1, 1100):
            kb.commit(patch=[{"op": "replace", "path": "/n", "value": n}])
    bare = Bucket()
    bare.objects = {k: v for k, v in found.objects.items() if k.startswith(("log/", "blob/")) or k == "kbstore"}
    one, two = Store(backend_on(found)), Store(backend_on(bare))
    assert [v.id for v in one.log()] == [v.id for v in two.log()]
    for revision in ("HEAD", "v1", "v1025", "v1090"):
        assert one.checkout(revision) == two.checkout(revision)
    report = two.verify()
    assert report.ok
    two.gc()
    assert any(key.startswith("pack/") for key in bare.objects)
    assert len(list(Store(backend_on(bare)).log())) == 1100
