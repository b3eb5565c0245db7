"""Hints are overwritten without a condition: what one tells is not lost for long, whoever writes late."""

import random

import pytest

from kbstore import Store
from kbstore.backends.s3.log.head import NO_HINT, Hint, read_hint
from kbstore.backends.s3.log.manifest import find_packs, merged, packed_slots
from kbstore.backends.s3.transport.client import round_trips
from tests.s3.fakes import Bucket, backend_on

KEY = "hint/4main000000000000"


def replace(kb: Store, member: str, value: int) -> None:
    """One slot, whatever was there."""
    kb.commit(patch=[{"op": "replace", "path": f"/{member}", "value": value}], allow_empty=True)


def hint_of(bucket: Bucket) -> Hint:
    """What the hint of the main log tells now."""
    return read_hint(backend_on(bucket).client, "main")


def begun(slots: int) -> tuple[Bucket, Store]:
    """A store of so many slots, and the writer that made them."""
    bucket = Bucket()
    kb = Store(backend_on(bucket, new=True), author="a")
    kb.commit({"n": 0, "m": 0})
    for n in range(1, slots):
        replace(kb, "n", n)
    kb.backend.settle()  # type: ignore[attr-defined]
    return bucket, kb


def requests_for_all(bucket: Bucket, **options: bool) -> int:
    """How many a cold reader of the whole log needs."""
    backend = backend_on(bucket, **options)
    with Store(backend) as kb:
        assert [v.seq for v in kb.log()] == list(range(kb.head().seq, 0, -1))
        return len(backend.client.meter.requests)


def test_a_writer_that_was_idle_tells_no_less_than_the_hint_does() -> None:
    """It knows 40 slots, others add 1,500 and pack them; what it writes next names all their packs."""
    bucket, idle = begun(40)
    with Store(backend_on(bucket), author="b") as busy:
        for n in range(1500):
            replace(busy, "m", n)
    bucket.now += 1000
    before = hint_of(bucket)
    assert packed_slots(before) == 1536
    for n in range(32):
        replace(idle, "n", -n)
    idle.backend.settle()  # type: ignore[attr-defined]
    after = hint_of(bucket)
    assert after.slot > before.slot
    assert (after.large, after.small[: len(before.small)]) == (before.large, before.small)
    backend = backend_on(bucket, read_only=True)
    bucket.latency_s = 0.02
    Store(backend).checkout("v700")
    bucket.latency_s = 0.0
    assert len(backend.client.meter.requests) <= 80
    assert round_trips(backend.client.meter.requests) <= 6


def test_a_writer_that_closes_tells_no_less_either() -> None:
    """It was open while others filled a pack, commits, and leaves a hint at the end."""
    bucket, first = begun(58)
    first.close()
    leaving = Store(backend_on(bucket), author="b")
    leaving.head()
    with Store(backend_on(bucket), author="c") as other:
        for n in range(8):
            replace(other, "m", n)
    assert packed_slots(hint_of(bucket)) == 64
    for n in range(9):
        replace(leaving, "n", -n)
    leaving.close()
    assert (packed_slots(hint_of(bucket)), hint_of(bucket).slot) == (64, 75)


def test_writers_in_turns_read_the_hint_again_and_one_alone_does_not() -> None:
    """A lone writer's hint costs one request; where slots of others stand between, it is read before it is written."""
    bucket, one = begun(64)
    one.backend.client.meter.reset()  # type: ignore[attr-defined]
    for n in range(64):
        replace(one, "n", -n)
        one.backend.settle()  # type: ignore[attr-defined]
    told = [r.operation for r in one.backend.client.meter.reset() if r.key == KEY]  # type: ignore[attr-defined]
    assert told == ["PUT", "PUT"]
    two = Store(backend_on(bucket), author="b")
    for n in range(64):
        replace((one, two)[n % 2], "nm"[n % 2], n)
        one.backend.settle()  # type: ignore[attr-defined]
        two.backend.settle()  # type: ignore[attr-defined]
    assert packed_slots(hint_of(bucket)) == 192


