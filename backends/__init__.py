"""Bytes under names: where a store keeps what it knows, behind one contract (`kbstore.backends.base.Backend`).

A location is a path (SQLite: a file, or a folder that holds ``kb.db``) or a URL whose scheme names the backend:
``sqlite:path``, ``memory:``, ``memory://name`` or ``s3://bucket/prefix``. A backend's module is imported when it is
first asked for.
"""

import importlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

from kbstore.backends.base import Backend
from kbstore.kit.errors import BackendError, StoreNotFound

__all__ = ["OPEN_MODE", "SCHEMES", "Backend", "backup_store", "create_backend", "open_backend", "restore_store"]

OPEN_MODE = 0o666
"""Everybody may read and write what the process's umask leaves."""

SCHEMES = {"sqlite": "kbstore.backends.sqlite", "memory": "kbstore.backends.memory", "s3": "kbstore.backends.s3"}
"""The module of each scheme; it offers `create` and `open_existing`, as `_Module` has them."""

# One letter before a colon is a drive, not a scheme.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")


class _Module(Protocol):
    def create(self, location: str, mode: int = OPEN_MODE, *, insecure: bool = False) -> Backend: ...
    def open_existing(self, location: str, *, read_only: bool = False, insecure: bool = False) -> Backend: ...


class _FileModule(_Module, Protocol):
    def backup(self, location: str, target: Path, check: Callable[[str], None] | None = None) -> Path: ...
    def restore(
        self, location: str, source: Path, kept: str, check: Callable[[str], None] | None = None
    ) -> Path | None: ...


def open_backend(location: str | os.PathLike[str], *, read_only: bool = False, insecure: bool = False) -> Backend:
    """Open the store at a location.

    Args:
        location: A path, or a URL with one of `SCHEMES`.
        read_only: Refuse every write; works on read-only media too.
        insecure: Speak to a server on another host without TLS, where its URL says so.

    Raises:
        StoreNotFound: There is no store, or the scheme is unknown.
        UnsupportedFormat: It was written by a newer version of kbstore.
        CorruptStore: It is a store, but damaged.
        ReadOnlyStore: It is to be written, but lies on read-only media.
        StoreUnavailable: It cannot be read now.
    """
    return _module(location).open_existing(os.fspath(location), read_only=read_only, insecure=insecure)


def create_backend(location: str | os.PathLike[str], *, mode: int = OPEN_MODE, insecure: bool = False) -> Backend:
    """Make a new, empty store at a location, whole or not at all.

    Args:
        location: A path, or a URL with one of `SCHEMES`.
        mode: Who may read and write a store that is a file, less what the process's umask takes away; others have no
            use for it.
        insecure: As for `open_backend`.

    Raises:
        StoreExists: Something is there already.
        StoreNotFound: The folder that it is to stand in does not exist, or the scheme is unknown.
        StoreUnavailable: It cannot be written there.
    """
    return _module(location).create(os.fspath(location), mode, insecure=insecure)


def backup_store(location: str | os.PathLike[str], target: Path, check: Callable[[str], None] | None = None) -> Path:
    """Copy a store that is one file into a new file, as it is at one moment; see `kbstore.backends.sqlite.backup`.

    Raises:
        BackendError: The store is not one file.
    """
    return _file_module(location).backup(os.fspath(location), target, check)


def restore_store(
    location: str | os.PathLike[str], source: Path, kept: str, check: Callable[[str], None] | None = None
) -> Path | None:
    """Put a copy of a backup in the place of a store that is one file; see `kbstore.backends.sqlite.backup`.

    Raises:
        BackendError: The store is not one file.
    """
    return _file_module(location).restore(os.fspath(location), source, kept, check)


def _file_module(location: str | os.PathLike[str]) -> _FileModule:
    module = _module(location)
    if not hasattr(module, "backup"):
        raise BackendError(
            "this store is not one file, and a backup is one",
            hint="copy such a store with: kbstore clone SOURCE TARGET",
        )
    return cast(_FileModule, module)


def _module(location: str | os.PathLike[str]) -> _Module:
    found = _SCHEME.match(location) if isinstance(location, str) else None
    # A file whose name has a colon is still a file; a path object is never a URL.
    scheme = found[1].lower() if found and not os.path.lexists(location) else "sqlite"
    if scheme not in SCHEMES:
        # Nothing behind the scheme is repeated: it may hold a secret.
        known = ", ".join(f"{name}:" for name in SCHEMES)
        raise StoreNotFound(
            f"no backend knows the scheme {scheme}:",
            hint=f"known are {known} and plain paths; a file whose name begins so is ./{scheme}:...",
        )
    return cast(_Module, importlib.import_module(SCHEMES[scheme]))
