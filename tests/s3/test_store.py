"""A store on a real S3 server does what a local one does, from the command line and from Python, and to and fro."""

import json
import lzma
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kbstore import Store
from tests.cli.support import DOCUMENT, Shell, environment

WRITER = """
import sys
from kbstore import Store
location, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with Store.open(location, author=name) as kb:
    for n in range(count):
        kb.commit(patch=[{"op": "add", "path": f"/problems/{name}-{n}", "value": {"n": n}}], message=f"{name} {n}")
        with kb.edit(message=f"{name} counts") if n == 0 else kb.edit(message="again") as doc:
            doc["by"][name] = doc["by"].get(name, 0) + 1
"""


@pytest.fixture
def url(real_bucket: str) -> str:
    """Where a store may be, on SeaweedFS."""
    return f"s3://{real_bucket}/kb?read_timeout=30"


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A folder to run commands in."""
    monkeypatch.setenv("KBSTORE_AUTHOR", "Jana <jana@example.com>")
    return Shell(tmp_path, monkeypatch)


def test_the_main_job(shell: Shell, url: str) -> None:
    """init, status, commit, log, show, diff, checkout, restore, get, tag, branch, apply, export, gc, verify."""
    shell.write(DOCUMENT)
    shell.ok("init", "kb.json", "--store", url)
    shell.edit("p1", title="Login fails on Mondays")
    assert "uncommitted" in shell.ok("status").out
    shell.ok("commit", "-m", "A better title", "--tag", "api")
    assert shell.versions() == 2
    assert "Mondays" in shell.ok("diff", "v1", "v2").out
    assert "A better title" in shell.ok("show", "v2").out
    shell.ok("apply", "-", "-m", "Votes", stdin=b'[{"op":"replace","path":"/problems/p2/votes","value":6}]')
    shell.ok("checkout", "v1", "--force")
    assert shell.read() == DOCUMENT
    shell.ok("checkout", "HEAD")
    shell.ok("restore", "v1")
    assert shell.read() == DOCUMENT
    assert json.loads(shell.ok("get", "/problems/p2/votes", "--at", "v3").out) == 6
    shell.ok("tag", "stable", "v2")
    shell.ok("branch", "side", "v2")
    assert "stable" in shell.ok("tag").out
    assert len(shell.ok("log", "--path", "/problems/p2").lines) > 0
    shell.ok("gc", "--dry-run")
    shell.ok("gc")
    assert shell.ok("verify").lines[0].startswith("whole: 4 versions")
    shell.fails(3, "init", "kb.json", "--store", url)


def test_a_project_is_joined(shell: Shell, url: str) -> None:
    """A second person names the store, and has the newest version in a file of their own."""
    shell.write(DOCUMENT)
    shell.ok("init", "kb.json", "--store", url)
    (shell.folder / "other").mkdir()
    shell.ok("-C", "other", "init", "kb.json", "--store", url)
    assert json.loads((shell.folder / "other" / "kb.json").read_text()) == DOCUMENT


def test_two_machines_commit_at_once(real_bucket: str, url: str) -> None:
    """Disjoint edits of two processes all land, and one line comes of it."""
    Store.create(url, {"problems": {}, "by": {}}, author="x").close()
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, url, name, "6"], env=environment(), stderr=subprocess.PIPE)
        for name in ("anna", "ben")
    ]
    for writer in writers:
        _, err = writer.communicate(timeout=120)
        assert writer.returncode == 0, err.decode()
    with Store.open(url) as kb:
        document = kb.checkout()
        assert set(document["problems"]) == {f"{name}-{n}" for name in ("anna", "ben") for n in range(6)}
        assert document["by"] == {"anna": 6, "ben": 6}
        assert kb.head().seq == 25
        assert kb.verify().ok


def test_a_real_history_goes_there_and_back(shell: Shell, url: str, shared: Path) -> None:
    """Imported to S3, cloned to a file and back: ids and every document are the same."""
    lines = lzma.open(shared / "data" / "mime-db.jsonl.xz").read().splitlines()[:60]
    (shell.folder / "some.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    shell.ok("import", "some.jsonl", "--store", url)
    shell.ok("tag", "old", "v3", "--store", url)
    assert shell.ok("clone", url, "copy.db", "--json").object["versions"] == 60
    assert shell.ok("export", "--store", "copy.db").raw == shell.ok("export", "--store", url).raw
    with Store.open(shell.folder / "copy.db") as copy, Store.open(url) as there:
        assert [v.id for v in copy.log()] == [v.id for v in there.log()]
        for seq, line in enumerate(lines, 1):
            if seq % 7 == 0 or seq == 60:
                assert copy.checkout(f"v{seq}") == json.loads(line)["document"] == there.checkout(f"v{seq}")
        copy.commit(patch=[{"op": "add", "path": "/new", "value": 1}], message="on top", author="x")
    assert shell.ok("push", url, "--store", "copy.db", "--json").object["versions"] == 1
    again = url.replace("/kb?", "/again?")
    shell.ok("clone", "copy.db", again)
    assert shell.ok("export", "--store", again).raw == shell.ok("export", "--store", url).raw
    assert shell.ok("verify", "--store", again).lines[0].startswith("whole: 61 versions")


def test_a_fork_goes_on_with_connections_of_its_own(url: str) -> None:
    """A child that inherits an open store commits through a client of its own; so does the parent afterwards."""
    kb = Store.create(url, {"n": 0}, author="parent")
    child = os.fork()
    if child == 0:
        try:
            kb.commit(patch=[{"op": "add", "path": "/child", "value": 1}], message="child")
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a child of a test ends here
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    kb.commit(patch=[{"op": "add", "path": "/parent", "value": 1}], message="parent")
    assert kb.checkout() == {"n": 0, "child": 1, "parent": 1}
    kb.close()
