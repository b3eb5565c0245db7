"""Each sentence of the commit protocol: what the server does on one side, what the writer makes of it on the other."""

import hashlib
from collections.abc import Callable

import pytest

from kbstore import Store
from kbstore.backends.base import Record
from kbstore.backends.s3 import S3Backend, probe
from kbstore.backends.s3.format import keys
from kbstore.backends.s3.transport.client import Client
from kbstore.backends.s3.transport.errors import Refused
from kbstore.backends.s3.transport.url import Options
from kbstore.errors import ConflictError, RevisionError
from kbstore.kit.errors import OutcomeUnknown, SlotTaken, StoreExists, StoreUnavailable
from tests.s3.fakes import Bucket, DictClient, backend_on

Put = Callable[[str, bytes], Refused | None]
LOST = Refused(0, "ReadTimeoutError", True, TimeoutError())
NEVER_SENT = Refused(0, "EndpointConnectionError", False, ConnectionError())
CONFLICT = Refused(409, "ConditionalRequestConflict", False, ValueError())
SLOW_DOWN = Refused(503, "SlowDown", True, ValueError())
ERROR = Refused(500, "InternalError", True, ValueError())
DENIED = Refused(403, "AccessDenied", False, ValueError())


class Still:
    """A clock that moves only by sleeping, so that deadlines cost no time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self.count = 0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)

    def token(self) -> str:
        self.count += 1
        return f"{self.count:016x}"

    def fraction(self) -> float:
        return 0.5


@pytest.fixture
def bucket() -> Bucket:
    """An empty store."""
    found = Bucket()
    backend_on(found, new=True).close()
    return found


@pytest.fixture
def backend(bucket: Bucket) -> S3Backend:
    """One handle of it, with a clock that stands still, past its first write."""
    backend = backend_on(bucket)
    backend.client.chance = backend._chance = Still()
    backend.append("main", 1, [Record(b"1", b"one")], write_id="first")
    return backend


def answers(client: Client, *given: str | Refused, then: str = "real") -> list[str]:
    """Let the next creations end so: ``real``, ``applied`` (carried out, answer lost), ``lost``, or as refused."""
    script = list(given)
    original = client.create
    keys: list[str] = []

    def create(key: str, data: bytes) -> Refused | None:
        keys.append(key)
        step = script.pop(0) if script else then
        if step == "real":
            return original(key, data)
        if step == "applied":
            original(key, data)
        if step in ("applied", "lost"):
            return LOST
        assert isinstance(step, Refused)
        return step

    client.create = create  # type: ignore[method-assign]
    return keys


def append(backend: S3Backend, slot: int = 2, write_id: str = "mine", body: bytes = b"two") -> None:
    """One record of ours."""
    backend.append("main", slot, [Record(b"2", body)], write_id=write_id)


def headers(bucket: Bucket) -> list[bytes]:
    """All headers, as another handle reads them."""
    return [record.header for record in backend_on(bucket).read("main")]


def test_a_warm_commit_is_one_request(backend: S3Backend) -> None:
    """One PUT, and nothing else."""
    backend.client.meter.reset()
    append(backend)
    assert [r.operation for r in backend.client.meter.requests] == ["PUT"]


@pytest.mark.parametrize("faults", [["applied"], [LOST, "applied"], ["applied", LOST], [ERROR, "applied", SLOW_DOWN]])
def test_a_lost_answer_is_no_conflict(backend: S3Backend, bucket: Bucket, faults: list[str | Refused]) -> None:
    """Our own event in the slot is success, and it is there once."""
    answers(backend.client, *faults)
    append(backend)
    assert headers(bucket) == [b"1", b"2"]
    assert backend.find_write("main", "mine") == (2, 2)


@pytest.mark.parametrize("fault", [LOST, CONFLICT, SLOW_DOWN, ERROR, NEVER_SENT], ids=lambda f: f.code)
def test_what_may_pass_is_tried_again_with_the_same_key(backend: S3Backend, bucket: Bucket, fault: Refused) -> None:
    """Never another slot; between attempts there is a wait, with jitter, that grows."""
    keys = answers(backend.client, fault, fault, fault)
    append(backend)
    assert len(set(keys)) == 1
    assert len(keys) == 4
    assert headers(bucket) == [b"1", b"2"]
    slept = backend.client.chance.slept  # type: ignore[attr-defined]
    assert len(slept) == 3
    assert slept == sorted(slept)


def test_another_writer_there_is_a_conflict(backend: S3Backend, bucket: Bucket) -> None:
    """A slot with another's event is taken, also where our own answer was lost before; we know it from then on."""
    other = backend_on(bucket)
    append(other, write_id="theirs", body=b"other")
    answers(backend.client, LOST)
    backend.client.meter.reset()
    with pytest.raises(SlotTaken):
        append(backend)
    assert len(backend.client.meter.requests) <= 2
    assert backend.tail("main", fresh=False).slot == 2
    assert list(backend.bodies("main", [2])) == [(2, b"other")]


