"""Group commit: threads that commit at once share slots, and each commit stays one of its own."""

import threading
from typing import Any

import pytest

from kbstore import Change, Store
from kbstore.commit.group import Member
from kbstore.errors import ConflictError, KBStoreError, PatchError
from kbstore.kit.errors import OutcomeUnknown, SlotTaken, StoreUnavailable
from tests.s3.fakes import Bucket, backend_on
from tests.s3.test_protocol import LOST, Still, answers

THREADS, EACH = 12, 10


def run(*work: Any) -> list[BaseException | None]:
    """Each in a thread of its own; what each raised."""
    faults: list[BaseException | None] = [None] * len(work)

    def one(at: int) -> None:
        try:
            work[at]()
        except BaseException as fault:  # noqa: BLE001 - told to the test
            faults[at] = fault

    threads = [threading.Thread(target=one, args=(at,)) for at in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return faults


def replace(path: str, value: object) -> list[dict[str, object]]:
    """One operation."""
    return [{"op": "replace", "path": path, "value": value}]


@pytest.mark.parametrize("group", [True, False])
def test_threads_share_slots(group: bool) -> None:
    """Many commits take few slots, none is lost, and each has its own event, author and write id."""
    bucket = Bucket()
    Store(backend_on(bucket, new=True), author="x").commit({f"t{n}": 0 for n in range(THREADS)})
    kb = Store(backend_on(bucket, group=group))
    kb.head()
    bucket.latency_s = 0.01

    def work(name: int) -> None:
        for n in range(EACH):
            version = kb.commit(
                patch=replace(f"/t{name}", n + 1), message=f"{name}/{n}", author=f"a{name}", write_id=f"w{name}-{n}"
            )
            assert version.created
            assert (version.message, version.author) == (f"{name}/{n}", f"a{name}")

    assert run(*(lambda name=name: work(name) for name in range(THREADS))) == [None] * THREADS
    bucket.latency_s = 0.0
    again = Store(backend_on(bucket), author="y")
    assert again.checkout() == {f"t{n}": EACH for n in range(THREADS)}
    assert again.head().seq == 1 + THREADS * EACH
    slots = again.backend.tail("main").slot
    assert slots <= 1 + THREADS * EACH // 3 if group else slots == 1 + THREADS * EACH
    for name in range(THREADS):
        found = again.commit(patch=replace(f"/t{name}", 4), write_id=f"w{name}-3")
        assert found.message == f"{name}/3"
        with pytest.raises(KBStoreError, match=f"landed already as {found.name}"):
            again.commit(patch=replace(f"/t{name}", -1), write_id=f"w{name}-3")
    assert again.head().seq == 1 + THREADS * EACH
    assert again.verify().ok


def held(kb: Store, *work: Any) -> list[BaseException | None]:
    """All of these at once, as one group: they queue up while the store is busy."""
    with kb._lock:
        faults: list[BaseException | None] = []
        runner = threading.Thread(target=lambda: faults.extend(run(*work)))
        runner.start()
        while len(kb._queue._waiting) < len(work):
            pass
    runner.join()
    return faults


@pytest.fixture
def bucket() -> Bucket:
    """A store with three places."""
    found = Bucket()
    Store(backend_on(found, new=True), author="x").commit({"a": 0, "b": 0, "c": 0})
    return found


def test_one_that_fails_fails_alone(bucket: Bucket) -> None:
    """A patch that does not apply is told to its own thread; the others share a slot."""
    kb = Store(backend_on(bucket), author="y")
    kb.head()
    faults = held(
        kb,
        lambda: kb.commit(patch=replace("/a", 1)),
        lambda: kb.commit(patch=replace("/nope", 1)),
        lambda: kb.commit(patch=[{"op": "odd", "path": "/a"}]),
        lambda: kb.commit(patch=replace("/b", 2)),
    )
    assert [type(fault) for fault in faults] == [type(None), PatchError, PatchError, type(None)]
    assert kb.checkout() == {"a": 1, "b": 2, "c": 0}
    assert kb.backend.tail("main") == (2, 3)


def test_a_group_lands_on_what_is_newest(bucket: Bucket) -> None:
    """Where another process won the slot, the group goes behind it; only what does not apply there any more fails."""
    kb = Store(backend_on(bucket), author="y")
    kb.commit(patch=replace("/c", 1))
    other = Store(backend_on(bucket), author="z")
    other.commit_many([Change(patch=replace("/a", 7)), Change(patch=[{"op": "remove", "path": "/c"}])])
    faults = held(
        kb,
        lambda: kb.commit(patch=replace("/a", 1)),
        lambda: kb.commit(patch=replace("/c", 2)),
        lambda: kb.commit(patch=replace("/b", 2)),
    )
    assert [type(fault) for fault in faults] == [type(None), PatchError, type(None)]
    assert kb.checkout() == {"a": 1, "b": 2}
    assert kb.head().seq == 6


def test_an_unknown_outcome_is_known_by_each_id(bucket: Bucket) -> None:
    """Each thread is told its own write id, and repeats its own commit by it."""
    kb = Store(backend_on(bucket), author="y")
    kb.head()
    kb.commit(patch=replace("/c", 1))
    backend: Any = kb.backend
    backend.client.chance = Still()
    answers(backend.client, "applied", *[LOST] * 500)
    faults = held(
        kb,
        lambda: kb.commit(patch=replace("/a", 1), message="A", write_id="wa"),
        lambda: kb.commit(patch=replace("/b", 2), message="B", write_id="wb"),
    )
    assert [type(fault) for fault in faults] == [OutcomeUnknown] * 2
    assert [fault.write_id for fault in faults] == ["wa", "wb"]  # type: ignore[union-attr]
    again = Store(backend_on(bucket), author="y")
    assert again.commit(patch=replace("/b", 2), message="B", write_id="wb").message == "B"
    assert again.commit(patch=replace("/a", 1), message="A", write_id="wa").message == "A"
    assert again.head().seq == 4


def test_one_id_lands_once(bucket: Bucket) -> None:
    """Threads that commit with one write id at once get one version; one that fails leaves the id to the next."""
    kb = Store(backend_on(bucket), author="y")
    kb.head()
    found: list[Any] = []

    def twin() -> None:
        found.append(kb.commit(patch=[{"op": "replace", "path": "/a", "value": 1}], write_id="same", allow_empty=True))

    assert held(kb, twin, twin, lambda: kb.commit(patch=replace("/b", 1)), twin) == [None] * 4
    assert len({version.id for version in found}) == 1
    assert kb.head().seq == 3
    faults = held(
        kb,
        lambda: kb.commit(patch=replace("/nope", 1), write_id="other"),
        lambda: kb.commit(patch=replace("/c", 1), write_id="other"),
    )
    # Which of the two is the first is for the threads to settle; where it is the other, its version is found by both.
    assert {type(fault) for fault in faults} <= {PatchError, type(None)}
    assert kb.checkout() == {"a": 1, "b": 1, "c": 1}
    assert kb.head().seq == 4
    assert kb.verify().ok


def test_a_commit_does_not_wait_for_ever(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where whoever leads does not come back: nothing was written, or, once it was taken along, nobody knows."""
    monkeypatch.setattr("kbstore.commit.group._LONGEST_WAIT_S", 0.1)
    kb = Store(backend_on(bucket), author="y")
    assert kb._queue.join(Member([], "leader", sought=False))
    with pytest.raises(StoreUnavailable, match="nothing was written"):
        kb.commit(patch=replace("/a", 1))
    assert [member.write_id for member in kb._queue.take()] == ["leader"]

    def take_along() -> None:
        while not kb._queue.take():
            pass

    monkeypatch.setattr("kbstore.commit.group._LONGEST_WAIT_S", 1.0)
    taker = threading.Thread(target=take_along)
    taker.start()
    with pytest.raises(OutcomeUnknown) as caught:
        kb.commit(patch=replace("/a", 1), write_id="mine")
    assert caught.value.write_id == "mine"
    taker.join()


@pytest.mark.parametrize("group", [True, False])
def test_a_commit_that_others_always_forestall_ends(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, group: bool
) -> None:
    """By its deadline, as a conflict: nothing was written."""
    kb = Store(backend_on(bucket, group=group), author="y")
    kb.commit(patch=replace("/a", 1))
    tries = 0

    def taken(*_: object, **__: object) -> None:
        nonlocal tries
        tries += 1
        raise SlotTaken("another was faster")

    def later() -> float:
        return 15.0 * tries

    monkeypatch.setattr(kb.backend, "append", taken)
    monkeypatch.setattr("kbstore.kit.clock.monotonic", later)
    with pytest.raises(ConflictError, match="nothing was written"):
        kb.commit(patch=replace("/a", 2))
    assert tries == 5
    with pytest.raises(SlotTaken, match="nothing was written"):
        kb.tag("stable")
