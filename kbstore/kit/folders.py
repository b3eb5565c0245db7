"""Folders: locks on them, and temporary ones, of which none is left in the end.

Whoever makes a temporary folder holds a shared lock on it. If another process gets that lock alone, the maker was
killed, and the folder is removed: by the next that makes one, or by `gc`.
"""

import contextlib
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_PREFIX = ".kbstore-copy-"
_LEFT = re.compile(re.escape(_PREFIX) + r"[a-z0-9_]{8}")
_TRIES = 6000
_PAUSE_S = 0.005
"""Who removes what was left, or writes the knowledge base's file there, has the lock for less than all tries."""


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that only its owner may look into, which is removed in the end with all that is in it.

    Removed by this process only: a child of a fork, which may end meanwhile, lets it be.

    Raises:
        OSError: There is no folder for temporary files, or no room in it.
    """
    remove_left_folders()
    maker = os.getpid()
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        with folder_lock(folder, alone=False):
            if not folder.is_dir():
                continue  # removed before it was locked
            try:
                yield folder
                return
            finally:
                if os.getpid() == maker:
                    shutil.rmtree(folder, ignore_errors=True)


def remove_left_folders() -> None:
    """Remove the temporary folders of processes that were killed."""
    try:
        left = [path for path in Path(tempfile.gettempdir()).iterdir() if _LEFT.fullmatch(path.name)]
    except OSError:
        return  # it may not be listed, or there is none
    for path in left:
        with contextlib.suppress(OSError):  # removed meanwhile
            found = path.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
                with folder_lock(path, alone=True) as alone:
                    if alone:
                        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def folder_lock(folder: Path, *, alone: bool) -> Iterator[bool | None]:
    """Lock a folder, and tell whether that worked; None if there are no such locks here.

    It is not a lock of SQLite's, and no file of a store is opened. It ends with the process and its forks.

    Args:
        folder: The folder.
        alone: Lock everybody else out, if nobody has the lock now; else wait, and share it.
    """
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except (ImportError, OSError):
        yield None
        return
    try:
        had: bool | None = False
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
                had = None  # a file system without such locks: nobody gets them here
                break
        yield had
    finally:
        os.close(handle)