def test_who_slept_through_a_storm_looks_where_it_ends(bucket: Bucket) -> None:
    """However young the slots that others won: they are not gone through one by one."""
    kb = Store(backend_on(bucket), author="a")
    kb.commit({"n": 0, "m": 0})
    other = Store(backend_on(bucket), author="b")
    for n in range(3000):
        other.commit(patch=[{"op": "replace", "path": "/n", "value": n}])
    meter = kb.backend.client.meter  # type: ignore[attr-defined]
    meter.reset()
    kb.commit(patch=[{"op": "replace", "path": "/m", "value": 1}])
    attempts = [r for r in meter.reset() if r.operation == "PUT" and r.key.startswith("log/")]
    assert len(attempts) <= 40
    assert kb.checkout() == {"n": 2999, "m": 1}


def test_the_same_id_with_other_bytes_is_not_ours(backend: S3Backend, bucket: Bucket) -> None:
    """A twin with our write id won: the slot is taken, and the write is found where the twin put it."""
    append(backend_on(bucket), body=b"the twin's")
    with pytest.raises(SlotTaken):
        append(backend)
    assert backend.find_write("main", "mine", after=1) == (2, 2)


@pytest.mark.parametrize("landed", [True, False])
def test_past_the_deadline_the_outcome_is_unknown(backend: S3Backend, bucket: Bucket, landed: bool) -> None:
    """`OutcomeUnknown` carries the write id; whichever it was, it is found or not found from it."""
    answers(backend.client, "applied" if landed else LOST, *[LOST] * 500)
    with pytest.raises(OutcomeUnknown) as caught:
        append(backend)
    assert caught.value.write_id == "mine"
    assert backend.client.chance.monotonic() <= 60
    assert backend_on(bucket).find_write("main", "mine") == ((2, 2) if landed else None)


@pytest.mark.parametrize("fault", [NEVER_SENT, CONFLICT])
def test_past_the_deadline_nothing_was_written(backend: S3Backend, bucket: Bucket, fault: Refused) -> None:
    """Where no request can have been carried out, that is said."""
    answers(backend.client, *[fault] * 500)
    with pytest.raises(StoreUnavailable):
        append(backend)
    assert headers(bucket) == [b"1"]


def test_denied_after_doubt_is_still_doubt(backend: S3Backend) -> None:
    """An answer that refuses does not settle what an earlier request did."""
    answers(backend.client, "applied", DENIED)
    with pytest.raises(OutcomeUnknown):
        append(backend)


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_store_is_made_whichever_answer_is_lost(lost: int) -> None:
    """Of the first probe, the second, or the marker: what was created is ours, and nothing is left but the store."""
    bucket = Bucket()
    client = DictClient(Options("fake", "kb/", cache="off"), bucket)
    client.chance = Still()
    answers(client, *["real"] * (lost - 1), "applied")
    probe.begin_store(client, client.chance.token())
    assert list(bucket.objects) == ["kbstore"]


def test_what_a_probe_left_is_in_nobodys_way() -> None:
    """One that ended in doubt is told as that, and the next one makes the store beside what it left."""
    bucket = Bucket()
    client = DictClient(Options("fake", "kb/", cache="off"), bucket)
    client.chance = Still()
    answers(client, "applied", then="lost")
    client._delete = lambda key: DENIED  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable, match="no store could be made"):
        probe.begin_store(client, client.chance.token())
    assert [key.split("/")[0] for key in bucket.objects] == ["probe"]
    backend_on(bucket, new=True).close()
    assert "kbstore" in bucket.objects
    other = Bucket()
    other.objects["probe/of-somebody-else"] = (b"1", 0.0)
    with pytest.raises(StoreExists, match="something else"):
        backend_on(other, new=True)


@pytest.mark.parametrize("landed", [True, False])
def test_a_commit_is_repeated_by_its_id_and_lands_once(bucket: Bucket, landed: bool) -> None:
    """After `OutcomeUnknown`, here and in a new process, also where others went on meanwhile."""
    kb = Store(backend_on(bucket), author="a")
    kb.commit({"n": 0, "m": 0})
    kb.backend.client.chance = Still()  # type: ignore[attr-defined]
    answers(kb.backend.client, "applied" if landed else LOST, *[LOST] * 500)  # type: ignore[attr-defined]
    change = {"patch": [{"op": "replace", "path": "/n", "value": 1}], "message": "once", "write_id": "w1"}
    with pytest.raises(OutcomeUnknown):
        kb.commit(**change)
    other = Store(backend_on(bucket), author="b")
    other.commit(patch=[{"op": "replace", "path": "/m", "value": 2}], message="meanwhile")
    again = Store(backend_on(bucket), author="a")
    first = again.commit(**change)
    assert again.commit(**change).id == first.id
    assert sorted(v.message for v in again.log()) == ["", "meanwhile", "once"]
    assert again.verify().ok


