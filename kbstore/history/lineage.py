"""Find the log of a branch's version in few steps, however branches were started from each other.

A line goes from a branch to the branch before, and so on. A walk through a thousand branches in a row would take a
million steps if each line were walked alone. So each branch also knows an ancestor far behind (the jump pointers of a
skew-binary list), and the number of steps grows with the logarithm of the branches in between.
"""

from collections.abc import Iterator, Mapping

from kbstore.errors import RevisionError
from kbstore.history.branch import MAIN_BRANCH, MAIN_LOG
from kbstore.history.refs import LIST_BRANCHES, RefEvent

Place = tuple[str, int]
"""A log, and the number of a record in the log."""


class _Start:
    """A branch: the log, the offset before the first own version, and the branch before."""

    __slots__ = ("before", "depth", "far", "log", "offset")

    def __init__(self, log: str, offset: int, before: "_Start | None") -> None:
        self.log = log
        self.offset = offset
        self.before = before
        self.depth = 0
        self.far = self
        if before is not None:
            self.depth = before.depth + 1
            even = before.depth - before.far.depth == before.far.depth - before.far.far.depth
            self.far = before.far.far if even else before


class Lineage:
    """The branches of a store, and how branches were started from each other.

    Args:
        branches: The change that started each branch; a branch from an unknown branch is left out.
    """

    def __init__(self, branches: Mapping[str, RefEvent]) -> None:
        self._starts = {MAIN_BRANCH: _Start(MAIN_LOG, 0, None)}
        for event in sorted(branches.values(), key=lambda event: event.seq):
            origin = self._starts.get(event.branch)
            if origin is not None and event.log is not None:
                before = self._holder(origin, event.version)
                self._starts[event.name] = _Start(event.log, event.version, before)

    def __iter__(self) -> Iterator[str]:
        """Yield the main branch, then every other branch after the branch before."""
        return iter(self._starts)

    def own(self, branch: str) -> tuple[str, int]:
        """Return the log with a branch's own versions, and the version before the first own version."""
        start = self._starts[branch]
        return start.log, start.offset

    def start(self, branch: str) -> Place | None:
        """Return the place of the version that a branch was started from; None for the main branch."""
        start = self._starts[branch]
        return (start.before.log, start.offset - start.before.offset) if start.before is not None else None

    def place(self, branch: str, seq: int) -> Place:
        """Return the place of a version of a branch, even if the version does not exist yet.

        Raises:
            RevisionError: There is no such branch, or the version is before the first.
        """
        if branch not in self._starts:
            raise RevisionError(f"there is no branch {branch!r}", hint=LIST_BRANCHES)
        holder = self._holder(self._starts[branch], seq)
        return holder.log, seq - holder.offset

    def _holder(self, start: _Start, seq: int) -> _Start:
        """Return the newest branch on a line with own versions that begin before a version."""
        while start.offset >= seq:
            if start.before is None:
                raise RevisionError(f"there is no version {seq}", hint="the first one is v1")
            start = start.far if start.far.offset >= seq else start.before
        return start
