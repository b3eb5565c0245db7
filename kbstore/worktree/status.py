"""How a file stands to its history, and what can come of working on it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kbstore.diff.diff import Diff
from kbstore.errors import KBStoreError
from kbstore.history.version import Version
from kbstore.worktree.json_file import FileContent


class OtherFile(KBStoreError):
    """The store keeps the history of another file, and this one was never taken from it."""


class UncommittedChanges(KBStoreError):
    """The file holds changes that are in no version, and would have lost them."""


class FileNotWritten(KBStoreError):
    """A version is in the store, but the file could not follow it.

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
    """How a file stands to its history.

    Attributes:
        base: The version that the file's content was taken from.
        head: The newest version.
        content: What the file holds; None where there is no file.
        diff: From `base` to the file; empty where nothing is uncommitted, None where there is no file.
        branch: The branch that `head` is the newest version of.
    """

    base: Version
    head: Version
    content: FileContent | None
    diff: Diff | None
    branch: str

    @property
    def clean(self) -> bool:
        """True where the file holds nothing that is in no version."""
        return not self.diff

    @property
    def behind(self) -> int:
        """How many versions are newer than `base`."""
        return self.head.seq - self.base.seq


@contextmanager
def landed(version: Version) -> Iterator[None]:
    """Let no failure hide that a version has landed."""
    try:
        yield
    except Exception as fault:
        raise FileNotWritten(version, fault) from fault
