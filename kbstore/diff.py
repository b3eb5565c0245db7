"""The difference between two versions: patch, inverse, what was added, removed and modified by entry, in every form."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from kbstore import render
from kbstore.canonical import MISSING, same
from kbstore.valuediff import Change, Hunk, Splice, changes, inverse, patch_of


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

    def text(self, *, color: bool = False, width: int = 80) -> str:
        """For a person at a terminal: by entry, old and new value of each path, changed words marked.

        Args:
            color: True for SGR colours; else changed words are marked as ``[-old-]`` and ``{+new+}``.
            width: Columns that lines may use.
        """
        return render.terminal(self, color, width)

    def unified(self) -> str:
        """As ``diff -u`` tells of the printed JSON of each changed entry; what `patch` and other tools read."""
        return render.unified(self)

    def json(self) -> dict[str, Any]:
        """As plain JSON values, stable for programs; ``kbstore diff --json`` prints them."""
        return render.as_json(self)

    def markdown(self) -> str:
        """For tickets, reviews and chat, in GitHub's flavour; nothing in it becomes markup that was text."""
        return render.markdown(self)

    def html(self, title: str = "") -> str:
        """A page that stands alone: no script, nothing loaded.

        Args:
            title: Its heading; by default the names of both sides.
        """
        return render.html(self, title)

    def stat(self, width: int = 80) -> str:
        """How much changed in each entry, in figures; `width` is the columns that lines may use."""
        return render.stat(self, width)

    def names(self) -> str:
        """Pointers of the changed entries, and of what changed outside of them, one a line."""
        return render.names(self)

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
        before, after = _Told(self._entry_key), _Told(self._entry_key)
        depth = len(self.collection)
        modified: set[str] = set()
        gone: set[str] = set()
        come: set[str] = set()
        for hunk in self.hunks:
            if isinstance(hunk, Splice) and hunk.path == self.collection:
                # What was taken out here and put in there counts as modified, although its content may be the same.
                gone |= before.elements(hunk.old, hunk.old_start)
                come |= after.elements(hunk.new, hunk.new_start)
            elif len(hunk.path) > depth and hunk.path[:depth] == self.collection:
                entry = hunk.path[depth]
                whole = isinstance(hunk, Hunk) and len(hunk.path) == depth + 1
                if whole and (hunk.old is MISSING or hunk.new is MISSING):
                    before.member(entry, hunk.old)
                    after.member(entry, hunk.new)
                else:
                    modified.add(entry)
            elif isinstance(hunk, Hunk) and hunk.path == self.collection[: len(hunk.path)]:
                before.container(_below(hunk.old, self.collection[len(hunk.path) :]))
                after.container(_below(hunk.new, self.collection[len(hunk.path) :]))
        old, new = before.entries, after.entries
        modified |= gone & come
        modified |= {entry for entry in old.keys() & new.keys() if not same(old[entry], new[entry])}
        return sorted(new.keys() - old.keys()), sorted(old.keys() - new.keys()), sorted(modified)


class _Told:
    """The entries of one side, as far as differences tell of them, each with all that goes by its id."""

    def __init__(self, key: str | None) -> None:
        self._key = key
        self.entries: dict[str, list[Any]] = {}

    def member(self, entry: str, value: Any) -> None:
        """A member of a collection that is an object; `MISSING` where it has none."""
        if value is not MISSING:
            self.entries.setdefault(entry, []).append(value)

    def elements(self, elements: Sequence[Any], start: int) -> set[str]:
        """Elements of a collection that is an array: by their id-like member, and where they have none by place."""
        ids = [self._id(element, at) for at, element in enumerate(elements, start)]
        for entry, element in zip(ids, elements, strict=True):
            self.member(entry, element)
        return set(ids)

    def container(self, value: Any) -> None:
        """The whole collection; anything that is no container has no entries."""
        if isinstance(value, dict):
            for entry, member in value.items():
                self.member(entry, member)
        elif isinstance(value, list):
            self.elements(value, 0)

    def _id(self, element: Any, at: int) -> str:
        found = element.get(self._key) if self._key is not None and isinstance(element, dict) else None
        return str(found) if type(found) in (str, int) else str(at)


def _below(value: Any, path: Sequence[str]) -> Any:
    for token in path:
        value = value.get(token, MISSING) if isinstance(value, dict) else MISSING
    return value
