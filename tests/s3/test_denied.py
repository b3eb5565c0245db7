"""What is denied by a policy stops what needs it, and nothing else."""

import pytest

from backends.errors import ReadOnlyStore
from kbstore import Store
from tests.s3.fakes import DENIED, Bucket, DictClient, backend_on
from tests.s3.test_care import noise


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


def test_a_collection_that_may_not_delete_says_so_in_a_line(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of a snapshot is long, and only its beginning is shown."""
    monkeypatch.setattr(DictClient, "_delete", lambda self, key: DENIED)
    with Store(backend_on(bucket)) as kb, pytest.raises(ReadOnlyStore, match="do not allow to remove snap/") as caught:
        kb.backend.collect({})
    assert len(str(caught.value)) < 150
