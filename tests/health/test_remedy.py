"""A remedy runs only where somebody allowed it, not too often, without a shell, and is always written down."""

import sys
from pathlib import Path
from typing import Any

import pytest

from kbstore.health import Engine, RemedyError, Result, Settings
from kbstore.health.context import Context
from kbstore.health.settings import Remedies, Targets
from kbstore.health.watch import remedy
from tests.health.support import Clock, registry_of


def bad(ctx: Context) -> Result:
    """Is never well."""
    return Result.unhealthy("broken")


def engine_of(tmp_path: Path, command: tuple[str, ...], clock: Clock | None = None, **remedies: Any) -> Engine:
    """An engine with one check that is never well, whose remedy is allowed."""
    settings = Settings(
        targets=Targets(state=str(tmp_path / "state"), database="postgresql://a:hunter2@h/d"),
        remedies=Remedies(**{"allow": ("bad",), **remedies}),
    )
    checks = registry_of(bad=(bad, {"remedy": command, "runbook": "https://runbooks.example/bad"}))
    return Engine(settings, checks=checks, isolate=False, clock=clock or Clock())


def python(code: str) -> tuple[str, ...]:
    """A command that runs Python."""
    return (sys.executable, "-c", code)


def test_a_remedy_runs_and_is_written_down(tmp_path: Path) -> None:
    """Its exit code and the end of its output are kept, without secrets."""
    with engine_of(tmp_path, python("print('used', 'hunter2'); raise SystemExit(4)")) as engine:
        ran = remedy.run(engine, engine.catalogue().specs["bad"])
        assert (ran.code, ran.output) == (4, "used ***\n")
        assert engine.state
        ((time, command, code, output),) = engine.state.remedies("bad")
        assert (time, code, output) == (engine.clock.now(), 4, "used ***\n")
        assert tuple(command) == ran.command


@pytest.mark.parametrize(
    ("command", "settings", "message"),
    [((), {}, "has no remedy"), (("true",), {"allow": ()}, "not allowed: true")],
    ids=["none", "not allowed"],
)
def test_without_leave_nothing_runs(tmp_path: Path, command: Any, settings: Any, message: str) -> None:
    """No remedy, or none that somebody allowed: nothing runs, and the error says how to allow it."""
    with engine_of(tmp_path, command, **settings) as engine:
        with pytest.raises(RemedyError, match=message):
            remedy.run(engine, engine.catalogue().specs["bad"])
        assert engine.state
        assert engine.state.remedies("bad") == []


def test_cooldown_and_attempts(tmp_path: Path) -> None:
    """It does not run again at once, nor more often a day than allowed, also where the program started anew."""
    clock = Clock()
    limits = {"cooldown": 600, "attempts": 2}
    for wait_s, message in [(0, None), (599, "just now"), (1, None), (600, "2 times within a day"), (86_400, None)]:
        clock.pass_s(wait_s)
        with engine_of(tmp_path, python("pass"), clock, **limits) as engine:
            spec = engine.catalogue().specs["bad"]
            if message is None:
                assert remedy.run(engine, spec).code == 0
            else:
                with pytest.raises(RemedyError, match=message):
                    remedy.run(engine, spec)


def test_no_shell_sees_it(tmp_path: Path) -> None:
    """What would mean something to a shell is an argument like any other."""
    code = "import sys; print(sys.argv[1:])"
    with engine_of(tmp_path, (*python(code), "; rm -rf /", "$(id)", "*")) as engine:
        ran = remedy.run(engine, engine.catalogue().specs["bad"])
    assert ran.output == "['; rm -rf /', '$(id)', '*']\n"


def test_one_that_hangs_or_is_not_there(tmp_path: Path) -> None:
    """It is ended at its timeout, with its exit code 124; one that is no program has 127."""
    with engine_of(
        tmp_path / "a", python("import time; print('on it', flush=True); time.sleep(60)"), timeout=1
    ) as engine:
        ran = remedy.run(engine, engine.catalogue().specs["bad"])
        assert ran.code == 124
        assert ran.output.startswith("on it\n")
    with engine_of(tmp_path / "b", ("no-program-of-this-name",)) as engine:
        assert remedy.run(engine, engine.catalogue().specs["bad"]).code == 127
