"""Drafts: a file is made whole under another name before it gets its own; what was left half made is removed.

Whoever makes a draft holds a shared lock on its folder, which ends with the process. If a process gets that lock alone,
every draft in the folder was left by a maker that was killed, or that a signal's exception kept from clearing up.
"""

import contextlib
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from backends.sqlite.plain import family

DRAFT = ".new"
_LEFT = re.compile(r"\..+\.\d+-\d+\.new(-wal|-shm|-journal)?|\.kb\.db\.\d+\.probe", re.DOTALL)
_TRIES = 20
_PAUSE_S = 0.005
"""Somebody who removes what was left has the lock for less than all tries together."""


@contextlib.contextmanager
def drafting(target: Path) -> Iterator[Path]:
    """Give a name for a file that is to become `target`; what still has that name in the end is removed.

    Raises:
        OSError: A file of that name cannot be removed.
    """
    draft = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}{DRAFT}")
    remove_left_drafts(target.parent)
    with _folder_lock(target.parent, alone=False):
        try:
            draft.unlink(missing_ok=True)
            yield draft
        finally:
            for leftover in family(draft):
                with contextlib.suppress(OSError):  # whether the file was made is what counts
                    leftover.unlink(missing_ok=True)


def remove_left_drafts(folder: Path) -> None:
    """Remove drafts that nobody is making, unless somebody makes one in this folder now."""
    with _folder_lock(folder, alone=True) as alone:
        if alone:
            for left in folder.iterdir():
                if _LEFT.fullmatch(left.name):
                    with contextlib.suppress(OSError):  # another user's, in a shared folder
                        left.unlink()


@contextlib.contextmanager
def _folder_lock(folder: Path, *, alone: bool) -> Iterator[bool]:
    """Lock a folder, and tell whether that worked. It is no lock of SQLite's, and no file of a store is opened."""
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except (ImportError, OSError):
        yield False
        return
    try:
        had = False
        for attempt in range(1 if alone else _TRIES):
            if attempt:
                time.sleep(_PAUSE_S)
            try:
                fcntl.flock(handle, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
                had = True
                break
            except BlockingIOError:
                continue
            except OSError:
                break  # a file system without such locks: nobody gets them here
        yield had
    finally:
        os.close(handle)
