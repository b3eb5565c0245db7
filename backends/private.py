"""Folders and files that nobody but their owner may read, whatever the process's umask is."""

import os
from contextlib import suppress
from pathlib import Path


def make_private_folder(folder: Path) -> None:
    """Make a folder with mode 0700, and those above it as usual; one that is there stays as it is.

    Raises:
        OSError: It cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(0o700)
    except FileExistsError:
        return
    folder.chmod(0o700)


def make_private_file(file: Path) -> None:
    """Make an empty file with mode 0600; one that is there stays as it is, and is not opened.

    SQLite gives what it keeps beside a file the file's mode.

    Raises:
        OSError: It cannot be made.
    """
    with suppress(FileExistsError):
        handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(handle, 0o600)
        finally:
            os.close(handle)
