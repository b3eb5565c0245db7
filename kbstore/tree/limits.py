"""How large a value may be that is read: a few kilobytes of nodes that name each other could ask for any amount.

A node that stands in many places is stored once, so what a document takes is not bounded by what its store takes.
"""

import os
from collections.abc import Iterable

from kbstore.backends.base import Backend
from kbstore.errors import KBStoreError, TooLarge

VARIABLE = "KBSTORE_MAX_DOCUMENT_BYTES"
"""The environment variable that says how large a document may be."""
LARGEST_BYTES = 32 << 20
"""What may be read of any store."""
MOST_EXPANDED = 128
"""A larger value may be at most so many times what its store takes; honest ones are a tenth of that."""
MOST_EXPANDED_AT_FIRST = MOST_EXPANDED // 2
"""The same for what is written: `gc` may pack a store more tightly, and what was written is to be read all the same."""
LARGEST_REMOTE_BYTES = 4 << 30
"""The same where it would cost requests to learn what the store takes."""


class Limit:
    """The limit of one store.

    Args:
        backend: The store.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def admit(self, size_bytes: int, *, again: bool = False) -> int:
        """Return a value's size if it may be read.

        Args:
            size_bytes: The size.
            again: It is one of values that are read over and over, of which the store takes no room.

        Raises:
            TooLarge: It may not.
        """
        if size_bytes > LARGEST_BYTES and size_bytes > (most := self._most(again=again)):
            raise TooLarge(
                f"a value takes {size_bytes:,} bytes, and at most {most:,} are read of this store",
                hint=f"if you trust the store, allow more: {VARIABLE}={2 * size_bytes}",
            )
        return size_bytes

    def admit_new(self, size_bytes: int, added: Iterable[bytes]) -> None:
        """Refuse a document that could not be read once it was written.

        Args:
            size_bytes: Its size.
            added: What is written with it, not yet compressed; only looked at for a document of more than
                `LARGEST_BYTES`.

        Raises:
            TooLarge: It repeats itself so much that its store would take too little for it.
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
