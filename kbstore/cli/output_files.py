"""Output files: the rules for replacing an existing file.

Never replaced, by any command: files of a store, a knowledge base with a history, a link, a device, a pipe. Replaced
without `--force`: an empty file, or a file that begins like kbstore's own output of the same form.
"""

import os
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

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
    """Return the path of a file to write.

    Args:
        session: Knows the knowledge base.
        store: The open store.
        name: The file, as written by the user.
        mark: The beginning of an earlier output of this form; without a mark the caller checks the present content.
        document: True for writing a document: a document may replace the knowledge base's own file.
        force: Replace a file without this mark.

    Raises:
        WorkFileError: The file must not be replaced.
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
    """Write a file admitted by `output_file`; the name appears when the file is complete.

    Args:
        session: Knows the place for copies of files replaced by force.
        path: The file.
        parts: The new content.
        mark: The beginning of an earlier output of this form.
        mode: The mode of the new file.
        force: Replace a file without this mark.

    Raises:
        KBStoreError: The file cannot be written; nothing was changed.
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
    """Return the path of a folder to fill; raises as `output_file`."""
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
    """Return True if a file is a store of any format; only SQLite opens the file, since it may be in use."""
    from kbstore.backends.sqlite.schema import APPLICATION_ID
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
