"""The forms that a report takes, each in a module of its own."""

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
"""The names of the forms."""


def render(report: Report, form: str, *, color: bool = False, width: int = 100) -> str:
    """A report in one of `NAMES`, with its final line end.

    Args:
        report: What a round found.
        form: Which form.
        color: Colour it; only text can.
        width: Columns to write in; only text cares.
    """
    module: Any = import_module(f"kbstore.health.formats.{_HOMES[form]}")
    text: str = module.render(report, color=color, width=width) if form == "text" else module.render(report)
    return text
