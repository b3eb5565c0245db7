"""What people are told: once when it is sure, again while it lasts, and when it is over; never about one blip."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbstore.health import Outcome, Result, Spec, Status
from kbstore.health.settings import Watch
from kbstore.health.watch.alerts import Standing, step
from tests.health.reports import NOW

LETTERS = {"h": Status.HEALTHY, "d": Status.DEGRADED, "u": Status.UNHEALTHY, "s": Status.SKIPPED}


def told(rounds: str, *, every_s: float = 300, silenced: str = "", watch: Any = None, **spec: Any) -> list[str]:
    """The alerts that a row of rounds gives rise to, as ``round:kind:status``; a letter is what the check found.

    Args:
        rounds: ``h``, ``d``, ``u`` or ``s`` for each round.
        every_s: Seconds between rounds.
        silenced: As long as `rounds`; ``x`` where a silence holds.
        watch: Settings of the watch.
        spec: What the check declares.
    """
    standing, found = Standing(), []
    about = Spec("a", **{"rise": 1, "fall": 2, **spec})
    for number, letter in enumerate(rounds):
        outcome = Outcome("a", Result(LETTERS[letter], "as it is"), about.impact)
        quiet = silenced[number : number + 1] == "x"
        now = NOW + timedelta(seconds=number * every_s)
        # As it is on disk between rounds.
        standing = Standing.from_dict(standing.as_dict())
        standing, alert = step(standing, outcome, about, now, watch or Watch(), silenced=quiet)
        if alert is not None:
            found.append(f"{number}:{alert.kind}:{alert.status}")
    return found


@pytest.mark.parametrize(
    ("rounds", "alerts"),
    [
        ("hhhh", []),
        ("huhh", []),
        ("huuuuh", ["2:failed:unhealthy", "5:resolved:healthy"]),
        ("ddd", ["1:failed:degraded"]),
        ("dduuu", ["1:failed:degraded", "3:failed:unhealthy"]),
        ("uudd", ["1:failed:unhealthy", "2:failed:degraded"]),
        ("ssss", []),
        ("uusssuuh", ["1:failed:unhealthy", "7:resolved:healthy"]),
        ("usu", ["2:failed:unhealthy"]),
    ],
)
def test_alerts_on_stable_transitions(rounds: str, alerts: list[str]) -> None:
    """After two bad rounds and one good one; a skipped round (its need failed) says nothing and changes nothing."""
    assert told(rounds) == alerts


def test_rise_and_fall_are_those_of_the_check() -> None:
    """A check that falls at once and rises slowly is told at once and believed slowly."""
    assert told("uhhhuh", fall=1, rise=3) == ["0:failed:unhealthy", "3:resolved:healthy", "4:failed:unhealthy"]


def test_a_standing_alert_is_repeated() -> None:
    """Every four hours, and no longer once it is resolved."""
    assert told("u" * 12 + "hhh", every_s=3600, fall=1) == [
        "0:failed:unhealthy",
        "4:repeated:unhealthy",
        "8:repeated:unhealthy",
        "12:resolved:healthy",
    ]


def test_flapping_is_told_once() -> None:
    """A check that changes all the time is told as flapping, once; when it has settled, how it is."""
    alerts = told("hu" * 8 + "h" * 20, fall=1, watch=Watch(flap_changes=6, flap_window=12))
    kinds = [alert.split(":")[1] for alert in alerts]
    assert kinds == ["failed", "resolved", "failed", "resolved", "failed", "flapping", "resolved"]
    assert told("hu" * 8 + "u" * 20, fall=1, watch=Watch(flap_changes=6, flap_window=12))[-1].endswith(
        "failed:unhealthy"
    )


def test_a_silence_holds_alerts_back_and_nothing_else() -> None:
    """What is over when the silence ends is never told; what still stands is told then."""
    assert told("uuuhhh", silenced="xxxxxx") == []
    assert told("uuuhhh", silenced="xxxx") == []
    assert told("uuuuuu", silenced="xxx") == ["3:failed:unhealthy"]
    assert told("uuhhhh", silenced="..xxx.") == ["1:failed:unhealthy", "5:resolved:healthy"]


def test_an_impact_of_healthy_never_wakes_anybody() -> None:
    """What cannot harm the whole gives no alert."""
    assert told("uuuu", impact=Status.HEALTHY) == []
    assert told("uu", impact=Status.DEGRADED) == ["1:failed:degraded"]


@given(st.text("hdus", max_size=60), st.integers(1, 3), st.integers(1, 3))
def test_failed_and_resolved_take_turns(rounds: str, rise: int, fall: int) -> None:
    """Nothing is resolved that was not told as failed or flapping, and the same is never told twice in a row."""
    alerts = [alert.split(":", 1)[1] for alert in told(rounds, rise=rise, fall=fall)]
    for before, after in zip([None, *alerts], alerts, strict=False):
        assert before != after or after.startswith("flapping")
        if after.startswith("resolved"):
            assert before is not None
            assert before.split(":")[0] in {"failed", "flapping"}


@given(st.text("hdu", max_size=40))
def test_what_was_told_last_is_true(rounds: str) -> None:
    """After three more healthy rounds and a settled window, the last thing told is that it is well."""
    alerts = told(rounds + "h" * 40)
    assert not alerts or alerts[-1].endswith("resolved:healthy")
