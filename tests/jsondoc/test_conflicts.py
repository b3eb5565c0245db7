"""The kind of a conflict follows from its three values, and a program sees which of them are missing."""

from typing import Any

import pytest

from kbstore.jsondoc.canonical import MISSING
from kbstore.jsondoc.conflicts import conflict_at, conflict_json


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "kind"),
    [
        (1, 2, 3, "both-modified"),
        (1, 2, 2, "both-modified"),
        (1, 1.0, True, "both-modified"),
        (MISSING, 1, 2, "both-added"),
        (None, MISSING, 2, "removed-by-us"),
        (1, 2, MISSING, "removed-by-them"),
        (1, MISSING, MISSING, "both-removed"),
        (1, 1, 2, "shifted"),
        (1, 2, 1, "shifted"),
        (MISSING, 1, MISSING, "shifted"),
    ],
)
def test_a_kind_for_all_values(base: Any, ours: Any, theirs: Any, kind: str) -> None:
    """None is a value, MISSING stands for none, and types are exact."""
    conflict = conflict_at("/a", base, ours, theirs)
    assert conflict.kind == kind
    given = {"base": base, "ours": ours, "theirs": theirs}
    shown = {name: value for name, value in given.items() if value is not MISSING}
    assert conflict_json(conflict) == {"pointer": "/a", "kind": kind, **shown}
