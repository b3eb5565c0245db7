"""In which order a collection works, and what it leaves alone whoever asks for it: held by counting its requests."""

import hashlib
import json
from contextlib import closing

import pytest

from kbstore.backends.base import Chunk, Record
from kbstore.backends.s3 import S3Backend
from kbstore.backends.s3.cache import gc as care
from kbstore.backends.s3.cache import snapshots as shots
from kbstore.backends.s3.cache.snapshots import LARGEST_NOTE_BYTES
from kbstore.backends.s3.format import keys
from kbstore.backends.s3.format.keys import note_folder
from kbstore.backends.s3.log.append import create_slot
from kbstore.backends.s3.transport.client import Request
from tests.s3.fakes import Bucket, DictClient, backend_on

WEEK_S = 7 * 24 * 3600.0


def noise(n: int) -> bytes:
    """Bytes that do not compress, too many to stand beside their index."""
    return hashlib.shake_128(b"%d" % n).digest(800_000)


@pytest.fixture
def bucket() -> Bucket:
    """Two records, and a snapshot of each whose data stands in objects of its own."""
    found = Bucket()
    backend = backend_on(found, new=True)
    for n in (1, 2):
        backend.append("main", n, [Record(b"header %d" % n, b"body")], write_id=f"{n:016x}")
        data = noise(n)
        chunk = Chunk(hashlib.sha256(data).digest(), data)
        assert backend.put_snapshot("main", n, tier=3, note=b"note", chunks=[chunk])
    backend.close()
    assert len(data_of(found)) >= 2
    return found


def data_of(bucket: Bucket) -> list[str]:
    """The keys of data."""
    return [key for key in bucket.objects if key.startswith("data/")]


def store_id(bucket: Bucket) -> str:
    """The id of the store."""
    return str(json.loads(bucket.objects["kbstore"][0])["id"])


def trash(bucket: Bucket, *names: str, key: str = "0" * 16) -> str:
    """Put a list of what is to go, as anybody can who may write there."""
    key = f"trash/{store_id(bucket)}/{key}"
    bucket.objects[key] = (json.dumps(names).encode(), bucket.now)
    bucket.ordered = None
    return key


def collect(bucket: Bucket, *keep: int) -> list[Request]:
    """Collect, keeping the snapshots of these records; returns the requests."""
    backend = backend_on(bucket)
    meter = backend.client.meter
    meter.reset()
    backend.collect({"main": keep})
    requests = meter.reset()
    backend.close()
    return list(requests)


def first(requests: list[Request], operation: str, folder: str) -> int:
    """Which request is the first of its kind."""
    return next(at for at, r in enumerate(requests) if r.operation == operation and r.key.startswith(folder))


def last(requests: list[Request], operation: str, folder: str) -> int:
    """Which request is the last of its kind."""
    return max(at for at, r in enumerate(requests) if r.operation == operation and r.key.startswith(folder))


def test_indexes_are_listed_before_data_and_removed_before_it_is_marked(bucket: Bucket) -> None:
    """Else a snapshot that is published meanwhile would seem to lack its data, and a reader would find some marked."""
    requests = collect(bucket)
    assert last(requests, "LIST", "snap/") < first(requests, "LIST", "data/")
    assert last(requests, "DELETE", "snap/") < first(requests, "PUT", "trash/")
    assert not any(r.operation == "DELETE" and r.key.startswith("data/") for r in requests)


def test_data_is_removed_before_the_list_that_names_it(bucket: Bucket) -> None:
    """A collection that is killed between them leaves the list, and the next one goes on with it."""
    collect(bucket)
    bucket.now += WEEK_S
    requests = collect(bucket)
    assert last(requests, "DELETE", "data/") < first(requests, "DELETE", "trash/")
    assert data_of(bucket) == []


def test_a_list_removes_data_of_this_store_and_nothing_else(bucket: Bucket) -> None:
    """Whoever can write one name into the bucket does not get all that he names removed."""
    other = f"data/{'f' * 16}/{'0' * 16}/0000"
    bucket.objects[other] = (b"of another store", bucket.now)
    named = [key for key in bucket.objects if not key.startswith(("data/", "snap/"))]
    trash(bucket, *named, other, "../kbstore", "")
    before = dict(bucket.objects)
    bucket.now += WEEK_S
    collect(bucket, 1, 2)
    gone = before.keys() - bucket.objects.keys()
    assert [key for key in gone if not key.startswith("trash/")] == []


@pytest.mark.parametrize("key", ["notes", "0" * 15, "0" * 16 + "/0", "G" * 16])
def test_a_list_of_another_name_is_left_alone(bucket: Bucket, key: str) -> None:
    """A prefix may hold other things."""
    (named, *_) = data_of(bucket)
    there = trash(bucket, named, key=key)
    bucket.now += WEEK_S
    collect(bucket, 1, 2)
    assert there in bucket.objects
    assert named in bucket.objects


