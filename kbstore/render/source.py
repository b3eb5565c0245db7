"""What all renderings read: a diff as they see it, and its changes grouped by entry."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kbstore.canonical import MISSING
from kbstore.pointer import format_pointer, parse_pointer
from kbstore.valuediff import Change

_TITLES = ("title", "name", "label", "subject", "summary", "question")


class Differences(Protocol):
    """What a rendering needs of a diff; `kbstore.diff.Diff` is one."""

    @property
    def old_name(self) -> str:
        """What to call the old side."""

    @property
    def new_name(self) -> str:
        """What to call the new side."""

    @property
    def collection(self) -> tuple[str, ...]:
        """Tokens of the pointer to the container of the entries."""

    @property
    def added(self) -> Sequence[str]:
        """Ids of the entries that only the new side has."""

    @property
    def removed(self) -> Sequence[str]:
        """Ids of the entries that only the old side has."""

    @property
    def modified(self) -> Sequence[str]:
        """Ids of the entries that both sides have, with different content."""

    @property
    def patch(self) -> Sequence[dict[str, Any]]:
        """RFC 6902 operations from the old side to the new one."""

    def changes(self) -> Sequence[Change]:
        """Every changed value, one by one."""

    def sides(self, entry: str) -> tuple[Any, Any] | None:
        """An entry before and after, `MISSING` where it is not there; None where the diff cannot read it."""


@dataclass(frozen=True, slots=True)
class Group:
    """What changed in one entry, or outside of all entries.

    Attributes:
        entry: The entry's id; None for what lies outside of the collection.
        path: Tokens of the entry's pointer; empty for what lies outside.
        kind: ``added``, ``removed`` or ``modified``.
        changes: Its changed values. An entry that came or went as a whole is one change.
        old: The entry before; `MISSING` where there was none or it is not known.
        new: The entry after; likewise.
    """

    entry: str | None
    path: tuple[str, ...]
    kind: str
    changes: Sequence[Change]
    old: Any = MISSING
    new: Any = MISSING

    @property
    def pointer(self) -> str:
        """Pointer of the entry; the empty one for what lies outside."""
        return format_pointer(self.path)

    @property
    def title(self) -> str | None:
        """What the entry calls itself, in its newer form; None where it has no title."""
        return title_of(self.new if self.new is not MISSING else self.old)

    def relative(self, change: Change) -> str:
        """Where a change lies: its pointer below the entry; empty for the entry itself."""
        return change.pointer[len(self.pointer) :]

    def label(self, change: Change) -> str | None:
        """The list element that a change lies in, such as ``id=s3``; None where that is the entry itself."""
        if not change.label or (self.entry is not None and change.label.partition("=")[2] == self.entry):
            return None
        return change.label


def title_of(value: object) -> str | None:
    """The title-like member of an entry."""
    if isinstance(value, dict):
        for name in _TITLES:
            if isinstance(title := value.get(name), str) and title:
                return title
    return None


def groups(diff: Differences) -> list[Group]:
    """The changes by entry: first what lies outside of all entries, then the entries in the order of the changes.

    Args:
        diff: What changed. `sides` is asked once for each modified entry.
    """
    outside: list[Change] = []
    inside: dict[str, tuple[tuple[str, ...], list[Change]]] = {}
    named = {*diff.added, *diff.removed, *diff.modified}
    depth = len(diff.collection)
    for change in diff.changes():
        for part in _spread(change, diff.collection):
            path = parse_pointer(part.pointer)
            if len(path) <= depth or path[:depth] != diff.collection:
                outside.append(part)
                continue
            entry = _entry_id(path[depth], part, named)
            inside.setdefault(entry, (path[: depth + 1], []))[1].append(part)
    found = [Group(None, (), "modified", outside)] if outside else []
    return found + [_group(diff, entry, path, changes) for entry, (path, changes) in inside.items()]


def _group(diff: Differences, entry: str, path: tuple[str, ...], changes: list[Change]) -> Group:
    whole = changes[0] if changes[0].pointer == format_pointer(path) else None
    if whole is not None and len(changes) == 1 and whole.kind in ("added", "removed"):
        return Group(entry, path, whole.kind, changes, whole.old, whole.new)
    old, new = diff.sides(entry) or (MISSING, MISSING)
    return Group(entry, path, "modified", changes, old, new)


def _entry_id(token: str, change: Change, named: set[str]) -> str:
    """The id of the entry that a change belongs to: elements of a list go by their id-like member, not by place."""
    if token in named or not change.label:
        return token
    label = change.label.partition("=")[2]
    return label if label in named else token


def _spread(change: Change, collection: tuple[str, ...]) -> Iterator[Change]:
    """A change of something that holds the collection, taken apart into its entries and what stands beside them."""
    path = parse_pointer(change.pointer)
    value = change.new if change.kind == "added" else change.old
    wide = change.kind in ("added", "removed") and path == collection[: len(path)]
    if not wide or not isinstance(value, dict) or not value:
        yield change
        return
    for name, member in value.items():
        old, new = (MISSING, member) if change.kind == "added" else (member, MISSING)
        yield from _spread(Change(format_pointer((*path, name)), change.kind, old, new, None), collection)
