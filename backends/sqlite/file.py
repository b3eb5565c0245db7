"""Finding, making and opening the file of a store, with a clear word about whatever else may stand there.

A new store is made whole under another name and then linked into place, so that nobody ever meets half a one. An
existing file is looked at before SQLite gets it: SQLite would turn an empty file into a database, and would report any
other as damaged.
"""

import contextlib
import errno
import os
import shutil
import sqlite3
import stat
import tempfile
import threading
from pathlib import Path
from urllib.parse import quote

from backends.errors import CorruptStore, ReadOnlyStore, StoreExists, StoreNotFound, StoreUnavailable, UnsupportedFormat
from backends.sqlite import schema
from backends.sqlite.faults import FAULTS, code_of, translated, translating

FILE_NAME = "kb.db"
"""The file of a store whose location is a folder."""

BUSY_TIMEOUT_S = 30.0
_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_REWRITE_BYTES = 256 * 1024
_CHECKPOINT_PAGES = 4096
"""8 MiB of WAL before it is written back, within somebody's commit: pages that many commits change are then written
back once for all of them."""
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}
_BLOCKED = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}


def path_of(location: str) -> Path:
    """The file that a location means: the file itself, or ``kb.db`` in a folder."""
    text = location[7:] if location.lower().startswith("sqlite:") else location
    if text.startswith("///"):
        text = text[2:]
    path = Path(text)
    return path / FILE_NAME if path.is_dir() or text.endswith(os.sep) else path


