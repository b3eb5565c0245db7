"""Errors of kbstore itself, beside those of the backends, which are passed on under the same names.

As in `backends.errors`, there is one class for each different reaction of a caller: mend the input (`InvalidJSON`,
`PointerError`, `PatchError`), look at what others wrote (`ConflictError`), name a version better (`RevisionError`).
"""

from collections.abc import Sequence
from typing import Any

from backends.errors import (
    BackendError,
    CorruptStore,
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
    "ConflictError",
    "CorruptStore",
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
    "UnsupportedFormat",
]


class InvalidJSON(KBStoreError):
    """A text is not JSON as kbstore accepts it, or a Python value is not such JSON.

    Attributes:
        pointer: Where in the document the fault lies (RFC 6901), or None where that is not known.
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
        pointer: The pointer that was refused, or None where only a token of it was looked at.
    """

    def __init__(self, message: str, *, pointer: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.pointer = pointer


class PatchError(KBStoreError):
    """A JSON Patch is malformed, or does not apply to this document.

    Attributes:
        index: 0-based index of the operation that was refused, or None where the patch as a whole was.
        pointer: The pointer of that operation that was refused, or None.
    """

    def __init__(
        self, message: str, *, index: int | None = None, pointer: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.index = index
        self.pointer = pointer


class ConflictError(KBStoreError):
    """A change cannot be carried over to what others wrote meanwhile, since both touched the same place.

    Attributes:
        pointers: For each place its pointer, our value and theirs.
    """

    def __init__(self, message: str, *, pointers: Sequence[tuple[str, Any, Any]] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.pointers = list(pointers)


class RevisionError(KBStoreError):
    """No version, or more than one, goes by this name.

    Attributes:
        candidates: Full names of the versions that it could mean; empty where there is none.
    """

    def __init__(self, message: str, *, candidates: Sequence[str] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.candidates = list(candidates)
