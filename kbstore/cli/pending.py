"""What a command leaves behind where nobody knows whether its write landed, so that the same command settles it.

It is the write id, in the user's folder of state, under a name that is made of the store and of the whole command with
what it was given to read; so it is found by the same command and by no other, and a command that is meant to do the
same once more finds nothing, since the one before it ended well. After a week it counts no longer.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

import click

from backends.names import MAX_WRITE_ID
from kbstore.canonical import encode
from kbstore.cli.output import note
from kbstore.clock import SystemClock
from kbstore.errors import OutcomeUnknown
from kbstore.project import is_url
from kbstore.store import Store
from kbstore.workfile import WorkFileError, replace_file

_COUNTS_S = 7 * 24 * 3600
_NOT_ITS_OWN = frozenset({"as_json", "write_id"})


class Forgotten(OutcomeUnknown):
    """The write id could not be left behind: it has to be given with the command."""


@contextmanager
def settled(store: Store, given: str | None, content: bytes = b"") -> Iterator[str | None]:
    """The write id for the command that runs: given, or left behind by the same one; None for a new one.

    Args:
        store: What it writes to.
        given: What ``--write-id`` said.
        content: What the command reads beside its arguments.
    """
    if given is not None:
        yield given
        return
    path = _path(store, content)
    left = _left_behind(path)
    if left is not None:
        note("the same command ended before without knowing whether it landed; this settles it")
    try:
        yield left
    except OutcomeUnknown as fault:
        if path is None or not _leave(path, fault.write_id):
            raise Forgotten(
                str(fault),
                write_id=fault.write_id,
                hint=f"run the same command again with --write-id {fault.write_id}: it does not land twice",
            ) from fault
        raise
    if path is not None:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _path(store: Store, content: bytes) -> Path | None:
    """Where the id is left behind; None where this user has no folder of state."""
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")  # noqa: PTH111 - may stay so
    if not Path(home).is_absolute():
        return None
    context = click.get_current_context()
    place = store.location if is_url(store.location) else os.path.realpath(store.location)
    asked = sorted((name, repr(value)) for name, value in context.params.items() if name not in _NOT_ITS_OWN)
    told = [place, store.branch, str(context.info_name), *(list(one) for one in asked), sha256(content).hexdigest()]
    return Path(home) / "kbstore" / f"{sha256(encode(told)).hexdigest()[:32]}.pending"


def _left_behind(path: Path | None) -> str | None:
    try:
        if path is None or SystemClock().now().timestamp() - path.stat().st_mtime > _COUNTS_S:
            return None
        return path.read_text(encoding="utf-8")[:MAX_WRITE_ID] or None
    except (OSError, ValueError):
        return None


def _leave(path: Path, write_id: str) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(path, write_id.encode())
    except (OSError, WorkFileError):
        return False
    return True
