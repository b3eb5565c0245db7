"""The only place in migrator that reads the time or waits, so that tests can replace the clock."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A source of the time, and a way to wait."""

    def now(self) -> datetime:
        """Return the present, in UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Return after this time."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present, in UTC."""
        return datetime.fromtimestamp(time.time(), UTC)

    def sleep(self, seconds: float) -> None:
        """Return after this time."""
        time.sleep(seconds)


def format_time(moment: datetime) -> str:
    """Return a time as RFC 3339 in UTC with microseconds: the form of output, and of times in SQLite."""
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def elapsed_ms(since: float) -> int:
    """Return the whole milliseconds since a reading of `stopwatch`."""
    return round((stopwatch() - since) * 1000)


stopwatch = time.perf_counter
