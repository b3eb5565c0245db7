"""Conflicts as data: the kinds of conflicts, and the form for programs.

================  ====================================================================
kind              meaning
================  ====================================================================
both-modified     both sides gave the place another value
both-added        both sides put a value in an empty place
both-removed      both sides removed the value
removed-by-us     the refused change removed the value, others modified the value
removed-by-them   others removed the value, the refused change modified the value
read              others modified the value, and the refused change tests or copies the value
moved             a side moved or renamed the value, and the other side removed the value or put it in another place;
                  so the conflict is reported at each of these places
shifted           others inserted or removed elements without an id: it is unclear which element is meant
================  ====================================================================
"""

from typing import Any

from kbstore.errors import Conflict
from kbstore.jsondoc.canonical import MISSING, same

MOVED = "moved"
"""The kind of a conflict about a value that a side put elsewhere; the table above explains."""


def conflict_at(pointer: str, base: Any, ours: Any, theirs: Any) -> Conflict:
    """Return the conflict at a place with three known values; `MISSING` marks the absence of a value."""
    return Conflict(pointer, _kind(base, ours, theirs), base, ours, theirs)


def conflict_json(conflict: Conflict) -> dict[str, Any]:
    """Return a conflict as a JSON object; a missing value has no member."""
    return {name: value for name, value in conflict._asdict().items() if value is not MISSING}


def _kind(base: Any, ours: Any, theirs: Any) -> str:
    if base is MISSING:
        return "shifted" if ours is MISSING or theirs is MISSING else "both-added"
    if ours is MISSING or theirs is MISSING:
        if ours is theirs:
            return "both-removed"
        return "removed-by-us" if ours is MISSING else "removed-by-them"
    return "shifted" if same(base, ours) or same(base, theirs) else "both-modified"
