"""Conflicts as data: the kind of each, and its form for programs.

================  ====================================================================
kind              meaning
================  ====================================================================
both-modified     both gave the place another value
both-added        both put a value in a place that had none
both-removed      both removed it
removed-by-us     the refused change removed it, others modified it
removed-by-them   others removed it, the refused change modified it
read              others modified it, and the refused change tests or copies it
moved             one moved or renamed it, and the other removed it or put it in another place; so it is reported at
                  each of these places
shifted           others inserted or removed elements that have no id: which one is meant is unclear
================  ====================================================================
"""

from typing import Any

from kbstore.errors import Conflict
from kbstore.jsondoc.canonical import MISSING, same

MOVED = "moved"
"""The kind of a conflict about a value that a side put elsewhere; see above."""


def conflict_at(pointer: str, base: Any, ours: Any, theirs: Any) -> Conflict:
    """Return the conflict at a place whose three values are known; `MISSING` stands for no value."""
    return Conflict(pointer, _kind(base, ours, theirs), base, ours, theirs)


def conflict_json(conflict: Conflict) -> dict[str, Any]:
    """Return a conflict as a JSON object; a value that is missing has no member."""
    return {name: value for name, value in conflict._asdict().items() if value is not MISSING}


def _kind(base: Any, ours: Any, theirs: Any) -> str:
    if base is MISSING:
        return "shifted" if ours is MISSING or theirs is MISSING else "both-added"
    if ours is MISSING or theirs is MISSING:
        if ours is theirs:
            return "both-removed"
        return "removed-by-us" if ours is MISSING else "removed-by-them"
    return "shifted" if same(base, ours) or same(base, theirs) else "both-modified"
