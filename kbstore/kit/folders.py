"""Locks on folders, and temporary folders that do not outlive their use.

The maker of a temporary folder holds a shared lock on the folder. If another process gets the exclusive lock, the maker
was killed. The folder is then removed by the next maker of a temporary folder, or by `gc`.
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
"""Pause between two tries. All tries together take longer than any holder needs to clean up or to write the file."""


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder that only its owner can read; remove the folder with its content at the end of the block.

    Only this process removes the folder: a child of a fork, which may end earlier, does not.

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
    """Lock a folder; yield whether the lock was taken, or `None` if the system has no such locks.

    The lock is not a SQLite lock, and no file of a store is opened. The lock ends with the process and its forks.

    Args:
        folder: The folder.
        alone: True for an exclusive lock, without waiting; False for a shared lock, with waiting.
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
                had = None  # the file system has no such locks
                break
        yield had
    finally:
        os.close(handle)
