"""Says in which log a version of a branch stands, in few steps however branches were started from one another.

A line is walked from a branch to the one that it was started from, and so on; a thousand branches in a row would cost
a million steps if each were walked on its own. Each branch therefore knows an ancestor far behind as well (the jump
pointers of a skew-binary list), so the place of a version is found in a number of steps that grows with the logarithm
of how many branches lie between.
"""

from collections.abc import Iterator, Mapping

from kbstore.errors import RevisionError
from kbstore.history.branch import MAIN_BRANCH, MAIN_LOG
from kbstore.history.refs import RefEvent

Place = tuple[str, int]
"""A log, and the number of a record in it."""


class _Start:
    """A branch: its log, the version that it begins behind, and where the line goes on before that."""

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
    """The branches of a store, and how they were started from one another.

    Args:
        branches: The change that started each branch; one whose origin is not among them is left out.
    """

    def __init__(self, branches: Mapping[str, RefEvent]) -> None:
        self._starts = {MAIN_BRANCH: _Start(MAIN_LOG, 0, None)}
        for event in sorted(branches.values(), key=lambda event: event.seq):
            origin = self._starts.get(event.branch)
            if origin is not None and event.log is not None:
                before = self._holder(origin, event.version)
                self._starts[event.name] = _Start(event.log, event.version, before)

    def __iter__(self) -> Iterator[str]:
        """The main branch, then each other one behind that which it was started from."""
        return iter(self._starts)

    def own(self, branch: str) -> tuple[str, int]:
        """Return the log that holds a branch's own versions, and the version that they begin behind."""
        start = self._starts[branch]
        return start.log, start.offset

    def start(self, branch: str) -> Place | None:
        """Return where the version stands that a branch was started from; None for the main branch."""
        start = self._starts[branch]
        return (start.before.log, start.offset - start.before.offset) if start.before is not None else None

    def place(self, branch: str, seq: int) -> Place:
        """Return where a version of a branch stands, be it there or not.

        Raises:
            RevisionError: There is no such branch, or no such version.
        """
        if branch not in self._starts:
            raise RevisionError(f"there is no branch {branch!r}", hint="list them with: kbstore branch")
        holder = self._holder(self._starts[branch], seq)
        return holder.log, seq - holder.offset

    def _holder(self, start: _Start, seq: int) -> _Start:
        """The newest branch on the line of this one whose own versions begin before a version."""
        while start.offset >= seq:
            if start.before is None:
                raise RevisionError(f"there is no version {seq}", hint="the first one is v1")
            start = start.far if start.far.offset >= seq else start.before
        return start
