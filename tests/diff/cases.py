"""The two small knowledge bases whose difference the golden files show, in every form.

`python -m tests.diff.cases` writes the golden files anew; read their diff before you commit it.
"""

import copy
import json
from pathlib import Path
from typing import Any

from kbstore.diff.diff import Diff
from kbstore.jsondoc.canonical import MISSING
from kbstore.jsondoc.make_patch import Hunk

GOLDEN = Path(__file__).parent / "golden"

OLD: dict[str, Any] = {
    "name": "Harborlight support",
    "problems": {
        "api-webhook-timeout": {
            "title": "Webhook deliveries time out",
            "severity": "high",
            "votes": 48,
            "symptoms": ["Deliveries pile up at the start of every hour."],
            "solution": [
                {"id": "s1", "text": "Answer 202 at once and do the work from a queue; the body is ignored."},
                {"id": "s2", "text": "Deduplicate by the header Harborlight-Event-Id."},
                {"id": "s3", "text": "Replay what was lost with Deliveries > Replay; events are kept for 72 hours."},
            ],
        },
        "print-garbled-raw": {
            "title": "Printer prints pages of ^XA^FO codes",
            "notes": "Seen on:\n- ZD420 with firmware 84\n- ZT411\nAsk for the driver's name.\nThen call back.",
        },
        "mobile-mdm": {"title": "Managed app configuration is not applied", "severity": "low", "tags": ["mdm"]},
        "naïve/~id": {"title": "Entry with a hard name", "ratio": 1, "flag": True},
    },
}

NEW: dict[str, Any] = copy.deepcopy(OLD)
NEW["name"] = "Harborlight support (EU)"
_timeout = NEW["problems"]["api-webhook-timeout"]
_timeout["severity"] = "critical"
_timeout["votes"] = 49
_timeout["symptoms"].append("Seen since 26 January in every region but Frankfurt; the delivery log has the times.")
_timeout["solution"][2]["text"] = "Replay what was lost with Deliveries > Replay all; events are kept for 7 days."
_timeout["solution"].insert(0, {"id": "s0", "text": "Look at the status page first."})
_raw = NEW["problems"]["print-garbled-raw"]
_raw["title"] = "Printer prints \x1b[31m^XA^FO\x1b[0m codes \u202egnihton\u202c <script>alert(1)</script>"
_raw["notes"] = (
    "Seen on:\n- ZD420 with firmware 85\n- ZT411\nAsk for the driver's name.\nThen call back.\nClose the ticket."
)
del NEW["problems"]["mobile-mdm"]
NEW["problems"]["naïve/~id"] = {"title": "Entry with a hard name", "ratio": 1.0, "flag": 1}
NEW["problems"]["sso-clock-skew"] = {
    "title": 'SAML sign-in fails with "Assertion is not yet valid"',
    "severity": "high",
    "diagnosis": [{"id": "d1", "text": "Compare NotBefore in the SAML log with the time at which the response came."}],
    "steps_text": "Point the IdP at a time source.\nThen restart it.",
    "tags": ["sso", "saml", "clock"],
    "parent": None,
}


def diff_of(old: Any, new: Any, collection: tuple[str, ...] = ("problems",)) -> Diff:
    """The diff of two whole documents, with entries that can be read."""

    def side(document: Any, entry: str) -> Any:
        for token in (*collection, entry):
            document = document.get(token, MISSING) if isinstance(document, dict) else MISSING
        return document

    return Diff(
        [Hunk((), old, new)],
        collection=collection,
        old_name="v2_20250126_090000",
        new_name="v3_20250127_120000",
        read_entry=lambda entry: (side(old, entry), side(new, entry)),
    )


def forms(diff: Diff) -> dict[str, str]:
    """Every form of a diff by the name of its golden file."""
    return {
        "terminal.txt": diff.text(),
        "terminal-narrow.txt": diff.text(width=48),
        "terminal-color.txt": diff.text(color=True, width=100),
        "unified.txt": diff.unified(),
        "diff.json": json.dumps(diff.json(), indent=2) + "\n",
        "diff.md": diff.markdown(),
        "diff.html": diff.html("Support: what changed"),
        "stat.txt": diff.stat(),
        "names.txt": diff.names(),
    }


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, text in forms(diff_of(OLD, NEW)).items():
        (GOLDEN / name).write_text(text, encoding="utf-8")
