"""Files that a command is asked to write: those that it may replace, and those that it never does.

Never replaced, by no command: what belongs to a store, a knowledge base with a history, a link, a device, a pipe.
Replaced without being told to: a file that begins as kbstore's own output of that form does, or that is empty.
"""

import os
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from kbstore.backends.sqlite.schema import APPLICATION_ID
from kbstore.cli.session import Session, same_place
from kbstore.errors import KBStoreError
from kbstore.store import Store
from kbstore.worktree.json_file import WorkFileError
from kbstore.worktree.lost import FORCED
from kbstore.worktree.project import FOLDER, project_of

EXPORT = re.compile(rb'\{("branch":"[^"]*",|"lost":\d+,)*"event":\{|\{"id":"[0-9a-f]{64}","ref":\{')
PAGE = re.compile(rb'<!doctype html>[^\0]{0,200}<meta name="generator" content="kbstore">')
_BEGINNING = 1024
_WRITE_BYTES = 1 << 20
_OTHER_NAME = "choose another name"


def output_file(
    session: Session,
    store: Store,
    name: str,
    *,
    mark: re.Pattern[bytes] | None = None,
    document: bool = False,
    force: bool = False,
) -> Path:
    """Return the path of a file that a command is to write.

    Args:
        session: Knows the knowledge base.
        store: The open store.
        name: The file as the user wrote it.
        mark: What an earlier output of this form begins with; without it the caller looks at what is there.
        document: True if a document is written, which may replace the knowledge base's own file.
        force: Replace a file that has not this mark.

    Raises:
        WorkFileError: The file is not to be replaced.
    """
    path = Path(name)
    own = session.file is not None and same_place(os.fspath(session.file), name)
    if _is_of_store(session, store, path):
        raise _refused(f"{name} belongs to the store")
    if own and not document:
        raise _refused(f"{name} is the knowledge base")
    if own or not os.path.lexists(path):
        return path
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        raise _refused(f"{name} is a link to {os.path.realpath(path)}", "name the file itself, or - for stdout")
    if stat.S_ISDIR(mode):
        raise WorkFileError(f"{name} is a folder", hint=_OTHER_NAME)
    if not stat.S_ISREG(mode):
        raise _refused(f"{name} is a pipe or a device, not a file", "name a file, or - for stdout")
    if _is_a_store(path):
        raise _refused(f"{name} is a store")
    if _has_a_history(path):
        raise _refused(f"{name} is a knowledge base")
    if mark is not None and not force and not _begins(path, mark):
        raise _refused(f"{name} is not an earlier file of this kind", FORCED)
    return path


def write_output(
    session: Session, path: Path, parts: Iterable[bytes], *, mark: re.Pattern[bytes], mode: int, force: bool
) -> None:
    """Write a file that `output_file` admits; it has its name once it is whole.

    Args:
        session: Knows where copies are kept of what force replaces.
        path: The file.
        parts: What is to be in it.
        mark: What an earlier output of this form begins with.
        mode: What the file gets.
        force: Replace a file that has not this mark.

    Raises:
        KBStoreError: It cannot be written; nothing was changed.
    """
    from kbstore.worktree.output_file import Replaceable, new_file

    replaceable = Replaceable(lambda found: _begins(found, mark), session.lost if force else None)
    try:
        with new_file(path, mode, replaceable) as (_, descriptor):
            with open(descriptor, "wb", _WRITE_BYTES, closefd=False) as file:
                file.writelines(parts)
            os.fsync(descriptor)
    except OSError as fault:
        raise KBStoreError(f"cannot write {path}: {fault.strerror}") from fault


def output_folder(session: Session, store: Store, name: str) -> Path:
    """Return the path of a folder that a command is to fill; raises as `output_file`."""
    if _is_of_store(session, store, Path(name)):
        raise _refused(f"{name} belongs to the store")
    return Path(name)


def _refused(what: str, hint: str = _OTHER_NAME) -> WorkFileError:
    return WorkFileError(f"{what}, so it is not overwritten", hint=hint)


def _is_of_store(session: Session, store: Store, path: Path) -> bool:
    real = os.path.realpath(path)
    location = os.path.realpath(store.location)
    if real in [f"{location}{end}" for end in ("", "-wal", "-shm", "-journal")]:
        return True
    with suppress(OSError):
        if Path(real).samefile(location):
            return True
    folder = os.path.realpath(session.found.root / FOLDER) if session.found is not None else None
    return folder is not None and os.path.commonpath([folder, real]) == folder


def _is_a_store(path: Path) -> bool:
    """Whether a file is a store, of whatever format; only SQLite opens it, since it may be in use."""
    from kbstore.sync.sqlite_export import application_of

    found = application_of(path)
    return found is not None and found >> 8 == APPLICATION_ID >> 8


def _has_a_history(path: Path) -> bool:
    try:
        return project_of(path) is not None
    except KBStoreError:
        return False


def _begins(path: Path, mark: re.Pattern[bytes]) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(_BEGINNING)
    except OSError as fault:
        raise WorkFileError(f"cannot read {path}: {fault.strerror}", hint=_OTHER_NAME) from fault
    return not start or mark.match(start) is not None
