"""A change to commit: a document or a patch, with author, time and message."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeGuard

from kbstore.backends.names import MAX_WRITE_ID
from kbstore.errors import KBStoreError

if TYPE_CHECKING:
    import jsonpatch

    PatchLike = Iterable[Mapping[str, Any]] | jsonpatch.JsonPatch | bytes | str

UNSET: Any = object()
"""The default of an argument for which None is a value."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change for `Store.commit_many`: a document, or a patch.

    Attributes:
        document: The whole new document; None is the document ``null``, unless there is a patch.
        patch: RFC 6902 operations, instead of a document.
        message: Why the change was made.
        author: Name of the author; if empty, the store's default author.
        tags: Labels.
        authored: Time of writing, if not now.
        meta: Free, for integrations.
        allow_empty: Make a version even if nothing changes.
        keep_order_changes: Make a version even if only the order of members changes.
    """

    document: Any = field(default=UNSET)
    patch: "PatchLike | None" = None
    message: str = ""
    author: str = ""
    tags: Sequence[str] = ()
    authored: datetime | None = None
    meta: Mapping[str, Any] | None = None
    allow_empty: bool = False
    keep_order_changes: bool = False

    @property
    def has_document(self) -> bool:
        """Whether a document was given; None with a patch does not count as a document."""
        return self.document is not UNSET and not (self.document is None and self.patch is not None)


class FreshId(str):
    """A write id made just now: a write with this id cannot exist yet, so there is no search for such a write."""

    __slots__ = ()


class OwnId(str):
    """A write id kept for exactly this change: a landed write with this id is this change."""

    __slots__ = ()


def may_have_landed(write_id: str | None) -> TypeGuard[str]:
    """Return whether a write with this id may be in the store already."""
    return write_id is not None and not isinstance(write_id, FreshId)


def check_text(author: str, message: str, tags: Sequence[str]) -> None:
    """Raise `KBStoreError` if a text cannot be in a header."""
    if isinstance(tags, str):
        raise KBStoreError("tags is one text; give a list of texts")
    for what, text in (("author", author), ("message", message), *(("tag", t) for t in tags)):
        if not isinstance(text, str):
            raise KBStoreError(f"the {what} is not text but {type(text).__name__}")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise KBStoreError(f"the {what} holds a lone surrogate, which no JSON text can") from None


def check_write_id(write_id: str) -> None:
    """Raise `KBStoreError` for a write id that backends refuse."""
    if not 0 < len(write_id) <= MAX_WRITE_ID or any("\ud800" <= c <= "\udfff" for c in write_id):
        raise KBStoreError(f"a write id is 1 to {MAX_WRITE_ID} characters of text", hint="a random one of 16 will do")


def default_author() -> str:
    """Return ``user@host``, the author if no author is named."""
    import getpass
    import socket

    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        return f"uid{os.getuid()}@{socket.gethostname()}"
