"""Errors of kbstore itself, beside those of the backends, which are passed on under the same names.

As in `kbstore.kit.errors`, there is one class for each different reaction of a caller: fix the input (`InvalidJSON`,
`PointerError`, `PatchError`), look at what others wrote (`ConflictError`), name a version better (`RevisionError`).
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
    """What is stored of one version is damaged. Others may be readable; `kbstore.verify.verify` finds which.

    Attributes:
        seq: The version that is damaged.
        what: What of it, as a clause: "its patch cannot be read".
    """

    def __init__(self, seq: int, what: str, *, reading: str = "") -> None:
        message = f"version v{seq} is damaged: {what}"
        hint = "kbstore verify says which versions can be read; kbstore salvage DIR writes all that can be proved"
        super().__init__(f"{reading} cannot be read: {message}" if reading else message, hint=hint)
        self.seq = seq
        self.what = what


class TooLarge(KBStoreError):
    """A stored value is larger than what is read of its store, as the document of a forged store may be.

    The hint says how to allow more.
    """


class InvalidJSON(KBStoreError):
    """A text is not JSON as kbstore accepts it, or a Python value is not such JSON.

    Attributes:
        pointer: The place of the fault in the document (RFC 6901), or None if it is not known.
        line: 1-based line of the text, or None for a Python value.
        column: 1-based character in that line, or None for a Python value.
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
        pointer: The pointer that was refused, or None if only a token of it was looked at.
    """

    def __init__(self, message: str, *, pointer: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.pointer = pointer


class PatchError(KBStoreError):
    """A JSON Patch is malformed, or does not apply to this document.

    Attributes:
        index: 0-based index of the operation that was refused, or None if the patch as a whole was.
        pointer: The pointer of that operation that was refused, or None.
    """

    def __init__(
        self, message: str, *, index: int | None = None, pointer: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.index = index
        self.pointer = pointer


class Conflict(NamedTuple):
    """One place that two changes since the same base both touched.

    Attributes:
        pointer: The place.
        kind: What happened to it: see `kbstore.jsondoc.conflicts`.
        base: Its value in the base; `kbstore.jsondoc.canonical.MISSING` if there is none, as for the other two.
        ours: Its value in the change that was refused.
        theirs: Its value in the newest version.
    """

    pointer: str
    kind: str
    base: Any
    ours: Any
    theirs: Any


class ConflictError(KBStoreError):
    """A change cannot be carried over to what others wrote meanwhile, since both touched the same place.

    Attributes:
        conflicts: Each place; empty if a newer version alone is the reason.
    """

    def __init__(self, message: str, *, conflicts: Sequence[Conflict] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.conflicts = list(conflicts)

    @property
    def pointers(self) -> list[tuple[str, Any, Any]]:
        """For each place its pointer, our value and theirs."""
        return [(conflict.pointer, conflict.ours, conflict.theirs) for conflict in self.conflicts]


class RevisionError(KBStoreError):
    """A text names no version, or more than one.

    Attributes:
        candidates: Full names of the versions that it could mean; empty if there is none.
    """

    def __init__(self, message: str, *, candidates: Sequence[str] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.candidates = list(candidates)
