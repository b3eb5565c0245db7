"""The knowledge base as a JSON file that people edit: read strictly, and replaced whole, in the style that it has.

A file is written beside its place under a name of its own, made durable, and then put in its place; so whoever reads
it, and a power cut at any moment, finds the old file or the new one. If another program saves there in the last moment,
its file is never overwritten (`kbstore.worktree.swap`). A symbolic link stays a link: what it points to is replaced.
Mode, owner, group, access list and extended attributes are kept; if the access list cannot be kept, the group gets no
more than the list gave it. Other hard links to the file go on naming the old content.
"""

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from kbstore.errors import InvalidJSON, KBStoreError
from kbstore.jsondoc.canonical import JSON, loads, loads_rounded, same
from kbstore.jsondoc.decimals import Lossy
from kbstore.jsondoc.document import plain
from kbstore.worktree.style import FileStyle, print_json, print_new, style_of
from kbstore.worktree.swap import Displaced, create, exchange
from kbstore.worktree.temporary import exchanged_name, open_temporary, remove_left

_KEPT_BYTES = 32 << 20
OPEN_MODE = 0o666
"""The mode of a new file before the user's mask is applied."""
RUN_AGAIN = "run the command again"
NO_FILE = ""
"""Stands for the digest of a file that is not there."""
_ACCESS_LIST = "system.posix_acl_access"
_GROUP = 0o070
_OWN_MODE = 0o600
"""What its owner may do with a new file in any case: a store beside a write-protected file is written."""


class WorkFileError(KBStoreError):
    """A file cannot be read or written as asked. What was there is there still."""


class EmptyFile(InvalidJSON):
    """A file has no content at all, as an editor or a full disk may leave it."""


class FileChanged(WorkFileError):
    """The file is no longer what it was when it was looked at: somebody is editing it."""


@dataclass(frozen=True, slots=True)
class FileContent:
    """What a file held when it was read.

    Attributes:
        value: The document; members in the file's order.
        digest: SHA-256 of its bytes, hexadecimal.
        style: How it is laid out.
        data: Its bytes; empty where they are too many to be kept.
        rounded: Its number literals that were rounded.
        orders: Whether its order of members counts for what is written like it, and not its layout alone.
    """

    value: JSON
    digest: str
    style: FileStyle
    data: bytes = b""
    rounded: frozenset[str] = frozenset()
    orders: bool = True


class WrittenFile(NamedTuple):
    """What was written into a file.

    Attributes:
        digest: SHA-256 of its bytes, hexadecimal.
        rounded: As for `FileContent`: the literals that the file had and still has.
    """

    digest: str
    rounded: frozenset[str]


