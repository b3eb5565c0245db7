"""Checks are declared once, by sound rules; plug-ins that are not sound become checks that are not healthy."""

import sys
from pathlib import Path
from typing import Any

import pytest

from kbstore.health import Engine, Registry, RegistryError, Result, Settings, Status, UnknownCheck
from kbstore.health.context import Context
from kbstore.health.run.select import longest_chain_s, select
from kbstore.health.settings import CheckSettings
from tests.health import hangs
from tests.health.support import registry_of


def well(ctx: Context) -> Result:
    """Is well."""
    return Result.healthy("well")


@pytest.mark.parametrize(
    ("name", "declared", "message"),
    [
        ("Bad Name", {}, "dotted lower-case"),
        ("a", {"tags": {"urgent"}}, "no tag 'urgent'"),
        ("a", {"impact": "fatal"}, "impact"),
        ("a", {"needs": "store.reachable"}, "lists"),
        ("a", {"needs": ("a",)}, "needs itself"),
        ("a", {"timeout": 0}, "timeout"),
        ("a", {"rise": 0}, "rise"),
    ],
)
def test_wrong_declarations_are_refused(name: str, declared: dict[str, Any], message: str) -> None:
    """A declaration that makes no sense is an error where it stands."""
    with pytest.raises(RegistryError, match=message):
        Registry().add(name, **declared)(well)


def test_a_name_is_given_once() -> None:
    """The second check of a name is refused, and the first stays."""
    checks = registry_of(a=well)
    with pytest.raises(RegistryError, match="there already"):
        checks.add("a")(hangs.well)
    assert checks.checks["a"] is well


def test_a_declaration_says_what_the_issue_shows() -> None:
    """The decorator takes all that a check promises, and gives the function back."""
    checks = Registry()

    @checks.add(
        "kb.freshness",
        tags={"ready"},
        timeout=10,
        every=300,
        impact="degraded",
        needs=("store.reachable",),
        rise=1,
        fall=2,
        runbook="https://runbooks.example/kb",
        remedy=("kbstore", "gc"),
    )
    def freshness(ctx: Context) -> Result:
        """The newest version is new."""
        return Result.healthy("last version 3 h ago", metrics={"age_s": 10_800})

    spec = checks.specs["kb.freshness"]
    assert freshness(Context()).metrics == {"age_s": 10_800}
    assert (spec.summary, spec.impact, spec.origin) == ("The newest version is new.", Status.DEGRADED, None)
    assert type(spec).from_dict(spec.as_dict()) == spec


def test_selection_takes_needs_along() -> None:
    """A check is run with all that it needs; names and tags that are not there are errors with the nearest one."""
    checks = registry_of(
        a=(well, {"tags": {"ready"}}),
        b=(well, {"needs": ("a",)}),
        c=(well, {"needs": ("b",), "tags": {"deep"}}),
        d=well,
    )
    assert [s.name for s in select(checks.specs, ["c"])] == ["a", "b", "c"]
    assert [s.name for s in select(checks.specs, tag="ready")] == ["a"]
    assert [s.name for s in select(checks.specs, tag="deep")] == ["a", "b", "c"]
    assert longest_chain_s(checks.specs.values()) == 3.0
    with pytest.raises(UnknownCheck, match="no tag"):
        select(checks.specs, tag="urgent")
    with pytest.raises(UnknownCheck, match=r"did you mean 'stor\.e'"):
        select(registry_of(**{"stor.e": well}).specs, ["store"])


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"a": {"needs": ("b",)}, "b": {"needs": ("a",)}}, "circle"),
        ({"a": {"needs": ("z",)}}, "'z', which is no check"),
        ({"a": {"needs": ("b",), "tags": {"live"}}, "b": {}}, "is live and so cannot need b"),
    ],
)
def test_needs_that_cannot_be_met_are_errors(declared: dict[str, dict[str, Any]], message: str) -> None:
    """Circles, absent checks, and live checks that would have to touch more."""
    checks = registry_of(**{name: (well, fields) for name, fields in declared.items()})
    with pytest.raises(RegistryError, match=message):
        select(checks.specs)


