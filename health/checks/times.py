"""Other clocks that this machine's can be compared with."""

from datetime import datetime
from typing import NamedTuple

from backends.errors import KBStoreError
from health.context import Context
from health.errors import NotConfigured


class Time(NamedTuple):
    """What two clocks showed at the same moment.

    Attributes:
        name: Whose clock the other is.
        here: What ours showed.
        there: What it showed.
        only_ahead: It is known only that the other must not be ahead of ours.
    """

    name: str
    here: datetime
    there: datetime
    only_ahead: bool = False


def times(ctx: Context) -> list[Time]:
    """What other clocks show, as far as they can be asked; that one cannot be reached is another check's matter."""
    found = []
    for ask in (_newest_version,):
        try:
            if (time := ask(ctx)) is not None:
                found.append(time)
        except (NotConfigured, KBStoreError):
            continue
    return found


def _newest_version(ctx: Context) -> Time | None:
    with ctx.open_store() as store:
        newest = store.head()
    if newest.time is None:
        return None
    return Time("the newest version", ctx.clock.now(), newest.time, only_ahead=True)