def test_lists_are_short(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Much that is to go is named in several lists, and goes all the same; a list that is longer is not ours."""
    monkeypatch.setattr(care, "_LIST_NAMES", 1)
    kept, *_ = data_of(bucket)
    long = trash(bucket, kept, *["x" * 60] * 20_000)
    collect(bucket)
    assert len([key for key in bucket.objects if key.startswith("trash/")]) == 1 + len(data_of(bucket)) > 2
    bucket.now += WEEK_S
    requests = collect(bucket)
    assert max(r.came_bytes for r in requests if r.key == long) == care.LIST_BYTES
    assert (data_of(bucket), [key for key in bucket.objects if key.startswith("trash/")]) == ([], [long])


def test_notes_are_short(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many are read at once: one that is larger than any of ours is not read, and none such is written."""
    with closing(backend_on(bucket)) as backend:
        ours, others = b"x" * (LARGEST_NOTE_BYTES - 8), b"x" * (LARGEST_NOTE_BYTES - 7)
        backend.put_note("some", 0, ours)
        backend.put_note("some", 1, others)
        assert [key for key in bucket.objects if key.startswith("note/")] == [f"{note_folder('some')}{0:012d}"]
        monkeypatch.setattr(shots, "LARGEST_NOTE_BYTES", LARGEST_NOTE_BYTES + 1)
        backend.put_note("some", 1, others)
        monkeypatch.undo()
        backend.client.meter.reset()
        assert dict(backend.notes("some")) == {0: ours}
        assert max(r.came_bytes for r in backend.client.meter.reset()) == LARGEST_NOTE_BYTES
        assert [found.what for found in backend.check() if "is damaged" in found.what] == [
            f"the note {note_folder('some')}{1:012d} is damaged"
        ]


def test_what_a_snapshot_uses_now_stays_whatever_a_list_says(bucket: Bucket) -> None:
    """A writer that was slow may have published it since."""
    kept = data_of(bucket)
    trash(bucket, *kept)
    bucket.now += WEEK_S
    collect(bucket, 1, 2)
    assert data_of(bucket) == kept


def test_a_list_is_kept_for_the_grace_period(bucket: Bucket) -> None:
    """By the server's clock, and not a moment less."""
    collect(bucket)
    marked = data_of(bucket)
    bucket.now += backend_on(bucket).client.options.grace - 1
    collect(bucket)
    assert data_of(bucket) == marked
    bucket.now += 1
    collect(bucket)
    assert data_of(bucket) == []


def test_a_snapshot_without_its_data_goes_with_what_builds_on_it(bucket: Bucket) -> None:
    """It would be chosen and missed again and again."""
    backend = backend_on(bucket)
    data = noise(3)
    chunk = Chunk(hashlib.sha256(data).digest(), data)
    assert backend.put_snapshot("main", 2, tier=2, note=b"on 1", chunks=[chunk], requires={1: b"note"})
    assert [(s.number, s.note) for s in backend.snapshots("main")] == [(1, b"note"), (2, b"on 1")]
    backend.close()
    bucket.remove(data_of(bucket)[0])
    collect(bucket, 1, 2)
    assert [s.note for s in backend_on(bucket).snapshots("main")] == []


def test_only_old_probes_are_removed(bucket: Bucket) -> None:
    """A young one belongs to a server that is being tried, and one with other bytes to somebody else."""
    old, foreign, young = (f"probe/{n * 16}" for n in "123")
    bucket.objects[old] = (keys.probe_data("1" * 16), bucket.now)
    bucket.objects[foreign] = (keys.probe_data("1" * 16), bucket.now)
    bucket.now += WEEK_S
    bucket.objects[young] = (keys.probe_data("3" * 16), bucket.now)
    bucket.ordered = None
    collect(bucket, 1, 2)
    assert (old in bucket.objects, foreign in bucket.objects, young in bucket.objects) == (False, True, True)


@pytest.mark.parametrize("there", [b"slotslot", b"slot", b"slotslotslot and more", b"slotslot!lot"])
def test_a_slot_is_ours_only_if_it_is_ours_to_the_last_byte(there: bytes) -> None:
    """What stands there may begin as what was sent and go on otherwise, or end too soon."""
    bucket = Bucket()
    backend: S3Backend = backend_on(bucket, new=True)
    client = backend.client
    assert isinstance(client, DictClient)
    sent = b"slotslotslot"
    bucket.objects["log/x"] = (there, bucket.now)
    got = create_slot(client, "log/x", sent, write_id="1" * 16, look_bytes=len(sent))
    assert got is not None
    assert got.data == there[: len(sent)]
    bucket.objects["log/x"] = (sent, bucket.now)
    assert create_slot(client, "log/x", sent, write_id="1" * 16, look_bytes=len(sent)) is None
    assert create_slot(client, "log/x", sent[:8], write_id="1" * 16, look_bytes=8) is not None
