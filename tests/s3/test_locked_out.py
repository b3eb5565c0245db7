"""Nobody is locked out while the truth is there: caches that cannot be had, and a newest slot that is damaged."""

from typing import Any

import pytest

from kbstore import Store
from kbstore.backends.base import Record
from kbstore.backends.s3.log.head import newest_slot, read_hint
from kbstore.backends.s3.transport.errors import Refused
from kbstore.errors import KBStoreError
from kbstore.kit.errors import CorruptStore, StoreUnavailable
from tests.s3.fakes import Bucket, DictClient, backend_on
from tests.s3.test_care import noise, store_on
from tests.s3.test_damaged_versions import flip, slot_of
from tests.store.support import replacing

CACHES = ("hint/", "pack/", "snap/", "data/", "note/")
VERSIONS = 300


@pytest.fixture(scope="module")
def furnished() -> dict[str, tuple[bytes, float]]:
    """A store with caches of each kind."""
    found = Bucket()
    with Store(backend_on(found, new=True), author="ann") as kb:
        kb.commit({"n": 1, "own": {f"p{n}": noise(n, 6000) for n in range(200)}})
        for n in range(2, VERSIONS + 1):
            kb.commit(patch=replacing("/n", n), author="bob" if n % 3 else "ann")
        kb.snapshot()
        kb.tag("early", "v2")
        assert len(list(kb.log(path="/n"))) == VERSIONS
    assert {key.partition("/")[0] + "/" for key in found.objects} >= {*CACHES}
    return found.objects


@pytest.fixture
def bucket(furnished: dict[str, tuple[bytes, float]]) -> Bucket:
    """A copy of it."""
    found = Bucket()
    found.objects = dict(furnished)
    return found


def caches_of(bucket: Bucket) -> list[str]:
    """The keys of its caches."""
    return [key for key in bucket.objects if key.startswith(CACHES)]


def assert_all_is_there(bucket: Bucket) -> None:
    """Everything is read, and the next commit lands."""
    with store_on(bucket, read_only=True) as kb:
        assert kb.get("/n") == VERSIONS
        assert kb.checkout("v7")["n"] == 7
        assert kb.checkout("early")["n"] == 2
        assert len(list(kb.log())) == VERSIONS
        assert len(list(kb.log(author="ann"))) == len(range(3, VERSIONS + 1, 3)) + 1
        assert kb.verify().readable == VERSIONS
    with store_on(bucket) as kb:
        assert kb.commit(patch=replacing("/n", 0)).seq == VERSIONS + 1
        kb.gc()
        assert kb.verify().readable == VERSIONS + 1


@pytest.mark.parametrize("left", [0, 4, 30])
def test_caches_that_are_cut_short(bucket: Bucket, left: int) -> None:
    """Of no bytes a server answers 416 to a range."""
    for key in caches_of(bucket):
        data, written = bucket.objects[key]
        bucket.objects[key] = (data[:left], written)
    assert_all_is_there(bucket)


@pytest.mark.parametrize(
    ("status", "code"), [(403, "AccessDenied"), (403, "InvalidObjectState"), (400, "KMS.DisabledException")]
)
def test_caches_that_cannot_be_had(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, status: int, code: str) -> None:
    """Denied, archived by a lifecycle rule, or encrypted with a key that is off."""
    withheld = set(caches_of(bucket))
    original = DictClient._get

    def get(self: DictClient, key: str, start: int, stop: int | None) -> object:
        refused = key in withheld and key in bucket.objects
        return Refused(status, code, False, KeyError(key)) if refused else original(self, key, start, stop)

    monkeypatch.setattr(DictClient, "_get", get)
    assert_all_is_there(bucket)


