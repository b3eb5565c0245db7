"""The only place of migrator that asks for the time, and that waits, so that tests can give their own."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where a migrator gets the time from, and how it waits."""

    def now(self) -> datetime:
        """The present, in UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Return after this time."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present, in UTC."""
        return datetime.fromtimestamp(time.time(), UTC)

    def sleep(self, seconds: float) -> None:
        """Return after this time."""
        time.sleep(seconds)


def format_time(moment: datetime) -> str:
    """RFC 3339, UTC, microseconds: as times are shown and as SQLite keeps them."""
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def elapsed_ms(since: float) -> int:
    """Whole milliseconds since a reading of `stopwatch`."""
    return round((stopwatch() - since) * 1000)


stopwatch = time.perf_counter
