"""What is written once is created on a condition; what is there is used only if it is what was to be written."""

import random
from base64 import b64encode

import pytest

from kbstore import Store
from kbstore.kit.errors import CorruptStore
from tests.s3.fakes import Bucket, backend_on
from tests.s3.policies import allows

OVERWRITTEN = ("hint/", "note/")


def large(seed: int) -> dict[str, str]:
    """A document that does not fit into a slot."""
    return {"large": b64encode(random.Random(seed).randbytes(9_000_000)).decode()}


def test_only_hints_and_notes_are_overwritten() -> None:
    """Every other PUT of a life with packs, snapshots and collections has the condition."""
    backend = backend_on(Bucket(), new=True, grace=0.0)
    with Store(backend, author="a") as kb:
        kb.commit({"n": 0, "own": {f"p{n}": random.Random(n).randbytes(3000).hex() for n in range(250)}})
        for n in range(140):
            kb.commit(patch=[{"op": "replace", "path": "/n", "value": n + 1}])
        kb.snapshot()
        kb.gc()
        kb.backend.collect({})
    puts = [request for request in backend.client.meter.requests if request.operation == "PUT"]
    assert {request.key.partition("/")[0] for request in puts} >= {"log", "pack", "snap", "data", "hint", "note"}
    assert [r.key for r in puts if r.absent == r.key.startswith(OVERWRITTEN)] == []


@pytest.mark.parametrize("protected", [False, True])
def test_a_blob_that_is_there_and_damaged(protected: bool) -> None:
    """A commit that needs it writes it anew, or is refused and names it; it never builds on damage."""
    bucket = Bucket("support")
    with Store(backend_on(bucket, new=True), author="a") as kb:
        kb.commit({})
        kb.commit(large(1))
        blob = next(key for key in bucket.objects if key.startswith("blob/"))
        kept = bucket.objects[blob]
        kb.commit({})
    bucket.remove(*[key for key in bucket.objects if key.startswith("log/") and key[-1] in "23"])
    bucket.remove(*[key for key in bucket.objects if key.startswith("hint/")])
    bucket.objects[blob] = (kept[0][:-1], kept[1])
    bucket.judge = allows if protected else None
    with Store(backend_on(bucket), author="a") as kb:
        if protected:
            with pytest.raises(CorruptStore, match=blob):
                kb.commit(large(1))
            assert kb.head().seq == 1
        else:
            kb.commit(large(1))
            assert bucket.objects[blob][0] == kept[0]
            assert kb.verify().ok
