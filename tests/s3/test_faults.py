"""Writers, readers and collections over a network that loses, cuts, delays and refuses: each word given is kept.

Three writers do what their dice say: edits that are disjoint, an edit that all three want to make, batches, tags, and
now and then a snapshot or a collection; a reader looks on. What each was told is held against the history afterwards.
"""

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from kbstore import Store
from kbstore.backends.s3 import S3Backend
from kbstore.backends.s3.transport.clock import SystemChance
from kbstore.backends.s3.transport.url import parse_location
from kbstore.errors import ConflictError, StoreUnavailable
from kbstore.kit.errors import OutcomeUnknown
from tests.conftest import LONG, takes_long
from tests.s3.proxy import Faults, Proxy

BATCHES = [range(first, first + 10) for first in range(0, 1000, 10)] if LONG else [(0, 1), (4, 7)]
"""Seeds, of which each tenth is verified; even ones race, 1 of 4 is looked at meanwhile, and the sevens stall."""
ACTS = 3 if LONG else 2
BATCH = 3
PATIENCE_S = 0.3
"""How long a client waits for an answer where the network stalls."""


class Hasty(SystemChance):
    """Sleeps a twentieth of what it is told."""

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / 20)


@pytest.fixture(scope="module")
def proxy(seaweed_url: str) -> Iterator[Proxy]:
    """The network in front of SeaweedFS."""
    proxy = Proxy(seaweed_url)
    yield proxy
    proxy.close()


@pytest.fixture
def through(real_bucket: str, proxy: Proxy) -> Callable[..., Store]:
    """Opens a store at a prefix of a bucket, through the proxy."""

    def open_store(prefix: str, new: bool = False, patience_s: float = 2) -> Store:
        query = f"endpoint={proxy.url}&timeout=20&read_timeout={patience_s:g}&connect_timeout=1&cache=off"
        location = f"s3://{real_bucket}/{prefix}?{query}"
        if new:
            return Store.create(location, {"counter": 0, "own": {}, "race": ""}, author="x")
        return Store(S3Backend(parse_location(location), chance=Hasty()), author="x")

    return open_store


class Writer(threading.Thread):
    """Does what its dice say, and notes what it was told of each thing.

    Attributes:
        acknowledged: Ids of the versions that each act made or named, which was told to be done.
        refused: Acts of which nothing was done, as it was told.
        unknown: Acts of which nobody knows, as it was told last.
        conflicts: Acts that collided.
    """

    def __init__(self, name: str, open_store: Callable[[], Store], seed: int, *, races: bool) -> None:
        super().__init__(name=name)
        self._open = open_store
        self._dice = random.Random(seed)
        self._races = races
        self.acknowledged: dict[str, list[str]] = {}
        self.refused: set[str] = set()
        self.unknown: set[str] = set()
        self.conflicts: set[str] = set()
        self.fault: BaseException | None = None

    def run(self) -> None:
        try:
            with _opened(self._open) as store:
                for n in range(ACTS):
                    self._act(store, n)
        except BaseException as fault:  # noqa: BLE001 - told to the test
            self.fault = fault

    def _act(self, store: Store, n: int) -> None:
        kinds = ["race"] if self._races and n == 0 else ["add", "add", "add", "batch", "tag", "care"]
        kind = self._dice.choice(kinds)
        name = f"{kind}-{self.name}-{n}"
        if kind == "care":
            try:
                self._dice.choice((store.snapshot, store.gc))()
            except StoreUnavailable:
                pass
        elif kind == "tag":
            self._until_told(name, lambda _: [store.tag(name, "v1").id])
        elif kind == "race":
            edit = [{"op": "replace", "path": "/race", "value": self.name}]
            self._until_told(name, lambda i: [store.commit(patch=edit, message=name, base="v1", write_id=i).id])
        else:
            names = [name] if kind == "add" else [f"{name}-{i}" for i in range(BATCH)]
            changes = [{"patch": [_add(one, self._dice.randrange(10**6))], "message": one} for one in names]
            self._until_told(name, lambda i: [v.id for v in store.commit_many(changes, write_id=i)])

    def _until_told(self, name: str, act: Callable[[str], list[str]]) -> None:
        """Repeat an act, under the same id, until it is told to be done, or to collide."""
        write_id = f"w-{name}"
        for _ in range(20):
            try:
                self.acknowledged[name] = act(write_id)
                self.unknown.discard(name)
                self.refused.discard(name)
                return
            except OutcomeUnknown as fault:
                named = fault.write_id == write_id or name.startswith("tag-")
                self.unknown.add(name if named else f"another id for {name}")
                self.refused.discard(name)
            except ConflictError:
                self.conflicts.add(name)
                self.unknown.discard(name)
                return
            except StoreUnavailable:
                if name not in self.unknown:
                    self.refused.add(name)


