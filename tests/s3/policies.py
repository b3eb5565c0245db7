"""Judges requests by a policy as AWS does, as far as the policy of docs/s3.md needs it.

Source: AWS IAM user guide, "Policy evaluation logic" and "IAM JSON policy elements: Condition operators". A request is
allowed if a statement allows it and none denies it; a statement applies if action, resource and all conditions match.
"""

import json
import re
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "s3.md").read_text(encoding="utf-8")


@cache
def policy() -> list[dict[str, Any]]:
    """Return the statements of the documented policy."""
    found = re.search(r"```json\n(.*?)```", TEXT, re.DOTALL)
    assert found is not None
    statements: list[dict[str, Any]] = json.loads(found[1])["Statement"]
    return statements


def allows(action: str, key: str, conditions: dict[str, str], *, bucket: str = "support") -> bool:
    """Return whether the documented policy allows an action.

    Args:
        action: For example ``s3:PutObject``.
        key: Of the object; empty for an action on the bucket.
        conditions: The values of the condition keys of the request; one that is not sent has none.
        bucket: The bucket's name in the policy.
    """
    resource = f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}"
    applying = [s["Effect"] for s in policy() if _applies(s, action, resource, conditions)]
    return "Allow" in applying and "Deny" not in applying


def _applies(statement: dict[str, Any], action: str, resource: str, conditions: dict[str, str]) -> bool:
    assert statement.keys() <= {"Sid", "Effect", "Action", "Resource", "Condition"}
    return (
        any(fnmatchcase(action, pattern) for pattern in _listed(statement["Action"]))
        and any(fnmatchcase(resource, pattern) for pattern in _listed(statement["Resource"]))
        and all(
            _holds(operator, conditions.get(name), _listed(wanted))
            for operator, tests in statement.get("Condition", {}).items()
            for name, wanted in tests.items()
        )
    )


def _holds(operator: str, value: str | None, wanted: list[str]) -> bool:
    if operator == "Null":
        return str(value is None).lower() in wanted
    assert operator == "StringLike"
    return value is not None and any(fnmatchcase(value, pattern) for pattern in wanted)


def _listed(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]
