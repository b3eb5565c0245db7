"""Bytes under names: the places that keep a store, behind a single contract (`kbstore.backends.base.Backend`).

A location is a path (SQLite: a file, or a folder that holds ``kb.db``) or a URL with the name of the backend as scheme:
``sqlite:path``, ``memory:``, ``memory://name`` or ``s3://bucket/prefix``. A backend's module is imported at first use.
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
"""Everybody may read and write, as far as the process's umask allows."""

SCHEMES = {"sqlite": "kbstore.backends.sqlite", "memory": "kbstore.backends.memory", "s3": "kbstore.backends.s3"}
"""The module of each scheme; each module offers `create` and `open_existing` (see `_Module`)."""

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
        location: A path, or a URL with a scheme in `SCHEMES`.
        read_only: Refuse every write; works on read-only media too.
        insecure: Speak to a server on another host without TLS, if the URL says so.

    Raises:
        StoreNotFound: There is no store, or the scheme is unknown.
        UnsupportedFormat: A newer version of kbstore wrote the store.
        CorruptStore: The store is damaged.
        ReadOnlyStore: The store is to be written, but lies on read-only media.
        StoreUnavailable: The store cannot be read now.
    """
    return _module(location).open_existing(os.fspath(location), read_only=read_only, insecure=insecure)


def create_backend(location: str | os.PathLike[str], *, mode: int = OPEN_MODE, insecure: bool = False) -> Backend:
    """Make a new, empty store at a location, whole or not at all.

    Args:
        location: A path, or a URL with a scheme in `SCHEMES`.
        mode: The permissions of a store that is a file, reduced by the process's umask; other stores ignore the mode.
        insecure: As for `open_backend`.

    Raises:
        StoreExists: Something is there already.
        StoreNotFound: The folder for the store does not exist, or the scheme is unknown.
        StoreUnavailable: The location cannot be written.
    """
    return _module(location).create(os.fspath(location), mode, insecure=insecure)


def backup_store(location: str | os.PathLike[str], target: Path, check: Callable[[str], None] | None = None) -> Path:
    """Copy a store in a single file into a new file, as of one moment; `kbstore.backends.sqlite.backup` has details.

    Raises:
        BackendError: The store is not a single file.
    """
    return _file_module(location).backup(os.fspath(location), target, check)


def restore_store(
    location: str | os.PathLike[str], source: Path, kept: str, check: Callable[[str], None] | None = None
) -> Path | None:
    """Replace a store in a single file by a copy of a backup; `kbstore.backends.sqlite.backup` has details.

    Raises:
        BackendError: The store is not a single file.
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
        # The message repeats nothing after the scheme: the rest may hold a secret.
        known = ", ".join(f"{name}:" for name in SCHEMES)
        raise StoreNotFound(
            f"no backend knows the scheme {scheme}:",
            hint=f"known are {known} and plain paths; a file whose name begins so is ./{scheme}:...",
        )
    return cast(_Module, importlib.import_module(SCHEMES[scheme]))