@pytest.mark.parametrize("left", ["old", "none"])
def test_a_hint_that_went_back_is_mended(left: str) -> None:
    """A late write, or a hand, puts an old hint there: readers find the packs, and who may write tells of them anew."""
    bucket, kb = begun(33)
    old = bucket.objects[KEY]
    for n in range(1400):
        replace(kb, "m", n)
    kb.close()
    best = hint_of(bucket)
    whole = requests_for_all(bucket, read_only=True)

    def go_back() -> None:
        bucket.objects[KEY] = old
        if left == "none":
            bucket.remove(KEY)

    go_back()
    assert requests_for_all(bucket, read_only=True) <= whole + 40
    assert packed_slots(hint_of(bucket)) == (32 if left == "old" else 0)
    requests_for_all(bucket)
    assert hint_of(bucket)[1:] == best[1:]
    go_back()
    with Store(backend_on(bucket), author="b") as writer:
        for n in range(7):
            replace(writer, "m", -n)
    assert packed_slots(hint_of(bucket)) == 1440
    assert hint_of(bucket).large == best.large


def test_packs_that_are_listed_are_described_as_the_hint_does() -> None:
    """Also where slots hold many records, from any part of the hint, and where a large pack was not made yet."""
    bucket = Bucket()
    dice = random.Random(5)
    with Store(backend_on(bucket, new=True), author="a") as kb:
        kb.commit({"n": 0})
        for n in range(2300):
            patch = [{"op": "replace", "path": "/n", "value": n}]
            kb.commit_many([{"patch": patch, "allow_empty": True}] * (dice.randrange(1, 4) if n % 7 == 0 else 1))
    whole = hint_of(bucket)
    assert (len(whole.large), len(whole.inner)) == (2, 2)
    backend = backend_on(bucket)
    log = backend._log("main")
    log.tail()
    firsts = (*whole.large, *whole.small)
    for known in (NO_HINT, Hint(1030, firsts[:1], (), firsts[1], whole.inner[:1]), whole):
        assert find_packs(backend.client, "main", known, log.known.slot, log.load)[1:] == whole[1:]
        assert merged(known, whole) == merged(whole, known) == whole
    forgetful = backend_on(bucket)._log("main")
    forgetful.tail()
    forgetful.hint = whole._replace(inner=())  # of older large packs it is not told what the small ones begin with
    for number in (1, 700, firsts[1] - 1, firsts[1], firsts[2] - 1):
        assert [record.number for record in forgetful.read(number, number, newest_first=False)] == [number]
    bucket.remove(*[key for key in bucket.objects if key.startswith("pack/") and key.endswith("b/000000000001")])
    found = find_packs(backend.client, "main", NO_HINT, log.known.slot, log.load)
    assert (len(found.large), packed_slots(found), found.next) == (1, packed_slots(whole), whole.next)
    bucket.remove(KEY)
    with Store(backend_on(bucket), author="b") as writer:
        writer.gc()
    assert hint_of(bucket).large == whole.large


def test_packs_of_a_history_that_is_gone_are_made_anew() -> None:
    """Restored to slot 40 and the hint removed by hand: packs count as far as the log goes, and others are replaced."""
    bucket, kb = begun(100)
    kb.close()
    assert packed_slots(hint_of(bucket)) == 96
    bucket.remove(KEY, *[key for key in bucket.objects if key.startswith("log/") and int(key[-12:]) > 40])
    with Store(backend_on(bucket), author="b") as writer:
        for n in range(30):
            replace(writer, "m", n + 1)
        expected = [v.id for v in writer.log()]
    assert packed_slots(hint_of(bucket)) == 64
    assert 64 <= hint_of(bucket).slot <= 70
    assert [v.id for v in Store(backend_on(bucket)).log()] == expected
    report = Store(backend_on(bucket)).verify()
    lost, stale = report.problems  # and the pack of what is gone tells slots 65 to 70 otherwise
    assert "its packs hold slot 96" in lost
    assert "does not have record 65 as its slot has it" in stale
