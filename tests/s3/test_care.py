"""Collecting beside readers and writers that sleep, and processes that are killed: nothing is lost, all goes on."""

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from kbstore import Store
from kbstore.backends.s3 import S3Backend
from tests.cli.support import environment
from tests.conftest import LONG
from tests.s3.fakes import Bucket, backend_on
from tests.s3.fakeserver import FakeS3

WEEK_S = 7 * 24 * 3600.0
KILLS = 30 if LONG else 2
AT_ONCE = 3
VERSIONS = 300
"""Of the store that tests share."""


def noise(n: int, size: int) -> str:
    """Text that does not compress."""
    return "".join(hashlib.sha256(b"%d/%d" % (n, i)).hexdigest() for i in range(size // 64))


def store_on(bucket: Bucket, **options: Any) -> Store:
    """A store of its own handle."""
    return Store(backend_on(bucket, **options), author="a")


@pytest.fixture(scope="module")
def furnished() -> dict[str, tuple[bytes, float]]:
    """A knowledge base that has values of its own, snapshots of every kind, packs and notes."""
    found = Bucket()
    with Store(backend_on(found, new=True), author="a") as kb:
        kb.commit({"problems": {f"p{n}": {"text": noise(n, 6000), "votes": 0} for n in range(300)}})
        for n in range(VERSIONS):  # the first changes nothing
            kb.commit(patch=[{"op": "replace", "path": f"/problems/p{n % 300}/votes", "value": n}], message=f"{n}")
        kb.snapshot()
    return found.objects


@pytest.fixture
def bucket(furnished: dict[str, tuple[bytes, float]]) -> Bucket:
    """A copy of it."""
    found = Bucket()
    found.objects = dict(furnished)
    return found


def without_caches(bucket: Bucket) -> Bucket:
    """Only what is truth."""
    bare = Bucket()
    bare.objects = {k: v for k, v in bucket.objects.items() if k.startswith(("log/", "blob/")) or k == "kbstore"}
    return bare


def collect_everything(bucket: Bucket) -> None:
    """All caches that a collection may take, with what was marked before, a week later."""
    backend = backend_on(bucket)
    backend.collect({})
    bucket.now += WEEK_S
    backend.collect({})
    backend.close()


def is_whole(bucket: Bucket) -> None:
    """Proved from the bytes, also without any cache."""
    for found in (bucket, without_caches(bucket)):
        report = store_on(found).verify()
        assert report.ok, report.problems


def test_collecting_waits_for_readers(bucket: Bucket) -> None:
    """What a reader has begun with stays for the grace period, by the server's clock, and goes after it."""
    reader = store_on(bucket)
    expected = reader.checkout()
    data = [key for key in bucket.objects if key.startswith("data/")]
    assert data
    store_on(bucket).backend.collect({})
    assert [key for key in bucket.objects if key.startswith("snap/")] == []
    assert all(key in bucket.objects for key in data)
    bucket.now += 3000
    store_on(bucket).gc()
    assert all(key in bucket.objects for key in data)
    bucket.now += 700
    store_on(bucket).backend.collect({})
    assert [key for key in bucket.objects if key.startswith(("data/", "trash/"))] == []
    assert reader.checkout() == expected
    assert store_on(bucket).checkout() == expected
    is_whole(bucket)


def test_a_snapshot_that_is_being_written_is_left(bucket: Bucket) -> None:
    """Data that nothing names yet stays while it is young, and goes when its writer must be dead."""
    key = f"data/{json.loads(bucket.objects['kbstore'][0])['id']}/0123456789abcdef/0000"
    bucket.objects[key] = (b"half a snapshot", bucket.now)
    store_on(bucket).gc()
    assert key in bucket.objects
    bucket.now += 4000
    store_on(bucket).gc()  # now it is old enough to be marked
    assert key in bucket.objects
    bucket.now += 4000
    store_on(bucket).gc()
    assert key not in bucket.objects


def test_slots_and_blobs_are_never_removed(bucket: Bucket) -> None:
    """Nor overwritten: whatever is done, each is as it was."""
    before = {k: v[0] for k, v in bucket.objects.items() if k.startswith(("log/", "blob/"))}
    for _ in range(3):
        collect_everything(bucket)
        store_on(bucket).snapshot()
    assert {k: v[0] for k, v in bucket.objects.items() if k.startswith(("log/", "blob/"))} == before


@pytest.mark.parametrize("others_write", [True, False])
def test_a_writer_that_sleeps_for_a_week(bucket: Bucket, others_write: bool) -> None:
    """It loses its slot and rebases, or wins it; either way every node that its event needs is there."""
    sleeper = store_on(bucket)
    base = sleeper.head()
    document = sleeper.checkout(base)
    if others_write:
        other = store_on(bucket)
        other.commit(patch=[{"op": "replace", "path": "/problems/p7/votes", "value": -1}], message="meanwhile")
    collect_everything(bucket)
    document["problems"]["p8"]["text"] = document["problems"]["p9"]["text"]
    document["problems"]["new"] = {"text": noise(9999, 9000)}
    version = sleeper.commit(document, message="at last", base=base)
    assert version.seq == base.seq + 1 + others_write
    collect_everything(bucket)
    is_whole(bucket)
    found = store_on(without_caches(bucket)).checkout()
    assert found["problems"]["new"] == {"text": noise(9999, 9000)}
    assert found["problems"]["p7"]["votes"] == (-1 if others_write else document["problems"]["p7"]["votes"])


def test_a_week_between_blobs_and_slot(bucket: Bucket) -> None:
    """What a large write put down first is there when its slot is created, whatever was collected meanwhile."""
    sleeper = store_on(bucket)
    sleeper.head()
    original = sleeper.backend.client.create  # type: ignore[attr-defined]

    def create(key: str, data: bytes) -> Any:
        if key.startswith("log/"):
            collect_everything(bucket)
        return original(key, data)

    sleeper.backend.client.create = create  # type: ignore[attr-defined]
    patch = [{"op": "add", "path": f"/problems/big{n}", "value": noise(n, 4_000_000)} for n in range(5)]
    sleeper.commit(patch=patch, message="large")
    assert any(key.startswith("blob/") for key in bucket.objects)
    is_whole(bucket)


def test_a_plan_is_what_is_done(bucket: Bucket) -> None:
    """`gc --dry-run` tells it and does nothing."""
    before = dict(bucket.objects)
    plan = store_on(bucket).gc(dry_run=True)
    assert bucket.objects == before
    done = store_on(bucket).gc()
    assert (plan.dropped_snapshots, plan.dropped_bytes) == (done.dropped_snapshots, done.dropped_bytes)


@pytest.mark.parametrize("folder", ["pack", "snap", "data", "note", "hint"])
def test_damaged_caches_are_told_and_do_no_harm(bucket: Bucket, folder: str) -> None:
    """Every object of a kind with a flipped byte: documents and log are the same, and verify names caches only."""
    expected = store_on(bucket).checkout(), [v.id for v in store_on(bucket).log()]
    dice = random.Random(folder)
    for key in [key for key in bucket.objects if key.startswith(folder + "/")]:
        data, written = bucket.objects[key]
        at = dice.randrange(len(data))
        bucket.objects[key] = (data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :], written)
    report = store_on(bucket, read_only=True).verify()
    assert report.ok, report.problems
    assert report.caches
    kb = store_on(bucket)
    assert (kb.checkout(), [v.id for v in kb.log()]) == expected
    kb.commit(patch=[{"op": "replace", "path": "/problems/p1/votes", "value": -5}])
    is_whole(bucket)


def test_damaged_truth_is_told(bucket: Bucket) -> None:
    """A flipped byte in any slot is found by verify, wherever it stands."""
    dice = random.Random(4)
    slots = [key for key in bucket.objects if key.startswith("log/")]
    backend = backend_on(bucket)
    for key in dice.sample(slots, 40):
        kept = bucket.objects[key]
        data, written = kept
        at = dice.randrange(len(data))
        bucket.objects[key] = (data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :], written)
        assert any(not damage.cache for damage in _damage_of(backend, key)), (key, at)
        bucket.objects[key] = kept
    del bucket.objects[slots[5]]
    bucket.ordered = None
    assert not store_on(bucket).verify().ok


