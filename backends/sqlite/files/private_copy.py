"""Private copies: files of a store in another folder, for SQLite to change without harm."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path


def copy_parts(parts: Iterable[Path], folder: Path) -> None:
    """Copy files into a folder, in a separate process: closing a file here would drop SQLite's locks on it."""
    if os.name != "posix":  # outside POSIX locks belong to descriptors, so closing is safe
        for part in parts:
            shutil.copyfile(part, folder / part.name)
        return
    import subprocess  # only for such a copy

    done = subprocess.run(["cp", "--", *map(str, parts), str(folder)], capture_output=True, check=False)
    if done.returncode:
        raise OSError(done.stderr.decode(errors="replace").strip())
    for part in parts:
        (folder / part.name).chmod(0o600)
