"""The input of all renderings: the diff, and its changes grouped by entry."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kbstore.jsondoc.canonical import MISSING
from kbstore.jsondoc.identity import short_token
from kbstore.jsondoc.make_patch import Change
from kbstore.jsondoc.pointer import format_pointer, parse_pointer
from kbstore.kit.escape import visible

_SHOWN_TURNED = 20
_TITLES = ("title", "name", "label", "subject", "summary", "question")


class Differences(Protocol):
    """The parts of a diff that a rendering needs; `kbstore.diff.diff.Diff` has these parts."""

    @property
    def old_name(self) -> str:
        """The name of the old side."""

    @property
    def new_name(self) -> str:
        """The name of the new side."""

    @property
    def collection(self) -> tuple[str, ...]:
        """Tokens of the pointer to the container of the entries."""

    @property
    def added(self) -> Sequence[str]:
        """Ids of the entries only on the new side."""

    @property
    def removed(self) -> Sequence[str]:
        """Ids of the entries only on the old side."""

    @property
    def modified(self) -> Sequence[str]:
        """Ids of the entries on both sides with different content."""

    @property
    def moved(self) -> Sequence[str]:
        """Ids of the elements with another place among the others."""

    @property
    def reordered(self) -> int:
        """The number of entries that changed order with another entry."""

    @property
    def turned(self) -> Sequence[str]:
        """Pointers of the objects with another order of members, if nothing else differs."""

    @property
    def base(self) -> str | None:
        """Id of the version on the old side; `None` if the old side is not a version."""

    @property
    def patch(self) -> Sequence[dict[str, Any]]:
        """RFC 6902 operations from the old side to the new side."""

    @property
    def guarded_patch(self) -> Sequence[dict[str, Any]]:
        """The patch with tests of all removed and replaced values."""

    @property
    def is_part(self) -> bool:
        """Whether the changes are in one part of an entry."""

    def changes(self) -> Sequence[Change]:
        """Return every changed value, one by one."""

    def sides(self, entry: str) -> tuple[Any, Any] | None:
        """Return an entry before and after, `MISSING` for a side without the entry; `None` if it cannot be read."""


def turned_lines(diff: Differences) -> list[str]:
    """Return a line for each object with another order of members, if nothing else differs; at most 20, and a count."""
    told = [
        f"the order of members changed at {visible(pointer) or 'the top'}" for pointer in diff.turned[:_SHOWN_TURNED]
    ]
    more = len(diff.turned) - len(told)
    return [*told, f"and at {more:,} more places"] if more > 0 else told


@dataclass(frozen=True, slots=True)
class Group:
    """The changes in one entry, or outside of all entries.

    Attributes:
        entry: The entry's id; `None` for changes outside of the collection.
        path: Tokens of the entry's pointer; empty for changes outside.
        address: The entry's pointer by identity; empty for changes outside.
        kind: ``added``, ``removed``, ``modified`` or ``moved``.
        changes: The changed values. An entry added or removed as a whole is one change.
        old: The entry before; `MISSING` if there was no entry, or the entry is not known.
        new: The entry after; likewise.
    """

    entry: str | None
    path: tuple[str, ...]
    address: str
    kind: str
    changes: Sequence[Change]
    old: Any = MISSING
    new: Any = MISSING

    @property
    def pointer(self) -> str:
        """The entry's pointer; the empty pointer for changes outside."""
        return format_pointer(self.path)

    @property
    def title(self) -> str | None:
        """The entry's title, by preference from the new side; `None` without a title."""
        return title_of(self.new if self.new is not MISSING else self.old)

    def relative(self, change: Change) -> str:
        """Return the address of a change below the entry; empty for the entry itself."""
        return change.address[len(self.address) :]


def title_of(value: object) -> str | None:
    """Return the first member of an entry that serves as a title: title, name, label, subject, summary or question."""
    if isinstance(value, dict):
        for name in _TITLES:
            if isinstance(title := value.get(name), str) and title:
                return title
    return None


def entry_counts(diff: Differences) -> str:
    """Return how many entries were added, removed, modified and moved, in words; empty if no entry changed."""
    counts = [
        (len(diff.added), "added"),
        (len(diff.removed), "removed"),
        (len(diff.modified), "modified"),
        (len(diff.moved) if len(diff.moved) == 1 else 0, "moved"),
    ]
    told = [f"{count:,} {what}" for count, what in counts if count]
    if len(diff.moved) > 1:
        told.append(f"the order of {diff.reordered:,} entries changed")
    return ", ".join(told)


def is_outside(diff: Differences) -> bool:
    """Return whether there is a change outside of all entries."""
    depth = len(diff.collection)
    parts = (part for change in diff.changes() for part in _spread(change, diff.collection))
    paths = (parse_pointer(part.pointer) for part in parts)
    return any(len(path) <= depth or path[:depth] != diff.collection for path in paths)


def groups(diff: Differences) -> list[Group]:
    """Return the changes by entry: first changes outside of all entries, then entries in the order of the changes.

    Args:
        diff: The changes. Each modified entry costs one call of `sides`.
    """
    outside: list[Change] = []
    inside: dict[tuple[str, bool], tuple[tuple[str, ...], list[Change]]] = {}
    depth = len(diff.collection)
    for change in diff.changes():
        for part in _spread(change, diff.collection):
            path = parse_pointer(part.pointer)
            if len(path) <= depth or path[:depth] != diff.collection:
                outside.append(part)
                continue
            entry = "/".join(part.address.split("/")[: depth + 2])
            # Another element may have the index of a removed element by now.
            gone = part.kind == "removed" and part.address == entry
            inside.setdefault((entry, gone), (path[: depth + 1], []))[1].append(part)
    found = [Group(None, (), "", "modified", outside)] if outside else []
    return found + [_group(diff, address, path, changes) for (address, _), (path, changes) in inside.items()]


def _group(diff: Differences, address: str, path: tuple[str, ...], changes: list[Change]) -> Group:
    whole = changes[0] if changes[0].address == address else None
    entry = short_token(parse_pointer(address)[-1], path[-1])
    if whole is not None and len(changes) == 1 and whole.kind in ("added", "removed"):
        return Group(entry, path, address, whole.kind, changes, whole.old, whole.new)
    if whole is not None and whole.kind == "moved":
        return Group(entry, path, address, "moved" if len(changes) == 1 else "modified", changes, whole.old, whole.new)
    old, new = diff.sides(entry) or (MISSING, MISSING)
    return Group(entry, path, address, "modified", changes, old, new)


def _spread(change: Change, collection: tuple[str, ...]) -> Iterator[Change]:
    """Split a change of a container above the collection into changes of entries and of members beside them."""
    path = parse_pointer(change.pointer)
    value = change.new if change.kind == "added" else change.old
    wide = change.kind in ("added", "removed") and path == collection[: len(path)]
    if not wide or not isinstance(value, dict) or not value:
        yield change
        return
    for name, member in value.items():
        old, new = (MISSING, member) if change.kind == "added" else (member, MISSING)
        pointer = format_pointer((*path, name))
        yield from _spread(Change(pointer, change.kind, old, new, pointer), collection)
