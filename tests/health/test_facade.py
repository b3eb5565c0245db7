"""The guide's object: one call, a plain dict of the promised shape."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kbstore import health
from kbstore.health import TroubleshootingHealthCheck
from tests.health.support import demo_store, environment


def test_the_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Overall status and checks, each with status and message; what is not configured stands beside them."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    results = TroubleshootingHealthCheck(demo_store(tmp_path)).run_all_checks()
    assert results["overall_status"] == "healthy"
    assert all(r["status"] == "healthy" and r["message"] for r in results["checks"].values())
    assert results["skipped"]["restore.drill"]["reason"] == "not_configured"
    assert json.loads(json.dumps(results)) == results


def test_nothing_to_check_is_not_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a store and a database nothing runs, and that is unhealthy, with a reason."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    results = TroubleshootingHealthCheck().run_all_checks()
    assert results["overall_status"] == "unhealthy"
    assert results["checks"] == {}
    assert "no check ran" in results["reason"]


MAIN = """
from kbstore.health import Check, Result, TroubleshootingHealthCheck, registry

@registry.add("kb.freshness", tags={"ready"}, timeout=10, every=300, impact="degraded", needs=("store.reachable",),
              rise=1, fall=2, runbook="https://runbooks.example/kb", remedy=("kbstore", "gc"))
def freshness(ctx): return Result.healthy("last version 3 h ago", metrics={"age_s": 10_800})

check: Check = freshness
results = TroubleshootingHealthCheck("kb.db").run_all_checks()
print(results["overall_status"], results["checks"]["kb.freshness"])
"""


def test_a_check_of_the_program_itself(tmp_path: Path) -> None:
    """A script declares a check beside its call, as the documentation shows: it runs there, and says so."""
    demo_store(tmp_path)
    (tmp_path / "script.py").write_text(MAIN)
    env = environment({"XDG_STATE_HOME": str(tmp_path / "state")})
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout.startswith("healthy {'status': 'healthy', 'message': 'last version 3 h ago'"), done.stderr
    assert "'isolated': False" in done.stdout
    assert "'impact': 'degraded'" in done.stdout


def test_every_public_name_is_there() -> None:
    """`health.__all__` can be imported, is what `dir` shows, and holds what the guide and plug-ins use."""
    for name in health.__all__:
        assert getattr(health, name) is not None
    assert dir(health) == sorted(health.__all__)
    assert callable(health.registry.add)
    with pytest.raises(AttributeError):
        _ = health.nothing
