"""The difference between two versions: patch, inverse, and what was added, removed and modified by entry."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from kbstore.canonical import MISSING, same
from kbstore.valuediff import Change, Hunk, Splice, changes, id_key, inverse, patch_of


class Diff:
    """What changed from an old state to a new one.

    Args:
        hunks: The differing members and array regions.
        collection: Where the entries are: the tokens of the pointer to their container.
        old_name: What to call the old side.
        new_name: What to call the new side.
        entry_key: The id-like member of the collection's elements, where it is an array that has one.
        read_entry: Gives an entry before and after, `MISSING` where it is not there: see `sides`.

    Attributes:
        hunks: As given.
        old_name: As given.
        new_name: As given.
        collection: As given.
    """

    def __init__(
        self,
        hunks: Sequence[Hunk | Splice],
        *,
        collection: tuple[str, ...] = (),
        old_name: str = "old",
        new_name: str = "new",
        entry_key: str | None = None,
        read_entry: Callable[[str], tuple[Any, Any] | None] | None = None,
    ) -> None:
        self.hunks = list(hunks)
        self.collection = collection
        self.old_name = old_name
        self.new_name = new_name
        self._entry_key = entry_key
        self._read_entry = read_entry

    def __bool__(self) -> bool:
        return bool(self.hunks)

    @cached_property
    def patch(self) -> list[dict[str, Any]]:
        """RFC 6902 operations that turn the old side into exactly the new one."""
        return patch_of(self.hunks)

    @cached_property
    def inverse(self) -> list[dict[str, Any]]:
        """RFC 6902 operations that turn the new side back into exactly the old one."""
        return patch_of(inverse(self.hunks))

    def changes(self) -> list[Change]:
        """Every changed value, one by one, for people."""
        return changes(self.hunks)

    def sides(self, entry: str) -> tuple[Any, Any] | None:
        """A whole entry before and after, `MISSING` where it is not there; None where the diff cannot read it."""
        return self._read_entry(entry) if self._read_entry is not None else None

    @property
    def added(self) -> list[str]:
        """Ids of the entries that only the new side has."""
        return self._entries[0]

    @property
    def removed(self) -> list[str]:
        """Ids of the entries that only the old side has."""
        return self._entries[1]

    @property
    def modified(self) -> list[str]:
        """Ids of the entries that both sides have, with different content."""
        return self._entries[2]

    @cached_property
    def _entries(self) -> tuple[list[str], list[str], list[str]]:
        added: set[str] = set()
        removed: set[str] = set()
        depth = len(self.collection)
        modified: set[str] = set()
        for hunk in self.hunks:
            if isinstance(hunk, Splice) and hunk.path == self.collection:
                before, after = self._ids(hunk.old, hunk.old_start), self._ids(hunk.new, hunk.new_start)
                removed |= before.keys()
                added |= after.keys()
            elif len(hunk.path) > depth and hunk.path[:depth] == self.collection:
                entry = hunk.path[depth]
                if isinstance(hunk, Hunk) and len(hunk.path) == depth + 1 and hunk.old is MISSING:
                    added.add(entry)
                elif isinstance(hunk, Hunk) and len(hunk.path) == depth + 1 and hunk.new is MISSING:
                    removed.add(entry)
                else:
                    modified.add(entry)
            elif isinstance(hunk, Hunk) and hunk.path == self.collection[: len(hunk.path)]:
                before = self._members(_below(hunk.old, self.collection[len(hunk.path) :]))
                after = self._members(_below(hunk.new, self.collection[len(hunk.path) :]))
                removed |= before.keys() - after.keys()
                added |= after.keys() - before.keys()
                modified |= {k for k in before.keys() & after.keys() if not same(before[k], after[k])}
        both = added & removed
        return sorted(added - both), sorted(removed - both), sorted(modified | both)

    def _ids(self, elements: Sequence[Any], start: int) -> dict[str, Any]:
        key = self._entry_key
        if key is not None and all(isinstance(e, dict) and key in e for e in elements):
            return {str(e[key]): e for e in elements}
        return {str(start + i): e for i, e in enumerate(elements)}

    def _members(self, container: Any) -> dict[str, Any]:
        if isinstance(container, dict):
            return container
        if isinstance(container, list):
            key = id_key(container)
            return {str(e[key]) if key is not None else str(i): e for i, e in enumerate(container)}
        return {}


def _below(value: Any, path: Sequence[str]) -> Any:
    for token in path:
        value = value.get(token, MISSING) if isinstance(value, dict) else MISSING
    return value
