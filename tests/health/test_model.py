"""What follows from results: the overall status, the shape of a report, what a result may hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbstore.health import Outcome, Report, Result, Status
from kbstore.health.context import Context
from kbstore.health.model import overall
from kbstore.health.run.call import call
from tests.conftest import LETTERS
from tests.health.reports import NOW

RAN = [Status.HEALTHY, Status.DEGRADED, Status.UNHEALTHY]


def outcome(status: Status, impact: Status = Status.UNHEALTHY) -> Outcome:
    """The outcome of a check."""
    return Outcome("a", Result(status, "text"), impact)


def test_no_check_is_unhealthy() -> None:
    """Where nothing ran nothing is known to be well; skipped ones do not count as run."""
    assert overall([]) is Status.UNHEALTHY
    assert overall([outcome(Status.SKIPPED)]) is Status.UNHEALTHY
    assert "no check ran" in Report((), NOW).as_dict()["reason"]


@pytest.mark.parametrize(
    ("status", "impact", "effect"),
    [
        (Status.UNHEALTHY, Status.DEGRADED, Status.DEGRADED),
        (Status.UNHEALTHY, Status.HEALTHY, Status.HEALTHY),
        (Status.DEGRADED, Status.UNHEALTHY, Status.DEGRADED),
        (Status.HEALTHY, Status.DEGRADED, Status.HEALTHY),
    ],
)
def test_impact_is_a_cap(status: Status, impact: Status, effect: Status) -> None:
    """A check makes the whole no worse than its impact, and no worse than it is."""
    assert overall([outcome(status, impact)]) is effect


@given(st.lists(st.tuples(st.sampled_from(list(Status)), st.sampled_from(RAN)), min_size=1))
def test_overall_is_the_worst_effect(pairs: list[tuple[Status, Status]]) -> None:
    """Order does not matter, skipped ones do not count, and more checks never make it better."""
    outcomes = [outcome(status, impact) for status, impact in pairs]
    whole = overall(outcomes)
    assert whole is overall(reversed(outcomes))
    ran = [o for o in outcomes if o.status is not Status.SKIPPED]
    assert whole is (overall(ran) if ran else Status.UNHEALTHY)
    if ran:
        assert overall([*ran, outcome(Status.HEALTHY)]).rank >= whole.rank


@given(
    st.builds(
        Result,
        st.sampled_from(Status),
        st.text(LETTERS),
        st.dictionaries(st.text(LETTERS), st.one_of(st.text(LETTERS), st.integers(-(2**53), 2**53), st.none())),
        st.dictionaries(st.text(LETTERS), st.floats(allow_nan=False, allow_infinity=False)),
        st.none() | st.text(LETTERS),
        st.none() | st.text(LETTERS),
        st.none() | st.dictionaries(st.text(LETTERS), st.integers(-(2**53), 2**53)),
    )
)
def test_a_result_passes_through_json(result: Result) -> None:
    """What a worker reports is what the check said."""
    assert Result.from_dict(result.as_dict()) == result


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "12", True, None])
def test_metrics_are_finite_numbers(value: object) -> None:
    """A check that measures something else has a fault, and its result says so."""
    result, _ = call(lambda ctx: Result.healthy("x", metrics={"age_s": value}), Context())
    assert (result.status, result.reason) == (Status.UNHEALTHY, "crash")
    assert "age_s" in result.message


def test_results_are_frozen() -> None:
    """A result cannot be changed after it was given."""
    with pytest.raises(AttributeError):
        Result.healthy("x").message = "y"  # type: ignore[misc]
