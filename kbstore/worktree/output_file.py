"""Output files of commands: written whole or not at all, with a check of the replaced file.

The existing file is checked when the new file is complete, and not earlier: both are exchanged in one step, and the old
file is checked after the exchange. If this file may not be replaced, both are exchanged back. A file replaced by force
is kept (`kbstore.worktree.lost`).
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
    """The rule for files that a new file may replace.

    Attributes:
        is_ours: Return whether a file is an earlier output of this form.
        lost: The place for copies of other files before their replacement; None if other files may not be replaced.
    """

    is_ours: Callable[[Path], bool]
    lost: LostFiles | None = None


@contextmanager
def new_file(
    path: Path, mode: int, replaceable: Replaceable, *, logs: Sequence[str] = ()
) -> Iterator[tuple[Path, int]]:
    """Yield the path and descriptor of an empty file, and rename the file to `path` if the block ends without an error.

    Args:
        path: The final path of the file.
        mode: The mode of the file, further narrowed by the user's mask.
        replaceable: The rule for replacing files.
        logs: Suffixes of further files of the replaced file (logs of SQLite), to be removed too.

    Raises:
        WorkFileError: Another file is at the path, or has appeared there meanwhile; this file is unchanged.
        OSError: The file cannot be written; nothing was changed.
    """
    remove_left(path.parent, path.name)
    temporary, descriptor = open_temporary(path, mode)
    ours = os.fstat(descriptor)
    with suppress(OSError):
        before = path.lstat()
        if stat.S_ISREG(before.st_mode):  # a mode that the user narrowed stays narrow
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
            if not swap(new, path):  # this system or file system has no exchange
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
    """Check that a file may be replaced, and keep a copy unless the file is an earlier output or empty."""
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
