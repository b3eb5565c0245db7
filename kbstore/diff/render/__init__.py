"""A diff for people and programs: terminal, unified text, JSON, Markdown, HTML, statistics, names.

The module of a form is loaded on first use, so that a command that only needs `escape` stays short.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kbstore.diff.render.html_form import html
    from kbstore.diff.render.json_form import as_json
    from kbstore.diff.render.markdown_form import markdown
    from kbstore.diff.render.source import Differences
    from kbstore.diff.render.stat_form import names, stat
    from kbstore.diff.render.terminal_form import terminal
    from kbstore.diff.render.unified_form import unified
    from kbstore.kit.escape import visible

__all__ = ["Differences", "as_json", "html", "markdown", "names", "stat", "terminal", "unified", "visible"]

_HOMES = {
    "Differences": "source",
    "as_json": "json_form",
    "html": "html_form",
    "markdown": "markdown_form",
    "names": "stat_form",
    "stat": "stat_form",
    "terminal": "terminal_form",
    "unified": "unified_form",
    "visible": "kbstore.kit.escape",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name] if "." in _HOMES[name] else f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
