"""Notes about the clock by which a version was dated: a wrong one is best seen by whoever commits.

The version lands all the same. Its `time` is never before that of its parent, so one clock that is ahead dates all
later versions, too; what their own clocks said is kept as `authored`.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from kbstore.kit.clock import format_time, parse_time

_BEHIND = timedelta(seconds=1)
"""Less says nothing: clocks of several machines differ by so much."""
_AHEAD = timedelta(days=30)
_OFF = timedelta(minutes=1)


class Dated(NamedTuple):
    """When this process made an event.

    Attributes:
        now: What this machine's clock said.
        parent: The time of the version before it; None for the first.
    """

    now: datetime
    parent: str | None


def clock_notes(dated: Dated, server: datetime | None) -> tuple[str, ...]:
    """Return what is remarkable about the clock that dated an event, a sentence each.

    Args:
        dated: When it was made.
        server: What the clock of the server says that keeps the store; None if there is no server, or if it is silent.
    """
    now, notes = dated.now, []
    parent = parse_time(dated.parent) if dated.parent is not None else now
    if now < parent - _BEHIND:
        notes.append(
            f"this machine's clock says {_shown(now)}, and the version before has the time {_shown(parent)}: "
            "the new one has that time, too, and its own as 'authored'"
        )
    elif server is None and now > parent + _AHEAD:
        notes.append(
            f"this machine's clock says {_shown(now)}, {(now - parent).days} days after the version before: "
            "if it is ahead, later versions will have no earlier time"
        )
    if server is not None and abs(now - server) > _OFF:
        seconds = round((now - server).total_seconds())
        way = "ahead of" if seconds > 0 else "behind"
        notes.append(f"this machine's clock is {abs(seconds):,} seconds {way} that of the server")
    return tuple(notes)


def _shown(moment: datetime) -> str:
    return f"{format_time(moment)[:19]}Z"
