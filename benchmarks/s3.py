"""Requests and round trips of a store on S3, counted by a proxy in front of SeaweedFS: `make bench-s3`.

Each row opens the store in a new handle without caches, through a proxy that holds every request for as long as a
network would, and counts what passes: requests, the longest chain of them that followed one another (round trips),
and bytes. Nothing but the last row is a time, and that one is a ratio of two that were measured in turns.
"""

import argparse
import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from examples.s3.server import ACCESS_KEY, SECRET_KEY, raw_client, seaweed
from kbstore import Store
from kbstore.backends.s3 import S3Backend
from kbstore.backends.s3.format.keys import hint_key
from kbstore.backends.s3.log.head import WINDOW
from kbstore.backends.s3.transport.url import parse_location
from kbstore.store import Change
from tests.s3.proxy import Proxy, Seen, chain
from tests.s3.servers import MotoServer

ARTICLES = 10_000
EVENTS_A_SLOT = 20
LATENCY_S = 0.1
WRITERS, COMMITS = 8, 50


def build(location: str, versions: int) -> None:
    """A knowledge base of 10 MB with so many versions."""
    dice = random.Random(1)
    words = [f"word{n}" for n in range(3000)]
    body = [" ".join(dice.choices(words, k=120)) for _ in range(ARTICLES)]
    problems = {f"p{n:05d}": {"title": f"Title {n}", "body": body[n], "votes": 0} for n in range(ARTICLES)}
    with Store.create(location, {"problems": problems}, author="bench") as kb:
        done = 1
        while done < versions:
            # The newest thousand stand in slots of their own, as people commit them.
            size = EVENTS_A_SLOT if versions - done > 1000 + EVENTS_A_SLOT else 1
            changes = []
            for n in range(done, done + size):
                place = f"/problems/p{dice.randrange(ARTICLES):05d}"
                patch: list[dict[str, Any]] = [{"op": "replace", "path": f"{place}/votes", "value": n}]
                if n % 50 == 0:
                    text = " ".join(dice.choices(words, k=120))
                    patch.append({"op": "replace", "path": f"{place}/body", "value": text})
                changes.append(Change(patch=patch, message=f"change {n}"))
            kb.commit_many(changes)
            done += size


def measured(proxy: Proxy, location: str, act: Callable[[Store], object]) -> tuple[int, int, int]:
    """Round trips, requests and bytes of one thing done cold; the best of three, since a busy machine stutters."""
    best: tuple[int, int, int] | None = None
    for _ in range(3):
        proxy.seen, proxy.counting, proxy.latency_s = [], True, LATENCY_S
        with Store.open(location, read_only=True) as kb:
            act(kb)
        proxy.counting, proxy.latency_s = False, 0.0
        found = (chain(proxy.seen), len(proxy.seen), sum(one.came_bytes for one in proxy.seen))
        best = found if best is None else min(best, found)
    assert best is not None
    return best


def warm(proxy: Proxy, location: str, count: int) -> tuple[float, float]:
    """Requests to create slots, and all others, for each of many commits in one process."""
    with Store.open(location, author="bench") as kb:
        for n in range(50):
            kb.commit(patch=[{"op": "replace", "path": f"/problems/p{n:05d}/votes", "value": -1}])
        kb.backend.settle()  # type: ignore[attr-defined]
        proxy.seen, proxy.counting = [], True
        for n in range(count):
            kb.commit(patch=[{"op": "replace", "path": f"/problems/p{n % 50:05d}/votes", "value": n + 10**7}])
        kb.backend.settle()  # type: ignore[attr-defined]
        proxy.counting = False
    slots = sum(_is_slot(one) for one in proxy.seen)
    return slots / count, (len(proxy.seen) - slots) / count


@contextmanager
def stale_hint(url: str, location: str) -> Iterator[None]:
    """For as long as it lasts the hint of the head is one that is 40 slots behind it."""
    client, bucket, key = raw_client(url), "bench", "kb/" + hint_key("main")
    old = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    with Store.open(location, author="bench") as kb:
        for n in range(40):
            kb.commit(patch=[{"op": "replace", "path": "/problems/p00004/votes", "value": n - 2000}])
    fresh = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    client.put_object(Bucket=bucket, Key=key, Body=old)
    yield
    client.put_object(Bucket=bucket, Key=key, Body=fresh)


def contention() -> tuple[int, float, float, int]:
    """Eight writers on one branch, on moto behind a lock: attempts, requests a version, slowest by median, lost."""
    server = MotoServer()
    proxy = Proxy(server.url)
    raw_client(server.url).create_bucket(Bucket="race")
    location = f"s3://race/kb?endpoint={proxy.url}&cache=off&group=false"
    Store.create(location, {"n": 0} | {f"w{n}": 0 for n in range(WRITERS)}, author="bench").close()
    took: list[float] = []
    begin = threading.Barrier(WRITERS)

    def work(name: int) -> None:
        with Store.open(location, author=f"w{name}") as kb:
            kb.commit(patch=[{"op": "replace", "path": f"/w{name}", "value": -1}])
            if begin.wait() == 0:
                proxy.seen, proxy.counting = [], True
            begin.wait()
            started = time.monotonic()
            for n in range(COMMITS):
                kb.commit(patch=[{"op": "replace", "path": f"/w{name}", "value": n + 1}])
            took.append(time.monotonic() - started)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    proxy.counting = False
    attempts = sum(_is_slot(one) for one in proxy.seen)
    with Store.open(location, read_only=True) as kb:
        document = kb.checkout()
        lost = sum(document[f"w{n}"] != COMMITS for n in range(WRITERS))
        lost += abs(kb.head().seq - 1 - WRITERS * (COMMITS + 1))
    server.close()
    return attempts, len(proxy.seen) / (WRITERS * COMMITS), max(took) / statistics.median(took), lost


