"""A local store over forks: its connection is closed before each, and opened again by whoever uses it next."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kbstore import Store
from kbstore.errors import StoreUnavailable
from kbstore.health.errors import StateError
from kbstore.health.state import State
from kbstore.kit import forks

_HANGS_S = 30
LONG = os.environ.get("KBSTORE_LONG") == "1"


def in_child(act: Callable[[], object]) -> str:
    """What a child says of doing this: "done", or the error that it met."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(_HANGS_S)
        try:
            act()
            os.write(write, b"done")
        except BaseException as error:  # noqa: BLE001 - a child of a test ends here
            os.write(write, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as said:
        found = said.read()
    os.waitpid(child, 0)
    return found


def add(kb: Store, name: str) -> None:
    """Commit a member."""
    kb.commit(patch=[{"op": "add", "path": f"/{name}", "value": 1}], message=name)


def hold(kb: Store, done: threading.Event) -> threading.Thread:
    """Let a thread be in the middle of a use of the file until `done`."""
    held = threading.Event()

    def use(_: object) -> None:
        held.set()
        done.wait()

    thread = threading.Thread(target=kb.backend._connection.use, args=(use,))  # type: ignore[attr-defined]
    thread.start()
    held.wait()
    return thread


def is_free(lock: threading.RLock) -> bool:
    """Whether another thread may take a lock."""
    found: list[bool] = []

    def ask() -> None:
        found.append(lock.acquire(timeout=5))
        if found[0]:
            lock.release()

    asking = threading.Thread(target=ask)
    asking.start()
    asking.join()
    return found[0]


def test_both_sides_commit(tmp_path: Path) -> None:
    """Whoever closes first, nothing that was acknowledged is lost."""
    with Store.create(tmp_path / "kb.db", {}, author="a") as kb:
        add(kb, "before")
        assert in_child(lambda: (add(kb, "child"), kb.close())) == "done"
        add(kb, "parent")
        assert {v.message for v in kb.log()} >= {"before", "child", "parent"}
        assert kb.verify().ok


def test_a_short_use_is_waited_for(tmp_path: Path) -> None:
    """A thread that is done within the time that a fork waits keeps nobody from writing."""
    with Store.create(tmp_path / "kb.db", {}, author="a") as kb:
        done = threading.Event()
        thread = hold(kb, done)
        threading.Timer(0.2, done.set).start()
        assert in_child(lambda: add(kb, "child")) == "done"
        thread.join()
        assert kb.checkout() == {"child": 1}


def test_a_long_use_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child refuses the file in one sentence, by this handle and by another one; the parent goes on."""
    monkeypatch.setattr(forks, "WAIT_S", 0.1)
    path = tmp_path / "kb.db"
    with Store.create(path, {}, author="a") as kb:
        done = threading.Event()
        thread = hold(kb, done)
        began = time.monotonic()
        said = in_child(lambda: add(kb, "child"))
        opened = in_child(lambda: Store.open(path))
        assert time.monotonic() - began < _HANGS_S / 2
        done.set()
        thread.join()
        assert said.startswith("StoreUnavailable")
        assert "was in use when process" in said
        assert opened.startswith("StoreUnavailable")
        assert "was open when this process was forked" in opened
        add(kb, "parent")
        assert kb.checkout() == {"parent": 1}


def test_a_fork_in_the_middle_of_a_use(tmp_path: Path) -> None:
    """A thread that forks within its own use of the file keeps its connection, and the child refuses it."""
    with Store.create(tmp_path / "kb.db", {"n": 1}, author="a") as kb:
        connection = kb.backend._connection  # type: ignore[attr-defined]
        said = connection.read(lambda _: in_child(kb.checkout))
        assert said.startswith("StoreUnavailable")
        assert kb.checkout() == {"n": 1}


def test_a_handler_may_fork_in_the_middle_of_a_commit(tmp_path: Path) -> None:
    """The transaction is the parent's: the child that goes on with the call commits nothing and undoes nothing."""
    with Store.create(tmp_path / "kb.db", {}, author="a") as kb:
        parent, children = os.getpid(), []
        before = signal.signal(signal.SIGUSR1, lambda *_: children.append(os.fork()))
        connection = kb.backend._connection  # type: ignore[attr-defined]
        commit = connection._commit

        def forking(*arguments: object) -> None:
            os.kill(os.getpid(), signal.SIGUSR1)
            if os.getpid() != parent:
                time.sleep(0.3)  # the parent commits first
            commit(*arguments)

        try:
            connection._commit = forking
            add(kb, "first")
        except StoreUnavailable:
            os._exit(7)  # in the child
        finally:
            signal.signal(signal.SIGUSR1, before)
        if os.getpid() != parent:
            os._exit(8)
        connection._commit = commit
        for name in ("second", "third"):
            add(kb, name)
        assert {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children} == {7}
        assert kb.checkout() == {"first": 1, "second": 1, "third": 1}
        assert kb.verify().ok


def test_the_hook_never_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that fails to close is marked, so that the child refuses it, and the fork goes on."""
    with Store.create(tmp_path / "kb.db", {"n": 1}, author="a") as kb:
        connection = kb.backend._connection  # type: ignore[attr-defined]

        def fail() -> None:
            raise OSError("no")

        with monkeypatch.context() as patch:
            patch.setattr(connection, "_let_go", fail)
            said = in_child(kb.checkout)
        assert said.startswith("StoreUnavailable")
        assert kb.checkout() == {"n": 1}


_FORKED_IN_C = """
import ctypes, os, sys
from kbstore import Store
from kbstore.errors import StoreUnavailable
kb = Store.open(sys.argv[1], author="a")
kb.head()
if ctypes.PyDLL(None).fork() == 0:
    for act in (kb.head, lambda: Store.open(sys.argv[1])):
        try:
            act()
            print("no error", flush=True)
        except Exception as error:
            print(f"{type(error).__name__}: {error}", flush=True)
    kb.close()
    sys.exit()
os.wait()
kb.commit({"n": 2})
kb.close()
"""


@pytest.mark.skipif(not hasattr(ctypes, "PyDLL") or os.name != "posix", reason="this system has no fork")
def test_a_fork_that_python_does_not_see(tmp_path: Path) -> None:
    """A server that forks in C: the child refuses what it inherited, and leaves it alone as it ends."""
    path = tmp_path / "kb.db"
    Store.create(path, {"n": 1}, author="a").close()
    done = subprocess.run([sys.executable, "-c", _FORKED_IN_C, path], capture_output=True, text=True, timeout=60)
    first, second = done.stdout.splitlines()
    assert "was in use when process" in first
    assert "was open when this process was forked" in second
    with Store.open(path) as kb:
        assert kb.checkout() == {"n": 2}
        assert kb.verify().ok


# An exception at the end of a generator is lost in Python itself.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupted_transaction_keeps_nobody_out(tmp_path: Path) -> None:
    """An exception of a signal handler, at any step of a commit: others write at once, and a repeat lands once."""

    class Ended(BaseException):
        pass

    path = tmp_path / "kb.db"
    steps, made = 0, []
    with Store.create(path, {}, author="a") as kb:
        add(kb, "first")
        connection = kb.backend._connection  # type: ignore[attr-defined]
        while True:
            steps += 1 if LONG else 9
            left = steps

            def interrupt(frame: object, event: str, argument: object) -> None:
                nonlocal left
                left -= event in ("call", "c_return")
                if not left:
                    sys.setprofile(None)
                    raise Ended

            name = f"n{steps}"
            made.append(name)
            patch = [{"op": "add", "path": f"/{name}", "value": 1}]
            sys.setprofile(interrupt)
            try:
                kb.commit(patch=patch, message=name, write_id=name)
                sys.setprofile(None)
                if left > 0:
                    break
            except Ended:
                pass
            finally:
                sys.setprofile(None)
            assert not connection._connection.in_transaction
            assert is_free(connection.lock)
            assert is_free(kb._lock)
            kb.commit(patch=patch, message=name, write_id=name)
        assert steps > 100
        messages = [v.message for v in kb.log()]
        assert sorted(messages) == sorted({"first version", "first", *made})
        assert kb.verify().ok


def test_health_remembers_over_a_fork(tmp_path: Path) -> None:
    """The state of health is closed before a fork and opened again after; a child of a busy one is told so."""
    state = State(tmp_path)
    state.remembered()
    assert in_child(state.remembered) == "done"
    with state.transaction():
        said = in_child(state.remembered)
    assert said.startswith(StateError.__name__)
    assert state.remembered() == {}
    state.close()
