"""A call that an exception of a signal handler ends: the handle, other threads and other writers go on at once."""

from pathlib import Path

import pytest

from tests.cases.locks.support import acknowledged, assert_kept, made, run, words_of
from tests.conftest import LONG


@pytest.mark.parametrize("call", ["commit", "document", "tag", "read", "open", "gc", "verify"])
def test_a_call_may_end_at_any_place(tmp_path: Path, call: str) -> None:
    """Interrupted wherever Python runs the handlers of signals, a call leaves no lock and no transaction behind.

    A commit that is repeated with the same write id is acknowledged once.
    """
    path = made(tmp_path / "kb.db")
    said = run("interrupting", "everywhere", path, call, 500 if LONG else 20)
    assert words_of(said, "wrong") == []
    assert int(words_of(said, "hits")[0]) > 9
    assert_kept(path, acknowledged(said))


def test_closing_may_end_at_any_place(tmp_path: Path) -> None:
    """A `close` that was interrupted is repeated, and keeps no other writer out."""
    path = made(tmp_path / "kb.db")
    said = run("interrupting", "closing_call", path)
    assert words_of(said, "wrong") == []
    assert int(words_of(said, "hits")[0]) > 5
    assert_kept(path, acknowledged(said))


@pytest.mark.parametrize("threads", [0, 3])
@pytest.mark.parametrize("seed", range(1, 6 if LONG else 2))
def test_commits_under_a_timer_are_acknowledged_once(tmp_path: Path, seed: int, threads: int) -> None:
    """Case 03: a timer interrupts commits at random, each is repeated, and threads on the same handle go on."""
    path = made(tmp_path / "kb.db")
    said = run("interrupting", "timers", path, 300, threads, seed)
    assert words_of(said, "wrong") == []
    assert int(words_of(said, "hits")[0]) > 20
    assert_kept(path, acknowledged(said))
