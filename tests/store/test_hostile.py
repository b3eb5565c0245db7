"""Hostile names stay names, and hostile surroundings are told: a full disk, a missing file, what is no store."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

import kbstore
from kbstore import (
    CorruptStore,
    KBStoreError,
    PatchError,
    RevisionError,
    Store,
    StoreExists,
    StoreNotFound,
    StoreUnavailable,
)
from kbstore.jsondoc.pointer import format_pointer
from kbstore.sync.jsonl import export_events, import_lines
from tests.conftest import ROOT
from tests.store.support import Ticks, articles, exact, replacing

GROUPS: dict[str, list[str]] = json.loads((ROOT / "tests/fixtures/hostile_names.json").read_text())
NAMES = [name for group in GROUPS.values() for name in group]
SURROGATES = GROUPS["lone surrogates"]


def test_the_list_is_whole() -> None:
    """There are 135 of them, each once."""
    assert len(NAMES) == len(set(NAMES)) == 135


def test_hostile_texts_are_kept_as_they_are(tmp_path: Path) -> None:
    """As author, message, label, member name and value each comes back exactly, is found by, and does nothing else."""
    path = tmp_path / "kb" / "kb.db"
    path.parent.mkdir()
    kept = []
    with Store.create(path, {"k": {}}, clock=Ticks(), author="ann") as kb:
        for name in NAMES:
            patch = [{"op": "add", "path": format_pointer(("k", name)), "value": name}]
            if name in SURROGATES:
                with pytest.raises(PatchError, match="holds a lone surrogate"):
                    kb.commit(patch=patch)
                for fields in ({"author": name}, {"message": name}, {"tags": [name]}, {"write_id": name}):
                    told = "a write id is 1 to 64" if "write_id" in fields else "holds a lone surrogate"
                    with pytest.raises(KBStoreError, match=told):
                        kb.commit(patch=replacing("/k", {"new": 1}), **fields)  # type: ignore[arg-type]
                continue
            kept.append(name)
            v = kb.commit(patch=patch, author=name, message=name, tags=[name, "x"], meta={name: name})
            assert (v.author, v.message, v.tags, v.patch) == (name or "ann", name, (name, "x"), patch)
        for name in kept:
            assert kb.get(format_pointer(("k", name))) == name
            assert [v.message for v in kb.log(tag=name)] == [name]
            assert name in {v.message for v in kb.log(author=name)}
        lines = list(export_events(kb))
    with Store.open(path) as kb:
        assert [v.message for v in kb.log(newest_first=False)][1:] == kept
        assert kb.checkout() == {"k": {name: name for name in kept}}
        report = kb.verify()
        assert (report.problems, report.caches) == ([], [])
        with Store.create("memory:") as copy:
            import_lines(copy, lines)
            assert [v.as_dict() for v in copy.log()] == [v.as_dict() for v in kb.log()]
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")] == ["kb", "kb/kb.db"]


@pytest.mark.parametrize("kind", ["tag", "branch"])
def test_a_hostile_name_is_refused_or_names_one_version(tmp_path: Path, kind: str) -> None:
    """What is taken as a tag or branch is visible, means just that version and touches no file; the rest is refused."""
    path = tmp_path / "kb" / "kb.db"
    path.parent.mkdir()
    taken = []
    with Store.create(path, {"n": 1}, clock=Ticks()) as kb:
        for n in (2, 3):
            kb.commit({"n": n})
        target = kb.version("v2")
        for name in NAMES:
            try:
                if kind == "tag":
                    kb.tag(name, "v2")
                else:
                    kb.create_branch(name, "v2")
            except RevisionError:
                with contextlib.suppress(RevisionError):
                    assert kb.version(name).seq <= 3
                continue
            taken.append(name)
            assert kb.version(name) == target
            assert kb.version(f"{name}~1").seq == 1
            assert not any(unicodedata.category(c)[0] in "CZM" for c in name)
            assert not set(name) & set(" /\\'\"`$;|&<>*?[]{}!#~@%=\n") - {"/"}
            assert not name.startswith(("-", ".", "/", "_"))
            assert ".." not in name
        assert sorted(kb.tags() if kind == "tag" else set(kb.branches()) - {"main"}) == sorted(taken)
        assert set(GROUPS["options"] + GROUPS["terminal control"] + SURROGATES).isdisjoint(taken)
        assert set(GROUPS["bidirectional and unseen"] + GROUPS["shell and markup"]).isdisjoint(taken)
        assert {"ｍａｉｎ", "v１", "ﬁle", "e\u0301"}.isdisjoint(taken)  # noqa: RUF001 - written to be mistaken for others
        assert {"HEAD", "main", "v1", "v1_2025", "deadbeef", "0000", "a" * 101}.isdisjoint(taken)
    with Store.open(path) as kb:
        assert kb.verify().ok
        for name in taken:
            if kind == "tag":
                kb.untag(name)
            else:
                with Store.open(path, branch=name) as branch:
                    branch.commit({"on": name})
        assert kb.checkout() == {"n": 3}
        assert kb.verify().ok
    for name in set(NAMES) - set(taken) - {"main"}:
        with pytest.raises(RevisionError):
            Store.open(path, branch=name)
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")] == ["kb", "kb/kb.db"]


def test_a_hostile_revision_is_refused_or_a_version(location: str) -> None:
    """Wherever a revision is taken, such a text means a version that exists, or is a RevisionError, shown safely."""
    with Store.create(location, {"n": 1}) as kb:
        kb.commit({"n": 2})
        for name in NAMES:
            for look in (kb.version, kb.checkout, lambda r: kb.diff(r), lambda r: list(kb.log(None, r)), kb.restore):
                try:
                    look(name)
                except RevisionError as told:
                    assert str(told).isprintable()  # noqa: PT017 - the text of every refusal is what is looked at
        assert kb.checkout("v2") == {"n": 2}


DISK_FULL = """
import resource, signal, sys
from kbstore import KBStoreError, Store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path, free = sys.argv[1], int(sys.argv[2])
kb = Store.open(path)
size = kb.backend.size_bytes()
resource.setrlimit(resource.RLIMIT_FSIZE, (size + free, resource.RLIM_INFINITY))
n = 0
try:
    while n < 1000:
        v = kb.commit(patch=[{"op": "add", "path": f"/problems/q{n}", "value": {"text": f"{n} word " * 300}}])
        print("ack", v.seq, v.id, flush=True)
        n += 1
