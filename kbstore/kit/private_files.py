"""Folders and files that only their owner can read, for every umask of the process."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def make_private_folder(folder: Path) -> None:
    """Make a folder with mode 0700, and missing parents with the usual mode. An existing folder stays unchanged.

    Raises:
        OSError: The folder cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(0o700)
    except FileExistsError:
        return
    folder.chmod(0o700)


def make_private_file(file: Path) -> None:
    """Make an empty file with mode 0600. An existing file stays unchanged, and is not opened.

    SQLite gives the files beside a database the mode of the database. The file gets its name after it is closed: if
    another thread opened the file as a database in between, closing the file here would drop SQLite's locks.

    Raises:
        OSError: The file cannot be made.
    """
    try:
        handle, draft = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    except OSError as fault:
        fault.filename = str(file)  # the user knows this file, and not the draft's random name
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
