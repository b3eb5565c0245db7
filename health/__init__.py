"""Pluggable health checks of the store, its backends and its migrations.

The names below are the public interface. Each is loaded at first use, so that importing health costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kbstore.health.api import TroubleshootingHealthCheck
    from kbstore.health.check_registry import Registry, Spec, registry
    from kbstore.health.config import load as load_settings
    from kbstore.health.context import Context
    from kbstore.health.errors import (
        ConfigError,
        HealthError,
        NotConfigured,
        RegistryError,
        RemedyError,
        StateError,
        UnknownCheck,
    )
    from kbstore.health.model import Check, Outcome, Report, Result, Status
    from kbstore.health.run.engine import Engine
    from kbstore.health.settings import Settings

_HOMES = {
    "Check": "model",
    "Context": "context",
    "Engine": "run.engine",
    "Outcome": "model",
    "Registry": "check_registry",
    "Report": "model",
    "Result": "model",
    "Settings": "settings",
    "Spec": "check_registry",
    "Status": "model",
    "TroubleshootingHealthCheck": "api",
    "load_settings": "config",
    "registry": "check_registry",
}

__all__ = [
    "Check",
    "ConfigError",
    "Context",
    "Engine",
    "HealthError",
    "NotConfigured",
    "Outcome",
    "Registry",
    "RegistryError",
    "RemedyError",
    "Report",
    "Result",
    "Settings",
    "Spec",
    "StateError",
    "Status",
    "TroubleshootingHealthCheck",
    "UnknownCheck",
    "load_settings",
    "registry",
]


if not TYPE_CHECKING:  # a type checker sees the imports above, and reports a name that does not exist

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = import_module(f"kbstore.health.{_HOMES.get(name, 'errors')}")
        value = getattr(module, "load" if name == "load_settings" else name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
