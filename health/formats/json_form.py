"""The guide's shape as JSON: its members never change, others may be added."""

import json

from kbstore.health.model import Report
from kbstore.kit.escape import visible_json


def render(report: Report) -> str:
    """The report as one indented JSON object, in which nothing can steer a terminal."""
    text = json.dumps(report.as_dict(), indent=2, ensure_ascii=False)
    return "\n".join(visible_json(line) for line in text.split("\n")) + "\n"
