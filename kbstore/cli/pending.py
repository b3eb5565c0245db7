"""The write id of a running command, kept in a file, so that a repeated command does not land a write twice.

Before writing, a command saves the write id in the user's state folder. The file name is made of the store, the whole
command and the content read by the command, so that only the same command finds the id. The file is removed
when the command ends well, or fails before anything has landed. So the file stays after a kill, after an unknown
outcome, and after a failure of a step behind the landing. After a week a saved id is ignored.

Two processes running the same command at the same time mean two writes: each process locks a file for itself, and a
process takes over the id of an ended process only.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

import click

from kbstore.backends.names import MAX_WRITE_ID
from kbstore.cli.output import note
from kbstore.cli.session import Session
from kbstore.errors import OutcomeUnknown
from kbstore.history.change import FreshId, OwnId
from kbstore.jsondoc.canonical import encode
from kbstore.kit.clock import SystemClock
from kbstore.kit.private_files import make_private_folder
from kbstore.store import Store
from kbstore.worktree.project import is_url
from kbstore.worktree.status import FileNotWritten

_COUNTS_S = 7 * 24 * 3600
_AT_ONCE = 100
"""Maximum number of processes running the same command at the same time that can save an id."""
_NOT_ITS_OWN = frozenset({"as_json", "write_id"})
_AGAIN = "run the same command again"
_GOES_ON = "it goes on from there, and nothing lands twice"


class Forgotten(OutcomeUnknown):
    """The write id could not be saved: the user must give the id with the command."""


@contextmanager
def settled(session: Session, store: Store, given: str | None, content: bytes = b"") -> Iterator[str]:
    """Yield the write id for the running command: given, saved by an earlier run of the same command, or new.

    The block must contain everything that the command does and prints after the write; at the end the store is closed.

    Args:
        session: Gets the hint for a failure after the write has landed.
        store: The store to write to.
        given: The value of ``--write-id``.
        content: Content read by the command beside the arguments.
    """
    if given is not None:
        session.way_on = f"{_AGAIN}: {_GOES_ON}"
        yield given
        _end(session, store)
        return
    left = _Left.claim(store, content)
    earlier = left.ident if left is not None else ""
    if earlier:
        note("the same command ended before without knowing whether it landed; this settles it")
    ident = OwnId(earlier) if earlier else FreshId(SystemClock().token())
    kept = left is not None and left.keep(ident)
    session.way_on = f"{_AGAIN}{'' if kept else f' with --write-id {ident}'}: {_GOES_ON}"
    done = False
    try:
        yield ident
        _end(session, store)
        done = True
    except OutcomeUnknown as fault:
        if left is None or not left.keep(fault.write_id):
            raise Forgotten(
                str(fault),
                write_id=fault.write_id,
                hint=f"{_AGAIN} with --write-id {fault.write_id}: it does not land twice",
            ) from fault
        raise
    except BrokenPipeError:
        done = True  # the reader had enough, and the write has landed
        raise
    except Exception as fault:
        done = not (earlier or session.landed or isinstance(fault, FileNotWritten))
        raise
    finally:
        if left is not None:
            left.release(remove=done)
        if done:
            session.way_on = ""


def _end(session: Session, store: Store) -> None:
    """Do the steps that may fail after a write, while the command may still be repeated."""
    session.remember_newest(store)
    store.close()
    sys.stdout.flush()


class _Left:
    """A saved write id, in a file that this process has locked."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self.ident = ""
        with suppress(OSError, ValueError):
            if SystemClock().now().timestamp() - os.fstat(descriptor).st_mtime <= _COUNTS_S:
                self.ident = os.pread(descriptor, 4 * MAX_WRITE_ID, 0).decode()[:MAX_WRITE_ID]

    @classmethod
    def claim(cls, store: Store, content: bytes) -> "_Left | None":
        """Return the file saved by an earlier run of the same command, else a new file; `None` if saving fails."""
        place = _place(store, content)
        if place is None:
            return None
        try:
            make_private_folder(place.parent)
            for path in sorted(place.parent.glob(f"{place.name}.*.pending")):
                if (left := cls._locked(path, os.O_RDWR)) is not None:
                    if left.ident:
                        return left
                    left.release(remove=True)
            for number in range(_AT_ONCE):
                path = place.with_name(f"{place.name}.{number}.pending")
                if (left := cls._locked(path, os.O_RDWR | os.O_CREAT)) is not None:
                    return left
        except OSError:
            pass  # the folder is not writable, or does not support locks
        return None

    @classmethod
    def _locked(cls, path: Path, flags: int) -> "_Left | None":
        """Return the file, locked; None if another process holds the lock, or removed the file just now."""
        import fcntl

        try:
            descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                return cls(path, descriptor)
        except (BlockingIOError, FileNotFoundError):
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def keep(self, ident: str) -> bool:
        """Write an id into the file, durably; return False on failure."""
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, ident.encode(), 0)
            os.fsync(self._descriptor)
        except OSError:
            return False
        return True

    def release(self, *, remove: bool) -> None:
        """Close the file, and remove the file if nothing is left to settle."""
        if remove:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def _place(store: Store, content: bytes) -> Path | None:
    """Return the path for the id, without the ending; `None` if this user has no state folder."""
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")  # noqa: PTH111 - may stay so
    if not Path(home).is_absolute():
        return None
    context = click.get_current_context()
    place = ascii(store.location if is_url(store.location) else os.path.realpath(store.location))
    asked = sorted((name, repr(value)) for name, value in context.params.items() if name not in _NOT_ITS_OWN)
    told = [place, store.branch, str(context.info_name), *(list(one) for one in asked), sha256(content).hexdigest()]
    return Path(home) / "kbstore" / sha256(encode(told)).hexdigest()[:32]
