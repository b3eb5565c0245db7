"""Folders and files that nobody but their owner may read, whatever the process's umask is."""

import os
import tempfile
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

    SQLite gives what it keeps beside a file the file's mode. The file gets its name when it is closed: if it were a
    database that somebody opened meanwhile, closing it here would drop SQLite's locks on it.

    Raises:
        OSError: It cannot be made.
    """
    try:
        handle, draft = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    except OSError as fault:
        fault.filename = str(file)  # the draft's random name would make every message another one
        raise
    os.fchmod(handle, 0o600)
    os.close(handle)
    try:
        os.link(draft, file)
    except FileExistsError:
        pass
    except OSError:  # no hard links here (FAT, some network shares)
        with suppress(FileExistsError):
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    finally:
        Path(draft).unlink()
