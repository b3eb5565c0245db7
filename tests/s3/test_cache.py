"""The cache of chunks on this machine: checked when read, bounded, shared by processes, and never needed."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from kbstore import Store
from kbstore.backends.base import Chunk
from kbstore.backends.s3.cache.disk_cache import Cache
from tests.backends.samples import chunk, chunks
from tests.s3.fakes import Bucket, DictClient
from tests.s3.test_care import noise


def file_of(folder: Path) -> Path:
    """The cache's file."""
    return folder / "chunks.db"


def test_what_is_put_comes_back(tmp_path: Path) -> None:
    """From another handle too; what is not there is left out."""
    kept = chunks(20)
    Cache(tmp_path, 10**6).put(kept)
    found = Cache(tmp_path, 10**6).get([*(c.address for c in kept), chunk(b"other").address])
    assert found == {c.address: c.data for c in kept}


def test_damage_counts_as_absent(tmp_path: Path) -> None:
    """A chunk that does not match its address is not given, whoever changed it."""
    good, bad = chunks(2)
    cache = Cache(tmp_path, 10**6)
    cache.put([good, bad])
    cache.close()
    with closing(sqlite3.connect(file_of(tmp_path))) as base, base:
        base.execute("UPDATE chunks SET data=x'00' WHERE address=?", (bad.address,))
    assert Cache(tmp_path, 10**6).get([good.address, bad.address]) == {good.address: good.data}


def test_it_stays_small(tmp_path: Path) -> None:
    """What was not used for longest goes first."""
    cache = Cache(tmp_path, 100_000)
    first = chunks(10, 3000, seed=1)
    cache.put(first)
    for seed in range(2, 12):
        cache.get([first[0].address])
        cache.put(chunks(10, 3000, seed=seed))
    with closing(sqlite3.connect(file_of(tmp_path))) as base:
        (size,) = base.execute("SELECT sum(size) FROM chunks").fetchone()
    assert size <= 100_000
    assert set(cache.get([c.address for c in first])) == {first[0].address}


def test_a_file_that_is_none_of_ours_is_made_anew(tmp_path: Path) -> None:
    """Garbage, or a folder in its place: the cache goes on, or is off; nothing is raised."""
    file_of(tmp_path).write_bytes(b"garbage" * 1000)
    cache = Cache(tmp_path, 10**6)
    cache.put(chunks(2))
    assert len(cache.get([c.address for c in chunks(2)])) == 2
    other = tmp_path / "other"
    (other / "chunks.db").mkdir(parents=True)
    off = Cache(other, 10**6)
    off.put(chunks(2))
    assert off.get([chunks(2)[0].address]) == {}


def test_threads_and_handles_share_it(tmp_path: Path) -> None:
    """Many at once, each with chunks of its own and all in one file."""
    faults: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            mine: list[Chunk] = chunks(10, seed=seed)
            cache = Cache(tmp_path, 10**7)
            for _ in range(5):
                cache.put(mine)
                found = cache.get([c.address for c in mine])
                assert all(found[a] == data for a, data in mine if a in found)
        except BaseException as fault:  # noqa: BLE001 - told to the test
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_a_second_checkout_asks_for_less(tmp_path: Path) -> None:
    """The chunks of the first are on this machine, also for a new process."""
    from kbstore.backends.s3 import S3Backend, probe
    from kbstore.backends.s3.transport.url import Options

    bucket = Bucket()
    options = Options("fake", "kb/", cache=str(tmp_path))
    maker = DictClient(options, bucket)
    store = probe.begin_store(maker, "0" * 16)
    with Store(S3Backend(options, client=maker, store=store), author="a") as kb:
        kb.commit({"problems": {f"p{n}": {"text": noise(n, 900)} for n in range(1500)}})
        kb.snapshot()
    came = []
    for _ in range(2):
        client = DictClient(options, bucket)
        client.meter.on = True
        with Store(S3Backend(options, client=client, read_only=True)) as kb:
            assert len(kb.checkout()["problems"]) == 1500
        came.append(sum(r.came_bytes for r in client.meter.requests))
    assert came[1] < came[0] // 2, came
