"""Detects folders without locks or shared memory, such as network shares, on which SQLite is not safe.

SQLite reports missing locks as "locked by another process" and missing shared memory as a failed disk. Without both a
store is not safe: a rollback journal needs the same locks, and an exclusive mode cannot exclude anybody.
"""

import contextlib
import errno
import os
import sqlite3
from pathlib import Path

from kbstore.kit.errors import StoreUnavailable

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
_NO_SHARED_MEMORY = {sqlite3.SQLITE_IOERR_SHMMAP, sqlite3.SQLITE_IOERR_SHMLOCK}


def log_lost(location: str) -> StoreUnavailable:
    """Return the error for a log that was deleted, or cut off, while programs have the log open."""
    if os.path.lexists(f"{location}-wal"):
        # If it was deleted, the next who opened the store made an empty one.
        return StoreUnavailable(
            f"{location}-wal was cut off or deleted by another program while {location} was open; it held the "
            "newest commits",
            hint="close every program that has the store open, the one that committed last at the end, which writes "
            "back a log that was deleted; then see in kbstore log whether versions are missing, which a clone or a "
            "backup may have",
        )
    return StoreUnavailable(
        f"{location}-wal was deleted while programs have {location} open, and it holds the newest commits",
        hint="close every program that has the store open, the one that committed last at the end; then try again",
    )


def is_cut_off(error: sqlite3.Error) -> bool:
    """Return whether SQLite read beyond the end of the log; a data file that is too short reads as zeros instead."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) == sqlite3.SQLITE_IOERR_SHORT_READ


def unshared(location: str, error: sqlite3.Error) -> StoreUnavailable | None:
    """Return the error to raise instead of SQLite's error if the store's surroundings are the cause, else None."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    if is_cut_off(error):
        return log_lost(location)
    if code in _NO_SHARED_MEMORY:
        lack = "shared memory"
    elif code & 0xFF == sqlite3.SQLITE_BUSY and not locks_work(Path(location).parent):
        lack = "locks"
    else:
        return None
    return StoreUnavailable(
        f"{location} is on a file system without {lack} (a network share?), where processes would overwrite each other",
        hint="keep the store on a local disk, or on an S3 bucket (see docs/s3.md)",
    )


def locks_work(folder: Path) -> bool:
    """Return whether files in a folder can be locked; True if locking cannot be tried."""
    try:
        import fcntl
    except ImportError:
        return True
    probe = folder / f".kb.db.{os.getpid()}.probe"
    try:
        handle = os.open(probe, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        return True
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _NO_LOCKS
    finally:
        os.close(handle)
        with contextlib.suppress(OSError):
            probe.unlink()
    return True
