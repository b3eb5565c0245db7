"""Backups: a local store copied into one file while it is in use, and such a file put back in its place."""

import os
from dataclasses import dataclass
from pathlib import Path

import backends
from kbstore.clock import Clock, SystemClock
from kbstore.errors import CorruptStore
from kbstore.store import Store

_SHOWN_PROBLEMS = 3


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was made or brought back.

    Attributes:
        path: The file that was made; for a restore, the store.
        version: Name of the newest version in it; None if it has none.
        replaced: For a restore, where the file that was replaced is now; None if there was none.
    """

    path: Path
    version: str | None
    replaced: Path | None = None


def backup_store(location: str | os.PathLike[str], target: str | os.PathLike[str], *, verify: bool = False) -> Backup:
    """Copy a local store into a new file, as it is at one moment; others may write it meanwhile.

    Args:
        location: The store.
        target: The file to make, or a folder in which to make ``kb.db``.
        verify: Prove the copy from its bytes before it gets its name. Costs what `Store.verify` costs.

    Raises:
        StoreExists: The target exists.
        StoreNotFound: There is no store, or it is not one file (on a bucket): copy that with ``kbstore clone``.
        StoreUnavailable: The target cannot be written, for example since the disk is full.
        CorruptStore: With `verify`: the copy is not whole, so no file was made.
    """
    looked = _Look(verify)
    path = backends.backup_store(location, Path(target), looked)
    return Backup(path, looked.version)


def restore_backup(
    location: str | os.PathLike[str],
    source: str | os.PathLike[str],
    *,
    verify: bool = True,
    clock: Clock | None = None,
) -> Backup:
    """Put a copy of a backup in the place of a local store, and keep what it replaces beside it.

    Args:
        location: The store; it may be damaged or missing.
        source: The backup; it stays as it is.
        verify: Prove the copy from its bytes first.
        clock: Gives the time, which is part of the name that the replaced file gets.

    Raises:
        StoreUnavailable: The store is open elsewhere; nothing was changed.
        StoreNotFound: There is no backup at `source`, or the store is not one file.
        CorruptStore: The backup is damaged; nothing was changed.
    """
    looked = _Look(verify)
    kept = f"replaced-{(clock or SystemClock()).now():%Y%m%d_%H%M%S}"
    replaced = backends.restore_store(location, Path(source), kept, looked)
    return Backup(Path(location), looked.version, replaced)


class _Look:
    """Looks at a finished copy before it gets its name."""

    def __init__(self, verify: bool) -> None:
        self.version: str | None = None
        self._verify = verify

    def __call__(self, draft: str) -> None:
        with Store.open(draft, read_only=True) as store:
            head = store.head()
            self.version = head.name if head.seq else None
            problems = store.verify().problems if self._verify else []
        if problems:
            raise CorruptStore(
                f"the backup is not whole: {'; '.join(problems[:_SHOWN_PROBLEMS])}",
                hint="run kbstore verify on its source to see all that is wrong; nothing was written",
            )
