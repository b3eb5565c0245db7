"""The knowledge base as a JSON file for editing: read strictly, and replaced as a whole, in its own style.

A new file is written beside the old file under a temporary name, made durable, and then put in its place. So a reader,
also after a power cut at any moment, finds the old file or the new file. If another program saves in the last moment,
its file is never overwritten (`kbstore.worktree.swap`). A symbolic link stays a link; the target of the link is
replaced. Mode, owner, group, access list and extended attributes are kept. If the access list cannot be kept, the group
gets no more rights than the list gave. Other hard links to the file still name the old content.
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
"""The value for the digest of a file that does not exist."""
_ACCESS_LIST = "system.posix_acl_access"
_GROUP = 0o070
_OWN_MODE = 0o600
"""The rights of the owner in every new file: a store beside a write-protected file must be writable."""


class WorkFileError(KBStoreError):
    """A file cannot be read or written as requested. The file is unchanged, unless the message says otherwise."""


class EmptyFile(InvalidJSON):
    """A file is empty, as an editor or a full disk may leave a file."""


class FileChanged(WorkFileError):
    """The file has changed since it was read: another program is editing the file."""


@dataclass(frozen=True, slots=True)
class FileContent:
    """The content of a file at the time of reading.

    Attributes:
        value: The document; members in the file's order.
        digest: SHA-256 of the file's bytes, hexadecimal.
        style: The layout.
        data: The file's bytes; empty for a file that is too large to be kept in memory.
        rounded: The rounded number literals.
        orders: Whether the file's order of members is a model for new text, or only its layout.
    """

    value: JSON
    digest: str
    style: FileStyle
    data: bytes = b""
    rounded: frozenset[str] = frozenset()
    orders: bool = True


class WrittenFile(NamedTuple):
    """The content that was written into a file.

    Attributes:
        digest: SHA-256 of the file's bytes, hexadecimal.
        rounded: As for `FileContent`: the literals that the file had and still has.
    """

    digest: str
    rounded: frozenset[str]


class WorkFile:
    """A JSON file at a path; the file does not have to exist yet."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def exists(self) -> bool:
        """Return whether the file exists; False also for a link that points nowhere."""
        return self.path.exists()

    def read(self) -> JSON:
        """Return the document, read strictly; members in the file's order. Raises as `load`."""
        return self.load().value

    def load(self, lossy: Lossy = False) -> FileContent:
        """Return the document with its style and digest.

        Args:
            lossy: The numbers that may be rounded because a double has fewer digits; see `kbstore.loads`.

        Raises:
            WorkFileError: The file does not exist or cannot be read.
            InvalidJSON: The file is not JSON as kbstore accepts it; the message begins with the path, and names the
                line.
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
        """Return the SHA-256 of the file's bytes, hexadecimal; None without a file.

        Cost: a fifth of reading the file as JSON.
        """
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
        """Replace the file by this document, in the file's own style and member order.

        Args:
            value: The new document.
            like: The file's content, if the caller has read the file already; else the file is read. A file that is not
                JSON is replaced in the default style.
            unchanged: Refuse if the file does not have this digest, up to the moment of replacement; `NO_FILE` if no
                file may be there.
            mode: The mode of a new file; see `replace_file`.
            announce: Called with the digest and literals of the new content, before the file is touched.
            own_order: Take only the layout from the file, if `like` is not given, and keep the order of the document.

        Raises:
            WorkFileError: The file cannot be written; see `replace_file`.
            FileChanged: The digest is not `unchanged`.
        """
        if like is None and self.exists():
            try:
                # Accept rounded numbers: the file is only a model for the text, and equal numbers keep their digits.
                like = replace(self.load(lossy=True), orders=not own_order)
            except InvalidJSON:
                like = None
        data = printed(value, like)
        if unchanged is not None and (self.digest() or NO_FILE) != unchanged:
            raise _changed(self.path)  # checked before `announce` is called
        kept = loads_rounded(data, True)[1] if like is not None and like.rounded else ()
        written = WrittenFile(sha256(data).hexdigest(), frozenset(kept))
        if announce is not None:
            announce(written)
        replace_file(self.path, data, mode, unchanged=unchanged)
        return written

    def set_aside(self) -> Path:
        """Copy the file's bytes durably to a new file beside it, with their digest in its name; return the copy's path.

        Raises:
            WorkFileError: The file cannot be read or copied.
        """
        data = self.raw()
        path = self.path.with_name(f"{self.path.name}.{sha256(data).hexdigest()[:8]}.damaged")
        replace_file(path, data, mode_like(self.path))
        return path

    def raw(self) -> bytes:
        """Return the bytes of the file. Raises `WorkFileError` if the file cannot be read."""
        try:
            if not (stat.S_ISREG(mode := self.path.stat().st_mode) or stat.S_ISDIR(mode)):
                raise WorkFileError(f"{self.path} is a pipe or a device, not a file")  # reading it could wait for ever
            return self.path.read_bytes()
        except FileNotFoundError:
            raise WorkFileError(f"there is no file {self.path}") from None
        except OSError as fault:
            raise WorkFileError(f"cannot read {self.path}: {fault.strerror}") from fault


def printed(value: JSON, like: FileContent | None) -> bytes:
    """Return a document as the bytes of a file, in the layout and member order of another file if `like` is given.

    New parts keep their own order. The whole document keeps its order without a model, or with a model for the layout
    alone.

    Equal parts keep their characters if the model is a file of at most 32 MiB. For a larger file, the document is
    printed anew in the file's style.
    """
    value = plain(value)
    if like is None:
        return print_new(value)
    from kbstore.order.carry_over import in_order_of
    from kbstore.worktree.preserve import retouched

    value = in_order_of(value, like.value, own_order=not like.orders)
    if like.data:
        data = retouched(like.data, like.value, value, like.style)
        if same(loads(data, lossy=like.rounded), value):  # a second check, before the text replaces a user's file
            return data
    return print_json(value, like.style)


def mode_like(*files: str | os.PathLike[str] | None) -> int:
    """Return the mode for a new file with the content of an old file, so that no more users can read the content.

    Args:
        files: The old files; the first existing file counts. Without such a file the mode is `OPEN_MODE`.
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
    """Write `data` to `path`, durably and whole or not at all; the module's docstring lists the kept attributes.

    Args:
        path: The path.
        data: The new bytes.
        mode: The mode of a new file, further narrowed by the user's mask.
        unchanged: The digest of the file that may be replaced, `NO_FILE` if no file may be there; by default any file
            may be replaced.

    Raises:
        FileChanged: Another file is there; nothing was changed.
        WorkFileError: The disk is full, the folder or the file is not writable, ...; nothing was changed. Or the file
            was written, but its folder could not be made durable; the message says so.
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
    """Make a new file in the same folder, and remove temporary files of this target that killed processes left."""
    remove_left(target.parent, target.name)
    try:
        return open_temporary(target, mode)
    except FileExistsError:
        raise WorkFileError(f"cannot write {target}: too many temporary files of its name are in its folder") from None


def _discard(temporary: Path, ours: os.stat_result) -> None:
    """Remove a temporary file, unless the name now belongs to a file that another program saved."""
    found = _status(temporary)
    if found is not None and os.path.samestat(found, ours):
        temporary.unlink(missing_ok=True)


def _take_over(descriptor: int, before: os.stat_result, old: Path) -> None:
    """Give a new file the mode, the attributes and, as far as this user may, the owner and group of the old file."""
    now = os.fstat(descriptor)
    for owner, group in ((before.st_uid, before.st_gid), (-1, before.st_gid)):
        if (owner in (now.st_uid, -1)) and group == now.st_gid:
            break
        try:
            os.fchown(descriptor, owner, group)
            break
        except PermissionError:
            continue  # only root may change the owner; the group alone may be allowed
    mode = stat.S_IMODE(before.st_mode)
    if (acl := _attribute(old, _ACCESS_LIST)) is not None:
        mode = mode & ~_GROUP | _group_of(acl) & mode  # until the list is copied, and if it cannot be copied
    os.fchmod(descriptor, mode)
    _take_attributes(descriptor, old)


def _attribute(file: Path | int, name: str) -> bytes | None:
    try:
        return os.getxattr(file, name)
    except (OSError, AttributeError):
        return None  # the file has no such attribute, or the system has no attributes


def _take_attributes(descriptor: int, old: Path) -> None:
    """Copy extended attributes, the access list included, as far as this user and the file system allow."""
    try:
        names = os.listxattr(old)
    except (OSError, AttributeError):
        return
    if _ACCESS_LIST not in names and _attribute(descriptor, _ACCESS_LIST) is not None:
        with suppress(OSError):
            os.removexattr(descriptor, _ACCESS_LIST)  # the folder's default list for new files
    for name in sorted(names, key=_ACCESS_LIST.__eq__):  # the list last: it may remove the right to write the others
        value = _attribute(old, name)
        if value is not None and value != _attribute(descriptor, name):
            with suppress(OSError):
                os.setxattr(descriptor, name, value)


def _group_of(acl: bytes) -> int:
    """Return the rights of the owning group in an access list, as bits of a mode; 0 if the list is not understood.

    The list is a version (4 bytes), then entries of a tag, permissions and an id (2, 2 and 4 bytes), all little-endian;
    see linux/posix_acl_xattr.h. Tag 4 is the owning group.
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
