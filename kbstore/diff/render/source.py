"""What all renderings read: a diff as they see it, and its changes grouped by entry."""

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
    """What a rendering needs of a diff; `kbstore.diff.diff.Diff` is one."""

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
    def moved(self) -> Sequence[str]:
        """Ids of the elements that are elsewhere among the others."""

    @property
    def reordered(self) -> int:
        """How many entries are before or behind another one than they were."""

    @property
    def turned(self) -> Sequence[str]:
        """Pointers of the objects whose members are in another order, if nothing else differs."""

    @property
    def base(self) -> str | None:
        """Id of the version that is the old side; None if it is not a version."""

    @property
    def patch(self) -> Sequence[dict[str, Any]]:
        """RFC 6902 operations from the old side to the new one."""

    @property
    def guarded_patch(self) -> Sequence[dict[str, Any]]:
        """The same with tests of what it removes and replaces."""

    @property
    def is_part(self) -> bool:
        """Whether the changes are those of one part of an entry."""

    def changes(self) -> Sequence[Change]:
        """Every changed value, one by one."""

    def sides(self, entry: str) -> tuple[Any, Any] | None:
        """An entry before and after, `MISSING` where it is not there; None where the diff cannot read it."""


def turned_lines(diff: Differences) -> list[str]:
    """Say where the order of members changed, if that is all that differs; a line for each object, the first ones."""
    told = [
        f"the order of members changed at {visible(pointer) or 'the top'}" for pointer in diff.turned[:_SHOWN_TURNED]
    ]
    more = len(diff.turned) - len(told)
    return [*told, f"and at {more:,} more places"] if more > 0 else told


@dataclass(frozen=True, slots=True)
class Group:
    """What changed in one entry, or outside of all entries.

    Attributes:
        entry: The entry's id; None for what lies outside of the collection.
        path: Tokens of the entry's pointer; empty for what lies outside.
        address: The entry's pointer by identity; empty for what lies outside.
        kind: ``added``, ``removed`` or ``modified``.
        changes: Its changed values. An entry that came or went as a whole is one change.
        old: The entry before; `MISSING` where there was none or it is not known.
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
        """Pointer of the entry; the empty one for what lies outside."""
        return format_pointer(self.path)

    @property
    def title(self) -> str | None:
        """What the entry calls itself, in its newer form; None where it has no title."""
        return title_of(self.new if self.new is not MISSING else self.old)

    def relative(self, change: Change) -> str:
        """Where a change lies: its address below the entry; empty for the entry itself."""
        return change.address[len(self.address) :]


def title_of(value: object) -> str | None:
    """The title-like member of an entry."""
    if isinstance(value, dict):
        for name in _TITLES:
            if isinstance(title := value.get(name), str) and title:
                return title
    return None


def entry_counts(diff: Differences) -> str:
    """How many entries were added, removed and modified, and that they were moved; empty if none was touched."""
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
    """Return whether anything changed outside of all entries."""
    depth = len(diff.collection)
    parts = (part for change in diff.changes() for part in _spread(change, diff.collection))
    paths = (parse_pointer(part.pointer) for part in parts)
    return any(len(path) <= depth or path[:depth] != diff.collection for path in paths)


def groups(diff: Differences) -> list[Group]:
    """The changes by entry: first what lies outside of all entries, then the entries in the order of the changes.

    Args:
        diff: What changed. `sides` is asked once for each modified entry.
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
            # The index of an element that is gone may be that of another one by now.
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
    """A change of something that holds the collection, taken apart into its entries and what stands beside them."""
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
