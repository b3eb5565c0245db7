"""``application/health+json``: the format for API gateways and service registries.

Source: draft-inadarei-api-health-check-06, sections 3 and 4.
"""

import json
from typing import Any

from kbstore._version import __version__
from kbstore.health.model import Outcome, Report, Status, counted, rfc3339
from kbstore.health.units import split_unit
from kbstore.kit.escape import visible_json

MEDIA_TYPE = "application/health+json"

WORDS = {Status.HEALTHY: "pass", Status.DEGRADED: "warn", Status.UNHEALTHY: "fail"}


def render(report: Report) -> str:
    """Return the report as an indented JSON object; skipped checks are left out, and counted in a note."""
    checks: dict[str, list[dict[str, Any]]] = {}
    for outcome in report.ran:
        for name, entry in _entries(outcome, rfc3339(report.time)):
            checks.setdefault(name, []).append(entry)
    fields: dict[str, Any] = {
        "status": WORDS[report.overall],
        "version": __version__.split(".", 1)[0],
        "releaseId": __version__,
        "description": "health of a knowledge base, its backend and its database",
        "checks": checks,
    }
    notes = [*report.survivors, *report.warnings]
    if report.skipped:
        notes.append(f"{counted(len(report.skipped), 'check')} skipped: {', '.join(o.name for o in report.skipped)}")
    if notes:
        fields["notes"] = notes
    bad = [o for o in report.worst_first if o.status.rank > Status.HEALTHY.rank]
    if bad:
        fields["output"] = f"{bad[0].name}: {bad[0].result.message}"
    text = json.dumps(fields, indent=2, ensure_ascii=False)
    return "\n".join(visible_json(line) for line in text.split("\n")) + "\n"


def _entries(outcome: Outcome, time: str) -> list[tuple[str, dict[str, Any]]]:
    """Return an item for the check as a whole, and an item for each of its metrics."""
    common: dict[str, Any] = {
        "componentId": outcome.name,
        "componentType": "datastore" if outcome.name.startswith(("store", "s3", "db", "sqlite")) else "system",
        "status": WORDS[outcome.status],
        "time": time,
    }
    whole = dict(common)
    if outcome.status is not Status.HEALTHY:
        whole["output"] = outcome.result.message
    if outcome.runbook:
        whole["links"] = {"about": outcome.runbook}
    found = [(outcome.name, whole)]
    for name, value in outcome.result.metrics.items():
        what, unit = split_unit(name)
        entry = {**common, "observedValue": value}
        if unit:
            entry["observedUnit"] = unit
        found.append((f"{outcome.name}:{what}", entry))
    return found
