"""A version as callers see it: an event with a name, and the patch on demand."""

from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from typing import Any, Self

from kbstore.history.branch import Entry, Line
from kbstore.history.event import Event


class Version:
    """A version of a knowledge base. Immutable; versions with the same id are equal.

    A pickle takes the patch along if it was read, but not the store: any handle of the same store accepts the unpickled
    version as a revision, and finds it by id.

    Attributes:
        seq: 1, 2, ... along the branch; 0 is the empty beginning.
        created: False if a commit changed nothing and this is the unchanged head.
        notes: Remarks from the commit, a sentence each, for the log of a service: the clock seems to be wrong
            (`kbstore.kit.clock_notes`). Only the version returned by a commit has notes.
    """

    def __init__(
        self,
        entry: Entry | None,
        line: Line,
        read_patch: Callable[[Line, int], list[dict[str, Any]]],
        *,
        created: bool = True,
        notes: tuple[str, ...] = (),
    ) -> None:
        self._entry = entry
        self._line: Line | None = line
        self._read_patch = read_patch
        self.created = created
        self.notes = notes
        self.seq: int = entry.event.seq if entry is not None else 0

    @property
    def entry(self) -> Entry | None:
        """The event with the bytes from the log; None for version 0."""
        return self._entry

    @property
    def line(self) -> Line | None:
        """The line of versions with this version; None after a pickle."""
        return self._line

    @property
    def event(self) -> Event:
        """The header of the event."""
        if self._entry is None:
            raise LookupError("version 0 is the empty beginning and has no event")
        return self._entry.event

    @property
    def id(self) -> str:
        """SHA-256 of the event's header: 64 hexadecimal digits; empty for version 0."""
        return self._entry.id if self._entry is not None else ""

    @property
    def name(self) -> str:
        """The full name, such as ``v3_20250127_120000``."""
        if self._entry is None:
            return "v0"
        time = self._entry.event.time
        return f"v{self.seq}_{time[:4]}{time[5:7]}{time[8:10]}_{time[11:13]}{time[14:16]}{time[17:19]}"

    @property
    def parents(self) -> tuple[str, ...]:
        """Ids of the versions before; a merge has two."""
        return self._entry.event.parents if self._entry is not None else ()

    @property
    def time(self) -> datetime | None:
        """Time of the commit, in UTC, never before the parent's; None for version 0. Searches in logs use this time."""
        return self._entry.event.moment if self._entry is not None else None

    @property
    def authored(self) -> datetime | None:
        """Time of writing the change: `time`, unless the change was imported, or `time` was taken from the parent."""
        if self._entry is None:
            return None
        return self._entry.event.written

    @property
    def author(self) -> str:
        """Name of the author."""
        return self._entry.event.author if self._entry is not None else ""

    @property
    def message(self) -> str:
        """Why the change was made."""
        return self._entry.event.message if self._entry is not None else ""

    @property
    def tags(self) -> tuple[str, ...]:
        """Labels of the version."""
        return self._entry.event.tags if self._entry is not None else ()

    @property
    def meta(self) -> dict[str, Any]:
        """Data from integrations."""
        return dict(self._entry.event.meta or {}) if self._entry is not None else {}

    @property
    def state(self) -> str | None:
        """Root hash of the resulting state: equal for equal content. None for version 0."""
        return self._entry.event.state if self._entry is not None else None

    @cached_property
    def patch(self) -> list[dict[str, Any]]:
        """The change from the (first) parent as RFC 6902; read from the store at the first use.

        Raises:
            LookupError: The version was unpickled, and the patch was not read before.
        """
        if self._entry is None:
            return []
        if self._line is None:
            raise LookupError(f"{self.name} was unpickled without its patch; store.version(version).patch reads it")
        return self._read_patch(self._line, self.seq)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for ``kbstore log --json``."""
        if self._entry is None:
            return {"seq": 0, "version": "v0", "state": None}
        event = self._entry.event
        fields: dict[str, Any] = {
            "seq": self.seq,
            "version": self.name,
            "id": self.id,
            "parents": list(event.parents),
            "time": event.time,
            "author": event.author,
            "message": event.message,
            "tags": list(event.tags),
            "state": event.state,
        }
        if event.authored is not None:
            fields["authored"] = event.authored
        if event.meta:
            fields["meta"] = event.meta
        return fields

    def __getstate__(self) -> dict[str, Any]:
        # Nothing is read here: a process that hands a version back has often closed the store.
        return {**self.__dict__, "_line": None, "_read_patch": None}

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<Version {self.name} {self.id[:8]} {self.author!r} {self.message[:40]!r}>"
