"""The difference between two versions: patch, inverse, and added, removed and modified entries, in every form."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from kbstore.diff import render
from kbstore.diff.entries import Entries, entries_of
from kbstore.jsondoc.guarded_patch import ReadElement, ReadElements, guarded_patch
from kbstore.jsondoc.identity import Identities, short_token
from kbstore.jsondoc.make_patch import Change, Hunk, Splice, changes, inverse, patch_of
from kbstore.jsondoc.pointer import format_pointer


class Diff:
    """The changes from an old state to a new state.

    Args:
        hunks: The differing members and array regions.
        collection: Tokens of the pointer to the container of the entries.
        old_name: The name of the old side.
        new_name: The name of the new side.
        identities: Members that identify the elements of an array, by the array's pointer; for other arrays the members
            are detected.
        read_entry: Returns a whole entry before and after, if the hunks hold only parts, as `sides` does.
        read_element: Returns old elements above the requested pointer, for `guarded_patch`.
        read_elements: Returns the first elements of an old array with changed regions, for `guarded_patch`.
        base: Id of the version on the old side, ``v0`` for the empty beginning; `None` for another value.
        read_turned: Returns the pointers of objects with another order of members, if the sides are equal otherwise.
        place: The requested pointer and its address, as tokens; the hunks are at or below this pointer.

    Attributes:
        hunks: As given.
        old_name: As given.
        new_name: As given.
        collection: As given.
        base: As given.
    """

    def __init__(
        self,
        hunks: Sequence[Hunk | Splice],
        *,
        collection: tuple[str, ...] = (),
        old_name: str = "old",
        new_name: str = "new",
        identities: Identities | None = None,
        read_entry: Callable[[str], tuple[Any, Any] | None] | None = None,
        read_element: ReadElement | None = None,
        read_elements: ReadElements | None = None,
        base: str | None = None,
        read_turned: Callable[[], list[str]] | None = None,
        place: tuple[tuple[str, ...], tuple[str, ...]] = ((), ()),
    ) -> None:
        self.hunks = list(hunks)
        self.collection = collection
        self.old_name = old_name
        self.new_name = new_name
        self._identities = identities or {}
        self._read_entry = read_entry
        self._read_element = read_element
        self._read_elements = read_elements
        self.base = base
        self._read_turned = read_turned
        self._place = place

    def __bool__(self) -> bool:
        return bool(self.hunks)

    @cached_property
    def patch(self) -> list[dict[str, Any]]:
        """RFC 6902 operations that turn the old side exactly into the new side."""
        return patch_of(self.hunks, self._identities)

    @cached_property
    def guarded_patch(self) -> list[dict[str, Any]]:
        """The patch with tests of all removed and replaced values, so that a version with other values is refused."""
        return guarded_patch(self.hunks, self._identities, self._read_element, self._read_elements)

    @cached_property
    def inverse(self) -> list[dict[str, Any]]:
        """RFC 6902 operations that turn the new side exactly back into the old side."""
        return patch_of(inverse(self.hunks), self._identities)

    def changes(self) -> list[Change]:
        """Return every changed value, one by one, for people."""
        found = changes(self.hunks, self._identities)
        if self._place[0] == self._place[1]:
            return found
        pointer, address = map(format_pointer, self._place)
        return [change._replace(address=address + change.address[len(pointer) :]) for change in found]

    @cached_property
    def turned(self) -> list[str]:
        """Pointers of the objects with another order of members, if two versions differ only in order.

        Costs reading both documents, but only if the versions differ in order alone.
        """
        return self._read_turned() if self._read_turned is not None and not self.hunks else []

    @property
    def is_part(self) -> bool:
        """Whether the requested pointer is inside of an entry: other parts of the entry may then differ as well."""
        return len(self._place[0]) > len(self.collection) + 1

    def sides(self, entry: str) -> tuple[Any, Any] | None:
        """Return a whole entry before and after; `MISSING` for a side without the entry.

        Args:
            entry: The entry's id, as in `added`, `removed`, `modified` and `moved`.

        Returns:
            `None` if the diff cannot read the entry, for example an unchanged array element without an id.
        """
        if (known := self._entries.sides.get(entry)) is not None:
            return known
        return self._read_entry(entry) if self._read_entry is not None else None

    def text(self, *, color: bool = False, width: int = 80) -> str:
        """Return the diff for a terminal: by entry, old and new value of each path, changed words marked.

        Args:
            color: True for SGR colours; otherwise changed words are marked as ``[-old-]`` and ``{+new+}``.
            width: Columns that lines may use.
        """
        return render.terminal(self, color, width)

    def unified(self) -> str:
        """Return a ``diff -u`` of the printed JSON of each changed entry, for `patch` and other tools."""
        return render.unified(self)

    def json(self) -> dict[str, Any]:
        """Return the diff as plain JSON values, stable for programs; ``kbstore diff --json`` prints these values."""
        return render.as_json(self)

    def markdown(self) -> str:
        """Return GitHub-flavoured Markdown, for tickets, reviews and chat; no text of the entries becomes markup."""
        return render.markdown(self)

    def html(self, title: str = "") -> str:
        """Return an HTML page that needs no other file: no script, nothing loaded.

        Args:
            title: The heading; by default the names of both sides.
        """
        return render.html(self, title)

    def stat(self, width: int = 80) -> str:
        """Return figures for each entry, as `git diff --stat` does; `width` is the columns that lines may use."""
        return render.stat(self, width)

    def names(self) -> str:
        """Return the pointers of changed entries, and of changes outside of entries, one per line."""
        return render.names(self)

    @property
    def added(self) -> list[str]:
        """Ids of the entries only on the new side."""
        return self._entries.added

    @property
    def removed(self) -> list[str]:
        """Ids of the entries only on the old side."""
        return self._entries.removed

    @property
    def modified(self) -> list[str]:
        """Ids of the entries on both sides with different content."""
        return self._entries.modified

    @property
    def moved(self) -> list[str]:
        """Ids of the entries with another place among the others, in a collection that is an array."""
        return self._entries.moved

    @property
    def reordered(self) -> int:
        """The number of array entries that changed order with another entry; 0 without moves."""
        return self._entries.reordered

    @cached_property
    def _entries(self) -> Entries:
        found = entries_of(self.hunks, self.collection, self._identities)
        depth = len(self.collection)
        if self._place[0] == self._place[1] or len(self._place[0]) <= depth:
            return found
        # The requested place is an entry or a part of an entry; the entry is named by its key.
        at, token = (tokens[depth] for tokens in self._place)
        added, removed, modified = ([short_token(token, at)] if ids else [] for ids in found[:3])
        sides = {short_token(token, at): found.sides[at]} if at in found.sides else {}
        return Entries(added, removed, modified, [], 0, sides)
