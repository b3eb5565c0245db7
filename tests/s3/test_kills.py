"""A process that is killed before or after any of its requests loses nothing acknowledged, and holds up nobody."""

import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from kbstore import Store
from tests.conftest import LONG, takes_long
from tests.s3.fakes import Bucket, DictClient
from tests.s3.test_care import WEEK_S, noise, store_on
from tests.store.support import replacing

STEP = 1 if LONG else 17
"""So many requests from one kill to the next."""
VERSIONS = 31
"""The next slot completes a pack."""


class Killed(BaseException):
    """Ends what the process was doing, as SIGKILL does: no handler of errors sees it."""


@pytest.fixture(scope="module")
def furnished() -> dict[str, tuple[bytes, float]]:
    """A store with a snapshot that has data, and one that is not worth its room."""
    found = Bucket()
    with store_on(found, new=True) as kb:
        kb.commit({"n": 0, "own": {f"p{n}": noise(n, 6000) for n in range(100)}})
        kb.snapshot()
        for n in range(1, VERSIONS):
            kb.commit(patch=replacing("/n", n))
        kb.snapshot()
    return found.objects


def kill(client: DictClient, at: int, *, after: bool) -> None:
    """Let the client's process die at its request of this number: no later one reaches the server."""
    count, lock = itertools.count(1), threading.Lock()

    def dying(request: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            with lock:
                number = next(count)
            if number > at or (number == at and not after):
                raise Killed
            answer = request(*args, **named)
            if number == at:
                raise Killed
            return answer

        return call

    for name in ("_get", "_put", "_delete", "_list"):
        setattr(client, name, dying(getattr(client, name)))


def live(kb: Store, acknowledged: list[int]) -> None:
    """Commits, a pack, a tag, a snapshot and a collection."""
    for n in range(2):
        acknowledged.append(kb.commit(patch=replacing("/n", -n - 1)).seq)
        kb.backend.settle()  # type: ignore[attr-defined]
    kb.tag("here", "HEAD")
    kb.commit(patch=replacing("/own/p1", noise(1000, 6000)))
    kb.snapshot()
    kb.gc()
    acknowledged.append(kb.commit(patch=replacing("/n", -9)).seq)
    kb.close()


@takes_long
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_kill_at_each_request(furnished: dict[str, tuple[bytes, float]], after: bool) -> None:
    """What was acknowledged is in the log once, the store is whole, the next one commits, and `gc` leaves no rest."""
    for at in itertools.count(1 + STEP // 2, STEP):
        bucket = Bucket()
        bucket.objects = dict(furnished)
        acknowledged: list[int] = []
        dying, ended = store_on(bucket), False
        kill(dying.backend.client, at, after=after)  # type: ignore[attr-defined]
        try:
            live(dying, acknowledged)
            ended = True
        except Killed:
            dying.backend.client.close()  # type: ignore[attr-defined]
        with store_on(bucket) as kb:
            there = [version.seq for version in kb.log(newest_first=False)]
            assert there == list(range(1, len(there) + 1)), at
            assert set(acknowledged) <= set(there), at
            assert kb.verify().ok, at
            assert kb.commit(patch=replacing("/n", 1000 + at)).seq == len(there) + 1, at
        for _ in range(3):
            with store_on(bucket) as kb:
                kb.gc()
            bucket.now += WEEK_S
        with store_on(bucket) as kb:
            report = kb.verify()
            assert (report.problems, report.caches, report.notes, kb.gc(dry_run=True).removed) == ([], [], [], ()), at
            tokens = kb.backend._snapshots.tokens()  # type: ignore[attr-defined]
        assert {key.split("/")[2] for key in bucket.objects if key.startswith("data/")} <= tokens, at
        assert not [key for key in bucket.objects if key.startswith(("probe/", "trash/"))], at
        if ended:
            return
