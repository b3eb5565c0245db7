"""The base of a change without a named base: the newest version seen by the thread.

A document from `checkout` remembers the version (`kbstore.jsondoc.document`). A document read from a file or built anew
is compared with the newest version that *this thread* has seen or committed on this handle. So a thread's document does
not undo the commit of another thread.
"""

import threading
from collections.abc import Callable

from kbstore.jsondoc.document import Base


class _Own(threading.local):
    """Data of a single thread. A later thread has separate data, even under the same thread number.

    Attributes:
        base: The newest version seen by the thread.
        run: Used before the thread has seen a version: the version under the thread's first patch, and the last version
            of the consecutive patches from there, without a change by others in between.
    """

    base: Base | None = None
    run: tuple[int, Base] | None = None


class Seen:
    """The newest version that each thread has seen or committed on a handle.

    Args:
        opened: Returns the version at the opening of the handle. Called at the first need, since on a bucket the call
            may wait.
    """

    def __init__(self, opened: Callable[[], int]) -> None:
        self._own = _Own()
        self._look = opened
        self._opened: int | None = None

    def newest(self) -> Base:
        """Return the newest version seen by this thread; before the first, the version at the opening of the handle.

        The id is empty if only the number is known.
        """
        own = self._own
        if own.base is None:
            if self._opened is None:
                self._opened = self._look()
            patched = own.run is not None and own.run[0] <= self._opened <= own.run[1].seq
            own.base = own.run[1] if own.run is not None and patched else Base(self._opened, "")
        return own.base

    def saw(self, base: Base) -> None:
        """Note that this thread has seen a version, unless the thread has seen a newer version."""
        if self._own.base is None or base.seq >= self._own.base.seq:
            self._own.base = base

    def patched(self, before: int, base: Base) -> None:
        """Note that a patch of this thread led from `before` to `base`; `base` counts as seen if `before` was seen.

        This does not wait, since the patch has landed.
        """
        own = self._own
        if own.base is not None:
            if own.base.seq == before and own.base.content is None:
                own.base = base
        elif own.run is None or own.run[1].seq == before:
            own.run = (before if own.run is None else own.run[0], base)

    def renew(self, opened: Callable[[], int]) -> None:
        """Take over in a child of the process: the only thread there has seen the versions of the forking thread."""
        if self._opened is None:
            self._look = opened
