"""Advice for errors of the operating system: one sentence for each kind of cause."""

import errno
import os

_ADVICE = {
    errno.EACCES: "check the permissions of it and of the folders that it is in",
    errno.EPERM: "check the permissions of it and of the folders that it is in",
    errno.EROFS: "its disk is mounted read-only: choose another place, or mount it for writing",
    errno.EMFILE: "this process may not open more files: raise its limit (ulimit -n), or close some",
    errno.ENFILE: "this machine may not open more files: close some programs",
    errno.ENAMETOOLONG: "choose a shorter name, with room for what is put behind it: 200 bytes are fine",
    errno.EFBIG: "this process may not write larger files: raise its limit (ulimit -f)",
    errno.ENOSPC: "free disk space, then try again",
    errno.EDQUOT: "your share of the disk is used up: free some of it, then try again",
    errno.EIO: "check the disk, then try again",
}
_ROOM_BYTES = 1 << 20
"""A disk with less room than this counts as full."""


def advice(error: OSError) -> str | None:
    """Return advice for an error; `None` if the error's own text is enough."""
    return _ADVICE.get(error.errno) if error.errno is not None else None


def cannot_open(path: str | os.PathLike[str], *suffixes: str) -> OSError | None:
    """Return the reason why another library cannot open a file; `None` if descriptors and name are not the reason.

    Args:
        path: The file.
        suffixes: Suffixes of the names of files beside the file.
    """
    try:
        for suffix in ("", *suffixes):
            try:
                os.stat(os.fspath(path) + suffix)  # noqa: PTH116
            except FileNotFoundError:
                continue
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENAMETOOLONG) else None
    return None


def size_limit(path: str | os.PathLike[str]) -> int | None:
    """Return the limit of a file's size for this process, in bytes, if this limit and not the disk stops a write.

    The limit stops a write if the disk has room, and a file in the folder is about as large as allowed.
    """
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
        if limit == resource.RLIM_INFINITY:
            return None
        folder = os.path.dirname(os.path.abspath(path))  # noqa: PTH100, PTH120
        room = os.statvfs(folder)
        with os.scandir(folder) as found:
            largest = max((one.stat().st_size for one in found if one.is_file()), default=0)
    except (ImportError, OSError, ValueError):
        return None
    return limit if room.f_bavail * room.f_frsize > _ROOM_BYTES and largest + _ROOM_BYTES > limit else None
