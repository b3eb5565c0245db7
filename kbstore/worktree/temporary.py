"""Temporary files for replacing other files, and the removal of such files after a process was killed.

The writer of a temporary file holds a lock on the file, and the lock ends with the process. If another process gets the
lock, nobody is writing the file any more. Right before a temporary file is exchanged with the target, the temporary
file gets another name, and `remove_left` never removes a file of such a name: after the exchange, the file may be one
that another program saved.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TRIES = 100
_NAME_LENGTH = 200
_LEFT = re.compile(r"\.(.+)\.\d+\.\d+\.tmp", re.DOTALL)
_EXCHANGED = ".swap.tmp"
_LEFT_EXCHANGED = re.compile(r"\.(.+)\.\d+\.\d+\.swap\.tmp", re.DOTALL)


def open_temporary(target: Path, mode: int) -> tuple[Path, int]:
    """Make and lock a new file beside another file, and return the path and a descriptor of the new file.

    Args:
        target: The file to be replaced, without symbolic links.
        mode: The mode, further narrowed by the user's mask.

    Raises:
        FileExistsError: A hundred temporary files for this target exist already.
        OSError: The file cannot be made.
    """
    for number in range(_TRIES):
        path = target.with_name(f".{target.name[:_NAME_LENGTH]}.{os.getpid()}.{number}.tmp")
        if os.path.lexists(exchanged_name(path)):
            continue
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        except FileExistsError:
            continue
        if _lock(descriptor) is not False and _is_at(descriptor, path):
            return path, descriptor
        os.close(descriptor)  # another process took the file for a leftover, and removes it
    raise FileExistsError


def exchanged_name(temporary: Path) -> Path:
    """Return the name for a temporary file right before its exchange: `remove_left` removes no file of such a name."""
    return temporary.with_suffix(_EXCHANGED)


def remove_left(folder: Path, name: str | None = None) -> None:
    """Remove temporary files without a writer.

    Args:
        folder: The folder.
        name: Remove only the temporary files for the file of this name; by default all files that match our pattern.
    """
    wanted = name[:_NAME_LENGTH] if name is not None else None
    try:
        left = [path for path in folder.iterdir() if (own := _LEFT.fullmatch(path.name)) and wanted in (None, own[1])]
    except OSError:
        return
    for path in left:
        with suppress(OSError), _opened(path) as descriptor:
            if _lock(descriptor) and _is_at(descriptor, path):
                path.unlink()


def exchanged_left(target: Path) -> list[Path]:
    """Return the temporary files of a target that were renamed right before their exchange.

    If nobody is writing the target, a killed process left these files. One may hold content that another program saved.
    """
    try:
        there = list(target.parent.iterdir())
    except OSError:
        return []
    name = target.name[:_NAME_LENGTH]
    return [path for path in there if (own := _LEFT_EXCHANGED.fullmatch(path.name)) and own[1] == name]


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Lock a file, and return True; return False if another process has the lock, None if there are no such locks."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return None
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether a path still names the open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False