def test_disjoint_edits_both_land_and_colliding_ones_do_not(bucket: Bucket) -> None:
    """By rebase; a conflict names the pointers and both values."""
    Store(backend_on(bucket), author="x").commit({"p": {"a": 1, "b": 1}})
    one, two = Store(backend_on(bucket), author="1"), Store(backend_on(bucket), author="2")
    base = (one.head(), two.head())[0]
    one.commit(patch=[{"op": "replace", "path": "/p/a", "value": 2}], base=base)
    two.commit(patch=[{"op": "replace", "path": "/p/b", "value": 3}], base=base)
    assert one.checkout() == {"p": {"a": 2, "b": 3}}
    with pytest.raises(ConflictError) as caught:
        two.commit(patch=[{"op": "replace", "path": "/p/a", "value": 9}], base=base)
    assert caught.value.pointers == [("/p/a", 9, 2)]


def test_a_batch_beyond_a_slot_is_still_one_slot(bucket: Bucket) -> None:
    """Its bodies go to objects of their own first; then one small PUT makes all of it true at once."""
    backend = backend_on(bucket)
    noisy = [b"".join(hashlib.sha256(b"%d-%d" % (n, i)).digest() for i in range(60_000)) for n in range(6)]
    backend.client.meter.reset()
    backend.append("main", 1, [Record(b"%d" % n, body) for n, body in enumerate(noisy)], write_id="big")
    kinds = [r.key.split("/")[0] for r in backend.client.meter.requests if r.operation == "PUT"]
    assert kinds.count("log") == 1
    assert kinds[-1] == "log"
    assert kinds.count("blob") >= 1
    assert backend.client.meter.requests[-1].sent_bytes < 100_000
    assert [b for _, b in backend_on(bucket).bodies("main", range(1, 7))] == noisy
    assert list(backend_on(bucket).check()) == []


@pytest.mark.parametrize("packs", [True, False])
def test_a_hint_ahead_of_the_log_is_harmless(packs: bool) -> None:
    """On a replica where it arrives first: what is there is read, and what is not yet there is no version."""
    found = Bucket()
    with Store(backend_on(found, new=True), author="a") as kb:
        kb.commit({"n": 0, "m": 0})
        for n in range(1, 1500):
            kb.commit(patch=[{"op": "replace", "path": "/n", "value": n}])
    kinds = ("log/", "hint/", "pack/") if packs else ("log/", "hint/")
    acts: list[Callable[[Store, int], object]] = [
        lambda kb, _: kb.head().seq,
        lambda kb, _: len(list(kb.log())),
        lambda kb, _: len(list(kb.log(path="/n"))),
        lambda kb, _: kb.get("/n", default=-1) + 1,
        lambda kb, end: kb.checkout()["n"] + 1 if end else 0,
        lambda kb, end: kb.version(f"v{end}").seq,
    ]
    for end in (0, 1, 40, 1000, 1100):
        replica = Bucket()
        replica.objects = {
            key: kept
            for key, kept in found.objects.items()
            if (key.startswith(kinds) or key == keys.MARKER)
            and (not key.startswith("log/") or int(key[-12:]) <= end)
            and (not key.startswith("pack/") or int(key[-12:]) < end // (32 if "/a/" in key else 1024))
        }
        for act in acts:
            assert act(Store(backend_on(replica, read_only=True)), end) == end
        with pytest.raises(RevisionError, match=f"the newest is v{end}"):
            Store(backend_on(replica, read_only=True)).checkout(f"v{end + 1}")


@pytest.mark.parametrize("landed", [True, False])
def test_a_change_of_a_tag_or_branch_is_repeated_by_its_id(bucket: Bucket, landed: bool) -> None:
    """As a commit is, by another handle, also where others changed some meanwhile and went on."""
    Store(backend_on(bucket), author="x").commit({"n": 0})
    Store(backend_on(bucket), author="x").tag("old")
    changes: list[Callable[[Store, str], object]] = [
        lambda kb, ident: kb.tag("stable", write_id=ident),
        lambda kb, ident: kb.create_branch("side", write_id=ident),
        lambda kb, ident: kb.untag("old", write_id=ident),
    ]
    for at, change in enumerate(changes):
        kb = Store(backend_on(bucket), author="a")
        kb.backend._require_conditions()  # type: ignore[attr-defined]
        kb.backend.client.chance = Still()  # type: ignore[attr-defined]
        answers(kb.backend.client, "applied" if landed else "lost", then="lost")  # type: ignore[attr-defined]
        with pytest.raises(OutcomeUnknown) as caught:
            change(kb, f"w{at}")
        assert caught.value.write_id == f"w{at}"
        other = Store(backend_on(bucket), author="b")
        other.commit({"n": at + 1})
        other.tag(f"meanwhile-{at}")
        again = Store(backend_on(bucket), author="a")
        change(again, f"w{at}")
        before = again.backend.tail("refs")
        change(again, f"w{at}")
        assert again.backend.tail("refs") == before == (2 * at + 3, 2 * at + 3)
    kb = Store(backend_on(bucket))
    assert kb.tags().keys() == {"stable", "meanwhile-0", "meanwhile-1", "meanwhile-2"}
    assert kb.branches() == ["main", "side"]
    assert kb.tags()["stable"].seq == (1 if landed else 2)
    assert kb.verify().ok
