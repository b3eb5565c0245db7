"""Programs that fork while a store is open. Each says on stdout what it was promised, one line at a time.

Run by path, in a process of its own: the process of the tests has threads and descriptors that a fork would copy.
"""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from programs import Elsewhere, holds, main, put, say

from kbstore import KBStoreError, Store

HANGS_S = 120
KEEPER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print(flush=True)
sys.stdin.read()
"""


def end(how: str, kb: Store) -> None:
    """End this process in one of the ways in which children end."""
    if how == "close":
        kb.close()
    if how == "exception":
        sys.excepthook = lambda *_: say("raised")
        raise RuntimeError("this child ends by an exception")
    if how in ("sys.exit", "close"):
        sys.exit(0)
    os._exit(0)


def forked(act: Callable[[], object]) -> int:
    """Run this in a child, which is ended if it hangs; returns its process id."""
    child = os.fork()
    if child:
        return child
    signal.alarm(HANGS_S)
    try:
        act()
    except KBStoreError as error:
        say("refused", type(error).__name__, error)
    os._exit(0)


def ended(child: int) -> None:
    """Wait for a child, and say if it did not end as it should."""
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        say("ended", status)


# ---- one parent and one child --------------------------------------------------------------------------------------


def parent_closes_first(location: str, how: str) -> None:
    """The parent closes while its child works, another process commits, and the child goes on and ends."""
    elsewhere = Elsewhere(location)
    kb = Store.open(location, author="parent")
    put(kb, "parent", 1)
    told, telling = os.pipe()
    closed, closing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(HANGS_S)
        put(kb, "child", 1)
        os.write(telling, b"1" if holds(location) else b"0")
        os.read(closed, 1)
        put(kb, "child", 2)
        put(kb, "child", 3)
        end(how, kb)
    say("locked", os.read(told, 1).decode())
    kb.close()
    elsewhere()
    os.write(closing, b"x")
    os.waitpid(child, 0)


def child_ends_first(location: str, how: str) -> None:
    """The child ends, another process commits, and the parent goes on: it kept its lock or took it again."""
    elsewhere = Elsewhere(location)
    kb = Store.open(location, author="parent")
    put(kb, "parent", 1)
    child = os.fork()
    if child == 0:
        signal.alarm(HANGS_S)
        put(kb, "child", 1)
        end(how, kb)
    os.waitpid(child, 0)
    put(kb, "parent", 2)
    say("locked", int(holds(location)))
    elsewhere()
    put(kb, "parent", 3)
    kb.close()


def unused_child(location: str, how: str) -> None:
    """The child never uses what it inherited, and ends after others committed: it writes nothing."""
    elsewhere = Elsewhere(location)
    kb = Store.open(location, author="parent")
    put(kb, "parent", 1)
    closed, closing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(HANGS_S)
        os.read(closed, 1)
        end(how, kb)
    put(kb, "parent", 2)
    kb.close()
    elsewhere()
    os.write(closing, b"x")
    os.waitpid(child, 0)
    elsewhere()


def several_handles(location: str) -> None:
    """Two handles and a read-only one, opened through two names, go over a fork; all are used on both sides."""
    elsewhere = Elsewhere(location)
    link = Path(location).with_name("link.db")
    link.symlink_to(location)
    first, second = Store.open(location, author="parent"), Store.open(link, author="parent")
    reader = Store.open(location, read_only=True)
    put(first, "parent", 1)
    put(second, "parent", 2)
    told, telling = os.pipe()
    go, going = os.pipe()

    def act() -> None:
        put(first, "child", 1)
        second.close()
        os.write(telling, b"x")
        os.read(go, 1)
        put(first, "child", 2)
        say("seen", len(reader.get("/child")), len(reader.get("/parent")))

    child = forked(act)
    os.read(told, 1)
    put(second, "parent", 3)
    first.close()
    reader.close()
    second.close()
    elsewhere()
    os.write(going, b"x")
    ended(child)
    link.unlink()


def generations(location: str) -> None:
    """A child forks a child, three deep; each goes on after its own child, and closes before its parent."""
    kb = Store.open(location, author="parent")

    def live(depth: int) -> None:
        put(kb, "child", depth)
        if depth < 3:
            ended(forked(lambda: live(depth + 1)))
        put(kb, "child", 10 + depth)
        kb.close()

    live(0)


def half_read(location: str) -> None:
    """A list of versions is half read when the process forks; both sides read the rest."""
    kb = Store.open(location, author="parent")
    for n in range(1, 300):
        put(kb, "parent", n)
    versions = kb.log()
    for _ in range(100):
        next(versions)
    child = forked(lambda: say("rest", len(list(versions))))
    say("rest", len(list(versions)))
    ended(child)
    kb.close()


def within_progress(location: str) -> None:
    """The callback of `verify` forks, and the child commits; the verification goes on to its end."""
    kb = Store.open(location, author="parent")
    for n in range(1, 10):
        put(kb, "parent", n)
    children: list[int] = []

    def fork(done: int, total: int) -> None:
        if len(children) < 3:
            children.append(forked(lambda: put(kb, "child", done)))

    say("sound", kb.verify(progress=fork).ok, len(children) > 0)
    for child in children:
        ended(child)
    kb.close()


def programs_started(location: str) -> None:
    """Other programs are started beside commits, with and without Python code between fork and exec."""
    elsewhere = Elsewhere(location)
    kb = Store.open(location, author="parent")
    for n in range(1, 5):
        put(kb, "parent", n)
        subprocess.run(["true"], check=True, preexec_fn=(lambda: None) if n % 2 else None)
        elsewhere(1)
    say("locked", int(holds(location)))
    kb.close()


# ---- servers, threads and pools ------------------------------------------------------------------------------------


def prefork(location: str, children: int, commits: int) -> None:
    """A server that loads its store, forks its workers and closes; the workers end in every way there is."""
    elsewhere = Elsewhere(location)
    kb = Store.open(location, author="parent")
    put(kb, "parent", 1)
    pids = []
    for number in range(children):
        child = os.fork()
        if child == 0:
            signal.alarm(HANGS_S)
            for n in range(commits):
                put(kb, "child", f"{number}-{n}")
            end(("_exit", "sys.exit", "exception", "close")[number % 4], kb)
        pids.append(child)
    put(kb, "parent", 2)
    kb.close()
    for child in pids:
        elsewhere(1)
        os.waitpid(child, 0)


def _committing(kb: Store, member: str, stop: threading.Event) -> threading.Thread:
    """Commit in a thread until told to stop."""

    def live() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            put(kb, member, n)

    thread = threading.Thread(target=live)
    thread.start()
    return thread


def beside_a_thread(location: str, forks: int) -> None:
    """A thread commits all the time while the main thread forks; each child commits at once."""
    kb = Store.open(location, author="parent")
    stop = threading.Event()
    thread = _committing(kb, "parent", stop)
    for n in range(1, forks + 1):
        ended(forked(lambda n=n: put(kb, "child", n)))  # type: ignore[misc]
    stop.set()
    thread.join()
    kb.close()


def from_a_thread(location: str, forks: int) -> None:
    """Threads fork while the main thread commits; what the main thread held is free in each child."""
    kb = Store.open(location, author="parent")

    def fork(number: int) -> None:
        for n in range(forks):
            ended(forked(lambda n=n: put(kb, "child", f"{number}-{n}")))  # type: ignore[misc]

    threads = [threading.Thread(target=fork, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    n = 0
    while any(thread.is_alive() for thread in threads):
        n += 1
        put(kb, "parent", n)
    kb.close()


POOLED: list[Store] = []


def _pooled(number: int) -> int:
    put(POOLED[0], "child", number)
    return number


def pool(location: str, tasks: int) -> None:
    """A pool of forked processes, replaced every few tasks, works on the store that its parent opened and uses."""
    kb = Store.open(location, author="parent")
    POOLED.append(kb)
    put(kb, "parent", 1)
    with multiprocessing.get_context("fork").Pool(3, maxtasksperchild=4) as workers:
        done = workers.map_async(_pooled, range(tasks), chunksize=1)
        n = 1
        while not done.ready():
            n += 1
            put(kb, "parent", n)
        say("done", len(done.get()))
        workers.close()
        workers.join()
    kb.close()


def beside_a_waiting_thread(location: str) -> None:
    """A thread waits for the file, which another program keeps locked, while the process forks.

    The parent goes on at once. The child, whose SQLite believes that it holds the parent's locks, is refused: on the
    handle that it inherited, on a handle that it opens, and when it ends as any program does.
    """
    elsewhere = Elsewhere(location)
    kb, other = Store.open(location, author="parent"), Store.open(location, author="parent")
    put(kb, "parent", 1)
    keeper = subprocess.Popen([sys.executable, "-c", KEEPER, location], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert keeper.stdout is not None
    keeper.stdout.readline()
    thread = threading.Thread(target=lambda: put(kb, "parent", 2))
    thread.start()
    time.sleep(0.5)  # so that it waits inside SQLite
    go, going = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(HANGS_S)
        for act in (kb.head, other.head, lambda: Store.open(location)):
            _try(act)  # type: ignore[arg-type]
        say("tried")
        os.read(go, 1)
        for act in (lambda: put(kb, "child", 1), lambda: put(other, "child", 2)):
            _try(act)
        sys.exit(0)
    say("forked")
    keeper.kill()
    keeper.communicate()
    thread.join()
    put(kb, "parent", 3)
    kb.close()
    other.close()
    elsewhere()
    os.write(going, b"x")
    ended(child)
    elsewhere()


def _try(act: Callable[[], object]) -> None:
    try:
        found = act()
        say("served")
        if isinstance(found, Store):
            found.close()
    except KBStoreError as error:
        say("refused", type(error).__name__, error)


# ---- a fork that Python does not see -------------------------------------------------------------------------------


def fork_in_c() -> int:
    """Fork as a server written in C does: no hook of Python's is called, and the child runs on."""
    return int(ctypes.PyDLL(None).fork())


