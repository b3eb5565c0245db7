"""The base of a change that names none: what its thread has seen of the store.

A document that was checked out remembers its own version (`kbstore.jsondoc.document`). One that was read from a file or
built anew is compared with the newest version that *this thread* has seen or committed on this handle, so that no
thread's document takes back what another thread has committed meanwhile.
"""

import threading
from collections.abc import Callable

from kbstore.jsondoc.document import Base


class _Own(threading.local):
    """What belongs to one thread; a thread that begins later has its own, also under the same number.

    Attributes:
        base: The newest version that it has seen.
        run: Before it has seen any: the version that its first patch was applied to, and the last one of its patches
            that followed each other, with nobody else's change between them.
    """

    base: Base | None = None
    run: tuple[int, Base] | None = None


class Seen:
    """The newest version that each thread has seen or committed on one handle.

    Args:
        opened: Gives the version at which the handle was opened; asked for when it is first needed, since on a bucket
            it may have to be waited for.
    """

    def __init__(self, opened: Callable[[], int]) -> None:
        self._own = _Own()
        self._look = opened
        self._opened: int | None = None

    def newest(self) -> Base:
        """Return the newest version that this thread has seen; before the first, that at which the handle was opened.

        Its id is empty if only the number is known.
        """
        own = self._own
        if own.base is None:
            if self._opened is None:
                self._opened = self._look()
            patched = own.run is not None and own.run[0] <= self._opened <= own.run[1].seq
            own.base = own.run[1] if own.run is not None and patched else Base(self._opened, "")
        return own.base

    def saw(self, base: Base) -> None:
        """Note that this thread has seen a version, unless it has seen a newer one."""
        if self._own.base is None or base.seq >= self._own.base.seq:
            self._own.base = base

    def patched(self, before: int, base: Base) -> None:
        """Note that a patch of this thread's led from version `before` to `base`, which it has seen if it saw that one.

        Nothing is waited for, since the patch has landed.
        """
        own = self._own
        if own.base is not None:
            if own.base.seq == before and own.base.content is None:
                own.base = base
        elif own.run is None or own.run[1].seq == before:
            own.run = (before if own.run is None else own.run[0], base)

    def renew(self, opened: Callable[[], int]) -> None:
        """Take over in a child of the process: its one thread has seen what the forking thread had."""
        if self._opened is None:
            self._look = opened
