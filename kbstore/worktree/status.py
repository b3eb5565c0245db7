"""The status of a file in relation to the history, and the errors from work on the file."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kbstore.diff.diff import Diff
from kbstore.errors import KBStoreError
from kbstore.history.version import Version
from kbstore.store import Store
from kbstore.worktree.json_file import FileContent


class OtherFile(KBStoreError):
    """The store keeps the history of another file, and this file was never taken from the store."""


class UncommittedChanges(KBStoreError):
    """The file holds changes that are in no version and would be lost."""


class FileNotWritten(KBStoreError):
    """A version is in the store, but the file could not be updated to the version.

    Attributes:
        version: The version.
    """

    def __init__(self, version: Version, fault: BaseException) -> None:
        reason = str(fault) if isinstance(fault, KBStoreError) else f"{type(fault).__name__}: {fault}"
        super().__init__(
            f"{version.name} is in the store, but the file does not follow it: {reason}",
            hint=getattr(fault, "hint", None),
        )
        self.version = version


@dataclass(frozen=True, slots=True)
class Status:
    """The status of a file in relation to its history.

    Attributes:
        base: The file's base.
        head: The newest version.
        content: The content of the file; None if there is no file.
        diff: From `base` to the file; empty if there are no uncommitted changes, None if there is no file.
        branch: The branch of `head`.
    """

    base: Version
    head: Version
    content: FileContent | None
    diff: Diff | None
    branch: str

    @property
    def clean(self) -> bool:
        """True if every part of the file's content is in a version."""
        return not self.diff

    @property
    def behind(self) -> int:
        """The number of versions after `base`."""
        return self.head.seq - self.base.seq


@contextmanager
def landed(version: Version) -> Iterator[None]:
    """Raise a failure in the block as `FileNotWritten`, so that the landed version is never hidden."""
    try:
        yield
    except Exception as fault:
        raise FileNotWritten(version, fault) from fault


def has_nothing_of(store: Store, version: Version, diff: Diff) -> bool:
    """Return whether a file has no entry of a version: the file is another one, and nobody removed the entries.

    Args:
        store: The store of the version.
        version: The version.
        diff: The differences from the version to the file.
    """
    entries = store.diff("v0", version).added
    return bool(entries) and len(diff.removed) == len(entries)
