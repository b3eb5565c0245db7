"""Annotations of a GitHub workflow: an error or a warning for each bad check, and a notice for the whole.

Source: GitHub Actions documentation, "Workflow commands", with the escapes of the toolkit's ``command.ts``.
"""

from kbstore.health.model import NOTHING_RAN, Report, Status
from kbstore.kit.escape import visible


def render(report: Report) -> str:
    """Return the report as workflow commands, the worst first."""
    lines = []
    for outcome in report.worst_first:
        if outcome.status.rank <= Status.HEALTHY.rank:
            continue
        kind = "error" if outcome.effect is Status.UNHEALTHY else "warning"
        text = outcome.result.message + (f"\n{outcome.result.hint}" if outcome.result.hint else "")
        lines.append(f"::{kind} title={_property(outcome.name)}::{_data(text)}")
    lines += [f"::warning title=health::{_data(text)}" for text in (*report.survivors, *report.warnings)]
    well = sum(o.status is Status.HEALTHY for o in report.outcomes)
    told = f"{report.overall}: {well} of {len(report.ran)} checks are healthy" if report.ran else NOTHING_RAN
    lines.append(f"::notice title=health::{_data(told)}")
    return "\n".join(lines) + "\n"


def _data(text: str) -> str:
    shown = "\n".join(visible(line) for line in text.split("\n"))
    return shown.replace("%", "%25").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
