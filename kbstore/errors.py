"""Errors of kbstore itself, and the errors of the backends, passed on under the same names.

As in `kbstore.kit.errors`, each different reaction of a caller has a class: fix the input (`InvalidJSON`,
`PointerError`, `PatchError`), look at the changes of others (`ConflictError`), name a version better (`RevisionError`).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from kbstore.kit.errors import (
    BackendError,
    CorruptStore,
    DiskFull,
    KBStoreError,
    OutcomeUnknown,
    ReadOnlyStore,
    SlotTaken,
    StoreExists,
    StoreNotFound,
    StoreUnavailable,
    UnsupportedFormat,
)

__all__ = [
    "BackendError",
    "Conflict",
    "ConflictError",
    "CorruptStore",
    "DamagedVersion",
    "DiskFull",
    "InvalidJSON",
    "KBStoreError",
    "OutcomeUnknown",
    "PatchError",
    "PointerError",
    "ReadOnlyStore",
    "RevisionError",
    "SlotTaken",
    "StoreExists",
    "StoreNotFound",
    "StoreUnavailable",
    "TooLarge",
    "UnsupportedFormat",
]


class DamagedVersion(CorruptStore):
    """The stored data of a version is damaged. Other versions may be readable; `kbstore.verify.verify` finds out.

    Attributes:
        seq: The damaged version.
        what: The damaged part, as a clause: "its patch cannot be read".
    """

    def __init__(self, seq: int, what: str, *, reading: str = "") -> None:
        message = f"version v{seq} is damaged: {what}"
        hint = "kbstore verify says which versions can be read; kbstore salvage DIR writes all that can be proved"
        super().__init__(f"{reading} cannot be read: {message}" if reading else message, hint=hint)
        self.seq = seq
        self.what = what


class TooLarge(KBStoreError):
    """A stored value is larger than the limit for reading. A forged store may hold such a document.

    The hint says how to raise the limit.
    """


class InvalidJSON(KBStoreError):
    """A text is not JSON as kbstore accepts it, or a Python value is not such JSON.

    Attributes:
        pointer: The place of the error in the document (RFC 6901), or None if unknown.
        line: 1-based line of the text, or None for a Python value.
        column: 1-based character in the line, or None for a Python value.
    """

    def __init__(
        self,
        message: str,
        *,
        pointer: str | None = None,
        line: int | None = None,
        column: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.pointer = pointer
        self.line = line
        self.column = column


class PointerError(KBStoreError):
    """A JSON Pointer is malformed, or points at nothing in this document.

    Attributes:
        pointer: The refused pointer, or None if only a token of the pointer was checked.
    """

    def __init__(self, message: str, *, pointer: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.pointer = pointer


class PatchError(KBStoreError):
    """A JSON Patch is malformed, or does not apply to this document.

    Attributes:
        index: 0-based index of the refused operation, or None if the patch as a whole was refused.
        pointer: The refused pointer of this operation, or None.
    """

    def __init__(
        self, message: str, *, index: int | None = None, pointer: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.index = index
        self.pointer = pointer


class Conflict(NamedTuple):
    """A place that two changes since the same base both touched.

    Attributes:
        pointer: The place.
        kind: The kind of conflict; `kbstore.jsondoc.conflicts` has the list.
        base: The value in the base; like `ours` and `theirs`, `kbstore.jsondoc.canonical.MISSING` if there is no value.
        ours: The value in the refused change.
        theirs: The value in the newest version.
    """

    pointer: str
    kind: str
    base: Any
    ours: Any
    theirs: Any


class ConflictError(KBStoreError):
    """A change cannot be carried over to a newer version, since others changed the same place meanwhile.

    Attributes:
        conflicts: Each place; empty if a newer version alone is the reason.
    """

    def __init__(self, message: str, *, conflicts: Sequence[Conflict] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.conflicts = list(conflicts)

    @property
    def pointers(self) -> list[tuple[str, Any, Any]]:
        """Return, for each place, the pointer, our value and the value of the others."""
        return [(conflict.pointer, conflict.ours, conflict.theirs) for conflict in self.conflicts]


class RevisionError(KBStoreError):
    """A text does not name a version, or names several versions.

    Attributes:
        candidates: Full names of the possible versions; empty if there are no candidates.
    """

    def __init__(self, message: str, *, candidates: Sequence[str] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.candidates = list(candidates)
