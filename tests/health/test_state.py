"""History, notes and silences outlive a round, and their loss never costs a report."""

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kbstore.health import Engine, Result, Settings, StateError, Status, timeline
from kbstore.health.context import Context
from kbstore.health.duration import parse_duration
from kbstore.health.settings import Targets
from kbstore.health.state import FILE, State
from tests.health.support import Clock, registry_of


class Patient:
    """A check whose state is set by the test."""

    def __init__(self) -> None:
        self.status = Status.HEALTHY
        self.remembered: list[Any] = []

    def __call__(self, ctx: Context) -> Result:
        self.remembered.append(ctx.remembered.get("count", 0))
        return Result(self.status, "as set", remember={"count": ctx.remembered.get("count", 0) + 1})


@pytest.fixture
def clock() -> Clock:
    """A clock that is set by hand."""
    return Clock()


def engine_of(patient: Patient, folder: Path, clock: Clock) -> Engine:
    """An engine over the patient, with its history in a folder."""
    settings = Settings(targets=Targets(state=str(folder)))
    return Engine(settings, checks=registry_of(patient=patient), isolate=False, clock=clock)


def test_since_when_is_known_across_programs(tmp_path: Path, clock: Clock) -> None:
    """A report says since when a check is as it is, also where another program saw that begin."""
    patient = Patient()
    seen = []
    for status in (Status.HEALTHY, Status.UNHEALTHY, Status.UNHEALTHY, Status.HEALTHY, Status.HEALTHY):
        patient.status = status
        clock.pass_s(60)
        with engine_of(patient, tmp_path, clock) as engine:
            (outcome,) = engine.run().outcomes
        seen.append(((outcome.since or clock.time) - Clock().time).total_seconds())
    assert seen == [60, 120, 120, 240, 240]


def test_a_check_gets_back_what_it_remembered(tmp_path: Path, clock: Clock) -> None:
    """What a result asks to remember arrives in the next round, whoever runs it."""
    patient = Patient()
    for _ in range(3):
        with engine_of(patient, tmp_path, clock) as engine:
            engine.run()
    assert patient.remembered == [0, 1, 2]


def test_what_fixed_it_last_time_is_shown_at_the_next_failure(tmp_path: Path, clock: Clock) -> None:
    """The newest note appears while the check is not healthy, and only then."""
    patient = Patient()
    with engine_of(patient, tmp_path, clock) as engine:
        assert engine.state
        engine.state.add_note("patient", "waited", clock.now())
        clock.pass_s(1)
        engine.state.add_note("patient", "restarted the queue", clock.now())
        assert engine.run().outcomes[0].last_note is None
        patient.status = Status.DEGRADED
        assert engine.run().outcomes[0].last_note == "restarted the queue"
        assert [n.text for n in engine.state.notes("patient")] == ["waited", "restarted the queue"]


def test_a_silence_ends_by_itself(tmp_path: Path, clock: Clock) -> None:
    """It holds until its time, and a later one replaces it."""
    state = State(tmp_path)
    state.silence("a", clock.now() + timedelta(hours=2), "maintenance", clock.now())
    assert state.silences(clock.now())["a"].reason == "maintenance"
    assert state.silences(clock.now() + timedelta(hours=2)) == {}
    state.close()


def test_old_history_goes(tmp_path: Path, clock: Clock) -> None:
    """Results older than the configured days are dropped; since when a check is as it is stays known."""
    patient = Patient()
    with engine_of(patient, tmp_path, clock) as engine:
        assert engine.state
        engine.run()
        first = clock.time
        clock.pass_s(31 * 86_400)
        engine.run()
        assert [one.time for one in engine.state.history()] == [clock.time]
        assert engine.run().outcomes[0].since == first


@pytest.mark.parametrize("damage", ["not a folder", "not a database", "read-only"])
def test_history_that_cannot_be_kept_is_a_warning(
    tmp_path: Path, clock: Clock, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checks run and the report is true; it says that the history is not kept, and where."""
    folder = tmp_path / "state"
    if damage == "not a folder":
        folder.write_text("a file")
    elif damage == "not a database":
        folder.mkdir()
        (folder / FILE).write_bytes(b"x" * 5000)
    else:
        monkeypatch.setattr(
            Path, "mkdir", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "Permission denied"))
        )
    with engine_of(Patient(), folder, clock) as engine:
        report = engine.run()
        assert report.overall is Status.HEALTHY
        (warning,) = report.warnings
        assert str(folder) in warning
        assert engine.state
        with pytest.raises(StateError):
            engine.state.history()


def test_history_that_hangs_is_a_warning(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its disk does not answer the report comes out in time, and says so once."""
    asked = []

    def hangs(self: State) -> dict[str, Any]:
        asked.append(1)
        time.sleep(30)
        return {}

    monkeypatch.setattr(State, "remembered", hangs)
    monkeypatch.setattr("kbstore.health.run.engine._STATE_S", 0.2)
    with engine_of(Patient(), tmp_path, clock) as engine:
        report = engine.run()
    assert report.overall is Status.HEALTHY
    assert report.warnings == (f"the history in {tmp_path} does not answer",)
    assert asked == [1]


def test_the_strip_shows_the_worst_of_each_stretch(tmp_path: Path, clock: Clock) -> None:
    """One sign for each stretch of time, the newest on the right, blank where nothing ran."""
    patient = Patient()
    with engine_of(patient, tmp_path, clock) as engine:
        assert engine.state
        for hours, status in [(1, Status.HEALTHY), (3, Status.UNHEALTHY), (3.2, Status.HEALTHY), (5, Status.DEGRADED)]:
            clock.time = Clock().time + timedelta(hours=hours)
            patient.status = status
            engine.run()
        now = Clock().time + timedelta(hours=6)
        past = engine.state.history()
    strips = timeline.strips(past, now, 0.25, 6)
    assert strips == {"patient": " \u2581 \u2588 \u2584"}
    lines = list(timeline.lines(strips, 0.25))
    assert lines[0] == " " * 9 + "0.25 days ago" + "now".rjust(6 - len("0.25 days ago"))
    assert lines[1] == "patient   \u2581 \u2588 \u2584"
    assert [str(one.status) for one in timeline.changes(past)] == ["healthy", "unhealthy", "healthy", "degraded"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("45m", 2700), ("2h", 7200), ("1d12h", 129_600), ("1.5h", 5400), ("30", 30)]
)
def test_spans_of_time(text: str, seconds: float) -> None:
    """Spans as people type them."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "2x", "h", "-2h", "0s", "2 h", "1e9d", "nan"])
def test_what_is_no_span(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match="no span of time"):
        parse_duration(text)
