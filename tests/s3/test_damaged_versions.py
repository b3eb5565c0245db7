"""Damaged slots on S3: named by version, read from a pack that holds them too, salvaged as far as they are proved."""

import json
from pathlib import Path

import pytest

from kbstore import Store
from kbstore.errors import KBStoreError
from kbstore.verify.salvage import salvage
from tests.s3.fakes import Bucket, backend_on
from tests.s3.test_care import store_on
from tests.store.support import replacing

VERSIONS = 40
PACKED = 32
"""Slots of the first pack."""


@pytest.fixture(scope="module")
def furnished() -> dict[str, tuple[bytes, float]]:
    """Forty versions, /n is the version and each adds a member of its own."""
    found = Bucket()
    with Store(backend_on(found, new=True), author="ann") as kb:
        kb.commit({"n": 1})
        for n in range(2, VERSIONS + 1):
            kb.commit(patch=[*replacing("/n", n), {"op": "add", "path": f"/only{n}", "value": n}])
        kb.tag("early", "v2")
    return found.objects


@pytest.fixture
def bucket(furnished: dict[str, tuple[bytes, float]]) -> Bucket:
    """A copy of it."""
    found = Bucket()
    found.objects = dict(furnished)
    assert any(key.startswith("pack/") for key in found.objects)
    return found


def slot_of(seq: int) -> str:
    """The key of a version's slot."""
    return f"log/4main{'0' * 12}/{seq:012d}"


def flip(bucket: Bucket, key: str, at: int = -10) -> None:
    """Change a byte of an object."""
    data, written = bucket.objects[key]
    at %= len(data)
    bucket.objects[key] = (data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :], written)


def readable(bucket: Bucket) -> list[int]:
    """Versions whose document can be read, each right."""
    found = []
    kb = store_on(bucket, read_only=True)
    for seq in range(1, VERSIONS + 1):
        try:
            document = kb.checkout(seq)
        except KBStoreError:
            continue
        assert document == {"n": seq, **{f"only{n}": n for n in range(2, seq + 1)}}
        found.append(seq)
    return found


@pytest.mark.parametrize("at", [30, -10])
def test_a_slot_is_read_from_its_pack(bucket: Bucket, at: int, tmp_path: Path) -> None:
    """Damage of an old slot costs nothing, and is named as what it is."""
    flip(bucket, slot_of(4), at)
    kb = store_on(bucket, read_only=True)
    report = kb.verify()
    (problem,) = report.problems
    assert problem.startswith("version v4 is damaged: ")
    assert problem.endswith("; its document can be read")
    assert (report.versions, report.readable, report.caches) == (VERSIONS, VERSIONS, [])
    assert readable(bucket) == list(range(1, VERSIONS + 1))
    done = salvage(store_on(bucket, read_only=True), tmp_path / "out")
    assert (done.events, done.patches, done.documents, done.refs) == (VERSIONS, VERSIONS, VERSIONS, 1)


@pytest.mark.parametrize("damage", ["flip", "remove", "cut"])
@pytest.mark.parametrize("seq", [4, PACKED + 3])
def test_a_slot_that_is_lost_everywhere(bucket: Bucket, damage: str, seq: int, tmp_path: Path) -> None:
    """Its version is named once; the versions before it can be read, all other events are salvaged."""
    for key in [key for key in bucket.objects if key.startswith("pack/")]:
        flip(bucket, key, 20)
    key = slot_of(seq)
    if damage == "flip":
        flip(bucket, key, 30)
    elif damage == "remove":
        bucket.remove(key)
    else:
        data, written = bucket.objects[key]
        bucket.objects[key] = (data[:40], written)
    report = store_on(bucket, read_only=True).verify()
    (problem,) = report.problems
    assert problem.startswith(f"version v{seq} is damaged: ")
    assert problem.endswith(f"the documents of v{seq} to v40 cannot be read, v40 is the newest")
    assert report.readable == seq - 1
    assert readable(bucket) == list(range(1, seq))
    done = salvage(store_on(bucket, read_only=True), tmp_path / "out")
    assert (done.events, done.patches, done.documents) == (VERSIONS - 1, VERSIONS - 1, seq - 1)
    lines = [json.loads(line) for line in (tmp_path / "out" / "events.jsonl").read_text().splitlines()]
    assert [line["event"]["seq"] for line in lines if line.get("lost")] == [seq + 1]


def test_a_snapshot_leads_past_a_lost_slot(bucket: Bucket) -> None:
    """Versions from the snapshot on are read, also by a new process."""
    with store_on(bucket) as kb:
        kb.snapshot()
        kb.commit(patch=replacing("/n", VERSIONS + 1))
    flip(bucket, slot_of(PACKED + 4), 30)
    report = store_on(bucket, read_only=True).verify()
    (problem,) = report.problems
    assert problem.endswith(f"the documents of v{PACKED + 4} to v39 cannot be read, v40 can")
    assert readable(bucket)[-1] == VERSIONS
    assert store_on(bucket, read_only=True).get("/n") == VERSIONS + 1
    assert store_on(bucket).commit(patch=replacing("/n", 0)).seq == VERSIONS + 2
