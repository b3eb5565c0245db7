"""Backups: copy a local store into one file while the store is in use, and restore a store from such a file."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kbstore import backends
from kbstore.errors import ConflictError, CorruptStore, KBStoreError
from kbstore.history.branch import MAIN_BRANCH, MAIN_LOG
from kbstore.history.refs import Refs
from kbstore.kit.clock import Clock, SystemClock
from kbstore.store import Store
from kbstore.sync.remote import newest_common, sound_events

_SHOWN_PROBLEMS = 3


@dataclass(frozen=True, slots=True)
class Backup:
    """The result of a backup or of a restore.

    Attributes:
        path: The new file; for a restore, the store.
        version: Name of the newest version in the file; None for an empty store.
        replaced: For a restore, the new path of the replaced file; None if no file was replaced.
        only_in_replaced: Number of versions in the replaced file alone; None if the file cannot be read.
        continues: Whether the replaced file continues the backup, so that ``kbstore pull`` brings the versions back.
        damaged: Whether the replaced file can be opened, but some of the versions in this file alone cannot be read.
    """

    path: Path
    version: str | None
    replaced: Path | None = None
    only_in_replaced: int | None = None
    continues: bool = False
    damaged: bool = False


def backup_store(location: str | os.PathLike[str], target: str | os.PathLike[str], *, verify: bool = False) -> Backup:
    """Copy a local store at one moment into a new file; others may write the store meanwhile.

    Args:
        location: The store.
        target: The file to make, or a folder for a new ``kb.db``.
        verify: Prove the copy from the bytes before the file gets its name. Costs as much as `Store.verify`.

    Raises:
        KBStoreError: The target is an empty path.
        StoreExists: The target exists.
        StoreNotFound: There is no store.
        BackendError: The store is in a bucket, not a single file: use ``kbstore clone`` for a copy.
        StoreUnavailable: The target cannot be written, for example because the disk is full.
        CorruptStore: With `verify`: the copy is not whole, so no file was made.
    """
    looked = _Look(verify)
    path = backends.backup_store(location, _named(target), looked)
    return Backup(path, looked.version)


def restore_backup(
    location: str | os.PathLike[str],
    source: str | os.PathLike[str],
    *,
    verify: bool = True,
    force: bool = False,
    clock: Clock | None = None,
) -> Backup:
    """Replace a local store with a copy of a backup, and keep the replaced file beside the store.

    Args:
        location: The store; it may be damaged or missing.
        source: The backup, or a folder with the backup as ``kb.db``; the backup stays unchanged.
        verify: Prove the copy from its bytes first.
        force: Replace the store even if the store holds another history.
        clock: Gives the time, for the name of the replaced file.

    Raises:
        KBStoreError: `source` is an empty path.
        ConflictError: The backup and the store have no version in common, and `force` is False; nothing was changed.
        StoreUnavailable: The store is open elsewhere; nothing was changed.
        StoreNotFound: There is no backup at `source`.
        BackendError: The store is not a single file.
        CorruptStore: The backup is damaged; nothing was changed.
    """
    looked, backup = _Look(verify), _named(source)

    def look(draft: str) -> None:
        looked(draft)
        if not force and (found := _compared(location, draft)) is not None and not found.shared and found.only_in_old:
            raise ConflictError(
                f"{os.fspath(source)} is not a backup of {os.fspath(location)}: they have no version in common, and "
                f"{_counted(found.only_in_old)} would be replaced; nothing was changed",
                hint="name the store that it belongs to with --store; to replace this one all the same, use --force",
            )

    kept = f"replaced-{(clock or SystemClock()).now():%Y%m%d_%H%M%S}"
    replaced = backends.restore_store(location, backup, kept, look)
    # Compare once more: other writers may have committed before the store was replaced.
    found = _compared(replaced, location, prove=True) if replaced is not None else None
    if found is None:
        return Backup(Path(location), looked.version, replaced, damaged=replaced is not None and _opens(replaced))
    return Backup(Path(location), looked.version, replaced, *found[1:])


def _named(path: str | os.PathLike[str]) -> Path:
    if not os.fspath(path):  # as a Path it would be the current folder
        raise KBStoreError("an empty path names no file", hint="name the file of the backup")
    return Path(path)


class _Compared(NamedTuple):
    """The differences between an older store and the new store in its place.

    Attributes:
        shared: Number of versions in both stores.
        only_in_old: Number of versions in the older store alone.
        continues: Whether each branch of the older store continues the same branch of the other store.
        damaged: Whether some of the versions in the older store alone are damaged.
    """

    shared: int
    only_in_old: int
    continues: bool
    damaged: bool


def _compared(old: str | os.PathLike[str], new: str | os.PathLike[str], *, prove: bool = False) -> _Compared | None:
    """Compare two stores, branch by branch; return None if a store cannot be read.

    Args:
        old: The replaced store.
        new: The new store.
        prove: Read all versions in the old store alone, to check whether a copy is possible.
    """
    shared = only_in_old = 0
    continues, damaged = True, False
    try:
        with Store.open(old, read_only=True) as before, Store.open(new, read_only=True) as after:
            there = _branches(after)
            for log, name in _branches(before).items():
                branch = before.on(name)
                line = branch.line
                start, (_, end) = line.segments[-1].offset, line.tail()
                newest = common = start
                if log in there:
                    other = after.on(there[log])
                    _, newest = other.line.tail()
                    common = max(start, newest_common(branch, other, 0, min(end, newest) + 1))
                shared += common - start
                only_in_old += end - common
                continues &= common in (end, newest)
                damaged |= prove and not _can_be_copied(branch, common + 1, end)
    except KBStoreError:
        return None
    return _Compared(shared, only_in_old, continues, damaged)


def _branches(store: Store) -> dict[str | None, str]:
    """Return the name of each branch by log, removed branches included."""
    return {MAIN_LOG: MAIN_BRANCH} | Refs(store.backend).read().logs


def _opens(location: Path) -> bool:
    try:
        Store.open(location, read_only=True).close()
    except KBStoreError:
        return False
    return True


def _can_be_copied(store: Store, first: int, last: int) -> bool:
    try:
        for _ in sound_events(store, first, last):
            pass
    except CorruptStore:
        return False
    return True


def _counted(number: int) -> str:
    return f"{number:,} version{'' if number == 1 else 's'}"


class _Look:
    """Check of a finished copy before the copy gets its name."""

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