def overhead(url: str, location: str, rounds: int = 300) -> float:
    """A commit against a bare boto3 PUT of as many bytes, in turns, by the medians."""
    client = raw_client(url)
    backend = S3Backend(parse_location(location))
    ours, bare = [], []
    with Store(backend, author="bench") as kb:
        kb.commit(patch=[{"op": "replace", "path": "/problems/p00002/votes", "value": -2}])
        backend.client.meter.reset()
        for n in range(rounds):
            started = time.perf_counter()
            kb.commit(patch=[{"op": "replace", "path": "/problems/p00002/votes", "value": n}])
            ours.append(time.perf_counter() - started)
            size = next(r.sent_bytes for r in reversed(backend.client.meter.requests) if r.key.startswith("log/"))
            data = os.urandom(size)
            started = time.perf_counter()
            client.put_object(Bucket=backend.client.options.bucket, Key=f"bare/{n:012d}", Body=data, IfNoneMatch="*")
            bare.append(time.perf_counter() - started)
            backend.settle()
    return statistics.median(ours) / statistics.median(bare)


def _is_slot(one: Seen) -> bool:
    return one.method == "PUT" and "/log/" in one.path


def row(what: str, figure: str, limit: str, kept: bool) -> None:
    """One line of the table."""
    print(f"{what:<58} {figure:>28}   {limit:<30} {'ok' if kept else 'OVER'}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--versions", type=int, default=int(os.environ.get("KBSTORE_BENCH_VERSIONS", "100000")))
    versions = parser.parse_args().versions
    os.environ |= {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    os.environ |= {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
    with tempfile.TemporaryDirectory() as folder, seaweed(Path(folder)) as url:
        raw_client(url).create_bucket(Bucket="bench")
        proxy = Proxy(url)
        direct = f"s3://bench/kb?endpoint={url}&read_timeout=30&cache=off"
        through = f"s3://bench/kb?endpoint={proxy.url}&read_timeout=30&cache=off"
        print(f"10 MB, {versions:,} versions, SeaweedFS; building them first", flush=True)
        build(direct, versions)
        print(f"{'what':<58} {'measured':>28}   at most")
        slots, others = warm(proxy, through, 5000)
        row(
            "warm, uncontended commit: requests, and caches",
            f"{slots:g} and {others:.3f}",
            "1 and 0.1",
            slots <= 1 and others <= 0.1,
        )
        with Store.open(direct, author="bench") as kb:  # leaves a fresh hint when it closes
            for n in range(WINDOW):
                kb.commit(patch=[{"op": "replace", "path": "/problems/p00003/votes", "value": n - 1000}])
        trips, requests, size = measured(proxy, through, lambda kb: kb.head())
        row("open and read the head, cold, fresh hint", f"{trips} trips, {requests} requests", "2 trips", trips <= 2)
        with stale_hint(url, direct):
            trips, requests, size = measured(proxy, through, lambda kb: kb.head())
        row("open and read the head, cold, stale hint", f"{trips} trips, {requests} requests", "4 trips", trips <= 4)
        for revision in ("HEAD", f"v{versions // 2}", f"v{versions // 3}"):
            trips, requests, size = measured(proxy, through, lambda kb: kb.checkout(revision))  # noqa: B023
            kept = trips <= 6 and requests <= 80
            row(f"cold checkout of {revision}", f"{trips} trips, {requests} requests", "6 trips, 80 requests", kept)
        for revision in ("HEAD", f"v{versions // 2}"):
            trips, requests, size = measured(
                proxy,
                through,
                lambda kb: kb.get("/problems/p00077/votes", at=revision),  # noqa: B023
            )
            kept = trips <= 5 and size <= 300_000
            row(
                f"cold get of one pointer at {revision}",
                f"{trips} trips, {size:,} bytes",
                "5 trips, 300,000 bytes",
                kept,
            )
        trips, requests, size = measured(proxy, through, lambda kb: list(kb.log(limit=50)))
        row("log of the newest 50, cold", f"{trips} trips, {requests} requests", "4 trips", trips <= 4)
        trips, requests, size = measured(proxy, through, lambda kb: sum(1 for _ in kb.log()))
        row("log of all versions, cold", f"{requests} requests, {trips} trips", "200 requests", requests <= 200)
        attempts, each, slowest, lost = contention()
        row(
            f"{WRITERS} writers x {COMMITS} commits on one branch (moto, locked)",
            f"{attempts} attempts, {each:.2f} requests",
            f"{WRITERS} requests a version",  # it is written once, and read once by each other writer
            each <= WRITERS,
        )
        row("  slowest writer by median; updates lost", f"{slowest:.2f}; {lost}", "5; 0", slowest < 5 and lost == 0)
        ratio = overhead(url, direct)
        row("commit by a bare boto3 PUT of as many bytes, in turns", f"{ratio:.2f}", "1.3", ratio <= 1.3)
        proxy.close()


if __name__ == "__main__":
    main()
