"""Slots that are gone or were replaced: told, never built upon, and what packs hold of them is saved."""

import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from kbstore import Change, Store
from kbstore.backends.base import Record
from kbstore.backends.s3.log import compactor
from kbstore.backends.s3.log.head import Hint, encode_hint
from kbstore.backends.s3.transport.client import Client
from kbstore.errors import DamagedVersion, KBStoreError
from kbstore.kit.errors import StoreUnavailable
from kbstore.verify.salvage import salvage
from tests.s3.fakes import Bucket, backend_on
from tests.store.support import replacing

SLOTS = 100


@pytest.fixture
def bucket() -> Bucket:
    """A store of so many slots, with packs, a hint and a snapshot."""
    found = Bucket()
    with Store(backend_on(found, new=True), author="a") as kb:
        kb.commit({"n": 0})
        for n in range(1, SLOTS):
            kb.commit(patch=replacing("/n", n))
            kb.backend.settle()  # type: ignore[attr-defined] # the hint then names slot 96
        kb.snapshot()
    return found


def lose(bucket: Bucket, after: int, *more: str) -> None:
    """Remove the slots after one, as a lifecycle rule does, and all objects of these kinds."""
    gone = [key for key in bucket.objects if key.startswith("log/") and int(key[-12:]) > after]
    bucket.remove(*gone, *[key for key in bucket.objects if key.startswith(more)])


@pytest.mark.parametrize("after", [0, 1, 40, 99])
@pytest.mark.parametrize("kept", ["hint/", "pack/", "snap/"])
def test_verify_compares_slots_with_what_caches_say(bucket: Bucket, after: int, kept: str) -> None:
    """Slots that a hint, a pack or a snapshot speaks of are missed, whichever of them is left."""
    assert Store(backend_on(bucket)).verify().ok
    lose(bucket, after, *{"hint/", "pack/", "snap/"} - {kept})
    report = Store(backend_on(bucket, read_only=True)).verify()
    if kept != "snap/" and after >= 96:
        assert report.ok  # nothing but the snapshot speaks of the last four
    else:
        assert [said for said in report.problems if "slots are missing" in said]


@pytest.mark.parametrize("kept", ["hint/", "pack/", "snap/"])
def test_no_second_history_is_begun(bucket: Bucket, kept: str) -> None:
    """All slots are gone: a writer refuses, and nothing is written or collected."""
    lose(bucket, 0, *{"hint/", "pack/", "snap/"} - {kept})
    before = dict(bucket.objects)
    for act in (lambda kb: kb.commit({"n": 1}), lambda kb: kb.gc()):
        with Store(backend_on(bucket), author="b") as kb, pytest.raises(StoreUnavailable, match="nothing is written: "):
            act(kb)
    assert bucket.objects == before


@pytest.mark.parametrize("after", [1, 40, 95])
def test_a_writer_refuses_if_the_hint_names_a_slot_that_is_gone(bucket: Bucket, after: int) -> None:
    """Readers go on with what is there; the hint stays, since it tells of the loss, until a person removes it."""
    lose(bucket, after)
    before = dict(bucket.objects)
    with Store(backend_on(bucket), author="b") as kb:
        assert kb.checkout() == {"n": after - 1}
        assert len(list(kb.log())) == after
        with pytest.raises(StoreUnavailable, match=f"names slot 96, and the newest that is there is {after}$"):
            kb.commit({"n": -1})
    assert bucket.objects == before
    bucket.remove(*[key for key in bucket.objects if key.startswith(("hint/", "pack/", "snap/"))])
    with Store(backend_on(bucket), author="b") as kb:
        assert kb.commit({"n": -1}).seq == after + 1
        assert kb.verify().ok


