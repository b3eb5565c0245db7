"""Three writers over a network that loses, cuts, delays and refuses: the history stays linear and each word is kept."""

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from backends.errors import KBStoreError, OutcomeUnknown
from backends.s3 import S3Backend
from backends.s3.chance import SystemChance
from backends.s3.options import parse_location
from kbstore import Store
from kbstore.errors import ConflictError, StoreUnavailable
from tests.conftest import LONG
from tests.s3.proxy import Faults, Proxy
from tests.s3.servers import MotoServer, raw_client

RUNS = 1000 if LONG else 50
_BATCH = 10
COMMITS = 3 if LONG else 2


class Hasty(SystemChance):
    """Sleeps a twentieth of what it is told."""

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / 20)


@pytest.fixture(scope="module")
def proxy(moto_server: MotoServer) -> Iterator[Proxy]:
    """The network in front of moto."""
    proxy = Proxy(moto_server.url)
    yield proxy
    proxy.close()


@pytest.fixture
def through(moto_url: str, proxy: Proxy) -> Callable[[str], Store]:
    """Opens a store at a prefix of a bucket, through the proxy."""
    raw_client(moto_url).create_bucket(Bucket="faulty")

    def open_store(prefix: str, new: bool = False) -> Store:
        query = f"endpoint={proxy.url}&timeout=20&read_timeout=2&connect_timeout=1&cache=off"
        location = f"s3://faulty/{prefix}?{query}"
        if new:
            return Store.create(location, {"counter": 0, "own": {}}, author="x")
        return Store(S3Backend(parse_location(location), chance=Hasty()), author="x")

    return open_store


class Writer(threading.Thread):
    """Commits, and notes what it was told of each commit."""

    def __init__(self, name: str, open_store: Callable[[], Store], seed: int) -> None:
        super().__init__(name=name)
        self._open = open_store
        self._dice = random.Random(seed)
        self.acknowledged: dict[str, str] = {}
        self.refused: set[str] = set()
        self.unknown: set[str] = set()
        self.fault: BaseException | None = None

    def run(self) -> None:
        try:
            with _opened(self._open) as store:
                for n in range(COMMITS):
                    self._commit(store, f"{self.name}-{n}")
        except BaseException as fault:  # noqa: BLE001 - told to the test
            self.fault = fault

    def _commit(self, store: Store, message: str) -> None:
        write_id = f"w-{message}"
        add = [{"op": "add", "path": f"/own/{message}", "value": self._dice.randrange(10**6)}]
        for _ in range(20):
            try:
                version = store.commit(patch=add, message=message, write_id=write_id)
                self.acknowledged[message] = version.id
                self.unknown.discard(message)
                self.refused.discard(message)
                return
            except OutcomeUnknown as fault:
                self.unknown.add(message if fault.write_id == write_id else f"another id for {message}")
            except ConflictError:
                return
            except StoreUnavailable:
                if message not in self.unknown:
                    self.refused.add(message)


def _opened(open_store: Callable[[], Store]) -> Store:
    for _ in range(20):
        try:
            return open_store()
        except KBStoreError:
            continue
    return open_store()


@pytest.mark.parametrize("batch", range(0, RUNS, _BATCH))
def test_random_faults(through: Callable[..., Store], proxy: Proxy, batch: int) -> None:
    """History linear, each acknowledged event there exactly once, nothing refused is there, all readers agree."""
    before = proxy.injected.total()
    for seed in range(batch, batch + _BATCH):
        dice = random.Random(seed)
        prefix = f"run-{seed}-{next(_counter)}"
        proxy.faults = Faults()
        through(prefix, new=True).close()
        proxy.reseed(seed)
        proxy.faults = Faults(
            **{
                name: dice.choice((0.0, 0.05, 0.15))
                for name in ("lost", "reset", "truncated", "error", "slow_down", "conflict", "late", "stale")
            },
            delay_s=dice.choice((0.0, 0.02)),
        )
        writers = [Writer(f"{seed}-{n}", lambda: through(prefix), seed * 10 + n) for n in range(3)]  # noqa: B023
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        proxy.faults = Faults()
        proxy.settle()
        assert [w.fault for w in writers] == [None] * 3, seed
        _check(through, prefix, writers, seed)
    # What this says would say little if nothing had gone wrong.
    assert proxy.injected.total() > before


def _check(through: Callable[..., Store], prefix: str, writers: list[Writer], seed: int) -> None:
    told: list[list[tuple[int, str, str]]] = []
    for _ in range(2):
        with through(prefix) as reader:
            told.append([(v.seq, v.id, v.message) for v in reader.log(newest_first=False)])
            own = reader.checkout()["own"]
            if seed % 10 == 0:
                report = reader.verify()
                assert report.ok, (seed, report.problems)
    assert told[0] == told[1], seed
    rows = told[0]
    assert [seq for seq, _, _ in rows] == list(range(1, len(rows) + 1)), seed
    messages = [message for _, _, message in rows]
    assert len(set(messages)) == len(messages), (seed, messages)
    ids = {message: ident for _, ident, message in rows}
    for writer in writers:
        for message, ident in writer.acknowledged.items():
            assert ids.get(message) == ident, (seed, message)
            assert message in own, (seed, message)
        assert not writer.refused & set(messages), (seed, writer.refused)
        assert not any("another id" in one for one in writer.unknown), (seed, writer.unknown)
    assert set(own) == set(messages) - {"first version"}, seed


_counter = itertools.count()
