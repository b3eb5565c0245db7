"""A diff for people and programs: terminal, unified text, JSON, Markdown, HTML, statistics, names."""

from kbstore.render.escape import visible
from kbstore.render.html_form import html
from kbstore.render.json_form import as_json
from kbstore.render.markdown_form import markdown
from kbstore.render.source import Differences
from kbstore.render.stat_form import names, stat
from kbstore.render.terminal_form import terminal
from kbstore.render.unified_form import unified

__all__ = ["Differences", "as_json", "html", "markdown", "names", "stat", "terminal", "unified", "visible"]
