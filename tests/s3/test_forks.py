"""A child of a process that has a store open starts afresh, whatever the parent's threads were about."""

import os
import signal
import threading
from collections.abc import Callable

import pytest

from kbstore import Store
from tests.s3.fakes import Bucket, backend_on

_HANGS_S = 30


def in_child(act: Callable[[], object]) -> bool:
    """Whether this is done in a child, which is ended where it hangs."""
    child = os.fork()
    if child == 0:
        signal.alarm(_HANGS_S)
        try:
            act()
        except BaseException:  # noqa: BLE001 - a child of a test ends here
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


@pytest.fixture
def bucket() -> Bucket:
    """A store with forty versions."""
    found = Bucket()
    with Store(backend_on(found, new=True), author="a") as kb:
        for n in range(40):
            kb.commit({"n": n})
    return found


def test_what_was_begun_is_begun_anew(bucket: Bucket) -> None:
    """A listing, a look at the head: the threads that were at it are not in the child."""
    bucket.latency_s = 0.2
    backend = backend_on(bucket)
    backend.expect("main", listing=True)
    look = backend.look("main")
    kb = Store(backend_on(bucket))
    assert in_child(lambda: backend.snapshots("main"))
    assert in_child(look)
    assert in_child(lambda: kb.commit({"n": -1}))
    assert look().slot == 40
    assert kb.head().seq == 40


@pytest.mark.parametrize("act", ["head", "checkout", "commit", "together"])
def test_a_lock_that_another_thread_holds_is_free_in_the_child(bucket: Bucket, act: str) -> None:
    """Reading or writing, also where commits of threads would share a slot."""
    kb = Store(backend_on(bucket), author="a")
    kb.head()
    bucket.latency_s = 0.3

    def run() -> object:
        if act == "together":
            return kb.commit(patch=[{"op": "replace", "path": "/n", "value": 7}])
        return kb.commit({"n": 8}) if act == "commit" else getattr(kb, act)()

    thread = threading.Thread(target=run)
    thread.start()
    while kb._lock.acquire(blocking=False):
        kb._lock.release()
    done = in_child(run)
    thread.join()
    assert done
    bucket.latency_s = 0.0
    again = Store(backend_on(bucket))
    assert again.verify().ok


def test_a_child_commits_on_what_its_parent_looked_at(bucket: Bucket) -> None:
    """The base of a document is the version that was handed out before the fork."""
    kb = Store(backend_on(bucket), author="a")
    document = kb.checkout()
    Store(backend_on(bucket), author="b").commit(patch=[{"op": "add", "path": "/other", "value": 1}])
    # The child's bucket is a copy, so it tells itself what became of it.

    def commit() -> None:
        kb.commit({**document, "mine": 1})
        assert kb.checkout() == {"n": 39, "other": 1, "mine": 1}

    assert in_child(commit)
