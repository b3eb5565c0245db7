"""The errors that a user of the store can meet: a common root, and a hint.

There is a class for each different reaction of a caller, not for each cause: retry with the same write id
(`OutcomeUnknown`), read and rebase (`SlotTaken`), choose another place (`StoreNotFound`, `StoreExists`), repair
(`CorruptStore`), upgrade (`UnsupportedFormat`), free space or wait (`StoreUnavailable`).
"""

from typing import Any


def made_again(kind: type[Exception], arguments: tuple[Any, ...]) -> Exception:
    """Make an error for a pickle or a copy; the attributes follow.

    By default, Python calls the class with the message alone, and classes that take more arguments fail.
    """
    return kind.__new__(kind, *arguments)


class KBStoreError(Exception):
    """The base class of every error raised by kbstore and its backends.

    Attributes:
        hint: The next step for the reader, or `None`.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        return made_again, (type(self), self.args), self.__dict__


class BackendError(KBStoreError):
    """Bytes could not be read or written as requested."""


class StoreNotFound(BackendError):
    """There is no store at this location."""


class StoreExists(BackendError):
    """A new store cannot be made here, since the location is not empty."""


class UnsupportedFormat(BackendError):
    """The store was written by another version of kbstore, in a format that this version cannot read."""


class ReadOnlyStore(BackendError):
    """A write was refused: the store was opened for reading, or is on read-only media."""


class StoreUnavailable(BackendError):
    """The store cannot be used now: the disk is full, a lock is held too long, permission is missing.

    Nothing was written; the same call may succeed later.
    """


class DiskFull(StoreUnavailable):
    """The disk has no room for the write. Opening the store read-only still works."""


class CorruptStore(BackendError):
    """Stored bytes differ from the bytes that were written. The message names the record, chunk or file."""


class SlotTaken(BackendError):
    """Another writer won this slot. Read the winner's record, then rebase or report a conflict."""


class OutcomeUnknown(BackendError):
    """A write may or may not have become durable, and a second request gave no answer.

    Attributes:
        write_id: Repeat the commit with this id. If the first write landed, the repeated commit returns its version and
            does not land again.
    """

    def __init__(self, message: str, *, write_id: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint or f"repeat the commit with write_id={write_id!r}; it cannot land twice")
        self.write_id = write_id
