"""Forks: what a child must not take along from its parent, and how both go on.

Two kinds of object do not survive a fork as they are:

*Locks and threads.* A lock that another thread held is held for ever in the child, and what it guarded may be half
changed. Such an object starts afresh in the child (`tell_of_forks`).

*SQLite connections.* SQLite remembers in the process which locks it has on a file, and a child inherits that memory
without the locks: its own connections then believe to be protected and are not, and acknowledged commits are lost
(https://www.sqlite.org/howtocorrupt.html, section 2.6). So a connection is closed before the fork and opened again at
its next use, in both processes (`close_before_forks`). A connection that is in use for longer than `WAIT_S` cannot be
closed; the child then refuses to use it.
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, Protocol, TypeVar
from weakref import ref

_T = TypeVar("_T")

WAIT_S = 1.0
"""How long a fork waits, at most, for the calls of other threads to end."""

_FIRST_SWEEP = 32


class Forked(Protocol):
    """An object that starts afresh in a child."""

    def after_fork(self) -> None:
        """Start afresh. Called in the child, which has one thread yet; it must not wait for anything."""
        ...


class Parting(Protocol):
    """An object that lets go of something before a fork, under its own lock."""

    @property
    def lock(self) -> threading.RLock:
        """The lock under which the object is used."""
        ...

    def before_fork(self) -> bool:
        """Let go. Called in the parent with the lock held; False if this thread itself is in the middle of a use."""
        ...

    def after_fork(self, *, parted: bool) -> None:
        """Start afresh. Called in the child; `parted` is False if the object could not let go before the fork."""
        ...


class Registry(Generic[_T]):
    """Objects that are in use, without keeping them so.

    Unlike a WeakSet it has no callback, in which a signal's exception would be lost, and it is copied in one step.
    """

    def __init__(self) -> None:
        self._references: list[ref[_T]] = []
        self._most = _FIRST_SWEEP
        self._adding = threading.RLock()

    def add(self, one: _T) -> None:
        """Note an object, and forget those that are gone."""
        with self._adding:
            if len(self._references) >= self._most:
                self._references = [known for known in self._references if known() is not None]
                self._most = max(_FIRST_SWEEP, 2 * len(self._references))
            self._references.append(ref(one))

    def after_fork(self) -> None:
        """Take a lock that no thread of the parent holds."""
        self._adding = threading.RLock()

    def alive(self) -> list[_T]:
        """Return the objects that are still in use."""
        return [one for reference in self._references if (one := reference()) is not None]


class _Fork(threading.local):
    """A fork that is under way in this thread: several threads may fork at once.

    Attributes:
        held: Objects whose lock is held, or was to be.
        kept: Ids of those that could not let go.
    """

    def __init__(self) -> None:
        self.held: list[Parting] = []
        self.kept: set[int] = set()


_told: Registry[Forked] = Registry()
_parting: Registry[Parting] = Registry()
_fork = _Fork()
_home = os.getpid()
_forked = False


def tell_of_forks(one: Forked) -> None:
    """Call `after_fork` of this object in each child, as long as the object is in use."""
    _told.add(one)


def close_before_forks(one: Parting) -> None:
    """Call `before_fork` of this object before each fork, and `after_fork` in each child."""
    _parting.add(one)


def parting() -> list[Parting]:
    """Return the objects that are called before forks."""
    return _parting.alive()


def was_forked() -> bool:
    """Return whether this process is the child of a fork, also of one in C, since this module was imported."""
    return _forked or os.getpid() != _home


def leak(value: object) -> None:
    """Keep a value for as long as the process lives, also while the interpreter ends.

    For connections that a child inherited: closing one would write the parent's half-done work into the file.
    """
    import ctypes  # only a child of an unlucky fork needs it

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))


def _before_fork() -> None:
    end = time.monotonic() + WAIT_S
    _fork.held.clear()
    _fork.kept.clear()
    for one in _parting.alive():
        parted = False
        # Noted before the lock is taken: a signal's exception in between must not leave it locked.
        _fork.held.append(one)
        with suppress(Exception):
            if one.lock.acquire(timeout=max(0.0, end - time.monotonic())):
                parted = one.before_fork()
        if not parted:
            _fork.kept.add(id(one))


def _after_fork_in_parent() -> None:
    for one in _fork.held:
        with suppress(RuntimeError):  # the lock was not had in time
            one.lock.release()
    _fork.held.clear()
    _fork.kept.clear()


def _after_fork_in_child() -> None:
    global _forked
    _forked = True
    _told.after_fork()
    _parting.after_fork()
    for one in _fork.held:
        one.after_fork(parted=id(one) not in _fork.kept)
    _fork.held.clear()
    _fork.kept.clear()
    for other in _told.alive():
        other.after_fork()


if hasattr(os, "register_at_fork"):  # elsewhere nobody forks
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


class Guard:
    """A lock that its thread may take again, and that is free in a child: ``with guard.lock(): ...``.

    The lock itself is the interpreter's own. A class in Python with ``__enter__`` and ``__exit__`` has moments in
    which a signal's exception leaves the lock taken; the interpreter's has none.

    Args:
        renew: Called by the first who takes the lock in a child, before anything else is done under it.
    """

    def __init__(self, renew: Callable[[], None]) -> None:
        self._lock = threading.RLock()
        self._renew = renew
        self._stale = False
        tell_of_forks(self)

    def after_fork(self) -> None:
        """See `Forked`."""
        self._lock = threading.RLock()
        self._stale = True

    def lock(self) -> threading.RLock:
        """Return the lock, fit for use in this process."""
        if self._stale:
            with self._lock:
                if self._stale:
                    self._renew()
                    self._stale = False
        return self._lock