def unseen(location: str, use: str) -> None:
    """A child of such a fork uses what it inherited, opens the store anew, or neither, and ends as programs do."""
    elsewhere = Elsewhere(location)
    kb = Store.open(location, author="parent")
    put(kb, "parent", 1)
    told, telling = os.pipe()
    closed, closing = os.pipe()
    child = fork_in_c()
    if child == 0:
        signal.alarm(HANGS_S)
        if use == "inherited":
            _try(kb.head)
            _try(lambda: put(kb, "child", 1))
        anew: list[Store] = []
        if use == "anew":
            _try(lambda: anew.append(Store.open(location, author="child")))
            for each in anew:
                _try(lambda each=each: put(each, "child", 1))  # type: ignore[misc]
        if use == "closed":
            with contextlib.suppress(KBStoreError):
                kb.close()
        os.write(telling, b"x")
        os.read(closed, 1)
        if use == "inherited":
            _try(lambda: put(kb, "child", 2))
        for each in anew:
            _try(lambda each=each: put(each, "child", 2))  # type: ignore[misc]
            _try(lambda each=each: put(each, "child", 3))  # type: ignore[misc]
        sys.exit(0)
    os.read(told, 1)
    say("locked", int(holds(location)))
    put(kb, "parent", 2)
    elsewhere()
    kb.close()
    elsewhere()
    os.write(closing, b"x")
    ended(child)
    elsewhere()


def opened_after(location: str) -> None:
    """A server in C whose workers open the store after the fork: each has its own, and nothing is refused."""
    from kbstore.store import Store as Loaded  # the parent has loaded all that there is, and opened nothing

    children = []
    for number in range(3):
        child = fork_in_c()
        if child == 0:
            with Loaded.open(location, author="child") as kb:
                for n in range(10):
                    put(kb, "child", f"{number}-{n}")
            sys.exit(0)
        children.append(child)
    for child in children:
        ended(child)


ROLES: dict[str, Callable[..., None]] = {
    role.__name__: role
    for role in (
        parent_closes_first, child_ends_first, unused_child, several_handles, generations, half_read, within_progress,
        programs_started, prefork, beside_a_thread, from_a_thread, pool, beside_a_waiting_thread, unseen, opened_after,
    )
}  # fmt: skip

if __name__ == "__main__":
    main(ROLES)
