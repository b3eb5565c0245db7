"""A round ends in time and says who is to blame, whatever its checks do, and leaves nothing behind."""

import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from kbstore.health import Engine, Report, Result, Settings, Status
from kbstore.health.run import process as processes
from kbstore.health.run.rounds import Round
from kbstore.health.settings import CheckSettings
from tests.health import hangs
from tests.health.support import alive, registry_of, run, wait_for, workers

SLACK_S = 1.0
"""What a report may take beyond its deadline; the machine that runs the tests may be busy, hence more in tests."""


def found(report: Report, name: str) -> tuple[Status, str | None]:
    """Status and reason of a check."""
    (outcome,) = [o for o in report.outcomes if o.name == name]
    return outcome.status, outcome.result.reason


def pids(tmp_path: Path, name: str) -> list[int]:
    """What a check wrote down about the processes that it started."""
    return [int(line) for line in (tmp_path / f"{name}.pids").read_text().split()]


@pytest.mark.parametrize(
    ("guilty", "reason"),
    [
        (hangs.blocks_in_c, "timeout"),
        (hangs.holds_the_gil, "timeout"),
        (hangs.ignores_signals, "timeout"),
        (hangs.floods, "timeout"),
        (hangs.exits, "crash"),
        (hangs.crashes, "crash"),
        (hangs.closes_everything, "crash"),
        (hangs.asks_to_exit, "exit"),
        (hangs.raises, "crash"),
        (hangs.returns_nothing, "crash"),
        (hangs.leaks, "crash"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_the_guilty_one_is_named_and_the_others_are_heard(tmp_path: Path, guilty: Any, reason: str) -> None:
    """One check misbehaves: it alone is unhealthy, for its reason; those beside it say what they found."""
    began = time.monotonic()
    # Whoever ends by itself may take its time; whoever hangs has a second, and the innocent have more.
    declared = {"timeout": 1.0 if reason == "timeout" else 40.0}
    patient = {"timeout": 4.0 if reason == "timeout" else 40.0}
    checks = registry_of(one=(hangs.slow, patient), guilty=(guilty, declared), other=(hangs.well, patient))
    deadline_s = 20 if reason == "timeout" else 100
    report = run(checks, tmp_path, deadline=deadline_s, memory_limit_mb=512)
    assert time.monotonic() - began < deadline_s + SLACK_S * 3
    assert [o.name for o in report.outcomes] == ["one", "guilty", "other"]
    assert found(report, "guilty") == (Status.UNHEALTHY, reason)
    assert found(report, "one") == found(report, "other") == (Status.HEALTHY, None)
    assert report.overall is Status.UNHEALTHY
    assert report.survivors == ()
    if guilty is hangs.ignores_signals:
        wait_for(lambda: not any(alive(pid) for pid in pids(tmp_path, "guilty")))


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (hangs.forks, "here"),
        (hangs.leaves_a_daemon, "well, but look around"),
        (hangs.leaks_threads, "well, but not tidy"),
        (hangs.says_too_much, "x" * 2000),
    ],
    ids=["forks", "leaves_a_daemon", "leaks_threads", "says_too_much"],
)
def test_what_is_merely_untidy_is_heard_and_tidied(tmp_path: Path, check: Any, message: str) -> None:
    """A check that forks, leaves processes or threads, or says too much counts once, and nothing of it is left."""
    report = run(registry_of(untidy=(check, {"timeout": 20.0})), tmp_path)
    (outcome,) = report.outcomes
    assert (outcome.status, outcome.result.message) == (Status.HEALTHY, message)
    assert len(str(report.as_dict())) < 100_000
    if check is hangs.leaves_a_daemon:
        (daemon,) = pids(tmp_path, "untidy")
        wait_for(lambda: not alive(daemon))


def test_the_deadline_holds_where_everything_hangs(tmp_path: Path) -> None:
    """Several hang at once: the report is out at the deadline, with each as a timeout."""
    checks = registry_of(
        one=(hangs.blocks_in_c, {"timeout": 60.0}),
        two=(hangs.holds_the_gil, {"timeout": 60.0}),
        three=(hangs.well, {"needs": ("one",)}),
        four=(hangs.well, {}),
    )
    began = time.monotonic()
    report = run(checks, tmp_path, deadline=3)
    took_s = time.monotonic() - began
    assert 2.9 < took_s < 3 + SLACK_S * 3
    assert found(report, "one") == found(report, "two") == (Status.UNHEALTHY, "timeout")
    assert found(report, "three")[0] is not Status.HEALTHY
    assert found(report, "four") == (Status.HEALTHY, None)


def test_what_depends_on_a_failed_check_is_skipped_and_says_so(tmp_path: Path) -> None:
    """Skips pass on along the needs, with the first cause; what needs nothing runs."""
    checks = registry_of(
        first=hangs.raises,
        second=(hangs.well, {"needs": ("first",)}),
        third=(hangs.well, {"needs": ("second",)}),
        other=hangs.well,
    )
    report = run(checks, tmp_path)
    (second,) = [o for o in report.outcomes if o.name == "second"]
    (third,) = [o for o in report.outcomes if o.name == "third"]
    assert second.result.message == third.result.message == "needs first, which is unhealthy"
    assert set(report.as_dict()["checks"]) == {"first", "other"}
    assert set(report.as_dict()["skipped"]) == {"second", "third"}


def test_checks_of_this_program_alone_run_in_threads_and_say_so(tmp_path: Path) -> None:
    """A check that no other process could import runs here, is marked, and one that hangs is given up."""

    def here(ctx: Any) -> Result:
        return Result.healthy(str(os.getpid()))

    def hangs_here(ctx: Any) -> Result:
        time.sleep(15)
        return Result.healthy("never")

    report = run(registry_of(there=hangs.well, here=here, hangs_here=(hangs_here, {"timeout": 0.5})), tmp_path)
    checks = report.as_dict()["checks"]
    assert checks["here"]["message"] == str(os.getpid())
    assert checks["here"]["isolated"] is checks["hangs_here"]["isolated"] is False
    assert "isolated" not in checks["there"]
    assert checks["hangs_here"]["reason"] == "timeout"


def test_without_isolation_everything_runs_here(tmp_path: Path) -> None:
    """`isolate=False` starts no process; results and skips are the same."""
    checks = registry_of(bad=hangs.raises, skipped=(hangs.well, {"needs": ("bad",)}), good=hangs.slow)
    report = run(checks, tmp_path, isolate=False)
    assert [str(o.status) for o in report.outcomes] == ["unhealthy", "skipped", "healthy"]
    assert not any(o.isolated for o in report.outcomes)


def test_a_survivor_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that the kill does not end is named in the report, and the report does not wait for it."""
    monkeypatch.setattr(processes.signal, "pidfd_send_signal", lambda *_: None)
    report = run(registry_of(untidy=(hangs.leaves_a_daemon, {"timeout": 20.0})), tmp_path)
    monkeypatch.undo()
    (daemon,) = pids(tmp_path, "untidy")
    os.kill(daemon, 9)
    (text,) = report.survivors
    assert text.startswith(f"process {daemon} (")
    assert text.endswith("outlived its kill")


def test_no_worker_is_left_when_the_program_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in the middle of a round (Ctrl-C) still ends the worker and what it started."""
    checks = registry_of(guilty=(hangs.ignores_signals, {"timeout": 30.0}))
    file = tmp_path / "pids"

    listen = Round._listen

    def interrupted(self: Round) -> None:
        if file.exists() and file.read_text().endswith("\n"):
            raise KeyboardInterrupt
        listen(self)

    monkeypatch.setattr(Round, "_listen", interrupted)
    monkeypatch.setattr(Round, "_next_moment", lambda self: time.monotonic() + 0.05)
    settings = Settings(checks={"guilty": CheckSettings(options={"pids": str(file)})})
    with Engine(settings, checks=checks) as engine, pytest.raises(KeyboardInterrupt):
        engine.run()
    (child,) = [int(line) for line in file.read_text().split()]
    wait_for(lambda: not alive(child))


ALL = {
    hangs.well: ("healthy", None),
    hangs.slow: ("healthy", None),
    hangs.forks: ("healthy", None),
    hangs.leaks_threads: ("healthy", None),
    hangs.says_too_much: ("healthy", None),
    hangs.blocks_in_c: ("unhealthy", "timeout"),
    hangs.holds_the_gil: ("unhealthy", "timeout"),
    hangs.ignores_signals: ("unhealthy", "timeout"),
    hangs.floods: ("unhealthy", "timeout"),
    hangs.exits: ("unhealthy", "crash"),
    hangs.crashes: ("unhealthy", "crash"),
    hangs.closes_everything: ("unhealthy", "crash"),
    hangs.asks_to_exit: ("unhealthy", "exit"),
    hangs.raises: ("unhealthy", "crash"),
}


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 60))])
def test_any_company_of_checks_is_judged_one_by_one(tmp_path: Path, seed: int) -> None:
    """Whatever misbehaves beside whatever else: each check gets the outcome that it would get alone, in time."""
    chance = random.Random(seed)
    company = {f"c{number}": chance.choice(list(ALL)) for number in range(chance.randint(3, 6))}
    hanging = {name for name, check in company.items() if ALL[check][1] == "timeout"}
    checks = registry_of(**{n: (c, {"timeout": 2.0 if n in hanging else 20.0}) for n, c in company.items()})
    began = time.monotonic()
    report = run(checks, tmp_path, deadline=50, memory_limit_mb=1024)
    assert time.monotonic() - began < 50 + SLACK_S * 3
    assert {o.name: (str(o.status), o.result.reason) for o in report.outcomes} == {
        n: ALL[c] for n, c in company.items()
    }
    assert report.survivors == ()
    wait_for(lambda: not workers())
