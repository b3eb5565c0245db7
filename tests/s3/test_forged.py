"""Objects with sound digests that say what cannot be: refused in a line, and passed over if they are caches."""

from typing import Any

import orjson
import pytest

from kbstore import Store
from kbstore.backends.packing import digest
from kbstore.backends.s3.format import container
from kbstore.errors import KBStoreError
from tests.s3.fakes import Bucket, backend_on
from tests.store.support import replacing

COMMITS = 40


@pytest.fixture(scope="module")
def objects() -> dict[str, tuple[bytes, float]]:
    """Slots, packs and a snapshot of a small store."""
    bucket = Bucket()
    with Store(backend_on(bucket, new=True), author="a") as kb:
        kb.commit({"n": 0, "entries": {f"e{n}": "x" * 50 for n in range(200)}})
        for n in range(1, COMMITS):
            kb.commit(patch=replacing("/n", n))
        kb.snapshot()
    return bucket.objects


def forged(data: bytes, change: dict[str, Any]) -> bytes:
    """An object with another description, to which its digest fits; keys are paths such as ``parts/0/1``."""
    head, length, _ = container._HEAD.unpack_from(data)
    end = container.HEAD_BYTES + length
    description = orjson.loads(data[container.HEAD_BYTES : end])
    for path, value in change.items():
        place: Any = description
        *way, last = path.split("/")
        for step in way:
            place = place[int(step) if isinstance(place, list) else step]
        place[int(last) if isinstance(place, list) else last] = value
    text = orjson.dumps(description)
    return bytes(container._HEAD.pack(head, len(text), digest(data[3:8], text)) + text + data[end:])


COUNTED = ["first", "headers/0", "bodies/0", "writes/0/1", "parts/0/1", "parts/1/1", "parts/1/3/0"]
NO_COUNTS = [-1, "1", 1.5, None, True, 1 << 60, [1]]


@pytest.mark.parametrize("value", NO_COUNTS)
@pytest.mark.parametrize("path", COUNTED)
def test_a_slot(objects: dict[str, tuple[bytes, float]], path: str, value: object) -> None:
    """The versions before it are read, and verify names it."""
    bucket = Bucket()
    bucket.objects = {key: kept for key, kept in objects.items() if not key.startswith(("pack/", "snap/"))}
    key = f"log/4main000000000000/{COMMITS:012d}"
    bucket.objects[key] = (forged(objects[key][0], {path: value}), 0.0)
    kb = Store(backend_on(bucket, read_only=True))
    assert kb.checkout(f"v{COMMITS - 1}")["n"] == COMMITS - 2
    with pytest.raises(KBStoreError, match=f"version v{COMMITS} is damaged"):
        kb.checkout()
    assert not kb.verify().ok


@pytest.mark.parametrize("value", NO_COUNTS)
@pytest.mark.parametrize("path", ["parts/0/1", "parts/1/1", "parts/2/1", "parts/2/3/0"])
@pytest.mark.parametrize("kind", ["pack/", "snap/"])
def test_a_cache(objects: dict[str, tuple[bytes, float]], kind: str, path: str, value: object) -> None:
    """The store answers as without it."""
    bucket = Bucket()
    bucket.objects = dict(objects)
    if path.endswith("3/0"):  # the last part has a detail, whatever stands before it
        path = "parts/-1/3/0"
    for key in [key for key in objects if key.startswith(kind)]:
        bucket.objects[key] = (forged(objects[key][0], {path: value}), 0.0)
    kb = Store(backend_on(bucket, read_only=True))
    assert [v.seq for v in kb.log()] == list(range(COMMITS, 0, -1))
    assert kb.checkout()["n"] == COMMITS - 1
    assert kb.checkout("v20")["n"] == 19
    assert kb.verify().caches
