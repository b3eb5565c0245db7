"""A diff as Markdown, for tickets, pull requests and chat: GitHub's flavour, and readable as plain text."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from kbstore.diff.render.lines import hunks
from kbstore.diff.render.outline import inline
from kbstore.diff.render.source import Differences, Group, groups
from kbstore.diff.render.terminal_form import summary
from kbstore.diff.render.unified_form import printed
from kbstore.diff.render.words import Span, word_diff
from kbstore.jsondoc.make_patch import Change
from kbstore.kit import escape
from kbstore.kit.escape import markdown_code

_KINDS = {"added": "Added", "removed": "Removed", "modified": "Modified", "moved": "Moved"}
# A value up to this length is printed in the line; a longer value is printed in a block.
_INLINE = 120
_BACKTICKS = re.compile("`{3,}")


def markdown(diff: Differences) -> str:
    """Return the diff as Markdown.

    Args:
        diff: The changes.

    Returns:
        A heading and a list for each entry; changed words as `<del>` and `<ins>`, multi-line texts and whole entries as
        code blocks. All text is escaped: no text becomes markup, a link or a mention.
    """
    parts = groups(diff)
    lines = [f"## {markdown_code(diff.old_name)} \u2192 {markdown_code(diff.new_name)}", "", summary(diff, parts), ""]
    for part in parts:
        if part.entry is None:
            lines += ["### Outside of the entries", ""]
        else:
            title = f": {escape.markdown(part.title)}" if part.title else ""
            lines += [f"### {_KINDS[part.kind]} {markdown_code(part.entry)}{title}", ""]
        if part.kind == "modified":
            for change in part.changes:
                lines += _change(part, change)
            lines.append("")
        elif part.kind != "moved":
            lines += [*_fenced(printed(part.new if part.kind == "added" else part.old), "json", ""), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _change(part: Group, change: Change) -> Iterator[str]:
    head = f"- {markdown_code(part.relative(change) or '(itself)')}"
    old, new = change.old, change.new
    if change.kind == "moved":
        yield f"{head} moved"
    elif change.kind != "modified":
        value = new if change.kind == "added" else old
        yield from _whole(f"{head} {change.kind}", value, "+" if change.kind == "added" else "-")
    elif isinstance(old, str) and isinstance(new, str) and ("\n" in old or "\n" in new):
        yield f"{head}:"
        yield from _fenced(list(_linewise(old.split("\n"), new.split("\n"))), "diff", "  ")
    elif isinstance(old, str) and isinstance(new, str):
        yield f"{head}: {_marked(word_diff(old, new))}"
    elif len(inline(old)) + len(inline(new)) <= _INLINE:
        yield f"{head}: {markdown_code(inline(old))} \u2192 {markdown_code(inline(new))}"
    else:
        yield f"{head}:"
        both = [f"-{line}" for line in printed(old)] + [f"+{line}" for line in printed(new)]
        yield from _fenced(both, "diff", "  ")


def _whole(head: str, value: Any, sign: str) -> Iterator[str]:
    if isinstance(value, str) and "\n" not in value:
        tag = "ins" if sign == "+" else "del"
        yield f"{head}: {_tagged(value, tag)}"
    elif len(text := inline(value)) <= _INLINE and "\n" not in str(value):
        yield f"{head}: {markdown_code(text)}"
    else:
        yield f"{head}:"
        yield from _fenced([f"{sign}{line}" for line in printed(value)], "diff", "  ")


def _marked(spans: Sequence[Span]) -> str:
    return "".join(
        escape.markdown(span.old) if span.same else _tagged(span.old, "del") + _tagged(span.new, "ins")
        for span in spans
    )


def _tagged(text: str, tag: str) -> str:
    return f"<{tag}>{escape.markdown(text)}</{tag}>" if text else ""


def _linewise(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    for number, gathered in enumerate(hunks(old, new, 1)):
        place = max(gathered[0].old_start - 1, 0)
        if number or place:
            yield f"@@ line {place + 1} @@"
        for region in gathered:
            yield from (f" {escape.visible(line)}" for line in old[place : region.old_start])
            yield from (f"-{escape.visible(line)}" for line in old[region.old_start : region.old_end])
            yield from (f"+{escape.visible(line)}" for line in new[region.new_start : region.new_end])
            place = region.old_end
        yield from (f" {escape.visible(line)}" for line in old[place : place + 1])


def _fenced(lines: Sequence[str], language: str, indent: str) -> list[str]:
    """Return a code block with a fence longer than any run of backticks inside."""
    longest = max((len(run) for line in lines for run in _BACKTICKS.findall(line)), default=2)
    fence = "`" * (longest + 1)
    return [f"{indent}{fence}{language}", *(f"{indent}{line}" for line in lines), f"{indent}{fence}"]
