"""Pluggable health checks of the store, its backends and its migrations.

The names below are the public interface. They are loaded when first used, so that importing health costs next to
nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from health.config import load as load_settings
    from health.context import Context
    from health.engine import Engine
    from health.errors import (
        ConfigError,
        HealthError,
        NotConfigured,
        RegistryError,
        RemedyError,
        StateError,
        UnknownCheck,
    )
    from health.facade import TroubleshootingHealthCheck
    from health.model import Check, Outcome, Report, Result, Status
    from health.settings import Settings
    from health.specs import Registry, Spec, registry

_HOMES = {
    "Check": "model",
    "Context": "context",
    "Engine": "engine",
    "Outcome": "model",
    "Registry": "specs",
    "Report": "model",
    "Result": "model",
    "Settings": "settings",
    "Spec": "specs",
    "Status": "model",
    "TroubleshootingHealthCheck": "facade",
    "load_settings": "config",
    "registry": "specs",
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


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"health.{_HOMES.get(name, 'errors')}")
    value = getattr(module, "load" if name == "load_settings" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
