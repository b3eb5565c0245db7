"""The only place that reads the time or makes random names, so that tests can replace both."""

import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Protocol

from kbstore.kit.errors import KBStoreError

MOST_AHEAD = timedelta(hours=24)
"""The largest accepted error of a clock. Later dates from elsewhere are refused; in this store they cause a note."""
_AWARE = "give a datetime with a time zone, as datetime(2025, 1, 27, 12, tzinfo=UTC)"


class Clock(Protocol):
    """A source of times and random names for a store."""

    def now(self) -> datetime:
        """Return the present, in UTC."""
        ...

    def token(self) -> str:
        """Return a new random name: 16 characters of ``[0-9a-f]``."""
        ...


class SystemClock:
    """The machine's clock and random source."""

    def now(self) -> datetime:
        """Return the present, in UTC."""
        return datetime.fromtimestamp(time.time(), UTC)

    def token(self) -> str:
        """Return a new random name: 16 characters of ``[0-9a-f]``."""
        return secrets.token_hex(8)


def check_moment(moment: object, name: str) -> None:
    """Refuse a value that is not a moment: a time without an offset differs from machine to machine.

    Args:
        moment: The value from a caller.
        name: The name of the argument.

    Raises:
        KBStoreError: The value is not a datetime, has no time zone, or is not a year from 1 to 9999 in UTC.
    """
    if not isinstance(moment, datetime):
        raise KBStoreError(f"{name} is a {type(moment).__name__}, not a datetime", hint=_AWARE)
    if moment.utcoffset() is None:
        raise KBStoreError(f"{name} has no time zone", hint=_AWARE)
    try:
        moment.astimezone(UTC)
    except OverflowError:
        raise KBStoreError(f"{name} is not a year from 1 to 9999 in UTC", hint=_AWARE) from None


def monotonic() -> float:
    """Return seconds for deadlines. The clock never goes back; its values have no meaning outside of this process."""
    return time.monotonic()


LONGEST_S = 60.0
"""Time limit for repeated attempts against competing writers."""


def attempts(most: int) -> Iterator[int]:
    """Yield the numbers of attempts, at most `most`, and no further attempt after `LONGEST_S`."""
    begun = monotonic()
    for number in range(most):
        if number and monotonic() - begun > LONGEST_S:
            return
        yield number


_SHORTEST_PAUSE_S = 0.002
_LONGEST_PAUSE_S = 1.0


def pause(attempt: int) -> None:
    """Wait a random time before repeating a failed attempt, so that competing writers do not collide again."""
    longest = min(_SHORTEST_PAUSE_S * 2.0**attempt, _LONGEST_PAUSE_S)
    time.sleep(longest * secrets.randbelow(1000) / 1000)


def format_time(moment: datetime) -> str:
    """Return a time as RFC 3339 in UTC with microseconds: the form in events."""
    # strftime would write the year 900 with three digits on some systems.
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_time(text: str) -> datetime:
    """Return the moment of an RFC 3339 or ISO 8601 text; without an offset in UTC, a bare date at 00:00.

    Raises:
        ValueError: The text is not a moment.
    """
    moment = datetime.fromisoformat(text)
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is not a year from 1 to 9999 in UTC") from None
