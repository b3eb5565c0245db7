"""Notes about a wrong clock of a new version: the author of the commit can best notice and fix the clock.

The version lands anyway. Its `time` is never before the time of its parent, so one fast clock also moves the times of
all later versions; `authored` keeps the time of the later version's own clock.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from kbstore.kit.clock import format_time, parse_time

_BEHIND = timedelta(seconds=1)
"""A smaller difference is normal between the clocks of several machines."""
_AHEAD = timedelta(days=30)
_OFF = timedelta(minutes=1)


class Dated(NamedTuple):
    """The time when this process made an event.

    Attributes:
        now: The time of this machine's clock.
        parent: The time of the version before; `None` for the first version.
    """

    now: datetime
    parent: str | None


def clock_notes(dated: Dated, server: datetime | None) -> tuple[str, ...]:
    """Return notes about an unusual clock of an event, a sentence each.

    Args:
        dated: The time of the event.
        server: The time of the server that keeps the store; `None` without a server, or if the server gives no time.
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
