"""The built-in checks, one module for each area. Importing a module costs nothing until a check runs."""

from collections.abc import Callable
from typing import Any

from kbstore.health.check_registry import registry


def built_in(name: str, **fields: Any) -> Callable[[Any], Any]:
    """Declare a built-in check: `Registry.add`, with the check's section of docs/health.md as the runbook."""
    return registry.add(name, runbook=f"docs/health.md#{name.replace('.', '')}", **fields)


def spell(size_bytes: float) -> str:
    """Return a size for people: ``1.5 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size_bytes < 1024:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} TiB"


def ago(seconds: float) -> str:
    """Return an age for people: ``3 h``."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
