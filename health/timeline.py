"""The last days as strips of one line: a sign for each stretch of time, showing its worst status."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from kbstore.health.model import Status
from kbstore.health.state import Past

_SIGNS = {Status.HEALTHY: "\u2581", Status.DEGRADED: "\u2584", Status.UNHEALTHY: "\u2588", Status.SKIPPED: "\u00b7"}
_NOTHING = " "
_COLORS = {"\u2581": "32", "\u2584": "33", "\u2588": "31", "\u00b7": "2"}

LEGEND = "\u2581 healthy  \u2584 degraded  \u2588 unhealthy  \u00b7 skipped  (blank: it did not run)"


def strips(past: Iterable[Past], now: datetime, days: float, columns: int) -> dict[str, str]:
    """Return a strip of `columns` signs for each check, the newest on the right.

    Args:
        past: Results, in any order.
        now: End of the strip.
        days: Days shown in the strip.
        columns: Number of signs.
    """
    begin = now - timedelta(days=days)
    cell_s = days * 86_400 / columns
    worst: dict[str, list[Status | None]] = {}
    for one in past:
        at = int((one.time - begin).total_seconds() / cell_s)
        if at < 0 or one.time > now:
            continue
        cells = worst.setdefault(one.name, [None] * columns)
        at = min(at, columns - 1)
        before = cells[at]
        cells[at] = one.status if before is None or one.status.rank > before.rank else before
    return {name: "".join(_NOTHING if s is None else _SIGNS[s] for s in cells) for name, cells in worst.items()}


def painted(strip: str) -> str:
    """Return a strip in colours."""
    return "".join(f"\x1b[{_COLORS[sign]}m{sign}\x1b[0m" if sign in _COLORS else sign for sign in strip)


def lines(strips_by_name: Mapping[str, str], days: float, *, color: bool = False) -> Iterator[str]:
    """Yield a line with the span of time, the strips, and a legend."""
    if not strips_by_name:
        yield "there is no history yet"
        return
    name_width = max(len(name) for name in strips_by_name)
    length = len(next(iter(strips_by_name.values())))
    left = f"{days:g} days ago"
    yield " " * (name_width + 2) + left + "now".rjust(length - len(left))
    for name, strip in strips_by_name.items():
        yield f"{name.ljust(name_width)}  {painted(strip) if color else strip}"
    yield ""
    yield LEGEND


def changes(past: Iterable[Past]) -> Iterator[Past]:
    """Yield the results at which the status changed, in order of time."""
    before: dict[str, Status] = {}
    for one in past:
        if before.get(one.name) is not one.status:
            before[one.name] = one.status
            yield one