@pytest.mark.parametrize(("after", "saved"), [(0, 96), (40, 96), (98, 98)])
@pytest.mark.parametrize("hinted", [True, False])
def test_salvage_reads_packs(bucket: Bucket, tmp_path: Path, after: int, saved: int, hinted: bool) -> None:
    """Events and documents of slots that are gone, as far as packs hold them."""
    expected = [version.id for version in Store(backend_on(bucket)).log(newest_first=False)]
    lose(bucket, after, *([] if hinted else ["hint/"]))
    done = salvage(Store(backend_on(bucket, read_only=True)), tmp_path / "saved")
    assert (done.events, done.patches, done.documents) == (saved, saved, saved)
    assert (tmp_path / "saved" / "documents" / "main" / f"v{saved}.json").exists()
    lines = (tmp_path / "saved" / "events.jsonl").read_text().splitlines()
    assert [line.partition('"id":"')[2][:64] for line in lines] == expected[:saved]


@pytest.mark.parametrize("after", [40, 89])
def test_a_store_goes_on_after_salvage(bucket: Bucket, tmp_path: Path, after: int) -> None:
    """What packs recall is for salvage alone: the handle reads and writes as before, also beside it."""
    lose(bucket, after, "hint/")
    with Store(backend_on(bucket), author="b") as kb:
        assert salvage(kb, tmp_path / "saved").events == 96
        assert kb.head().seq == len(list(kb.log())) == after
        assert kb.commit(patch=replacing("/n", -1)).seq == after + 1
        with Store(backend_on(bucket)) as other:
            assert other.checkout() == {"n": -1}


LONG = 1060
"""Slots: in one pair of large packs, 33 small ones, and four that are in none."""


@pytest.fixture(scope="module")
def long_log() -> tuple[dict[str, tuple[bytes, float]], list[str]]:
    """The objects of a log with large packs, and the ids of its versions."""
    found = Bucket()
    with Store(backend_on(found, new=True), author="a") as kb:
        for n in range(LONG):
            kb.commit(patch=[{"op": "add", "path": "", "value": {"n": n}}])
        return found.objects, [version.id for version in kb.log(newest_first=False)]


@pytest.mark.parametrize(
    ("gone", "missing", "unpatched"),
    [
        (["a/"], range(1024, 1056), 0),
        (["h/", "b/"], range(0), 0),
        (["b/"], range(0), 0),
        (["a/000000000003", "h/", "b/"], range(96, 128), 0),
        ([f"a/{at:012d}" for at in range(32)] + ["b/"], range(0), 1024),
        (["a/000000000032"], range(1024, 1056), 0),
        ([f"a/{at:012d}" for at in range(32)] + ["h/"], range(1024), 0),
    ],
)
def test_salvage_reads_any_pack(
    long_log: tuple[dict[str, tuple[bytes, float]], list[str]],
    tmp_path: Path,
    gone: list[str],
    missing: range,
    unpatched: int,
) -> None:
    """Large packs, small ones where a large one is gone, and what is behind those that are gone; all slots are gone."""
    objects, ids = long_log
    bucket = Bucket()
    bucket.objects = dict(objects)
    lose(bucket, 0, "hint/", "snap/", "note/", *[f"pack/4main000000000000/{one}" for one in gone])
    backend = backend_on(bucket, read_only=True)
    done = salvage(Store(backend), tmp_path / "saved", documents=False)
    asked = [one for one in backend.client.meter.requests if one.operation == "GET" and one.key[:4] in ("log/", "pack")]
    assert len(asked) < 1200  # the head is looked for with each version that is lost, and no slot or pack that is gone
    lines = (tmp_path / "saved" / "events.jsonl").read_text().splitlines()
    saved = [line.partition('"id":"')[2][:64] for line in lines]
    assert saved == [ident for at, ident in enumerate(ids[:1056]) if at not in missing]
    assert (done.events, done.patches) == (len(saved), len(saved) - unpatched)


# ---- two winners -----------------------------------------------------------------------------------------------------


def test_a_server_that_checks_and_then_writes_is_refused() -> None:
    """It keeps the condition for one after another, and not for several at once; nothing is left there."""
    bucket = Bucket()
    bucket.race_s = 0.02
    with pytest.raises(StoreUnavailable, match="two writers win one slot"):
        backend_on(bucket, new=True)
    assert bucket.objects == {}
    bucket.race_s = 0.0
    backend_on(bucket, new=True).close()


