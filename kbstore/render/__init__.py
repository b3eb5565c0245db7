"""A diff for people and programs: terminal, unified text, JSON, Markdown, HTML, statistics, names.

A form is loaded when it is first used: a command that only needs `escape` stays short.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kbstore.render.escape import visible
    from kbstore.render.html_form import html
    from kbstore.render.json_form import as_json
    from kbstore.render.markdown_form import markdown
    from kbstore.render.source import Differences
    from kbstore.render.stat_form import names, stat
    from kbstore.render.terminal_form import terminal
    from kbstore.render.unified_form import unified

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
    "visible": "escape",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
