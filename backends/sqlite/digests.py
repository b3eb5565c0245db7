"""The digests of rows: over the place as well as the bytes, so that a moved row is found too.

A digest is eight bytes of a SHA-256: enough to find damage; the ids of events and the addresses of chunks prove the
rest.
"""

import functools
import sqlite3
from collections.abc import Callable
from typing import ParamSpec, cast

from kbstore.backends import packing
from kbstore.backends.sqlite.errors import RESTORE_HINT
from kbstore.kit.errors import CorruptStore

_P = ParamSpec("_P")
_EQUALS_NONE = cast(bytes, "not a digest")
"""A value that equals no column, whoever wrote the column: texts come as bytes."""


def never_raising(function: Callable[_P, bytes]) -> Callable[_P, bytes]:
    """Wrap a digest function: for a column of a wrong type or number, return a digest that equals no column."""

    @functools.wraps(function)
    def guarded(*args: _P.args, **kwargs: _P.kwargs) -> bytes:
        try:
            return function(*args, **kwargs)
        except (TypeError, ValueError, OverflowError):
            return _EQUALS_NONE

    return guarded


@never_raising
def record_digest(ident: int, log: bytes, slot: int, size: int, write_id: bytes, header: bytes) -> bytes:
    """Return the digest of a row in ``records`` with the row in ``writes``.

    The write id is ``b`` and a blob, ``t`` and a text, or empty.
    """
    return packing.digest(b"%d %b %d %d %b\n" % (ident, log, slot, size, write_id), header)


@never_raising
def body_digest(ident: int, body: bytes) -> bytes:
    """Return the digest of a row in ``bodies``."""
    return packing.digest(b"%d " % ident, body)


@never_raising
def body_pack_digest(ident: int, first: int, base: int, frame: bytes) -> bytes:
    """Return the digest of a row in ``body_packs``."""
    return packing.digest(b"%d %d %d " % (ident, first, base), frame)


def base_bytes(connection: sqlite3.Connection, base: int | None) -> bytes | None:
    """Return the raw bytes of a pack's base, or None; a base has no base.

    Raises:
        CorruptStore: The base is gone or damaged.
    """
    if not base:
        return None
    row = connection.execute(
        "SELECT tier, owner, base, digest, directory, frame FROM packs WHERE id=?", (base,)
    ).fetchone()
    if row is None:
        raise CorruptStore(f"pack {base}, which other packs need, is missing", hint=RESTORE_HINT)
    tier, owner, nothing, digest, directory, frame = row
    if digest != pack_digest(tier, owner, nothing, directory, frame):
        raise CorruptStore(f"pack {base}, which other packs need, is damaged", hint=RESTORE_HINT)
    return packing.decompress(frame)


@never_raising
def pack_digest(tier: int, owner: int, base: int | None, directory: bytes, frame: bytes) -> bytes:
    """Return the digest of a row in ``packs``."""
    return packing.digest(b"%d %d %d " % (tier, owner, -1 if base is None else base), directory, frame)