except KBStoreError as fault:
    print("told", type(fault).__name__, bool(fault.hint), flush=True)
print("reads", len(kb.checkout()["problems"]) >= n, flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
v = kb.commit(patch=[{"op": "replace", "path": "/title", "value": "room again"}])
print("ack", v.seq, v.id, flush=True)
kb.close()
"""


@pytest.mark.parametrize("free", [0, 3000, 50_000, 300_000])
def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path, free: int) -> None:
    """Where a file cannot grow, a commit is refused with a hint; reading goes on, and later writing too."""
    path = tmp_path / "kb.db"
    Store.create(path, {**articles(50, 10), "more": os.urandom(40_000).hex()}).close()
    done = subprocess.run(
        [sys.executable, "-P", "-c", DISK_FULL, str(path), str(free)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = [line.split() for line in done.stdout.splitlines()]
    assert [line[1:] for line in said if line[0] == "told"] in (
        [["StoreUnavailable", "True"]],
        [["OutcomeUnknown", "True"]],
    )
    assert ["reads", "True"] in said
    with Store.open(path) as kb:
        ids = {v.seq: v.id for v in kb.log()}
        assert all(ids[int(line[1])] == line[2] for line in said if line[0] == "ack")
        assert kb.get("/title") == "room again"
        assert len(ids) <= sum(line[0] == "ack" for line in said) + 2
        report = kb.verify()
        assert (report.problems, report.caches) == ([], [])


def no_store(path: Path) -> None:
    """A text."""
    path.write_text("this is not a store\n" * 500)


def empty(path: Path) -> None:
    """Nothing."""
    path.write_bytes(b"")


def folder(path: Path) -> None:
    """A folder of that name, with something in it."""
    path.unlink()
    (path / "kb.db").mkdir(parents=True)


def half(path: Path) -> None:
    """The first half of a store."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def noise(path: Path) -> None:
    """Random bytes behind a good beginning."""
    data = bytearray(path.read_bytes())
    data[2048:] = os.urandom(len(data) - 2048)
    path.write_bytes(data)


def dangling(path: Path) -> None:
    """A link to nothing."""
    path.unlink()
    path.symlink_to(path.with_name("gone"))


def gone(path: Path) -> None:
    """Nothing at all."""
    path.unlink()


@pytest.mark.parametrize(
    ("spoil", "fault", "said"),
    [
        (no_store, CorruptStore, "is damaged: it is not an SQLite file any more, or its first page is damaged"),
        (empty, CorruptStore, "is empty"),
        (folder, StoreNotFound, "is a folder, not a store"),
        (half, CorruptStore, "is damaged: database disk image is malformed"),
        (noise, CorruptStore, "is damaged: database disk image is malformed"),
        (dangling, StoreNotFound, "there is no store in"),
        (gone, StoreNotFound, "there is no store in"),
    ],
)
@pytest.mark.parametrize("read_only", [False, True])
def test_what_is_no_store_is_told_and_left_alone(
    tmp_path: Path, spoil: Callable[[Path], None], fault: type[KBStoreError], said: str, read_only: bool
) -> None:
    """Whatever stands in a store's place, opening it is a clear error with a hint, and changes nothing there."""
    path = tmp_path / "kb.db"
    Store.create(path, articles(30, 20)).close()
    spoil(path)
    before = sorted((p.name, p.read_bytes() if p.is_file() else None) for p in tmp_path.rglob("*"))
    with pytest.raises(fault, match=said) as told, Store.open(path, read_only=read_only) as kb:
        kb.checkout()
    assert told.value.hint
    assert "kb.db" in str(told.value)
    assert sorted((p.name, p.read_bytes() if p.is_file() else None) for p in tmp_path.rglob("*")) == before


def test_a_file_deleted_or_replaced_under_an_open_store_is_told(tmp_path: Path) -> None:
    """Neither goes on into the void: the commit is refused, and put back the store goes on with all it had."""
    path, away = tmp_path / "kb.db", tmp_path / "away.db"
    with Store.create(path, {"n": 1}) as kb:
        kb.commit({"n": 2})
        path.rename(away)
        for use in (lambda: kb.commit({"n": 3}), kb.checkout, kb.head, lambda: kb.tag("x"), kb.gc):
            with pytest.raises(StoreNotFound) as told:
                use()
            assert told.value.hint
        with pytest.raises(StoreExists) as told:
            Store.create(path, {"another": 1})
        assert told.value.hint
        Store.create(tmp_path / "another.db", {"another": 1}).close()
        shutil.copyfile(tmp_path / "another.db", path)
        with pytest.raises(StoreUnavailable, match="replaced"):
            kb.commit({"n": 3})
        assert path.read_bytes() == (tmp_path / "another.db").read_bytes()
        path.unlink()
        away.rename(path)
        assert kb.commit({"n": 3}).seq == 3
    with Store.open(path) as kb:
        assert kb.checkout() == {"n": 3}
        assert kb.verify().ok


def test_a_wal_left_behind_is_never_passed_over(tmp_path: Path) -> None:
    """A copy of file and WAL, as a killed writer or a backup leaves them, has all versions, read-only too."""
    path, copy = tmp_path / "kb.db", tmp_path / "copy"
    copy.mkdir()
    with Store.create(path, articles(5)) as kb:
        for n in range(1, 6):
            kb.commit(patch=replacing("/problems/p1/votes", n))
        for name in ("kb.db", "kb.db-wal"):
            shutil.copyfile(tmp_path / name, copy / name)
        expected = exact(kb.checkout())
    with Store.open(copy / "kb.db", read_only=True) as kb:
        assert (kb.head().seq, exact(kb.checkout())) == (6, expected)
    with Store.open(copy / "kb.db") as kb:
        assert kb.commit(patch=replacing("/problems/p1/votes", 9)).seq == 7
        assert kb.verify().ok
    assert kbstore.Store.open(copy / "kb.db").close() is None
    assert os.listdir(copy) == ["kb.db"]