def test_a_process_stops_if_its_slot_was_replaced() -> None:
    """Two writers won slot 2: the one whose slot is gone learns it with the next slot, and says so."""
    bucket = Bucket()
    mine, other = (Store(backend_on(bucket, new=new), author="a") for new in (True, False))
    mine.commit({"n": 0})
    other.head()
    mine.commit(patch=[{"op": "add", "path": "/mine", "value": 1}])
    bucket.remove(SECOND)
    for n in range(2):
        other.commit(patch=[{"op": "add", "path": f"/other{n}", "value": 1}])
    before = dict(bucket.objects)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="slot 2 of log main, which this process wrote, was replaced"):
            mine.commit(patch=[{"op": "add", "path": "/more", "value": 1}])
    assert bucket.objects == before
    with Store(backend_on(bucket), author="c") as kb:  # the history of the others is whole
        assert kb.commit(patch=[{"op": "add", "path": "/more", "value": 1}]).seq == 4
        assert kb.verify().ok


@pytest.fixture
def beside() -> tuple[Bucket, Store, Bucket]:
    """A bucket, a writer of its slots 2 and on that is open, and slot 2 as another writer wrote it."""
    bucket, other = Bucket(), Bucket()
    with Store(backend_on(bucket, new=True), author="a") as kb:
        kb.commit({"n": 0})
    other.objects = dict(bucket.objects)
    with Store(backend_on(other), author="b") as kb:
        kb.commit({"m": 1})
    return bucket, Store(backend_on(bucket), author="a"), other


