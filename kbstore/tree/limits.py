"""Limits on the size of a value to read: a few kilobytes of nodes with references to each other could ask for any size.

A node in many places is stored once, so the size of a store does not bound the size of a document.
"""

import os
from collections.abc import Iterable

from kbstore.backends.base import Backend
from kbstore.errors import KBStoreError, TooLarge

VARIABLE = "KBSTORE_MAX_DOCUMENT_BYTES"
"""The environment variable for the largest size of a document, in bytes."""
LARGEST_BYTES = 32 << 20
"""The size of a value that may be read from any store."""
MOST_EXPANDED = 128
"""The largest ratio of a value over `LARGEST_BYTES` to the store's size; honest values have a tenth of the ratio."""
MOST_EXPANDED_AT_FIRST = MOST_EXPANDED // 2
"""The same for values to write: `gc` may pack a store more tightly, and written values must stay readable."""
LARGEST_REMOTE_BYTES = 4 << 30
"""The largest value from a store whose size would cost requests to learn."""


class Limit:
    """The limit of a store.

    Args:
        backend: The store.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def admit(self, size_bytes: int, *, again: bool = False) -> int:
        """Return a value's size if the value may be read.

        Args:
            size_bytes: The size.
            again: The size is of values already read before; repeated values take no room in the store.

        Raises:
            TooLarge: The value is too large.
        """
        if size_bytes > LARGEST_BYTES and size_bytes > (most := self._most(again=again)):
            raise TooLarge(
                f"a value takes {size_bytes:,} bytes, and at most {most:,} are read of this store",
                hint=f"if you trust the store, allow more: {VARIABLE}={2 * size_bytes}",
            )
        return size_bytes

    def admit_new(self, size_bytes: int, added: Iterable[bytes]) -> None:
        """Refuse a document that could not be read after writing.

        Args:
            size_bytes: The size of the document.
            added: The data to write with the document, before compression; read only for a document of more than
                `LARGEST_BYTES`.

        Raises:
            TooLarge: The document repeats itself so much that the store would be too small for reading it.
        """
        if size_bytes <= LARGEST_BYTES:
            return
        if os.environ.get(VARIABLE) or self._backend.remote:
            most = self._most(again=False)
        else:
            import zstandard

            packed = sum(len(zstandard.compress(data, 1)) for data in added)
            most = max(LARGEST_BYTES, MOST_EXPANDED_AT_FIRST * (self._backend.size_bytes() + packed))
        if size_bytes > most:
            raise TooLarge(
                f"the document would take {size_bytes:,} bytes, and at most {most:,} would be read of this store",
                hint=f"for whoever writes or reads it, allow more: {VARIABLE}={2 * size_bytes}",
            )

    def _most(self, *, again: bool) -> int:
        said = os.environ.get(VARIABLE, "")
        if said:
            if not said.isascii() or not said.isdigit():
                raise KBStoreError(f"{VARIABLE} is not a number of bytes: {said[:40]!r}")
            return int(said)
        if again:
            return LARGEST_BYTES
        if self._backend.remote:
            return LARGEST_REMOTE_BYTES
        return max(LARGEST_BYTES, MOST_EXPANDED * self._backend.size_bytes())
