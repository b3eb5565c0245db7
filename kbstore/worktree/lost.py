"""Copies of files replaced by force, in ``.kbstore/lost/``, for bringing the files back.

Each copy is one file with the bytes, and a note beside the copy, with the path and the remembered state of the original
file. At most 20 copies and 256 MiB in all are kept, the newest first; the newest copy is kept in any case.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import msgspec

from kbstore.errors import KBStoreError
from kbstore.kit.clock import SystemClock, format_time
from kbstore.worktree.json_file import NO_FILE, WorkFile, WorkFileError, replace_file
from kbstore.worktree.lock import locked
from kbstore.worktree.project import (
    FOLDER,
    FileState,
    Project,
    ProjectError,
    print_state,
    read_state,
    refuse_link,
    write_state,
)
from kbstore.worktree.temporary import exchanged_left, remove_left

_FOLDER = "lost"
_COPIES = 20
_BYTES = 256 << 20
_MODE = 0o600
_NOTE = ".note"

FORCED = "choose another name, or use --force, which keeps a copy (kbstore lost)"
"""The hint for a file to be replaced only with ``--force``."""

Proved = Callable[[FileState | None, str], bool]


class _Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """The note on a copy: the file's path (also in hexadecimal, if not valid text), the time, the remembered state."""

    file: str
    time: str
    hex: str = ""
    state: FileState | None = None


class Kept(NamedTuple):
    """A copy of a file's content.

    Attributes:
        path: The copy.
        file: The original file.
        time: The time of the overwrite.
        size_bytes: The size of the copy.
        base: Name of the content's base; empty if unknown.
    """

    path: Path
    file: Path
    time: str
    size_bytes: int
    base: str


class LostFiles:
    """The copies in the ``.kbstore`` folder of a project.

    Args:
        root: The folder with the ``.kbstore`` folder, which may not exist yet.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = root / FOLDER / _FOLDER

    def keep(self, file: Path, data: bytes, state: FileState | None) -> None:
        """Copy the content of a file, durably, and drop the oldest copies over the limits.

        Args:
            file: The file.
            data: The bytes.
            state: The remembered state of the file.

        Raises:
            WorkFileError: The copy cannot be written.
        """
        refuse_link(self._folder)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as fault:
            raise WorkFileError(f"cannot make the folder {self._folder}: {fault.strerror}") from fault
        time = format_time(SystemClock().now())
        name = "".join(sign for sign in time if sign.isdigit())
        place = os.path.relpath(os.path.realpath(file), os.path.realpath(self._root))
        text = place.encode(errors="backslashreplace").decode()
        note = _Note(text, time, os.fsencode(place).hex() if text != place else "", state)
        write_state(self._folder / f"{name}{_NOTE}", print_state(note), _MODE)
        write_state(self._folder / name, data, _MODE, unchanged=NO_FILE)
        self._drop_old()

    def copies(self) -> list[Kept]:
        """Return the copies, newest first."""
        found = []
        for path in sorted(self._folder.glob(f"*{_NOTE}"), reverse=True):
            copy = path.with_suffix("")
            with suppress(OSError, ProjectError, ValueError):
                note = read_state(path, _Note)
                base = note.state.name if note.state is not None else ""
                file = os.fsdecode(bytes.fromhex(note.hex)) or note.file
                found.append(Kept(copy, self._root / file, note.time, copy.stat().st_size, base))
        return found

    def number(self, number: int) -> Kept:
        """Return the copy with a number; 1 is the newest.

        Raises:
            KBStoreError: There is no copy with this number.
        """
        kept = self.copies()
        if not 0 < number <= len(kept):
            raise KBStoreError(f"there is no copy {number} in {self._folder}", hint="kbstore lost lists all copies")
        return kept[number - 1]

    def restore(self, kept: Kept, project: Project | None, proved: Proved) -> None:
        """Put a copy back into its file, with the remembered base; keep current content first, unless a version has it.

        Args:
            kept: The copy.
            project: The project that remembers the file.
            proved: Return whether the store has the file's content, from the remembered state and the digest.

        Raises:
            WorkFileError: The file is outside of the folder (which may come from a stranger), or cannot be written.
            FileChanged: Another program is writing the file.
        """
        if not Path(os.path.realpath(kept.file)).is_relative_to(os.path.realpath(self._root)):
            raise WorkFileError(
                f"{kept.file} is outside of {self._root}, so it is not written",
                hint="print the copy into a file: kbstore lost N > FILE",
            )
        data = kept.path.read_bytes()
        note = read_state(kept.path.with_name(f"{kept.path.name}{_NOTE}"), _Note)
        unchanged = NO_FILE
        if kept.file.exists():
            now = WorkFile(kept.file).raw()
            unchanged = sha256(now).hexdigest()
            state = project.state_of(kept.file) if project is not None else None
            if not proved(state, unchanged):
                self.keep(kept.file, now, state)
        replace_file(kept.file, data, _MODE, unchanged=unchanged)
        if project is not None and note.state is not None:
            project.remember(kept.file, msgspec.structs.replace(note.state, digest="", coming=None))

    def _drop_old(self) -> None:
        size = 0
        for number, kept in enumerate(self.copies()):
            size += kept.size_bytes
            if number and (number >= _COPIES or size > _BYTES):
                with suppress(OSError):
                    kept.path.unlink(missing_ok=True)
                    kept.path.with_name(f"{kept.path.name}{_NOTE}").unlink(missing_ok=True)


def clear_left(root: Path, file: Path | None) -> None:
    """Remove temporary files of killed commands: in ``.kbstore``, and beside the tracked file for that file alone.

    A file from an exchange may hold content that another program saved. Such a file is kept as a copy, unless the
    tracked file holds the same bytes.

    Args:
        root: The folder with ``.kbstore``.
        file: The knowledge base's file.

    Raises:
        WorkFileError: A file from an exchange cannot be kept; the file is not removed.
    """
    folder = root / FOLDER
    for own in (folder, *(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())):
        remove_left(own)
    if file is None:
        return
    real = Path(os.path.realpath(file))
    remove_left(real.parent, real.name)
    if not exchanged_left(real):
        return
    with locked(real):
        for left in exchanged_left(real):
            data = WorkFile(left).raw()
            if not real.exists() or WorkFile(real).raw() != data:
                LostFiles(root).keep(real, data, None)
            with suppress(OSError):
                left.unlink()