class WorkFile:
    """A JSON file at a path; it need not exist yet."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def exists(self) -> bool:
        """Whether there is a file (a link that points nowhere is none)."""
        return self.path.exists()

    def read(self) -> JSON:
        """The document, read strictly; members in the file's order. Raises as `load`."""
        return self.load().value

    def load(self, lossy: Lossy = False) -> FileContent:
        """Return the document with its style and digest.

        Args:
            lossy: Numbers with more digits than a double that are rounded; see `kbstore.loads`.

        Raises:
            WorkFileError: There is no such file, or it cannot be read.
            InvalidJSON: It is not JSON as kbstore takes it; the message begins with the path, and names the line.
        """
        data = self.raw()
        if not data.strip():
            raise EmptyFile(f"{self.path} is empty", line=1, column=1, hint="write {} for an empty knowledge base")
        try:
            value, rounded = loads_rounded(data, lossy)
        except InvalidJSON as fault:
            raise InvalidJSON(
                f"{self.path}: {fault}", pointer=fault.pointer, line=fault.line, column=fault.column, hint=fault.hint
            ) from None
        kept = data if len(data) <= _KEPT_BYTES else b""
        return FileContent(value, sha256(data).hexdigest(), style_of(data), kept, frozenset(rounded))

    def digest(self) -> str | None:
        """SHA-256 of the file's bytes, hexadecimal; None where there is none. Costs a fifth of reading it as JSON."""
        return sha256(self.raw()).hexdigest() if self.exists() else None

    def write(
        self,
        value: JSON,
        *,
        like: FileContent | None = None,
        unchanged: str | None = None,
        mode: int = OPEN_MODE,
        announce: Callable[[WrittenFile], None] | None = None,
        own_order: bool = False,
    ) -> WrittenFile:
        """Replace the file by this document, in the style and member order that it has.

        Args:
            value: The new document.
            like: The file as it was read, where the caller has it; else it is read. A file that is not JSON is
                replaced in the default style.
            unchanged: Refuse if the file does not have this digest, up to the moment of its replacement; `NO_FILE` if
                there must not be one.
            mode: What a new file gets; see `replace_file`.
            announce: Called with what is about to be written, before the file is touched.
            own_order: Take the layout alone from the file, if `like` is not given: the order is the document's.

        Raises:
            WorkFileError: It cannot be written; nothing was changed.
            FileChanged: It is not `unchanged`.
        """
        if like is None and self.exists():
            try:
                # A model of the text: a number that stays keeps its digits.
                like = replace(self.load(lossy=True), orders=not own_order)
            except InvalidJSON:
                like = None
        data = printed(value, like)
        if unchanged is not None and (self.digest() or NO_FILE) != unchanged:
            raise _changed(self.path)  # before it is announced
        kept = loads_rounded(data, True)[1] if like is not None and like.rounded else ()
        written = WrittenFile(sha256(data).hexdigest(), frozenset(kept))
        if announce is not None:
            announce(written)
        replace_file(self.path, data, mode, unchanged=unchanged)
        return written

    def set_aside(self) -> Path:
        """Copy the file's bytes to a new file beside it, named after them, where they are safe; gives its path.

        Raises:
            WorkFileError: It cannot be read, or not be copied.
        """
        data = self.raw()
        path = self.path.with_name(f"{self.path.name}.{sha256(data).hexdigest()[:8]}.damaged")
        replace_file(path, data, mode_like(self.path))
        return path

    def raw(self) -> bytes:
        """Return what the file holds. Raises `WorkFileError` if that cannot be read."""
        try:
            if not (stat.S_ISREG(mode := self.path.stat().st_mode) or stat.S_ISDIR(mode)):
                raise WorkFileError(f"{self.path} is a pipe or a device, not a file")  # reading it could wait for ever
            return self.path.read_bytes()
        except FileNotFoundError:
            raise WorkFileError(f"there is no file {self.path}") from None
        except OSError as fault:
            raise WorkFileError(f"cannot read {self.path}: {fault.strerror}") from fault


def printed(value: JSON, like: FileContent | None) -> bytes:
    """A document as a file: laid out, and its members ordered, as in another one where that is given.

    What is new in it keeps its own order, and so does all of it if there is no model, or one for the layout alone.

    What both say has the same characters, up to files of 32 MiB; a larger one is printed anew in its style.
    """
    value = plain(value)
    if like is None:
        return print_new(value)
    from kbstore.order.carry_over import in_order_of
    from kbstore.worktree.preserve import retouched

    value = in_order_of(value, like.value, own_order=not like.orders)
    if like.data:
        data = retouched(like.data, like.value, value, like.style)
        if same(loads(data, lossy=like.rounded), value):  # what is written over somebody's file is looked at twice
            return data
    return print_json(value, like.style)


def mode_like(*files: str | os.PathLike[str] | None) -> int:
    """The mode for a new file with the content of one of these: who may not read that one may not read the new one.

    Args:
        files: The first one that is there counts; `OPEN_MODE` where none is.
    """
    for file in files:
        if file is not None:
            try:
                mode = stat.S_IMODE(Path(file).stat().st_mode)
                if (acl := _attribute(Path(file), _ACCESS_LIST)) is not None:
                    mode = mode & ~_GROUP | _group_of(acl) & mode
                return mode & OPEN_MODE | _OWN_MODE
            except (OSError, ValueError):
                continue
    return OPEN_MODE


