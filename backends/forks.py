"""What a fork does not take along: the threads of the parent, and so whatever they held or were about to finish.

A lock that another thread held is held for ever in the child, and what it guarded may be half changed. So whatever
keeps a lock or a thread is told in the child, before anything else happens there, and starts afresh.
"""

import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Protocol
from weakref import WeakSet


class Forked(Protocol):
    """Something that does not survive a fork as it is."""

    def after_fork(self) -> None:
        """Start afresh. Called in the child, which has one thread yet; it must not wait for anything."""
        ...


_told: WeakSet[Forked] = WeakSet()


def tell_of_forks(one: Forked) -> None:
    """Let `after_fork` of this object be called in each child, as long as it is in use."""
    _told.add(one)


def _after_fork() -> None:
    for one in list(_told):
        one.after_fork()


if hasattr(os, "register_at_fork"):  # elsewhere nobody forks
    os.register_at_fork(after_in_child=_after_fork)


class Guard:
    """A lock that its thread may take again, for a ``with`` block, and that is free in a child.

    Args:
        renew: Called by the first who takes it in a child, before anything else is done under it.
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

    def __enter__(self) -> None:
        self._lock.acquire()
        if self._stale:
            self._stale = False
            try:
                self._renew()
            except BaseException:
                self._stale = True
                self._lock.release()
                raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
