"""Snapshots of several writers and collections beside one another: none that is kept lacks its data for good."""

from typing import Any

import pytest

from kbstore import Store
from tests.s3.fakes import Bucket
from tests.s3.test_care import VERSIONS, collect_everything, furnished, is_whole, noise, store_on

__all__ = ["furnished"]
GRACE_S = 3600.0
NEWEST = VERSIONS


@pytest.fixture
def bucket(furnished: dict[str, tuple[bytes, float]]) -> Bucket:
    """A store of so many versions without snapshots."""
    found = Bucket()
    found.objects = dict(furnished)
    collect_everything(found)
    assert kinds(found, "snap", "data") == []
    return found


def kinds(bucket: Bucket, *folders: str) -> list[str]:
    """The folders of the objects in these."""
    return sorted(key.split("/")[0] for key in bucket.objects if key.split("/")[0] in folders)


def before_index(kb: Store, act: Any) -> None:
    """Do something once, when the data of the next snapshot is written and its index is not."""
    client = kb.backend.client  # type: ignore[attr-defined]
    original = client.put_new

    def put_new(key: str, data: bytes) -> bool:
        if key.startswith("snap/"):
            client.put_new = original
            act()
        return bool(original(key, data))

    client.put_new = put_new


def collect_later(bucket: Bucket, *, keep: bool = True) -> None:
    """What another process collects after the grace period is over."""
    bucket.now += GRACE_S + 1
    store_on(bucket).backend.collect({"main": [NEWEST]} if keep else {})


def caches(bucket: Bucket) -> list[str]:
    """What verify has to say about caches."""
    report = store_on(bucket).verify()
    assert report.ok, report.problems
    return report.caches


def test_data_that_was_marked_before_its_snapshot_was_published_stays(bucket: Bucket) -> None:
    """A slow writer's data is taken for a dead one's; once a snapshot names it, it is not removed."""
    slow = store_on(bucket)
    before_index(slow, lambda: collect_later(bucket))
    slow.snapshot()
    assert kinds(bucket, "snap", "data", "trash") == ["data", "snap", "trash"]
    for _ in range(3):
        collect_later(bucket)
    assert kinds(bucket, "snap", "data", "trash") == ["data", "snap"]
    assert caches(bucket) == []


def test_data_of_any_log_that_a_snapshot_names_stays(bucket: Bucket) -> None:
    """The collection that removes it need not have anything to do in that log."""
    store_on(bucket).create_branch("side")
    side = Store(store_on(bucket).backend, branch="side", author="b")
    side.commit(patch=[{"op": "add", "path": "/problems/big", "value": noise(1, 3_000_000)}])
    before_index(side, lambda: collect_later(bucket))
    side.snapshot()
    bucket.now += GRACE_S + 1
    keep = {log: [s.number for s in side.backend.snapshots(log)] for log in side.backend.logs()}
    store_on(bucket).backend.collect(keep)
    assert "data" in kinds(bucket, "data")
    assert caches(bucket) == []


def test_a_writer_that_slept_until_its_data_was_collected_begins_again(bucket: Bucket) -> None:
    """It sees that what it published is not whole, takes that back and writes another."""
    slow = store_on(bucket)
    before_index(slow, lambda: (collect_later(bucket), collect_later(bucket)))
    slow.snapshot()
    assert kinds(bucket, "snap", "data") == ["data", "snap"]
    assert caches(bucket) == []
    assert [s.number for s in store_on(bucket).backend.snapshots("main")] == [NEWEST]


def test_a_snapshot_without_its_data_goes_and_is_taken_again(bucket: Bucket) -> None:
    """Verify tells of it, readers do without it, a collection drops it, and the next one is whole."""
    store_on(bucket).snapshot()
    expected = store_on(bucket).checkout()
    bucket.remove(*[key for key in bucket.objects if key.startswith("data/")])
    assert "is missing" in caches(bucket)[0]
    assert store_on(bucket).checkout() == expected
    plan, done = (store_on(bucket).backend.collect({"main": [NEWEST]}, dry_run=dry) for dry in (True, False))
    assert plan.dropped_snapshots == done.dropped_snapshots == 1
    assert caches(bucket) == []
    store_on(bucket).snapshot()
    assert kinds(bucket, "snap", "data") == ["data", "snap"]
    assert caches(bucket) == []
    is_whole(bucket)


def test_what_builds_on_a_snapshot_that_goes_goes_too(bucket: Bucket) -> None:
    """It would be chosen, and the nodes that it leans on missed."""
    kb = store_on(bucket)
    kb.snapshot()
    for n in range(100):
        kb.commit(patch=[{"op": "replace", "path": f"/problems/p{n + i}/votes", "value": -n} for i in range(5)])
    listed = kb.backend.snapshots("main")
    assert len(listed) > 1
    bucket.remove(*[key for key in bucket.objects if key.startswith("data/")])
    store_on(bucket).backend.collect({"main": [s.number for s in listed]})
    assert kinds(bucket, "snap") == []
    assert caches(bucket) == []


def test_two_writers_of_one_snapshot_do_no_harm(bucket: Bucket) -> None:
    """Both are published; a collection leaves one of them, whole, and takes index and data of the other."""
    one, two = store_on(bucket), store_on(bucket)
    before_index(one, two.snapshot)
    one.snapshot()
    assert kinds(bucket, "snap") == ["snap", "snap"]
    for _ in range(3):
        collect_later(bucket)
    assert kinds(bucket, "snap", "data", "trash") == ["data", "snap"]
    assert caches(bucket) == []
    for _ in range(2):
        collect_later(bucket, keep=False)
    assert kinds(bucket, "snap", "data", "trash") == []


def test_a_small_snapshot_that_goes_leaves_its_reader_right(bucket: Bucket) -> None:
    """It is one object, which cannot be unpublished and stay: a reader that had chosen it folds from elsewhere."""
    kb = store_on(bucket)
    kb.commit({"problems": {f"p{n}": {"text": noise(n, 3000)} for n in range(80)}}, message="smaller")
    kb.snapshot()
    reader = store_on(bucket)
    assert reader.get("/problems/p7/text") == noise(7, 3000)
    collect_later(bucket, keep=False)
    assert kinds(bucket, "snap") == []
    assert reader.checkout() == kb.checkout()