class Onlooker(threading.Thread):
    """Reads while others write, and notes what it saw.

    Attributes:
        seen: Ids of a whole log, and the keys of the document at its end.
    """

    def __init__(self, open_store: Callable[[], Store], writers: list[Writer]) -> None:
        super().__init__(name="onlooker")
        self._open = open_store
        self._writers = writers
        self.seen: list[tuple[list[str], set[str]]] = []
        self.fault: BaseException | None = None

    def run(self) -> None:
        try:
            with _opened(self._open) as store:
                for _ in range(3):
                    try:
                        log = list(store.log(newest_first=False))
                        self.seen.append(([v.id for v in log], set(store.checkout(log[-1])["own"])))
                    except StoreUnavailable:
                        pass
                    if not any(writer.is_alive() for writer in self._writers):
                        return
        except BaseException as fault:  # noqa: BLE001 - told to the test
            self.fault = fault


def _add(name: str, value: int) -> dict[str, Any]:
    return {"op": "add", "path": f"/own/{name}", "value": value}


def _opened(open_store: Callable[[], Store]) -> Store:
    for _ in range(20):
        try:
            return open_store()
        except StoreUnavailable:
            continue
    return open_store()


@takes_long
@pytest.mark.parametrize("batch", BATCHES, ids=lambda batch: f"{batch[0]}-{batch[-1]}")
def test_random_faults(through: Callable[..., Store], proxy: Proxy, batch: Sequence[int]) -> None:
    """History linear, each acknowledged act there exactly once, nothing refused is there, all readers agree."""
    before = proxy.injected.total()
    for seed in batch:
        dice = random.Random(seed)
        prefix = f"run-{seed}-{next(_counter)}"
        proxy.faults = Faults()
        through(prefix, new=True).close()
        proxy.reseed(seed)
        stalls = seed % 10 == 7
        proxy.faults = Faults(
            **{
                name: dice.choice((0.0, 0.05, 0.15))
                for name in ("lost", "reset", "truncated", "error", "slow_down", "conflict", "late", "stale")
            },
            stall=0.1 if stalls else 0.0,
            stall_s=2 * PATIENCE_S,
            delay_s=dice.choice((0.0, 0.02)),
        )

        def opened(prefix: str = prefix, patience_s: float = PATIENCE_S if stalls else 2) -> Store:
            return through(prefix, patience_s=patience_s)

        writers = [Writer(f"{seed}-{n}", opened, seed * 10 + n, races=seed % 2 == 0) for n in range(3)]
        onlookers = [Onlooker(opened, writers)] if seed % 4 == 1 else []
        for thread in (*writers, *onlookers):
            thread.start()
        for thread in (*writers, *onlookers):
            thread.join()
        proxy.faults = Faults()
        proxy.settle()
        assert [t.fault for t in (*writers, *onlookers)] == [None] * (3 + len(onlookers)), seed
        _check(through, prefix, writers, onlookers, seed)
    # What this says would say little if nothing had gone wrong.
    assert proxy.injected.total() > before


def _check(
    through: Callable[..., Store], prefix: str, writers: list[Writer], onlookers: list[Onlooker], seed: int
) -> None:
    told: list[list[tuple[int, str, str]]] = []
    for _ in range(2):
        with through(prefix) as reader:
            told.append([(v.seq, v.id, v.message) for v in reader.log(newest_first=False)])
            document = reader.checkout()
            tags = {name: version.id for name, version in reader.tags().items()}
            if seed % 10 == 0:
                report = reader.verify()
                assert report.ok, (seed, report.problems)
    assert told[0] == told[1], seed
    rows = told[0]
    assert [seq for seq, _, _ in rows] == list(range(1, len(rows) + 1)), seed
    messages = [message for _, _, message in rows]
    assert len(set(messages)) == len(messages), (seed, messages)
    ids = {message: ident for _, ident, message in rows}
    races = [message for message in messages if message.startswith("race-")]
    assert set(document["own"]) == {m for m in messages if m.startswith(("add-", "batch-"))}, seed
    assert document["race"] == (races[0].split("-", 1)[1].rpartition("-")[0] if races else ""), seed
    assert len(races) <= 1, (seed, races)
    for writer in writers:
        for name, made in writer.acknowledged.items():
            assert made == _landed(name, ids, tags), (seed, name)
        for name in writer.refused | writer.conflicts:
            assert _landed(name, ids, tags) == [], (seed, name)
        for name in writer.unknown:
            assert "another id" not in name, (seed, name)
            assert len(_landed(name, ids, tags)) in (0, BATCH if name.startswith("batch-") else 1), (seed, name)
        assert all(name.startswith("race-") for name in writer.conflicts), (seed, writer.conflicts)
        assert races or not writer.conflicts, seed
    for onlooker in onlookers:
        for log, own in onlooker.seen:
            assert log == [ident for _, ident, _ in rows[: len(log)]], seed
            assert own == {m for m in messages[: len(log)] if m.startswith(("add-", "batch-"))}, seed


def _landed(name: str, ids: dict[str, str], tags: dict[str, str]) -> list[str]:
    """Ids of what an act left, in order."""
    if name.startswith("tag-"):
        return [tags[name]] if name in tags else []
    if name.startswith("batch-"):
        return [ids[one] for i in range(BATCH) if (one := f"{name}-{i}") in ids]
    return [ids[name]] if name in ids else []


_counter = itertools.count()
