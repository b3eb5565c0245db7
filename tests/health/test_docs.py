"""docs/health.md says what is so: its tables equal the registry and the settings, its examples run."""

import re
import tomllib
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from kbstore.health import registry
from kbstore.health.check_registry import BUILT_IN
from kbstore.health.cli import exit_codes
from kbstore.health.cli.main import COMMANDS
from kbstore.health.config import parse
from kbstore.health.context import Context
from kbstore.health.formats import NAMES
from kbstore.health.run.select import check_needs
from kbstore.health.settings import CheckSettings, Remedies, Serve, Settings, Sink, Targets, Thresholds, Watch
from tests.health.support import ROOT, demo_store

DOC = ROOT / "docs" / "health.md"


@pytest.fixture(scope="module")
def text() -> str:
    """The page."""
    return DOC.read_text(encoding="utf-8")


def rows(text: str, first: str) -> list[list[str]]:
    """The cells of the table whose header begins with this cell, without its header."""
    (table,) = re.findall(rf"^\| {re.escape(first)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [[cell.strip() for cell in row.strip().strip("|").split(" | ")] for row in table.splitlines()]


def test_the_table_of_checks_is_the_registry() -> None:
    """Names in their order, tags, impact, pace, timeout, needs, thresholds with their values."""
    registry.load_built_in()
    built_in = [s for s in registry.specs.values() if s.origin and s.origin.split(":")[0] in BUILT_IN]
    expected = [
        [
            f"[{s.name}](#{s.name.replace('.', '')})",
            ", ".join(sorted(s.tags)) or "-",
            str(s.impact),
            f"{s.every:g} s" if s.every else "each round",
            f"{s.timeout:g} s",
            ", ".join(s.needs) or "-",
            ", ".join(f"`{t}` {shown(getattr(Thresholds(), t))}" for t in s.thresholds) or "-",
        ]
        for s in built_in
    ]
    assert rows(DOC.read_text(encoding="utf-8"), "check") == expected
    check_needs({s.name: s for s in built_in})


def shown(value: Any) -> str:
    """A number as the tables write it."""
    return f"{value:g}" if value < 1e6 else str(value)


def test_every_check_has_a_runbook(text: str) -> None:
    """Each has its section, under the name that its runbook links to, with its summary, what fails and what to do."""
    registry.load_built_in()
    parts = dict(re.findall(r"^### ([a-z0-9_.]+)\n(.*?)(?=^##)", text, re.MULTILINE | re.DOTALL))
    for name, spec in registry.specs.items():
        if spec.origin and spec.origin.startswith("kbstore.health.checks."):
            assert spec.runbook == f"docs/health.md#{name.replace('.', '')}"
            words = " ".join(parts[name].split())
            assert spec.summary in words
            assert "**When it fails.**" in words
            assert "**What to do.**" in words


@pytest.mark.parametrize(
    ("kind", "heading"),
    [
        (Settings, "Top level"),
        (Targets, "`[targets]`"),
        (Thresholds, "`[thresholds]`"),
        (CheckSettings, '`[checks."NAME"]`'),
        (Sink, "`[[sinks]]`"),
        (Watch, "`[watch]`"),
        (Serve, "`[serve]`"),
        (Remedies, "`[remedies]`"),
    ],
)
def test_every_setting_is_listed(text: str, kind: Any, heading: str) -> None:
    """Each setting stands in the table of its section, with its default, and no other does."""
    (part,) = re.findall(rf"^### {re.escape(heading)}\n.*?(?=^##|\Z|^The history)", text, re.MULTILINE | re.DOTALL)
    listed = {row[0].strip("`"): row[1] for row in rows(part, "setting")}
    sections = {"targets", "thresholds", "checks", "sinks", "watch", "serve", "remedies"} if kind is Settings else set()
    own = [f for f in fields(kind) if f.name not in {*sections, "folder"}]
    assert list(listed) == [f.name for f in own]
    for one in own:
        if isinstance(one.default, (int, float)) and not isinstance(one.default, bool):
            assert listed[one.name] == shown(one.default), one.name
    assert is_dataclass(kind)


def test_the_configuration_of_the_page_is_allowed(text: str) -> None:
    """The example parses, and means what it says."""
    (example,) = [t for t in re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL) if "[targets]" in t]
    environ = {"DB_PASSWORD": "p", "HOOK_SECRET": "h", "HEALTH_TOKEN": "t"}
    settings = parse(tomllib.loads(example), DOC, environ)
    assert [sink.label for sink in settings.sinks] == ["on-call", "mail"]
    assert settings.serve.token == "t"


def test_the_check_of_the_page_runs(text: str, tmp_path: Path) -> None:
    """The example of a check of one's own is declared, and finds what it should."""
    (example,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "acme"}
    try:
        exec(compile(example, "docs/health.md", "exec"), names)
        found = names["freshness"](Context(Targets(store=str(demo_store(tmp_path)))))
        assert found.message == "somebody wrote today"
        assert registry.specs["kb.freshness"].summary == "The newest version is less than a day old."
    finally:
        registry.remove("kb.freshness")


def test_commands_forms_and_exit_codes_are_all_there(text: str) -> None:
    """Every command, every format and every exit code stands on the page."""
    assert all(re.search(rf"\b{name}\b", text) for name in COMMANDS)
    assert [row[0].strip("`") for row in rows(text, "`--format`")] == list(NAMES)
    codes = {exit_codes.HEALTHY, exit_codes.DEGRADED, exit_codes.UNHEALTHY, exit_codes.UNKNOWN, exit_codes.INTERRUPTED}
    assert {int(row[0]) for row in rows(text, "exit code")} == codes
