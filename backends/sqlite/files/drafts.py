"""Drafts: a file is made whole under another name and then renamed; unfinished drafts are removed later.

The maker of a draft holds a shared lock on the folder, which ends with the process. If a process gets that lock alone,
then the maker of every draft in the folder was killed, or a signal's exception prevented the cleanup. The same is true
for a second name, under which a restore was about to keep the store before the restore was cut short. Without the lock,
nobody removes drafts or second names: a moment later a draft may be the only name of a store.
"""

import contextlib
import errno
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

from kbstore.backends.sqlite.files.names import family
from kbstore.kit.folders import folder_lock

DRAFT = ".new"
_LEFT = re.compile(r"\..+\.\d+-\d+\.new(-wal|-shm|-journal)?|\.kb\.db\.\d+\.probe", re.DOTALL)
_KEPT = re.compile(r"(.+)\.replaced-.+", re.DOTALL)


@contextlib.contextmanager
def drafting(target: Path) -> Iterator[Path]:
    """Give a name for a file that is to become `target`; a file with this name at the end is removed.

    Raises:
        OSError: A file with the name cannot be removed, or another program keeps the folder locked.
    """
    draft = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}{DRAFT}")
    remove_left_drafts(target.parent)
    with folder_lock(target.parent, alone=False) as locked:
        if locked is False:
            raise OSError(errno.EAGAIN, "another program keeps its folder locked")
        try:
            draft.unlink(missing_ok=True)
            yield draft
        finally:
            for leftover in family(draft):
                with contextlib.suppress(OSError):  # a leftover is harmless, and must not hide the result
                    leftover.unlink(missing_ok=True)


def remove_left_drafts(folder: Path) -> None:
    """Remove unused drafts and second names, unless a draft is being made in this folder now."""
    with folder_lock(folder, alone=True) as alone:
        if alone:
            for left in folder.iterdir():
                if _LEFT.fullmatch(left.name) or _is_second(left):
                    with contextlib.suppress(OSError):  # another user's, in a shared folder
                        left.unlink()


def second_names(path: Path) -> list[Path]:
    """Return the other names of a store that is being made or replaced, or was until an interruption.

    Args:
        path: The store, without symbolic links.
    """
    try:
        beside = list(path.parent.iterdir())
    except OSError:  # a folder that may not be listed
        return []
    return [
        name for name in beside if (_LEFT.fullmatch(name.name) or _KEPT.fullmatch(name.name)) and _is_same(name, path)
    ]


def _is_second(name: Path) -> bool:
    """Return whether a restore was about to keep a store under this name, and the store still has the real name."""
    kept = _KEPT.fullmatch(name.name)
    return kept is not None and _is_same(name, name.with_name(kept[1]))


def _is_same(name: Path, other: Path) -> bool:
    try:
        return os.path.samestat(name.lstat(), other.lstat())
    except OSError:
        return False
