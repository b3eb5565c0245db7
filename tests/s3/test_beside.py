"""What lies below a store's prefix and is not the store's own: told, and never touched."""

import logging
from pathlib import Path
from typing import Any

import pytest

from kbstore import Store
from kbstore.backends import create_backend, open_backend
from kbstore.backends.s3 import probe
from kbstore.kit.errors import StoreExists, StoreUnavailable
from tests.cli.support import Shell
from tests.s3.fakes import DENIED, Bucket, DictClient, backend_on
from tests.s3.fakeserver import FakeS3
from tests.s3.servers import raw_client
from tests.s3.test_care import WEEK_S, noise

OTHERS = {
    "data/0123456789abcdef/0000": b"numbers",
    "data/0123456789abcdef/fedcba9876543210/0000": b"of another store",
    "data/report.csv": b"a;b",
    "probe/0123456789abcdef": b"a probe of the soil",
    "probe/0123456789abcdef/1": b"a probe of the soil",
    "trash/0123456789abcdef": b'["data/report.csv", "log/4main000000000000/000000000001"]',
    "trash/notes.txt": b"hello",
    "note/mzxw6ytb/readme": b"hello",
    "snap/4main000000000000/000000000001": b"hello",
    "photos/cat.jpg": b"cat",
}


def life(kb: Store, bucket: Bucket) -> None:
    """Snapshots with data, and collections until all of it is gone."""
    kb.commit({"own": {f"p{n}": noise(n, 6000) for n in range(200)}})
    kb.snapshot()
    kb.commit(patch=[{"op": "remove", "path": "/own/p1"}])
    kb.snapshot()
    for _ in range(3):
        kb.backend.collect({})
        kb.backend.drop_notes("foobar")
        bucket.now += WEEK_S


def test_what_others_put_there_is_left_alone() -> None:
    """Neither in the plan nor removed, even if it has names like ours; verify names it, and all of ours still goes."""
    bucket = Bucket()
    with Store(backend_on(bucket, new=True), author="a") as kb:
        store = kb.backend._store  # type: ignore[attr-defined]
        others = OTHERS | {f"trash/{store}/0123456789abcdef": b'["data/report.csv", "kbstore"]'}
        others |= {f"data/{store}/notes/0000": b"in our folder", f"trash/{store}/notes": b"[]"}
        bucket.objects |= {key: (data, bucket.now) for key, data in others.items()}
        bucket.ordered = None
        bucket.now += WEEK_S
        kb.backend.collect({})
        plan = kb.gc(dry_run=True)
        assert not set(plan.removed) & OTHERS.keys()
        life(kb, bucket)
        assert {key: bucket.objects[key][0] for key in OTHERS if key in bucket.objects} == OTHERS
        left = [key for key in bucket.objects if key.startswith((f"data/{store}/", f"trash/{store}/"))]
        assert sorted(left) == [f"data/{store}/notes/0000", f"trash/{store}/notes"]
        report = kb.verify()
        assert report.ok
        for word in ("photos/", "data/report.csv", "trash/notes.txt"):
            assert any(word in said and "left alone" in said for said in report.notes), word


def test_the_plan_names_what_goes() -> None:
    """What `gc --dry-run` lists is what is gone in the end, and nothing else."""
    bucket = Bucket()
    with Store(backend_on(bucket, new=True), author="a") as kb:
        kb.commit({"own": {f"p{n}": noise(n, 6000) for n in range(200)}})
        kb.snapshot()
        client = kb.backend.client  # type: ignore[attr-defined]
        client.put("probe/00000000000000aa", b"kbstore probe 00000000000000aa\r\n\0")
        bucket.now += WEEK_S
        before = set(bucket.objects)
        planned = kb.backend.collect({}, dry_run=True).removed
        assert set(bucket.objects) == before
        assert {key.partition("/")[0] for key in planned} == {"snap", "data", "probe"}
        kb.backend.collect({})
        bucket.now += WEEK_S
        kb.backend.collect({})
        assert before - set(bucket.objects) == set(planned)


