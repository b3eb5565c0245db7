"""A diff as one JSON object, stable for programs."""

from typing import Any

from kbstore.diff.render.source import Differences
from kbstore.jsondoc.make_patch import Change

SCHEMA_VERSION = 1
"""Raised when a member is removed or changes its meaning; new members do not raise the number."""


def as_json(diff: Differences) -> dict[str, Any]:
    """Return the diff as plain JSON values.

    Args:
        diff: The changes.

    Returns:
        `schema_version`; `from` and `to` (names of the versions); `collection` (pointer tokens); `added`, `removed`,
        `modified`, `moved` (entry ids); `changes` (`pointer`, `kind`, `old` unless added, `new` unless removed, and
        `address`, the pointer by identity, if different from `pointer`); `base` (id of the old side's version) and
        `patch` (RFC 6902, from the old side to the new side), as `kbstore apply` reads; `order_changed` (pointers of
        the objects with another order of members) if only the order differs. Values are the values of the store, not
        escaped.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "from": diff.old_name,
        "to": diff.new_name,
        "collection": list(diff.collection),
        "added": list(diff.added),
        "removed": list(diff.removed),
        "modified": list(diff.modified),
        "moved": list(diff.moved),
        "changes": [_change(change) for change in diff.changes()],
        "base": diff.base,
        "patch": list(diff.patch if diff.base is not None else diff.guarded_patch),
        **({"order_changed": list(diff.turned)} if diff.turned else {}),
    }


def _change(change: Change) -> dict[str, Any]:
    told: dict[str, Any] = {"pointer": change.pointer, "kind": change.kind}
    if change.address != change.pointer:
        told["address"] = change.address
    if change.kind != "added":
        told["old"] = change.old
    if change.kind != "removed":
        told["new"] = change.new
    return told
