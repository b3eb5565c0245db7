"""The difference between two versions: patch, inverse, what was added, removed and modified by entry, in every form."""

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
    """What changed from an old state to a new one.

    Args:
        hunks: The differing members and array regions.
        collection: Where the entries are: the tokens of the pointer to their container.
        old_name: What to call the old side.
        new_name: What to call the new side.
        identities: Members that identify the elements of an array, by its pointer; those of other arrays are found.
        read_entry: Gives an entry that the hunks do not hold whole, before and after: see `sides`.
        read_element: Gives the old elements above a pointer that was asked for: see `kbstore.jsondoc.guarded_patch`.
        read_elements: Gives the first elements of an old array of which the hunks have regions: likewise.
        base: Id of the version that is the old side, ``v0`` for the empty beginning; None if it is not a version.
        read_turned: Gives the pointers of the objects whose members are in another order, for sides that are equal.
        place: The pointer that was asked for and its address, as tokens; the hunks are at or below that pointer.

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
        """RFC 6902 operations that turn the old side into exactly the new one."""
        return patch_of(self.hunks, self._identities)

    @cached_property
    def guarded_patch(self) -> list[dict[str, Any]]:
        """The same with tests of what it removes and replaces, so that another version refuses it."""
        return guarded_patch(self.hunks, self._identities, self._read_element, self._read_elements)

    @cached_property
    def inverse(self) -> list[dict[str, Any]]:
        """RFC 6902 operations that turn the new side back into exactly the old one."""
        return patch_of(inverse(self.hunks), self._identities)

    def changes(self) -> list[Change]:
        """Every changed value, one by one, for people."""
        found = changes(self.hunks, self._identities)
        if self._place[0] == self._place[1]:
            return found
        pointer, address = map(format_pointer, self._place)
        return [change._replace(address=address + change.address[len(pointer) :]) for change in found]

    @cached_property
    def turned(self) -> list[str]:
        """Pointers of the objects whose members are in another order, if that is all that differs between two versions.

        Costs both documents, but only if the versions differ in order alone.
        """
        return self._read_turned() if self._read_turned is not None and not self.hunks else []

    @property
    def is_part(self) -> bool:
        """Whether the pointer that was asked for lies inside of one entry: the rest of it may differ as well."""
        return len(self._place[0]) > len(self.collection) + 1

    def sides(self, entry: str) -> tuple[Any, Any] | None:
        """Return a whole entry before and after, `MISSING` if it is not there.

        Args:
            entry: Its id, as in `added`, `removed`, `modified` and `moved`.

        Returns:
            None if the diff cannot read it, such as an element of an array that has no id and did not change.
        """
        if (known := self._entries.sides.get(entry)) is not None:
            return known
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
        return self._entries.added

    @property
    def removed(self) -> list[str]:
        """Ids of the entries that only the old side has."""
        return self._entries.removed

    @property
    def modified(self) -> list[str]:
        """Ids of the entries that both sides have, with different content."""
        return self._entries.modified

    @property
    def moved(self) -> list[str]:
        """Ids of the elements of a collection that is an array which are elsewhere among the others."""
        return self._entries.moved

    @property
    def reordered(self) -> int:
        """How many entries of an array are before or behind another one than they were; 0 if none was moved."""
        return self._entries.reordered

    @cached_property
    def _entries(self) -> Entries:
        found = entries_of(self.hunks, self.collection, self._identities)
        depth = len(self.collection)
        if self._place[0] == self._place[1] or len(self._place[0]) <= depth:
            return found
        # What was asked for is one entry or lies in one, which is called by its key.
        at, token = (tokens[depth] for tokens in self._place)
        added, removed, modified = ([short_token(token, at)] if ids else [] for ids in found[:3])
        sides = {short_token(token, at): found.sides[at]} if at in found.sides else {}
        return Entries(added, removed, modified, [], 0, sides)
