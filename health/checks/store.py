"""Checks of the store in use: opening, writing, reading, and the age of the newest version."""

from kbstore.health.checks import ago, built_in
from kbstore.health.context import Context
from kbstore.health.model import Result, Status, counted

PROBE = "health/probe"
"""Name of the only note that `store.write_probe` writes; it is a cache, and never in a log."""

_NEWEST = 10


@built_in("store.reachable", tags={"ready"}, timeout=5)
def reachable(ctx: Context) -> Result:
    """The store can be opened, and names its newest version."""
    with ctx.open_store() as store:
        head = store.head()
        return Result.healthy(
            f"{store.location}: {counted(head.seq, 'version')}, the newest is {head.name}",
            details={"location": store.location, "head": head.name},
            metrics={"versions_total": head.seq},
        )


@built_in("store.write_probe", tags={"ready"}, timeout=5, needs=("store.reachable",))
def write_probe(ctx: Context) -> Result:
    """A small note can be written and read back; it is always the same note, and not part of any history."""
    with ctx.open_store() as store:
        if store.backend.read_only:
            return Result.unhealthy(
                f"{store.location} can only be read",
                hint="a disk that failed is often mounted read-only; if this is meant, disable store.write_probe",
            )
        token = ctx.clock.token().encode()
        store.backend.put_note(PROBE, 0, token)
        found = dict(store.backend.notes(PROBE, 0, 0)).get(0)
        if found is None:
            return Result.unhealthy("what was written was not there when it was read back")
        return Result.healthy("written and read back")


@built_in("store.log_readable", tags={"ready"}, timeout=10, needs=("store.reachable",))
def log_readable(ctx: Context) -> Result:
    """The newest events can be read, and the patch of the newest event."""
    with ctx.open_store() as store:
        _, newest = store.line.tail()
        if not newest:
            return Result.healthy("there is no version yet")
        first = max(1, newest - _NEWEST + 1)
        count = sum(1 for _ in store.line.entries(first, newest))
        if count != newest - first + 1:
            return Result.unhealthy(f"of v{first} to v{newest} only {count} can be read", hint="run: kbstore verify")
        changes = len(store.version(f"v{newest}").patch)
        return Result.healthy(f"v{first} to v{newest} can be read", details={"operations_of_newest": changes})


@built_in(
    "store.head",
    tags={"ready"},
    timeout=10,
    needs=("store.reachable",),
    impact="degraded",
    thresholds=("head_degraded_s", "head_unhealthy_s"),
)
def head(ctx: Context) -> Result:
    """Every tag names an existing version, and the newest version is as recent as the team's pace requires."""
    with ctx.open_store() as store:
        tags = store.tags()
        newest = store.head()
    if newest.time is None:
        return Result.healthy("there is no version yet")
    age_s = (ctx.clock.now() - newest.time).total_seconds()
    limits = ctx.thresholds
    status = Status.HEALTHY
    if limits.head_unhealthy_s and age_s >= limits.head_unhealthy_s:
        status = Status.UNHEALTHY
    elif limits.head_degraded_s and age_s >= limits.head_degraded_s:
        status = Status.DEGRADED
    return Result(
        status,
        f"{newest.name} is {ago(age_s)} old; {counted(len(tags), 'tag')} can be resolved",
        metrics={"age_s": max(age_s, 0.0), "tags_total": len(tags)},
        hint="nobody committed for longer than the configured pace" if status is not Status.HEALTHY else None,
    )
