"""What the tests of the store share: an obedient clock, small documents, and a backend that loses answers."""

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kbstore.backends.base import Backend, Chunk, Record
from kbstore.history import snapshots
from kbstore.kit.errors import OutcomeUnknown, SlotTaken

START = datetime(2025, 1, 27, 12, 0, 0, tzinfo=UTC)


class Ticks:
    """A clock that goes on by a second at each look, and counts its tokens."""

    def __init__(self, start: datetime = START, step: timedelta = timedelta(seconds=1), prefix: int = 0) -> None:
        self.moment = start - step
        self.step = step
        self._tokens = itertools.count(prefix << 32)

    def now(self) -> datetime:
        """The next moment."""
        self.moment += self.step
        return self.moment

    def token(self) -> str:
        """The next token."""
        return f"{next(self._tokens):016x}"


class Interrupted:
    """A backend that passes everything on, and meddles with appends as `plan` says, one word an append.

    ``lost``: nothing is written and the outcome is unknown. ``unanswered``: it is written and the outcome is unknown.
    ``late``: it is written, and then reported as taken, as a repeated request would be. ``ok``: it is passed on.
    """

    def __init__(self, inner: Backend, plan: Sequence[str]) -> None:
        self._inner = inner
        self._plan: Iterator[str] = iter(plan)
        self.appends = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def append(
        self, log: str, slot: int, records: Sequence[Record], *, write_id: str, chunks: Sequence[Chunk] = ()
    ) -> None:
        """As planned."""
        self.appends += 1
        word = next(self._plan, "ok")
        if word != "lost":
            self._inner.append(log, slot, records, write_id=write_id, chunks=chunks)
        if word in ("lost", "unanswered"):
            raise OutcomeUnknown("the answer was lost", write_id=write_id)
        if word == "late":
            raise SlotTaken(f"slot {slot} exists")


class Beside:
    """A backend beside which another write lands, right behind the first search for a write id.

    Args:
        inner: The backend that everything is passed on to.
        other: Makes the other write.
        shares_slots: Whether the backend says that a slot takes several commits.
    """

    def __init__(self, inner: Backend, other: Callable[[], object], *, shares_slots: bool = False) -> None:
        self._inner = inner
        self._other: Callable[[], object] | None = other
        self.shares_slots = shares_slots

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def append(self, *args: Any, writes: object = (), **options: Any) -> None:
        """Append; in a slot that may be shared, there is one commit here."""
        self._inner.append(*args, **options)

    def find_write(self, log: str, write_id: str, *, after: int | None = None) -> tuple[int, int] | None:
        """Search, and then let the other write land, once."""
        found = self._inner.find_write(log, write_id, after=after)
        if self._other is not None:
            other, self._other = self._other, None
            other()
        return found


def articles(count: int, size: int = 1) -> dict[str, Any]:
    """A small knowledge base of so many articles."""
    return {
        "title": "Support",
        "problems": {
            f"p{n}": {"title": f"Problem {n}", "votes": 0, "steps": ["look", "ask"], "text": f"{n} " * size}
            for n in range(count)
        },
    }


def replacing(path: str, value: Any) -> list[dict[str, Any]]:
    """A patch of one replacement."""
    return [{"op": "replace", "path": path, "value": value}]


def exact(value: Any) -> str:
    """A text that is equal only for values that are the same JSON: 1, 1.0 and true have different ones."""
    return json.dumps(value, sort_keys=True)


def eager_snapshots(monkeypatch: pytest.MonkeyPatch, operations: float = 3) -> None:
    """Make snapshots of every tier happen within a handful of operations."""
    monkeypatch.setattr(snapshots, "_DENSE_AFTER_S", operations * snapshots.FOLD_TREE_S)
    monkeypatch.setattr(snapshots, "_DENSE_PER_MIDDLE", 2)
    monkeypatch.setattr(snapshots, "_COMPLETE_AT_LEAST_S", operations * 7 * snapshots.FOLD_PLAIN_S)
    monkeypatch.setattr(snapshots, "_COMPLETE_FRACTION", 0.0)
