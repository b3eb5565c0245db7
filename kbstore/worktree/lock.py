"""Keeps two commands of ours from writing one file at once: the second would take back what the first one wrote.

The lock is the kernel's, on the folder that holds the file, so a command that is killed leaves nothing behind. Other
programs do not know of it; what they write is noticed by the file's digest.
"""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kbstore.kit.clock import monotonic
from kbstore.worktree.json_file import WorkFileError

_WAIT_S = 30.0
_LOOK_S = 0.01
_TAKEN = (errno.EAGAIN, errno.EACCES)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the lock of a file's folder; a file system without locks is used without.

    Raises:
        WorkFileError: Another command held it for half a minute.
    """
    descriptor = _open(Path(os.path.realpath(file)).parent)
    try:
        if descriptor is not None:
            _wait(descriptor, file)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _open(folder: Path) -> int | None:
    try:
        return os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None  # reading or writing the file says what is wrong


def _wait(descriptor: int, file: Path) -> None:
    import fcntl

    end = monotonic() + _WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as fault:
            if fault.errno not in _TAKEN:
                return
            if monotonic() > end:
                raise WorkFileError(
                    f"another kbstore command is writing in the folder of {file}",
                    hint="end it, or wait until it is done",
                ) from fault
            time.sleep(_LOOK_S)
        else:
            return
