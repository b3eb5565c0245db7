"""Every error that a user of the store can meet has one root, and a hint of what to do.

There is one class for each different reaction of a caller, not one for each cause: retry with the same write id
(`OutcomeUnknown`), read and rebase (`SlotTaken`), choose another place (`StoreNotFound`, `StoreExists`), repair
(`CorruptStore`), upgrade (`UnsupportedFormat`), free space or wait (`StoreUnavailable`).
"""


class KBStoreError(Exception):
    """Root of every error raised by kbstore and its backends.

    Attributes:
        hint: The one next step for the reader, or None.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class BackendError(KBStoreError):
    """Bytes could not be read or written as asked."""


class StoreNotFound(BackendError):
    """There is no store at this location."""


class StoreExists(BackendError):
    """A new store cannot be made here, since something is here already."""


class UnsupportedFormat(BackendError):
    """The store was written by a version of kbstore that this one cannot read."""


class ReadOnlyStore(BackendError):
    """Something was to be written to a store that was opened for reading, or lies on read-only media."""


class StoreUnavailable(BackendError):
    """The store cannot be used now: the disk is full, a lock is held too long, permission is missing.

    Nothing was written; the same call may succeed later.
    """


class DiskFull(StoreUnavailable):
    """There is no room to write. What is stored can be read meanwhile, by opening it read-only."""


class CorruptStore(BackendError):
    """Stored bytes are not what was written. The message names the record, chunk or file."""


class SlotTaken(BackendError):
    """Another writer won this slot. Read what it wrote, then rebase or report a conflict."""


class OutcomeUnknown(BackendError):
    """A write may or may not have become durable, and asking again gave no answer.

    Attributes:
        write_id: Repeat the commit with this id: it returns the version if it landed, and never lands it twice.
    """

    def __init__(self, message: str, *, write_id: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint or f"repeat the commit with write_id={write_id!r}; it cannot land twice")
        self.write_id = write_id
