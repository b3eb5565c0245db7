"""OpenMetrics text for Prometheus and similar programs: statuses as state sets, and all metrics of the checks.

Source: OpenMetrics 1.0 (RFC draft-ietf-opsawg-openmetrics), sections on the text format and on StateSet.
"""

from collections.abc import Iterator

from kbstore.health.model import Outcome, Report, Status
from kbstore.health.units import split_unit

MEDIA_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def render(report: Report, *, checks: bool = True) -> str:
    """Return the report as metrics, ending in ``# EOF``.

    Args:
        report: The report of a round.
        checks: Include each check; False includes only the overall status.
    """
    lines = [*_overall(report)]
    if checks:
        lines += [*_statuses(report.outcomes), *_durations(report), *_observed(report.outcomes)]
    return "\n".join([*lines, "# EOF"]) + "\n"


def _overall(report: Report) -> Iterator[str]:
    yield "# TYPE health stateset"
    yield "# HELP health How everything is together."
    for status in (Status.HEALTHY, Status.DEGRADED, Status.UNHEALTHY):
        yield f'health{{health="{status}"}} {int(report.overall is status)}'


def _statuses(outcomes: tuple[Outcome, ...]) -> Iterator[str]:
    yield "# TYPE health_check stateset"
    yield "# HELP health_check How each check is."
    for outcome in outcomes:
        for status in Status:
            labels = f'check="{_label(outcome.name)}",health_check="{status}"'
            yield f"health_check{{{labels}}} {int(outcome.status is status)}"


def _durations(report: Report) -> Iterator[str]:
    yield "# TYPE health_check_duration_seconds gauge"
    yield "# UNIT health_check_duration_seconds seconds"
    yield "# HELP health_check_duration_seconds How long each check took."
    for outcome in report.ran:
        yield f'health_check_duration_seconds{{check="{_label(outcome.name)}"}} {outcome.duration_s:.6f}'
    yield "# TYPE health_round_timestamp_seconds gauge"
    yield "# UNIT health_round_timestamp_seconds seconds"
    yield "# HELP health_round_timestamp_seconds When the checks ran."
    yield f"health_round_timestamp_seconds {report.time.timestamp():.3f}"


def _observed(outcomes: tuple[Outcome, ...]) -> Iterator[str]:
    families: dict[str, list[str]] = {}
    for outcome in outcomes:
        for name, value in outcome.result.metrics.items():
            what, unit = split_unit(name)
            labels = f'check="{_label(outcome.name)}",what="{_label(what)}"'
            family = f"health_observed_{unit}" if unit else "health_observed"
            families.setdefault(unit, []).append(f"{family}{{{labels}}} {value!r}")
    for unit, samples in sorted(families.items()):
        family = f"health_observed_{unit}" if unit else "health_observed"
        yield f"# TYPE {family} gauge"
        if unit:
            yield f"# UNIT {family} {unit}"
        yield f"# HELP {family} What checks measured{f', in {unit}' if unit else ''}."
        yield from samples


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
