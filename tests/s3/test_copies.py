"""Copies from and to S3: beside writers of the source, killed half-way, and of a whole real history."""

import json
import lzma
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kbstore import Store
from kbstore.sync.remote import replicate
from tests.cli.support import Shell, environment
from tests.s3.conftest import new_bucket
from tests.s3.fakes import Bucket, backend_on


def put(kb: Store, member: str, value: int) -> None:
    """One version."""
    kb.commit(patch=[{"op": "add", "path": f"/{member}", "value": value}])


@pytest.mark.parametrize("starts_branch", [False, True])
def test_a_source_that_is_written_meanwhile(starts_branch: bool) -> None:
    """The copy is a picture of one moment: whole, and the next one brings the rest."""
    here, there = Bucket("here"), Bucket("there")
    source = Store(backend_on(here, new=True), author="s")
    source.commit({"n": 0})
    source.create_branch("old")
    for n in range(5):
        put(source, f"n{n}", n)

    def meanwhile(done: int, count: int) -> None:
        writer = Store(backend_on(here), author="w")
        put(writer, f"more-{done}-{writer.head().seq}", 1)
        writer.tag(f"new-{writer.head().seq}")
        put(Store(backend_on(here), branch="old", author="w"), f"more-{writer.head().seq}", 2)
        if starts_branch:
            name = f"br-{writer.head().seq}"
            writer.create_branch(name)
            put(Store(backend_on(here), branch=name, author="w"), "deep", 5)
            Store(backend_on(here), branch=name, author="w").tag(f"on-{name}")

    target = Store(backend_on(there, new=True), author="t")
    for progress in (meanwhile, meanwhile, None):
        replicate(Store(backend_on(here, read_only=True)), target, progress)
        cold = Store(backend_on(there))
        report = cold.verify()
        assert report.ok, report.problems
        assert all(cold.version(name).id for name in (*cold.tags(), *cold.branches()))
    assert cold.tags() == Store(backend_on(here)).tags()
    assert cold.branches() == Store(backend_on(here)).branches()


def test_changed_branches_go_to_a_bucket_and_back() -> None:
    """Also if a branch gets another name while it is copied."""
    here, there = Bucket("here"), Bucket("there")
    source, target = Store(backend_on(here, new=True), author="s"), Store(backend_on(there, new=True), author="t")
    source.commit({"n": 0})
    for name in ("old", "gone"):
        source.create_branch(name)
        put(Store(backend_on(here), branch=name, author="w"), name, 1)
    replicate(source, target)
    gone = source.version("gone")
    put(source, "main", 1)
    put(Store(backend_on(here), branch="old", author="w"), "more", 2)
    source.delete_branch("gone", force=True)

    def meanwhile(done: int, count: int) -> None:
        if "old" in source.branches():
            Store(backend_on(here), author="w").rename_branch("old", "new")

    replicate(Store(backend_on(here, read_only=True)), target, meanwhile)
    cold = Store(backend_on(there))
    assert (cold.branches(), cold.checkout("new")) == (["main", "new"], {"n": 0, "old": 1, "more": 2})
    assert cold.version(gone.id).id == gone.id
    cold.rename_branch("new", "newest")
    replicate(cold, source)
    assert Store(backend_on(here)).branches() == ["main", "newest"]
    for bucket in (here, there):
        assert Store(backend_on(bucket)).verify().problems == []


COPY = """
import os, signal, sys
import kbstore.sync.remote
from kbstore import Store
kbstore.sync.remote._BATCH_EVENTS = 7
left = int(sys.argv[3])
def progress(done, count):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
with Store.open(sys.argv[1], read_only=True) as source:
    kbstore.sync.remote.clone_into(source, sys.argv[2], progress=progress)
"""


def test_a_copy_to_s3_that_is_killed_goes_on(tmp_path: Path, moto_url: str) -> None:
    """Killed after some batches, on the main line and on a branch: the next run ends with the same history."""
    place, url = str(tmp_path / "kb.db"), f"s3://{new_bucket(moto_url)}/kb"
    with Store.create(place, {"n": 0}, author="a") as kb:
        for n in range(40):
            put(kb, f"n{n}", n)
        kb.create_branch("side", "v20")
        with Store.open(place, branch="side", author="b") as side:
            for n in range(20):
                put(side, f"side{n}", n)
        kb.tag("stable", "v3")
        ids = [version.id for version in kb.log()]
    codes = []
    while not codes or codes[-1] != 0:
        command = [sys.executable, "-c", COPY, place, url, "3"]
        codes.append(subprocess.run(command, env=environment(), timeout=60, check=False).returncode)
        assert codes[-1] in (0, -signal.SIGKILL)
        with Store.open(url) as copy:
            assert copy.verify().ok
    assert len(codes) > 2
    with Store.open(url) as copy, Store.open(url, branch="side") as side:
        assert [version.id for version in copy.log()] == ids
        assert side.head().seq == 40
        assert copy.tags()["stable"].seq == 3


@pytest.mark.long
def test_a_whole_real_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_bucket: str, shared: Path) -> None:
    """Imported to a real server and cloned to a file: every id is the same, and every document that is looked at."""
    source = shared / "data" / "mime-db.jsonl.xz"
    url = f"s3://{real_bucket}/kb?read_timeout=30"
    shell = Shell(tmp_path, monkeypatch)
    lines = [json.loads(line) for line in lzma.open(source).read().splitlines()]
    shell.ok("import", str(source), "--store", url)
    assert shell.ok("clone", url, "copy.db", "--json").object["versions"] == len(lines)
    with Store.open(tmp_path / "copy.db", read_only=True) as copy, Store.open(url, read_only=True) as there:
        assert [v.id for v in copy.log()] == [v.id for v in there.log()]
        for seq in (*range(1, len(lines), len(lines) // 20), len(lines)):
            assert copy.checkout(f"v{seq}") == lines[seq - 1]["document"]
        for seq in (1, len(lines) // 2, len(lines)):
            assert there.checkout(f"v{seq}") == lines[seq - 1]["document"]