def watched(client: Client, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The requests for slots of main that this thread makes from now on; others look for the head, late or early."""
    asked: list[str] = []
    here, original = threading.current_thread(), client._counted  # type: ignore[attr-defined]

    def counted(operation: str, key: str) -> object:
        if threading.current_thread() is here and key.startswith("log/4main"):
            asked.append(operation)
        return original(operation, key)

    monkeypatch.setattr(client, "_counted", counted)
    return asked


SECOND = "log/4main000000000000/000000000002"


@pytest.mark.parametrize("commits", [1, 2, 20])
def test_a_writer_that_never_reads_learns_at_close_that_its_slot_was_replaced(
    beside: tuple[Bucket, Store, Bucket], commits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one request: of a single slot its beginning, of more a listing, and a look at what differs there."""
    bucket, mine, other = beside
    for n in range(commits):
        mine.commit(patch=replacing("/n", n + 1))
    bucket.objects[SECOND] = other.objects[SECOND]
    client = mine.backend.client  # type: ignore[attr-defined]
    asked = watched(client, monkeypatch)
    with pytest.raises(StoreUnavailable, match="slot 2 of log main, which this process wrote, was replaced"):
        mine.close()
    assert asked == (["GET"] if commits == 1 else ["LIST", "GET"])
    assert not [key for key in bucket.objects if key.startswith("hint/")]
    mine.close()


@pytest.mark.parametrize("commits", [1, 20])
def test_a_writer_that_closes_with_its_slots_as_it_wrote_them(
    beside: tuple[Bucket, Store, Bucket], commits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks with one request, whatever the number of its slots."""
    _, mine, _ = beside
    for n in range(commits):
        mine.commit(patch=replacing("/n", n + 1))
    client = mine.backend.client  # type: ignore[attr-defined]
    asked = watched(client, monkeypatch)
    mine.close()
    assert asked == ["GET" if commits == 1 else "LIST"]
    assert client.etags == {}


def test_a_writer_that_never_reads_learns_after_many_slots_that_one_was_replaced(
    beside: tuple[Bucket, Store, Bucket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next commit refuses, and no pack or hint is made of slots that do not fit."""
    monkeypatch.setattr(compactor, "_PROVED_TOGETHER", 31)
    bucket, mine, other = beside
    mine.commit(patch=replacing("/n", 1))
    bucket.objects[SECOND] = other.objects[SECOND]
    for n in range(2, 32):
        mine.commit(patch=replacing("/n", n))
    mine.backend.settle()  # type: ignore[attr-defined]
    before = dict(bucket.objects)
    with pytest.raises(StoreUnavailable, match="slot 2 of log main, which this process wrote, was replaced"):
        mine.commit(patch=replacing("/n", 32))
    assert bucket.objects == before
    assert not [key for key in before if key.startswith(("pack/", "hint/"))]


def test_an_etag_alone_accuses_nobody(beside: tuple[Bucket, Store, Bucket]) -> None:
    """On a server that shows other ETags in listings, or did not tell one, the slots are read."""
    bucket, mine, _ = beside
    for n in range(3):
        mine.commit(patch=replacing("/n", n + 1))
    etags = mine.backend.client.etags  # type: ignore[attr-defined]
    etags[SECOND] = '"other"'
    del etags[SECOND[:-1] + "3"]
    mine.close()
    assert Store(backend_on(bucket)).verify().ok


def test_a_slot_that_others_replaced_is_told() -> None:
    """What was written behind it does not fit: verify says so, and a new process does not build on it."""
    bucket = Bucket()
    other = Bucket()
    with Store(backend_on(bucket, new=True), author="a") as kb:
        for n in range(3):
            kb.commit({"n": n})
    other.objects = {key: kept for key, kept in bucket.objects.items() if not key.endswith(("2", "3"))}
    with Store(backend_on(other), author="b") as kb:
        kb.commit({"m": 1})
    bucket.objects[SECOND] = other.objects[SECOND]
    report = Store(backend_on(bucket)).verify()
    assert any("slot 3 of log main was not written behind slot 2" in said for said in report.problems)
    refused = pytest.raises(DamagedVersion, match="version v3 is damaged: its patch cannot be applied")
    with Store(backend_on(bucket), author="c") as kb, refused:
        kb.commit({"n": 9})


def test_writers_on_a_server_with_a_race() -> None:
    """Whoever lost an acknowledged commit is told of it, at a later commit or at close, or verify tells of it."""
    bucket = Bucket()
    Store(backend_on(bucket, new=True), author="x").commit({"n": 0})
    bucket.race_s = 0.003
    names = [f"w{n}" for n in range(4)]
    acknowledged: dict[str, set[str]] = {name: set() for name in names}
    stopped: dict[str, KBStoreError] = {}
    at_rest = threading.Barrier(len(names))  # an overwriting PUT that arrives after a close is seen by nobody

    def work(name: str) -> None:
        kb = Store(backend_on(bucket), author=name)
        try:
            for n in range(12):
                version = kb.commit(patch=[{"op": "add", "path": f"/{name}-{n}", "value": n}])
                acknowledged[name].add(version.id)
                time.sleep(0.001)
        except KBStoreError as fault:
            stopped[name] = fault
        at_rest.wait(60)
        try:
            kb.close()
        except KBStoreError as fault:
            stopped[name] = fault

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bucket.race_s = 0.0
    report = Store(backend_on(bucket)).verify()
    there = {version.id for version in Store(backend_on(bucket)).log()} if report.ok else set()
    for name in names:
        assert not report.ok or acknowledged[name] <= there or name in stopped
    assert stopped or report.ok


# ---- the oldest slots are gone ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unpacked() -> dict[str, tuple[bytes, float]]:
    """The objects of a log of 31 slots, whose writer was killed before it wrote a pack or a hint."""
    found = Bucket()
    kb = Store(backend_on(found, new=True), author="a")
    kb.commit({"n": 0})
    for n in range(1, 31):
        kb.commit(patch=replacing("/n", n))
    assert {key.partition("/")[0] for key in found.objects} == {"kbstore", "log"}
    return found.objects


def without(objects: dict[str, tuple[bytes, float]], slots: range) -> Bucket:
    """A bucket with these objects, but for some slots of main."""
    bucket = Bucket()
    bucket.objects = dict(objects)
    bucket.remove(*[f"log/4main000000000000/{slot:012d}" for slot in slots])
    return bucket


@pytest.mark.parametrize("gone", [range(1, 2), range(1, 6), range(1, 10), range(1, 31), range(10, 20)], ids=str)
@pytest.mark.parametrize("hinted", [True, False])
def test_slots_behind_a_gap_are_no_empty_log(
    unpacked: dict[str, tuple[bytes, float]], gone: range, hinted: bool, tmp_path: Path
) -> None:
    """Slots are missing and others stand behind them: readers say so, and no slot is written into the gap."""
    bucket = without(unpacked, gone)
    if hinted:  # of a slot that is not there
        bucket.objects["hint/4main000000000000"] = (encode_hint("main", Hint(slot=40)), 0.0)
    before = dict(bucket.objects)
    with Store(backend_on(bucket, read_only=True)) as kb:
        assert kb.backend.tail("main").slot == 31
        with pytest.raises(DamagedVersion, match="its header cannot be read"):
            list(kb.log())
    with Store(backend_on(bucket), author="b") as kb, suppress(KBStoreError):
        kb.commit({"n": 1})  # behind the newest, if that version can be read
    assert {key[-2:] for key in bucket.objects.keys() - before.keys() if key.startswith("log/")} <= {"32"}
    bucket.objects = before
    with Store(backend_on(bucket, read_only=True)) as kb:
        done = salvage(kb, tmp_path / "saved")
    assert done.events == 31 - len(gone)


def test_the_first_slot_is_not_written_before_others(unpacked: dict[str, tuple[bytes, float]]) -> None:
    """A writer that knew an empty log lists its slots before it writes the first."""
    bucket = Bucket()
    bucket.objects = {"kbstore": unpacked["kbstore"]}
    backend = backend_on(bucket)  # not a `Store`, whose reading ahead may go on after its call, and see them
    assert backend.tail("main").slot == 0
    bucket.objects = without(unpacked, range(1, 31)).objects
    bucket.ordered = None
    with pytest.raises(StoreUnavailable, match="log main has slot 31, and not those before it"):
        backend.append("main", 1, [Record(b"{}", b"")], write_id="w" * 16)
    assert len(bucket.objects) == 2


def test_an_empty_log_is_listed_once() -> None:
    """Who looks at it again and again asks for its first slots only."""
    backend = backend_on(Bucket(), new=True)
    backend.client.meter.reset()
    for _ in range(3):
        assert backend.tail("main").slot == 0
    assert [r.operation for r in backend.client.meter.reset()].count("LIST") == 1


@pytest.mark.parametrize("gone", [range(1, 10), range(35, 70)], ids=str)
@pytest.mark.parametrize("kept", [(), ("hint/",), ("hint/", "pack/")], ids=str)
@pytest.mark.parametrize("hinted", [34, 38])
def test_salvage_reads_slots_behind_a_gap(gone: range, kept: tuple[str, ...], hinted: int, tmp_path: Path) -> None:
    """Every event of a slot that is there, whatever the number of events in those that are gone."""
    bucket = Bucket()
    with Store(backend_on(bucket, new=True), author="a") as kb:
        kb.commit({"n": 0})
        for n in range(1, 100):
            kb.commit_many([Change(patch=replacing("/n", 2 * n)), Change(patch=replacing("/n", 2 * n + 1))])
            kb.backend.settle()  # type: ignore[attr-defined] # so that all packs that are due are made
        expected = [version.id for version in kb.log(newest_first=False)]
    others = [key for key in bucket.objects if key.startswith(("pack/", "snap/", "note/")) and not key.startswith(kept)]
    hint = encode_hint("main", Hint(slot=hinted, small=(1,), next=64))
    bucket.objects["hint/4main000000000000"] = (hint, 0.0)
    bucket.remove(*others, *([] if kept else ["hint/4main000000000000"]))
    bucket.remove(*[f"log/4main000000000000/{slot:012d}" for slot in gone])
    lost = set() if "pack/" in kept else {seq for slot in gone for seq in (2 * slot - 2, 2 * slot - 1)} - {0}
    salvage(Store(backend_on(bucket, read_only=True)), tmp_path / "saved", documents=False)
    lines = (tmp_path / "saved" / "events.jsonl").read_text().splitlines()
    saved = [line.partition('"id":"')[2][:64] for line in lines]
    assert saved == [ident for seq, ident in enumerate(expected, 1) if seq not in lost]