def replace_file(path: Path, data: bytes, mode: int = OPEN_MODE, *, unchanged: str | None = None) -> None:
    """Put `data` at `path`, durably and whole or not at all; see the module's text for what is kept.

    Args:
        path: Where.
        data: What.
        mode: What a new file gets, further narrowed by the user's mask.
        unchanged: The digest of the file that may be replaced, `NO_FILE` for none; by default any file is.

    Raises:
        FileChanged: Another file is there; nothing was changed.
        WorkFileError: The disk is full, the folder or the file is not writable, ...; nothing was changed.
    """
    target = Path(os.path.realpath(path))
    try:
        before = _status(target)
        if before is not None and not stat.S_ISREG(before.st_mode):
            raise WorkFileError(f"{path} is not a file and cannot be replaced by one")
        if before is not None and not os.access(target, os.W_OK):
            raise WorkFileError(f"{path} is write-protected; it was not changed", hint=_writable_by(path, before))
        temporary, descriptor = _open_beside(target, mode)
        ours = os.fstat(descriptor)
        exchanged = exchanged_name(temporary)
        lock = os.dup(descriptor)  # holds the lock until the file has its name
        try:
            try:
                if before is not None:
                    _take_over(descriptor, before, target)
                _write_all(descriptor, data)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if unchanged is None:
                temporary.replace(target)
            elif unchanged == NO_FILE:
                create(temporary, target)
            else:
                temporary.rename(exchanged)
                exchange(exchanged, target, unchanged)
        except BaseException:
            _discard(temporary, ours)
            _discard(exchanged, ours)
            raise
        finally:
            with suppress(OSError):
                os.close(lock)
    except Displaced:
        raise _changed(path) from None
    except OSError as fault:
        kept = "; the old file is unchanged" if os.path.lexists(target) else ""
        raise WorkFileError(f"cannot write {path}: {fault.strerror}{kept}") from fault
    try:
        _sync_folder(target.parent)
    except OSError as fault:
        raise WorkFileError(
            f"{path} was written, but its folder could not be made durable: {fault.strerror}",
            hint="after a power cut the old file may be back",
        ) from fault


def _changed(path: Path) -> FileChanged:
    return FileChanged(f"{path} was changed by another program meanwhile; it was not overwritten", hint=RUN_AGAIN)


def _writable_by(path: Path, status: os.stat_result) -> str:
    if hasattr(os, "geteuid") and os.geteuid() not in (0, status.st_uid):
        return f"it belongs to another user (uid {status.st_uid}): ask its owner, or work in a folder of your own"
    return f"chmod u+w {path}"


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _open_beside(target: Path, mode: int) -> tuple[Path, int]:
    """A new file in the same folder; what a killed process left of this file there is removed."""
    remove_left(target.parent, target.name)
    try:
        return open_temporary(target, mode)
    except FileExistsError:
        raise WorkFileError(f"cannot write {target}: too many temporary files of its name are in its folder") from None


def _discard(temporary: Path, ours: os.stat_result) -> None:
    """Remove a temporary file, unless it is by now the file that another program saved."""
    found = _status(temporary)
    if found is not None and os.path.samestat(found, ours):
        temporary.unlink(missing_ok=True)


def _take_over(descriptor: int, before: os.stat_result, old: Path) -> None:
    """Give a new file the mode, the attributes and, as far as this user may, the owner and group of the old one."""
    now = os.fstat(descriptor)
    for owner, group in ((before.st_uid, before.st_gid), (-1, before.st_gid)):
        if (owner in (now.st_uid, -1)) and group == now.st_gid:
            break
        try:
            os.fchown(descriptor, owner, group)
            break
        except PermissionError:
            continue  # an ordinary user gives no file away; the group alone may be allowed
    mode = stat.S_IMODE(before.st_mode)
    if (acl := _attribute(old, _ACCESS_LIST)) is not None:
        mode = mode & ~_GROUP | _group_of(acl) & mode  # until the list is there, and if it cannot be
    os.fchmod(descriptor, mode)
    _take_attributes(descriptor, old)


def _attribute(file: Path | int, name: str) -> bytes | None:
    try:
        return os.getxattr(file, name)
    except (OSError, AttributeError):
        return None  # it has none, or the system knows none


def _take_attributes(descriptor: int, old: Path) -> None:
    """Copy extended attributes, the access list among them, as far as this user and the file system allow it."""
    try:
        names = os.listxattr(old)
    except (OSError, AttributeError):
        return
    if _ACCESS_LIST not in names and _attribute(descriptor, _ACCESS_LIST) is not None:
        with suppress(OSError):
            os.removexattr(descriptor, _ACCESS_LIST)  # that the folder gives to new files
    for name in sorted(names, key=_ACCESS_LIST.__eq__):  # the list last: it may take the right to write the others
        value = _attribute(old, name)
        if value is not None and value != _attribute(descriptor, name):
            with suppress(OSError):
                os.setxattr(descriptor, name, value)


def _group_of(acl: bytes) -> int:
    """Return what an access list gives the owning group, as bits of a mode; nothing if it is not understood.

    It is a version (4 bytes), then entries of a tag, permissions and an id (2, 2 and 4 bytes), all little-endian; see
    linux/posix_acl_xattr.h. Tag 4 is the owning group.
    """
    entries = (acl[at : at + 8] for at in range(4, len(acl) - 7, 8))
    granted = [int.from_bytes(entry[2:4], "little") for entry in entries if entry[:2] == b"\x04\x00"]
    return (granted[0] & 7) << 3 if granted else 0


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
