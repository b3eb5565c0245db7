"""Two names of one file: a hard link is refused, since each name would have its own log; a symbolic link is not."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kbstore import KBStoreError, Store, StoreUnavailable
from tests.cases.locks.support import HANGS_S, assert_kept, environment, made


def _put(kb: Store, name: str) -> str:
    return kb.commit(patch=[{"op": "add", "path": f"/parent/{name}", "value": 1}], message=name).id


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store in a folder of its own."""
    (tmp_path / "store").mkdir()
    return made(tmp_path / "store" / "kb.db")


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("place", ["store/hard.db", "elsewhere.db"])
def test_a_hard_link_is_refused_by_both_names(tmp_path: Path, store: Path, place: str, read_only: bool) -> None:
    """Case 05: the reason is named, for readers too; without the second name the store opens as before."""
    os.link(store, tmp_path / place)
    for name in (store, tmp_path / place):
        with pytest.raises(StoreUnavailable, match="name") as caught:
            Store.open(name, read_only=read_only)
        assert str(name) in str(caught.value)
        assert caught.value.hint
    (tmp_path / place).unlink()
    with Store.open(store) as kb:
        ident = _put(kb, "after")
    assert_kept(store, [ident])


def test_a_hard_link_beside_an_open_handle_loses_nothing(tmp_path: Path, store: Path) -> None:
    """Case 05 as it happened: a handle is open, the link is made, and another process comes by the second name."""
    acks = []
    with Store.open(store) as kb:
        acks.append(_put(kb, "P1"))
        os.link(store, tmp_path / "hard.db")
        code = (
            "import sys\nfrom kbstore import Store\n"
            "with Store.open(sys.argv[1]) as kb:\n"
            "    print(kb.commit(patch=[{'op': 'add', 'path': '/other/-', 'value': 1}]).id)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "hard.db")],
            env=environment(), capture_output=True, text=True, timeout=HANGS_S,
        )  # fmt: skip
        assert "StoreUnavailable" in done.stderr
        assert done.stdout == ""
        (tmp_path / "hard.db").unlink()
        acks.append(_put(kb, "P2"))
    assert_kept(store, acks)


def test_symbolic_links_are_the_same_store(tmp_path: Path, store: Path) -> None:
    """Handles through links, a link to a link and a linked folder share one log beside the real file."""
    (tmp_path / "one.db").symlink_to(store)
    (tmp_path / "two.db").symlink_to("one.db")
    (tmp_path / "folder").symlink_to(store.parent, target_is_directory=True)
    names = [store, tmp_path / "one.db", tmp_path / "two.db", tmp_path / "folder" / "kb.db", tmp_path / "folder"]
    handles = [Store.open(name) for name in names]
    acks = [_put(kb, f"{turn}-{number}") for turn in range(3) for number, kb in enumerate(handles)]
    with Store.open(tmp_path / "two.db", read_only=True) as reader:
        assert reader.head().id == acks[-1]
    for kb in handles:
        kb.close()
        assert [entry.name for entry in tmp_path.iterdir() if "-wal" in entry.name] == []
    assert_kept(store, acks)


def test_a_draft_that_a_killed_init_left_is_no_second_name(store: Path) -> None:
    """The leftover of a `create` that was killed between its link and the removal of its draft is removed."""
    draft = store.with_name(f".{store.name}.4194305-140000000000000.new")  # a process id that is never given
    os.link(store, draft)
    with Store.open(store) as kb:
        ident = _put(kb, "after")
    assert not draft.exists()
    assert_kept(store, [ident])


def test_a_create_in_progress_is_waited_for(store: Path) -> None:
    """A store has two names for a moment while it is made; who opens it then succeeds."""
    second = store.with_name("for a moment")
    os.link(store, second)
    timer = threading.Timer(0.03, second.unlink)
    timer.start()
    try:
        with Store.open(store) as kb:
            ident = _put(kb, "after")
    finally:
        timer.join()
    assert_kept(store, [ident])


def test_creating_and_opening_at_once_is_never_refused_for_two_names(tmp_path: Path) -> None:
    """One thread makes stores while another opens each the moment it appears."""
    refused: list[str] = []

    def follow() -> None:
        for n in range(40):
            path = tmp_path / f"{n}.db"
            deadline = time.monotonic() + HANGS_S
            while time.monotonic() < deadline and not path.exists():
                pass
            try:
                Store.open(path).close()
            except KBStoreError as error:
                refused.append(str(error))

    thread = threading.Thread(target=follow)
    thread.start()
    for n in range(40):
        Store.create(tmp_path / f"{n}.db").close()
    thread.join()
    assert refused == []
