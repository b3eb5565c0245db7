"""The guide's report as JSON: its members never change, but new members may be added."""

import json

from kbstore.health.model import Report
from kbstore.kit.escape import visible_json


def render(report: Report) -> str:
    """Return the report as an indented JSON object, without characters that could steer a terminal."""
    text = json.dumps(report.as_dict(), indent=2, ensure_ascii=False)
    return "\n".join(visible_json(line) for line in text.split("\n")) + "\n"
