"""Lock for writing a file: without it, the second of two kbstore commands could undo the changes of the first.

The kernel holds the lock, on the folder of the file, so a killed command leaves nothing behind. Other programs do not
know of the lock; a change by another program shows in the digest of the file.
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
    """Hold the lock of a file's folder; on a file system without locks, go on without a lock.

    Raises:
        WorkFileError: Another command held the lock for half a minute.
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
        return None  # reading or writing the file reports the fault


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
