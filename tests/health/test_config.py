"""The configuration is found, read strictly, and a mistake in it is answered with what was probably meant."""

import json
from pathlib import Path

import pytest

from kbstore.health.config import load, parse
from kbstore.health.errors import ConfigError
from kbstore.health.settings import Settings, Thresholds

FULL = """
deadline = 30
memory_limit_mb = 512

[targets]
store = "kb.db"
database = "postgresql://app:${DB_PASSWORD}@db.example/kb"
migrations = "migrations"
paths = ["/srv"]

[thresholds]
disk_degraded_ratio = 0.2

[checks."store.head"]
timeout = 3
impact = "unhealthy"
remedy = ["touch", "x"]

[[sinks]]
kind = "webhook"
url = "https://alerts.example/hook"
secret = "${HOOK_SECRET}"

[watch]
interval = 60

[serve]
port = 0

[remedies]
allow = ["store.head"]
"""
ENVIRON = {"DB_PASSWORD": "s3cret!", "HOOK_SECRET": "key", "HOME": "/home/ana"}


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    """Every section arrives; paths are relative to the file, variables come from the environment."""
    (tmp_path / "health.toml").write_text(FULL)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    settings = load(tmp_path / "deep" / "er", {**ENVIRON, "KBSTORE_TRUST": str(tmp_path)})
    assert settings.targets.store == str(tmp_path / "kb.db")
    assert settings.targets.database == "postgresql://app:s3cret!@db.example/kb"
    assert settings.targets.state == str(tmp_path / ".health")
    assert settings.checks["store.head"].remedy == ("touch", "x")
    assert settings.sinks[0].secret == "key"
    assert (settings.watch.interval, settings.serve.port, settings.deadline) == (60.0, 0, 30.0)
    assert settings.thresholds.disk_degraded_ratio == 0.2


def test_pyproject_serves_as_well(tmp_path: Path) -> None:
    """`[tool.health]` in pyproject.toml is the same; one without it is passed over."""
    (tmp_path / "pyproject.toml").write_text('[tool.health.targets]\nstore = "s3://bucket/kb"\n')
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert load(inner, ENVIRON).targets.store == "s3://bucket/kb"


def test_without_a_file_the_project_is_found(tmp_path: Path) -> None:
    """The store of the project around the folder is checked, and the state stands beside it."""
    folder = tmp_path / ".kbstore"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"format": 1, "branch": "draft"}))
    settings = load(tmp_path, {"HOME": str(tmp_path)})
    assert settings.targets.store == str(folder / "kb.db")
    assert settings.targets.branch == "draft"
    assert settings.targets.state == str(folder / "health")


def test_what_was_said_counts_more_than_what_was_found(tmp_path: Path) -> None:
    """An option beats the file, and the file beats the environment."""
    (tmp_path / "health.toml").write_text('[targets]\nstore = "a.db"\n')
    environ = {"KBSTORE_STORE": "c.db", "HOME": str(tmp_path)}
    assert load(tmp_path, environ, store="b.db").targets.store == "b.db"
    assert load(tmp_path, environ).targets.store == str(tmp_path / "a.db")
    (tmp_path / "health.toml").unlink()
    assert load(tmp_path, environ).targets.store == "c.db"
    assert load(tmp_path, {"HOME": str(tmp_path)}).targets.store is None


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("deadlin = 3", "no setting 'deadlin'", "did you mean 'deadline'?"),
        ("[targets]\nstroe = 'x'", "no setting 'targets.stroe'", "did you mean 'store'?"),
        ("[thresholds]\ndisk_ratio = 1", "'thresholds.disk_ratio'", "did you mean"),
        ("[checks.'store.head']\ntimeuot = 3", "'checks.store.head.timeuot'", "did you mean 'timeout'?"),
        ("[[sinks]]\nkind = 'log'\nfile = 'x'", "'sinks.0.file'", "known here are kind, name"),
        ("[thresholds]\ndisk_degraded_ratio = 10", "less than or equal to 1", None),
        ("[watch]\ninterval = 'often'", "watch.interval", None),
        ("[watch]\ninterval = 0", "greater than 0", None),
        ("[checks.'store.head']\nimpact = 'fatal'", "checks.store.head.impact", None),
        ("[targets]\ndatabase = '${HEALTH_NOT_SET}'", "variable HEALTH_NOT_SET is not set", None),
        ("[targets", "not TOML", None),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str, hint: str | None) -> None:
    """An unknown key is an error with a suggestion; a wrong value is an error with its place."""
    (tmp_path / "health.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, ENVIRON)
    assert message in str(caught.value)
    assert str(tmp_path / "health.toml") in str(caught.value)
    if hint is not None:
        assert hint in (caught.value.hint or "")


def test_the_values_in_an_error_are_not_shown(tmp_path: Path) -> None:
    """A message about a wrong value does not quote it, since it may be a secret in the wrong place."""
    with pytest.raises(ConfigError) as caught:
        parse({"watch": {"interval": "hunter2"}}, tmp_path / "health.toml", {})
    assert "hunter2" not in str(caught.value) + (caught.value.hint or "")


def test_defaults_are_themselves_allowed(tmp_path: Path) -> None:
    """An empty file gives the defaults, and the defaults pass their own rules."""
    assert parse({}, tmp_path, {}) == Settings()
    defaults = {name: getattr(Thresholds(), name) for name in Thresholds.__slots__}
    assert parse({"thresholds": defaults}, tmp_path, {}).thresholds == Thresholds()