def test_truth_that_cannot_be_had_is_no_absence(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slot that is denied is not taken for the end of the log."""
    denied = slot_of(VERSIONS)
    original = DictClient._get
    monkeypatch.setattr(
        DictClient,
        "_get",
        lambda self, key, start, stop: (
            Refused(403, "AccessDenied", False, KeyError(key)) if key == denied else original(self, key, start, stop)
        ),
    )
    with store_on(bucket) as kb, pytest.raises(KBStoreError, match="do not allow"):
        kb.commit(patch=replacing("/n", 0))


def harm(bucket: Bucket, key: str, how: str) -> None:
    """Damage an object."""
    data, written = bucket.objects[key]
    if how == "flip":
        flip(bucket, key, 30)
    else:
        bucket.objects[key] = (data[: 40 if how == "cut" else 0], written)


@pytest.mark.parametrize("hinted", [True, False])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("how", ["flip", "cut", "empty"])
def test_damage_of_the_newest_slots(bucket: Bucket, how: str, count: int, hinted: bool) -> None:
    """The versions before it are read, it is named, verify goes on, and nothing is written over or behind it."""
    for seq in range(VERSIONS - count + 1, VERSIONS + 1):
        harm(bucket, slot_of(seq), how)
    if not hinted:
        bucket.remove(*(key for key in bucket.objects if key.startswith("hint/")))
    before = dict(bucket.objects)
    last = VERSIONS - count
    with store_on(bucket, read_only=True) as kb:
        for seq in (1, 2, 50, last):
            assert kb.checkout(seq)["n"] == seq
        assert kb.checkout("early")["n"] == 2
        assert kb.get("/n", at=f"v{last}") == last
        with pytest.raises(KBStoreError, match=r"damaged|missing"):
            kb.checkout()
    with store_on(bucket, read_only=True) as kb:
        report = kb.verify()
        (problem,) = report.problems
        told = f"version v{VERSIONS} is" if count == 1 else f"versions v{last + 1} to v{VERSIONS} are"
        assert problem.startswith(f"{told} damaged")
        assert report.readable >= last
    with store_on(bucket) as kb:
        with pytest.raises(CorruptStore):
            kb.commit(patch=replacing("/n", 0))
        tail = kb.backend.tail("main")
        with pytest.raises(CorruptStore):
            kb.backend.append("main", tail.slot + 1, [Record(b"{}", b"[]")], write_id="w")
    logs = {key: one for key, one in bucket.objects.items() if key.startswith("log/")}
    assert logs == {key: one for key, one in before.items() if key.startswith("log/")}


def test_a_newest_slot_that_is_packed_too() -> None:
    """It is read from its pack."""
    bucket = Bucket()
    with Store(backend_on(bucket, new=True), author="ann") as kb:
        for n in range(1, 33):
            kb.commit({"n": n})
    flip(bucket, slot_of(32), 30)
    with store_on(bucket, read_only=True) as kb:
        assert kb.checkout() == {"n": 32}


def test_damage_of_the_newest_tag(bucket: Bucket) -> None:
    """Versions that are named by number are read."""
    (key,) = (key for key in bucket.objects if key.startswith("log/4refs"))
    flip(bucket, key, 30)
    with store_on(bucket, read_only=True) as kb:
        assert kb.checkout("v7")["n"] == 7
        assert kb.verify().problems


def test_a_hint_that_is_newer_than_the_look_for_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread has read it meanwhile: the slot that it names is there, so nobody is accused of its loss."""
    bucket = Bucket()
    writer = Store(backend_on(bucket, new=True), author="a")
    writer.commit({"n": 0})
    backend = backend_on(bucket)
    log = backend._log("main")

    def look_and_be_late(*how: Any) -> int:
        found = newest_slot(*how)
        monkeypatch.undo()
        for n in range(12):
            writer.commit(patch=replacing("/n", n + 1))
        writer.close()
        log.hint = read_hint(backend.client, "main")
        assert log.hint.slot == 13
        return found

    monkeypatch.setattr("kbstore.backends.s3.log.reader.newest_slot", look_and_be_late)
    assert backend.tail("main").slot == 13
    assert Store(backend, author="b").commit(patch=replacing("/n", -1)).seq == 14


def test_slots_that_arrive_after_the_hint_that_names_them() -> None:
    """As on a replica: nothing is written until they are there, and then it is, by the same process."""
    bucket = Bucket()
    with Store(backend_on(bucket, new=True), author="a") as kb:
        for n in range(20):
            kb.commit({"n": n})
    late = {key: bucket.objects[key] for key in bucket.objects if key.startswith("log/") and int(key[-12:]) > 4}
    bucket.remove(*late)
    with Store(backend_on(bucket), author="b") as kb:
        for count in (0, 3, 15):
            bucket.objects.update(list(late.items())[:count])
            bucket.ordered = None
            kb.head()
            with pytest.raises(StoreUnavailable, match=f"names slot 20, and the newest that is there is {4 + count}$"):
                kb.commit({"n": -1})
        bucket.objects.update(late)
        bucket.ordered = None
        kb.head()
        assert kb.commit({"n": -1}).seq == 21
        assert kb.verify().ok
