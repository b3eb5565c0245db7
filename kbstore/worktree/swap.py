"""Replacement of a file without losing another file that a third program saves there meanwhile.

A comparison and a rename are two steps, and an editor can save between the two steps. So the two files are exchanged in
one step (Linux), and the old file is compared afterwards: if the content is not as expected, both files are exchanged
back. On a system or file system without this call, the file is compared right before the rename.
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
    """The target is not the expected file; the target is left in place."""


def create(temporary: Path, target: Path) -> None:
    """Rename a temporary file to its final name, unless another file has this name.

    Raises:
        Displaced: Another file has the name. The temporary file still exists.
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
    """Replace a file whose bytes have this SHA-256 (hexadecimal), and remove the temporary file.

    Raises:
        Displaced: The file has other bytes, or does not exist.
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
            # Another program saved again between both steps. The newer file counts; the older one is kept beside it.
            rename(temporary, target, _EXCHANGE)
            temporary.rename(target.with_name(f"{target.name}.{digest_of(temporary)[:8]}.saved"))
    except FileNotFoundError:
        pass
    raise Displaced


def swap(one: Path, other: Path) -> bool:
    """Exchange two files in one step, and return True; return False if the system or file system cannot do this.

    Raises:
        FileNotFoundError: One of the files does not exist.
    """
    return rename(one, other, _EXCHANGE)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, hexadecimal."""
    return sha256(path.read_bytes()).hexdigest()


def rename(source: Path, target: Path, flag: int) -> bool:
    """Rename a file as the flag says, and return True; return False if the system or file system cannot do this."""
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
    """Return the `renameat2` function of the C library; None if the library does not have the function."""
    import ctypes

    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    function.restype = ctypes.c_int
    return function
