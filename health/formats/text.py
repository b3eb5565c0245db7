"""Text for a person: aligned, the worst first, with advice below each bad check."""

from collections.abc import Iterator

from kbstore.health.model import NOTHING_RAN, Outcome, Report, Status, rfc3339
from kbstore.kit.escape import visible

_MARKS = {Status.HEALTHY: "ok", Status.DEGRADED: "degraded", Status.UNHEALTHY: "UNHEALTHY", Status.SKIPPED: "skipped"}
_COLORS = {Status.HEALTHY: "32", Status.DEGRADED: "33", Status.UNHEALTHY: "1;31", Status.SKIPPED: "2"}
_MARK_WIDTH = max(len(mark) for mark in _MARKS.values())


def render(report: Report, *, color: bool = False, width: int = 100) -> str:
    """Return the report as lines of at most `width` columns, unless a word is longer."""
    return "\n".join(_lines(report, color, width)) + "\n"


def _lines(report: Report, color: bool, width: int) -> Iterator[str]:
    name_width = max((len(outcome.name) for outcome in report.outcomes), default=0)
    for outcome in report.worst_first:
        yield from _check(outcome, name_width, color, width)
    for text in report.survivors:
        yield _paint(f"! {visible(text)}", "1;31", color)
    for text in report.warnings:
        yield _paint(f"! {visible(text)}", "33", color)
    if report.outcomes:
        yield ""
    yield (_paint(str(report.overall), _COLORS[report.overall], color) + f": {_counts(report)}")


def _check(outcome: Outcome, name_width: int, color: bool, width: int) -> Iterator[str]:
    mark = _paint(_MARKS[outcome.status].ljust(_MARK_WIDTH), _COLORS[outcome.status], color)
    indent = _MARK_WIDTH + name_width + 4
    room = max(width - indent, 30)
    first, *rest = _wrapped(visible(outcome.result.message), room)
    yield f"{mark}  {outcome.name.ljust(name_width)}  {first}".rstrip()
    for line in rest:
        yield " " * indent + line
    if outcome.status.rank <= Status.HEALTHY.rank:
        return
    told = []
    if outcome.result.hint:
        told.append(f"hint: {visible(outcome.result.hint)}")
    if outcome.last_note:
        told.append(f"last time: {visible(outcome.last_note)}")
    if outcome.since is not None:
        told.append(f"since {rfc3339(outcome.since)}")
    if outcome.runbook:
        told.append(f"runbook: {visible(outcome.runbook)}")
    if not outcome.isolated:
        told.append("ran inside the program that asked, where it cannot be ended")
    for text in told:
        for line in _wrapped(text, room):
            yield " " * indent + _paint(line, "2", color)


def _counts(report: Report) -> str:
    if not report.ran:
        return f"{NOTHING_RAN}; {len(report.skipped)} were skipped" if report.skipped else NOTHING_RAN
    counts = [(sum(o.status is status for o in report.outcomes), status) for status in reversed(Status)]
    order = sorted(counts, key=lambda pair: -pair[1].rank)
    return ", ".join(f"{count} {status}" for count, status in order if count) + f" in {report.duration_s:.2f} s"


def _wrapped(text: str, room: int) -> list[str]:
    from textwrap import wrap

    return wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]


def _paint(text: str, code: str, color: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if color and text else text
