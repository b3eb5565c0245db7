"""Writes a file that a command was asked for, whole or not at all, and replaces only what it may.

What is there is looked at when the new file is whole, and not before: both are exchanged in one step, and what came out
is the file that was there. If it may not be replaced, they are exchanged back. What force replaces is kept
(`kbstore.worktree.lost`).
"""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from kbstore.worktree.json_file import WorkFile, WorkFileError
from kbstore.worktree.lost import LostFiles
from kbstore.worktree.swap import Displaced, create, swap
from kbstore.worktree.temporary import exchanged_name, open_temporary, remove_left

_TRIES = 100


class Replaceable(NamedTuple):
    """What may be replaced by a new file.

    Attributes:
        is_ours: Whether a file is an earlier output of this form.
        lost: Where copies of other files are kept, which may be replaced then; None if they may not.
    """

    is_ours: Callable[[Path], bool]
    lost: LostFiles | None = None


@contextmanager
def new_file(
    path: Path, mode: int, replaceable: Replaceable, *, logs: Sequence[str] = ()
) -> Iterator[tuple[Path, int]]:
    """Give an empty file, as its path and a descriptor, which gets the name `path` when the block ends well.

    Args:
        path: Where the file is to be.
        mode: What it gets, further narrowed by the user's mask.
        replaceable: What may be replaced.
        logs: Ends of the names of files that belong to what is replaced, and go with it.

    Raises:
        WorkFileError: Another file is there, or has appeared there meanwhile; it is as it was.
        OSError: The file cannot be written; nothing was changed.
    """
    remove_left(path.parent, path.name)
    temporary, descriptor = open_temporary(path, mode)
    ours = os.fstat(descriptor)
    with suppress(OSError):
        before = path.lstat()
        if stat.S_ISREG(before.st_mode):  # who narrowed it wants it narrow
            os.fchmod(descriptor, stat.S_IMODE(before.st_mode) & stat.S_IMODE(ours.st_mode))
    moved = exchanged_name(temporary)
    try:
        yield temporary, descriptor
        temporary.rename(moved)
        _put(moved, path, replaceable, logs)
    finally:
        for left in (temporary, moved):
            with suppress(OSError):
                if os.path.samestat(left.lstat(), ours):
                    left.unlink()
        os.close(descriptor)


def _put(new: Path, path: Path, replaceable: Replaceable, logs: Sequence[str]) -> None:
    for _ in range(_TRIES):
        with suppress(Displaced):
            if replaceable.lost is not None:
                _take_logs(path, replaceable, logs)
            create(new, path)
            return
        with suppress(FileNotFoundError):
            if not swap(new, path):  # this system or file system has no such call
                _admit(path, path, replaceable)
                _take_logs(path, replaceable, logs)
                new.replace(path)
                return
            try:
                _admit(new, path, replaceable)
                _take_logs(path, replaceable, logs)
            except BaseException:
                swap(new, path)
                raise
            new.unlink()
            return
    raise WorkFileError(f"others kept writing {path}; it was not overwritten", hint="choose another name")


def _admit(found: Path, path: Path, replaceable: Replaceable) -> None:
    """See that a file may be replaced, and keep a copy of it if it is another one than an earlier output."""
    status = found.lstat()
    if stat.S_ISREG(status.st_mode) and (status.st_size == 0 or replaceable.is_ours(found)):
        return
    if replaceable.lost is None or not stat.S_ISREG(status.st_mode):
        raise WorkFileError(
            f"{path} was written by another program meanwhile; it was not overwritten", hint="choose another name"
        )
    replaceable.lost.keep(path, WorkFile(found).raw(), None)


def _take_logs(path: Path, replaceable: Replaceable, logs: Sequence[str]) -> None:
    for end in logs:
        log = path.with_name(path.name + end)
        if replaceable.lost is not None and log.is_file() and log.stat().st_size:
            replaceable.lost.keep(log, WorkFile(log).raw(), None)
        log.unlink(missing_ok=True)
