"""What calls cost: requests to the backend and bytes read, counted, and flat in the number of versions."""

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kbstore import Change, Store, make_patch
from kbstore.backends import create_backend, open_backend
from tests.doubles.counting import CountingBackend
from tests.store.support import Ticks, articles, eager_snapshots, exact, replacing

SIZES = (100, 1_000, 10_000)
ARTICLES = 300


def patch_of(n: int, dice: random.Random) -> list[dict[str, Any]]:
    """A small change, as people make them."""
    entry = f"/problems/p{dice.randrange(ARTICLES)}"
    return [*replacing(f"{entry}/votes", n), *replacing(f"{entry}/title", f"Problem, seen {n} times")]


def filled(path: Path, versions: int) -> None:
    """A store of so many versions, made in large steps; the last few one by one, as a day's work would."""
    dice = random.Random(versions)
    with Store.create(path, articles(ARTICLES, 40), clock=Ticks(), author="ann@example.com") as kb:
        for first in range(2, versions + 1, 100):
            last = min(first + 100, versions + 1)
            kb.commit_many([Change(patch=patch_of(n, dice), message=f"change {n}") for n in range(first, last)])
        kb.gc()


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """A store of each size."""
    folder = tmp_path_factory.mktemp("costs")
    for versions in SIZES:
        filled(folder / f"{versions}.db", versions)
    return {versions: folder / f"{versions}.db" for versions in SIZES}


def commit(kb: Store) -> object:
    """One small change."""
    return kb.commit(patch=replacing("/problems/p7/votes", -kb.line.tail()[1]))


