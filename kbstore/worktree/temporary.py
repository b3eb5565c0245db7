"""Temporary files beside the ones that they replace; those of a process that was killed are removed.

Whoever writes one holds a lock on it, which ends with the process. If another process gets that lock, nobody is writing
the file any more. Right before it is exchanged with the file that it replaces it gets another name, under which it is
never removed: from then on it may be what another program saved.
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
    """Make a new file beside another one, and lock it; gives its path and a descriptor.

    Args:
        target: The file that it is to replace, without symbolic links.
        mode: The mode, further narrowed by the user's mask.

    Raises:
        FileExistsError: There are a hundred of its name already.
        OSError: It cannot be made.
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
        os.close(descriptor)  # somebody took it for left, and removes it
    raise FileExistsError


def exchanged_name(temporary: Path) -> Path:
    """Return the name for a temporary file that is about to be exchanged: nobody removes a file of such a name."""
    return temporary.with_suffix(_EXCHANGED)


def remove_left(folder: Path, name: str | None = None) -> None:
    """Remove temporary files that nobody is writing.

    Args:
        folder: Where.
        name: Only those of the file of this name; by default all of our pattern.
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
    """Return the temporary files of a file that were about to be exchanged with it.

    Those that are there while nobody writes the file are left of a kill; one may hold what another program saved.
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
    """Lock a file; False if somebody else has the lock, None where there are no such locks."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return None
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether a path still names the file that is open."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False
