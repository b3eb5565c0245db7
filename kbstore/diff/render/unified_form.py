"""A diff as unified text: `diff -u` of the pretty-printed JSON of each changed entry."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from kbstore.diff.render.lines import Region, hunks
from kbstore.diff.render.source import Differences, groups
from kbstore.jsondoc.canonical import MISSING
from kbstore.jsondoc.make_patch import Change
from kbstore.kit.escape import visible, visible_json

_CONTEXT = 3


def unified(diff: Differences) -> str:
    r"""Return the diff as unified text.

    Args:
        diff: The changes.

    Returns:
        For each changed entry, a `---` line and a `+++` line with the address, and the hunks of the entry's JSON,
        indented by two, members sorted. A changed value outside of entries, or in the requested part of an entry, has
        the same lines by itself. A moved array element has a line beginning with `#`, skipped by other tools.
        Characters without a visible shape are `\u` escapes. Each line has a line end; the text is empty if nothing
        changed.
    """
    lines: list[str] = []
    for part in groups(diff):
        if part.entry is None or diff.is_part or (part.old is MISSING and part.new is MISSING):
            for change in part.changes:
                if change.kind == "moved":
                    lines.append(_moved(change.address))
                else:
                    lines += _file(diff, change.address, *_values(change))
            continue
        if any(change.kind == "moved" and change.address == part.address for change in part.changes):
            lines.append(_moved(part.address))
        if part.kind != "moved":
            lines += _file(diff, part.address, part.old, part.new)
    return "".join(f"{line}\n" for line in lines)


def _values(change: Change) -> tuple[Any, Any]:
    return (
        MISSING if change.kind == "added" else change.old,
        MISSING if change.kind == "removed" else change.new,
    )


def _moved(address: str) -> str:
    return f"# moved: {visible(address)}"


def _file(diff: Differences, address: str, old: Any, new: Any) -> Iterator[str]:
    name = visible(address) or "/"
    yield "--- /dev/null" if old is MISSING else f"--- {visible(diff.old_name)}{name}"
    yield "+++ /dev/null" if new is MISSING else f"+++ {visible(diff.new_name)}{name}"
    before, after = printed(old), printed(new)
    for gathered in hunks(before, after, _CONTEXT):
        yield from _hunk(before, after, gathered)


def _hunk(old: Sequence[str], new: Sequence[str], gathered: Sequence[Region]) -> Iterator[str]:
    first, last = gathered[0], gathered[-1]
    lead = min(_CONTEXT, first.old_start)
    tail = min(_CONTEXT, len(old) - last.old_end)
    before = _span(first.old_start - lead, last.old_end + tail)
    after = _span(first.new_start - lead, last.new_end + tail)
    yield f"@@ -{before} +{after} @@"
    place = first.old_start - lead
    for region in gathered:
        yield from (f" {line}" for line in old[place : region.old_start])
        yield from (f"-{line}" for line in old[region.old_start : region.old_end])
        yield from (f"+{line}" for line in new[region.new_start : region.new_end])
        place = region.old_end
    yield from (f" {line}" for line in old[place : last.old_end + tail])


def _span(start: int, end: int) -> str:
    """Return lines `start` to `end` as in POSIX diff: counted from 1; an empty range is named by the line before it."""
    length = end - start
    if length == 1:
        return str(start + 1)
    return f"{start if length == 0 else start + 1},{length}"


def printed(value: Any) -> list[str]:
    """Return the lines of a value as JSON, indented by two, members sorted, harmless; empty for `MISSING`."""
    if value is MISSING:
        return []
    text = json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)
    return [visible_json(line) for line in text.split("\n")]
