"""What a command leaves behind before it writes, so that the same command after a failure does not land it twice.

It is the write id, in the user's folder of state, under a name that is made of the store and of the whole command with
what it was given to read. The same command finds it, and no other does. It is removed when the command ends well, or
fails before anything has landed. So it stays after a kill, after an unknown outcome, and after a failure of what comes
behind the landing. After a week it counts no longer.

Two processes that run the same command at once mean two writes: each holds a lock on its own id, and only one whose
process has ended is taken up.
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
"""So many processes that run the same command at once leave an id behind."""
_NOT_ITS_OWN = frozenset({"as_json", "write_id"})
_AGAIN = "run the same command again"
_GOES_ON = "it goes on from there, and nothing lands twice"


class Forgotten(OutcomeUnknown):
    """The write id could not be left behind: it has to be given with the command."""


@contextmanager
def settled(session: Session, store: Store, given: str | None, content: bytes = b"") -> Iterator[str]:
    """The write id for the command that runs: given, left behind by the same one, or a new one.

    All that the command does and prints after the write belongs inside; in the end the store is closed.

    Args:
        session: Learns how to go on if the command fails after the write has landed.
        store: What it writes to.
        given: What ``--write-id`` said.
        content: What the command reads beside its arguments.
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
    """Do what may fail after a write, as long as the command may still be repeated."""
    session.remember_newest(store)
    store.close()
    sys.stdout.flush()


class _Left:
    """A write id that is left behind, in a file that this process holds the lock of."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self.ident = ""
        with suppress(OSError, ValueError):
            if SystemClock().now().timestamp() - os.fstat(descriptor).st_mtime <= _COUNTS_S:
                self.ident = os.pread(descriptor, 4 * MAX_WRITE_ID, 0).decode()[:MAX_WRITE_ID]

    @classmethod
    def claim(cls, store: Store, content: bytes) -> "_Left | None":
        """What the same command left behind, else a new place; None where nothing can be kept."""
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
            pass  # a folder that cannot be written, or that has no locks
        return None

    @classmethod
    def _locked(cls, path: Path, flags: int) -> "_Left | None":
        """The file, locked; None if another process holds it, or removed it just now."""
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
        """Write an id down, durably; False where that fails."""
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, ident.encode(), 0)
            os.fsync(self._descriptor)
        except OSError:
            return False
        return True

    def release(self, *, remove: bool) -> None:
        """Let go of the file, and remove it if nothing is to be settled."""
        if remove:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def _place(store: Store, content: bytes) -> Path | None:
    """Where the id is left behind, without its ending; None where this user has no folder of state."""
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")  # noqa: PTH111 - may stay so
    if not Path(home).is_absolute():
        return None
    context = click.get_current_context()
    place = ascii(store.location if is_url(store.location) else os.path.realpath(store.location))
    asked = sorted((name, repr(value)) for name, value in context.params.items() if name not in _NOT_ITS_OWN)
    told = [place, store.branch, str(context.info_name), *(list(one) for one in asked), sha256(content).hexdigest()]
    return Path(home) / "kbstore" / sha256(encode(told)).hexdigest()[:32]
