"""Other clocks to compare with this machine's clock."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from kbstore.health.context import Context
from kbstore.health.errors import NotConfigured
from kbstore.kit.errors import KBStoreError
from kbstore.migrator.errors import MigrationError

# An SQLite file has no clock of its own.
_EPOCH = {
    "postgresql": "SELECT extract(epoch FROM clock_timestamp())::double precision",
    "mysql": "SELECT unix_timestamp(now(6))",
}


class Time(NamedTuple):
    """The times on two clocks at the same moment.

    Attributes:
        name: Owner of the other clock.
        here: Time on our clock.
        there: Time on the other clock.
        only_ahead: True if the other clock is wrong only when ahead of ours.
    """

    name: str
    here: datetime
    there: datetime
    only_ahead: bool = False


def times(ctx: Context) -> list[Time]:
    """Return the times of other clocks; skip clocks that cannot be reached, since other checks report that."""
    found = []
    for ask in (_newest_version, _s3, _database):
        try:
            if (time := ask(ctx)) is not None:
                found.append(time)
        except (NotConfigured, KBStoreError, MigrationError):
            continue
    return found


def _newest_version(ctx: Context) -> Time | None:
    with ctx.open_store() as store:
        newest = store.head()
    if newest.time is None:
        return None
    return Time("the newest version", ctx.clock.now(), newest.time, only_ahead=True)


def _s3(ctx: Context) -> Time | None:
    from kbstore.health.checks.s3 import open_client

    with open_client(ctx) as client:
        from kbstore.backends.s3.transport.bucket import server_time

        before = ctx.clock.now()
        there = server_time(client)
        after = ctx.clock.now()
    # The server answers in whole seconds: the true moment is anywhere within that second.
    return Time("S3", before + (after - before) / 2, there + timedelta(seconds=0.5))


def _database(ctx: Context) -> Time | None:
    from kbstore.health.checks.database import open_engine

    with open_engine(ctx) as engine:
        sql = _EPOCH.get(engine.dialect)
        if sql is None:
            return None
        before = ctx.clock.now()
        ((epoch_s,),) = engine.query(sql)
        after = ctx.clock.now()
    return Time("the database", before + (after - before) / 2, datetime.fromtimestamp(float(epoch_s), UTC))
