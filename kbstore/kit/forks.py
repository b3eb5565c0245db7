"""Forks: objects that a child process must not inherit, and how parent and child continue.

Two kinds of object do not survive a fork unchanged:

*Locks and threads.* A lock held by another thread stays locked in the child for ever, and the protected data may be
half changed. Such an object starts afresh in the child (`tell_of_forks`).

*SQLite connections.* SQLite keeps a list of its locks on a file in the process. A child inherits the list without the
locks: the child's own connections then work without protection, and acknowledged commits are lost
(https://www.sqlite.org/howtocorrupt.html, section 2.6). So a connection is closed before the fork and opened again at
the next use, in both processes (`close_before_forks`). A connection that is in use for longer than `WAIT_S` cannot be
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
"""The longest time in seconds that a fork waits for the end of calls in other threads."""

_FIRST_SWEEP = 32


class Forked(Protocol):
    """An object that starts afresh in a child."""

    def after_fork(self) -> None:
        """Start afresh. Called in the child, which has only one thread so far; must not wait for anything."""
        ...


class Parting(Protocol):
    """An object that releases a resource before a fork, under its own lock."""

    @property
    def lock(self) -> threading.RLock:
        """The lock for every use of the object."""
        ...

    def before_fork(self) -> bool:
        """Release the resource; return False if this thread is using it. Called in the parent, with the lock held."""
        ...

    def after_fork(self, *, parted: bool) -> None:
        """Start afresh. Called in the child; `parted` is False if the object could not release before the fork."""
        ...


class Registry(Generic[_T]):
    """A list of objects in use, with weak references only.

    A WeakSet has a callback, and an exception of a signal in the callback would be lost. This list has no callback, and
    is copied in one step.
    """

    def __init__(self) -> None:
        self._references: list[ref[_T]] = []
        self._most = _FIRST_SWEEP
        self._adding = threading.RLock()

    def add(self, one: _T) -> None:
        """Add an object, and remove dead objects."""
        with self._adding:
            if len(self._references) >= self._most:
                self._references = [known for known in self._references if known() is not None]
                self._most = max(_FIRST_SWEEP, 2 * len(self._references))
            self._references.append(ref(one))

    def after_fork(self) -> None:
        """Replace the lock, since a thread of the parent may have held the old lock."""
        self._adding = threading.RLock()

    def alive(self) -> list[_T]:
        """Return the objects still in use."""
        return [one for reference in self._references if (one := reference()) is not None]


class _Fork(threading.local):
    """A fork in progress in this thread: several threads may fork at once.

    Attributes:
        held: Objects whose lock is held, or was requested.
        kept: Ids of the objects that could not release.
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
    """Keep a value for the lifetime of the process, including the end of the interpreter.

    For connections inherited by a child: closing such a connection would write the parent's half-done work into the
    file.
    """
    import ctypes  # only a child of an unlucky fork needs it

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))


def _before_fork() -> None:
    end = time.monotonic() + WAIT_S
    _fork.held.clear()
    _fork.kept.clear()
    for one in _parting.alive():
        parted = False
        # The object is listed before its lock is taken, so that an exception from a signal cannot leave it locked.
        _fork.held.append(one)
        with suppress(Exception):
            if one.lock.acquire(timeout=max(0.0, end - time.monotonic())):
                parted = one.before_fork()
        if not parted:
            _fork.kept.add(id(one))


def _after_fork_in_parent() -> None:
    for one in _fork.held:
        with suppress(RuntimeError):  # the lock was not taken in time
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


if hasattr(os, "register_at_fork"):  # other systems have no fork
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


class Guard:
    """A reentrant lock that is free in a child process: ``with guard.lock(): ...``.

    The lock itself is an `RLock` of the interpreter. In a Python class with ``__enter__`` and ``__exit__``, an
    exception of a signal can leave the lock taken; in the interpreter's lock it cannot.

    Args:
        renew: Called by the first user of the lock in a child, before any other work under the lock.
    """

    def __init__(self, renew: Callable[[], None]) -> None:
        self._lock = threading.RLock()
        self._renew = renew
        self._stale = False
        tell_of_forks(self)

    def after_fork(self) -> None:
        """Take a new lock, and call `renew` at the next use."""
        self._lock = threading.RLock()
        self._stale = True

    def lock(self) -> threading.RLock:
        """Return the lock, ready for use in this process."""
        if self._stale:
            with self._lock:
                if self._stale:
                    self._renew()
                    self._stale = False
        return self._lock