CALLS: dict[str, Callable[[Store], object]] = {
    "commit": commit,
    "head": lambda kb: kb.head(),
    "get": lambda kb: kb.get("/problems/p7/title"),
    "get in the middle": lambda kb: kb.get("/problems/p7/title", at=kb.line.tail()[1] // 2),
    "diff": lambda kb: kb.diff().patch,
    "log of 50": lambda kb: [v.name for v in kb.log(limit=50)],
    "the patch of a version": lambda kb: kb.version("HEAD~20").patch,
    "checkout": lambda kb: kb.checkout(),
    "checkout in the middle": lambda kb: kb.checkout(kb.line.tail()[1] // 2),
    "tag": lambda kb: kb.tag("stable", force=True),
}
LIMITS = {"commit": (40, 700_000), "get": (30, 300_000), "log of 50": (6, 40_000), "head": (4, 2_000)}
"""Requests and bytes read by a process that was just started, at most."""


@pytest.mark.parametrize("call", CALLS)
def test_a_cold_call_costs_the_same_among_many_versions(stores: dict[int, Path], call: str) -> None:
    """A new process asks as often and reads about as much for one of 10,000 versions as for one of 100."""
    costs = []
    for path in stores.values():
        backend = CountingBackend(open_backend(path))
        with Store(backend, author="bob", clock=Ticks()) as kb:
            backend.reset()
            CALLS[call](kb)
            counts = backend.reset()
        costs.append((counts.requests, counts.read_bytes))
    requests, size = zip(*costs, strict=True)
    assert max(requests) <= requests[0] + 25, costs  # a commit may be the one that takes a snapshot
    # Folds may begin anywhere within what is kept between two snapshots, which is bounded and not a function of age.
    assert max(size) <= 2 * size[0] + 250_000, costs
    most_requests, most_bytes = LIMITS.get(call, (60, 900_000))
    assert max(requests) <= most_requests, costs
    assert max(size) <= most_bytes, costs


def test_a_warm_commit_is_one_request(stores: dict[int, Path]) -> None:
    """A process that goes on committing sends one append for each commit and reads nothing, however long the log is."""
    for path in stores.values():
        backend = CountingBackend(open_backend(path))
        with Store(backend, author="bob", clock=Ticks()) as kb:
            commit(kb)
            kb.commit(patch=replacing("/problems/p7/votes", 1))
            backend.reset()
            for n in range(10):
                kb.commit(patch=replacing("/problems/p7/votes", n + 100))
            counts = backend.reset()
            assert counts.calls["append"] == 10
            assert counts.requests <= 12, counts
            assert counts.read_bytes == 0
            assert counts.written_bytes < 10 * 800


def test_a_log_reads_no_bodies_and_an_index_no_version_twice(stores: dict[int, Path]) -> None:
    """Headers are read without patches; the log of a path reads what the index names, and what is newer than it."""
    backend = CountingBackend(open_backend(stores[10_000]))
    with Store(backend, clock=Ticks()) as kb:
        list(kb.log(path="/problems/p7/votes"))
        backend.reset()
        assert len(list(kb.log())) >= 10_000
        assert backend.reset().items["bodies"] == 0
        found = list(kb.log(path="/problems/p7/votes"))
        counts = backend.reset()
        assert 10 < len(found) < 100
        assert counts.items["bodies"] <= len(found) + 2048  # blocks that are not full yet
        assert counts.items["read"] <= 4 * len(found) + 10


def test_a_large_document_is_not_read_for_one_value(tmp_path: Path) -> None:
    """One pointer into 10 MB costs a few nodes, at any version."""
    with Store.create(tmp_path / "kb.db", articles(10_000, 300), clock=Ticks()) as kb:
        for n in range(60):
            kb.commit(patch=replacing(f"/problems/p{n * 100}/votes", n + 1))
    for at in ("v1", "v30", "HEAD"):
        backend = CountingBackend(open_backend(tmp_path / "kb.db"))
        with Store(backend) as kb:
            kb.get("/problems/p5000/title", at=at)
            assert backend.reset().read_bytes < 300_000


def dropped(kb: Store) -> None:
    """Every cache of a store goes."""
    for log in kb.backend.logs():
        kb.backend.drop_snapshots(log, [s.number for s in kb.backend.snapshots(log)])
    for name in kb.backend.note_names():
        kb.backend.drop_notes(name)


@pytest.fixture
def history(monkeypatch: pytest.MonkeyPatch) -> Callable[[Store], list[str]]:
    """Some sixty versions with snapshots of every tier; gives what each was."""
    eager_snapshots(monkeypatch, 4)

    def write(kb: Store) -> list[str]:
        document = articles(60, 20)
        said = [exact(document)]
        kb.commit(document)
        dice = random.Random(4)
        for n in range(60):
            name = f"p{dice.randrange(70)}"
            document["problems"][name] = {"title": f"{name} {n}", "text": f"{n} " * dice.choice([3, 2000])}
            document["list"] = [*document.get("list", [])[-20:], {"id": n, "t": "x" * 200}]
            kb.commit(document)
            said.append(exact(document))
        return said

    return write


def test_all_works_without_a_single_snapshot(
    location: str, history: Callable[[Store], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every snapshot and index deleted all that reads and writes works, and new ones come with time."""
    with Store.create(location, clock=Ticks()) as kb:
        said = history(kb)
        tiers = {s.tier for s in kb.backend.snapshots("main")}
        assert 3 in tiers
        assert len(tiers) > 1
        with Store.open(location, clock=Ticks()) as open_before:
            open_before.checkout("v40")
            dropped(kb)
            assert kb.backend.snapshots("main") == []
            for one in (open_before, kb):
                for seq in (61, 40, 1, 17):
                    assert exact(one.checkout(seq)) == said[seq - 1]
                assert exact(one.get("", at="v33")) == said[32]
                assert one.get("/title", at="v33") == "Support"
                assert one.diff("v1", "v61").patch
                assert len(list(one.log(path="/list"))) == 60
        with Store.open(location, clock=Ticks()) as fresh:
            fresh.restore("v5")
            assert exact(fresh.checkout()) == said[4]
            for n in range(40):
                fresh.commit(patch=replacing("/title", f"{n}"))
            assert fresh.backend.snapshots("main") != []
            report = fresh.verify()
            assert (report.problems, report.caches) == ([], [])
        assert exact(kb.checkout("v61")) == said[60]
        assert kb.damage == []


def test_a_snapshot_that_was_dropped_takes_nothing_from_memory(
    tmp_path: Path, history: Callable[[Store], list[str]]
) -> None:
    """A fold that meets a snapshot collected since it was listed starts elsewhere; what was read before stays."""
    path = tmp_path / "kb.db"
    backend = CountingBackend(create_backend(path))
    with Store(backend, author="ann", clock=Ticks()) as kb, Store.open(path) as other:
        said = history(kb)
        kb.checkout("v45")  # lists what there is up to here
        kb.diff("v2", "v3")
        backend.reset()
        kb.diff("v2", "v3")
        warm = backend.reset().requests
        there = [s.number for s in other.backend.snapshots("main")]
        assert other.backend.drop_snapshots("main", there) == len(there) > 2
        gone = next(number for number in there if 5 < number < 45)
        assert exact(kb.diff("v1", gone).patch) == exact(make_patch(json.loads(said[0]), json.loads(said[gone - 1])))
        backend.reset()
        kb.diff("v2", "v3")
        assert backend.reset().requests == warm
        assert kb.damage == []


def test_a_dry_run_tells_what_a_collection_then_does(location: str, history: Callable[[Store], list[str]]) -> None:
    """The plan removes nothing and names what goes; the collection removes just that, and only caches."""
    with Store.create(location, clock=Ticks()) as kb:
        said = history(kb)
        before = [s.number for s in kb.backend.snapshots("main")]
        plan = kb.gc(dry_run=True)
        assert plan.size_after_bytes is None
        assert [s.number for s in kb.backend.snapshots("main")] == before
        done = kb.gc()
        kept = [s.number for s in kb.backend.snapshots("main")]
        assert (done.dropped_snapshots, done.dropped_bytes) == (plan.dropped_snapshots, plan.dropped_bytes)
        assert len(before) - len(kept) == done.dropped_snapshots > 0
        assert [v.seq for v in kb.log()] == list(range(61, 0, -1))
        assert [exact(kb.checkout(n)) for n in (1, 30, 61)] == [said[0], said[29], said[60]]
        assert kb.gc(dry_run=True).dropped_snapshots == 0
        assert kb.verify().ok


def test_an_article_edited_200_times_costs_its_edits(tmp_path: Path) -> None:
    """After a collection a text of 50 KB that was changed in 200 places, one a version, takes little."""
    dice = random.Random(9)
    words = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=dice.randint(3, 9))) for _ in range(3000)]
    text = [dice.choice(words) for _ in range(7500)]
    with Store.create(tmp_path / "kb.db", {"articles": {"a": {"text": " ".join(text)}}}) as kb:
        for n in range(200):
            text[dice.randrange(len(text))] = f"edit{n}"
            kb.commit({"articles": {"a": {"text": " ".join(text)}}})
        kb.gc()
        one_copy = len(gzip.compress(" ".join(text).encode()))
        assert kb.backend.size_bytes() < 10 * one_copy
        assert kb.verify().ok
        assert kb.get("/articles/a/text") == " ".join(text)


def test_a_first_commit_is_small(tmp_path: Path) -> None:
    """A store with one small version takes few requests and a handful of pages."""
    backend = CountingBackend(create_backend(tmp_path / "kb.db"))
    with Store(backend, clock=Ticks()) as kb:
        backend.reset()
        kb.commit({"a": 1}, author="ann")
        assert backend.reset().requests <= 8
    assert (tmp_path / "kb.db").stat().st_size < 64 * 1024