def test_a_store_below_another(bucket: str, moto_url: str, caplog: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is made there; one that is there opens with a warning, and what the outer one collects is its own."""
    monkeypatch.setattr(probe, "_looked", set())
    create_backend(f"s3://{bucket}?grace=0").close()
    for prefix in ("data", "some/where"):
        with pytest.raises(StoreExists, match=f"lies within the store s3://{bucket}$"):
            create_backend(f"s3://{bucket}/{prefix}")
    client = raw_client(moto_url)
    marker = {"Bucket": bucket, "Key": "kbstore"}
    kept = client.get_object(**marker)["Body"].read()
    client.delete_object(**marker)
    document = {"own": {f"p{n}": noise(n, 6000) for n in range(200)}}
    with Store.create(f"s3://{bucket}/data?grace=0", document, author="a") as inner:
        inner.snapshot()
    client.put_object(**marker, Body=kept)
    for _ in range(2):
        with Store.open(f"s3://{bucket}?grace=0", author="b") as outer:
            outer.commit({"n": 1}, allow_empty=True)
            assert not [key for key in outer.gc(dry_run=True).removed if key.startswith("data/data/")]
            outer.backend.collect({})
            assert any("data/kbstore" in said for said in outer.verify().notes)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            open_backend(f"s3://{bucket}/data").close()
    assert [record.getMessage() for record in caplog.records] == [
        f"the store s3://{bucket}/data lies within the store s3://{bucket}: give each a prefix of its own"
    ]
    with Store.open(f"s3://{bucket}/data") as inner:
        assert inner.checkout() == document
        report = inner.verify()
        assert (report.problems, report.caches, report.notes) == ([], [], [])


def test_what_may_not_be_looked_at_is_noted(caplog: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that ends at the prefix: a store is made, with a note that another may hold it."""
    monkeypatch.setattr(DictClient, "look_at", lambda self, key: DENIED)
    with caplog.at_level(logging.WARNING):
        backend_on(Bucket(), new=True).close()
    assert ["may not be read" in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize(
    ("status", "code", "times", "error", "words"),
    [
        (503, "SlowDown", 2, StoreExists, "lies within the store s3://bkt$"),
        (503, "SlowDown", 100, StoreUnavailable, "look for a store at s3://bkt, which would hold this one"),
        (501, "NotImplemented", 100, StoreUnavailable, "look for a store at s3://bkt, which would hold this one"),
    ],
)
def test_an_outer_store_is_looked_for_until_the_server_answers(
    fake_s3: FakeS3,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    code: str,
    times: int,
    error: type[Exception],
    words: str,
) -> None:
    """No answer is not taken for "nothing there". A store that is there is opened without waiting for one."""
    monkeypatch.setattr(probe, "_looked", set())
    Store.create(fake_s3.place("bkt/kb"), {"n": 1}, author="a").close()
    fake_s3.plant("bkt", "kbstore", fake_s3.data("bkt", "kb/kbstore"))
    fake_s3.refuse(status, code, key="kbstore", times=times)
    with pytest.raises(error, match=words):
        Store.create(fake_s3.place("bkt/other", timeout=1), {})
    assert not fake_s3.keys("bkt", "other")
    fake_s3.refuse(status, code, key="kbstore")
    with Store.open(fake_s3.place("bkt/kb"), read_only=True) as kb:
        assert kb.checkout() == {"n": 1}


def test_a_new_store_takes_no_place_of_others(bucket: str, moto_url: str) -> None:
    """Also where the only thing there has the name of a probe."""
    raw_client(moto_url).put_object(Bucket=bucket, Key="kb/probe/0123456789abcdef", Body=b"a probe of the soil")
    with pytest.raises(StoreExists, match="probe/0123456789abcdef"):
        create_backend(f"s3://{bucket}/kb")


def test_the_dry_run_prints_the_plan(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line for each object."""
    location = f"s3://{bucket}/kb?grace=0"
    with Store.create(location, {"own": {f"p{n}": noise(n, 6000) for n in range(200)}}, author="a") as kb:
        for n in range(3):
            kb.commit(patch=[{"op": "remove", "path": f"/own/p{n}"}])
            kb.snapshot()
    told = Shell(tmp_path, monkeypatch).ok("gc", "--dry-run", "--store", location)
    assert "would remove snap/" in told.out
    assert "would remove data/" in told.out