def _damage_of(backend: S3Backend, key: str) -> list[Any]:
    """What check finds in one log that holds only this slot's neighbours."""
    from kbstore.backends.s3.check import damage_of_slot

    return list(damage_of_slot(backend.client, "main", int(key[-12:])))


LIFE = """
import random, sys
from kbstore import Store
location, name = sys.argv[1], sys.argv[2]
dice = random.Random(name)
with Store.open(location, author=name) as kb:
    print("ready", flush=True)
    n = 0
    while True:
        n += 1
        act = dice.randrange(12)
        if act == 0:
            kb.snapshot()
        if act == 1:
            kb.backend.collect({})
        if act == 2:
            kb.gc()
        patch = [{"op": "add", "path": f"/own/{name}-{n}", "value": dice.randbytes(dice.randrange(3000)).hex()}]
        version = kb.commit(patch=patch, message=f"{name} {n}")
        print(version.id, flush=True)
"""


def test_processes_that_are_killed(bucket_url: str) -> None:
    """Some at once, while they commit, pack, snapshot or collect: what they acknowledged is there, and all is clean."""
    Store.create(bucket_url, {"own": {f"p{n}": noise(n, 6000) for n in range(250)}}, author="x").close()
    dice = random.Random(11)
    acknowledged: list[str] = []
    for at in range(KILLS):
        command = [sys.executable, "-c", LIFE, bucket_url]
        processes = [
            subprocess.Popen([*command, f"k{at}-{n}"], stdout=subprocess.PIPE, env=environment(), text=True)
            for n in range(AT_ONCE)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        time.sleep(dice.random() * 1.5)
        for process in processes:
            time.sleep(dice.random() * 0.3)
            process.send_signal(signal.SIGKILL)
        for process in processes:
            out, _ = process.communicate(timeout=30)
            acknowledged += [line for line in out.splitlines() if len(line) == 64]
    with Store.open(bucket_url, author="last") as kb:
        ids = [version.id for version in kb.log()]
        assert set(acknowledged) <= set(ids)
        assert len(set(ids)) == len(ids)
        kb.commit(patch=[{"op": "add", "path": "/own/last", "value": 1}], message="last")
        kb.snapshot()
        assert any(one.size > 512 * 1024 for one in kb.backend.client.listing("data/"))  # type: ignore[attr-defined]
        assert kb.gc() is not None
        report = kb.verify()
        assert report.ok, report.problems
        assert report.caches == []
    assert acknowledged


@pytest.fixture
def bucket_url(fake_s3: FakeS3) -> str:
    """A store's place on a server."""
    return fake_s3.place("bucket/kb", grace=0)
