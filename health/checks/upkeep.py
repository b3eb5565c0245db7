"""Checks of regular work (restore drills, rounds of `health watch`), and of this machine's clock."""

from kbstore.health.checks import ago, built_in
from kbstore.health.context import Context
from kbstore.health.errors import NotConfigured
from kbstore.health.model import Result, Status
from kbstore.kit.clock import parse_time

_ROUND_S = 60.0
"""Seconds that a round may take before being late means anything."""


@built_in("restore.drill", timeout=5, impact="degraded", thresholds=("drill_degraded_s",))
def restore_drill(ctx: Context) -> Result:
    """The last restore drill is recent, and brought back the committed version."""
    last = ctx.facts.get("drill")
    if not last:
        raise NotConfigured("no restore drill was ever made here", hint="run: health drill")
    age_s = (ctx.clock.now() - parse_time(str(last["time"]))).total_seconds()
    metrics = {"age_s": max(age_s, 0.0), "restore_s": float(last["duration_s"])}
    if not last["ok"]:
        return Result.unhealthy(
            f"the last drill failed: {last['message']}", metrics=metrics, hint="run: kbstore verify"
        )
    if age_s >= ctx.thresholds.drill_degraded_s:
        return Result.degraded(f"the last drill was {ago(age_s)} ago", metrics=metrics, hint="run: health drill")
    return Result.healthy(f"{ago(age_s)} ago: {last['message']}", metrics=metrics)


@built_in("watch.heartbeat", tags={"live"}, timeout=5, impact="degraded")
def heartbeat(ctx: Context) -> Result:
    """`health watch` still makes its rounds."""
    last = ctx.facts.get("watch")
    if not last:
        raise NotConfigured("health watch never ran here")
    age_s = (ctx.clock.now() - parse_time(str(last["time"]))).total_seconds()
    metrics = {"age_s": max(age_s, 0.0)}
    limit_s = 3 * float(last["interval_s"]) + _ROUND_S
    if age_s >= limit_s:
        text = (
            f"the last round of health watch was {ago(age_s)} ago, and they come every {ago(float(last['interval_s']))}"
        )
        return Result.degraded(text, metrics=metrics, hint="start it again, and see in its log why it ended")
    return Result.healthy(f"the last round was {ago(age_s)} ago", metrics=metrics)


@built_in("clock", timeout=10, impact="degraded", thresholds=("clock_degraded_s", "clock_unhealthy_s"))
def clock(ctx: Context) -> Result:
    """This machine's clock agrees with the newest version, with S3 and with the database."""
    from kbstore.health.checks.times import times

    found = times(ctx)
    if not found:
        raise NotConfigured("there is no other clock to compare with")
    wrong = {}
    for time in found:
        ahead_s = (time.there - time.here).total_seconds()
        wrong[time.name] = max(ahead_s, 0.0) if time.only_ahead else abs(ahead_s)
    name, offset_s = max(wrong.items(), key=lambda item: item[1])
    limits = ctx.thresholds
    status = Status.HEALTHY
    if offset_s >= limits.clock_unhealthy_s:
        status = Status.UNHEALTHY
    elif offset_s >= limits.clock_degraded_s:
        status = Status.DEGRADED
    metrics = {"offset_s": offset_s}
    if status is Status.HEALTHY:
        return Result.healthy(f"agrees with {', '.join(sorted(wrong))}", metrics=metrics)
    text = f"differs by {offset_s:.1f} s from the time of {name}"
    return Result(status, text, metrics=metrics, hint="see that NTP runs on both sides")
