"""Text for Nagios and similar programs: a line with performance data, then a line for each bad check.

Source: Monitoring Plugins Development Guidelines, sections "Plugin Output" and "Performance data".
"""

from kbstore.health.model import NOTHING_RAN, Report, Status, counted
from kbstore.kit.escape import visible

_WORDS = {Status.HEALTHY: "OK", Status.DEGRADED: "WARNING", Status.UNHEALTHY: "CRITICAL"}
_UNITS = {"_s": "s", "_bytes": "B"}


def render(report: Report) -> str:
    """Return the report; the first line ends in performance data, such as ``'store.head.age_s'=12s``."""
    bad = [o for o in report.worst_first if o.status.rank > Status.HEALTHY.rank]
    if bad:
        text = "; ".join(f"{o.name}: {_clean(o.result.message)}" for o in bad[:3])
        text += f" (and {len(bad) - 3} more)" if len(bad) > 3 else ""
    elif report.ran:
        skipped = f", {len(report.skipped)} skipped" if report.skipped else ""
        text = f"{counted(len(report.ran), 'check')} healthy{skipped}"
    else:
        text = NOTHING_RAN
    data = [
        f"'{outcome.name}.{name.replace('=', '_').replace(chr(39), '_')}'={_number(value)}{_unit(name)}"
        for outcome in report.outcomes
        for name, value in outcome.result.metrics.items()
    ]
    first = f"HEALTH {_WORDS[report.overall]} - {text}" + (f" | {' '.join(data)}" if data else "")
    rest = [f"{o.name} is {o.status}: {_clean(o.result.message)}" for o in bad]
    return "\n".join([first, *rest, *(_clean(text) for text in (*report.survivors, *report.warnings))]) + "\n"


def _clean(text: str) -> str:
    """Return the text without bars, since a bar would begin the performance data."""
    return visible(text).replace("|", "/")


def _unit(name: str) -> str:
    return next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")


def _number(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".") if value != int(value) else str(int(value))