def create_file(path: Path, mode: int = 0o666) -> None:
    """Make an empty store at a path, whole or not at all.

    Args:
        path: Where.
        mode: Who may read and write it, further narrowed by the process's umask. SQLite gives the same mode to what it
            keeps beside the file.

    Raises:
        StoreExists: Something is there.
        StoreNotFound: The folder does not exist.
        StoreUnavailable: The folder cannot be written.
    """
    if os.path.lexists(path):
        raise StoreExists(f"{path} exists already", hint="open it, or choose another place")
    for left in _family(path)[1:]:
        if left.name.endswith(("-wal", "-journal")) and os.path.lexists(left):
            # SQLite would take it for the new file's own, and write what it holds over what is new.
            raise StoreExists(
                f"{left} is there, of a store that was deleted or moved without it",
                hint="put it back beside that store, or delete it; or choose another place",
            )
    if not path.parent.is_dir():
        raise StoreNotFound(f"the folder {path.parent} does not exist", hint="create it first")
    draft = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.new")
    try:
        draft.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode))
        with translating(str(path)), contextlib.closing(sqlite3.connect(draft, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous=FULL")
            schema.create(connection)
            # Closing would do this too, and say nothing where it fails.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        _publish(draft, path)
    except OSError as error:
        raise StoreUnavailable(
            f"{path} cannot be created: {error.strerror}", hint="check the permissions of the folder"
        ) from error
    finally:
        for leftover in _family(draft):
            with contextlib.suppress(OSError):  # whether the store was made is what counts
                leftover.unlink(missing_ok=True)


def _publish(draft: Path, path: Path) -> None:
    """Give the finished draft its name, unless somebody was faster."""
    try:
        os.link(draft, path)
    except FileExistsError:
        raise StoreExists(f"{path} exists already", hint="open it, or choose another place") from None
    except OSError:
        # No hard links here (FAT, some network shares): claim the name, then rename over the claim.
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except FileExistsError:
            raise StoreExists(f"{path} exists already", hint="open it, or choose another place") from None
        draft.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make names in a folder durable, where the system has a way to say so."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return  # some systems cannot open a folder; theirs sync names by themselves
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(handle)


def inspect(path: Path) -> os.stat_result:
    """Make sure that a path holds a store that this version can read, without SQLite and without writing.

    Raises:
        StoreNotFound: Nothing is there, or something that is not a store.
        CorruptStore: The file is empty or cut off.
        UnsupportedFormat: A newer kbstore wrote it.
        StoreUnavailable: It may not be read.
    """
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise StoreNotFound(f"{path} is a folder, not a store", hint="name the file of the store")
        if not stat.S_ISREG(found.st_mode):
            raise StoreNotFound(f"{path} is not a regular file", hint="name the file of the store")
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        if path.name == FILE_NAME and path.parent.is_dir():
            raise StoreNotFound(
                f"there is no store in {path.parent} (no {FILE_NAME})", hint="check the path, or create one there"
            ) from None
        raise StoreNotFound(f"there is no store at {path}", hint="check the path, or create one there") from None
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be read: {error.strerror}", hint="check its permissions") from error
    if not header:
        raise CorruptStore(f"{path} is empty", hint="restore it from a backup, or delete it and create a new store")
    if not header.startswith(_MAGIC):
        if _MAGIC.startswith(header):
            raise CorruptStore(f"{path} is cut off after {len(header)} bytes", hint="restore it from a backup")
        raise StoreNotFound(f"{path} is not a store: it is no SQLite file", hint="check the path")
    if len(header) < _HEADER_BYTES:
        raise CorruptStore(f"{path} is cut off after {len(header)} bytes", hint="restore it from a backup")
    if int.from_bytes(header[68:72]) != schema.APPLICATION_ID:
        raise StoreNotFound(
            f"{path} is not a store: it is an SQLite database of another program", hint="check the path"
        )
    _check_version(path, header)
    _check_length(path, header)
    return found


def _check_version(path: Path, header: bytes) -> None:
    version = int.from_bytes(header[60:64])
    if version > schema.FORMAT:
        needed, known = schema.version_text(version), schema.version_text(schema.FORMAT)
        raise UnsupportedFormat(
            f"{path} was written in a newer format: kbstore {needed} or later reads it, this one reads up to {known}",
            hint=f"install kbstore {needed} or later",
        )
    if version != schema.FORMAT:
        raise CorruptStore(f"{path} claims the format {version}, which never was", hint="restore it from a backup")


def _check_length(path: Path, header: bytes) -> None:
    """Refuse a file that is shorter than its header says: SQLite takes a half-missing last page for zeros."""
    for _ in range(3):
        if _waiting_bytes(path):
            return  # a file is completed from its WAL, and the header may be ahead of the rest
        page_bytes, pages = int.from_bytes(header[16:18]), int.from_bytes(header[28:32])
        size = path.stat().st_size
        if size >= page_bytes * pages and (page_bytes == 0 or size % page_bytes == 0):
            return
        # Somebody may be writing its WAL back just now: then the next look shows another picture.
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    raise CorruptStore(
        f"{path} is damaged: cut off after {size} of {page_bytes * pages} bytes", hint="restore it from a backup"
    )


def _waiting_bytes(path: Path) -> int:
    """Size of the WAL, 0 where there is none."""
    try:
        return path.with_name(path.name + "-wal").stat().st_size
    except OSError:
        return 0


def may_write(path: Path) -> bool:
    """True where the file and its folder allow writing."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def connect(path: Path) -> sqlite3.Connection:
    """A connection that writes durably.

    Raises:
        ReadOnlyStore: The file or its folder may not be written.
        CorruptStore, StoreUnavailable: As `faults.translated` tells.
    """
    if not may_write(path):
        raise ReadOnlyStore(f"{path} or its folder may not be written", hint="open it read-only")
    with translating(str(path)):
        connection = _connect(path, "mode=rw")
        try:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA fullfsync=1")
            connection.execute("PRAGMA recursive_triggers=1")
            connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
            if mode != b"wal":
                raise StoreUnavailable(
                    f"{path} lies where SQLite cannot share memory between processes",
                    hint="keep it on a local disk, or on an S3 bucket",
                )
            _probe(connection)
            if not _waiting_bytes(path):
                _sync_names(path)
        except BaseException:
            connection.close()
            raise
    return connection


def _sync_names(path: Path) -> None:
    """Make the name of a new WAL durable before anything stands in it: SQLite does too, and passes over a failure."""
    try:
        _sync_folder(path.parent)
    except OSError as error:
        raise StoreUnavailable(
            f"the folder of {path} cannot be synced: {error.strerror}", hint="check the disk, then try again"
        ) from error


def rewrite_log(path: Path) -> None:
    """Write the bytes of the WAL over themselves and sync them; the caller holds the lock for writing.

    After a sync that failed the kernel may take pages for written that are not. Written once more, they are again to be
    written, and the sync tells the truth. Its file carries no locks, so it may be opened beside SQLite.

    Raises:
        StoreUnavailable: The disk fails still.
    """
    try:
        handle = os.open(path.with_name(path.name + "-wal"), os.O_RDWR)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreUnavailable(
            f"the log of {path} cannot be opened: {error.strerror}", hint="check the disk"
        ) from error
    try:
        at = 0
        while data := os.pread(handle, _REWRITE_BYTES, at):
            at += os.pwrite(handle, data, at)
        os.fsync(handle)
    except OSError as error:
        raise StoreUnavailable(
            f"the disk failed under {path}: {error.strerror}", hint="check the disk, then try again"
        ) from error
    finally:
        os.close(handle)


class ReadOnlyConnection:
    """A connection that only reads, and the temporary folder that it may need."""

    def __init__(self, path: Path) -> None:
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self.frozen = False
        try:
            self.connection = self._open(path)
        except BaseException:
            self.close()
            raise

    def _open(self, path: Path) -> sqlite3.Connection:
        try:
            # Where it may, even a reader opens for writing: only then SQLite removes its files at the last close.
            return _probed(path, "mode=rw" if may_write(path) else "mode=ro")
        except FAULTS as error:
            if isinstance(error, UnicodeDecodeError) or code_of(error) not in _BLOCKED:
                raise translated(error, str(path)) from error
        log = path.with_name(path.name + "-wal")
        with translating(str(path)):
            if not _waiting_bytes(path):
                # Nobody can be writing without a WAL, so the file alone is the whole store.
                self.frozen = True
                return _probed(path, "mode=ro&immutable=1")
            # A WAL was left behind, and recovering it needs to write beside it: do that elsewhere.
            return self._recovered(path, log)

    def _recovered(self, path: Path, log: Path) -> sqlite3.Connection:
        try:
            self._copy = tempfile.TemporaryDirectory(prefix="kbstore-", ignore_cleanup_errors=True)
            copy = Path(self._copy.name) / path.name
            shutil.copyfile(path, copy)
            shutil.copyfile(log, copy.with_name(log.name))
        except OSError as error:
            raise StoreUnavailable(
                f"{path} has unfinished business in {log.name}, and no copy could be made to read it: {error.strerror}",
                hint="free room for temporary files, or open the store once where it can be written",
            ) from error
        return _probed(copy, "mode=rw")

    def close(self) -> None:
        """Close the connection and remove its copy."""
        if hasattr(self, "connection"):
            self.connection.close()
        if self._copy is not None:
            self._copy.cleanup()


def _probed(path: Path, options: str) -> sqlite3.Connection:
    connection = _connect(path, options)
    try:
        connection.execute("PRAGMA query_only=1")
        _probe(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _probe(connection: sqlite3.Connection) -> None:
    """Read the first page and the schema: a damaged or cut file says so now, not in the middle of work."""
    connection.execute("SELECT count(*) FROM snapshots WHERE id IS NULL").fetchone()


def _connect(path: Path, options: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?{options}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    # Headers are bytes to us: nothing is decoded, so a damaged one is found by its digest, not by a codec.
    connection.text_factory = bytes
    return connection


def _family(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm", "-journal")]


def total_bytes(path: Path) -> int:
    """Size of the file and of what SQLite keeps beside it."""
    total = 0
    for member in _family(path)[:2]:
        with contextlib.suppress(FileNotFoundError):
            total += member.stat().st_size
    return total
