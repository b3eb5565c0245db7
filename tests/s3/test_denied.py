"""What is denied by a policy stops what needs it, and nothing else."""

import pytest

from kbstore import Store
from kbstore.backends.s3.transport.errors import Refused
from kbstore.kit.errors import StoreUnavailable
from tests.s3.fakes import DENIED, Bucket, DictClient, backend_on
from tests.s3.test_care import WEEK_S, noise


@pytest.fixture
def bucket() -> Bucket:
    """A store with snapshots."""
    found = Bucket()
    with Store(backend_on(found, new=True), author="a") as kb:
        kb.commit({"n": 0, "own": {f"p{n}": noise(n, 6000) for n in range(200)}})
        for n in range(500):
            kb.commit(patch=[{"op": "replace", "path": "/n", "value": n + 1}])
        kb.snapshot()
    return found


def test_a_commit_needs_no_listing(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshots cannot be found then, which are only a cache: it goes on without, and makes none blindly."""
    monkeypatch.setattr(DictClient, "_list", lambda self, prefix, asked: DENIED)
    before = set(bucket.objects)
    with Store(backend_on(bucket), author="b") as kb:
        kb.commit(patch=[{"op": "replace", "path": "/n", "value": -1}])
        assert kb.checkout("v3")["n"] == 2
    assert [key for key in set(bucket.objects) - before if key.startswith(("snap/", "data/"))] == []
    monkeypatch.undo()
    with Store(backend_on(bucket)) as kb:
        assert kb.get("/n") == -1


LOCKED = [
    Refused(403, "AccessDenied", False, PermissionError()),
    Refused(400, "ObjectLocked", False, PermissionError()),
    Refused(405, "MethodNotAllowed", False, PermissionError()),
]


@pytest.mark.parametrize("refused", LOCKED, ids=lambda refused: str(refused.code))
def test_a_collection_that_may_not_delete_says_so_and_goes_on(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    """A lock, a retention or a policy keeps objects: all else is done, and once it lets them go, they go."""
    bucket.objects["probe/00000000000000aa"] = (b"kbstore probe 00000000000000aa\r\n\0", 0.0)
    packs = [key for key in bucket.objects if key.startswith("pack/")]
    bucket.remove(packs[-1], "hint/4main000000000000")
    monkeypatch.setattr(DictClient, "_delete", lambda self, key: refused)
    before = set(bucket.objects)
    notes = [key for key in bucket.objects if key.startswith("note/")]
    with Store(backend_on(bucket)) as kb:
        kb.gc()
    assert notes
    assert set(notes) < set(bucket.objects)
    before |= {key for key in bucket.objects if key.startswith("note/")}
    for _ in range(2):
        with Store(backend_on(bucket)) as kb:
            done = kb.backend.collect({})
        assert set(done.kept) == {key for key in before if key.startswith(("snap/", "probe/"))}
        assert (done.dropped_snapshots, done.dropped_bytes) == (0, 0)
        assert not set(done.removed) & set(done.kept)
        assert "a policy, a lock or a retention keeps it" in done.kept_because
        assert len(done.kept_because) < 200  # the key of a snapshot is long, and only its beginning is shown
        assert set(packs) < set(bucket.objects)
        bucket.now += WEEK_S
    assert {key.partition("/")[0] for key in set(bucket.objects) - before} == {"pack", "hint"}
    monkeypatch.undo()
    for _ in range(2):
        with Store(backend_on(bucket)) as kb:
            assert kb.backend.collect({}).kept == ()
        bucket.now += WEEK_S
    assert not [key for key in bucket.objects if key.startswith(("snap/", "data/", "trash/", "probe/"))]
    assert Store(backend_on(bucket)).verify().ok


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "RequestTimeTooSkewed"])
def test_a_collection_stops_if_the_credentials_are_refused(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """That is no lock of an object."""
    monkeypatch.setattr(DictClient, "_delete", lambda self, key: Refused(403, code, False, PermissionError()))
    with Store(backend_on(bucket)) as kb, pytest.raises(StoreUnavailable, match=code):
        kb.backend.collect({})
