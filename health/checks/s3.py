"""Checks of S3 as a store needs it: quick answers, one winner for each object, a bucket that forgets nothing."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kbstore.health.checks import built_in
from kbstore.health.context import Context
from kbstore.health.errors import NotConfigured
from kbstore.health.model import Result, Status

if TYPE_CHECKING:
    from kbstore.backends.s3.transport.client import Client

_PATIENCE_S = 5.0


@built_in(
    "s3.latency",
    tags={"ready"},
    timeout=20,
    impact="degraded",
    thresholds=("s3_samples", "s3_p95_degraded_s", "s3_p95_unhealthy_s"),
)
def latency(ctx: Context) -> Result:
    """Small requests are answered quickly: measured by the 95th percentile of a sample."""
    limits = ctx.thresholds
    with open_client(ctx) as client:
        from kbstore.backends.s3 import probe

        # The first request is not timed: it also opens the connection.
        probe.read_marker(client)
        taken = []
        for _ in range(limits.s3_samples):
            began = time.monotonic()
            probe.read_marker(client)
            taken.append(time.monotonic() - began)
        place = client.options.place
    p95_s = sorted(taken)[max(0, -(-len(taken) * 95 // 100) - 1)]
    status = Status.HEALTHY
    if p95_s >= limits.s3_p95_unhealthy_s:
        status = Status.UNHEALTHY
    elif p95_s >= limits.s3_p95_degraded_s:
        status = Status.DEGRADED
    hint = "look at the network between here and the server" if status is not Status.HEALTHY else None
    text = f"{place} answers in {p95_s * 1000:.0f} ms (95th percentile of {len(taken)})"
    return Result(status, text, metrics={"p95_s": p95_s}, hint=hint)


@built_in("s3.conditional", timeout=15, every=3600, needs=("s3.latency",), fall=1)
def conditional(ctx: Context) -> Result:
    """The server refuses to create the store's marker a second time; otherwise commits could be lost."""
    with open_client(ctx) as client:
        from kbstore.backends.s3 import probe

        probe.require_still(client)
    return Result.healthy("a second create of the same object is refused")


@built_in("s3.bucket", timeout=15, every=3600, needs=("s3.latency",))
def bucket(ctx: Context) -> Result:
    """The bucket keeps old versions of objects, and no lifecycle rule removes objects of the store.

    Options: ``versioning = "optional"`` if versioning is not wanted.
    """
    with open_client(ctx) as client:
        from kbstore.backends.s3.transport.bucket import read_bucket

        state = read_bucket(client)
        place = client.options.place
    if state.expiring:
        return Result.unhealthy(
            f"the lifecycle rule {state.expiring[0]!r} removes objects of {place} when they are old",
            hint="end it or narrow it: slots are truth, and are never to be removed",
            details={"rules": state.expiring},
        )
    told = {"versioning": state.versioning or "not told", "expiry": "none" if state.expiring == [] else "not told"}
    if state.versioning not in {None, "Enabled"} and ctx.options.get("versioning") != "optional":
        return Result.degraded(
            f"versioning of the bucket of {place} is {state.versioning.lower() if state.versioning else 'off'}",
            hint="enable it, so that a removed object can be brought back; or set the option versioning = 'optional'",
            details=told,
        )
    return Result.healthy(f"versioning: {told['versioning']}; expiry: {told['expiry']}", details=told)


@contextmanager
def open_client(ctx: Context) -> Iterator["Client"]:
    """Open a client for the store's bucket, with a shorter timeout than for a commit."""
    location = ctx.targets.store or ""
    if not location.startswith("s3:"):
        raise NotConfigured("no S3 store is configured")
    from dataclasses import replace

    from kbstore.backends.s3.transport.client import Client
    from kbstore.backends.s3.transport.clock import SystemChance
    from kbstore.backends.s3.transport.url import parse_location

    options = parse_location(location)
    client = Client(replace(options, timeout=min(options.timeout, _PATIENCE_S)), SystemChance())
    try:
        yield client
    finally:
        client.close()
