"""The formats of a report, each in a module of its own."""

from importlib import import_module
from typing import Any

from kbstore.health.model import Report

_HOMES = {
    "text": "text",
    "json": "json_form",
    "health+json": "health_json",
    "nagios": "nagios",
    "openmetrics": "openmetrics",
    "github": "github",
}
NAMES = tuple(_HOMES)
"""The names of the formats."""


def render(report: Report, form: str, *, color: bool = False, width: int = 100) -> str:
    """Return a report in one of the formats in `NAMES`, with a final line end.

    Args:
        report: The report of a round.
        form: Name of the format.
        color: Use colour; only for text.
        width: Columns to write in; only for text.
    """
    module: Any = import_module(f"kbstore.health.formats.{_HOMES[form]}")
    text: str = module.render(report, color=color, width=width) if form == "text" else module.render(report)
    return text
