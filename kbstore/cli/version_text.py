"""Texts for a version and the changes in a version, in a line or a few lines."""

from collections.abc import Iterator, Sequence
from hashlib import sha256

from kbstore.cli.output import brief, note, on_terminal, paint
from kbstore.diff.diff import Diff
from kbstore.diff.render.source import entry_counts, is_outside
from kbstore.history.event import encode_body
from kbstore.history.version import Version
from kbstore.kit.escape import visible
from kbstore.store import Store

_NAMED = 10
_OUTSIDE = "changes outside of the entries"
_NO_PATCH = sha256(encode_body([])).hexdigest()
_MOST_ODD = 20
_MESSAGE_LINES = 100


def one_line(version: Version, names: Sequence[str], color: bool) -> str:
    """Return name, id, tags and message of a version, in a line."""
    named = f"{paint(version.name, '33', color)} {version.id[:8]}{_names(names, color)}"
    return f"{named} {first_line(version.message)}".rstrip()


def first_line(message: str) -> str:
    """Return the first line of a message."""
    return brief(message.partition("\n")[0])


def paragraph(version: Version, names: Sequence[str], color: bool) -> Iterator[str]:
    """Yield all lines of the log about a version."""
    yield f"{paint(version.name, '33', color)}{_names(names, color)}"
    yield f"id:      {version.id}"
    if len(version.parents) > 1:
        yield f"parents: {' '.join(parent[:12] for parent in version.parents)}"
    yield f"author:  {brief(version.author)}"
    event = version.event
    yield f"time:    {event.time}"
    if event.authored is not None:
        yield f"written: {event.authored}"
    if event.order is not None and event.patch == _NO_PATCH:
        yield "changed: the order of members"
    if version.tags:
        yield f"labels:  {', '.join(map(brief, version.tags))}"
    yield ""
    lines = version.message.split("\n")
    shown = lines[:_MESSAGE_LINES] if on_terminal() else lines
    for line in shown:
        yield f"    {brief(line)}".rstrip()
    if len(shown) < len(lines):
        yield f"    \u2026 {len(lines) - len(shown):,} more lines; kbstore show {version.name} --json has them all"


def counts(diff: Diff) -> str:
    """Return how many entries were added, removed, modified and moved; also name changes outside of the entries."""
    told = [entry_counts(diff), _OUTSIDE if is_outside(diff) else ""]
    return ", ".join(filter(None, told)) or "no changes"


def named(diff: Diff) -> str:
    """Return how many entries were added, modified, removed and moved, with the first ids: ``2 modified: login, vpn``.

    Changes outside of the entries are named too.
    """
    told = [
        f"{len(ids)} {word}: {', '.join(map(brief, ids[:_NAMED]))}{', ...' if len(ids) > _NAMED else ''}"
        for ids, word in (
            (diff.added, "added"),
            (diff.modified, "modified"),
            (diff.removed, "removed"),
            (diff.moved if len(diff.moved) == 1 else (), "moved"),
        )
        if ids
    ]
    if len(diff.moved) > 1:
        told.append(f"the order of {diff.reordered:,} entries changed")
    if is_outside(diff):
        told.append(_OUTSIDE)
    return "; ".join(told) or ("the order of members changed" if diff.turned else "no changes")


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return a number with a noun: ``1 version``, ``1,200 versions``."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def _names(names: Sequence[str], color: bool) -> str:
    return paint(f" ({', '.join(names)})", "36", color) if names else ""


def note_odd(store: Store) -> None:
    """Warn about tags and branches that the last list skipped."""
    for sentence in store.odd_refs[:_MOST_ODD]:
        note(f"warning: {visible(sentence)} (run: kbstore verify)")
