"""Git-like history for a JSON knowledge base, at JSON granularity.

The names below are the public interface. Each name is loaded when first used, so that a short command stays fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kbstore._version import __version__

if TYPE_CHECKING:
    from kbstore.diff.diff import Diff
    from kbstore.errors import (
        BackendError,
        ConflictError,
        CorruptStore,
        DamagedVersion,
        DiskFull,
        InvalidJSON,
        KBStoreError,
        OutcomeUnknown,
        PatchError,
        PointerError,
        ReadOnlyStore,
        RevisionError,
        StoreExists,
        StoreNotFound,
        StoreUnavailable,
        UnsupportedFormat,
    )
    from kbstore.history.change import Change
    from kbstore.history.version import Version
    from kbstore.jsondoc.canonical import dumps, loads
    from kbstore.jsondoc.make_patch import make_patch
    from kbstore.jsondoc.patch import apply_patch
    from kbstore.store import Store
    from kbstore.versioner import KnowledgeBaseVersioner

_HOMES = {
    "Change": "history.change",
    "Diff": "diff.diff",
    "KnowledgeBaseVersioner": "versioner",
    "Store": "store",
    "Version": "history.version",
    "apply_patch": "jsondoc.patch",
    "dumps": "jsondoc.canonical",
    "loads": "jsondoc.canonical",
    "make_patch": "jsondoc.make_patch",
}

__all__ = [
    "BackendError",
    "Change",
    "ConflictError",
    "CorruptStore",
    "DamagedVersion",
    "Diff",
    "DiskFull",
    "InvalidJSON",
    "KBStoreError",
    "KnowledgeBaseVersioner",
    "OutcomeUnknown",
    "PatchError",
    "PointerError",
    "ReadOnlyStore",
    "RevisionError",
    "Store",
    "StoreExists",
    "StoreNotFound",
    "StoreUnavailable",
    "UnsupportedFormat",
    "Version",
    "__version__",
    "apply_patch",
    "dumps",
    "loads",
    "make_patch",
]


if not TYPE_CHECKING:  # a type checker sees the imports above, and reports a name that does not exist

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"kbstore.{_HOMES.get(name, 'errors')}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
