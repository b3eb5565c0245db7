"""The only place that asks for the time or for randomness, so that tests can give their own."""

import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Protocol

from kbstore.kit.errors import KBStoreError

MOST_AHEAD = timedelta(hours=24)
"""A clock may be wrong by so much; what is dated later is not taken in from elsewhere, and noted where it is."""
_AWARE = "give a datetime with a time zone, as datetime(2025, 1, 27, 12, tzinfo=UTC)"


class Clock(Protocol):
    """Where a store gets the time and random names from."""

    def now(self) -> datetime:
        """The present, in UTC."""
        ...

    def token(self) -> str:
        """A new random name: 16 characters of ``[0-9a-f]``."""
        ...


class SystemClock:
    """The machine's clock and random source."""

    def now(self) -> datetime:
        """The present, in UTC."""
        return datetime.fromtimestamp(time.time(), UTC)

    def token(self) -> str:
        """A new random name: 16 characters of ``[0-9a-f]``."""
        return secrets.token_hex(8)


def check_moment(moment: object, name: str) -> None:
    """Refuse what names no moment: a time without an offset is another one on every machine.

    Args:
        moment: What a caller gave.
        name: The argument that it was given as.

    Raises:
        KBStoreError: It is no datetime, or one without a time zone.
    """
    if not isinstance(moment, datetime):
        raise KBStoreError(f"{name} is a {type(moment).__name__}, not a datetime", hint=_AWARE)
    if moment.utcoffset() is None:
        raise KBStoreError(f"{name} has no time zone", hint=_AWARE)


def monotonic() -> float:
    """Seconds since some moment, for deadlines; never goes back, and is never written down."""
    return time.monotonic()


LONGEST_S = 60.0
"""How long anything is tried that others keep winning."""


def attempts(most: int) -> Iterator[int]:
    """Counts tries: at most so many, and no further one once `LONGEST_S` are over."""
    begun = monotonic()
    for number in range(most):
        if number and monotonic() - begun > LONGEST_S:
            return
        yield number


_SHORTEST_PAUSE_S = 0.002
_LONGEST_PAUSE_S = 1.0


def pause(attempt: int) -> None:
    """Wait before what failed for the `attempt`-th time is tried again: at random, so that rivals do not meet again."""
    longest = min(_SHORTEST_PAUSE_S * 2.0**attempt, _LONGEST_PAUSE_S)
    time.sleep(longest * secrets.randbelow(1000) / 1000)


def format_time(moment: datetime) -> str:
    """RFC 3339, UTC, microseconds: what events carry."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """The moment that an RFC 3339 or ISO 8601 text names; without an offset it is UTC, a bare date is 00:00.

    Raises:
        ValueError: It names none.
    """
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
