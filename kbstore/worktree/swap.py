"""Puts a finished file in the place of another one, and loses nothing that a third program saves there meanwhile.

A comparison and a rename are two steps, and an editor can save between them. So the two files are exchanged in one
step (Linux), and what came out is looked at afterwards: if it is not what was expected, both are exchanged back. On a
system or file system without this call the file is compared right before the rename.
"""

import errno
import os
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

_AT_FDCWD = -100
_NOREPLACE = 1
_EXCHANGE = 2
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)


class Displaced(Exception):
    """Another file was there than the expected one; it is there still."""


def create(temporary: Path, target: Path) -> None:
    """Give a file its name if no other file has that.

    Raises:
        Displaced: One has it. The temporary file is still there.
    """
    try:
        if not rename(temporary, target, _NOREPLACE):
            os.link(temporary, target)
            temporary.unlink()
    except FileExistsError:
        raise Displaced from None
    except OSError as fault:
        if fault.errno not in _UNSUPPORTED:
            raise
        if os.path.lexists(target):
            raise Displaced from None
        temporary.replace(target)


def exchange(temporary: Path, target: Path, digest: str) -> None:
    """Replace a file whose bytes have this SHA-256 (hexadecimal); the temporary file is gone then.

    Raises:
        Displaced: The file has other bytes, or is not there.
    """
    try:
        ours = temporary.stat()
        if not rename(temporary, target, _EXCHANGE):
            if digest_of(target) != digest:
                raise Displaced
            temporary.replace(target)
            return
        try:
            if digest_of(temporary) == digest:
                temporary.unlink()
                return
        except BaseException:
            if temporary.exists():
                rename(temporary, target, _EXCHANGE)
            raise
        rename(temporary, target, _EXCHANGE)
        if not os.path.samestat(temporary.stat(), ours):
            # Somebody saved once more between both steps. The newer one counts; the older one is kept beside it.
            rename(temporary, target, _EXCHANGE)
            temporary.rename(target.with_name(f"{target.name}.{digest_of(temporary)[:8]}.saved"))
    except FileNotFoundError:
        pass
    raise Displaced


def swap(one: Path, other: Path) -> bool:
    """Exchange two files in one step; False if this system or file system cannot do that.

    Raises:
        FileNotFoundError: One of them is not there.
    """
    return rename(one, other, _EXCHANGE)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, hexadecimal."""
    return sha256(path.read_bytes()).hexdigest()


def rename(source: Path, target: Path, flag: int) -> bool:
    """Rename in the way that a flag says; False if this system or file system cannot do that."""
    call = _call()
    if call is None:
        return False
    import ctypes

    if call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flag) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), os.fspath(source), None, os.fspath(target))


@cache
def _call() -> Any:
    """The function of the C library; None if it has none."""
    import ctypes

    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    function.restype = ctypes.c_int
    return function
