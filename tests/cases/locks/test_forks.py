"""A store that is open when its process forks: no acknowledged version is lost, whichever process ends, and how."""

from pathlib import Path

import pytest

from tests.cases.locks.support import acknowledged, assert_kept, made, run, words_of
from tests.conftest import LONG

ENDS = ["_exit", "sys.exit", "exception", "close"]
FORKS = 60 if LONG else 12


@pytest.mark.parametrize("end", ENDS)
def test_a_parent_that_closes_first_takes_nothing_from_its_child(tmp_path: Path, end: str) -> None:
    """Case 01: the child holds a lock of its own, so no process removes the write-ahead log under it."""
    path = made(tmp_path / "kb.db")
    said = run("forking", "parent_closes_first", path, end)
    assert words_of(said, "locked") == ["1"]
    assert len(acknowledged(said)) == 7
    assert_kept(path, acknowledged(said))


@pytest.mark.parametrize("end", ENDS)
def test_a_child_that_ends_first_takes_nothing_from_its_parent(tmp_path: Path, end: str) -> None:
    """The parent holds a lock again as soon as it goes on, however the child ended."""
    path = made(tmp_path / "kb.db")
    said = run("forking", "child_ends_first", path, end)
    assert words_of(said, "locked") == ["1"]
    assert len(acknowledged(said)) == 7
    assert_kept(path, acknowledged(said))


@pytest.mark.parametrize("end", ENDS)
def test_a_child_that_uses_nothing_writes_nothing_at_its_end(tmp_path: Path, end: str) -> None:
    """A child that never touches the inherited store does not write an old log over newer versions."""
    path = made(tmp_path / "kb.db")
    said = run("forking", "unused_child", path, end)
    assert len(acknowledged(said)) == 8
    assert_kept(path, acknowledged(said))


def test_several_handles_go_over_a_fork(tmp_path: Path) -> None:
    """Two handles, one of them through a symbolic link, and a read-only one are right on both sides of a fork."""
    path = made(tmp_path / "kb.db")
    said = run("forking", "several_handles", path)
    assert words_of(said, "seen") == ["2 3"]
    assert words_of(said, "refused") + words_of(said, "ended") == []
    assert len(acknowledged(said)) == 8
    assert_kept(path, acknowledged(said))


def test_children_of_children_keep_what_they_were_promised(tmp_path: Path) -> None:
    """Each of four generations commits before and after its own child, and none takes from another."""
    path = made(tmp_path / "kb.db")
    said = run("forking", "generations", path)
    assert words_of(said, "refused") + words_of(said, "ended") == []
    assert len(acknowledged(said)) == 8
    assert_kept(path, acknowledged(said))


def test_a_list_that_is_half_read_goes_on_after_a_fork(tmp_path: Path) -> None:
    """Parent and child read the same rest of the log."""
    path = made(tmp_path / "kb.db")
    said = run("forking", "half_read", path)
    assert words_of(said, "rest") == ["200", "200"]
    assert words_of(said, "refused") + words_of(said, "ended") == []
    assert_kept(path, acknowledged(said))


def test_a_fork_within_a_progress_callback_ends_well(tmp_path: Path) -> None:
    """The callback of `verify` may fork: the child commits, and the verification finds the store sound."""
    path = made(tmp_path / "kb.db")
    said = run("forking", "within_progress", path)
    assert words_of(said, "sound") == ["True True"]
    assert words_of(said, "refused") + words_of(said, "ended") == []
    assert len(acknowledged(said)) > 9
    assert_kept(path, acknowledged(said))


def test_programs_that_are_started_take_no_lock_away(tmp_path: Path) -> None:
    """`subprocess` with and without `preexec_fn`: the store stays locked by its process; no writer loses any."""
    path = made(tmp_path / "kb.db")
    said = run("forking", "programs_started", path)
    assert words_of(said, "locked") == ["1"]
    assert len(acknowledged(said)) == 8
    assert_kept(path, acknowledged(said))


def test_a_prefork_server_loses_no_version(tmp_path: Path) -> None:
    """A parent that opens, forks and closes, workers that end in every way, and others beside them."""
    path = made(tmp_path / "kb.db")
    said = run("forking", "prefork", path, 4, 100 if LONG else 25)
    assert len(words_of(said, "raised")) == 1
    assert len(acknowledged(said)) == (400 if LONG else 100) + 2 + 4
    assert_kept(path, acknowledged(said))


@pytest.mark.parametrize("role", ["beside_a_thread", "from_a_thread"])
def test_a_fork_beside_threads_leaves_no_lock_behind(tmp_path: Path, role: str) -> None:
    """A fork while another thread commits: the child writes at once, and no version is lost or doubled."""
    path = made(tmp_path / "kb.db")
    said = run("forking", role, path, FORKS)
    assert words_of(said, "refused") + words_of(said, "ended") == []
    assert len(acknowledged(said)) > FORKS
    assert_kept(path, acknowledged(said))


def test_a_pool_of_forked_processes_works_on_one_store(tmp_path: Path) -> None:
    """`multiprocessing` with fork, workers replaced on the way, beside commits of the parent."""
    path = made(tmp_path / "kb.db")
    said = run("forking", "pool", path, 2 * FORKS)
    assert words_of(said, "done") == [str(2 * FORKS)]
    assert len(acknowledged(said)) > 2 * FORKS
    assert_kept(path, acknowledged(said))


def test_a_connection_that_cannot_be_closed_is_refused_in_the_child(tmp_path: Path) -> None:
    """A fork beside a thread that waits for the file: the parent goes on, and the child is told so in one sentence."""
    path = made(tmp_path / "kb.db")
    said = run("forking", "beside_a_waiting_thread", path)
    kinds = [words[0] for words in said]
    assert kinds.index("forked") < kinds.index("tried") or kinds.count("forked") == 1
    assert words_of(said, "ended") == []
    refused = words_of(said, "refused")
    assert refused, "the child used a connection that its parent still had"
    assert all(text.startswith("StoreUnavailable") and "fork" in text for text in refused)
    assert len(acknowledged(said)) >= 3 + 6
    assert_kept(path, acknowledged(said))


@pytest.mark.parametrize("use", ["inherited", "anew", "closed", "nothing"])
def test_a_fork_that_python_does_not_see_loses_nothing(tmp_path: Path, use: str) -> None:
    """A fork in C beside an open store: the child is refused, and what it does at its end harms no other process."""
    path = made(tmp_path / "kb.db")
    said = run("forking", "unseen", path, use)
    assert words_of(said, "locked") == ["1"]
    assert words_of(said, "ended") == []
    if use == "inherited":
        assert words_of(said, "served") == []
        assert len(words_of(said, "refused")) == 3
    assert all(text.startswith("StoreUnavailable") and "fork" in text for text in words_of(said, "refused"))
    assert_kept(path, acknowledged(said))


def test_a_store_that_is_opened_after_a_fork_in_c_is_right(tmp_path: Path) -> None:
    """Workers of a server in C that open the store themselves commit side by side."""
    path = made(tmp_path / "kb.db")
    said = run("forking", "opened_after", path)
    assert words_of(said, "ended") == []
    assert len(acknowledged(said)) == 30
    assert_kept(path, acknowledged(said))