def test_settings_change_what_a_check_promises(tmp_path: Path) -> None:
    """Timeout, impact and the like come from the configuration; a disabled check is gone, and not needed any more."""
    checks = registry_of(a=hangs.raises, b=(hangs.well, {"needs": ("a",)}))
    settings = Settings(checks={"a": CheckSettings(enabled=False), "b": CheckSettings(impact="degraded", timeout=3.0)})
    with Engine(settings, checks=checks) as engine:
        (spec,) = engine.catalogue().specs.values()
        assert (spec.impact, spec.timeout, spec.needs) == (Status.DEGRADED, 3.0, ())
        assert [str(o.status) for o in engine.run().outcomes] == ["healthy"]


# ---- plug-ins -------------------------------------------------------------------------------------------------------

GOOD = """
from kbstore.health import Result, registry

@registry.add("acme.queue", tags={"ready"}, needs=("store.reachable",))
def queue(ctx):
    "The queue is short."
    return Result.healthy("short")

@registry.add("acme.alone")
def alone(ctx):
    "Stands alone."
    return Result.degraded("so so")
"""
LATE = """
from kbstore.health import Result

def alone(ctx):
    return Result.healthy("by a function")

def add(registry):
    registry.add("late.alone")(alone)
"""


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Installs plug-ins: modules beside a distribution's metadata, in a folder on sys.path."""
    place = tmp_path / "site"
    info = place / "acme-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def install(**sources: str) -> None:
        points = []
        for name, source in sources.items():
            (place / f"acme_{name}.py").write_text(source)
            points.append(f"{name} = acme_{name}" + (":add" if "def add(" in source else ""))
        (info / "entry_points.txt").write_text("[kbstore.health.checks]\n" + "\n".join(points) + "\n")

    yield install
    for name in [name for name in sys.modules if name.startswith("acme_")]:
        del sys.modules[name]


def test_plugins_add_checks(plugins: Any) -> None:
    """A module adds checks when it is imported, a function when it is called; they run like any other."""
    plugins(good=GOOD, late=LATE)
    with Engine(Settings()) as engine:
        report = engine.run(["acme.alone", "late.alone", "acme.queue"])
    told = {o.name: (str(o.status), o.result.message) for o in report.outcomes}
    assert told["acme.alone"] == ("degraded", "so so")
    assert told["late.alone"] == ("healthy", "by a function")
    assert told["acme.queue"] == ("skipped", "no store is configured, and there is none here")
    assert "acme_good" not in sys.modules


@pytest.mark.parametrize(
    ("source", "reason", "message"),
    [
        ("import nothing_of_this_name", "load", "No module named 'nothing_of_this_name'"),
        ("def f(:", "load", "SyntaxError"),
        ("import os; os._exit(9)", "crash", "exit code 9"),
        ("import sys; sys.exit()", "load", "SystemExit"),
        ("import ctypes; ctypes.PyDLL(None).sleep(3600)", "timeout", "did not load within"),
        (GOOD.replace("acme.alone", "store.reachable"), "load", "there already"),
    ],
    ids=["absent", "syntax", "exits", "asks_to_exit", "holds_the_gil", "taken_name"],
)
def test_a_plugin_that_fails_is_an_unhealthy_check(
    plugins: Any, monkeypatch: pytest.MonkeyPatch, source: str, reason: str, message: str
) -> None:
    """Whatever it does while it is imported: it is named, and the checks of others run."""
    monkeypatch.setattr("kbstore.health.run.plugins.LOAD_TIMEOUT_S", 1.0)
    plugins(abad=source, late=LATE)
    with Engine(Settings()) as engine:
        report = engine.run()
    told = {o.name: o for o in report.outcomes}
    assert (told["plugin.abad"].status, told["plugin.abad"].result.reason) == (Status.UNHEALTHY, reason)
    assert message in told["plugin.abad"].result.message
    assert told["late.alone"].status is Status.HEALTHY
    assert "acme.queue" not in told
    assert report.overall is Status.UNHEALTHY
